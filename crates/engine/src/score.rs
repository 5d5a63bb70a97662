//! How likely a model finds given texts.

use crate::{Batch, Error, Model, NoTap, ROW_BUDGET, Session, pack};

/// A text to be scored: what a session already holds, and the tokens that follow.
pub struct Continuation {
    /// Runs up to, but without, `first`'s predecessor. Forks of one prompt share its cache.
    pub session: Session,
    /// The last token of the prompt: the one that predicts the first scored token.
    pub last: u32,
    /// The tokens to score, at least one.
    pub tokens: Vec<u32>,
}

/// Rows whose logits are computed at a time: with a vocabulary of 128 000 that is 33 MB.
const HEAD_ROWS: usize = 64;

/// The log-probability of every token of every continuation, in nats, given all before it.
///
/// # Errors
/// As for [`Model::forward`].
pub fn score(model: &Model, texts: &mut [Continuation]) -> Result<Vec<Vec<f64>>, Error> {
    let inputs: Vec<Vec<u32>> = texts
        .iter()
        .map(|text| std::iter::once(text.last).chain(text.tokens.iter().copied().take(text.tokens.len() - 1)))
        .map(Iterator::collect)
        .collect();
    let mut scores = vec![Vec::new(); texts.len()];
    for pass in pack(inputs.iter().map(Vec::len), ROW_BUDGET) {
        let mut batch = Batch::new();
        let mut wanted = pass.iter().peekable();
        for (i, text) in texts.iter_mut().enumerate() {
            if let Some((_, range)) = wanted.next_if(|(sequence, _)| *sequence == i) {
                batch.push(&mut text.session, &inputs[i][range.clone()]);
            }
        }
        let resid = model.forward(&mut batch, &mut NoTap)?;
        drop(batch);
        let targets: Vec<(usize, u32)> = pass
            .iter()
            .flat_map(|(i, range)| range.clone().map(move |at| (*i, at)))
            .map(|(i, at)| (i, texts[i].tokens[at]))
            .collect();
        for first in (0..targets.len()).step_by(HEAD_ROWS) {
            let rows: Vec<usize> = (first..targets.len().min(first + HEAD_ROWS)).collect();
            let logits = model.logits(&resid, &rows);
            for (at, row) in rows.into_iter().enumerate() {
                let (text, token) = targets[row];
                scores[text].push(log_softmax_at(logits.row(at), token));
            }
        }
    }
    Ok(scores)
}

/// `log softmax(logits)[token]`, in `f64`.
pub fn log_softmax_at(logits: &[f32], token: u32) -> f64 {
    let max = logits.iter().fold(f32::NEG_INFINITY, |max, x| max.max(*x));
    let sum: f64 = logits.iter().map(|x| f64::from(x - max).exp()).sum();
    f64::from(logits[token as usize] - max) - sum.ln()
}
