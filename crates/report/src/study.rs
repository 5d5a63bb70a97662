//! The page of a study: three questions, each with its answer, its figure and its table.

use crate::page::render;
use crate::study_figures::{asked, depth_figure, methods_figure, pair_name, prompting_figure};
use crate::study_words::{QUESTIONS, answers};
use crate::words::{fixed, layers_in_words, percent};
use askama::Template;
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
    /// Returns the page as a complete HTML document.
    pub fn html(&self) -> String {
        let [methods, depth, prompting] = answers(self.findings);
        let parts = [
            (methods, methods_figure(self.findings).svg_inline(), self.methods()),
            (depth, depth_figure(self.findings).svg_inline(), self.depths()),
            (prompting, prompting_figure(self.findings).svg_inline(), self.prompting()),
        ];
        let part = |(question, (answer, svg, table))| Part { question, answer, svg, table };
        render(&Page {
            title: &self.title,
            intro: &self.intro,
            version: env!("CARGO_PKG_VERSION"),
            reading: READING,
            questions: QUESTIONS.into_iter().zip(parts).map(part).collect(),
            settings: &self.settings,
            command: &self.command,
        })
    }

    fn methods(&self) -> Table {
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
        Table {
            title: "Each method at its best layer",
            head: head.to_vec(),
            rows: self.findings.rows.iter().map(row).collect(),
        }
    }

    fn depths(&self) -> Table {
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
        Table {
            title: "Effect by layer",
            head: head.to_vec(),
            rows: self.findings.curves.iter().map(row).collect(),
        }
    }

    fn prompting(&self) -> Table {
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
        Table {
            title: "Steering beside prompting",
            head: head.to_vec(),
            rows: self.findings.prompting.iter().map(row).collect(),
        }
    }
}

/// What the template shows.
#[derive(Template)]
#[template(path = "study.html")]
struct Page<'a> {
    title: &'a str,
    intro: &'a str,
    version: &'a str,
    reading: &'a str,
    questions: Vec<Part>,
    settings: &'a [(String, String)],
    command: &'a str,
}

/// A question, its answer, its figure and its table.
struct Part {
    question: &'static str,
    answer: String,
    svg: String,
    table: Table,
}

/// A table that unfolds. The first cell of each row is its head.
struct Table {
    title: &'static str,
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

fn between(interval: Option<[f64; 2]>) -> String {
    interval.map_or("–".into(), |[low, high]| format!("{} to {}", fixed(low, 3), fixed(high, 3)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study_sample::findings;

    fn page(findings: &Findings, text: &str) -> String {
        StudyPage {
            title: text.into(),
            intro: text.into(),
            findings,
            settings: vec![(text.into(), text.into())],
            command: text.into(),
        }
        .html()
    }

    #[test]
    fn the_page_stands_alone_and_no_name_is_markup() {
        let mut hostile = findings();
        hostile.rows.iter_mut().for_each(|it| it.persona = "</style><script>alert(1)</script>".into());
        hostile.prompting[0].prompting = None;
        let html = page(&hostile, "<b>");
        assert!(!html.contains("<script") && !html.contains("<b>") && !html.contains("NaN"));
        for (open, close) in [
            ("<section>", "</section>"),
            ("<table>", "</table>"),
            ("<details", "</details>"),
            ("<div", "</div>"),
        ] {
            assert_eq!(html.matches(open).count(), html.matches(close).count(), "{open}");
        }
        assert_eq!(html.matches("http://").count(), 3, "only the namespaces of three figures");
    }
}
