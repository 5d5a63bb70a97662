//! Contrasts in tokens.

use super::frame::Frame;
use super::set::ContrastSet;
use crate::error::Error;
use whipstaff_engine::Tokenizer;

/// A contrast in tokens.
pub(crate) struct ContrastIds {
    pub(crate) prompt: Vec<u32>,
    /// The positive and the negative answer.
    pub(crate) answers: [Vec<u32>; 2],
}

/// Encodes the contrasts of a set, each of which must fit a context of `max` tokens.
///
/// # Errors
/// [`Error::TooLong`], and the errors of [`Frame::answered_ids`].
pub(crate) fn encode(
    tokenizer: &Tokenizer,
    frame: &Frame,
    set: &ContrastSet,
    max: usize,
) -> Result<Vec<ContrastIds>, Error> {
    let mut encoded = Vec::with_capacity(set.contrasts.len());
    for (i, contrast) in set.contrasts.iter().enumerate() {
        let texts = [&contrast.positive[..], &contrast.negative];
        let (prompt, answers) = frame.answered_ids(tokenizer, &contrast.messages, &texts)?;
        let answers: [Vec<u32>; 2] = answers.try_into().expect("one for each text");
        let tokens = prompt.len() + answers[0].len().max(answers[1].len());
        if tokens > max {
            return Err(Error::TooLong { set: set.name.clone(), number: i + 1, tokens, max });
        }
        encoded.push(ContrastIds { prompt, answers });
    }
    Ok(encoded)
}

/// A contrast in tokens, as extraction reads it.
pub(crate) struct SideIds {
    /// The prompt of the positive answer, and that of the negative one.
    pub(crate) prompts: [Vec<u32>; 2],
    pub(crate) answers: [Vec<u32>; 2],
}

/// Encodes as [`encode`] does, but each answer behind its own prompt.
pub(crate) fn encode_sides(
    tokenizer: &Tokenizer,
    frame: &Frame,
    set: &ContrastSet,
    max: usize,
) -> Result<Vec<SideIds>, Error> {
    let side = |side: usize| encode(tokenizer, frame, &set.as_read_for(side), max);
    let pair = |(positive, negative): (ContrastIds, ContrastIds)| {
        let [positive_answer, _] = positive.answers;
        let [_, negative_answer] = negative.answers;
        SideIds { prompts: [positive.prompt, negative.prompt], answers: [positive_answer, negative_answer] }
    };
    Ok(side(0)?.into_iter().zip(side(1)?).map(pair).collect())
}
