//! How much likelier a model finds the positive answer of a contrast than the negative one.

use super::branches::Branches;
use super::replay::Text;
use crate::contrasts::ContrastIds;
use crate::error::Error;
use crate::math::mean;
use crate::passes::passes;
use crate::progress::Watch;
use whipstaff_engine::{Continuation, Model, Steering, score};

/// Contrasts to measure margins on. A margin is the mean log-probability per token of the positive answer less
/// that of the negative one, given what comes before, in nats per token.
pub(crate) struct Margins<'m> {
    model: &'m Model,
    /// Positive and negative answers by turns.
    texts: Vec<Text>,
}

impl<'m> Margins<'m> {
    pub(crate) fn new(model: &'m Model, contrasts: &[ContrastIds]) -> Margins<'m> {
        let both = |ContrastIds { prompt, answers }: &ContrastIds| {
            answers.each_ref().map(|answer| Text::new(prompt, answer))
        };
        Margins { model, texts: contrasts.iter().flat_map(both).collect() }
    }

    /// Half of what watch counts in one call of [`Margins::under`].
    pub(crate) fn n_texts(&self) -> usize {
        self.texts.len()
    }

    /// The margin of each contrast under each steering: `[steerings][contrasts]`. What lies below the first place
    /// that a steering acts at runs once, and the prompt of a contrast once per steering.
    pub(crate) fn under(&self, steerings: &[Steering], watch: &dyn Watch) -> Result<Vec<Vec<f64>>, Error> {
        let mut margins = vec![Vec::new(); steerings.len()];
        let rows = |pair: &[Text]| pair.iter().map(|it| it.ids.len()).sum::<usize>() - pair[0].n_prompt;
        let lens: Vec<usize> = self.texts.chunks_exact(2).map(rows).collect();
        for pass in passes(&lens) {
            let texts = &self.texts[2 * pass.start..2 * pass.end];
            let branches = Branches::new(self.model, texts)?;
            for (steering, margins) in steerings.iter().zip(&mut margins) {
                let scores = branches.scores(steering)?;
                margins.extend(scores.chunks_exact(2).map(|pair| mean(&pair[0]) - mean(&pair[1])));
            }
            watch.advance(texts.len())?;
        }
        Ok(margins)
    }

    /// The margins of the same answers behind other prompts, unsteered.
    pub(crate) fn behind(model: &Model, contrasts: &[ContrastIds]) -> Result<Vec<f64>, Error> {
        let text = |prompt: &Vec<u32>, answer: &Vec<u32>| Continuation {
            prompt: prompt.clone(),
            tokens: answer.clone(),
        };
        let both = |it: &ContrastIds| it.answers.each_ref().map(|answer| text(&it.prompt, answer));
        let scores = score(model, &contrasts.iter().flat_map(both).collect::<Vec<_>>())?;
        Ok(scores.chunks(2).map(|pair| mean(&pair[0]) - mean(&pair[1])).collect())
    }
}
