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

use crate::answers::{asking_to_measure, continuations};
use crate::divergence::divergences;
use crate::extract::{ContrastIds, encode};
use crate::linalg::{dot, mean_row};
use crate::margin::Margins;
use crate::methods::random_direction;
use crate::random::Random;
use crate::stats::{RESAMPLES, auc, correlation, interval_of_mean, mean, prediction_interval};
use crate::{
    Answer, AnswerRows, ContrastSet, Dose, Error, ExtractOptions, Frame, How, Instruction, Method,
    PersonaVector, TokenRule, Unit, Watch, ask_under_each, perplexities, steering_of,
};
use std::fmt;
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

/// What was measured of a vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// The dose.
    pub layers: Vec<usize>,
    /// The same.
    pub alpha: f64,
    /// The same.
    pub unit: Unit,
    /// What was done, in words, where it is not to add the dose at every position.
    pub what: Option<String>,
    /// The layer whose projections were looked at.
    pub best_layer: usize,
    /// The contrasts it was measured on.
    pub measured_on: String,
    /// Their number.
    pub n_contrasts: usize,
    /// What random numbers came from.
    pub seed: u64,
    /// The mean margin without steering, in nats per token.
    pub margin: f64,
    /// The arms that were measured, the vector's own first.
    pub arms: Vec<Arm>,
    /// What +alpha costs and, if there is another way, −alpha.
    pub cost: Vec<Cost>,
    /// How repetitive the unsteered answers are.
    pub unsteered_repetition: f64,
    /// How well projections on the direction tell the held-out answers apart.
    pub auc: f64,
    /// What else the direction may be reading.
    pub nuisance: Nuisance,
}

/// One way to move the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Arm {
    /// Which.
    pub kind: ArmKind,
    /// What it does.
    pub effect: Effect,
    /// The effect of each seed, for arms that have several.
    pub seeds: Vec<f64>,
}

/// The kinds of arms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArmKind {
    /// The vector.
    Vector,
    /// Random directions of the same length, one for all layers.
    Random,
    /// Directions that the contrasts give when half of them have their answers swapped.
    Shuffled,
    /// The persona asked for in words.
    Words,
    /// The persona shown by two answers of the training contrasts.
    Shown,
}

/// How far the margin moves, in nats per token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effect {
    /// The mean shift at +alpha.
    pub plus: f64,
    /// The mean shift at −alpha, if there is another way.
    pub minus: Option<f64>,
    /// The mean over contrasts of half the way from −alpha to +alpha, or of the shift.
    pub mean: f64,
    /// 95 % of it: over contrasts; for arms of several seeds, where the next seed is to be expected. `None` for
    /// too few contrasts.
    pub interval: Option<[f64; 2]>,
    /// The share of contrasts that go the other way.
    pub wrong_way: f64,
}

/// What a dose costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// The mean per-token KL(unsteered ‖ steered) on neutral texts, in nats.
    pub kl: f64,
    /// How much more perplexing the neutral texts are to the steered model.
    pub neutral_perplexity: f64,
    /// How much more perplexing steered answers are to the unsteered model than its own.
    pub answer_perplexity: f64,
    /// The share of four-token runs in answers that have occurred before in the same answer.
    pub repetition: f64,
}

/// What a direction may have picked up beside the persona.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nuisance {
    /// By how many tokens positive answers are longer, on average.
    pub longer: f64,
    /// The correlation over contrasts of the difference in projection with the difference in length.
    pub length: Option<f64>,
    /// The gap at the first token of the answers, as a share of the gap.
    pub first_token: f64,
}

/// What the numbers come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The effect is beyond chance: see [`receipt`].
    Works,
    /// The same, but the text suffers more than the budget allows.
    WorksAtACost,
    /// The effect cannot be told from what chance gives.
    NotWorking,
    /// The margin moves the other way, beyond chance. Of an operator that has one way only, that may be what it is
    /// for.
    WrongWay,
    /// There are too few contrasts to say.
    TooFew,
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

/// Answers may become this many times as perplexing: a quarter beyond the budget that doses are recommended
/// within, since answers are samples.
const AFFORDABLE: f64 = 1.75;

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

/// The mean of [`repetition`] over answers.
pub(crate) fn mean_repetition(answers: &[Answer]) -> f64 {
    mean(&answers.iter().map(|it| repetition(&it.tokens)).collect::<Vec<_>>())
}

/// The share of runs of four tokens of a text that have occurred before in it.
pub fn repetition(tokens: &[u32]) -> f64 {
    let mut runs: Vec<&[u32]> = tokens.windows(4).collect();
    let n = runs.len();
    runs.sort_unstable();
    runs.dedup();
    if n == 0 { 0.0 } else { (n - runs.len()) as f64 / n as f64 }
}

impl Receipt {
    /// The arm of a kind, if it was measured.
    pub fn arm(&self, kind: ArmKind) -> Option<&Arm> {
        self.arms.iter().find(|it| it.kind == kind)
    }

    /// The most that an arm is to be expected to reach: the upper end of its interval, and no less than zero.
    fn reach(&self, kind: ArmKind) -> f64 {
        self.arm(kind).and_then(|it| it.effect.interval).map_or(0.0, |[_, high]| high.max(0.0))
    }

    /// The same towards the negative answers, below zero. Random directions are turned as the contrasts say, so where
    /// there are two ways it is as far as to the other side.
    fn reach_back(&self, kind: ArmKind) -> f64 {
        match self.arm(kind).and_then(|it| it.effect.interval) {
            Some([low, _]) if self.has_one_way() => low.min(0.0),
            _ => -self.reach(kind),
        }
    }

    /// Was it done in one way only, that of +alpha?
    pub fn has_one_way(&self) -> bool {
        self.arms[0].effect.minus.is_none()
    }

    /// What the numbers come to.
    pub fn verdict(&self) -> Verdict {
        let Effect { mean, interval: Some([low, high]), .. } = self.arms[0].effect else {
            return Verdict::TooFew;
        };
        let (random, shuffled) = (self.reach(ArmKind::Random), self.reach(ArmKind::Shuffled));
        let affordable = self.cost.iter().all(|it| it.answer_perplexity <= AFFORDABLE);
        match affordable {
            true if low > random && mean > shuffled => Verdict::Works,
            false if low > random && mean > shuffled => Verdict::WorksAtACost,
            _ if high < self.reach_back(ArmKind::Random) && mean < self.reach_back(ArmKind::Shuffled) => {
                Verdict::WrongWay
            }
            _ => Verdict::NotWorking,
        }
    }

    /// The verdict in a sentence, with the numbers that it rests on.
    pub fn in_words(&self) -> String {
        let Effect { mean, interval, .. } = self.arms[0].effect;
        let moved = match interval {
            Some([low, high]) => {
                format!("the margin moves by {mean:+.3} nats per token ({low:+.3} to {high:+.3})")
            }
            None => format!("the margin moves by {mean:+.3} nats per token"),
        };
        let back = self.has_one_way() && mean < 0.0;
        let reach = |kind| if back { self.reach_back(kind) } else { self.reach(kind) };
        let [random, shuffled] = [ArmKind::Random, ArmKind::Shuffled].map(reach);
        let chance = format!("random directions reach {random:+.3}, shuffled labels {shuffled:+.3}");
        let verdict = self.verdict();
        match verdict {
            Verdict::WrongWay if self.has_one_way() => {
                let cost = self.cost[0].answer_perplexity;
                let cost = match cost > AFFORDABLE {
                    true => format!(". But answers become {cost:.2} times as perplexing"),
                    false => String::new(),
                };
                format!("moves towards the negative answers: {moved}; {chance}{cost}")
            }
            Verdict::Works | Verdict::NotWorking => format!("{verdict}: {moved}; {chance}"),
            Verdict::WorksAtACost => {
                let worst = self.cost.iter().fold(0.0, |worst: f64, it| worst.max(it.answer_perplexity));
                format!(
                    "{verdict}: {moved}; {chance}. But answers become {worst:.2} times as perplexing: a smaller alpha \
                     would do less harm"
                )
            }
            Verdict::WrongWay => {
                format!(
                    "{verdict}: {moved}, so a positive alpha makes positive answers less likely; {chance}"
                )
            }
            Verdict::TooFew => format!("{verdict} to say: {moved} on {}", self.n_contrasts),
        }
    }
}

impl ArmKind {
    /// All of them.
    pub const ALL: [ArmKind; 5] =
        [ArmKind::Vector, ArmKind::Random, ArmKind::Shuffled, ArmKind::Words, ArmKind::Shown];

    /// The name in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            ArmKind::Vector => "vector",
            ArmKind::Random => "random",
            ArmKind::Shuffled => "shuffled",
            ArmKind::Words => "prompt",
            ArmKind::Shown => "examples",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Works => "works",
            Verdict::WorksAtACost => "works at a cost",
            Verdict::NotWorking => "not working",
            Verdict::WrongWay => "wrong way",
            Verdict::TooFew => "too few contrasts",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetition_counts_runs_of_four_that_have_occurred() {
        let check = |tokens: &[u32], want: f64| assert_eq!(repetition(tokens), want, "{tokens:?}");
        check(&[], 0.0);
        check(&[1, 1, 1], 0.0);
        check(&[1, 2, 3, 4, 5], 0.0);
        check(&[1, 1, 1, 1, 1], 0.5);
        check(&[1, 2, 3, 4, 1, 2, 3, 4], 0.2);
    }

    fn receipt(interval: Option<[f64; 2]>, random: [f64; 2], shuffled: f64, perplexity: f64) -> Receipt {
        let effect = |interval: Option<[f64; 2]>| {
            let mean = interval.map_or(0.2, |[low, high]| (low + high) / 2.0);
            Effect { plus: mean, minus: Some(-mean), mean, interval, wrong_way: 0.0 }
        };
        let arm = |kind, interval| Arm { kind, effect: effect(interval), seeds: Vec::new() };
        let cost = Cost { kl: 0.1, neutral_perplexity: 1.1, answer_perplexity: perplexity, repetition: 0.0 };
        Receipt {
            layers: vec![3],
            alpha: 1.0,
            unit: Unit::Gap,
            what: None,
            best_layer: 3,
            measured_on: "set".into(),
            n_contrasts: 9,
            seed: 0,
            margin: 0.0,
            arms: vec![
                arm(ArmKind::Vector, interval),
                arm(ArmKind::Random, Some(random)),
                arm(ArmKind::Shuffled, Some([-shuffled, shuffled])),
            ],
            cost: vec![cost; 2],
            unsteered_repetition: 0.0,
            auc: 0.9,
            nuisance: Nuisance { longer: 0.0, length: None, first_token: 0.5 },
        }
    }

    #[test]
    fn a_vector_works_if_its_interval_lies_above_chance() {
        let check = |interval, random, shuffled, perplexity, want: Verdict| {
            let it = receipt(interval, random, shuffled, perplexity);
            assert_eq!(it.verdict(), want, "{}", it.in_words());
        };
        let chance = [-0.05, 0.05];
        check(Some([0.1, 0.3]), chance, 0.1, 1.1, Verdict::Works);
        check(Some([0.1, 0.3]), chance, 0.1, 1.9, Verdict::WorksAtACost);
        check(Some([0.1, 0.3]), chance, 0.25, 1.1, Verdict::NotWorking);
        check(Some([0.04, 0.3]), chance, 0.1, 1.1, Verdict::NotWorking);
        check(Some([-0.01, 0.3]), [-0.5, -0.2], 0.0, 1.1, Verdict::NotWorking);
        check(Some([-0.3, -0.1]), chance, 0.1, 1.1, Verdict::WrongWay);
        check(Some([-0.3, -0.04]), chance, 0.1, 1.1, Verdict::NotWorking);
        check(None, chance, 0.1, 1.1, Verdict::TooFew);
    }

    #[test]
    fn what_has_one_way_is_held_against_what_chance_does_on_either_side() {
        let check = |interval, random, shuffled, want: Verdict, words: &str| {
            let mut it = receipt(Some(interval), random, shuffled, 1.1);
            it.arms.iter_mut().for_each(|arm| arm.effect.minus = None);
            it.cost.truncate(1);
            assert_eq!(it.verdict(), want, "{}", it.in_words());
            assert!(it.in_words().starts_with(words), "{}", it.in_words());
        };
        let damage = [-0.2, 0.01];
        check([0.1, 0.3], damage, 0.1, Verdict::Works, "works: ");
        check([-0.15, -0.1], damage, 0.1, Verdict::NotWorking, "not working: ");
        check([-0.5, -0.3], damage, 0.1, Verdict::WrongWay, "moves towards the negative answers: ");
        check([-0.5, -0.3], damage, 0.6, Verdict::NotWorking, "not working: ");
    }
}
