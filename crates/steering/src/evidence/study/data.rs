//! The findings of a study as data: JSON for programs, CSV for spreadsheets.

use super::findings::{Compared, Findings};
use super::pair::Pair;
use crate::math::mean;
use crate::vector::{Effect, ReceiptEntry};
use serde_json::{Value, json};
use std::fmt::Write;

impl Findings {
    /// Returns everything that tables and figures show, under `answers` in words: questions, each with its answer.
    pub fn to_json(&self, pairs: &[Pair], answers: &[(&str, String)]) -> Value {
        let methods: Vec<Value> = self
            .rows
            .iter()
            .map(|it| {
                json!({
                    "model": it.model, "persona": it.persona, "method": it.method.name(), "layers": it.layers,
                    "alpha": it.alpha, "effect": it.judged.effect, "interval": it.judged.interval,
                    "right_way": it.judged.right_way, "halves_cosine": it.halves,
                    "beyond_first": it.beyond_first.map(|it| it.0),
                    "beyond_first_interval": it.beyond_first.map(|it| it.1),
                    "kl": it.cost.map(|it| it.kl), "perplexity_ratio": it.cost.map(|it| it.perplexity_ratio),
                })
            })
            .collect();
        let curves: Vec<Value> = self
            .curves
            .iter()
            .map(|it| {
                let (layers, effects): (Vec<usize>, Vec<Option<f64>>) = it.points.iter().copied().unzip();
                json!({
                    "model": it.model, "persona": it.persona, "method": it.method.name(), "n_layers": it.n_layers,
                    "layers": layers, "effects": effects, "picked": it.picked,
                })
            })
            .collect();
        let effect =
            |it: &Effect| json!({ "effect": it.mean, "interval": it.interval, "wrong_way": it.wrong_way });
        let prompting: Vec<Value> = self
            .prompting
            .iter()
            .map(|it| {
                json!({
                    "model": it.model, "persona": it.persona, "method": it.method.name(), "layers": it.layers,
                    "alpha": it.alpha, "steering": effect(&it.steering),
                    "prompting": it.prompting.as_ref().map(|it| effect(&it.1)),
                    "asked_by": it.prompting.as_ref().map(|it| it.0.name()),
                    "random": it.random.as_ref().map(effect), "share_of_prompting": it.share(),
                    "steering_does": match it.compared() {
                        Compared::More => "more",
                        Compared::Less => "less",
                        Compared::Alike => "no telling",
                    },
                    "answer_perplexity_ratio": it.answer_perplexity, "verdict": it.verdict.to_string(),
                })
            })
            .collect();
        let receipts: Vec<Value> = pairs
            .iter()
            .filter_map(|it| {
                let receipt = ReceiptEntry::new(it.receipt.as_ref()?);
                Some(json!({ "model": it.plan.model.name, "persona": it.plan.persona, "receipt": receipt }))
            })
            .collect();
        let depth = self.depth.map(|it| json!({ "common": it.common, "share": it.share, "own": it.own }));
        let answers: Vec<Value> = answers
            .iter()
            .map(|(question, answer)| json!({ "question": question, "answer": answer }))
            .collect();
        json!({
            "format_version": 1, "kl": self.kl, "answers": answers, "methods": methods, "curves": curves,
            "depth": depth, "prompting": prompting, "receipts": receipts,
        })
    }

    /// Returns every cell that was measured as CSV, a line each.
    pub fn to_csv(pairs: &[Pair]) -> String {
        let mut text = String::from(
            "model,persona,method,layers,depth,alpha,effect,effect_picking_half,effect_judging_half,right_way,halves_cosine,\
             kl_plus,kl_minus,perplexity_ratio_plus,perplexity_ratio_minus\n",
        );
        let number = |x: Option<f64>| x.map_or(String::new(), |x| x.to_string());
        for pair in pairs {
            for cell in &pair.cells {
                let layers: Vec<String> = cell.layers.iter().map(usize::to_string).collect();
                let middle = cell.layers.iter().sum::<usize>() as f64 / cell.layers.len() as f64;
                let dose = cell.dose.as_ref();
                let judged = cell.judged(pair.plan.seed);
                let _ = write!(
                    text,
                    "{},{},{},{},{}",
                    quoted(&pair.plan.model.name),
                    quoted(&pair.plan.persona),
                    cell.method,
                    layers.join(" "),
                    middle / pair.plan.model.n_layers as f64
                );
                for x in [
                    dose.map(|it| it.alpha),
                    dose.map(|it| mean(&it.effects)),
                    cell.picked_on(),
                    judged.map(|it| it.effect),
                    judged.map(|it| it.right_way),
                    cell.halves,
                    dose.map(|it| it.cost[0].kl),
                    dose.map(|it| it.cost[1].kl),
                    dose.map(|it| it.cost[0].perplexity_ratio),
                    dose.map(|it| it.cost[1].perplexity_ratio),
                ] {
                    let _ = write!(text, ",{}", number(x));
                }
                text.push('\n');
            }
        }
        text
    }
}

/// Returns a name as a field of CSV.
fn quoted(name: &str) -> String {
    if name.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name.to_owned()
    }
}
