//! The study: methods and layers compared at equal cost, for any models and personas, and against prompting.
//!
//! A pair is one persona on one model. Every method at every set of layers gets the alpha at which it moves
//! neutral texts by the same KL, and is measured there: by that, doses can be compared whose alphas cannot.
//! docs/REFERENCE.md says what is measured and how the three questions are answered.

mod data;
mod findings;
mod journal;
mod measure;
mod plan;

pub use findings::{Compared, Curve, Depth, Findings, MethodRow, PromptRow};
pub use journal::Journal;
pub use measure::Bench;
pub use plan::{EMBEDDED, PersonaPlan, StudyPlan, file_name};

use crate::random::Random;
use crate::stats::{RESAMPLES, interval_of_mean, mean};
use crate::sweep::picks_on;
use crate::{Divergence, Method, ModelId, Receipt};

/// Everything that the numbers of a pair depend on.
#[derive(Clone, Debug, PartialEq)]
pub struct PairPlan {
    /// The model.
    pub model: ModelId,
    /// The persona's name.
    pub persona: String,
    /// Digest of the contrasts that directions are fitted on.
    pub contrasts_sha256: String,
    /// Digest of those that are measured on.
    pub heldout_sha256: String,
    /// How many of these are used.
    pub n_heldout: usize,
    /// The persona and its opposite in words, for prompting.
    pub words: Option<[String; 2]>,
    /// The frame around prompts.
    pub frame: String,
    /// Which tokens are averaged.
    pub tokens: String,
    /// What every dose costs, in nats per token.
    pub kl: f64,
    /// Digest of the neutral texts; empty if the model's own answers are used.
    pub neutral_sha256: String,
    /// What random numbers come from.
    pub seed: u64,
    /// The version that measures.
    pub tool: String,
}

/// One method at one set of layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// How the direction was fitted.
    pub method: Method,
    /// The layers that are injected.
    pub layers: Vec<usize>,
    /// The cosine between the directions of two halves of the training contrasts, mean over the layers; `None`
    /// for controls.
    pub halves: Option<f64>,
    /// What it does at the alpha that costs what the plan says; `None` if there is no such alpha.
    pub dose: Option<Measured>,
}

/// What a dose does.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// How much, in units of the gap.
    pub alpha: f64,
    /// Half of the way that the margin of each held-out contrast moves from −alpha to +alpha, in nats per token.
    pub effects: Vec<f64>,
    /// What +alpha and −alpha do to neutral texts.
    pub cost: [Divergence; 2],
}

impl Cell {
    /// The effect over the half of the contrasts that doses are picked on.
    pub fn picked_on(&self) -> Option<f64> {
        self.dose.as_ref().map(|it| mean(&it.half(picks_on)))
    }

    /// What it does on the other half.
    pub fn judged(&self, seed: u64) -> Option<Judged> {
        let effects = self.dose.as_ref()?.half(|i| !picks_on(i));
        Some(Judged {
            effect: mean(&effects),
            interval: interval_of_mean(&effects, RESAMPLES, Random::new(seed)),
            right_way: effects.iter().filter(|it| **it > 0.0).count() as f64 / effects.len() as f64,
        })
    }
}

impl Measured {
    fn half(&self, which: impl Fn(usize) -> bool) -> Vec<f64> {
        self.effects.iter().enumerate().filter(|(i, _)| which(*i)).map(|(_, effect)| *effect).collect()
    }
}

/// An effect on contrasts that had no say in what was picked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// The mean, in nats per token.
    pub effect: f64,
    /// 95 % of it; `None` for too few contrasts.
    pub interval: Option<[f64; 2]>,
    /// The share of contrasts that go the right way.
    pub right_way: f64,
}

/// A persona on a model, measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// What was measured.
    pub plan: PairPlan,
    /// Every method at every set of layers, in the order of the plan.
    pub cells: Vec<Cell>,
    /// The receipt of the best of them on the half that it was not picked on; `None` if no dose was possible.
    pub receipt: Option<Receipt>,
}

impl Pair {
    /// The cell with the largest effect on the half that doses are picked on: of one method, or of all.
    pub fn best(&self, method: Option<Method>) -> Option<&Cell> {
        best(self.cells.iter().filter(|it| method.is_none_or(|method| it.method == method)))
    }
}

/// The cell with the largest effect on the half that doses are picked on; the first of equals.
fn best<'c>(cells: impl Iterator<Item = &'c Cell>) -> Option<&'c Cell> {
    cells
        .filter_map(|it| Some((it, it.picked_on()?)))
        .reduce(|a, b| if b.1 > a.1 { b } else { a })
        .map(|it| it.0)
}

#[cfg(test)]
mod tests;
