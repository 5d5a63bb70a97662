//! A sweep at work.

use super::grid::{Cell, Place, SweepPlan, picks_on};
use crate::contrasts::{ContrastSet, Frame, encode};
use crate::error::Error;
use crate::fit::Method;
use crate::measure::{
    Asking, Margins, Text, ask_under_each, asking_to_measure, continuations, divergences, mean_repetition,
    measure_cosine, perplexities,
};
use crate::progress::{Unwatched, Watch};
use crate::steer::{Dose, combine};
use crate::vector::PersonaVector;
use std::collections::BTreeMap;
use whipstaff_engine::{Continuation, Message, Model, Steering, Tokenizer};

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
        let margins = self.margins.under(&steerings, &Unwatched)?;
        let moved = divergences(model, &self.neutral, &steerings)?;
        let answers = ask_under_each(model, tokenizer, &self.questions, &steerings, &self.asking, watch)?;
        let perplexity = perplexities(model, tokenizer, &self.frame, &self.questions, &answers)?;
        let injected = places.first().map_or(&[][..], |it| &it.layers);
        let dialled: Vec<(f64, Steering)> = places.iter().map(|it| it.alpha).zip(steerings).collect();
        let cosines = measure_cosine(model, &self.prompts, 0, injected, &dialled, &Unwatched)?;
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
