//! Numbers with their intervals: a row each, in groups over a common scale.

use crate::axis::{Axis, series, signed};
use crate::canvas::{Anchor, Canvas, Ink, Text, outputs};
use crate::font::{Fonts, Weight};
use crate::look::{
    AXIS, CARD, CARD_PADDING, EDGE, GRID, HALF_DIGIT, INK, LABEL, MUTED, PANEL_TITLE, TICK, heading,
};

/// Groups of numbers with intervals.
#[derive(Clone, Debug, PartialEq)]
pub struct Intervals {
    /// What it shows, in a few words.
    pub title: String,
    /// What was measured, and how.
    pub subtitle: String,
    /// What the numbers are.
    pub x_title: String,
    /// Drawn below each other.
    pub groups: Vec<IntervalGroup>,
}

/// Rows that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct IntervalGroup {
    /// What sets it apart from the others.
    pub title: String,
    /// From the top.
    pub rows: Vec<IntervalRow>,
}

/// A number with its interval.
#[derive(Clone, Debug, PartialEq)]
pub struct IntervalRow {
    /// What it is of.
    pub name: String,
    /// Rows of one series have one colour.
    pub series: usize,
    /// The number; NaN is an empty row.
    pub value: f64,
    /// Where it may lie.
    pub interval: Option<[f64; 2]>,
    /// What stands behind it, right of the plot.
    pub note: String,
}

const WIDTH: f64 = 880.0;
const ROW: f64 = 24.0;
const GROUP_TITLE: f64 = 30.0;
const GROUP_GAP: f64 = 10.0;
/// From the plot to what stands beside it.
const BESIDE: f64 = 12.0;
/// Half the height of the ends of an interval.
const CAP: f64 = 4.0;

outputs!(Intervals);

impl Intervals {
    /// The findings in words, for readers who cannot see the drawing.
    pub(crate) fn describe(&self) -> String {
        let of_group = |group: &IntervalGroup| {
            let rows = group.rows.iter().map(|it| format!("{} {}", it.name, it.in_words()));
            format!("{}: {}", group.title, rows.collect::<Vec<_>>().join(", "))
        };
        let parts = std::iter::once(self.subtitle.clone()).chain(self.groups.iter().map(of_group));
        parts.filter(|it| !it.is_empty()).collect::<Vec<_>>().join(". ")
    }

    fn rows(&self) -> impl Iterator<Item = &IntervalRow> {
        self.groups.iter().flat_map(|it| &it.rows)
    }

    pub(crate) fn draw(&self) -> Canvas {
        let fonts = Fonts::bundled();
        let widest = |text: fn(&IntervalRow) -> &String, size: f64| {
            self.rows().map(|it| fonts.width(text(it), Weight::Regular, size)).fold(0.0, f64::max)
        };
        let before = widest(|it| &it.name, LABEL) + BESIDE;
        let after = widest(|it| &it.note, TICK) + BESIDE;
        let axis = Axis::over(
            self.rows().flat_map(|it| [it.value].into_iter().chain(it.interval.into_iter().flatten())),
        );
        let left = (CARD_PADDING + before).round() + 0.5;
        let right = (WIDTH - CARD_PADDING - after).floor() + 0.5;
        let x = |value: f64| left + axis.share(value) * (right - left);
        let mut canvas = Canvas::new(WIDTH, fonts);
        let top = heading(&mut canvas, &self.title, &self.subtitle, WIDTH - 2.0 * CARD_PADDING) + 14.0;
        let height: f64 =
            self.groups.iter().map(|it| GROUP_TITLE + ROW * it.rows.len() as f64 + GROUP_GAP).sum();
        let bottom = (top + height).round() + 0.5;
        let ticks: Vec<(f64, f64, String)> =
            axis.ticks().into_iter().map(|(value, text)| (value, x(value).floor() + 0.5, text)).collect();
        for (_, at, text) in &ticks {
            canvas.text(Text::new((*at, bottom + 17.0), text, TICK, MUTED).anchored(Anchor::Middle));
        }
        let mut y = top;
        for group in &self.groups {
            canvas.text(
                Text::new((CARD_PADDING, y + GROUP_TITLE - 10.0), &group.title, PANEL_TITLE, INK).bold(),
            );
            y += GROUP_TITLE;
            for (value, at, _) in &ticks {
                let ink = if *value == 0.0 { AXIS } else { GRID };
                canvas.line(vec![(*at, y), (*at, y + ROW * group.rows.len() as f64)], ink, 1.0, false);
            }
            for row in &group.rows {
                let middle = y + ROW / 2.0;
                row.draw(&mut canvas, &x, [left, right], middle);
                y += ROW;
            }
            y += GROUP_GAP;
        }
        let end = bottom + 38.0;
        let middle = ((left + right) / 2.0, end);
        canvas.text(Text::new(middle, &self.x_title, LABEL, MUTED).anchored(Anchor::Middle));
        canvas.finish(end + CARD_PADDING, CARD, EDGE);
        canvas
    }
}

impl IntervalRow {
    fn in_words(&self) -> String {
        match self.interval {
            Some([low, high]) => {
                format!("{} ({} to {})", signed(self.value, 3), signed(low, 3), signed(high, 3))
            }
            None => signed(self.value, 3),
        }
    }

    /// Draws it around the height `y`; `x` is where a value lies.
    fn draw(&self, canvas: &mut Canvas, x: &impl Fn(f64) -> f64, [left, right]: [f64; 2], y: f64) {
        let ink: Ink = series(self.series);
        let baseline = y + LABEL * HALF_DIGIT;
        canvas.begin(format!("{} {}", self.name, self.in_words()));
        canvas.text(Text::new((left - BESIDE, baseline), &self.name, LABEL, INK).anchored(Anchor::End));
        if let Some([low, high]) = self.interval.filter(|it| it.iter().all(|x| x.is_finite())) {
            let (low, high) = (x(low), x(high));
            canvas.line(vec![(low, y), (high, y)], ink, 2.0, false);
            for end in [low, high] {
                canvas.line(vec![(end, y - CAP), (end, y + CAP)], ink, 2.0, false);
            }
        }
        if self.value.is_finite() {
            canvas.dot((x(self.value), y), 5.0, ink);
        } else {
            canvas.text(Text::new((left + BESIDE, baseline), "no data", LABEL, MUTED));
        }
        canvas.text(Text::new((right + BESIDE, y + TICK * HALF_DIGIT), &self.note, TICK, MUTED));
        canvas.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, series: usize, value: f64, interval: Option<[f64; 2]>) -> IntervalRow {
        IntervalRow { name: name.into(), series, value, interval, note: "layer 3 of 6 · 94 %".into() }
    }

    fn figure() -> Intervals {
        let group = |title: &str, rows| IntervalGroup { title: title.into(), rows };
        Intervals {
            title: "What each method does at equal cost".into(),
            subtitle: "whipstaff/librarian · 0.1 nats per token · 95 % intervals".into(),
            x_title: "effect, nats per token".into(),
            groups: vec![
                group(
                    "formal",
                    vec![
                        row("mean", 0, 0.31, Some([0.22, 0.4])),
                        row("pca", 1, 0.12, Some([-0.05, 0.3])),
                        row("logistic", 2, f64::NAN, None),
                    ],
                ),
                group("verbose <b>", vec![row("mean", 0, -0.08, None)]),
            ],
        }
    }

    #[test]
    fn every_number_stands_in_the_description_and_no_text_is_markup() {
        let svg = figure().svg();
        assert!(svg.contains("mean +0.310 (+0.220 to +0.400), pca +0.120"), "{svg}");
        assert!(!svg.contains("<b>") && !svg.contains("NaN"));
        assert!(figure().svg_inline().starts_with("<svg") && !figure().png(1.0).unwrap().is_empty());
    }

    #[test]
    fn a_figure_without_rows_still_draws() {
        for groups in [Vec::new(), vec![IntervalGroup { title: String::new(), rows: Vec::new() }]] {
            let svg = Intervals { groups, ..figure() }.svg();
            assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"));
        }
    }

    /// `WHIPSTAFF_GOLDEN=1` draws the file anew: look at it before it is committed.
    #[test]
    fn the_drawing_is_the_golden_one() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/intervals.svg");
        let drawn = figure().svg();
        if std::env::var_os("WHIPSTAFF_GOLDEN").is_some() {
            std::fs::write(&path, &drawn).unwrap();
        }
        assert!(std::fs::read_to_string(&path).unwrap() == drawn, "the drawing has changed");
    }
}
