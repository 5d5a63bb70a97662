//! What figures share: colours, sizes, the heading, and labels that keep their distance.

use crate::canvas::{Canvas, Ink, Text};
use crate::font::Weight;

pub(crate) const CARD: Ink = Ink { light: 0xffffff, dark: 0x151b24 };
pub(crate) const EDGE: Ink = Ink { light: 0xd8dee6, dark: 0x2c3644 };
pub(crate) const INK: Ink = Ink { light: 0x17202c, dark: 0xe9edf3 };
pub(crate) const MUTED: Ink = Ink { light: 0x55606f, dark: 0xa3afbe };
pub(crate) const GRID: Ink = Ink { light: 0xe2e7ee, dark: 0x2a3442 };
pub(crate) const AXIS: Ink = Ink { light: 0xa9b3c0, dark: 0x5a6778 };

pub(crate) const TITLE: f64 = 19.0;
pub(crate) const SUBTITLE: f64 = 13.0;
pub(crate) const PANEL_TITLE: f64 = 14.0;
pub(crate) const LABEL: f64 = 12.5;
pub(crate) const TICK: f64 = 12.0;

pub(crate) const CARD_PADDING: f64 = 26.0;
pub(crate) const COLUMN_GAP: f64 = 34.0;
pub(crate) const ROW_GAP: f64 = 24.0;
/// From a panel's title to its plot.
pub(crate) const TITLE_GAP: f64 = 16.0;
/// The y title stands once per row, left of the ticks.
pub(crate) const Y_TITLE_WIDTH: f64 = LABEL + 14.0;
/// From the edge of the plot to the labels of the lines.
pub(crate) const LEADER: f64 = 26.0;
/// Between the baselines of two labels.
pub(crate) const LABEL_STEP: f64 = 15.5;
/// From a baseline up to the middle of a digit, as a share of the text size.
pub(crate) const HALF_DIGIT: f64 = 0.364;

/// Draws title and subtitle, and returns the baseline of the last line.
pub(crate) fn heading(canvas: &mut Canvas, title: &str, subtitle: &str, width: f64) -> f64 {
    let mut y = CARD_PADDING - 6.0;
    for line in canvas.fonts.wrap(title, Weight::SemiBold, TITLE, width) {
        y += 25.0;
        canvas.text(Text::new((CARD_PADDING, y), line, TITLE, INK).bold());
    }
    y += 6.0;
    for line in canvas.fonts.wrap(subtitle, Weight::Regular, SUBTITLE, width) {
        y += 19.0;
        canvas.text(Text::new((CARD_PADDING, y), line, SUBTITLE, MUTED));
    }
    y
}

/// Places labels as close to `wanted` (ascending) as `step` between neighbours and the bounds allow.
pub(crate) fn spread(wanted: &[f64], step: f64, top: f64, bottom: f64) -> Vec<f64> {
    // Labels that would touch form a block around the middle of their wishes; blocks that touch merge.
    struct Block {
        sum: f64,
        len: usize,
    }
    let start = |block: &Block| {
        let reach = step * (block.len - 1) as f64;
        (block.sum / block.len as f64 - reach / 2.0).min(bottom - reach).max(top)
    };
    let mut blocks: Vec<Block> = Vec::new();
    for y in wanted {
        let mut block = Block { sum: *y, len: 1 };
        while let Some(above) = blocks.pop_if(|above| start(above) + step * above.len as f64 > start(&block))
        {
            block = Block { sum: above.sum + block.sum, len: above.len + block.len };
        }
        blocks.push(block);
    }
    blocks.iter().flat_map(|block| (0..block.len).map(|i| start(block) + step * i as f64)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_keep_their_distance_their_order_and_the_bounds() {
        let ys = spread(&[0.0, 0.0, 1.0, 50.0, 99.0, 99.5], 10.0, 0.0, 100.0);
        assert_eq!(ys, [0.0, 10.0, 20.0, 50.0, 90.0, 100.0]);
        assert_eq!(spread(&[50.0], 10.0, 0.0, 100.0), [50.0]);
    }
}
