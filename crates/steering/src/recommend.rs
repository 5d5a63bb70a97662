//! Which layers, and how much: measured on contrasts that the direction was not fitted on.
//!
//! The question asked of a dose is the one a user would ask: does it make the model find the
//! persona's answers more likely at +alpha, and the opposite's at −alpha? Too little leaves both
//! where they were; too much breaks the language and makes every answer unlikely. So the mean
//! log-probability of the answers that fit the dial's side rises to a peak and falls again, and
//! no second scale for damage is needed.

use crate::extract::{ContrastIds, encode};
use crate::replay::{Replay, passes};
use crate::{ContrastSet, Dose, Error, Frame, PersonaVector, Progress, Recommendation, Unit, combine};
use std::slice::from_ref;
use whipstaff_engine::{Model, NoTap, Steering, Tokenizer, log_softmax_at};

/// A text of the measurement: prompt and answer, and where the answer begins.
struct Text {
    ids: Vec<u32>,
    answer_at: usize,
}

/// Layers to inject at, with the alphas to try there.
struct Candidate {
    layers: Vec<usize>,
    alphas: Vec<f64>,
}

/// Single layers tried at most: in a deeper model they are evenly spaced.
const MAX_SINGLE_LAYERS: usize = 12;

/// Alphas tried at a set of layers, in units of the gap, before division by the square root of the
/// number of layers: the doses of several layers add up, partly along one line.
const LADDER: [f64; 7] = [0.35, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0];

/// Rows whose logits are computed at a time.
const HEAD_ROWS: usize = 64;

/// Finds the best single layer, then the best alpha for that layer, for the middle half of the
/// layers and for all of them, and recommends the best of the three. `heldout` must not contain
/// what `vector` was fitted on; at most `max_contrasts` of it are used.
///
/// # Errors
/// [`Error::Engine`] for texts that the model cannot run; [`Error::Interrupted`].
pub fn recommend(
    model: &Model,
    tokenizer: &Tokenizer,
    vector: &PersonaVector,
    heldout: &ContrastSet,
    max_contrasts: usize,
    progress: &dyn Progress,
) -> Result<Recommendation, Error> {
    let frame = Frame::parse(&vector.provenance.frame)?;
    let contrasts = &heldout.contrasts[..heldout.contrasts.len().min(max_contrasts)];
    let texts: Vec<Text> = encode(tokenizer, &frame, contrasts)?
        .iter()
        .flat_map(|ContrastIds { prompt, answers }| {
            let text =
                |answer: &Vec<u32>| Text { ids: [&prompt[..], answer].concat(), answer_at: prompt.len() };
            answers.each_ref().map(text)
        })
        .collect();

    let layers: Vec<usize> = vector.layers.keys().copied().collect();
    let singles = evenly(&layers, MAX_SINGLE_LAYERS);
    progress.stage("choosing a layer", texts.len());
    let doses: Vec<(Vec<usize>, f64)> = singles.iter().map(|layer| (vec![*layer], 1.0)).collect();
    let likelihoods = measure(model, vector, &texts, &doses, progress)?;
    let best_layer = doses[best(&likelihoods)].0[0];

    let middle = &layers[layers.len() / 4..(layers.len() * 3).div_ceil(4)];
    let candidates = [vec![best_layer], middle.to_vec(), layers.clone()].map(|layers| Candidate {
        alphas: LADDER.iter().map(|alpha| round_2(alpha / (layers.len() as f64).sqrt())).collect(),
        layers,
    });
    progress.stage("choosing alpha", texts.len());
    let doses: Vec<(Vec<usize>, f64)> =
        candidates.iter().flat_map(|it| it.alphas.iter().map(|alpha| (it.layers.clone(), *alpha))).collect();
    let likelihoods = measure(model, vector, &texts, &doses, progress)?;
    let (layers, alpha) = doses[best(&likelihoods)].clone();
    Ok(Recommendation {
        margin: margin(model, vector, &texts, &layers, alpha)?,
        layers,
        alpha,
        best_layer,
        measured_on: heldout.name.clone(),
        n_contrasts: contrasts.len(),
    })
}

/// For every dose, the mean per-token log-probability of positive answers at +alpha and of negative
/// answers at −alpha.
fn measure(
    model: &Model,
    vector: &PersonaVector,
    texts: &[Text],
    doses: &[(Vec<usize>, f64)],
    progress: &dyn Progress,
) -> Result<Vec<f64>, Error> {
    let steerings: Vec<[Steering; 2]> = doses
        .iter()
        .map(|(layers, alpha)| {
            let dose = Dose { vector, alpha: *alpha, unit: Unit::Gap, layers: layers.clone() };
            Ok([combine(from_ref(&dose), 1.0)?, combine(from_ref(&dose), -1.0)?])
        })
        .collect::<Result<_, Error>>()?;
    let mut totals = vec![0.0; doses.len()];
    let lens: Vec<usize> = texts.iter().map(|text| text.ids.len()).collect();
    for pass in passes(&lens, 1) {
        let replay = Replay::new(model, &ids(&texts[pass.clone()]))?;
        for (total, [towards, away]) in totals.iter_mut().zip(&steerings) {
            // Even texts are positive answers, odd ones negative.
            let side = |text: usize| if text.is_multiple_of(2) { towards } else { away };
            let copies: Vec<_> = pass.clone().map(|text| (text - pass.start, side(text).clone())).collect();
            let scores = score(model, &replay, &texts[pass.clone()], &copies);
            *total += scores.iter().sum::<f64>();
        }
        progress.advance(pass.len())?;
    }
    Ok(totals.iter().map(|total| total / texts.len() as f64).collect())
}

/// Mean margin of positive over negative answers: unsteered, at +alpha, at −alpha.
fn margin(
    model: &Model,
    vector: &PersonaVector,
    texts: &[Text],
    layers: &[usize],
    alpha: f64,
) -> Result<[f64; 3], Error> {
    let dose = Dose { vector, alpha, unit: Unit::Gap, layers: layers.to_vec() };
    let steerings = [0.0, 1.0, -1.0].map(|factor| combine(from_ref(&dose), factor));
    let mut margins = [0.0; 3];
    let lens: Vec<usize> = texts.iter().map(|text| text.ids.len()).collect();
    for pass in passes(&lens, 1) {
        let replay = Replay::new(model, &ids(&texts[pass.clone()]))?;
        for (margin, steering) in margins.iter_mut().zip(&steerings) {
            let steering = steering.as_ref().map_err(|error| Error::Setting(error.to_string()))?;
            let copies: Vec<_> = (0..pass.len()).map(|text| (text, steering.clone())).collect();
            for (text, score) in pass.clone().zip(score(model, &replay, &texts[pass.clone()], &copies)) {
                *margin += if text.is_multiple_of(2) { score } else { -score };
            }
        }
    }
    Ok(margins.map(|margin| margin / (texts.len() / 2) as f64))
}

/// The mean log-probability per answer token of each copy.
fn score(model: &Model, replay: &Replay, texts: &[Text], copies: &[(usize, Steering)]) -> Vec<f64> {
    let resid = replay.run(copies, &mut NoTap);
    let mut wanted = Vec::new(); // (row, token it should predict, copy)
    let mut start = 0;
    for (copy, (text, _)) in copies.iter().enumerate() {
        let Text { ids, answer_at } = &texts[*text];
        wanted.extend((*answer_at..ids.len()).map(|at| (start + at - 1, ids[at], copy)));
        start += ids.len();
    }
    let mut sums = vec![(0.0, 0); copies.len()];
    for wanted in wanted.chunks(HEAD_ROWS) {
        let rows: Vec<usize> = wanted.iter().map(|(row, _, _)| *row).collect();
        let logits = model.logits(&resid, &rows);
        for (at, (_, token, copy)) in wanted.iter().enumerate() {
            sums[*copy].0 += log_softmax_at(logits.row(at), *token);
            sums[*copy].1 += 1;
        }
    }
    sums.into_iter().map(|(sum, n)| sum / f64::from(n)).collect()
}

fn ids(texts: &[Text]) -> Vec<&[u32]> {
    texts.iter().map(|text| &text.ids[..]).collect()
}

fn best(likelihoods: &[f64]) -> usize {
    (0..likelihoods.len()).fold(0, |best, i| if likelihoods[i] > likelihoods[best] { i } else { best })
}

/// At most `n` of the layers, evenly spaced.
fn evenly(layers: &[usize], n: usize) -> Vec<usize> {
    if layers.len() <= n {
        return layers.to_vec();
    }
    (0..n).map(|i| layers[i * (layers.len() - 1) / (n - 1)]).collect()
}

/// Two decimals: a recommendation is read by people.
fn round_2(x: f64) -> f64 {
    (x * 100.0).round() / 100.0
}
