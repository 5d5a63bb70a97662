//! The sweep: layers × alphas × methods on held-out contrasts, cell by cell.
//!
//! A cell is one dose. What it does is measured on all held-out contrasts, one number each, so that a dose can be
//! picked on one half of them and judged on the other ([`pick`]). All alphas of a method at one set of
//! layers are measured together: the blocks below run once, and their answers are written in one batch.

mod journal;

pub use journal::Journal;

use crate::answers::{asking_to_measure, continuations};
use crate::divergence::divergences;
use crate::extract::encode;
use crate::margin::Margins;
use crate::random::Random;
use crate::receipt::mean_repetition;
use crate::stats::{RESAMPLES, interval_of_mean, mean};
use crate::{
    Asking, ContrastSet, Dose, Error, Frame, Method, ModelId, PersonaVector, Text, Unit, Watch,
    ask_under_each, combine, measure_cosine, perplexities,
};
use std::collections::BTreeMap;
use whipstaff_disk::sha256_hex;
use whipstaff_engine::{Continuation, Message, Model, Steering, Tokenizer};

/// Everything that a sweep's numbers depend on: another plan gives other numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct SweepPlan {
    /// The model.
    pub model: ModelId,
    /// Digests of the contrasts that vectors are fitted on and measured on.
    pub contrasts_sha256: String,
    /// The same.
    pub heldout_sha256: String,
    /// The contrasts that are measured on.
    pub n_heldout: usize,
    /// The frame around prompts, as [`Frame::id`] names it.
    pub frame: String,
    /// Which tokens are averaged.
    pub tokens: String,
    /// The methods.
    pub methods: Vec<Method>,
    /// The sets of layers that are injected together; singles for the plain sweep.
    pub layers: Vec<Vec<usize>>,
    /// The alphas.
    pub alphas: Vec<f64>,
    /// What they are counted in.
    pub unit: Unit,
    /// Digest of the neutral texts; empty if the model's own answers are used.
    pub neutral_sha256: String,
    /// What random numbers come from.
    pub seed: u64,
    /// The version that measures.
    pub tool: String,
}

/// The place of a cell in a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// How the direction was fitted.
    pub method: Method,
    /// The layers that are injected.
    pub layers: Vec<usize>,
    /// How much.
    pub alpha: f64,
}

/// What one dose does.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// Which.
    pub place: Place,
    /// By how much the margin of each held-out contrast moves, in nats per token.
    pub shifts: Vec<f64>,
    /// The mean per-token KL(unsteered ‖ steered) on neutral texts, in nats.
    pub kl: f64,
    /// How much more perplexing the neutral texts are to the steered model.
    pub neutral_perplexity: f64,
    /// How much more perplexing its answers are to the unsteered model than its own, on the first half.
    pub answer_perplexity: f64,
    /// The share of four-token runs of its answers that have occurred before in the same answer.
    pub repetition: f64,
    /// The mean cosine of steered and unsteered `resid_post` of the last block, on the questions.
    pub cosine: f64,
}

impl Cell {
    /// The mean shift in the direction that alpha asks for, over all held-out contrasts.
    pub fn effect(&self) -> f64 {
        mean(&self.effects(|_| true))
    }

    /// The shifts of the contrasts that `which` chooses, in the direction that alpha asks for.
    fn effects(&self, which: impl Fn(usize) -> bool) -> Vec<f64> {
        let sign = if self.place.alpha < 0.0 { -1.0 } else { 1.0 };
        self.shifts.iter().enumerate().filter(|(i, _)| which(*i)).map(|(_, shift)| sign * shift).collect()
    }
}

/// A dose that was picked, and how it does on contrasts that had no say in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Pick {
    /// The dose.
    pub place: Place,
    /// Its effect on the half that it was picked on, in nats per token.
    pub picked_on: f64,
    /// Its effect on the other half.
    pub effect: f64,
    /// 95 % of it; `None` for too few contrasts.
    pub interval: Option<[f64; 2]>,
    /// The share of the other half that goes the wrong way.
    pub wrong_way: f64,
    /// What it costs: see [`Cell::answer_perplexity`].
    pub answer_perplexity: f64,
}

/// Every contrast but the second, fourth … belongs to the half that doses are picked on.
pub(crate) fn picks_on(i: usize) -> bool {
    i.is_multiple_of(2)
}

impl SweepPlan {
    /// The cells, in the order in which they are measured and written.
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

/// The positive alpha with the largest effect on the first half of the contrasts whose answers are at most
/// `budget` times as perplexing, judged on the second half; `None` if no cell is within the budget.
pub fn pick(cells: &[Cell], budget: f64, seed: u64) -> Option<Pick> {
    let on_half = |cell: &Cell| mean(&cell.effects(picks_on));
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

/// SHA-256 of the tokens of texts, for a plan; empty for none.
pub fn digest_of(texts: &[Continuation]) -> String {
    if texts.is_empty() {
        return String::new();
    }
    let ids = texts.iter().flat_map(|it| it.prompt.iter().chain(&it.tokens).copied().chain([u32::MAX]));
    let bytes: Vec<u8> = ids.flat_map(u32::to_le_bytes).collect();
    sha256_hex(&bytes)
}

/// A sweep at work: what cells are measured with.
pub struct Sweep<'a> {
    model: &'a Model,
    tokenizer: &'a Tokenizer,
    vectors: &'a BTreeMap<Method, PersonaVector>,
    plan: &'a SweepPlan,
    frame: Frame,
    margins: Margins<'a>,
    plain: Vec<f64>,
    /// Of the first half: those that a dose is picked on.
    questions: Vec<Vec<Message>>,
    asking: Asking,
    unsteered_perplexity: f64,
    neutral: Vec<Continuation>,
    prompts: Vec<Text>,
}

impl<'a> Sweep<'a> {
    /// Measures the unsteered model. `vectors` has one of each method of the plan; `neutral` may be empty.
    ///
    /// # Errors
    /// [`Error::Engine`] for texts that the model cannot run; [`Error::Interrupted`].
    #[allow(clippy::too_many_arguments)] // the model, the plan, and what the plan names by digest
    pub fn new(
        model: &'a Model,
        tokenizer: &'a Tokenizer,
        vectors: &'a BTreeMap<Method, PersonaVector>,
        plan: &'a SweepPlan,
        frame: &Frame,
        heldout: &ContrastSet,
        neutral: &[Continuation],
        watch: &dyn Watch,
    ) -> Result<Sweep<'a>, Error> {
        let heldout = heldout.first(plan.n_heldout);
        let margins = Margins::new(model, &encode(tokenizer, frame, &heldout, model.config().max_positions)?);
        watch.stage("measuring the unsteered model", margins.n_texts());
        let plain = margins.under(&[Steering::default()], watch)?.remove(0);
        let asked = heldout.contrasts.iter().enumerate().filter(|(i, _)| picks_on(*i));
        let questions: Vec<Vec<Message>> = asked.map(|(_, it)| it.messages.clone()).collect();
        let prompts =
            questions.iter().map(|it| frame.prompt_ids(tokenizer, it)).collect::<Result<Vec<_>, Error>>()?;
        let asking = asking_to_measure(frame, plan.seed);
        let unsteered = ask_under_each(model, tokenizer, &questions, &[Steering::default()], &asking, watch)?;
        let unsteered_perplexity = perplexities(model, tokenizer, frame, &questions, &unsteered)?[0];
        let neutral = match neutral {
            [] => continuations(tokenizer, frame, &questions, &unsteered[0])?,
            given => given.to_vec(),
        };
        let prompts = prompts.iter().map(|it| Text::new(it, &[])).collect();
        let frame = frame.clone();
        Ok(Sweep {
            model,
            tokenizer,
            vectors,
            plan,
            frame,
            margins,
            plain,
            questions,
            asking,
            unsteered_perplexity,
            neutral,
            prompts,
        })
    }

    /// Measures cells of one method at one set of layers, side by side. Each gives the same numbers whichever
    /// others are measured with it.
    ///
    /// # Errors
    /// As for [`Sweep::new`]; [`Error::Vector`] for layers without direction.
    pub fn measure(&self, places: &[Place], watch: &dyn Watch) -> Result<Vec<Cell>, Error> {
        let Sweep { model, tokenizer, plan, .. } = *self;
        let steering = |it: &Place| {
            let vector = &self.vectors[&it.method];
            combine(&[Dose { vector, alpha: it.alpha, unit: plan.unit, layers: it.layers.clone() }], 1.0)
        };
        let steerings = places.iter().map(steering).collect::<Result<Vec<_>, Error>>()?;
        let margins = self.margins.under(&steerings, &crate::Unwatched)?;
        let moved = divergences(model, &self.neutral, &steerings)?;
        let answers = ask_under_each(model, tokenizer, &self.questions, &steerings, &self.asking, watch)?;
        let perplexity = perplexities(model, tokenizer, &self.frame, &self.questions, &answers)?;
        let injected = places.first().map_or(&[][..], |it| &it.layers);
        let dialled: Vec<(f64, Steering)> = places.iter().map(|it| it.alpha).zip(steerings).collect();
        let cosines = measure_cosine(model, &self.prompts, 0, injected, &dialled, &crate::Unwatched)?;
        let last = model.config().n_layers - 1;
        let cell = |(i, place): (usize, &Place)| Cell {
            place: place.clone(),
            shifts: margins[i].iter().zip(&self.plain).map(|(margin, plain)| margin - plain).collect(),
            kl: moved[i].kl,
            neutral_perplexity: moved[i].perplexity_ratio,
            answer_perplexity: perplexity[i] / self.unsteered_perplexity,
            repetition: mean_repetition(&answers[i]),
            cosine: cosines.mean(i, last),
        };
        Ok(places.iter().enumerate().map(cell).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(alpha: f64, layer: usize, shifts: &[f64], answer_perplexity: f64) -> Cell {
        Cell {
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
        let it = pick(&cells, 1.4, 0).unwrap();
        assert_eq!((it.place.alpha, it.wrong_way), (1.0, 0.5));
        assert!((it.picked_on - 0.85).abs() < 1e-12 && (it.effect - 0.1).abs() < 1e-12);
        assert!(pick(&cells[2..], 1.4, 0).is_none());
    }

    #[test]
    fn the_effect_of_a_negative_alpha_is_the_way_down() {
        assert_eq!(cell(-1.0, 3, &[-0.5, -0.25], 1.0).effect(), 0.375);
        assert_eq!(cell(1.0, 3, &[-0.5, -0.25], 1.0).effect(), -0.375);
    }
}
