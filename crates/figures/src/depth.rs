//! Numbers along the depth of models: a line each, models of any number of layers over one axis.

use crate::axis::{Axis, series, signed};
use crate::canvas::{Anchor, Canvas, Text, outputs};
use crate::font::{Fonts, Weight};
use crate::look::{
    AXIS, CARD, CARD_PADDING, COLUMN_GAP, EDGE, GRID, HALF_DIGIT, INK, LABEL, LABEL_STEP, LEADER, MUTED,
    PANEL_TITLE, ROW_GAP, TICK, TITLE_GAP, Y_TITLE_WIDTH, heading, spread,
};

/// Panels of lines over a common scale.
#[derive(Clone, Debug, PartialEq)]
pub struct DepthPlot {
    /// What it shows, in a few words.
    pub title: String,
    /// What was measured, and how.
    pub subtitle: String,
    /// What the numbers are.
    pub y_title: String,
    /// A depth that is marked in all panels.
    pub rule: Option<f64>,
    /// Drawn two to a row.
    pub panels: Vec<DepthPanel>,
}

/// Lines over one axis.
#[derive(Clone, Debug, PartialEq)]
pub struct DepthPanel {
    /// What sets it apart from the others.
    pub title: String,
    /// In the order of their names.
    pub lines: Vec<DepthLine>,
}

/// A number along the depth of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct DepthLine {
    /// What it is of.
    pub name: String,
    /// Lines of one series have one colour.
    pub series: usize,
    /// Depth (0 is the first layer, 1 past the last) and number, by depth. NaN is a gap in the line.
    pub points: Vec<(f64, f64)>,
    /// The depth whose point is marked.
    pub marked: Option<f64>,
}

const HEIGHT: f64 = 240.0;
const X_TITLE: &str = "depth: layer / number of layers";

outputs!(DepthPlot);

impl DepthPlot {
    /// The findings in words, for readers who cannot see the drawing.
    pub(crate) fn describe(&self) -> String {
        let of_panel = |panel: &DepthPanel| {
            let lines = panel.lines.iter().map(DepthLine::in_words);
            format!("{}: {}", panel.title, lines.collect::<Vec<_>>().join(", "))
        };
        let parts = std::iter::once(self.subtitle.clone()).chain(self.panels.iter().map(of_panel));
        parts.filter(|it| !it.is_empty()).collect::<Vec<_>>().join(". ")
    }

    pub(crate) fn draw(&self) -> Canvas {
        let fonts = Fonts::bundled();
        let (columns, width) = if self.panels.len() < 2 { (1, 880.0) } else { (2, 1080.0) };
        let lines = || self.panels.iter().flat_map(|it| &it.lines);
        let axis = Axis::over(lines().flat_map(|it| it.points.iter().map(|point| point.1)));
        let widest = |texts: &mut dyn Iterator<Item = &String>, size: f64| {
            texts.map(|text| fonts.width(text, Weight::Regular, size)).fold(0.0, f64::max)
        };
        let ticks: Vec<String> = axis.ticks().into_iter().map(|it| it.1).collect();
        let before = widest(&mut ticks.iter(), TICK) + 10.0;
        let labels: Vec<String> = lines().map(DepthLine::label).collect();
        let after = LEADER + widest(&mut labels.iter(), LABEL);
        let inner = width - 2.0 * CARD_PADDING - Y_TITLE_WIDTH - COLUMN_GAP * (columns - 1) as f64;
        let plot_width = (inner / columns as f64 - before - after).floor();
        let pitch = (before + plot_width + after + COLUMN_GAP).round();
        let first = (CARD_PADDING + Y_TITLE_WIDTH + before).round() + 0.5;
        let mut canvas = Canvas::new(width, fonts);
        let mut y = heading(&mut canvas, &self.title, &self.subtitle, width - 2.0 * CARD_PADDING);
        for row in self.panels.chunks(columns) {
            let top = (y + ROW_GAP + PANEL_TITLE + TITLE_GAP).round() + 0.5;
            let middle = (CARD_PADDING + LABEL, top + HEIGHT / 2.0);
            canvas.text(Text::new(middle, &self.y_title, LABEL, MUTED).anchored(Anchor::Middle).upwards());
            for (column, panel) in row.iter().enumerate() {
                let left = first + pitch * column as f64;
                let plot = Plot { left, top, width: plot_width, axis };
                canvas.text(Text::new((left, top - TITLE_GAP), &panel.title, PANEL_TITLE, INK).bold());
                plot.axes(&mut canvas, self.rule);
                plot.lines(&mut canvas, &panel.lines);
            }
            y = top + HEIGHT + 38.0;
        }
        canvas.finish(y + CARD_PADDING, CARD, EDGE);
        canvas
    }
}

impl DepthLine {
    /// What stands at its end.
    fn label(&self) -> String {
        let has_data = self.points.iter().any(|it| it.1.is_finite());
        if has_data { self.name.clone() } else { format!("{} (no data)", self.name) }
    }

    fn in_words(&self) -> String {
        let most = self.points.iter().filter(|it| it.1.is_finite()).max_by(|a, b| a.1.total_cmp(&b.1));
        match most {
            Some((depth, value)) => {
                format!("{} most at depth {depth:.2} with {}", self.name, signed(*value, 3))
            }
            None => format!("{} no data", self.name),
        }
    }
}

/// The rectangle of a panel.
struct Plot {
    left: f64,
    top: f64,
    width: f64,
    axis: Axis,
}

impl Plot {
    fn bottom(&self) -> f64 {
        self.top + HEIGHT
    }

    fn x(&self, depth: f64) -> f64 {
        self.left + depth.clamp(0.0, 1.0) * self.width
    }

    fn y(&self, value: f64) -> f64 {
        self.bottom() - self.axis.share(value) * HEIGHT
    }

    fn axes(&self, canvas: &mut Canvas, rule: Option<f64>) {
        for (value, text) in self.axis.ticks() {
            let y = (self.y(value) - 0.5).round() + 0.5;
            let ink = if value == 0.0 { AXIS } else { GRID };
            canvas.line(vec![(self.left, y), (self.left + self.width, y)], ink, 1.0, false);
            let at = (self.left - 9.0, y + TICK * HALF_DIGIT);
            canvas.text(Text::new(at, text, TICK, MUTED).anchored(Anchor::End));
        }
        for (depth, text) in [(0.0, "0"), (0.25, "0.25"), (0.5, "0.5"), (0.75, "0.75"), (1.0, "1")] {
            let x = self.x(depth).floor() + 0.5;
            canvas.line(vec![(x, self.bottom()), (x, self.bottom() + 4.0)], AXIS, 1.0, false);
            let at = (x, self.bottom() + 18.0);
            canvas.text(Text::new(at, text, TICK, MUTED).anchored(Anchor::Middle));
        }
        if let Some(depth) = rule {
            canvas.line(vec![(self.x(depth), self.top), (self.x(depth), self.bottom())], MUTED, 1.0, true);
        }
        let middle = (self.left + self.width / 2.0, self.bottom() + 38.0);
        canvas.text(Text::new(middle, X_TITLE, LABEL, MUTED).anchored(Anchor::Middle));
    }

    fn lines(&self, canvas: &mut Canvas, lines: &[DepthLine]) {
        let mut ends = Vec::new();
        for line in lines {
            let ink = series(line.series);
            canvas.begin(line.in_words());
            let mut last = None;
            for run in line.points.split(|it| !it.1.is_finite()).filter(|run| !run.is_empty()) {
                let points: Vec<(f64, f64)> =
                    run.iter().map(|(depth, value)| (self.x(*depth), self.y(*value))).collect();
                points.iter().for_each(|at| canvas.dot(*at, 2.5, ink));
                last = points.last().copied();
                if points.len() > 1 {
                    canvas.line(points, ink, 2.0, false);
                }
            }
            if let Some((depth, value)) =
                line.points.iter().find(|it| Some(it.0) == line.marked && it.1.is_finite())
            {
                canvas.dot((self.x(*depth), self.y(*value)), 6.0, ink);
            }
            canvas.end();
            ends.push((last, line));
        }
        let wanted = |end: &(Option<(f64, f64)>, &DepthLine)| end.0.map_or(self.bottom(), |it| it.1);
        ends.sort_by(|a, b| wanted(a).total_cmp(&wanted(b)));
        let ys = spread(&ends.iter().map(wanted).collect::<Vec<_>>(), LABEL_STEP, self.top, self.bottom());
        let x = self.left + self.width + LEADER;
        for ((end, line), y) in ends.into_iter().zip(ys) {
            if let Some(from) = end {
                canvas.line(vec![from, (x - 10.0, y), (x - 5.0, y)], AXIS, 1.0, false);
            }
            let ink = if end.is_some() { INK } else { MUTED };
            canvas.text(Text::new((x, y + LABEL * HALF_DIGIT), line.label(), LABEL, ink));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, series: usize, values: &[f64]) -> DepthLine {
        let n = values.len() as f64;
        let points: Vec<(f64, f64)> = values.iter().enumerate().map(|(i, x)| (i as f64 / n, *x)).collect();
        let marked = points.get(values.len() / 2).map(|it| it.0);
        DepthLine { name: name.into(), series, points, marked }
    }

    fn figure() -> DepthPlot {
        let panel = |title: &str, lines| DepthPanel { title: title.into(), lines };
        DepthPlot {
            title: "Effect against depth at equal cost".into(),
            subtitle: "0.1 nats per token".into(),
            y_title: "effect, nats per token".into(),
            rule: Some(0.5),
            panels: vec![
                panel(
                    "method `mean`",
                    vec![
                        line("formal", 0, &[0.0, 0.1, 0.3, 0.2]),
                        line("verbose", 1, &[-0.05, 0.05, 0.1, 0.15, 0.25, 0.2]),
                    ],
                ),
                panel(
                    "method `pca` <b>",
                    vec![line("formal", 0, &[0.1, 0.15, f64::NAN, 0.2]), line("verbose", 1, &[])],
                ),
                panel("one layer", vec![line("formal", 0, &[0.1])]),
            ],
        }
    }

    #[test]
    fn the_findings_stand_in_the_description_and_no_text_is_markup() {
        let svg = figure().svg();
        assert!(svg.contains("formal most at depth 0.50 with +0.300"), "{svg}");
        assert!(svg.contains("verbose no data") && !svg.contains("<b>") && !svg.contains("NaN"));
        assert!(figure().svg_inline().starts_with("<svg") && !figure().png(1.0).unwrap().is_empty());
    }

    #[test]
    fn a_figure_without_lines_still_draws() {
        for panels in [Vec::new(), vec![DepthPanel { title: String::new(), lines: Vec::new() }]] {
            let svg = DepthPlot { panels, ..figure() }.svg();
            assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"));
        }
    }

    /// `WHIPSTAFF_GOLDEN=1` draws the file anew: look at it before it is committed.
    #[test]
    fn the_drawing_is_the_golden_one() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/depth.svg");
        let drawn = figure().svg();
        if std::env::var_os("WHIPSTAFF_GOLDEN").is_some() {
            std::fs::write(&path, &drawn).unwrap();
        }
        assert!(std::fs::read_to_string(&path).unwrap() == drawn, "the drawing has changed");
    }
}
