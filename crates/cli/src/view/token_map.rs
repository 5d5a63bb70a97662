//! A text on a vector as coloured text for a terminal.

use crate::terminal::{Tone, colour, paint, printable};
use whipstaff_report::TokenMap;

/// Returns text for a terminal: coloured where colour is wanted, else a number for each token.
pub fn token_map_text(map: &TokenMap) -> String {
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

/// Returns text on its colour: blue for −1, the terminal's own for 0, red for +1. A line break ends the colour first, or
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

/// Returns a colour between blue (−1), near white (0) and red (+1).
fn diverging(part: f64) -> [u8; 3] {
    let (end, part) = if part < 0.0 { ([33.0, 102.0, 172.0], -part) } else { ([178.0, 24.0, 43.0], part) };
    end.map(|end: f64| (247.0 + (end - 247.0) * part).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_diverge_from_white_to_blue_and_red() {
        assert_eq!([-1.0, 0.0, 1.0].map(diverging), [[33, 102, 172], [247; 3], [178, 24, 43]]);
        assert!(cell("a\nb", 9.0).matches("\x1b[97;48;2;178;24;43m").count() == 2, "each line has its own");
    }
}
