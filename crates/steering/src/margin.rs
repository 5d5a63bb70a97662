//! How much likelier a model finds the positive answer of a contrast than the negative one.

use crate::extract::ContrastIds;
use crate::replay::{Replay, Text, passes};
use crate::stats::mean;
use crate::{Error, Progress};
use whipstaff_engine::{Continuation, Model, NoTap, Steering, log_probs, score};

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

    /// Half of what progress counts in one call of [`Margins::under`].
    pub(crate) fn n_texts(&self) -> usize {
        self.texts.len()
    }

    /// The margin of each contrast under each steering: `[steerings][contrasts]`. What lies below the first place
    /// that a steering acts at runs once.
    pub(crate) fn under(
        &self,
        steerings: &[Steering],
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<f64>>, Error> {
        let mut margins = vec![vec![0.0; self.texts.len() / 2]; steerings.len()];
        let lens: Vec<usize> = self.texts.iter().map(|text| text.ids.len()).collect();
        for pass in passes(&lens) {
            let replay = Replay::new(self.model, &self.texts[pass.clone()])?;
            for (steering, margins) in steerings.iter().zip(&mut margins) {
                let scores = self.scores(&replay, &self.texts[pass.clone()], steering)?;
                for (i, score) in pass.clone().zip(scores) {
                    margins[i / 2] += if i.is_multiple_of(2) { score } else { -score };
                }
            }
            progress.advance(pass.len())?;
        }
        Ok(margins)
    }

    /// The mean log-probability per answer token of each text under `steering`.
    fn scores(&self, replay: &Replay, texts: &[Text], steering: &Steering) -> Result<Vec<f64>, Error> {
        let copies: Vec<_> = (0..texts.len()).map(|text| (text, steering.clone())).collect();
        let resid = replay.run(&copies, &mut NoTap)?;
        let score = |(i, Text { ids, n_prompt }): (usize, &Text)| {
            // The row before a token is the one that predicts it.
            let start = replay.span(i).start;
            let targets: Vec<(usize, u32)> =
                (*n_prompt..ids.len()).map(|at| (start + at - 1, ids[at])).collect();
            mean(&log_probs(self.model, &resid, &targets))
        };
        Ok(texts.iter().enumerate().map(score).collect())
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
