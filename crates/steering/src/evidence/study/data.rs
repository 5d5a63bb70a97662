//! The findings of a study as data: JSON for programs, CSV for spreadsheets.

use super::findings::{Compared, Curve, Findings, MethodRow, PromptRow};
use super::pair::Pair;
use crate::math::mean;
use crate::vector::{Effect, ReceiptEntry};
use serde_json::{Value, json};
use std::fmt::Write;

impl Findings {
    /// Returns everything that tables and figures show, under `answers` in words: questions, each with its answer.
    pub fn to_json(&self, pairs: &[Pair], answers: &[(&str, String)]) -> Value {
        let methods: Vec<Value> = self.rows.iter().map(method_json).collect();
        let curves: Vec<Value> = self.curves.iter().map(curve_json).collect();
        let prompting: Vec<Value> = self.prompting.iter().map(prompting_json).collect();
        let receipts: Vec<Value> = pairs.iter().filter_map(receipt_json).collect();
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

/// Returns a method on a pair.
fn method_json(row: &MethodRow) -> Value {
    json!({
        "model": row.model, "persona": row.persona, "method": row.method.name(), "layers": row.layers,
        "alpha": row.alpha, "effect": row.judged.effect, "interval": row.judged.interval,
        "right_way": row.judged.right_way, "halves_cosine": row.halves,
        "beyond_first": row.beyond_first.map(|it| it.0),
        "beyond_first_interval": row.beyond_first.map(|it| it.1),
        "kl": row.cost.map(|it| it.kl), "perplexity_ratio": row.cost.map(|it| it.perplexity_ratio),
    })
}

/// Returns the effect of a method on a pair by layer.
fn curve_json(curve: &Curve) -> Value {
    let (layers, effects): (Vec<usize>, Vec<Option<f64>>) = curve.points.iter().copied().unzip();
    json!({
        "model": curve.model, "persona": curve.persona, "method": curve.method.name(),
        "n_layers": curve.n_layers, "layers": layers, "effects": effects, "picked": curve.picked,
    })
}

/// Returns the best dose of a pair, beside prompting.
fn prompting_json(row: &PromptRow) -> Value {
    let steering_does = match row.compared() {
        Compared::More => "more",
        Compared::Less => "less",
        Compared::Alike => "no telling",
    };
    json!({
        "model": row.model, "persona": row.persona, "method": row.method.name(), "layers": row.layers,
        "alpha": row.alpha, "steering": effect_json(&row.steering),
        "prompting": row.prompting.as_ref().map(|it| effect_json(&it.1)),
        "asked_by": row.prompting.as_ref().map(|it| it.0.name()),
        "random": row.random.as_ref().map(effect_json), "share_of_prompting": row.share(),
        "steering_does": steering_does,
        "answer_perplexity_ratio": row.answer_perplexity, "verdict": row.verdict.to_string(),
    })
}

fn effect_json(effect: &Effect) -> Value {
    json!({ "effect": effect.mean, "interval": effect.interval, "wrong_way": effect.wrong_way })
}

/// Returns the receipt of a pair, if it has one.
fn receipt_json(pair: &Pair) -> Option<Value> {
    let receipt = ReceiptEntry::new(pair.receipt.as_ref()?);
    Some(json!({ "model": pair.plan.model.name, "persona": pair.plan.persona, "receipt": receipt }))
}

/// Returns a name as a field of CSV.
fn quoted(name: &str) -> String {
    if name.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name.to_owned()
    }
}
