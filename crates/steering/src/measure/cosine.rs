//! How far steering turns the stream: the cosine of steered and unsteered `resid_post`.

use super::replay::{Replay, Text, batches};
use crate::error::Error;
use crate::math::percentile;
use crate::passes::passes;
use crate::progress::Watch;
use std::fmt::Write;
use whipstaff_engine::{Hook, Model, Rows, Site, Steering, Tap};

/// Cosines by alpha and layer, over prompts.
#[derive(Clone, Debug, PartialEq)]
pub struct CosineTable {
    /// The alphas, as given.
    pub alphas: Vec<f64>,
    /// The layers that are injected.
    pub injected: Vec<usize>,
    /// The mean over the prompt's tokens, `per_prompt[alpha][layer][prompt]`.
    pub per_prompt: Vec<Vec<Vec<f64>>>,
}

/// The cosines of one alpha at one layer, over prompts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CosineCell {
    /// The mean.
    pub mean: f64,
    /// The 10th percentile.
    pub low: f64,
    /// The 90th percentile.
    pub high: f64,
}

/// Measures the cosine of steered and unsteered `resid_post` at every layer, teacher-forced: both runs see the same
/// tokens. The first `skip` tokens of each text do not count (a bos token soaks up attention and hardly moves).
///
/// Steerings that begin at the same place run side by side. The blocks below it run once for all of them, so a grid of
/// alphas and single layers costs about half of what its full passes would.
///
/// # Errors
/// [`Error::Engine`] for texts that the model cannot run; [`Error::Interrupted`].
pub fn measure_cosine(
    model: &Model,
    texts: &[Text],
    skip: usize,
    injected: &[usize],
    steerings: &[(f64, Steering)],
    watch: &dyn Watch,
) -> Result<CosineTable, Error> {
    let n_layers = model.config().n_layers;
    let mut per_prompt = vec![vec![vec![1.0; texts.len()]; n_layers]; steerings.len()];
    let lens: Vec<usize> = texts.iter().map(|text| text.ids.len()).collect();
    watch.stage("measuring cosines", texts.len());
    for pass in passes(&lens) {
        let lens = &lens[pass.clone()];
        let replay = Replay::new(model, &texts[pass.clone()])?;
        // Copies that change nothing stay at 1 by definition; only the others run.
        let copies = steerings.iter().enumerate().filter(|(_, (_, steering))| !steering.is_empty());
        let copies =
            copies.flat_map(|(s, (_, steering))| (0..lens.len()).map(move |text| (s, text, steering)));
        for copies in batches(copies, lens) {
            let runs: Vec<(usize, Steering)> =
                copies.iter().map(|(s, text)| (*text, steerings[*s].1.clone())).collect();
            let mut compare = Compare { replay: &replay, copies: &copies, skip, found: Vec::new() };
            replay.run(&runs, &mut compare)?;
            for (layer, copy, cosine) in compare.found {
                let (s, text) = copies[copy];
                per_prompt[s][layer][pass.start + text] = cosine;
            }
            watch.advance(0)?;
        }
        watch.advance(pass.len())?;
    }
    let alphas = steerings.iter().map(|(alpha, _)| *alpha).collect();
    Ok(CosineTable { alphas, injected: injected.to_vec(), per_prompt })
}

/// The tap that compares each copy's rows with those of the unsteered run.
struct Compare<'a> {
    replay: &'a Replay<'a>,
    copies: &'a [(usize, usize)],
    skip: usize,
    /// The layer, the copy, and the mean cosine over the copy's rows.
    found: Vec<(usize, usize, f64)>,
}

impl Tap for Compare<'_> {
    fn reads(&self, _: usize, site: Site) -> bool {
        site == Site::ResidPost
    }

    fn at(&mut self, hook: Hook<'_>, x: Rows) -> Rows {
        let (steered, plain) = (hook.host(&x), hook.host(self.replay.resid_post(hook.layer)));
        let mut means = vec![0.0; self.copies.len()];
        self.replay.model().cpu().for_each_mut(&mut means, |copy, mean| {
            let (_, text) = self.copies[copy];
            let pairs = hook.rows.span(copy).zip(self.replay.span(text)).skip(self.skip);
            let cosines: Vec<f64> = pairs.map(|(a, b)| cosine(steered.row(a), plain.row(b))).collect();
            *mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
        });
        self.found.extend(means.into_iter().enumerate().map(|(copy, mean)| (hook.layer, copy, mean)));
        x
    }
}

/// Returns `a · b / (|a| |b|)`, in `f64`.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    // Eight sums side by side: a sweep takes millions of these.
    let (mut ab, mut aa, mut bb) = ([0.0f64; 8], [0.0f64; 8], [0.0f64; 8]);
    for (a, b) in a.chunks(8).zip(b.chunks(8)) {
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            let (a, b) = (f64::from(*a), f64::from(*b));
            ab[i] += a * b;
            aa[i] += a * a;
            bb[i] += b * b;
        }
    }
    let sum = |sums: [f64; 8]| sums.iter().sum::<f64>();
    sum(ab) / (sum(aa) * sum(bb)).sqrt()
}

impl CosineTable {
    /// Returns the number of layers.
    pub fn n_layers(&self) -> usize {
        self.per_prompt.first().map_or(0, Vec::len)
    }

    /// Returns the mean over prompts and its spread, under the `alpha`-th alpha at `layer`.
    pub fn cell(&self, alpha: usize, layer: usize) -> CosineCell {
        let values = &self.per_prompt[alpha][layer];
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        CosineCell { mean, low: percentile(&sorted, 0.1), high: percentile(&sorted, 0.9) }
    }

    /// Returns the mean over prompts.
    pub fn mean(&self, alpha: usize, layer: usize) -> f64 {
        self.cell(alpha, layer).mean
    }

    /// Returns the table as CSV: `layer,alpha,cosine,low,high`.
    pub fn csv(&self) -> String {
        let mut csv = String::from("layer,alpha,cosine,low,high\n");
        for (i, alpha) in self.alphas.iter().enumerate() {
            for layer in 0..self.n_layers() {
                let CosineCell { mean, low, high } = self.cell(i, layer);
                writeln!(csv, "{layer},{alpha},{mean:.6},{low:.6},{high:.6}").expect("writing to a string");
            }
        }
        csv
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_lie_between_neighbours() {
        assert_eq!(percentile(&[1.0], 0.9), 1.0);
        assert_eq!(percentile(&[0.0, 1.0], 0.1), 0.1);
        assert_eq!(percentile(&[0.0, 1.0, 2.0, 3.0, 4.0], 0.5), 2.0);
    }

    #[test]
    fn equal_rows_have_cosine_exactly_one() {
        let row = [0.1f32, -3.7, 12.25, 1e-4];
        assert_eq!(cosine(&row, &row), 1.0);
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 2.0]), 0.0);
    }
}
