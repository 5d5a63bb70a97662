//! How likely a model finds given texts.

use crate::{Batch, Error, Model, NoTap, PrefixTree, ROW_BUDGET, Rows, Session, pack};

/// A text to be scored, in tokens.
#[derive(Clone, Debug)]
pub struct Continuation {
    /// What comes before, at least one token; it is not scored.
    pub prompt: Vec<u32>,
    /// The tokens to score, at least one.
    pub tokens: Vec<u32>,
}

/// Rows whose logits are computed at a time: with a vocabulary of 128 000 that is 33 MB.
const HEAD_ROWS: usize = 64;

/// The log-probability of every token of every continuation under the unsteered model, in nats,
/// given all before it. What prompts have in common at their beginning runs once.
///
/// # Errors
/// As for [`Model::forward`].
pub fn score(model: &Model, texts: &[Continuation]) -> Result<Vec<Vec<f64>>, Error> {
    let prompts: Vec<&[u32]> = texts.iter().map(|text| &text.prompt[..]).collect();
    let tree = PrefixTree::new(model, &prompts);
    let prefixes = tree.run(model, &prompts, model.config().n_layers)?;
    // What a text has left to run: all but what it shares, and the last token, which predicts nothing.
    let rest =
        |(i, text): (usize, &Continuation)| [&text.prompt[tree.shared_len(i)..], &text.tokens].concat();
    let ids: Vec<Vec<u32>> = texts.iter().enumerate().map(rest).collect();
    let mut sessions: Vec<Session> = (0..texts.len()).map(|i| prefixes.session(i)).collect();
    let mut scores = vec![Vec::new(); texts.len()];
    for pass in pack(ids.iter().map(|ids| ids.len() - 1), ROW_BUDGET) {
        let mut batch = Batch::of_pass(&mut sessions, &ids, &pass);
        let resid = model.forward(&mut batch, &mut NoTap)?;
        let rows = pass.iter().flat_map(|(i, range)| range.clone().map(move |at| (*i, at)));
        let (owners, targets): (Vec<usize>, Vec<(usize, u32)>) = rows
            .enumerate()
            .filter(|(_, (i, at))| at + 1 + tree.shared_len(*i) >= texts[*i].prompt.len())
            .map(|(row, (i, at))| (i, (row, ids[i][at + 1])))
            .unzip();
        for (i, score) in owners.into_iter().zip(log_probs(model, &resid, &targets)) {
            scores[i].push(score);
        }
    }
    Ok(scores)
}

/// The log-probability that each `(row, token)` gives its token as the next one. `resid` is what
/// left the last block.
pub fn log_probs(model: &Model, resid: &Rows, targets: &[(usize, u32)]) -> Vec<f64> {
    let mut scores = Vec::with_capacity(targets.len());
    for targets in targets.chunks(HEAD_ROWS) {
        let rows: Vec<usize> = targets.iter().map(|(row, _)| *row).collect();
        let logits = model.logits(resid, &rows);
        scores
            .extend(targets.iter().enumerate().map(|(i, (_, token))| log_softmax_at(logits.row(i), *token)));
    }
    scores
}

/// `log softmax(logits)[token]`, in `f64`.
fn log_softmax_at(logits: &[f32], token: u32) -> f64 {
    let max = logits.iter().fold(f32::NEG_INFINITY, |max, x| max.max(*x));
    let sum: f64 = logits.iter().map(|x| f64::from(x - max).exp()).sum();
    f64::from(logits[token as usize] - max) - sum.ln()
}
