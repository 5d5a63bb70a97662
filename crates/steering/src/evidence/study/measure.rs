//! Measuring a pair: fit by every method, find the alpha of equal cost, measure what it does.

use super::journal::Journal;
use super::pair::{Cell, Measured, PairPlan, best};
use crate::contrasts::{ContrastSet, Frame, TokenRule, encode};
use crate::error::Error;
use crate::evidence::budget::solve_kl;
use crate::evidence::receipt::{ReceiptOptions, receipt};
use crate::evidence::sweep::picks_on;
use crate::fit::{AnswerRows, ExtractOptions, Method};
use crate::math::{Random, dot, mean};
use crate::measure::{Margins, ask, asking_to_measure, continuations, divergences};
use crate::progress::{Unwatched, Watch};
use crate::steer::{Dose, How, combine};
use crate::vector::{PersonaVector, Receipt, Unit};
use std::collections::BTreeMap;
use whipstaff_engine::{Continuation, Message, Model, Steering, Tokenizer};

/// What a pair is measured with.
pub struct Bench<'a> {
    /// The model.
    pub model: &'a Model,
    /// Its tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The frame around prompts.
    pub frame: &'a Frame,
    /// Which tokens are averaged.
    pub tokens: TokenRule,
    /// The contrasts that directions are fitted on.
    pub set: &'a ContrastSet,
    /// The contrasts that are measured on.
    pub heldout: &'a ContrastSet,
    /// Texts that have nothing to do with the persona; none, then the model's own answers are used.
    pub neutral: &'a [Continuation],
    /// What is shown while it works, and stops it.
    pub watch: &'a dyn Watch,
}

/// Random directions and shufflings that the receipt compares with.
const RANDOM: usize = 5;
const SHUFFLED: usize = 8;

impl Bench<'_> {
    /// Measures what a journal lacks of `methods` at `layers`, cell by cell, and then the receipt of the best.
    ///
    /// # Errors
    /// [`Error::Engine`] for texts that the model cannot run; [`Error::ZeroDirection`]; [`Error::Write`];
    /// [`Error::Interrupted`].
    pub fn run(&self, journal: &mut Journal, methods: &[Method], layers: &[Vec<usize>]) -> Result<(), Error> {
        let mut missing = journal.missing(methods, layers);
        if missing.is_empty() && !journal.lacks_receipt(methods, layers) {
            return Ok(());
        }
        let mut bed = Bed::new(self, journal.plan(), layers)?;
        self.watch.stage(&journal.plan().persona, missing.len());
        for (method, layers) in missing.drain(..) {
            journal.append(bed.cell(method, layers)?)?;
            self.watch.advance(1)?;
        }
        let best = best(journal.cells(methods, layers).iter()).cloned();
        if let Some(best) = best.filter(|_| journal.lacks_receipt(methods, layers)) {
            journal.set_receipt(best.method, bed.receipt(&best)?)?;
        }
        Ok(())
    }
}

/// A pair at work.
struct Bed<'a> {
    bench: &'a Bench<'a>,
    plan: PairPlan,
    rows: AnswerRows,
    /// By method, fitted when it is first asked for.
    vectors: BTreeMap<Method, PersonaVector>,
    heldout: ContrastSet,
    margins: Margins<'a>,
    neutral: Vec<Continuation>,
}

impl<'a> Bed<'a> {
    fn new(bench: &'a Bench<'a>, plan: &PairPlan, layers: &[Vec<usize>]) -> Result<Bed<'a>, Error> {
        let Bench { model, tokenizer, frame, watch, .. } = *bench;
        let mut all: Vec<usize> = layers.iter().flatten().copied().collect();
        all.sort_unstable();
        all.dedup();
        let options = ExtractOptions {
            model: plan.model.clone(),
            frame: frame.clone(),
            tokens: bench.tokens,
            layers: all,
            method: Method::Mean,
            seed: plan.seed,
        };
        let rows = AnswerRows::read(model, tokenizer, bench.set, &options, watch)?;
        let heldout = bench.heldout.first(plan.n_heldout);
        let margins = Margins::new(model, &encode(tokenizer, frame, &heldout, model.config().max_positions)?);
        let neutral = match bench.neutral {
            [] => {
                let asked = heldout.contrasts.iter().enumerate().filter(|(i, _)| picks_on(*i));
                let questions: Vec<Vec<Message>> = asked.map(|(_, it)| it.messages.clone()).collect();
                let asking = asking_to_measure(frame, plan.seed);
                watch.stage("asking", questions.len());
                let answers = ask(model, tokenizer, &questions, &Steering::default(), &asking, watch)?;
                continuations(tokenizer, frame, &questions, &answers)?
            }
            given => given.to_vec(),
        };
        let plan = plan.clone();
        Ok(Bed { bench, plan, rows, vectors: BTreeMap::new(), heldout, margins, neutral })
    }

    fn vector(&mut self, method: Method) -> Result<&PersonaVector, Error> {
        if !self.vectors.contains_key(&method) {
            self.vectors.insert(method, self.rows.fit(self.bench.model.cpu(), method, self.plan.seed)?);
        }
        Ok(&self.vectors[&method])
    }

    fn cell(&mut self, method: Method, layers: Vec<usize>) -> Result<Cell, Error> {
        let (model, nats) = (self.bench.model, self.plan.kl);
        self.vector(method)?;
        let vector = &self.vectors[&method];
        let steering =
            |alpha: f64| combine(&[Dose { vector, alpha, unit: Unit::Gap, layers: layers.clone() }], 1.0);
        // Always from the same alpha: what was measured before must not show.
        let dose = match solve_kl(model, &self.neutral, nats, 1.0, steering) {
            // Layers that the model hardly reads can't be made to cost so much.
            Err(Error::Setting(_)) => None,
            Err(error) => return Err(error),
            Ok(solved) => {
                let alpha = solved.factor;
                let steerings = [steering(alpha)?, steering(-alpha)?];
                let margins = self.margins.under(&steerings, &Unwatched)?;
                let effects =
                    margins[0].iter().zip(&margins[1]).map(|(plus, minus)| (plus - minus) / 2.0).collect();
                let cost = divergences(model, &self.neutral, &steerings)?;
                Some(Measured { alpha, effects, cost: [cost[0], cost[1]] })
            }
        };
        Ok(Cell { method, halves: self.halves(method, &layers), layers, dose })
    }

    /// See [`Cell::halves`].
    fn halves(&self, method: Method, layers: &[usize]) -> Option<f64> {
        if method.is_control() {
            return None;
        }
        let (rows, seed) = (&self.rows, self.plan.seed);
        let mut cosines: Vec<Option<f64>> = vec![None; layers.len()];
        self.bench.model.cpu().for_each_mut(&mut cosines, |i, cosine| {
            let sides = rows.sides(layers[i]);
            let fit = |half: usize| {
                let of_half =
                    |rows: &Vec<Vec<f64>>| rows.iter().skip(half).step_by(2).cloned().collect::<Vec<_>>();
                let [positives, negatives] = sides.each_ref().map(of_half);
                if positives.is_empty() {
                    None
                } else {
                    method.fit(&positives, &negatives, Random::new(seed))
                }
            };
            *cosine = fit(0).zip(fit(1)).map(|(a, b)| dot(&a, &b));
        });
        let cosines = cosines.into_iter().collect::<Option<Vec<f64>>>()?;
        Some(mean(&cosines))
    }

    /// The receipt of a cell, on the half of the contrasts that it was not picked on.
    fn receipt(&mut self, cell: &Cell) -> Result<Receipt, Error> {
        let Bench { model, tokenizer, frame, set, watch, .. } = *self.bench;
        let judged = self.heldout.contrasts.iter().enumerate().filter(|(i, _)| !picks_on(*i));
        let heldout =
            ContrastSet { contrasts: judged.map(|(_, it)| it.clone()).collect(), ..self.heldout.clone() };
        let options = ReceiptOptions {
            frame: frame.clone(),
            layers: cell.layers.clone(),
            alpha: cell.dose.as_ref().expect("the best has a dose").alpha,
            unit: Unit::Gap,
            how: How::default(),
            tokens: None,
            best_layer: cell.layers[cell.layers.len() / 2],
            max_contrasts: heldout.contrasts.len(),
            random: RANDOM,
            shuffled: SHUFFLED,
            persona: self.plan.words.clone(),
            neutral: self.neutral.clone(),
            seed: self.plan.seed,
        };
        let vector = self.vector(cell.method)?.clone();
        receipt(model, tokenizer, &vector, &self.rows, set, &heldout, &options, watch)
    }
}
