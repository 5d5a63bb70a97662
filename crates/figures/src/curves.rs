//! Curves along the layers of a model: how far steering turns the residual stream.
//!
//! A panel shows the cosine similarity between the steered and the unsteered `resid_post` of every block, one line
//! per alpha with a band around it, and marks the layers that were edited.

use crate::canvas::{Anchor, Canvas, Ink, Text, outputs};
use crate::font::{Fonts, Weight};
use crate::look::{
    AXIS, CARD, CARD_PADDING, COLUMN_GAP, EDGE, GRID, HALF_DIGIT, INK, LABEL, LABEL_STEP, LEADER, MUTED,
    PANEL_TITLE, ROW_GAP, TICK, TITLE_GAP, Y_TITLE_WIDTH, heading, spread,
};

/// One or more panels over a common scale.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What the figure shows, in a few words.
    pub title: String,
    /// Model, vector, unit of alpha, text, and what the bands mean.
    pub subtitle: String,
    /// Drawn side by side, two to a row.
    pub panels: Vec<Panel>,
}

/// One experiment: a set of edited layers under several alphas.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// What sets this panel apart from the others.
    pub title: String,
    /// Number of decoder blocks; the x axis runs from 0 to `n_layers` − 1.
    pub n_layers: usize,
    /// Layers whose `resid_post` is edited.
    pub injected: Vec<usize>,
    /// One line per alpha, in any order.
    pub curves: Vec<Curve>,
}

/// The similarities under one alpha.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// The dial of the steering, in the unit that the subtitle names.
    pub alpha: f64,
    /// One per layer, ascending. A missing layer is a gap in the line.
    pub points: Vec<Point>,
}

/// The similarity at one layer, over prompts. All three are cosines, from −1 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// 0-based index of the block after which the stream was read.
    pub layer: usize,
    /// The line. NaN is a gap.
    pub mean: f64,
    /// Lower edge of the band. NaN: no band here.
    pub low: f64,
    /// Upper edge of the band. NaN: no band here.
    pub high: f64,
}

outputs!(Figure);

impl Figure {
    /// The findings in words, for readers who cannot see the drawing.
    fn describe(&self) -> String {
        let mut words = vec![self.subtitle.clone()];
        for panel in &self.panels {
            words.push(format!(
                "{}: {} layers, injected at {}",
                panel.title,
                panel.n_layers,
                ranges(&panel.injected_runs())
            ));
            words.extend(panel.ordered().iter().map(|curve| panel.summary(curve)));
        }
        words.retain(|w| !w.is_empty());
        words.join(". ")
    }

    fn draw(&self) -> Canvas {
        let fonts = Fonts::bundled();
        let layout = Layout::of(self, &fonts);
        let mut canvas = Canvas::new(layout.width, fonts);
        let mut y = heading(&mut canvas, &self.title, &self.subtitle, layout.inner());
        for row in self.panels.chunks(layout.columns) {
            y = layout.row(&mut canvas, row, y + ROW_GAP);
        }
        if self.panels.iter().any(|panel| !panel.injected_runs().is_empty()) {
            y += 25.0;
            mark(&mut canvas, layout.first_plot() + 7.0, y - 9.0, 5.0);
            canvas.text(Text::new((layout.first_plot() + 20.0, y), MARKS_LEGEND, LABEL, MUTED));
        }
        canvas.finish(y + CARD_PADDING, CARD, EDGE);
        canvas
    }
}

/// What all panels of a figure share. Lengths are in pixels.
struct Layout {
    columns: usize,
    width: f64,
    scale: Scale,
    ramp: Ramp,
    /// Room for the y ticks, left of a plot.
    before: f64,
    /// Room for the labels of the lines, right of a plot.
    after: f64,
    plot_width: f64,
    plot_height: f64,
}

impl Layout {
    fn of(figure: &Figure, fonts: &Fonts) -> Self {
        let panels = &figure.panels;
        let (columns, width, usual_height) =
            if panels.len() < 2 { (1, 880.0, 340.0) } else { (2, 1080.0, 300.0) };
        let scale = Scale::down_to(panels.iter().flat_map(Panel::values).fold(f64::INFINITY, f64::min));
        let labels: Vec<Vec<Label>> = panels.iter().map(Panel::labels).collect();
        let most_labels = labels.iter().map(Vec::len).max().unwrap_or(0);
        let widest = |texts: &mut dyn Iterator<Item = String>, size| {
            texts.map(|text| fonts.width(&text, Weight::Regular, size)).fold(0.0, f64::max)
        };
        let before = widest(&mut scale.ticks().into_iter().map(|tick| tick.text), TICK) + 10.0;
        let label = widest(&mut labels.into_iter().flatten().map(|label| label.text), LABEL);
        let mut layout = Self {
            columns,
            width,
            scale,
            ramp: Ramp::of(panels),
            before,
            after: LEADER + label.max(fonts.width(LABELS_HEAD, Weight::Regular, TICK)),
            plot_width: 0.0,
            plot_height: (most_labels as f64 * LABEL_STEP).max(usual_height),
        };
        let gaps = Y_TITLE_WIDTH + COLUMN_GAP * (columns - 1) as f64;
        layout.plot_width = ((layout.inner() - gaps) / columns as f64 - layout.before - layout.after).floor();
        layout
    }

    /// Width between the paddings of the card.
    fn inner(&self) -> f64 {
        self.width - 2.0 * CARD_PADDING
    }

    /// Left edge of the first plot of every row.
    fn first_plot(&self) -> f64 {
        // Hairlines are sharp only if they run along the middle of a pixel.
        (CARD_PADDING + Y_TITLE_WIDTH + self.before).round() + 0.5
    }

    /// Draws a row of panels under `y`; returns the baseline of its last line of text.
    fn row(&self, canvas: &mut Canvas, panels: &[Panel], y: f64) -> f64 {
        let wrap =
            |panel: &Panel| canvas.fonts.wrap(&panel.title, Weight::SemiBold, PANEL_TITLE, self.plot_width);
        let titles: Vec<Vec<String>> = panels.iter().map(wrap).collect();
        // At least one, for the head of the labels.
        let title_lines = titles.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let top = (y + title_lines as f64 * TITLE_STEP + TITLE_GAP).round() + 0.5;
        let pitch = (self.before + self.plot_width + self.after + COLUMN_GAP).round();
        for (column, (panel, title)) in panels.iter().zip(titles).enumerate() {
            let left = self.first_plot() + pitch * column as f64;
            let plot = Plot {
                left,
                top,
                width: self.plot_width,
                height: self.plot_height,
                n_layers: panel.n_layers,
                scale: self.scale,
            };
            for (above, line) in title.into_iter().rev().enumerate() {
                let y = top - TITLE_GAP - TITLE_STEP * above as f64;
                canvas.text(Text::new((left, y), line, PANEL_TITLE, INK).bold());
            }
            if column == 0 {
                let middle = (CARD_PADDING + LABEL, top + self.plot_height / 2.0);
                canvas.text(Text::new(middle, Y_TITLE, LABEL, MUTED).anchored(Anchor::Middle).upwards());
            }
            plot.axes(canvas, &panel.injected_runs());
            plot.curves(canvas, panel, &self.ramp);
            plot.labels(canvas, panel.labels(), &self.ramp);
        }
        top + self.plot_height + X_TITLE_DROP
    }
}

// ---- Look ----

const SHADE: Ink = Ink { light: 0xf3f6f9, dark: 0x1c232e };
const ZERO: Ink = Ink { light: 0x808a98, dark: 0x8b96a5 };

/// From the smallest to the largest |alpha|. Contrast with the card grows along both ramps, so that
/// their order survives any colour blindness and a grey printer; blue against orange tells the signs
/// apart, and dashes do it again.
const POSITIVE: [Ink; 3] = [
    Ink { light: 0xd48216, dark: 0xb5623c },
    Ink { light: 0xcb4637, dark: 0xee8a45 },
    Ink { light: 0x681242, dark: 0xffd276 },
];
const NEGATIVE: [Ink; 3] = [
    Ink { light: 0x359cb5, dark: 0x388098 },
    Ink { light: 0x2574b8, dark: 0x4ca4de },
    Ink { light: 0x1a2a6c, dark: 0xa6d8ff },
];

/// Between the lines of a panel's title, and from the last one to the plot.
const TITLE_STEP: f64 = 18.0;
/// From the x axis down to the baseline of its title.
const X_TITLE_DROP: f64 = 48.0;
/// Most room between the edges of a plot and its outer layers.
const MAX_INSET: f64 = 14.0;

const Y_TITLE: &str = "cosine similarity (steered vs unsteered)";
const X_TITLE: &str = "layer (resid_post of block)";
const LABELS_HEAD: &str = "alpha";
const MARKS_LEGEND: &str = "injected here";

// ---- Data ----

impl Panel {
    /// Everything that the y axis has to reach.
    fn values(&self) -> impl Iterator<Item = f64> {
        let points = self.curves.iter().flat_map(|curve| self.points(curve));
        points.flat_map(|p| [p.mean, p.low, p.high]).filter(|v| v.is_finite())
    }

    /// The points of `curve` that have a place in the panel.
    fn points<'a>(&self, curve: &'a Curve) -> impl Iterator<Item = Point> + use<'a> {
        let n_layers = self.n_layers;
        curve.points.iter().copied().filter(move |p| p.layer < n_layers && p.mean.is_finite())
    }

    /// The curves from the smallest to the largest |alpha|.
    fn ordered(&self) -> Vec<&Curve> {
        let mut curves: Vec<&Curve> = self.curves.iter().collect();
        curves.sort_by(|a, b| a.alpha.abs().total_cmp(&b.alpha.abs()).then(a.alpha.total_cmp(&b.alpha)));
        curves
    }

    /// The injected layers as runs of neighbours, first to last.
    fn injected_runs(&self) -> Vec<(usize, usize)> {
        let mut layers: Vec<usize> =
            self.injected.iter().copied().filter(|layer| *layer < self.n_layers).collect();
        layers.sort_unstable();
        layers.dedup();
        layers.chunk_by(|a, b| a + 1 == *b).map(|run| (run[0], run[run.len() - 1])).collect()
    }

    fn labels(&self) -> Vec<Label> {
        let label = |curve: &&Curve| {
            let end = self.points(curve).last();
            let text = alpha_text(curve.alpha);
            Label {
                alpha: curve.alpha,
                text: if end.is_some() { text } else { format!("{text} (no data)") },
                end,
            }
        };
        self.ordered().iter().map(label).collect()
    }

    fn summary(&self, curve: &Curve) -> String {
        let name = alpha_text(curve.alpha);
        let lowest = self.points(curve).min_by(|a, b| a.mean.total_cmp(&b.mean));
        match (lowest, self.points(curve).last()) {
            (Some(low), Some(last)) => {
                format!(
                    "alpha {name}: lowest {:.3} at layer {}, {:.3} at layer {}",
                    low.mean, low.layer, last.mean, last.layer
                )
            }
            _ => format!("alpha {name}: no data"),
        }
    }
}

/// The label of a line and the point where the line ends; none without data.
struct Label {
    alpha: f64,
    text: String,
    end: Option<Point>,
}

/// `alpha` with its sign, rounded to what a reader would have typed.
fn alpha_text(alpha: f64) -> String {
    let size = alpha.abs();
    let digits = match size {
        _ if !size.is_finite() => return "n/a".to_owned(),
        0.0 => return "0".to_owned(),
        _ if (1e-4..1e6).contains(&size) => {
            let text = format!("{size:.4}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => format!("{size:.2e}"),
    };
    format!("{}{digits}", if alpha < 0.0 { '−' } else { '+' })
}

/// "layers 0–15, layer 20" for two runs.
fn ranges(runs: &[(usize, usize)]) -> String {
    if runs.is_empty() {
        return "no layer".to_owned();
    }
    let words: Vec<String> = runs
        .iter()
        .map(|(a, b)| if a == b { format!("layer {a}") } else { format!("layers {a}–{b}") })
        .collect();
    words.join(", ")
}

/// The colours of the lines.
struct Ramp {
    /// Every |alpha| of the figure but 0, ascending.
    sizes: Vec<f64>,
}

impl Ramp {
    fn of(panels: &[Panel]) -> Self {
        let mut sizes: Vec<f64> = panels
            .iter()
            .flat_map(|p| &p.curves)
            .map(|c| c.alpha.abs())
            .filter(|a| a.is_finite() && *a > 0.0)
            .collect();
        sizes.sort_by(f64::total_cmp);
        sizes.dedup();
        Self { sizes }
    }

    /// Colours go by rank: alphas are rarely spaced evenly, and neighbours must differ.
    fn ink(&self, alpha: f64) -> Ink {
        let Some(rank) = self.sizes.iter().position(|size| *size == alpha.abs()) else { return ZERO };
        let t = if self.sizes.len() == 1 { 0.5 } else { rank as f64 / (self.sizes.len() - 1) as f64 };
        let stops = if alpha < 0.0 { NEGATIVE } else { POSITIVE };
        let (from, to, t) =
            if t < 0.5 { (stops[0], stops[1], t * 2.0) } else { (stops[1], stops[2], t * 2.0 - 1.0) };
        Ink { light: mix(from.light, to.light, t), dark: mix(from.dark, to.dark, t) }
    }
}

fn mix(from: u32, to: u32, t: f64) -> u32 {
    let (from, to) = (from.to_be_bytes(), to.to_be_bytes());
    u32::from_be_bytes(std::array::from_fn(|i| {
        (f64::from(from[i]) * (1.0 - t) + f64::from(to[i]) * t).round() as u8
    }))
}

/// The y axis, from a round number up to 1. In thousandths, so that ticks carry no rounding noise.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Scale {
    low: i32,
    step: i32,
}

struct Tick {
    value: f64,
    text: String,
}

impl Scale {
    /// Under this span a nearly flat line would look like a fall.
    const MIN_SPAN: i32 = 50;
    const TOP: i32 = 1000;
    /// All of them divide 1000: the top is always a tick.
    const STEPS: [i32; 7] = [10, 20, 50, 100, 200, 250, 500];

    fn down_to(lowest: f64) -> Self {
        // The tolerance keeps 0.57, which is stored as 0.56999…, on its own tick.
        let lowest = (lowest.clamp(-1.0, 1.0) * 1000.0 + 1e-6).floor() as i32;
        let lowest = lowest.min(Self::TOP - Self::MIN_SPAN);
        let step = Self::STEPS.into_iter().find(|step| Self::TOP - lowest <= 6 * step).unwrap_or(500);
        Self { low: lowest.div_euclid(step) * step, step }
    }

    fn low(self) -> f64 {
        f64::from(self.low) / 1000.0
    }

    fn ticks(self) -> Vec<Tick> {
        let decimals = if self.step % 100 == 0 { 1 } else { 2 };
        let tick = |value: i32| {
            let value = f64::from(value) / 1000.0;
            Tick { value, text: format!("{value:.decimals$}").replace('-', "−") }
        };
        (self.low..=Self::TOP).step_by(self.step as usize).map(tick).collect()
    }
}

/// The layers that get a number on the x axis, if `room` of them fit: every so many, and the last.
fn layer_ticks(n_layers: usize, room: usize) -> Vec<usize> {
    const STEPS: [usize; 10] = [1, 2, 4, 5, 8, 10, 16, 20, 25, 50];
    let Some(last) = n_layers.checked_sub(1) else { return Vec::new() };
    let fits = |step: &usize| last / step < room;
    let usual = STEPS.into_iter().find(fits).unwrap_or(last.max(1));
    // A step that ends on the last layer is worth being unusual.
    let exact = (1..=usual + usual / 2).find(|step| fits(step) && last % step == 0);
    let step = exact.unwrap_or(usual);
    let mut ticks: Vec<usize> = (0..=last).step_by(step).collect();
    let rest = last - ticks[ticks.len() - 1];
    if rest * 3 >= step * 2 {
        ticks.push(last);
    }
    ticks
}

// ---- Drawing ----

/// The rectangle of one panel, and where its data falls.
struct Plot {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    n_layers: usize,
    scale: Scale,
}

impl Plot {
    fn right(&self) -> f64 {
        self.left + self.width
    }

    fn bottom(&self) -> f64 {
        self.top + self.height
    }

    /// Pixels from one layer to the next.
    fn step(&self) -> f64 {
        if self.n_layers < 2 {
            self.width
        } else {
            (self.width - 2.0 * self.inset()) / (self.n_layers - 1) as f64
        }
    }

    /// From the edges of the plot to the first and last layer.
    fn inset(&self) -> f64 {
        if self.n_layers < 2 {
            self.width / 2.0
        } else {
            (self.width / (2 * self.n_layers) as f64).min(MAX_INSET)
        }
    }

    fn x(&self, layer: usize) -> f64 {
        self.left + self.inset() + if layer == 0 { 0.0 } else { self.step() * layer as f64 }
    }

    fn y(&self, cosine: f64) -> f64 {
        let low = self.scale.low();
        self.bottom() - (cosine.clamp(low, 1.0) - low) / (1.0 - low) * self.height
    }

    fn axes(&self, canvas: &mut Canvas, injected: &[(usize, usize)]) {
        let mark_width = (self.step() * 0.62).clamp(1.5, 9.0);
        for (first, last) in injected {
            let half = (self.step() / 2.0).min(MAX_INSET);
            let left = (self.x(*first) - half).max(self.left);
            let right = (self.x(*last) + half).min(self.right());
            canvas.rect((left, self.top), (right - left, self.height), SHADE);
        }
        for tick in self.scale.ticks() {
            let y = (self.y(tick.value) - 0.5).round() + 0.5;
            canvas.line(vec![(self.left, y), (self.right(), y)], GRID, 1.0, false);
            canvas.text(
                Text::new((self.left - 9.0, y + TICK * HALF_DIGIT), tick.text, TICK, MUTED)
                    .anchored(Anchor::End),
            );
        }
        let base = self.bottom();
        canvas.line(vec![(self.left, base), (self.right(), base)], AXIS, 1.0, false);
        for (first, last) in injected {
            for layer in *first..=*last {
                mark(canvas, self.x(layer), base + 3.0, mark_width / 2.0);
            }
        }
        for layer in layer_ticks(self.n_layers, ((self.width / 34.0) as usize).min(11)) {
            let x = self.x(layer);
            canvas.text(Text::new((x, base + 25.0), layer.to_string(), TICK, MUTED).anchored(Anchor::Middle));
        }
        let x = self.left + self.width / 2.0;
        canvas.text(Text::new((x, base + X_TITLE_DROP), X_TITLE, LABEL, MUTED).anchored(Anchor::Middle));
    }

    fn curves(&self, canvas: &mut Canvas, panel: &Panel, ramp: &Ramp) {
        let curves = panel.ordered();
        // All bands lie under all lines: no line is dulled by another's band.
        for curve in &curves {
            let ink = ramp.ink(curve.alpha);
            for run in runs(panel.points(curve).filter(|p| p.low.is_finite() && p.high.is_finite())) {
                let at = |p: &Point, cosine: f64| (self.x(p.layer), self.y(cosine));
                if let [only] = run.as_slice() {
                    canvas.line(vec![at(only, only.low), at(only, only.high)], ink, 1.25, false);
                    continue;
                }
                let upper = run.iter().map(|p| at(p, p.high));
                let lower = run.iter().rev().map(|p| at(p, p.low));
                canvas.polygon(upper.chain(lower).collect(), ink, 0.13);
            }
        }
        if panel.values().next().is_none() {
            let (x, y) = (self.left + self.width / 2.0, self.top + self.height / 2.0);
            canvas.text(Text::new((x, y), "no data", LABEL, MUTED).anchored(Anchor::Middle));
        }
        for curve in &curves {
            let ink = ramp.ink(curve.alpha);
            canvas.begin(panel.summary(curve));
            for run in runs(panel.points(curve)) {
                let points: Vec<(f64, f64)> = run.iter().map(|p| (self.x(p.layer), self.y(p.mean))).collect();
                match points.as_slice() {
                    [only] => canvas.dot(*only, 3.5, ink),
                    _ => canvas.line(points, ink, 2.0, curve.alpha < 0.0),
                }
            }
            canvas.end();
        }
    }

    /// Names the lines at their right ends, each joined to its line by a thin leader.
    fn labels(&self, canvas: &mut Canvas, mut labels: Vec<Label>, ramp: &Ramp) {
        if labels.is_empty() {
            return;
        }
        let wanted = |label: &Label| label.end.map_or(self.bottom(), |p| self.y(p.mean));
        // Stable: lines that end together are named in the order of |alpha|.
        labels.sort_by(|a, b| wanted(a).total_cmp(&wanted(b)));
        let ys = spread(&labels.iter().map(wanted).collect::<Vec<_>>(), LABEL_STEP, self.top, self.bottom());
        let x = self.right() + LEADER;
        canvas.text(Text::new((x, self.top - TITLE_GAP), LABELS_HEAD, TICK, MUTED));
        for (label, y) in labels.into_iter().zip(ys) {
            if let Some(end) = label.end {
                let ink = ramp.ink(label.alpha);
                let from = (self.x(end.layer), self.y(end.mean));
                canvas.line(vec![from, (x - 10.0, y), (x - 5.0, y)], ink, 1.0, false);
            }
            let ink = if label.end.is_some() { INK } else { MUTED };
            canvas.text(Text::new((x, y + LABEL * HALF_DIGIT), label.text, LABEL, ink));
        }
    }
}

/// The sign of an injected layer: a triangle that points up at the axis.
fn mark(canvas: &mut Canvas, x: f64, y: f64, half: f64) {
    canvas.polygon(vec![(x, y), (x + half, y + 8.0), (x - half, y + 8.0)], INK, 1.0);
}

/// Cuts `points` wherever a layer is missing.
fn runs(points: impl Iterator<Item = Point>) -> Vec<Vec<Point>> {
    let points: Vec<Point> = points.collect();
    points.chunk_by(|a, b| a.layer + 1 == b.layer).map(<[Point]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canvas::FigureError;

    /// A panel whose lines fall with |alpha| and depth.
    fn panel(n_layers: usize, injected: &[usize], alphas: &[f64]) -> Panel {
        let point = |alpha: f64, layer: usize| {
            let mean = 1.0 - 0.3 * alpha.abs() * (layer + 1) as f64 / n_layers as f64;
            Point { layer, mean, low: mean - 0.02, high: (mean + 0.01).min(1.0) }
        };
        let curve = |alpha: &f64| Curve {
            alpha: *alpha,
            points: (0..n_layers).map(|layer| point(*alpha, layer)).collect(),
        };
        Panel {
            title: "All blocks".to_owned(),
            n_layers,
            injected: injected.to_vec(),
            curves: alphas.iter().map(curve).collect(),
        }
    }

    fn figure(panels: Vec<Panel>) -> Figure {
        Figure { title: "Title".to_owned(), subtitle: "model · vector · gap · text".to_owned(), panels }
    }

    /// Draws in every way there is and returns the SVG file.
    fn draws(figure: &Figure) -> String {
        let svg = figure.svg();
        for text in [&svg, &figure.svg_inline()] {
            assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"));
            assert!(!text.contains("NaN") && !text.contains("inf"), "a coordinate is not a number");
            assert_eq!(text.matches("<g").count(), text.matches("</g>").count());
        }
        let png = figure.png(0.5).expect("0.5 is a scale");
        assert!(png.starts_with(b"\x89PNG"));
        svg
    }

    fn lines(svg: &str) -> usize {
        svg.matches("stroke-width=\"2\"").count()
    }

    #[test]
    fn equal_figures_give_equal_bytes() {
        let make = || figure(vec![panel(16, &[3, 4], &[0.0, 0.5, -0.5])]);
        assert_eq!(make().svg(), make().svg());
        assert_eq!(make().svg_inline(), make().svg_inline());
        assert_eq!(make().png(1.0).unwrap(), make().png(1.0).unwrap());
    }

    #[test]
    fn the_order_of_alphas_and_layers_in_the_input_does_not_show() {
        let one = figure(vec![panel(16, &[3, 4, 9], &[0.0, 0.5, -0.5])]);
        let other = figure(vec![panel(16, &[9, 4, 4, 3], &[-0.5, 0.5, 0.0])]);
        assert_eq!(one.svg(), other.svg());
    }

    #[test]
    fn texts_are_escaped_in_svg() {
        let mut hostile = figure(vec![panel(4, &[0], &[1.0])]);
        hostile.title = "<script>alert(1)</script> 司書 <b>".to_owned();
        hostile.subtitle = "\"/><x & \u{0}".to_owned();
        hostile.panels[0].title = "]]><y>".to_owned();
        for svg in [hostile.svg(), hostile.svg_inline()] {
            for forbidden in ["<script", "<b>", "<x", "<y", "\u{0}", " & "] {
                assert!(!svg.contains(forbidden), "{forbidden:?} came through");
            }
            assert!(svg.contains("司書"), "a text the font lacks is still a text");
        }
    }

    #[test]
    fn an_svg_is_small_and_asks_for_nothing() {
        let svg = figure(vec![
            panel(32, &[16], &[0.0, 0.1, 0.2, 0.5, 1.0]),
            panel(32, &[], &[0.0, 0.1, 0.2, 0.5, 1.0]),
        ])
        .svg();
        assert!(svg.len() < 64 * 1024, "{} bytes", svg.len());
        assert!(!svg.contains("<text") && !svg.contains("font-family") && !svg.contains("url("));
        assert_eq!(svg.matches("http").count(), 1, "only the namespace");
    }

    #[test]
    fn one_layer_is_a_dot_with_a_whisker() {
        let svg = draws(&figure(vec![panel(1, &[0], &[0.5])]));
        assert_eq!((svg.matches("<circle").count(), lines(&svg)), (1, 0));
    }

    #[test]
    fn one_curve_is_one_line() {
        assert_eq!(lines(&draws(&figure(vec![panel(16, &[8], &[0.5])]))), 1);
    }

    #[test]
    fn alpha_zero_only_is_a_flat_line_on_a_scale_that_does_not_exaggerate() {
        let svg = draws(&figure(vec![panel(16, &[], &[0.0])]));
        assert_eq!(lines(&svg), 1);
        assert_eq!(Scale::down_to(1.0), Scale { low: 950, step: 10 });
    }

    #[test]
    fn nan_is_a_gap_and_a_curve_of_nothing_but_nan_is_said_to_have_no_data() {
        let mut gaps = figure(vec![panel(16, &[8], &[0.5, 1.0])]);
        gaps.panels[0].curves[0].points[7].mean = f64::NAN;
        gaps.panels[0].curves[0].points[3].low = f64::NAN;
        gaps.panels[0].curves[0].points[12].high = f64::INFINITY;
        assert_eq!(lines(&draws(&gaps)), 3);
        for point in &mut gaps.panels[0].curves[1].points {
            point.mean = f64::NAN;
        }
        assert_eq!(lines(&draws(&gaps)), 2);
        assert_eq!(gaps.panels[0].labels()[1].text, "+1 (no data)");
    }

    #[test]
    fn missing_layers_are_gaps_and_layers_beyond_the_last_are_ignored() {
        let mut odd = figure(vec![panel(16, &[8, 99], &[0.5])]);
        odd.panels[0].curves[0].points.remove(5);
        odd.panels[0].curves[0].points.push(Point { layer: 40, mean: 0.1, low: 0.0, high: 0.2 });
        assert_eq!(lines(&draws(&odd)), 2);
        assert_eq!(odd.panels[0].injected_runs(), [(8, 8)]);
    }

    #[test]
    fn no_panels_no_curves_and_no_layers_still_draw() {
        draws(&figure(vec![]));
        draws(&figure(vec![panel(0, &[0], &[0.5])]));
        draws(&figure(vec![panel(16, &[3], &[])]));
        draws(&Figure { title: String::new(), subtitle: String::new(), panels: vec![] });
    }

    #[test]
    fn negative_alphas_are_dashed_and_of_another_hue() {
        let both = figure(vec![panel(16, &[8], &[-0.5, 0.5])]);
        assert_eq!(draws(&both).matches("stroke-dasharray").count(), 1);
        let ramp = Ramp::of(&both.panels);
        assert_ne!(ramp.ink(-0.5), ramp.ink(0.5));
        assert_eq!(ramp.ink(0.0), ZERO);
    }

    #[test]
    fn eighty_layers_and_twelve_alphas_fit() {
        let alphas: Vec<f64> = (0..12).map(|i| f64::from(i) * 0.1).collect();
        let injected: Vec<usize> = (0..80).collect();
        assert_eq!(
            lines(&draws(&figure(vec![panel(80, &injected, &alphas), panel(80, &[40], &alphas)]))),
            24
        );
    }

    #[test]
    fn colours_gain_contrast_along_the_ramp_in_both_themes() {
        let ramp = Ramp { sizes: (1..=12).map(f64::from).collect() };
        let brightness = |c: u32| {
            c.to_be_bytes().map(f64::from).iter().zip([0.0, 0.3, 0.59, 0.11]).map(|(v, w)| v * w).sum::<f64>()
        };
        for sign in [1.0, -1.0] {
            let inks: Vec<Ink> = ramp.sizes.iter().map(|size| ramp.ink(size * sign)).collect();
            assert!(inks.windows(2).all(|w| brightness(w[0].light) > brightness(w[1].light)));
            assert!(inks.windows(2).all(|w| brightness(w[0].dark) < brightness(w[1].dark)));
        }
    }

    #[test]
    fn an_impossible_scale_is_a_typed_error() {
        let figure = figure(vec![panel(4, &[0], &[1.0])]);
        for scale in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e6] {
            assert!(matches!(figure.png(scale), Err(FigureError::Scale { .. })), "{scale}");
        }
    }

    #[test]
    fn the_scale_ends_on_round_numbers() {
        for (lowest, low, step) in [
            (0.43, 400, 100),
            (0.57, 500, 100),
            (0.885, 880, 20),
            (0.0, 0, 200),
            (-0.35, -500, 250),
            (-1.0, -1000, 500),
            (f64::INFINITY, 950, 10),
        ] {
            assert_eq!(Scale::down_to(lowest), Scale { low, step }, "{lowest}");
        }
    }

    #[test]
    fn layer_ticks_start_at_zero_and_reach_the_last_layer_if_there_is_room() {
        assert_eq!(layer_ticks(0, 11), [0; 0]);
        assert_eq!(layer_ticks(1, 11), [0]);
        assert_eq!(layer_ticks(16, 11), [0, 3, 6, 9, 12, 15]);
        assert_eq!(layer_ticks(32, 11), [0, 4, 8, 12, 16, 20, 24, 28, 31]);
        assert!((1..300).all(|n| layer_ticks(n, 11).len() <= 12));
    }

    #[test]
    fn alphas_are_written_as_typed() {
        let texts = [0.0, -0.0, 0.1 + 0.2, -1.0, 2.5, 1e-7, f64::NAN].map(alpha_text);
        assert_eq!(texts, ["0", "0", "+0.3", "−1", "+2.5", "+1.00e-7", "n/a"]);
    }
}
