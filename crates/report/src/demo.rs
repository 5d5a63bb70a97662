//! The report: one HTML page that shows what a vector does, and how to make it again.
//!
//! The page stands alone: it asks no server for anything, runs no script, and a policy in its head
//! keeps it so whatever a model may have written. It follows the reader's light or dark theme, folds
//! to the width of a phone, and prints. Equal reports give equal bytes.

use crate::words::{bar_width, fixed, places};
use whipstaff_figures::{Figure, HeatMap, escape};

/// A page of maps under a few paragraphs, as self-contained as a [`Report`].
pub fn maps_page(title: &str, intro: &str, maps: &[&HeatMap]) -> String {
    let mut page = Html::begin(title);
    page.raw("<header>\n<h1>").text(title).raw("</h1>\n<div class=\"intro\">\n").paragraphs(intro);
    page.raw("</div>\n</header>\n<main>\n");
    for map in maps {
        page.raw(
            "<section>\n<figure>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Map\">\n",
        );
        page.0.push_str(&map.svg_inline());
        page.raw("\n</div>\n</figure>\n</section>\n");
    }
    page.end(env!("CARGO_PKG_VERSION"))
}

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
    /// Names the strength: "baseline", "+0.5 gap".
    pub label: String,
    /// The strength; its sign chooses the colour, 0 is the baseline.
    pub alpha: f64,
    /// What the model said.
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
    /// The page as a complete HTML document.
    pub fn html(&self) -> String {
        let mut page = Html::begin(&self.title);
        page.raw("<header>\n<h1>")
            .text(&self.title)
            .raw("</h1>\n<div class=\"intro\">\n")
            .paragraphs(&self.intro);
        page.raw("</div>\n<p class=\"model\">Model: ").text(&self.model).raw("</p>\n</header>\n<main>\n");
        self.answers(&mut page);
        if let Some(shares) = &self.shares {
            shares.write(&mut page);
        }
        self.inside(&mut page);
        self.layers(&mut page);
        self.origin(&mut page);
        page.end(&self.version)
    }

    fn answers(&self, page: &mut Html) {
        if self.questions.is_empty() {
            return;
        }
        page.raw("<section>\n<h2>The same questions, with and without steering</h2>\n");
        for question in &self.questions {
            page.raw("<article class=\"question card\">\n<h3>")
                .text(&question.prompt)
                .raw("</h3>\n<div class=\"runs\">\n");
            for run in &question.runs {
                page.raw("<div class=\"run ")
                    .raw(tone(run.alpha))
                    .raw("\"><h4>")
                    .text(&run.label)
                    .raw("</h4>");
                if run.text.trim().is_empty() {
                    page.raw("<p class=\"none\">(an empty answer)</p>");
                } else {
                    // `auto` keeps right-to-left text, and tricks with it, inside the paragraph.
                    page.raw("<p dir=\"auto\">").text(run.text.trim()).raw("</p>");
                }
                page.raw("</div>\n");
            }
            page.raw("</div>\n</article>\n");
        }
        page.raw("</section>\n");
    }

    fn inside(&self, page: &mut Html) {
        page.raw("<section>\n<h2>Inside the model</h2>\n<figure>\n");
        // On a phone the figure keeps a readable size and scrolls; the keyboard can reach it, too.
        page.raw("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Figure\">\n")
            .figure(&self.figure);
        page.raw("</div>\n<figcaption class=\"note\">\n")
            .paragraphs(&self.figure_note)
            .raw("</figcaption>\n</figure>\n</section>\n");
    }

    fn layers(&self, page: &mut Html) {
        let Some(best) =
            self.vector.iter().filter(|row| row.auc.is_finite()).max_by(|a, b| a.auc.total_cmp(&b.auc))
        else {
            return;
        };
        page.raw("<section>\n<h2>The vector, layer by layer</h2>\n<p class=\"note\">The gap is how far positive and negative examples lie apart along the vector; rms is the size of the stream they lie in. ");
        page.raw("AUC is the chance that a positive example lies higher than a negative one: 0.5 is a coin, 1 is perfect. It is highest at layer ");
        page.text(&best.layer.to_string()).raw(" (").text(&fixed(best.auc, 3)).raw(").</p>\n");
        page.raw("<details class=\"card\">\n<summary>All ")
            .text(&self.vector.len().to_string())
            .raw(" layers</summary>\n<table>\n<thead><tr>");
        for head in ["layer", "gap", "rms", "AUC", "gap / rms"] {
            page.raw("<th scope=\"col\" class=\"num\">").raw(head).raw("</th>");
        }
        page.raw("</tr></thead>\n<tbody>\n");
        let ratio = |row: &LayerRow| row.gap / row.rms;
        let largest = self.vector.iter().map(ratio).filter(|r| r.is_finite()).fold(0.0, f64::max);
        let gap_places = places(self.vector.iter().map(|row| row.gap));
        let rms_places = places(self.vector.iter().map(|row| row.rms));
        for row in &self.vector {
            page.raw("<tr><th scope=\"row\" class=\"num\">").text(&row.layer.to_string()).raw("</th>");
            for cell in [fixed(row.gap, gap_places), fixed(row.rms, rms_places), fixed(row.auc, 3)] {
                page.raw("<td class=\"num\">").text(&cell).raw("</td>");
            }
            let width = if largest > 0.0 { ratio(row) / largest } else { 0.0 };
            page.raw("<td><div class=\"ratio\"><i aria-hidden=\"true\"><b style=\"width:")
                .text(&bar_width(width, 1));
            page.raw("\"></b></i><span>").text(&fixed(ratio(row), 3)).raw("</span></div></td></tr>\n");
        }
        page.raw("</tbody>\n</table>\n</details>\n</section>\n");
    }

    fn origin(&self, page: &mut Html) {
        let model = [("model".to_owned(), self.model.clone())];
        let settings: Vec<(String, String)> =
            model.into_iter().chain(self.settings.iter().cloned()).collect();
        page.settings(&settings).command(&self.command);
    }
}

impl Shares {
    fn write(&self, page: &mut Html) {
        page.raw("<section>\n<h2>What kinds of answers come out</h2>\n<p class=\"note\">Each bar shows the shares of ");
        page.text(&self.n.to_string()).raw(if self.n == 1 { " answer" } else { " answers" });
        page.raw(". Perplexity says how surprising their words are: a jump means that the language itself suffers.</p>\n");
        page.raw("<div class=\"card shares\">\n<table>\n<thead><tr><td></td><th scope=\"col\"><ul class=\"legend\">");
        for (i, class) in self.classes.iter().enumerate() {
            page.raw("<li class=\"").raw(class_of(i)).raw("\">").text(class).raw("</li>");
        }
        page.raw("</ul></th><th scope=\"col\" class=\"num\">perplexity</th></tr></thead>\n<tbody>\n");
        for (label, shares, perplexity) in &self.rows {
            page.raw("<tr><th scope=\"row\">").text(label).raw("</th><td><div class=\"bar\">");
            let shares: Vec<f64> =
                shares.iter().map(|s| if s.is_finite() { s.max(0.0) } else { 0.0 }).collect();
            let whole = shares.iter().sum::<f64>().max(1.0);
            for (i, (class, share)) in self.classes.iter().zip(&shares).enumerate() {
                if *share == 0.0 {
                    continue;
                }
                let share = share / whole;
                let text = bar_width(share, 0);
                page.raw("<span class=\"")
                    .raw(class_of(i))
                    .raw("\" style=\"width:")
                    .text(&bar_width(share, 2))
                    .raw("\" title=\"");
                page.text(class)
                    .raw(" ")
                    .text(&text)
                    .raw("\"><span class=\"vh\">")
                    .text(class)
                    .raw(" </span>");
                // In a sliver the number is for screen readers and the tooltip only.
                if share < 0.065 {
                    page.raw("<span class=\"vh\">").text(&text).raw("</span>");
                } else {
                    page.text(&text);
                }
                page.raw("</span>");
            }
            let digits = if *perplexity < 100.0 { 1 } else { 0 };
            page.raw("</div></td><td class=\"num\">").text(&fixed(*perplexity, digits)).raw("</td></tr>\n");
        }
        page.raw("</tbody>\n</table>\n</div>\n</section>\n");
    }
}

const STYLE: &str = include_str!("../templates/style.css");

/// The policy forbids every request; the empty icon saves the one for `favicon.ico`.
const HEAD: &str = r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
"#;

/// A page under construction. Only text of this file goes in as it stands; all else is escaped.
pub(crate) struct Html(pub(crate) String);

impl Html {
    pub(crate) fn begin(title: &str) -> Html {
        let mut page = Html(HEAD.into());
        page.raw("<title>").text(title).raw("</title>\n<style>\n").raw(STYLE);
        page.raw("</style>\n</head>\n<body>\n");
        page
    }

    pub(crate) fn end(mut self, version: &str) -> String {
        self.raw("</main>\n<footer>Written by Whipstaff ").text(version).raw("</footer>\n</body>\n</html>\n");
        self.0
    }

    pub(crate) fn settings(&mut self, settings: &[(String, String)]) -> &mut Self {
        self.raw("<section>\n<h2>Settings</h2>\n<dl class=\"card\">\n");
        for (name, value) in settings {
            self.raw("<dt>").text(name).raw("</dt><dd>").text(value).raw("</dd>\n");
        }
        self.raw("</dl>\n</section>\n")
    }

    pub(crate) fn command(&mut self, command: &str) -> &mut Self {
        self.raw("<section>\n<h2>Make it again</h2>\n<pre class=\"card\"><code>").text(command);
        self.raw("</code></pre>\n</section>\n")
    }

    pub(crate) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.0.push_str(&escape(text));
        self
    }

    pub(crate) fn paragraphs(&mut self, text: &str) -> &mut Self {
        for paragraph in text.split("\n\n").map(str::trim).filter(|p| !p.is_empty()) {
            self.raw("<p>").marked(paragraph).raw("</p>\n");
        }
        self
    }

    /// Text in which names stand between backticks.
    pub(crate) fn marked(&mut self, text: &str) -> &mut Self {
        let parts: Vec<&str> = text.split('`').collect();
        if parts.len().is_multiple_of(2) {
            return self.text(text);
        }
        for (i, part) in parts.into_iter().enumerate() {
            if i % 2 == 1 {
                self.raw("<code>").text(part).raw("</code>");
            } else {
                self.text(part);
            }
        }
        self
    }

    pub(crate) fn figure(&mut self, figure: &Figure) -> &mut Self {
        self.0.push_str(&figure.svg_inline());
        self
    }
}

/// The style of a strength.
fn tone(alpha: f64) -> &'static str {
    match alpha {
        _ if alpha > 0.0 => "plus",
        _ if alpha < 0.0 => "minus",
        _ => "base",
    }
}

/// The style of the i-th class of answers; the seventh looks like the first again.
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
