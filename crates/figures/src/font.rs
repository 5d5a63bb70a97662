//! The bundled typeface: widths, kerning and outlines.
//!
//! Text is measured and drawn from these outlines in both backends, so that a figure looks the same
//! on a machine without fonts, in a browser and in a PNG.

use ttf_parser::gpos::{PairAdjustment, PositioningSubtable};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

const REGULAR: &[u8] = include_bytes!("fonts/Inter-Regular.subset.otf");
const SEMIBOLD: &[u8] = include_bytes!("fonts/Inter-SemiBold.subset.otf");

/// How heavy the strokes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weight {
    Regular,
    SemiBold,
}

/// The two bundled weights, parsed.
pub(crate) struct Fonts {
    regular: Face<'static>,
    semibold: Face<'static>,
}

/// One glyph of a laid out line; `x` is its left edge in font units.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed {
    pub(crate) glyph: GlyphId,
    pub(crate) x: i32,
}

impl Fonts {
    pub(crate) fn bundled() -> Self {
        let parse = |bytes| Face::parse(bytes, 0).expect("the bundled font is a valid OpenType file");
        Self { regular: parse(REGULAR), semibold: parse(SEMIBOLD) }
    }

    /// True if every character has an outline.
    pub(crate) fn cover(&self, text: &str) -> bool {
        text.chars().all(|c| self.regular.glyph_index(c).is_some())
    }

    /// Width of `text` in the unit of `size` (pixels per em).
    pub(crate) fn width(&self, text: &str, weight: Weight, size: f64) -> f64 {
        f64::from(self.line(text, weight).1) * self.pixels_per_unit(weight, size)
    }

    /// The glyphs of one line of text from left to right, kerned, and its total advance in font units.
    pub(crate) fn line(&self, text: &str, weight: Weight) -> (Vec<Placed>, i32) {
        let face = self.face(weight);
        let em = i32::from(face.units_per_em());
        let mut placed: Vec<Placed> = Vec::new();
        let mut x = 0;
        for c in text.chars() {
            let known = face.glyph_index(c);
            let glyph = known.or_else(|| face.glyph_index('?')).unwrap_or_default();
            if let Some(left) = placed.last() {
                x += kern(face, left.glyph, glyph);
            }
            placed.push(Placed { glyph, x });
            // A character we do not have is drawn by some other font: a full em is enough for nearly all.
            x += if known.is_some() { face.glyph_hor_advance(glyph).map_or(em, i32::from) } else { em };
        }
        (placed, x)
    }

    /// Feeds the outline of `glyph` to `pen`, in font units with y upwards.
    pub(crate) fn outline(&self, glyph: GlyphId, weight: Weight, pen: &mut dyn OutlineBuilder) {
        // A glyph without an outline is a space: nothing to draw.
        let _ = self.face(weight).outline_glyph(glyph, pen);
    }

    /// Pixels per font unit at `size` pixels per em.
    pub(crate) fn pixels_per_unit(&self, weight: Weight, size: f64) -> f64 {
        size / f64::from(self.face(weight).units_per_em())
    }

    /// Breaks `text` into lines no wider than `limit`: as few as possible, and of similar width.
    pub(crate) fn wrap(&self, text: &str, weight: Weight, size: f64, limit: f64) -> Vec<String> {
        let mut best = self.fill(text, weight, size, limit);
        for percent in (40..100).rev() {
            let narrower = self.fill(text, weight, size, limit * f64::from(percent) / 100.0);
            if narrower.len() > best.len() {
                break;
            }
            best = narrower;
        }
        best
    }

    /// Fills line after line, breaking between words where possible.
    fn fill(&self, text: &str, weight: Weight, size: f64, limit: f64) -> Vec<String> {
        let fits = |line: &str| self.width(line, weight, size) <= limit;
        let mut lines = Vec::new();
        let mut line = String::new();
        for word in text.split_whitespace() {
            let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
            if fits(&longer) {
                line = longer;
                continue;
            }
            if !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            // A word wider than the line (a path, a hash) is cut between characters.
            for c in word.chars() {
                line.push(c);
                if !fits(&line) && line.chars().nth(1).is_some() {
                    line.pop();
                    lines.push(std::mem::replace(&mut line, c.to_string()));
                }
            }
        }
        if !line.is_empty() {
            lines.push(line);
        }
        lines
    }

    fn face(&self, weight: Weight) -> &Face<'static> {
        match weight {
            Weight::Regular => &self.regular,
            Weight::SemiBold => &self.semibold,
        }
    }
}

/// Kerning between two neighbours in font units. The subset keeps no other positioning than this.
fn kern(face: &Face<'_>, left: GlyphId, right: GlyphId) -> i32 {
    let Some(positioning) = face.tables().gpos else { return 0 };
    let subtables = positioning
        .lookups
        .into_iter()
        .flat_map(|lookup| lookup.subtables.into_iter::<PositioningSubtable<'_>>());
    for subtable in subtables {
        let PositioningSubtable::Pair(pair) = subtable else { continue };
        let Some(row) = pair.coverage().get(left) else { continue };
        let found = match pair {
            PairAdjustment::Format1 { sets, .. } => sets.get(row).and_then(|set| set.get(right)),
            PairAdjustment::Format2 { classes, matrix, .. } => {
                matrix.get((classes.0.get(left), classes.1.get(right)))
            }
        };
        if let Some((first, _)) = found {
            return i32::from(first.x_advance);
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundled_fonts_cover_what_a_figure_writes_itself() {
        let fonts = Fonts::bundled();
        assert!(fonts.cover("layer (resid_post of block) +0.5 −0.5 · α → … é Ж"));
        assert!(!fonts.cover("司書"));
    }

    #[test]
    fn kerning_pulls_a_and_v_together() {
        let fonts = Fonts::bundled();
        for weight in [Weight::Regular, Weight::SemiBold] {
            let apart = fonts.width("A", weight, 10.0) + fonts.width("V", weight, 10.0);
            assert!(fonts.width("AV", weight, 10.0) < apart - 0.2);
        }
    }

    #[test]
    fn wrapped_lines_fit_and_lose_no_letter() {
        let fonts = Fonts::bundled();
        let text = "a few words and /one/very/long/path/that/cannot/break/anywhere/at/all then more";
        let lines = fonts.wrap(text, Weight::Regular, 13.0, 120.0);
        assert!(lines.iter().all(|line| fonts.width(line, Weight::Regular, 13.0) <= 120.0));
        let letters = |s: &str| s.chars().filter(|c| !c.is_whitespace()).collect::<String>();
        assert_eq!(letters(&lines.concat()), letters(text));
    }
}
