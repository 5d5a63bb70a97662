//! The page of a study: three questions, each with its answer, its figure and its table.

use crate::demo::Html;
use crate::study_figures::{asked, depth_figure, methods_figure, pair_name, prompting_figure};
use crate::study_words::{QUESTIONS, answers};
use crate::words::{fixed, layers_in_words, percent};
use whipstaff_steering::study::{Curve, Findings, MethodRow, PromptRow};

/// What stands on the page beside the findings.
#[derive(Clone, Debug, PartialEq)]
pub struct StudyPage<'a> {
    /// The headline.
    pub title: String,
    /// What this is, in about two sentences. A blank line starts a paragraph.
    pub intro: String,
    /// The answers, with their figures and tables.
    pub findings: &'a Findings,
    /// Names and values of what was chosen.
    pub settings: Vec<(String, String)>,
    /// The command that wrote this page.
    pub command: String,
}

/// How to read the numbers; docs/REFERENCE.md says it in formulas.
const READING: &str = "The margin of a contrast is how much likelier per token the model finds the positive answer than \
                       the negative one. The effect of a dose is half of the way that the margin moves from −alpha to \
                       +alpha. Every dose has the alpha at which neutral text moves by the same divergence, so doses are \
                       compared at equal cost. What is best is picked on every second held-out contrast and measured on \
                       the others.";

impl StudyPage<'_> {
    /// The page as a complete HTML document: it asks for nothing and runs no script.
    pub fn html(&self) -> String {
        let [methods, depth, prompting] = answers(self.findings);
        let mut page = Html::begin(&self.title);
        page.raw("<header>\n<h1>")
            .text(&self.title)
            .raw("</h1>\n<div class=\"intro\">\n")
            .paragraphs(&self.intro);
        page.raw("</div>\n<p class=\"note\">").text(READING).raw("</p>\n</header>\n<main>\n");
        question(&mut page, QUESTIONS[0], &methods, &methods_figure(self.findings).svg_inline());
        self.methods(&mut page);
        question(&mut page, QUESTIONS[1], &depth, &depth_figure(self.findings).svg_inline());
        self.depths(&mut page);
        question(&mut page, QUESTIONS[2], &prompting, &prompting_figure(self.findings).svg_inline());
        self.prompting(&mut page);
        page.settings(&self.settings).command(&self.command);
        page.end(env!("CARGO_PKG_VERSION"))
    }

    fn methods(&self, page: &mut Html) {
        let head = [
            "persona",
            "method",
            "layers",
            "alpha",
            "effect",
            "95 %",
            "right way",
            "halves agree",
            "KL at +, −",
            "perplexity at +, −",
            "beyond the first",
        ];
        let row = |it: &MethodRow| {
            let beyond = it
                .beyond_first
                .map(|(mean, interval)| format!("{} ({})", fixed(mean, 3), between(Some(interval))));
            vec![
                pair_name(self.findings, &it.model, &it.persona),
                it.method.name().into(),
                layers_in_words(&it.layers),
                fixed(it.alpha, 2),
                fixed(it.judged.effect, 3),
                between(it.judged.interval),
                percent(it.judged.right_way),
                it.halves.map_or("–".into(), |it| fixed(it, 2)),
                it.cost.map(|it| fixed(it.kl, 3)).join(", "),
                it.cost.map(|it| fixed(it.perplexity_ratio, 2)).join(", "),
                beyond.unwrap_or("–".into()),
            ]
        };
        page.table("Each method at its best layer", &head, self.findings.rows.iter().map(row));
    }

    fn depths(&self, page: &mut Html) {
        let head =
            ["persona", "method", "layers of the model", "best layer", "depth", "effect at each layer"];
        let row = |it: &Curve| {
            let effects = it
                .points
                .iter()
                .map(|(layer, effect)| format!("{layer}: {}", fixed(effect.unwrap_or(f64::NAN), 2)));
            vec![
                pair_name(self.findings, &it.model, &it.persona),
                it.method.name().into(),
                it.n_layers.to_string(),
                it.picked.map_or("–".into(), |it| it.to_string()),
                it.picked.map_or("–".into(), |layer| fixed(layer as f64 / it.n_layers as f64, 2)),
                effects.collect::<Vec<_>>().join(", "),
            ]
        };
        page.table("Effect by layer", &head, self.findings.curves.iter().map(row));
    }

    fn prompting(&self, page: &mut Html) {
        let head = [
            "persona",
            "steering",
            "alpha",
            "effect",
            "95 %",
            "prompting",
            "its effect",
            "95 %",
            "steering / prompting",
            "perplexity of answers",
            "receipt",
        ];
        let row = |it: &PromptRow| {
            let (how, prompting) = match it.prompting {
                Some((kind, effect)) => (asked(kind), Some(effect)),
                None => ("no room in the context", None),
            };
            vec![
                pair_name(self.findings, &it.model, &it.persona),
                format!("{}, {}", it.method, layers_in_words(&it.layers)),
                fixed(it.alpha, 2),
                fixed(it.steering.mean, 3),
                between(it.steering.interval),
                how.into(),
                prompting.map_or("–".into(), |it| fixed(it.mean, 3)),
                between(prompting.and_then(|it| it.interval)),
                it.share().map_or("–".into(), percent),
                format!("{} ×", fixed(it.answer_perplexity, 2)),
                it.verdict.to_string(),
            ]
        };
        page.table("Steering beside prompting", &head, self.findings.prompting.iter().map(row));
    }
}

/// A question, its answer and its figure. The section is closed by [`Html::table`].
fn question(page: &mut Html, question: &str, answer: &str, svg: &str) {
    page.raw("<section>\n<h2>").text(question).raw("</h2>\n").paragraphs(answer);
    page.raw("<figure>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Figure\">\n");
    page.0.push_str(svg);
    page.raw("\n</div>\n</figure>\n");
}

impl Html {
    /// A table that unfolds, and the end of its section.
    fn table(&mut self, title: &str, head: &[&'static str], rows: impl Iterator<Item = Vec<String>>) {
        self.raw("<details class=\"card wide\">\n<summary>").text(title).raw("</summary>\n");
        self.raw("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table\">\n<table>\n<thead><tr>");
        for name in head {
            self.raw("<th scope=\"col\">").raw(name).raw("</th>");
        }
        self.raw("</tr></thead>\n<tbody>\n");
        for row in rows {
            self.raw("<tr>");
            for (i, cell) in row.iter().enumerate() {
                if i == 0 {
                    self.raw("<th scope=\"row\">").text(cell).raw("</th>");
                } else {
                    self.raw("<td>").text(cell).raw("</td>");
                }
            }
            self.raw("</tr>\n");
        }
        self.raw("</tbody>\n</table>\n</div>\n</details>\n</section>\n");
    }
}

fn between(interval: Option<[f64; 2]>) -> String {
    interval.map_or("–".into(), |[low, high]| format!("{} to {}", fixed(low, 3), fixed(high, 3)))
}
