//! The grid of a sweep: layers × alphas × methods on held-out contrasts.
//!
//! A cell is one dose. Its effect is measured on all held-out contrasts, one number each, so that a dose can be picked on
//! one half of them and judged on the other ([`pick`]). All alphas of a method at one set of layers are measured
//! together: the blocks below run once, and the answers are written in one batch.

use crate::fit::Method;
use crate::math::{RESAMPLES, Random, interval_of_mean, mean};
use crate::vector::{ModelId, Unit};
use whipstaff_disk::sha256_hex;
use whipstaff_engine::Continuation;

/// Everything that a sweep's numbers depend on; another plan gives other numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct SweepPlan {
    /// The model.
    pub model: ModelId,
    /// The digest of the contrasts that vectors are fitted on.
    pub contrasts_sha256: String,
    /// The digest of the contrasts that are measured on.
    pub heldout_sha256: String,
    /// The number of contrasts that are measured on.
    pub n_heldout: usize,
    /// The frame around prompts, as [`Frame::id`](crate::Frame::id) names it.
    pub frame: String,
    /// The name of the rule that says which tokens are averaged.
    pub tokens: String,
    /// The methods.
    pub methods: Vec<Method>,
    /// The sets of layers that are injected together; singles for the plain sweep.
    pub layers: Vec<Vec<usize>>,
    /// The alphas.
    pub alphas: Vec<f64>,
    /// The unit that alphas are counted in.
    pub unit: Unit,
    /// The digest of the neutral texts; empty if the model's own answers are used.
    pub neutral_sha256: String,
    /// The seed of everything random.
    pub seed: u64,
    /// The tool and version that measure.
    pub tool: String,
}

/// The place of a cell in a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The method that fitted the direction.
    pub method: Method,
    /// The layers that are injected.
    pub layers: Vec<usize>,
    /// The alpha.
    pub alpha: f64,
}

/// The effect and the cost of one dose.
#[derive(Clone, Debug, PartialEq)]
pub struct SweepCell {
    /// The place of the dose in the plan.
    pub place: Place,
    /// How far the margin of each held-out contrast moves, in nats per token.
    pub shifts: Vec<f64>,
    /// The mean per-token KL(unsteered ‖ steered) on neutral texts, in nats.
    pub kl: f64,
    /// The perplexity of the neutral texts under the steered model over that under the unsteered one.
    pub neutral_perplexity: f64,
    /// The perplexity of steered answers under the unsteered model over that of its own answers, on the first half.
    pub answer_perplexity: f64,
    /// The share of four-token runs in steered answers that have occurred before in the same answer.
    pub repetition: f64,
    /// The mean cosine of steered and unsteered `resid_post` of the last block, on the questions.
    pub cosine: f64,
}

impl SweepCell {
    /// Returns the mean shift in the direction that alpha asks for, over all held-out contrasts.
    pub fn effect(&self) -> f64 {
        mean(&self.effects(|_| true))
    }

    /// Returns the shifts of the contrasts that `which` chooses, in the direction that alpha asks for.
    fn effects(&self, which: impl Fn(usize) -> bool) -> Vec<f64> {
        let sign = if self.place.alpha < 0.0 { -1.0 } else { 1.0 };
        self.shifts.iter().enumerate().filter(|(i, _)| which(*i)).map(|(_, shift)| sign * shift).collect()
    }
}

/// A dose that was picked, with its effect on contrasts that had no say in the choice.
#[derive(Clone, Debug, PartialEq)]
pub struct Pick {
    /// The dose.
    pub place: Place,
    /// The effect on the half that the dose was picked on, in nats per token.
    pub picked_on: f64,
    /// The effect on the other half.
    pub effect: f64,
    /// The 95 % interval of that effect; `None` for too few contrasts.
    pub interval: Option<[f64; 2]>,
    /// The share of the other half whose margin moves the wrong way.
    pub wrong_way: f64,
    /// The cost, as [`SweepCell::answer_perplexity`].
    pub answer_perplexity: f64,
}

/// Returns true for the first, third … contrast, which belong to the half that doses are picked on.
pub(crate) fn picks_on(i: usize) -> bool {
    i.is_multiple_of(2)
}

impl SweepPlan {
    /// Returns the places of all cells, in the order in which they are measured and written.
    pub fn places(&self) -> Vec<Place> {
        let mut places = Vec::new();
        for method in &self.methods {
            for layers in &self.layers {
                for alpha in &self.alphas {
                    places.push(Place { method: *method, layers: layers.clone(), alpha: *alpha });
                }
            }
        }
        places
    }
}

/// Picks the positive alpha with the largest effect on the first half of the contrasts, among the cells whose answers are
/// at most `budget` times as perplexing, and judges it on the second half. Returns `None` if no cell is within the
/// budget.
pub fn pick(cells: &[SweepCell], budget: f64, seed: u64) -> Option<Pick> {
    let on_half = |cell: &SweepCell| mean(&cell.effects(picks_on));
    let within = cells.iter().filter(|it| it.place.alpha > 0.0 && it.answer_perplexity <= budget);
    let best = within.max_by(|a, b| on_half(a).total_cmp(&on_half(b)))?;
    let effects = best.effects(|i| !picks_on(i));
    if effects.is_empty() {
        return None;
    }
    Some(Pick {
        place: best.place.clone(),
        picked_on: on_half(best),
        effect: mean(&effects),
        interval: interval_of_mean(&effects, RESAMPLES, Random::new(seed)),
        wrong_way: effects.iter().filter(|it| **it < 0.0).count() as f64 / effects.len() as f64,
        answer_perplexity: best.answer_perplexity,
    })
}

/// Returns the SHA-256 of the tokens of texts, for a plan; empty for none.
pub fn digest_of(texts: &[Continuation]) -> String {
    if texts.is_empty() {
        return String::new();
    }
    let ids = texts.iter().flat_map(|it| it.prompt.iter().chain(&it.tokens).copied().chain([u32::MAX]));
    let bytes: Vec<u8> = ids.flat_map(u32::to_le_bytes).collect();
    sha256_hex(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(alpha: f64, layer: usize, shifts: &[f64], answer_perplexity: f64) -> SweepCell {
        SweepCell {
            place: Place { method: Method::Mean, layers: vec![layer], alpha },
            shifts: shifts.to_vec(),
            kl: 0.1,
            neutral_perplexity: 1.0,
            answer_perplexity,
            repetition: 0.0,
            cosine: 0.9,
        }
    }

    #[test]
    fn a_dose_is_picked_on_one_half_and_judged_on_the_other() {
        let cells = [
            cell(0.5, 3, &[0.1, 0.2, 0.1, 0.2], 1.0),
            cell(1.0, 3, &[0.9, -0.1, 0.8, 0.3], 1.2), // the best within the budget, on contrasts 0 and 2
            cell(2.0, 3, &[5.0, 5.0, 5.0, 5.0], 3.0),
            cell(-1.0, 3, &[-9.0, -9.0, -9.0, -9.0], 1.0),
        ];
        let picked = pick(&cells, 1.4, 0).unwrap();
        assert_eq!((picked.place.alpha, picked.wrong_way), (1.0, 0.5));
        assert!((picked.picked_on - 0.85).abs() < 1e-12 && (picked.effect - 0.1).abs() < 1e-12);
        assert!(pick(&cells[2..], 1.4, 0).is_none());
    }

    #[test]
    fn the_effect_of_a_negative_alpha_is_the_way_down() {
        assert_eq!(cell(-1.0, 3, &[-0.5, -0.25], 1.0).effect(), 0.375);
        assert_eq!(cell(1.0, 3, &[-0.5, -0.25], 1.0).effect(), -0.375);
    }
}
