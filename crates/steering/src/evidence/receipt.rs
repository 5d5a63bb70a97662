//! The receipt: whether a vector works, compared against chance, and at what cost.
//!
//! Everything is measured on contrasts that the vector was not fitted on. The effect of an arm is half of the
//! way that the margin (mean log-probability per token of the positive answers less that of the negative ones)
//! moves from −alpha to +alpha: what a dose does in both directions alike, damage, cancels. A vector works if the
//! interval of its effect lies above what random directions of the same length reach, and its effect above what
//! the same contrasts give with shuffled labels.
//!
//! Of operators that have no other way ([`Op::leans_either_way`](crate::Op::leans_either_way)), the effect of an arm is
//! how far the margin moves from the unsteered one, and moving it towards the negative answers is a finding like any
//! other.

use crate::contrasts::{Contrast, ContrastIds, ContrastSet, TokenRule};
use crate::error::Error;
use crate::fit::{AnswerRows, ExtractOptions, Method, random_direction};
use crate::math::{
    RESAMPLES, Random, auc, correlation, dot, interval_of_mean, mean, mean_row, prediction_interval,
};
use crate::measure::{AskOptions, Bench, divergences, mean_repetition};
use crate::steer::{Dose, Instruction, steering_of};
use crate::vector::{Arm, ArmKind, Cost, Effect, Nuisance, PersonaVector, Receipt};
use whipstaff_engine::{Continuation, Message, Role, Steering};

/// What a receipt compares a dose with, and on how many contrasts.
#[derive(Clone)]
pub struct Controls {
    /// The number of held-out contrasts that are used at most.
    pub max_contrasts: usize,
    /// The number of random directions, at least three.
    pub random: usize,
    /// The number of shufflings of the labels, at least three.
    pub shuffled: usize,
    /// The persona and its opposite in words, for the arm that asks for the persona in a system message; without
    /// them that arm shows two answers instead.
    pub persona: Option<[String; 2]>,
    /// Texts that have nothing to do with the persona; without any, the model's own unsteered answers are used.
    pub neutral: Vec<Continuation>,
    /// The seed; the same seed gives the same receipt.
    pub seed: u64,
}

impl Default for Controls {
    fn default() -> Controls {
        Controls { max_contrasts: 24, random: 5, shuffled: 8, persona: None, neutral: Vec::new(), seed: 0 }
    }
}

impl Bench<'_> {
    /// Measures a dose of a vector, given as an instruction whose gate is not decided, on `heldout`, which must not
    /// contain what the vector was fitted on.
    ///
    /// `rows` are the rows that the vector's directions were fitted to, or others of the same kind, for the shuffled
    /// arm; `shown` has answers for the prompted arm. Every arm is given in the same way.
    ///
    /// # Errors
    /// [`Error::Vector`] if the vector has no such dose; [`Error::TooLong`] and [`Error::Engine`] for texts that the
    /// model cannot run; [`Error::Interrupted`].
    pub fn receipt(
        &self,
        instruction: &Instruction<'_>,
        rows: &AnswerRows,
        shown: &ContrastSet,
        heldout: &ContrastSet,
        controls: &Controls,
    ) -> Result<Receipt, Error> {
        let heldout = heldout.first(controls.max_contrasts);
        let experiment = Experiment { bench: *self, instruction, controls, heldout: &heldout };
        let ids = self.encode(&heldout)?;
        let is_plain = instruction.how == Default::default();
        let what = (!is_plain).then(|| experiment.instruction(instruction.dose.vector, 1.0).in_words());
        let (plain, arms) = experiment.arms(rows, shown, &ids)?;
        let (cost, unsteered_repetition) = experiment.costs()?;
        let (auc, nuisance) = experiment.nuisance()?;
        let dose = &instruction.dose;
        Ok(Receipt {
            layers: dose.layers.clone(),
            alpha: dose.alpha,
            unit: dose.unit,
            what,
            best_layer: experiment.best_layer(),
            measured_on: heldout.name.clone(),
            n_contrasts: heldout.contrasts.len(),
            seed: controls.seed,
            margin: mean(&plain),
            arms,
            cost,
            unsteered_repetition,
            auc,
            nuisance,
        })
    }
}

/// A dose that is being measured.
struct Experiment<'a> {
    bench: Bench<'a>,
    instruction: &'a Instruction<'a>,
    controls: &'a Controls,
    heldout: &'a ContrastSet,
}

/// Directions by layer.
type Directions = Vec<(usize, Vec<f64>)>;

impl Experiment<'_> {
    fn vector(&self) -> &PersonaVector {
        self.instruction.dose.vector
    }

    fn layers(&self) -> &[usize] {
        &self.instruction.dose.layers
    }

    /// Returns the layer whose projections are looked at: the best one alone if it is known, else the middle one of
    /// the dose.
    fn best_layer(&self) -> usize {
        let known = self.vector().recommended.as_ref().map(|recommended| recommended.best_layer);
        known.unwrap_or(self.layers()[self.layers().len() / 2])
    }

    fn instruction<'v>(&self, vector: &'v PersonaVector, sign: f64) -> Instruction<'v> {
        let Instruction { dose, how, tokens, .. } = self.instruction;
        let dose = Dose { vector, alpha: sign * dose.alpha, unit: dose.unit, layers: dose.layers.clone() };
        Instruction { dose, how: how.clone(), condition: None, tokens: tokens.clone() }
    }

    /// Returns the ways that there are: +alpha and, if there is another way, −alpha.
    fn signs(&self) -> &'static [f64] {
        if self.instruction.how.op.leans_either_way() { &[1.0, -1.0] } else { &[1.0] }
    }

    /// Returns the steering of the dose, or of the same dose of other directions of the same length.
    fn steering(&self, directions: Option<&Directions>, sign: f64) -> Result<Steering, Error> {
        let mut vector = self.vector().clone();
        for (layer, other) in directions.into_iter().flatten() {
            if let Some(layer) = vector.layers.get_mut(layer) {
                let squares = layer.direction.iter().map(|x| f64::from(*x) * f64::from(*x));
                let norm = squares.sum::<f64>().sqrt();
                layer.direction = other.iter().map(|x| (x * norm) as f32).collect();
            }
        }
        steering_of(&[self.instruction(&vector, sign)], 1.0)
    }

    /// Measures the unsteered margins, and every arm.
    fn arms(
        &self,
        rows: &AnswerRows,
        shown: &ContrastSet,
        ids: &[ContrastIds],
    ) -> Result<(Vec<f64>, Vec<Arm>), Error> {
        let Experiment { bench, controls, .. } = self;
        let means: Vec<[Vec<f64>; 2]> =
            self.layers().iter().map(|layer| rows.sides(*layer).map(|side| mean_row(&side))).collect();
        let random = (0..controls.random).map(|i| self.random(&means, seed_of(controls.seed, i)));
        let random: Vec<Directions> = random.collect();
        let shuffled = (0..controls.shuffled).map(|i| self.shuffled(rows, seed_of(controls.seed, i)));
        let shuffled: Vec<Directions> = shuffled.flatten().collect();

        let margins = bench.margins_of(ids);
        let mut steerings = vec![Steering::default()];
        for directions in std::iter::once(None).chain(random.iter().chain(&shuffled).map(Some)) {
            for sign in self.signs() {
                steerings.push(self.steering(directions, *sign)?);
            }
        }
        bench.watch.stage("measuring the effect", margins.n_texts());
        let measured = margins.under(&steerings, bench.watch)?;
        let plain = measured[0].clone();
        let effects: Vec<Effect> =
            measured[1..].chunks(self.signs().len()).map(|sides| self.effect(&plain, sides)).collect();

        let mut arms = vec![Arm { kind: ArmKind::Vector, effect: effects[0], seeds: Vec::new() }];
        let (of_random, of_shuffled) = effects[1..].split_at(random.len());
        arms.extend(over_seeds(ArmKind::Random, of_random));
        arms.extend(over_seeds(ArmKind::Shuffled, of_shuffled));
        arms.extend(self.prompted(shown, &plain)?);
        Ok((plain, arms))
    }

    /// Returns the effect of an arm whose margins are `sides`: at +alpha and, if there is another way, at −alpha.
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
            interval: interval_of_mean(&moved, RESAMPLES, Random::new(self.controls.seed)),
            wrong_way: moved.iter().filter(|shift| **shift < 0.0).count() as f64 / moved.len() as f64,
        }
    }

    /// Draws one direction for all layers, since nothing adds up along the stream as well as that does. `means` are
    /// the mean rows of both sides, for each layer.
    fn random(&self, means: &[[Vec<f64>; 2]], seed: u64) -> Directions {
        let direction = random_direction(self.bench.model.config().d_model, Random::new(seed));
        let norm = dot(&direction, &direction).sqrt();
        let along: f64 = means
            .iter()
            .map(|[positive, negative]| dot(positive, &direction) - dot(negative, &direction))
            .sum();
        let direction: Vec<f64> =
            direction.iter().map(|x| x / norm * if along < 0.0 { -1.0 } else { 1.0 }).collect();
        self.layers().iter().map(|layer| (*layer, direction.clone())).collect()
    }

    /// Fits directions to shuffled labels. Returns `None` if the shuffled differences cancel.
    fn shuffled(&self, rows: &AnswerRows, seed: u64) -> Option<Directions> {
        let direction = |layer: &usize| Some((*layer, rows.direction(*layer, Method::Shuffled, seed)?));
        self.layers().iter().map(direction).collect()
    }

    /// Measures the arm that asks instead of steering. Returns `None` if the frame or the context has no room for it.
    fn prompted(&self, shown: &ContrastSet, plain: &[f64]) -> Result<Option<Arm>, Error> {
        let kind = if self.controls.persona.is_some() { ArmKind::Words } else { ArmKind::Shown };
        let sides = (0..self.signs().len()).map(|side| self.margins_behind_prompt(shown, side));
        let sides = sides.collect::<Result<Option<Vec<_>>, _>>()?;
        let arm = |sides: Vec<_>| Arm { kind, effect: self.effect(plain, &sides), seeds: Vec::new() };
        Ok(sides.map(arm))
    }

    /// Measures the unsteered margins behind a prompt that asks for the persona (side 0) or its opposite (side 1).
    fn margins_behind_prompt(&self, shown: &ContrastSet, side: usize) -> Result<Option<Vec<f64>>, Error> {
        let mut set = self.heldout.clone();
        for contrast in &mut set.contrasts {
            match &self.controls.persona {
                Some(persona) => ask_in_words(contrast, &persona[side]),
                None => show_answers(contrast, shown, side),
            }
        }
        match self.bench.encode(&set) {
            Ok(ids) => self.bench.unsteered_margins(&ids).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Measures what each way costs, and how repetitive unsteered answers are.
    fn costs(&self) -> Result<(Vec<Cost>, f64), Error> {
        let Experiment { bench, controls, .. } = self;
        let questions: Vec<Vec<Message>> =
            self.heldout.contrasts.iter().map(|contrast| contrast.messages.clone()).collect();
        let mut steerings = vec![Steering::default()];
        for sign in self.signs() {
            steerings.push(self.steering(None, *sign)?);
        }
        bench.watch.stage("measuring the cost", steerings.len() * questions.len());
        let options = AskOptions::to_measure(controls.seed);
        let answers = bench.ask_under_each(&questions, &steerings, &options)?;
        let perplexity = bench.perplexities(&questions, &answers)?;
        let repetition: Vec<f64> = answers.iter().map(|answers| mean_repetition(answers)).collect();
        let neutral = match &controls.neutral[..] {
            [] => bench.continuations(&questions, &answers[0])?,
            given => given.to_vec(),
        };
        let moved = divergences(bench.model, &neutral, &steerings[1..])?;
        let cost = |side: usize| Cost {
            kl: moved[side].kl,
            neutral_perplexity: moved[side].perplexity_ratio,
            answer_perplexity: perplexity[side + 1] / perplexity[0],
            repetition: repetition[side + 1],
        };
        Ok(((0..moved.len()).map(cost).collect(), repetition[0]))
    }

    /// Measures how well the direction tells held-out answers apart, and what else it may be reading.
    fn nuisance(&self) -> Result<(f64, Nuisance), Error> {
        let best_layer = self.best_layer();
        let Some(layer) = self.vector().layers.get(&best_layer) else {
            return Err(Error::Vector {
                vector: self.vector().name.clone(),
                reason: format!("has no direction for layer {best_layer}"),
            });
        };
        let direction: Vec<f64> = layer.direction.iter().map(|x| f64::from(*x)).collect();
        let project = |rows: &[Vec<f64>]| rows.iter().map(|row| dot(row, &direction)).collect::<Vec<_>>();
        let whole = self.read_heldout(TokenRule::Answer)?;
        let sides = whole.sides(best_layer);
        let along = sides.each_ref().map(|rows| project(rows));
        let apart: Vec<f64> =
            along[0].iter().zip(&along[1]).map(|(positive, negative)| positive - negative).collect();
        let longer: Vec<f64> =
            whole.lens().iter().map(|[positive, negative]| *positive as f64 - *negative as f64).collect();
        let first = self.read_heldout(TokenRule::AnswerFirst)?.sides(best_layer);
        let nuisance = Nuisance {
            longer: mean(&longer),
            length: (apart.len() > 2).then(|| correlation(&apart, &longer)).flatten(),
            first_token: gap(&first, &direction) / mean(&apart),
        };
        Ok((auc(&along[0], &along[1]), nuisance))
    }

    /// Reads the held-out answers at the best layer.
    fn read_heldout(&self, tokens: TokenRule) -> Result<AnswerRows, Error> {
        let Bench { model, tokenizer, frame, watch } = self.bench;
        let options = ExtractOptions {
            model: self.vector().provenance.model.clone(),
            frame: frame.clone(),
            tokens,
            layers: vec![self.best_layer()],
            method: Method::Mean,
            seed: 0,
        };
        AnswerRows::read(model, tokenizer, self.heldout, &options, watch)
    }
}

/// Makes `persona` the system message of a contrast.
fn ask_in_words(contrast: &mut Contrast, persona: &str) {
    let messages = &mut contrast.messages;
    match messages[0].role {
        Role::System => messages[0].content = persona.to_owned(),
        _ => messages.insert(0, Message::new(Role::System, persona)),
    }
}

/// The number of answers that are shown where the persona is not asked for in words.
const SHOWN: usize = 2;

/// Puts the first contrasts of a set, answered from one side, in front of the conversation of a contrast.
fn show_answers(contrast: &mut Contrast, shown: &ContrastSet, side: usize) {
    let mut turns = Vec::new();
    for shown in shown.contrasts.iter().take(SHOWN) {
        let answer = if side == 0 { &shown.positive } else { &shown.negative };
        turns.push(Message::new(Role::User, shown.prompt()));
        turns.push(Message::new(Role::Assistant, answer.as_str()));
    }
    let after_system = usize::from(contrast.messages[0].role == Role::System);
    contrast.messages.splice(after_system..after_system, turns);
}

/// Returns the seed of control `i`, far from the seeds of the other controls and of other draws.
fn seed_of(seed: u64, i: usize) -> u64 {
    seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1 + i as u64)
}

/// Returns the mean projection of the positive rows less that of the negative ones.
fn gap(sides: &[Vec<Vec<f64>>; 2], direction: &[f64]) -> f64 {
    dot(&mean_row(&sides[0]), direction) - dot(&mean_row(&sides[1]), direction)
}

/// Returns an arm of several seeds: means over seeds, and where the next seed is to be expected.
fn over_seeds(kind: ArmKind, effects: &[Effect]) -> Option<Arm> {
    if effects.is_empty() {
        return None;
    }
    let seeds: Vec<f64> = effects.iter().map(|effect| effect.mean).collect();
    let over = |f: fn(&Effect) -> f64| mean(&effects.iter().map(f).collect::<Vec<_>>());
    let minus: Option<Vec<f64>> = effects.iter().map(|effect| effect.minus).collect();
    let effect = Effect {
        plus: over(|it| it.plus),
        minus: minus.map(|minus| mean(&minus)),
        mean: mean(&seeds),
        interval: (seeds.len() > 2).then(|| prediction_interval(&seeds)),
        wrong_way: over(|it| it.wrong_way),
    };
    Some(Arm { kind, effect, seeds })
}
