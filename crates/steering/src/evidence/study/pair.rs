//! A pair, which is one persona on one model: its plan, and the numbers that were measured.

use crate::evidence::sweep::picks_on;
use crate::fit::Method;
use crate::math::{RESAMPLES, Random, interval_of_mean, mean};
use crate::measure::Divergence;
use crate::vector::{ModelId, Receipt};

/// Everything that the numbers of a pair depend on.
#[derive(Clone, Debug, PartialEq)]
pub struct PairPlan {
    /// The model.
    pub model: ModelId,
    /// The persona's name.
    pub persona: String,
    /// The digest of the contrasts that directions are fitted on.
    pub contrasts_sha256: String,
    /// The digest of the contrasts that are measured on.
    pub heldout_sha256: String,
    /// The number of contrasts that are measured on.
    pub n_heldout: usize,
    /// The persona and its opposite in words, for prompting.
    pub words: Option<[String; 2]>,
    /// The frame around prompts.
    pub frame: String,
    /// The name of the rule that says which tokens are averaged.
    pub tokens: String,
    /// The cost of every dose, in nats per token.
    pub kl: f64,
    /// The digest of the neutral texts; empty if the model's own answers are used.
    pub neutral_sha256: String,
    /// The seed of everything random.
    pub seed: u64,
    /// The tool and version that measure.
    pub tool: String,
}

/// One method at one set of layers.
#[derive(Clone, Debug, PartialEq)]
pub struct StudyCell {
    /// The method that fitted the direction.
    pub method: Method,
    /// The layers that are injected.
    pub layers: Vec<usize>,
    /// The cosine between the directions of two halves of the training contrasts, mean over the layers; `None`
    /// for controls.
    pub halves: Option<f64>,
    /// The outcome at the alpha that costs what the plan says; `None` if there is no such alpha.
    pub dose: Option<DoseOutcome>,
}

/// The outcome of a dose.
#[derive(Clone, Debug, PartialEq)]
pub struct DoseOutcome {
    /// The alpha, in units of the gap.
    pub alpha: f64,
    /// Half of the way that the margin of each held-out contrast moves from −alpha to +alpha, in nats per token.
    pub effects: Vec<f64>,
    /// The divergence of +alpha and of −alpha on neutral texts.
    pub cost: [Divergence; 2],
}

impl StudyCell {
    /// Returns the effect over the half of the contrasts that doses are picked on.
    pub fn picked_on(&self) -> Option<f64> {
        self.dose.as_ref().map(|it| mean(&it.half(picks_on)))
    }

    /// Returns the effect on the other half.
    pub fn judged(&self, seed: u64) -> Option<Judged> {
        let effects = self.dose.as_ref()?.half(|i| !picks_on(i));
        Some(Judged {
            effect: mean(&effects),
            interval: interval_of_mean(&effects, RESAMPLES, Random::new(seed)),
            right_way: effects.iter().filter(|it| **it > 0.0).count() as f64 / effects.len() as f64,
        })
    }
}

impl DoseOutcome {
    pub(super) fn half(&self, which: impl Fn(usize) -> bool) -> Vec<f64> {
        self.effects.iter().enumerate().filter(|(i, _)| which(*i)).map(|(_, effect)| *effect).collect()
    }
}

/// An effect on contrasts that had no say in what was picked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// The mean, in nats per token.
    pub effect: f64,
    /// The 95 % interval of the mean; `None` for too few contrasts.
    pub interval: Option<[f64; 2]>,
    /// The share of contrasts whose margin moves the right way.
    pub right_way: f64,
}

/// A pair that was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// The plan that was measured.
    pub plan: PairPlan,
    /// Every method at every set of layers, in the order of the plan.
    pub cells: Vec<StudyCell>,
    /// The receipt of the best cell, on the half of the contrasts that it was not picked on; `None` if no dose was
    /// possible.
    pub receipt: Option<Receipt>,
}

impl Pair {
    /// Returns the cell with the largest effect on the half that doses are picked on, of one method or of all.
    pub fn best(&self, method: Option<Method>) -> Option<&StudyCell> {
        best(self.cells.iter().filter(|it| method.is_none_or(|method| it.method == method)))
    }
}

/// Returns the cell with the largest effect on the half that doses are picked on, the first of equals.
pub(super) fn best<'c>(cells: impl Iterator<Item = &'c StudyCell>) -> Option<&'c StudyCell> {
    cells
        .filter_map(|it| Some((it, it.picked_on()?)))
        .reduce(|a, b| if b.1 > a.1 { b } else { a })
        .map(|it| it.0)
}
