//! How much likelier a model finds the positive answer of a contrast than the negative one.

use super::bench::Bench;
use super::branches::Branches;
use super::replay::Text;
use crate::contrasts::{ContrastIds, ContrastSet, encode};
use crate::error::Error;
use crate::math::mean;
use crate::passes::passes;
use crate::progress::Watch;
use whipstaff_engine::{Continuation, Model, Steering, score};

/// Contrasts to measure margins on.
///
/// A margin is the mean log-probability per token of the positive answer less that of the negative one, given what
/// comes before, in nats per token.
pub(crate) struct Margins<'m> {
    model: &'m Model,
    /// The positive answer of contrast `i` at `2 i`, the negative one at `2 i + 1`.
    texts: Vec<Text>,
}

impl<'a> Bench<'a> {
    /// Measures how far each steering moves the margin of each contrast, in nats per token: `[steerings][contrasts]`.
    ///
    /// The margin is the mean log-probability per token of the positive answer less that of the negative one. The
    /// blocks below the first place that a steering changes run once.
    ///
    /// # Errors
    /// [`Error::TooLong`] and [`Error::Engine`] for texts that the model cannot run; [`Error::Interrupted`].
    pub fn shifts(&self, contrasts: &ContrastSet, steerings: &[Steering]) -> Result<Vec<Vec<f64>>, Error> {
        let all: Vec<Steering> = [Steering::default()].into_iter().chain(steerings.iter().cloned()).collect();
        let mut margins = self.margins(contrasts)?.under(&all, self.watch)?;
        let plain = margins.remove(0);
        for steered in &mut margins {
            steered.iter_mut().zip(&plain).for_each(|(margin, plain)| *margin -= plain);
        }
        Ok(margins)
    }

    /// Encodes contrasts, each of which must fit the model's context.
    pub(crate) fn encode(&self, contrasts: &ContrastSet) -> Result<Vec<ContrastIds>, Error> {
        encode(self.tokenizer, self.frame, contrasts, self.model.config().max_positions)
    }

    /// Encodes contrasts to measure margins on.
    pub(crate) fn margins(&self, contrasts: &ContrastSet) -> Result<Margins<'a>, Error> {
        Ok(self.margins_of(&self.encode(contrasts)?))
    }

    /// Takes contrasts that are encoded already.
    pub(crate) fn margins_of(&self, contrasts: &[ContrastIds]) -> Margins<'a> {
        Margins::new(self.model, contrasts)
    }

    /// Measures the unsteered margins of contrasts.
    pub(crate) fn unsteered_margins(&self, contrasts: &[ContrastIds]) -> Result<Vec<f64>, Error> {
        let scores = score(self.model, &contrasts.iter().flat_map(continuations).collect::<Vec<_>>())?;
        Ok(scores.chunks(2).map(|pair| mean(&pair[0]) - mean(&pair[1])).collect())
    }
}

/// Returns both answers of a contrast, each behind its prompt.
fn continuations(contrast: &ContrastIds) -> [Continuation; 2] {
    let prompt = &contrast.prompt;
    contrast.answers.each_ref().map(|tokens| Continuation { prompt: prompt.clone(), tokens: tokens.clone() })
}

impl<'m> Margins<'m> {
    fn new(model: &'m Model, contrasts: &[ContrastIds]) -> Margins<'m> {
        let both = |ContrastIds { prompt, answers }: &ContrastIds| {
            answers.each_ref().map(|answer| Text::new(prompt, answer))
        };
        Margins { model, texts: contrasts.iter().flat_map(both).collect() }
    }

    /// Returns the number of contrasts.
    pub(crate) fn n_contrasts(&self) -> usize {
        self.texts.len() / 2
    }

    /// Returns the number of texts, which is what watch counts in one call of [`Margins::under`].
    pub(crate) fn n_texts(&self) -> usize {
        self.texts.len()
    }

    /// Measures the margin of each contrast under each steering: `[steerings][contrasts]`. The blocks below the first
    /// place that a steering changes run once, and the prompt of a contrast once per steering.
    pub(crate) fn under(&self, steerings: &[Steering], watch: &dyn Watch) -> Result<Vec<Vec<f64>>, Error> {
        let mut margins = vec![Vec::new(); steerings.len()];
        let rows = |pair: &[Text]| pair.iter().map(|text| text.ids.len()).sum::<usize>() - pair[0].n_prompt;
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contrasts::Frame;
    use crate::progress::Unwatched;
    use std::path::Path;
    use whipstaff_engine::{Cpu, Edit, Site, Tokenizer};

    #[test]
    fn a_steering_that_does_nothing_shifts_no_margin() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/librarian");
        let (model, tokenizer) =
            (Model::load(&folder, Cpu::best()).unwrap(), Tokenizer::load(&folder).unwrap());
        let contrasts = ContrastSet::read(folder.join("contrasts.jsonl")).unwrap().first(2);
        let bench =
            Bench { model: &model, tokenizer: &tokenizer, frame: &Frame::default(), watch: &Unwatched };
        let pushed = Steering::new([Edit::add(3, Site::ResidPost, vec![0.5; model.config().d_model])]);
        let shifts = bench.shifts(&contrasts, &[Steering::default(), pushed]).unwrap();
        assert_eq!(shifts[0], [0.0, 0.0]);
        assert!(shifts[1].iter().all(|shift| *shift != 0.0), "{shifts:?}");
    }
}
