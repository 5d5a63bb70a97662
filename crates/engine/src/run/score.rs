//! How likely a model finds given texts.

use super::prefix::PrefixTree;
use crate::error::Error;
use crate::forward::{Batch, Model, NoTap, ROW_BUDGET, Rows, Session, pack};

/// A text to be scored, in tokens.
#[derive(Clone, Debug)]
pub struct Continuation {
    /// What comes before, at least one token; it is not scored.
    pub prompt: Vec<u32>,
    /// The tokens to score, at least one.
    pub tokens: Vec<u32>,
}

/// Logits that are computed at a time: 33 MB, which is 64 rows of a vocabulary of 128 000.
const HEAD_LOGITS: usize = 64 << 17;

/// Computes the log-probability of every token of every continuation under the unsteered model, in nats, given all
/// tokens before it. What prompts have in common at their beginning runs once.
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

/// Computes the log-probability that each `(row, token)` gives its token as the next one. `resid` is what left the
/// last block.
pub fn log_probs(model: &Model, resid: &Rows, targets: &[(usize, u32)]) -> Vec<f64> {
    let targets: Vec<(usize, &[u32])> =
        targets.iter().map(|(row, token)| (*row, std::slice::from_ref(token))).collect();
    log_probs_among(model, resid, &targets).concat()
}

/// Computes the log-probabilities of several tokens that may follow a row: `[targets][tokens]`.
pub fn log_probs_among(model: &Model, resid: &Rows, targets: &[(usize, &[u32])]) -> Vec<Vec<f64>> {
    let mut scores = Vec::with_capacity(targets.len());
    let rows_at_a_time = (HEAD_LOGITS / model.config().vocab_size).clamp(1, ROW_BUDGET);
    for targets in targets.chunks(rows_at_a_time) {
        let rows: Vec<usize> = targets.iter().map(|(row, _)| *row).collect();
        let logits = model.logits(resid, &rows);
        let of_row = |(row, (_, tokens)): (usize, &(usize, &[u32]))| -> Vec<(usize, usize)> {
            tokens.iter().map(|token| (row, *token as usize)).collect()
        };
        let wanted: Vec<(usize, usize)> = targets.iter().enumerate().flat_map(of_row).collect();
        let (totals, picked) = (model.log_sums(&logits), model.pick(&logits, &wanted));
        let mut picked = picked.into_iter();
        scores.extend(targets.iter().zip(totals).map(|((_, tokens), total)| {
            picked.by_ref().take(tokens.len()).map(|logit| f64::from(logit) - total).collect::<Vec<f64>>()
        }));
    }
    scores
}
