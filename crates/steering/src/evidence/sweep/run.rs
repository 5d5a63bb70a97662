//! A sweep at work.

use super::grid::{Place, SweepCell, SweepPlan, picks_on};
use crate::contrasts::ContrastSet;
use crate::error::Error;
use crate::fit::Method;
use crate::measure::{AskOptions, Bench, Margins, Text, divergences, mean_repetition, measure_cosine};
use crate::progress::Unwatched;
use crate::steer::{Dose, combine};
use crate::vector::PersonaVector;
use std::collections::BTreeMap;
use whipstaff_engine::{Continuation, Message, Steering};

/// A sweep at work: what cells are measured with.
pub struct Sweep<'a> {
    bench: Bench<'a>,
    vectors: &'a BTreeMap<Method, PersonaVector>,
    plan: &'a SweepPlan,
    margins: Margins<'a>,
    plain: Vec<f64>,
    /// The questions of the first half of the contrasts, which doses are picked on.
    questions: Vec<Vec<Message>>,
    options: AskOptions,
    unsteered_perplexity: f64,
    neutral: Vec<Continuation>,
    prompts: Vec<Text>,
}

impl<'a> Sweep<'a> {
    /// Measures the unsteered model. `vectors` has one of each method of the plan. Without `neutral` texts, the
    /// model's own unsteered answers are used.
    ///
    /// # Errors
    /// [`Error::TooLong`] and [`Error::Engine`] for texts that the model cannot run; [`Error::Interrupted`].
    pub fn new(
        bench: Bench<'a>,
        plan: &'a SweepPlan,
        vectors: &'a BTreeMap<Method, PersonaVector>,
        heldout: &ContrastSet,
        neutral: &[Continuation],
    ) -> Result<Sweep<'a>, Error> {
        let heldout = heldout.first(plan.n_heldout);
        let margins = bench.margins(&heldout)?;
        bench.watch.stage("measuring the unsteered model", margins.n_texts());
        let plain = margins.under(&[Steering::default()], bench.watch)?.remove(0);
        let asked = heldout.contrasts.iter().enumerate().filter(|(i, _)| picks_on(*i));
        let questions: Vec<Vec<Message>> = asked.map(|(_, it)| it.messages.clone()).collect();
        let prompts = bench.prompts(&questions)?.iter().map(|ids| Text::new(ids, &[])).collect();
        let options = AskOptions::to_measure(plan.seed);
        let unsteered = bench.ask_under_each(&questions, &[Steering::default()], &options)?;
        let unsteered_perplexity = bench.perplexities(&questions, &unsteered)?[0];
        let neutral = match neutral {
            [] => bench.continuations(&questions, &unsteered[0])?,
            given => given.to_vec(),
        };
        Ok(Sweep {
            bench,
            vectors,
            plan,
            margins,
            plain,
            questions,
            options,
            unsteered_perplexity,
            neutral,
            prompts,
        })
    }

    /// Measures cells of one method at one set of layers, side by side. Each gives the same numbers whichever
    /// other cells are measured with it.
    ///
    /// # Errors
    /// As for [`Sweep::new`]; [`Error::Vector`] for layers without direction.
    pub fn measure(&self, places: &[Place]) -> Result<Vec<SweepCell>, Error> {
        let model = self.bench.model;
        let steerings = places.iter().map(|place| self.steering(place)).collect::<Result<Vec<_>, _>>()?;
        let margins = self.margins.under(&steerings, &Unwatched)?;
        let moved = divergences(model, &self.neutral, &steerings)?;
        let answers = self.bench.ask_under_each(&self.questions, &steerings, &self.options)?;
        let perplexity = self.bench.perplexities(&self.questions, &answers)?;
        let injected = places.first().map_or(&[][..], |place| &place.layers);
        let dialled: Vec<(f64, Steering)> = places.iter().map(|place| place.alpha).zip(steerings).collect();
        let cosines = measure_cosine(model, &self.prompts, 0, injected, &dialled, &Unwatched)?;
        let last = model.config().n_layers - 1;
        let cell = |(i, place): (usize, &Place)| SweepCell {
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

    fn steering(&self, place: &Place) -> Result<Steering, Error> {
        let (vector, unit) = (&self.vectors[&place.method], self.plan.unit);
        combine(&[Dose { vector, alpha: place.alpha, unit, layers: place.layers.clone() }], 1.0)
    }
}
