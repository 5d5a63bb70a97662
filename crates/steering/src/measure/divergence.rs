//! How far steering moves the model's expectations along given texts.

use super::replay::{Replay, Text, batches};
use crate::error::Error;
use crate::passes::passes;
use whipstaff_engine::{Continuation, Model, NoTap, Rows, Steering};

/// The effect of a steering on the next-token distributions along texts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Divergence {
    /// The mean over tokens of KL(unsteered ‖ steered), in nats.
    pub kl: f64,
    /// The perplexity of the texts under the steered model over that under the unsteered one.
    pub perplexity_ratio: f64,
}

/// The number of rows whose logits are held at a time, twice: with a vocabulary of 128 000, 66 MB.
const HEAD_ROWS: usize = 64;

/// Measures the divergence of each steering from the unsteered model on the tokens of `texts`. The blocks below the first
/// place that a steering changes run once, and steerings that begin at the same place run side by side.
///
/// # Errors
/// [`Error::Engine`] for texts that the model cannot run.
pub fn divergences(
    model: &Model,
    texts: &[Continuation],
    steerings: &[Steering],
) -> Result<Vec<Divergence>, Error> {
    let whole: Vec<Text> = texts.iter().map(Text::from).collect();
    let lens: Vec<usize> = whole.iter().map(|text| text.ids.len()).collect();
    let n_tokens: usize = texts.iter().map(|text| text.tokens.len()).sum();
    let mut sums = vec![Divergence::default(); steerings.len()];
    for pass in passes(&lens) {
        let replay = Replay::new(model, &whole[pass.clone()])?;
        let (texts, lens) = (&texts[pass.clone()], &lens[pass]);
        let plain = replay.resid_post(model.config().n_layers - 1);
        let all =
            steerings.iter().enumerate().flat_map(|(s, it)| (0..texts.len()).map(move |text| (s, text, it)));
        for batch in batches(all, lens) {
            let copies: Vec<_> = batch.iter().map(|(s, text)| (*text, steerings[*s].clone())).collect();
            let steered = replay.run(&copies, &mut NoTap)?;
            let mut start = 0;
            for (s, text) in batch {
                let Continuation { prompt, tokens } = &texts[text];
                // The row before a token is the one that predicts it.
                let first = prompt.len() - 1;
                let targets: Vec<Target> = tokens
                    .iter()
                    .enumerate()
                    .map(|(i, token)| Target {
                        plain: replay.span(text).start + first + i,
                        steered: start + first + i,
                        token: *token as usize,
                    })
                    .collect();
                start += lens[text];
                for (kl, loss) in rows(model, plain, &steered, &targets) {
                    sums[s].kl += kl / n_tokens as f64;
                    sums[s].perplexity_ratio += loss / n_tokens as f64;
                }
            }
        }
    }
    sums.iter_mut().for_each(|it| it.perplexity_ratio = it.perplexity_ratio.exp());
    Ok(sums)
}

/// The rows that predict a token, unsteered and steered.
struct Target {
    plain: usize,
    steered: usize,
    token: usize,
}

/// Returns the divergence of each pair of rows, and how much log-likelihood the token that follows loses.
fn rows(model: &Model, plain: &Rows, steered: &Rows, targets: &[Target]) -> Vec<(f64, f64)> {
    let mut all = Vec::with_capacity(targets.len());
    for targets in targets.chunks(HEAD_ROWS) {
        let which = |row: fn(&Target) -> usize| targets.iter().map(row).collect::<Vec<_>>();
        let (p, q) =
            (model.logits(plain, &which(|it| it.plain)), model.logits(steered, &which(|it| it.steered)));
        let (p, q) = (model.host(&p), model.host(&q));
        let mut found = vec![(0.0, 0.0); targets.len()];
        model.cpu().for_each_mut(&mut found, |i, it| *it = divergence(p.row(i), q.row(i), targets[i].token));
        all.extend(found);
    }
    all
}

/// Returns `Σ p (ln p − ln q)` for the distributions of two rows of logits, and `ln p − ln q` of one token.
fn divergence(p: &[f32], q: &[f32], token: usize) -> (f64, f64) {
    let log_total = |logits: &[f32]| {
        let max = logits.iter().fold(f32::NEG_INFINITY, |max, x| max.max(*x));
        f64::from(max) + logits.iter().map(|x| f64::from(x - max).exp()).sum::<f64>().ln()
    };
    let (total_p, total_q) = (log_total(p), log_total(q));
    let apart = |p: f32, q: f32| (f64::from(p) - total_p) - (f64::from(q) - total_q);
    let weighed = |(p, q): (&f32, &f32)| (f64::from(*p) - total_p).exp() * apart(*p, *q);
    // Rounding may leave a divergence of equal rows a hair below zero.
    (p.iter().zip(q).map(weighed).sum::<f64>().max(0.0), apart(p[token], q[token]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_divergence_is_its_closed_form() {
        let check = |p: &[f64], q: &[f64]| {
            let logits = |it: &[f64]| it.iter().map(|p| (p.ln() + 3.0) as f32).collect::<Vec<f32>>();
            let want: f64 = p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum();
            let (kl, loss) = divergence(&logits(p), &logits(q), 0);
            // Logits are f32.
            assert!((kl - want).abs() < 1e-6 && (loss - (p[0] / q[0]).ln()).abs() < 1e-6, "{kl} {want}");
        };
        check(&[0.5, 0.5], &[0.5, 0.5]);
        check(&[0.9, 0.1], &[0.5, 0.5]);
        check(&[0.2, 0.3, 0.5], &[0.6, 0.3, 0.1]);
    }
}
