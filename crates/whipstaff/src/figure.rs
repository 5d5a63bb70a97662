//! The numbers of the cosine figure: how far steering turns the stream, per layer and alpha.

use crate::error::Error;
use crate::model::LanguageModel;
use whipstaff_engine::Steering;
use whipstaff_steering::{CosineTable, Frame, PromptLine, ResolvedVector, Text, measure_cosine, said};

impl LanguageModel {
    /// Measures the cosine of the steered and the unsteered stream behind every block, for one vector at several alphas,
    /// on the same tokens both times.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Steering`] for a prompt that is longer than the model's context, or an alpha that is too large.
    ///
    /// ```
    /// use whipstaff::prelude::*;
    ///
    /// let model = whipstaff::embedded()?;
    /// let vector = model.extractor().recommend(0).receipt(0).run(&whipstaff::embedded::contrasts()?.first(8))?;
    /// let steering = model.steering(&[vector.at(1.0).layers("2")?])?;
    /// let prompts = [PromptLine::new("Where is the printer?")];
    /// let table = model.figure(&steering.vectors()[0], &prompts, &[0.0, 0.5])?;
    /// assert_eq!(table.mean(0, 3), 1.0);
    /// assert!(table.mean(1, 3) < 1.0);
    /// # Ok::<(), whipstaff::Error>(())
    /// ```
    pub fn figure(
        &self,
        steer: &ResolvedVector,
        prompts: &[PromptLine],
        alphas: &[f64],
    ) -> Result<CosineTable, Error> {
        let frame = self.frame(&Default::default(), steer.frame())?;
        let texts = self.texts(&frame, prompts)?;
        let steerings = alphas.iter().map(|alpha| Ok((*alpha, steer.steering_at(*alpha)?)));
        self.cosines(&texts, &steer.layers, &steerings.collect::<Result<Vec<_>, Error>>()?)
    }

    /// Measures cosines on texts in tokens, under steerings that inject at `layers`. A beginning-of-text token does not
    /// count.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Engine`] for texts that the model cannot run.
    pub fn cosines(
        &self,
        texts: &[Text],
        layers: &[usize],
        steerings: &[(f64, Steering)],
    ) -> Result<CosineTable, Error> {
        let skip = self.n_skipped(texts);
        Ok(measure_cosine(self.engine(), texts, skip, layers, steerings, &**self.watch())?)
    }

    /// Returns prompts, and answers where there are any, in tokens.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Steering`] for a prompt that is longer than the model's context.
    pub fn texts(&self, frame: &Frame, prompts: &[PromptLine]) -> Result<Vec<Text>, Error> {
        let (tokenizer, max) = (self.tokenizer()?, self.config().max_positions);
        let mut texts = Vec::new();
        for (i, line) in prompts.iter().enumerate() {
            let said = said(&line.prompt);
            let text = match &line.answer {
                None => Text::new(&frame.prompt_ids(tokenizer, &said)?, &[]),
                Some(answer) => {
                    let (prompt, answers) = frame.answered_ids(tokenizer, &said, &[answer])?;
                    Text::new(&prompt, &answers.concat())
                }
            };
            if text.ids.len() > max {
                return Err(Error::PromptTooLong { number: i + 1, tokens: text.ids.len(), max });
            }
            texts.push(text);
        }
        Ok(texts)
    }

    /// Returns how many leading tokens of texts do not count: the beginning-of-text token, where there is one. It soaks
    /// up attention and hardly moves.
    pub fn n_skipped(&self, texts: &[Text]) -> usize {
        let bos = self.config().bos_token;
        let begins_with_bos = |Text { ids, .. }: &Text| ids.len() > 1 && ids.first().copied() == bos;
        usize::from(bos.is_some() && texts.iter().all(begins_with_bos))
    }
}
