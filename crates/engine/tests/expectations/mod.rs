//! What a model expects of every next token, and how far two models are apart in it.

use std::path::Path;
use whipstaff_engine::*;

/// Log-probabilities in nats behind each of `ids`, `[n_tokens, vocab_size]`.
pub(crate) fn expectations(path: &Path, precision: Precision, ids: &[u32]) -> Vec<Vec<f64>> {
    let model = Model::load(path, Cpu::new(Isa::best(), 2).with_precision(precision)).unwrap();
    let (mut session, mut batch) = (Session::new(), Batch::new());
    batch.push(&mut session, ids);
    let resid = model.forward(&mut batch, &mut NoTap).unwrap();
    let logits = model.logits(&resid, &(0..ids.len()).collect::<Vec<_>>());
    let row = |i: usize| {
        let row: Vec<f64> = model.host(&logits).row(i).iter().map(|x| f64::from(*x)).collect();
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total = max + row.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
        row.iter().map(|x| x - total).collect()
    };
    (0..ids.len()).map(row).collect()
}

/// Mean nats per token from what `p` expects to what `q` does (Kullback & Leibler 1951).
pub(crate) fn kl(p: &[Vec<f64>], q: &[Vec<f64>]) -> f64 {
    let nats = |(p, q): (&Vec<f64>, &Vec<f64>)| p.iter().zip(q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>();
    p.iter().zip(q).map(nats).sum::<f64>() / p.len() as f64
}

/// How far the worst log-probability is off, as a fraction of the largest expected.
pub(crate) fn worst(got: &[Vec<f64>], want: &[Vec<f64>]) -> f64 {
    let scale = want.iter().flatten().fold(0.0f64, |max, x| max.max(x.abs()));
    let errors = got.iter().flatten().zip(want.iter().flatten()).map(|(a, b)| (a - b).abs());
    // A NaN must not pass as small.
    errors.fold(0.0f64, |max, x| if x.is_nan() { f64::INFINITY } else { max.max(x) }) / scale
}
