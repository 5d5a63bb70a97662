//! A text on a vector, drawn: coloured text for a terminal, a page with a heat map for a browser.

use crate::terminal::{Tone, colour, paint, printable};
use serde_json::json;
use whipstaff_steering::{Projections, Unit};

/// What is drawn.
pub struct Heatmap {
    /// Name of the vector.
    pub vector: String,
    /// Name of the model.
    pub model: String,
    /// The text of each token.
    pub tokens: Vec<String>,
    /// How many leading tokens do not count in means and in the scale of colours.
    pub skip: usize,
    /// The projections, by layer.
    pub rows: Vec<Projections>,
    /// What they are compared with, and how many of its leading tokens do not count.
    pub baseline: Option<(usize, Vec<Projections>)>,
    /// Is the baseline of the same tokens? Then the colours are shifts, token by token.
    pub same_tokens: bool,
}

impl Heatmap {
    pub fn unit(&self) -> Unit {
        self.rows.first().map_or(Unit::Unit, |row| row.ruler.unit)
    }

    /// By how much the mean of the `i`-th layer lies above that of the baseline.
    pub fn shift(&self, i: usize) -> Option<f64> {
        let (skip, rows) = self.baseline.as_ref()?;
        Some(self.rows[i].mean(self.skip)? - rows[i].mean(*skip)?)
    }

    /// What is coloured at the `i`-th layer.
    fn values(&self, i: usize) -> Vec<f64> {
        let values = &self.rows[i].values;
        match &self.baseline {
            Some((_, rows)) if self.same_tokens => {
                values.iter().zip(&rows[i].values).map(|(it, baseline)| it - baseline).collect()
            }
            _ => values.clone(),
        }
    }

    /// The value of full colour at the `i`-th layer: 19 of 20 tokens stay below it.
    fn full(&self, i: usize) -> f64 {
        let values = self.values(i);
        let counted = values.get(self.skip..).filter(|it| !it.is_empty()).unwrap_or(&values);
        let mut sizes: Vec<f64> = counted.iter().map(|it| it.abs()).collect();
        sizes.sort_by(f64::total_cmp);
        let at = (sizes.len() * 19).div_ceil(20).max(1) - 1;
        sizes.get(at).copied().filter(|it| *it > 0.0).unwrap_or(1.0)
    }

    /// What a value says. A shift does not depend on where one counts from.
    fn meaning(&self) -> String {
        let (of, from) = match self.unit() {
            Unit::Gap => (
                "gaps",
                "from the midpoint of the contrasts (+0.5 is their positive side, -0.5 the negative)",
            ),
            Unit::Rms => ("rms of the stream", "from zero"),
            Unit::Unit => ("plain projections", "from zero"),
        };
        if self.same_tokens {
            format!("shift from the unsteered model, in {of}")
        } else {
            format!("{of}, {from}")
        }
    }

    /// A page that asks the network for nothing. Tokens reach it as data and are set as text, never as markup.
    pub fn html(&self) -> String {
        let row = |i: usize| {
            json!({"layer": self.rows[i].layer, "values": self.values(i), "full": self.full(i),
                   "mean": self.rows[i].mean(self.skip), "shift": self.shift(i)})
        };
        let data = json!({
            "vector": self.vector, "model": self.model, "meaning": self.meaning(), "tokens": self.tokens,
            "rows": (0..self.rows.len()).map(row).collect::<Vec<_>>(),
        });
        // Within a script only `<` could end the data.
        let data = data.to_string().replace('<', "\\u003c");
        include_str!("heatmap.html").replacen("DATA", &data, 1)
    }
}

/// Text for a terminal: coloured where colour is wanted, else a number for each token.
pub fn terminal(map: &Heatmap) -> String {
    let many = map.rows.len() > 1;
    let mut text =
        format!("{}\n", paint(Tone::Heading, &printable(&format!("{} on {}", map.vector, map.model))));
    text += &format!("  {}\n", map.meaning());
    for i in 0..map.rows.len() {
        let (values, full) = (map.values(i), map.full(i));
        let mean = map.rows[i].mean(map.skip).map_or("-".into(), |it| format!("{it:+.3}"));
        let shift = map.shift(i).map_or(String::new(), |it| format!(", shift {it:+.3}"));
        text += &format!("\nlayer {}: mean {mean}{shift}", map.rows[i].layer);
        if colour() {
            let swatch = |part: f64| cell(&format!(" {:+.2} ", part * full), part);
            text += &format!("   {}\n", [-1.0, -0.5, 0.0, 0.5, 1.0].map(swatch).concat());
            let tokens = map.tokens.iter().zip(&values);
            text += &tokens.map(|(token, value)| cell(&printable(token), value / full)).collect::<String>();
            text += "\n";
        } else if many {
            let numbers: Vec<String> = values.iter().map(|it| format!("{it:+.2}")).collect();
            text += &format!("\n  {}\n", numbers.join(" "));
        } else {
            let line =
                |(token, value): (&String, &f64)| format!("  {value:>+9.3}  {}\n", token.escape_debug());
            text += &format!("\n{}", map.tokens.iter().zip(&values).map(line).collect::<String>());
        }
    }
    text
}

/// Text on its colour: blue for −1, the terminal's own for 0, red for +1. A line break ends the colour first, or
/// the rest of the line would get it.
fn cell(text: &str, part: f64) -> String {
    let part = part.clamp(-1.0, 1.0);
    let [r, g, b] = diverging(part);
    let ink = if part.abs() > 0.6 { "97" } else { "30" };
    let paint = |line: &str| match line {
        "" => String::new(),
        line => format!("\x1b[{ink};48;2;{r};{g};{b}m{line}\x1b[0m"),
    };
    text.split('\n').map(paint).collect::<Vec<_>>().join("\n")
}

/// A colour between blue (−1), near white (0) and red (+1).
fn diverging(part: f64) -> [u8; 3] {
    let (end, part) = if part < 0.0 { ([33.0, 102.0, 172.0], -part) } else { ([178.0, 24.0, 43.0], part) };
    end.map(|end: f64| (247.0 + (end - 247.0) * part).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use whipstaff_steering::Ruler;

    fn map(tokens: &[&str], values: &[f64]) -> Heatmap {
        let ruler = Ruler { unit: Unit::Rms, size: 1.0, midpoint: 0.0 };
        Heatmap {
            vector: "v".into(),
            model: "m".into(),
            tokens: tokens.iter().map(|it| (*it).to_owned()).collect(),
            skip: 0,
            rows: vec![Projections { layer: 3, ruler, values: values.to_vec() }],
            baseline: None,
            same_tokens: false,
        }
    }

    #[test]
    fn colours_diverge_from_white_to_blue_and_red() {
        assert_eq!([-1.0, 0.0, 1.0].map(diverging), [[33, 102, 172], [247; 3], [178, 24, 43]]);
        assert!(cell("a\nb", 9.0).matches("\x1b[97;48;2;178;24;43m").count() == 2, "each line has its own");
    }

    #[test]
    fn a_hostile_token_stays_text_on_the_page() {
        let page = map(&["</script><img src=x>", "DATA"], &[1.0, -1.0]).html();
        assert!(!page.contains("<img") && page.contains(r"\u003c/script>"), "{page}");
        assert_eq!(page.matches("</script>").count(), 2, "the page's own two");
        for asks in ["http:", "https:", "src=\"", "@import", "fetch("] {
            assert!(!page.contains(asks), "{asks}");
        }
    }

    #[test]
    fn one_far_token_does_not_take_the_colour_from_the_others() {
        let mut values = vec![1.0; 20];
        values[0] = 100.0;
        assert_eq!(map(&[], &values).full(0), 1.0);
        assert_eq!(map(&[], &[0.0]).full(0), 1.0);
    }
}
