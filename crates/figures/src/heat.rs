//! A heat map: numbers over two lists, such as layers and alphas.

use crate::canvas::{Anchor, Canvas, Ink, Text, outputs};
use crate::font::{Fonts, Weight};
use crate::look::{
    CARD, CARD_PADDING, EDGE, HALF_DIGIT, INK, LABEL, MUTED, PANEL_TITLE, TICK, TITLE_GAP, heading,
};

/// One or more maps over a common scale of colours.
///
/// ```
/// use whipstaff_figures::{HeatMap, HeatPanel, Tint};
///
/// let map = HeatMap {
///     title: "What a dose does".into(),
///     subtitle: "24 items".into(),
///     x_title: "layer".into(),
///     y_title: "alpha".into(),
///     tint: Tint::Signed,
///     panels: vec![HeatPanel {
///         title: "mean".into(),
///         columns: vec!["1".into(), "2".into()],
///         rows: vec!["0.5".into()],
///         values: vec![vec![0.1, -0.2]],
///         marked: Some((0, 1)),
///     }],
/// };
/// assert!(map.svg().contains("largest 0.10 at layer 1, alpha 0.5"));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct HeatMap {
    /// The headline: what the drawing shows, in a few words.
    pub title: String,
    /// The line below the headline: what was measured, and how.
    pub subtitle: String,
    /// The title below the columns.
    pub x_title: String,
    /// The title beside the rows.
    pub y_title: String,
    /// The way numbers become colours.
    pub tint: Tint,
    /// The parts, drawn below each other.
    pub panels: Vec<HeatPanel>,
}

/// One map.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatPanel {
    /// The title, which sets it apart from the others.
    pub title: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Names of the rows, from the top.
    pub rows: Vec<String>,
    /// `[rows][columns]`; NaN is an empty cell.
    pub values: Vec<Vec<f64>>,
    /// The cell that is framed: row, column.
    pub marked: Option<(usize, usize)>,
}

/// The way numbers become colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tint {
    /// Zero is pale, positive numbers are warm, negative ones cold.
    Signed,
    /// The least number is pale; equal steps of colour are equal ratios, over three decades at most.
    Growing,
}

const WIDEST: f64 = 880.0;
const CELL_HEIGHT: f64 = 26.0;
const WIDEST_CELL: f64 = 64.0;
const PANEL_GAP: f64 = 26.0;

/// From pale to strong. Cells look alike on light and dark pages, so each text has one colour in both.
const WARM: [u32; 4] = [0xfbf6ef, 0xf4c98b, 0xdc6a3f, 0x7a1f45];
const COLD: [u32; 4] = [0xf3f6f9, 0x9fd0e0, 0x3b86bd, 0x1d2f74];
const EMPTY: Ink = Ink { light: 0xf1f3f6, dark: 0x222b37 };
const ON_PALE: Ink = Ink { light: 0x17202c, dark: 0x17202c };
const ON_STRONG: Ink = Ink { light: 0xffffff, dark: 0xffffff };

outputs!(HeatMap);

impl HeatMap {
    /// Returns the findings in words, for readers who cannot see the drawing.
    pub(crate) fn describe(&self) -> String {
        let of_panel = |panel: &HeatPanel| {
            let cells = panel
                .values
                .iter()
                .enumerate()
                .flat_map(|(row, it)| it.iter().enumerate().map(move |(column, x)| (row, column, *x)));
            let most = cells.filter(|(_, _, x)| x.is_finite()).max_by(|a, b| a.2.total_cmp(&b.2));
            let most = most.map(|(row, column, x)| {
                format!(
                    "largest {} at {} {}, {} {}",
                    number(x),
                    self.x_title,
                    panel.columns[column],
                    self.y_title,
                    panel.rows[row]
                )
            });
            format!("{}: {}", panel.title, most.unwrap_or_else(|| "no data".into()))
        };
        let panels = self.panels.iter().map(of_panel);
        std::iter::once(self.subtitle.clone())
            .chain(panels)
            .filter(|it| !it.is_empty())
            .collect::<Vec<_>>()
            .join(". ")
    }

    pub(crate) fn draw(&self) -> Canvas {
        let fonts = Fonts::bundled();
        let widest = |names: &mut dyn Iterator<Item = &String>| {
            names.map(|name| fonts.width(name, Weight::Regular, TICK)).fold(0.0, f64::max)
        };
        let before = widest(&mut self.panels.iter().flat_map(|it| &it.rows)) + LABEL + 24.0;
        let n_columns = self.panels.iter().map(|it| it.columns.len()).max().unwrap_or(0).max(1);
        let inner = WIDEST - 2.0 * CARD_PADDING;
        let cell = ((inner - before) / n_columns as f64).min(WIDEST_CELL).floor();
        let name = widest(&mut self.panels.iter().flat_map(|it| &it.columns));
        // Names that do not fit beside each other are written on every second, third … column.
        let every = ((name + 6.0) / cell).ceil().max(1.0) as usize;
        let shade = Shade::of(self);
        let mut canvas = Canvas::new(WIDEST, fonts);
        let mut y = heading(&mut canvas, &self.title, &self.subtitle, inner);
        let columns = Columns { left: CARD_PADDING + before, cell, every };
        for panel in &self.panels {
            y = self.panel(&mut canvas, panel, y + PANEL_GAP, columns, &shade);
        }
        canvas.finish(y + CARD_PADDING, CARD, EDGE);
        canvas
    }

    /// Draws a panel under `y`; returns the baseline of its last line.
    fn panel(&self, canvas: &mut Canvas, panel: &HeatPanel, y: f64, columns: Columns, shade: &Shade) -> f64 {
        let Columns { left, cell, every } = columns;
        canvas.text(Text::new((left, y), &panel.title, PANEL_TITLE, INK).bold());
        let top = y + TITLE_GAP - 4.0;
        let height = CELL_HEIGHT * panel.rows.len() as f64;
        let middle = (CARD_PADDING + LABEL, top + height / 2.0);
        canvas.text(Text::new(middle, &self.y_title, LABEL, MUTED).anchored(Anchor::Middle).upwards());
        for (row, (name, values)) in panel.rows.iter().zip(&panel.values).enumerate() {
            let cell_top = top + CELL_HEIGHT * row as f64;
            let baseline = cell_top + CELL_HEIGHT / 2.0 + TICK * HALF_DIGIT;
            canvas.text(Text::new((left - 8.0, baseline), name, TICK, MUTED).anchored(Anchor::End));
            for (column, value) in values.iter().enumerate() {
                let x = left + cell * column as f64;
                canvas.begin(format!(
                    "{} {}, {} {}: {}",
                    self.x_title,
                    panel.columns[column],
                    self.y_title,
                    name,
                    number(*value)
                ));
                let (fill, ink) = shade.of_value(*value);
                canvas.rect((x + 0.5, cell_top + 0.5), (cell - 1.0, CELL_HEIGHT - 1.0), fill);
                let text = number(*value);
                if canvas.fonts.width(&text, Weight::Regular, TICK) + 4.0 <= cell && value.is_finite() {
                    let at = (x + cell / 2.0, baseline);
                    canvas.text(Text::new(at, text, TICK, ink).anchored(Anchor::Middle));
                }
                canvas.end();
            }
        }
        if let Some((row, column)) = panel.marked {
            let (x, y) = (left + cell * column as f64, top + CELL_HEIGHT * row as f64);
            let corners = [(x, y), (x + cell, y), (x + cell, y + CELL_HEIGHT), (x, y + CELL_HEIGHT), (x, y)];
            canvas.line(corners.to_vec(), INK, 2.0, false);
        }
        let ticks = top + height + 16.0;
        for (column, name) in panel.columns.iter().enumerate().step_by(every) {
            let at = (left + cell * (column as f64 + 0.5), ticks);
            canvas.text(Text::new(at, name, TICK, MUTED).anchored(Anchor::Middle));
        }
        let end = ticks + 18.0;
        let middle = (left + cell * panel.columns.len() as f64 / 2.0, end);
        canvas.text(Text::new(middle, &self.x_title, LABEL, MUTED).anchored(Anchor::Middle));
        end
    }
}

/// Where the columns of all panels stand.
#[derive(Clone, Copy)]
struct Columns {
    /// The left edge of the first.
    left: f64,
    /// The width of one.
    cell: f64,
    /// Every so many columns one is named.
    every: usize,
}

/// The scale of colours that all cells of a map share.
struct Shade {
    tint: Tint,
    low: f64,
    high: f64,
}

impl Shade {
    fn of(map: &HeatMap) -> Shade {
        let values = || map.panels.iter().flat_map(|it| it.values.iter().flatten()).filter(|x| x.is_finite());
        let high = values().fold(f64::NEG_INFINITY, |high, x| high.max(*x));
        let low = values().fold(f64::INFINITY, |low, x| low.min(*x));
        match map.tint {
            Tint::Signed => {
                let most = high.abs().max(low.abs());
                Shade { tint: map.tint, low: 0.0, high: most }
            }
            Tint::Growing => Shade { tint: map.tint, low: low.max(high / 1e3).ln(), high: high.ln() },
        }
    }

    /// Returns the colours of a cell and of the text on it.
    fn of_value(&self, value: f64) -> (Ink, Ink) {
        if !value.is_finite() {
            return (EMPTY, MUTED);
        }
        let ramp = if self.tint == Tint::Signed && value < 0.0 { COLD } else { WARM };
        let size = if self.tint == Tint::Signed { value.abs() } else { value.ln() };
        let span = self.high - self.low;
        let share = if span > 0.0 { ((size - self.low) / span).clamp(0.0, 1.0) } else { 0.0 };
        let colour = between(ramp, share);
        (Ink { light: colour, dark: colour }, if share > 0.55 { ON_STRONG } else { ON_PALE })
    }
}

/// Returns a colour along a ramp, `share` from 0 to 1.
fn between(ramp: [u32; 4], share: f64) -> u32 {
    let at = share * 3.0;
    let from = (at as usize).min(2);
    let part = at - from as f64;
    let channel = |shift: u32| {
        let of = |colour: u32| f64::from(colour >> shift & 0xff);
        ((of(ramp[from]) * (1.0 - part) + of(ramp[from + 1]) * part).round() as u32) << shift
    };
    channel(16) | channel(8) | channel(0)
}

/// Returns a number with three digits at most, so that it fits a cell.
fn number(x: f64) -> String {
    let minus = if x < 0.0 { "−" } else { "" };
    match x.abs() {
        _ if !x.is_finite() => "no data".into(),
        size if size >= 99.95 => format!("{minus}{size:.0}"),
        size if size >= 9.995 => format!("{minus}{size:.1}"),
        size => format!("{minus}{size:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(values: Vec<Vec<f64>>, tint: Tint) -> HeatMap {
        let rows = values.iter().enumerate().map(|(i, _)| format!("{i}")).collect();
        let columns = (0..values[0].len()).map(|i| format!("{i}")).collect();
        let panel = HeatPanel { title: "mean".into(), columns, rows, values, marked: Some((0, 1)) };
        HeatMap {
            title: "Effect".into(),
            subtitle: "on 24 contrasts".into(),
            x_title: "layer".into(),
            y_title: "alpha".into(),
            tint,
            panels: vec![panel],
        }
    }

    #[test]
    fn colours_run_from_pale_to_strong_and_tell_signs_apart() {
        let signed = Shade::of(&map(vec![vec![-2.0, 0.0, 1.0]], Tint::Signed));
        let check =
            |shade: &Shade, value: f64, want: u32| assert_eq!(shade.of_value(value).0.light, want, "{value}");
        check(&signed, 0.0, WARM[0]);
        check(&signed, 2.0, WARM[3]);
        check(&signed, -2.0, COLD[3]);
        check(&signed, f64::NAN, EMPTY.light);
        let growing = Shade::of(&map(vec![vec![1.0, 4.0]], Tint::Growing));
        check(&growing, 1.0, WARM[0]);
        check(&growing, 4.0, WARM[3]);
        check(&growing, 2.0, between(WARM, 0.5));
        check(&growing, 0.0, WARM[0]);
    }

    #[test]
    fn equal_maps_give_equal_bytes_and_say_their_findings_in_words() {
        let make = || map(vec![vec![0.1, 0.25], vec![f64::NAN, -0.2]], Tint::Signed);
        assert_eq!(make().svg(), make().svg());
        assert!(make().svg().contains("largest 0.25 at layer 1, alpha 0"));
        assert!(!make().png(1.0).unwrap().is_empty());
        assert!(make().svg_inline().starts_with("<svg"));
    }

    /// `WHIPSTAFF_GOLDEN=1` draws the file anew: look at it before it is committed.
    #[test]
    fn the_drawing_is_the_golden_one() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/heat.svg");
        let drawn = map(vec![vec![0.1, 0.25, -1.0], vec![f64::NAN, -0.2, 12.5]], Tint::Signed).svg();
        if std::env::var_os("WHIPSTAFF_GOLDEN").is_some() {
            std::fs::write(&path, &drawn).unwrap();
        }
        assert!(std::fs::read_to_string(&path).unwrap() == drawn, "the drawing has changed");
    }

    #[test]
    fn a_map_without_numbers_or_with_one_still_draws() {
        for values in [vec![vec![f64::NAN]], vec![vec![1.0]], vec![vec![]]] {
            let it = HeatMap {
                panels: vec![HeatPanel {
                    marked: None,
                    ..map(values.clone(), Tint::Growing).panels[0].clone()
                }],
                ..map(vec![vec![0.0]], Tint::Growing)
            };
            assert!(it.svg().contains("</svg>"), "{values:?}");
        }
    }

    #[test]
    fn numbers_are_short() {
        let check = |x: f64, want: &str| assert_eq!(number(x), want);
        check(0.123, "0.12");
        check(-1.5, "−1.50");
        check(12.34, "12.3");
        check(1234.5, "1234");
        check(f64::NAN, "no data");
    }
}
