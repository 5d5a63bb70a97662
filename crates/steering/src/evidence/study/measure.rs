//! Measuring a pair: fit by every method, find the alpha of equal cost, measure what it does.

use super::journal::Journal;
use super::pair::{DoseOutcome, PairPlan, StudyCell, best};
use crate::contrasts::{ContrastSet, TokenRule};
use crate::error::Error;
use crate::evidence::budget::solve_kl;
use crate::evidence::receipt::Controls;
use crate::evidence::sweep::picks_on;
use crate::fit::{AnswerRows, ExtractOptions, Method};
use crate::math::{Random, dot, mean};
use crate::measure::{AskOptions, Bench, Margins, divergences};
use crate::progress::Unwatched;
use crate::steer::{Application, Dose, Instruction, combine};
use crate::vector::{PersonaVector, Receipt, Unit};
use std::collections::BTreeMap;
use whipstaff_engine::{Continuation, Message, Steering};

/// What a pair is measured on.
#[derive(Clone, Copy)]
pub struct PairMaterial<'a> {
    /// Which tokens are averaged.
    pub tokens: TokenRule,
    /// The contrasts that directions are fitted on.
    pub set: &'a ContrastSet,
    /// The contrasts that are measured on.
    pub heldout: &'a ContrastSet,
    /// Texts that have nothing to do with the persona; without any, the model's own answers are used.
    pub neutral: &'a [Continuation],
}

impl Bench<'_> {
    /// Measures what a journal lacks of `methods` at `layers`, cell by cell, and then the receipt of the best.
    ///
    /// # Errors
    /// [`Error::TooLong`] and [`Error::Engine`] for texts that the model cannot run; [`Error::ZeroDirection`];
    /// [`Error::Write`]; [`Error::Interrupted`].
    pub fn measure_pair(
        &self,
        material: &PairMaterial<'_>,
        journal: &mut Journal,
        methods: &[Method],
        layers: &[Vec<usize>],
    ) -> Result<(), Error> {
        let missing = journal.missing(methods, layers);
        if missing.is_empty() && !journal.lacks_receipt(methods, layers) {
            return Ok(());
        }
        let mut subject = Subject::new(*self, material, journal.plan(), layers)?;
        self.watch.stage(&journal.plan().persona, missing.len());
        for (method, layers) in missing {
            journal.append(subject.cell(method, layers)?)?;
            self.watch.advance(1)?;
        }
        let best = best(journal.cells(methods, layers).iter()).cloned();
        if let Some(best) = best.filter(|_| journal.lacks_receipt(methods, layers)) {
            journal.set_receipt(best.method, subject.receipt(&best)?)?;
        }
        Ok(())
    }
}

/// A pair that is being measured.
struct Subject<'a> {
    bench: Bench<'a>,
    material: &'a PairMaterial<'a>,
    plan: PairPlan,
    rows: AnswerRows,
    /// By method, fitted when it is first asked for.
    vectors: BTreeMap<Method, PersonaVector>,
    heldout: ContrastSet,
    margins: Margins<'a>,
    neutral: Vec<Continuation>,
}

impl<'a> Subject<'a> {
    fn new(
        bench: Bench<'a>,
        material: &'a PairMaterial<'a>,
        plan: &PairPlan,
        layers: &[Vec<usize>],
    ) -> Result<Subject<'a>, Error> {
        let Bench { model, tokenizer, frame, watch } = bench;
        let mut all: Vec<usize> = layers.iter().flatten().copied().collect();
        all.sort_unstable();
        all.dedup();
        let options = ExtractOptions {
            model: plan.model.clone(),
            frame: frame.clone(),
            tokens: material.tokens,
            layers: all,
            method: Method::Mean,
            seed: plan.seed,
        };
        let rows = AnswerRows::read(model, tokenizer, material.set, &options, watch)?;
        let heldout = material.heldout.first(plan.n_heldout);
        let margins = bench.margins(&heldout)?;
        let neutral = match material.neutral {
            [] => own_answers(&bench, &heldout, plan.seed)?,
            given => given.to_vec(),
        };
        let plan = plan.clone();
        Ok(Subject { bench, material, plan, rows, vectors: BTreeMap::new(), heldout, margins, neutral })
    }

    fn vector(&mut self, method: Method) -> Result<&PersonaVector, Error> {
        if !self.vectors.contains_key(&method) {
            self.vectors.insert(method, self.rows.fit(self.bench.model.cpu(), method, self.plan.seed)?);
        }
        Ok(&self.vectors[&method])
    }

    fn cell(&mut self, method: Method, layers: Vec<usize>) -> Result<StudyCell, Error> {
        self.vector(method)?;
        let dose = self.dose(&self.vectors[&method], &layers)?;
        Ok(StudyCell { method, halves: self.halves(method, &layers), layers, dose })
    }

    /// Finds the dose that costs what the plan says, and measures what it does. Returns `None` for layers that the
    /// model hardly reads, which cannot be made to cost so much.
    fn dose(&self, vector: &PersonaVector, layers: &[usize]) -> Result<Option<DoseOutcome>, Error> {
        let model = self.bench.model;
        let steering =
            |alpha: f64| combine(&[Dose { vector, alpha, unit: Unit::Gap, layers: layers.to_vec() }], 1.0);
        // Always from the same alpha: what was measured before must not show.
        let alpha = match solve_kl(model, &self.neutral, self.plan.kl, 1.0, steering) {
            Err(Error::Setting(_)) => return Ok(None),
            solved => solved?.factor,
        };
        let steerings = [steering(alpha)?, steering(-alpha)?];
        let margins = self.margins.under(&steerings, &Unwatched)?;
        let effects = margins[0].iter().zip(&margins[1]).map(|(plus, minus)| (plus - minus) / 2.0).collect();
        let cost = divergences(model, &self.neutral, &steerings)?;
        Ok(Some(DoseOutcome { alpha, effects, cost: [cost[0], cost[1]] }))
    }

    /// Returns [`StudyCell::halves`] of a cell.
    fn halves(&self, method: Method, layers: &[usize]) -> Option<f64> {
        if method.is_control() {
            return None;
        }
        let mut cosines: Vec<Option<f64>> = vec![None; layers.len()];
        self.bench.model.cpu().for_each_mut(&mut cosines, |i, cosine| {
            let sides = self.rows.sides(layers[i]);
            let fit = |half: usize| fit_half(method, &sides, half, self.plan.seed);
            *cosine = fit(0).zip(fit(1)).map(|(a, b)| dot(&a, &b));
        });
        let cosines = cosines.into_iter().collect::<Option<Vec<f64>>>()?;
        Some(mean(&cosines))
    }

    /// Measures the receipt of a cell, on the half of the contrasts that it was not picked on.
    fn receipt(&mut self, cell: &StudyCell) -> Result<Receipt, Error> {
        let judged = self.heldout.contrasts.iter().enumerate().filter(|(i, _)| !picks_on(*i));
        let contrasts = judged.map(|(_, contrast)| contrast.clone()).collect();
        let heldout = ContrastSet { contrasts, ..self.heldout.clone() };
        let controls = Controls {
            max_contrasts: heldout.contrasts.len(),
            persona: self.plan.words.clone(),
            neutral: self.neutral.clone(),
            seed: self.plan.seed,
            ..Controls::default()
        };
        let alpha = cell.dose.as_ref().expect("the best has a dose").alpha;
        self.vector(cell.method)?;
        let vector = &self.vectors[&cell.method];
        let dose = Dose { vector, alpha, unit: Unit::Gap, layers: cell.layers.clone() };
        let instruction = Instruction { dose, how: Application::default(), condition: None, tokens: None };
        self.bench.receipt(&instruction, &self.rows, self.material.set, &heldout, &controls)
    }
}

/// Asks the questions of the contrasts that doses are picked on, unsteered.
fn own_answers(bench: &Bench<'_>, heldout: &ContrastSet, seed: u64) -> Result<Vec<Continuation>, Error> {
    let asked = heldout.contrasts.iter().enumerate().filter(|(i, _)| picks_on(*i));
    let questions: Vec<Vec<Message>> = asked.map(|(_, contrast)| contrast.messages.clone()).collect();
    bench.watch.stage("asking", questions.len());
    let answers = bench.ask(&questions, &Steering::default(), &AskOptions::to_measure(seed))?;
    bench.continuations(&questions, &answers)
}

/// Fits a direction to the contrasts with an even number (half 0) or an odd one (half 1).
fn fit_half(method: Method, sides: &[Vec<Vec<f64>>; 2], half: usize, seed: u64) -> Option<Vec<f64>> {
    let of_half = |rows: &Vec<Vec<f64>>| rows.iter().skip(half).step_by(2).cloned().collect::<Vec<_>>();
    let [positives, negatives] = sides.each_ref().map(of_half);
    if positives.is_empty() { None } else { method.fit(&positives, &negatives, Random::new(seed)) }
}
