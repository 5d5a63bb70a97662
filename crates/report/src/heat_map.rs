//! The projections of a text's tokens on a vector, and the page that shows them as a heat map.

use crate::page::render;
use askama::Template;
use serde_json::json;
use whipstaff_steering::{Projections, Unit};

/// The projections of each token of a text on a vector, by layer.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenMap {
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
    /// The projections that `rows` are compared with, and how many of their leading tokens do not count.
    pub baseline: Option<(usize, Vec<Projections>)>,
    /// True if the baseline is of the same tokens; the colours are then shifts, token by token.
    pub same_tokens: bool,
}

impl TokenMap {
    /// Returns the unit that projections are counted in.
    pub fn unit(&self) -> Unit {
        self.rows.first().map_or(Unit::Unit, |row| row.ruler.unit)
    }

    /// Returns how far the mean of the `i`-th layer lies above the mean of the baseline; `None` without a baseline.
    pub fn shift(&self, i: usize) -> Option<f64> {
        let (skip, rows) = self.baseline.as_ref()?;
        Some(self.rows[i].mean(self.skip)? - rows[i].mean(*skip)?)
    }

    /// Returns the numbers that are coloured at the `i`-th layer, one for each token.
    pub fn values(&self, i: usize) -> Vec<f64> {
        let values = &self.rows[i].values;
        match &self.baseline {
            Some((_, rows)) if self.same_tokens => {
                values.iter().zip(&rows[i].values).map(|(it, baseline)| it - baseline).collect()
            }
            _ => values.clone(),
        }
    }

    /// Returns the number of full colour at the `i`-th layer: 19 of 20 tokens stay below it.
    pub fn full(&self, i: usize) -> f64 {
        let values = self.values(i);
        let counted = values.get(self.skip..).filter(|it| !it.is_empty()).unwrap_or(&values);
        let mut sizes: Vec<f64> = counted.iter().map(|it| it.abs()).collect();
        sizes.sort_by(f64::total_cmp);
        let at = (sizes.len() * 19).div_ceil(20).max(1) - 1;
        sizes.get(at).copied().filter(|it| *it > 0.0).unwrap_or(1.0)
    }

    /// Says what a number means. A shift does not depend on where one counts from.
    pub fn meaning(&self) -> String {
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

    /// Returns the page as a complete HTML document. Tokens reach it as data and are set as text, never as markup.
    pub fn html(&self) -> String {
        let row = |i: usize| {
            json!({"layer": self.rows[i].layer, "values": self.values(i), "full": self.full(i),
                   "mean": self.rows[i].mean(self.skip), "shift": self.shift(i)})
        };
        let rows: Vec<_> = (0..self.rows.len()).map(row).collect();
        render(&Page {
            title: &format!("{} on {}", self.vector, self.model),
            intro: &self.meaning(),
            version: env!("CARGO_PKG_VERSION"),
            // Within a script only `<` could end the data.
            data: json!({ "tokens": self.tokens, "rows": rows }).to_string().replace('<', "\\u003c"),
        })
    }
}

/// What the template shows.
#[derive(Template)]
#[template(path = "heat_map.html")]
struct Page<'a> {
    title: &'a str,
    intro: &'a str,
    version: &'a str,
    /// JSON without `<`.
    data: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use whipstaff_steering::Ruler;

    fn map(tokens: &[&str], values: &[f64]) -> TokenMap {
        let ruler = Ruler { unit: Unit::Rms, size: 1.0, midpoint: 0.0 };
        TokenMap {
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
