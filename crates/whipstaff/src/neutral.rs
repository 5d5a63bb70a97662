//! Neutral texts: what a dose should leave alone.

use crate::error::Error;
use crate::model::LanguageModel;
use whipstaff_engine::Continuation;
use whipstaff_steering::neutral_texts;

/// Twelve paragraphs of everyday prose.
const PROSE: &str = include_str!("../../../contrasts/neutral.txt");

impl LanguageModel {
    /// Returns texts to measure damage on: the paragraphs of `text`, or the ones that come with the library. For the
    /// model that is compiled in there are none of the latter, since it knows no such texts; measurements then use
    /// its own answers.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Tokenizer`] for a model without a tokenizer.
    pub fn neutral_texts(&self, text: Option<&str>) -> Result<Vec<Continuation>, Error> {
        let text = match text {
            Some(text) => text,
            None if self.is_embedded() => return Ok(Vec::new()),
            None => PROSE,
        };
        Ok(neutral_texts(text, self.tokenizer()?, self.config().max_positions)?)
    }
}
