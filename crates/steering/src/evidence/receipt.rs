//! The receipt: does a vector work, against what it could be by chance, and at what cost?
//!
//! Everything is measured on contrasts that the vector was not fitted on. The effect of an arm is half of the
//! way that the margin (mean log-probability per token of the positive answers less that of the negative ones)
//! moves from −alpha to +alpha: what a dose does in both directions alike, damage, cancels. A vector works if the
//! interval of its effect lies above what random directions of the same length reach, and its effect above what
//! the same contrasts give with shuffled labels.
//!
//! Of operators that have no other way ([`Op::leans_either_way`]), the effect of an arm is how far the margin moves
//! from the unsteered one, and moving it towards the negative answers is a finding like any other.

use crate::contrasts::{ContrastIds, ContrastSet, Frame, TokenRule, encode};
use crate::error::Error;
use crate::fit::{AnswerRows, ExtractOptions, Method, random_direction};
use crate::math::{
    RESAMPLES, Random, auc, correlation, dot, interval_of_mean, mean, mean_row, prediction_interval,
};
use crate::measure::{
    Margins, ask_under_each, asking_to_measure, continuations, divergences, mean_repetition, perplexities,
};
use crate::progress::Watch;
use crate::steer::{Dose, How, Instruction, steering_of};
use crate::vector::{Arm, ArmKind, Cost, Effect, Nuisance, PersonaVector, Receipt, Unit};
use std::sync::Arc;
use whipstaff_engine::{Continuation, Message, Model, Role, Steering, TokenSet, Tokenizer};

/// What a receipt is made of.
#[derive(Clone)]
pub struct ReceiptOptions {
    /// The frame that the vector was made in.
    pub frame: Frame,
    /// The dose that is measured.
    pub layers: Vec<usize>,
    /// The same.
    pub alpha: f64,
    /// The same.
    pub unit: Unit,
    /// How the dose is given, by every arm alike. A gate is not decided.
    pub how: How,
    /// What [`TokenFilter::resolve`](crate::TokenFilter::resolve) makes of the filter of `how`.
    pub tokens: Option<Arc<TokenSet>>,
    /// The layer whose projections are looked at.
    pub best_layer: usize,
    /// Held-out contrasts that are used at most.
    pub max_contrasts: usize,
    /// Random directions, at least three.
    pub random: usize,
    /// Shufflings of the labels, at least three.
    pub shuffled: usize,
    /// The persona and its opposite in words, for the arm that asks for it in a system message; without
    /// them that arm shows two answers instead.
    pub persona: Option<[String; 2]>,
    /// Texts that have nothing to do with the persona; none, then the model's own unsteered answers are used.
    pub neutral: Vec<Continuation>,
    /// The same seed gives the same receipt.
    pub seed: u64,
}

/// Measures a vector on `heldout`, which must not contain what it was fitted on. `rows` are what its directions
/// were fitted to, or others of the same kind, for the shuffled arm; `shown` has answers for the prompted arm.
///
/// # Errors
/// [`Error::Vector`] if the vector has no such dose; [`Error::Engine`] for texts that the model cannot run;
/// [`Error::Interrupted`].
#[allow(clippy::too_many_arguments)] // the model, what is measured, and what it is measured with
pub fn receipt(
    model: &Model,
    tokenizer: &Tokenizer,
    vector: &PersonaVector,
    rows: &AnswerRows,
    shown: &ContrastSet,
    heldout: &ContrastSet,
    options: &ReceiptOptions,
    watch: &dyn Watch,
) -> Result<Receipt, Error> {
    let heldout = heldout.first(options.max_contrasts);
    let bench = Bench { model, tokenizer, vector, options, heldout: &heldout, watch };
    let ids = encode(tokenizer, &options.frame, &heldout, model.config().max_positions)?;
    let instruction = bench.instruction(vector, 1.0);
    let what = (options.how != How::default()).then(|| instruction.in_words());
    let (plain, arms) = bench.arms(rows, shown, &ids)?;
    let (cost, unsteered_repetition) = bench.costs()?;
    let (auc, nuisance) = bench.nuisance()?;
    Ok(Receipt {
        layers: options.layers.clone(),
        alpha: options.alpha,
        unit: options.unit,
        what,
        best_layer: options.best_layer,
        measured_on: heldout.name.clone(),
        n_contrasts: heldout.contrasts.len(),
        seed: options.seed,
        margin: mean(&plain),
        arms,
        cost,
        unsteered_repetition,
        auc,
        nuisance,
    })
}

/// What a vector is measured with.
struct Bench<'a> {
    model: &'a Model,
    tokenizer: &'a Tokenizer,
    vector: &'a PersonaVector,
    options: &'a ReceiptOptions,
    heldout: &'a ContrastSet,
    watch: &'a dyn Watch,
}

impl Bench<'_> {
    fn instruction<'v>(&self, vector: &'v PersonaVector, sign: f64) -> Instruction<'v> {
        let ReceiptOptions { alpha, unit, layers, how, tokens, .. } = self.options;
        let dose = Dose { vector, alpha: sign * alpha, unit: *unit, layers: layers.clone() };
        Instruction { dose, how: how.clone(), condition: None, tokens: tokens.clone() }
    }

    /// The ways that there are: +alpha and, if there is another way, −alpha.
    fn signs(&self) -> &'static [f64] {
        if self.options.how.op.leans_either_way() { &[1.0, -1.0] } else { &[1.0] }
    }

    /// The steering of the dose, or of the same dose of other directions of the same length.
    fn steering(&self, directions: Option<&Directions>, sign: f64) -> Result<Steering, Error> {
        let mut vector = self.vector.clone();
        for (layer, direction) in directions.into_iter().flatten() {
            if let Some(it) = vector.layers.get_mut(layer) {
                let norm = it.direction.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
                it.direction = direction.iter().map(|x| (x * norm) as f32).collect();
            }
        }
        steering_of(&[self.instruction(&vector, sign)], 1.0)
    }

    /// The unsteered margins, and every arm.
    fn arms(
        &self,
        rows: &AnswerRows,
        shown: &ContrastSet,
        ids: &[ContrastIds],
    ) -> Result<(Vec<f64>, Vec<Arm>), Error> {
        let Bench { options, .. } = self;
        let means: Vec<[Vec<f64>; 2]> =
            options.layers.iter().map(|layer| rows.sides(*layer).map(|side| mean_row(&side))).collect();
        let random = (0..options.random).map(|i| self.random(&means, seed_of(options.seed, i)));
        let random: Vec<Directions> = random.collect();
        let shuffled = (0..options.shuffled).map(|i| self.shuffled(rows, seed_of(options.seed, i)));
        let shuffled: Vec<Directions> = shuffled.flatten().collect();

        let margins = Margins::new(self.model, ids);
        let mut steerings = vec![Steering::default()];
        for directions in std::iter::once(None).chain(random.iter().chain(&shuffled).map(Some)) {
            for sign in self.signs() {
                steerings.push(self.steering(directions, *sign)?);
            }
        }
        self.watch.stage("measuring the effect", margins.n_texts());
        let measured = margins.under(&steerings, self.watch)?;
        let plain = measured[0].clone();
        let effects: Vec<Effect> =
            measured[1..].chunks(self.signs().len()).map(|sides| self.effect(&plain, sides)).collect();

        let mut arms = vec![Arm { kind: ArmKind::Vector, effect: effects[0], seeds: Vec::new() }];
        let (of_random, of_shuffled) = effects[1..].split_at(random.len());
        arms.extend(several(ArmKind::Random, of_random));
        arms.extend(several(ArmKind::Shuffled, of_shuffled));
        arms.extend(self.prompted(shown, &plain)?);
        Ok((plain, arms))
    }

    /// `sides` are the margins at +alpha and, if there is another way, at −alpha.
    fn effect(&self, plain: &[f64], sides: &[Vec<f64>]) -> Effect {
        let (plus, minus) = (&sides[0], sides.get(1));
        let moved: Vec<f64> = match minus {
            Some(minus) => plus.iter().zip(minus).map(|(plus, minus)| (plus - minus) / 2.0).collect(),
            None => plus.iter().zip(plain).map(|(plus, plain)| plus - plain).collect(),
        };
        Effect {
            plus: mean(plus) - mean(plain),
            minus: minus.map(|minus| mean(minus) - mean(plain)),
            mean: mean(&moved),
            interval: interval_of_mean(&moved, RESAMPLES, Random::new(self.options.seed)),
            wrong_way: moved.iter().filter(|it| **it < 0.0).count() as f64 / moved.len() as f64,
        }
    }

    /// One direction for all layers: nothing adds up along the stream as well as that does. `means` are those of
    /// both sides, for each layer.
    fn random(&self, means: &[[Vec<f64>; 2]], seed: u64) -> Directions {
        let direction = random_direction(self.model.config().d_model, Random::new(seed));
        let norm = dot(&direction, &direction).sqrt();
        let along: f64 = means
            .iter()
            .map(|[positive, negative]| dot(positive, &direction) - dot(negative, &direction))
            .sum();
        let direction: Vec<f64> =
            direction.iter().map(|x| x / norm * if along < 0.0 { -1.0 } else { 1.0 }).collect();
        self.options.layers.iter().map(|layer| (*layer, direction.clone())).collect()
    }

    /// None if the shuffled differences cancel.
    fn shuffled(&self, rows: &AnswerRows, seed: u64) -> Option<Directions> {
        let direction = |layer: &usize| Some((*layer, rows.direction(*layer, Method::Shuffled, seed)?));
        self.options.layers.iter().map(direction).collect()
    }

    /// The arm that asks instead of steering; none if the frame has no room for it.
    fn prompted(&self, shown: &ContrastSet, plain: &[f64]) -> Result<Option<Arm>, Error> {
        let Bench { options, heldout, .. } = self;
        let behind = |side: usize| -> Result<Option<Vec<f64>>, Error> {
            let mut set = (*heldout).clone();
            for it in &mut set.contrasts {
                match &options.persona {
                    Some(persona) if it.messages[0].role == Role::System => {
                        it.messages[0].content = persona[side].clone()
                    }
                    Some(persona) => it.messages.insert(0, Message::new(Role::System, persona[side].clone())),
                    None => {
                        let after_system = usize::from(it.messages[0].role == Role::System);
                        let turns = shown.contrasts.iter().take(SHOWN).flat_map(|shown| {
                            let answer = if side == 0 { &shown.positive } else { &shown.negative };
                            [
                                Message::new(Role::User, shown.prompt()),
                                Message::new(Role::Assistant, answer.as_str()),
                            ]
                        });
                        it.messages.splice(after_system..after_system, turns.collect::<Vec<_>>());
                    }
                }
            }
            // A frame may have no room for it, a context neither: then there is no such arm.
            match encode(self.tokenizer, &options.frame, &set, self.model.config().max_positions) {
                Ok(ids) => Ok(Some(Margins::behind(self.model, &ids)?)),
                Err(_) => Ok(None),
            }
        };
        let kind = if options.persona.is_some() { ArmKind::Words } else { ArmKind::Shown };
        let sides = (0..self.signs().len()).map(behind).collect::<Result<Option<Vec<_>>, _>>()?;
        let Some(sides) = sides else { return Ok(None) };
        Ok(Some(Arm { kind, effect: self.effect(plain, &sides), seeds: Vec::new() }))
    }

    /// What each way costs, and how repetitive unsteered answers are.
    fn costs(&self) -> Result<(Vec<Cost>, f64), Error> {
        let Bench { model, tokenizer, options, watch, .. } = *self;
        let questions: Vec<Vec<Message>> =
            self.heldout.contrasts.iter().map(|it| it.messages.clone()).collect();
        let mut steerings = vec![Steering::default()];
        for sign in self.signs() {
            steerings.push(self.steering(None, *sign)?);
        }
        let asking = asking_to_measure(&options.frame, options.seed);
        watch.stage("measuring the cost", steerings.len() * questions.len());
        let answers = ask_under_each(model, tokenizer, &questions, &steerings, &asking, watch)?;
        let perplexity = perplexities(model, tokenizer, &options.frame, &questions, &answers)?;
        let repetition: Vec<f64> = answers.iter().map(|it| mean_repetition(it)).collect();
        let neutral = match &options.neutral[..] {
            [] => continuations(tokenizer, &options.frame, &questions, &answers[0])?,
            given => given.to_vec(),
        };
        let moved = divergences(model, &neutral, &steerings[1..])?;
        let cost = |side: usize| Cost {
            kl: moved[side].kl,
            neutral_perplexity: moved[side].perplexity_ratio,
            answer_perplexity: perplexity[side + 1] / perplexity[0],
            repetition: repetition[side + 1],
        };
        Ok(((0..moved.len()).map(cost).collect(), repetition[0]))
    }

    /// How well the direction tells held-out answers apart, and what else it may be reading.
    fn nuisance(&self) -> Result<(f64, Nuisance), Error> {
        let Bench { model, tokenizer, options, watch, .. } = *self;
        let Some(it) = self.vector.layers.get(&options.best_layer) else {
            return Err(Error::Vector {
                vector: self.vector.name.clone(),
                reason: format!("has no direction for layer {}", options.best_layer),
            });
        };
        let direction: Vec<f64> = it.direction.iter().map(|x| f64::from(*x)).collect();
        let read = |tokens: TokenRule| {
            let options = ExtractOptions {
                model: self.vector.provenance.model.clone(),
                frame: options.frame.clone(),
                tokens,
                layers: vec![options.best_layer],
                method: Method::Mean,
                seed: 0,
            };
            AnswerRows::read(model, tokenizer, self.heldout, &options, watch)
        };
        let whole = read(TokenRule::Answer)?;
        let sides = whole.sides(options.best_layer);
        let along =
            sides.each_ref().map(|rows| rows.iter().map(|row| dot(row, &direction)).collect::<Vec<_>>());
        let apart: Vec<f64> =
            along[0].iter().zip(&along[1]).map(|(positive, negative)| positive - negative).collect();
        let longer: Vec<f64> =
            whole.lens().iter().map(|[positive, negative]| *positive as f64 - *negative as f64).collect();
        let first = read(TokenRule::AnswerFirst)?.sides(options.best_layer);
        let nuisance = Nuisance {
            longer: mean(&longer),
            length: (apart.len() > 2).then(|| correlation(&apart, &longer)).flatten(),
            first_token: gap(&first, &direction) / mean(&apart),
        };
        Ok((auc(&along[0], &along[1]), nuisance))
    }
}

/// Directions by layer.
type Directions = Vec<(usize, Vec<f64>)>;

/// Answers shown where the persona is not asked for in words.
const SHOWN: usize = 2;

/// Seeds of controls that are far from each other and from those of other draws.
fn seed_of(seed: u64, i: usize) -> u64 {
    seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1 + i as u64)
}

fn gap(sides: &[Vec<Vec<f64>>; 2], direction: &[f64]) -> f64 {
    dot(&mean_row(&sides[0]), direction) - dot(&mean_row(&sides[1]), direction)
}

/// An arm of several seeds: means over seeds, and where the next one is to be expected.
fn several(kind: ArmKind, effects: &[Effect]) -> Option<Arm> {
    if effects.is_empty() {
        return None;
    }
    let seeds: Vec<f64> = effects.iter().map(|it| it.mean).collect();
    let over = |f: fn(&Effect) -> f64| mean(&effects.iter().map(f).collect::<Vec<_>>());
    let effect = Effect {
        plus: over(|it| it.plus),
        minus: effects.iter().map(|it| it.minus).collect::<Option<Vec<_>>>().map(|it| mean(&it)),
        mean: mean(&seeds),
        interval: (seeds.len() > 2).then(|| prediction_interval(&seeds)),
        wrong_way: over(|it| it.wrong_way),
    };
    Some(Arm { kind, effect, seeds })
}
