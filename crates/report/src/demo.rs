//! The report of the demo: one page that shows what a vector does, and how to make it again.

use crate::page::render;
use crate::words::{bar_width, fixed, places};
use askama::Template;
use whipstaff_figures::Figure;

/// Everything on the page, in its order there.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The headline.
    pub title: String,
    /// What this is, in about two sentences. A blank line starts a paragraph.
    pub intro: String,
    /// The model, as its owner calls it.
    pub model: String,
    /// Names and values of what was chosen: unit, layers, sampling, seeds.
    pub settings: Vec<(String, String)>,
    /// The similarities per layer and alpha.
    pub figure: Figure,
    /// How to read the figure. A blank line starts a paragraph.
    pub figure_note: String,
    /// The same question, answered without and with steering; one entry per question.
    pub questions: Vec<Answers>,
    /// What kinds of answers each strength gives, if they were classified.
    pub shares: Option<Shares>,
    /// The statistics of the vector, one row per layer.
    pub vector: Vec<LayerRow>,
    /// The command that wrote this page.
    pub command: String,
    /// The version of Whipstaff that ran it.
    pub version: String,
}

/// One question and its answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Answers {
    /// The question.
    pub prompt: String,
    /// The answers, side by side.
    pub runs: Vec<Run>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Name of the strength: "baseline", "+0.5 gap".
    pub label: String,
    /// The strength; its sign chooses the colour, 0 is the baseline.
    pub alpha: f64,
    /// The text that the model wrote.
    pub text: String,
}

/// The classes of many answers at several strengths.
#[derive(Clone, Debug, PartialEq)]
pub struct Shares {
    /// Names of the classes, in the order of the bars.
    pub classes: Vec<String>,
    /// Per strength: its label, the share of each class (0 to 1), and the perplexity of the answers.
    pub rows: Vec<(String, Vec<f64>, f64)>,
    /// Number of answers behind each row.
    pub n: usize,
}

/// The vector at one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerRow {
    /// 0-based index of the block.
    pub layer: usize,
    /// Mean projection of the positive examples minus that of the negative ones, in units of the stream.
    pub gap: f64,
    /// Root mean square norm of the stream, in the same units.
    pub rms: f64,
    /// Chance that a positive example projects higher than a negative one: 0.5 is a coin, 1 is perfect.
    pub auc: f64,
}

impl Report {
    /// Returns the page as a complete HTML document.
    pub fn html(&self) -> String {
        let model = ("model".to_owned(), self.model.clone());
        render(&Page {
            title: &self.title,
            intro: &self.intro,
            version: &self.version,
            report: self,
            shares: self.shares.as_ref().map(SharesTable::new),
            vector: LayersTable::new(&self.vector),
            settings: std::iter::once(model).chain(self.settings.iter().cloned()).collect(),
        })
    }
}

impl Run {
    /// Returns the style of the strength.
    fn tone(&self) -> &'static str {
        match self.alpha {
            alpha if alpha > 0.0 => "plus",
            alpha if alpha < 0.0 => "minus",
            _ => "base",
        }
    }
}

/// What the template shows.
#[derive(Template)]
#[template(path = "demo.html")]
struct Page<'a> {
    title: &'a str,
    intro: &'a str,
    version: &'a str,
    report: &'a Report,
    shares: Option<SharesTable<'a>>,
    vector: LayersTable,
    settings: Vec<(String, String)>,
}

/// The classes of answers as bars.
struct SharesTable<'a> {
    n: usize,
    /// Style and name of each class.
    classes: Vec<(&'static str, &'a str)>,
    rows: Vec<SharesRow<'a>>,
}

struct SharesRow<'a> {
    label: &'a str,
    bars: Vec<Bar<'a>>,
    perplexity: String,
}

/// A share that is not zero.
struct Bar<'a> {
    class: &'static str,
    name: &'a str,
    width: String,
    share: String,
    /// True if the bar is too narrow for its number.
    is_sliver: bool,
}

/// The narrowest bar, as a share of the whole, that its number is written on.
const SLIVER: f64 = 0.065;

impl<'a> SharesTable<'a> {
    fn new(shares: &'a Shares) -> SharesTable<'a> {
        let classes =
            shares.classes.iter().enumerate().map(|(i, name)| (class_of(i), name.as_str())).collect();
        SharesTable {
            n: shares.n,
            rows: shares.rows.iter().map(|row| SharesRow::new(row, &classes)).collect(),
            classes,
        }
    }
}

impl<'a> SharesRow<'a> {
    fn new(row: &'a (String, Vec<f64>, f64), classes: &Vec<(&'static str, &'a str)>) -> SharesRow<'a> {
        let (label, shares, perplexity) = row;
        let shares: Vec<f64> =
            shares.iter().map(|it| if it.is_finite() { it.max(0.0) } else { 0.0 }).collect();
        let whole = shares.iter().sum::<f64>().max(1.0);
        let bar = |((class, name), share): (&(&'static str, &'a str), &f64)| Bar {
            class,
            name,
            width: bar_width(share / whole, 2),
            share: bar_width(share / whole, 0),
            is_sliver: share / whole < SLIVER,
        };
        SharesRow {
            label,
            bars: classes.iter().zip(&shares).filter(|(_, share)| **share != 0.0).map(bar).collect(),
            perplexity: fixed(*perplexity, if *perplexity < 100.0 { 1 } else { 0 }),
        }
    }
}

/// The statistics of the vector, as they stand in their table.
struct LayersTable {
    /// The layer that tells examples apart best, and its AUC; `None` if no layer has one.
    best: Option<(usize, String)>,
    rows: Vec<LayerCells>,
}

struct LayerCells {
    layer: usize,
    gap: String,
    rms: String,
    auc: String,
    /// The gap as a share of rms, and the width of its bar.
    ratio: String,
    width: String,
}

impl LayersTable {
    fn new(rows: &[LayerRow]) -> LayersTable {
        let has_auc = rows.iter().filter(|row| row.auc.is_finite());
        let best = has_auc.max_by(|a, b| a.auc.total_cmp(&b.auc)).map(|row| (row.layer, fixed(row.auc, 3)));
        let ratio = |row: &LayerRow| row.gap / row.rms;
        let largest = rows.iter().map(ratio).filter(|it| it.is_finite()).fold(0.0, f64::max);
        let gap_places = places(rows.iter().map(|row| row.gap));
        let rms_places = places(rows.iter().map(|row| row.rms));
        let cells = |row: &LayerRow| LayerCells {
            layer: row.layer,
            gap: fixed(row.gap, gap_places),
            rms: fixed(row.rms, rms_places),
            auc: fixed(row.auc, 3),
            ratio: fixed(ratio(row), 3),
            width: bar_width(if largest > 0.0 { ratio(row) / largest } else { 0.0 }, 1),
        };
        LayersTable { best, rows: rows.iter().map(cells).collect() }
    }
}

/// Returns the style of the i-th class of answers; the seventh looks like the first again.
fn class_of(i: usize) -> &'static str {
    ["k0", "k1", "k2", "k3", "k4", "k5"][i % 6]
}

#[cfg(test)]
mod tests {
    use super::*;
    use whipstaff_figures::{Curve, Panel, Point};

    const HOSTILE: &str = "</style></code><script>alert(\"1\" & '2')</script>\u{0}";

    fn report(text: &str) -> Report {
        let text = || text.to_owned();
        let points = (0..4).map(|layer| Point { layer, mean: 0.9, low: 0.8, high: 1.0 }).collect();
        let panel = Panel {
            title: text(),
            n_layers: 4,
            injected: vec![1],
            curves: vec![Curve { alpha: 0.5, points }],
        };
        let run = |alpha| Run { label: text(), alpha, text: text() };
        Report {
            title: text(),
            intro: text(),
            model: text(),
            settings: vec![(text(), text())],
            figure: Figure { title: text(), subtitle: text(), panels: vec![panel] },
            figure_note: text(),
            questions: vec![Answers { prompt: text(), runs: vec![run(0.0), run(0.5), run(-0.5)] }],
            shares: Some(Shares {
                classes: vec![text(), text()],
                rows: vec![(text(), vec![0.98, 0.02], 12.5)],
                n: 40,
            }),
            vector: (0..4).map(|layer| LayerRow { layer, gap: 0.5, rms: 8.0, auc: 0.9 }).collect(),
            command: text(),
            version: text(),
        }
    }

    #[test]
    fn equal_reports_give_equal_bytes() {
        assert_eq!(report("text").html(), report("text").html());
    }

    #[test]
    fn no_text_becomes_markup() {
        let (hostile, harmless) = (report(HOSTILE).html(), report("harmless").html());
        assert!(!hostile.contains("<script") && !hostile.contains('\u{0}'));
        let tags = |html: &str, tag: &str| html.matches(tag).count();
        for tag in ["</style>", "</code>", "<p>", "<span", "<td", "<li"] {
            assert_eq!(tags(&hostile, tag), tags(&harmless, tag), "{tag}");
        }
    }

    #[test]
    fn the_page_asks_for_nothing() {
        let html = report("text").html();
        assert!(html.contains("default-src 'none'"));
        for request in ["src=", "url(", "@import", "<script", "https://"] {
            assert!(!html.contains(request), "{request}");
        }
        assert_eq!(html.matches("http://").count(), 1, "only the namespace of the SVG");
    }

    #[test]
    fn every_table_has_heads_and_the_figure_has_words() {
        let html = report("text").html();
        assert_eq!(html.matches("<table").count(), html.matches("<thead>").count());
        assert!(html.contains("scope=\"row\"") && html.contains("scope=\"col\""));
        assert!(html.contains("role=\"img\" aria-label=\""));
    }

    #[test]
    fn the_sign_of_alpha_chooses_the_colour_of_a_column() {
        let tone = |alpha| Run { label: String::new(), alpha, text: String::new() }.tone();
        assert_eq!([0.0, -0.0, f64::NAN, 0.1, -2.0].map(tone), ["base", "base", "base", "plus", "minus"]);
    }

    #[test]
    fn what_is_not_a_number_is_a_dash_and_never_a_style() {
        let mut odd = report("text");
        odd.vector[0] = LayerRow { layer: 0, gap: f64::NAN, rms: 0.0, auc: f64::INFINITY };
        odd.vector[1].rms = 0.0;
        odd.shares = Some(Shares {
            classes: vec!["a".to_owned(), "b".to_owned()],
            rows: vec![
                ("x".to_owned(), vec![f64::NAN, -3.0, 9.0], f64::NAN),
                ("y".to_owned(), vec![80.0, 20.0], f64::INFINITY),
            ],
            n: 1,
        });
        let html = odd.html();
        assert!(!html.contains("NaN") && !html.contains("inf"));
        assert!(html.contains("width:80.00%"), "shares in percent are brought back to 1");
    }

    #[test]
    fn empty_parts_leave_no_empty_sections() {
        let mut bare = report("text");
        bare.questions.clear();
        bare.shares = None;
        bare.vector.clear();
        assert_eq!(bare.html().matches("<section>").count(), 3);
        assert_eq!(report("text").html().matches("<section>").count(), 6);
    }

    #[test]
    fn an_empty_answer_says_so() {
        let mut silent = report("text");
        silent.questions[0].runs[0].text = " \n".to_owned();
        assert!(silent.html().contains("(an empty answer)"));
    }
}
