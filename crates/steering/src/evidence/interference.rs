//! Interference: does a mix of vectors do what they do one by one?
//!
//! On held-out contrasts of a trait, the effect of each part alone and of the mix is measured as for the receipt:
//! half of the way that the margin moves from −dose to +dose, in nats per token. If parts did not get into each
//! other's way, the effect of the mix would be the sum of theirs; the interference is what it is beyond that.

use crate::contrasts::{ContrastSet, Frame, encode};
use crate::error::Error;
use crate::math::{RESAMPLES, Random, interval_of_mean, mean};
use crate::measure::Margins;
use crate::progress::Watch;
use crate::steer::{Dose, combine};
use whipstaff_engine::{Model, Steering, Tokenizer};

/// What parts and mix do on one contrast set.
#[derive(Clone, Debug, PartialEq)]
pub struct Interference {
    /// The contrast set.
    pub measured_on: String,
    /// Its contrasts that were used.
    pub n_contrasts: usize,
    /// The mean margin without steering, in nats per token.
    pub margin: f64,
    /// The effect of each part alone, in the order given.
    pub alone: Vec<Moved>,
    /// That of the mix.
    pub mix: Moved,
    /// That of the mix less the sum of those of its parts.
    pub interference: Moved,
}

/// How far something moves the margin, in nats per token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moved {
    /// The mean over contrasts.
    pub mean: f64,
    /// 95 % of it; `None` for fewer than four contrasts.
    pub interval: Option<[f64; 2]>,
}

/// Measures the doses `parts` alone and the dose `mix` on `heldout`, which none of the vectors should have been
/// fitted on. The same `seed` gives the same intervals.
///
/// # Errors
/// [`Error::Vector`] for a dose that its vector does not have; [`Error::TooLong`] and [`Error::Engine`] for texts
/// that the model cannot run; [`Error::Interrupted`].
#[allow(clippy::too_many_arguments)] // the model, what is measured, and what it is measured with
pub fn interference(
    model: &Model,
    tokenizer: &Tokenizer,
    frame: &Frame,
    parts: &[Dose<'_>],
    mix: &Dose<'_>,
    heldout: &ContrastSet,
    seed: u64,
    watch: &dyn Watch,
) -> Result<Interference, Error> {
    let ids = encode(tokenizer, frame, heldout, model.config().max_positions)?;
    let mut steerings = vec![Steering::default()];
    for dose in parts.iter().chain([mix]) {
        for factor in [1.0, -1.0] {
            steerings.push(combine(std::slice::from_ref(dose), factor)?);
        }
    }
    let margins = Margins::new(model, &ids);
    watch.stage("measuring the mix", margins.n_texts());
    let measured = margins.under(&steerings, watch)?;
    let half = |sides: &[Vec<f64>]| -> Vec<f64> {
        sides[0].iter().zip(&sides[1]).map(|(plus, minus)| (plus - minus) / 2.0).collect()
    };
    let mut effects: Vec<Vec<f64>> = measured[1..].chunks(2).map(half).collect();
    let of_mix = effects.pop().expect("the mix was measured");
    let beyond = |(i, effect): (usize, &f64)| effect - effects.iter().map(|alone| alone[i]).sum::<f64>();
    let beyond: Vec<f64> = of_mix.iter().enumerate().map(beyond).collect();
    let moved = |values: &Vec<f64>| Moved {
        mean: mean(values),
        interval: interval_of_mean(values, RESAMPLES, Random::new(seed)),
    };
    Ok(Interference {
        measured_on: heldout.name.clone(),
        n_contrasts: ids.len(),
        margin: mean(&measured[0]),
        alone: effects.iter().map(moved).collect(),
        mix: moved(&of_mix),
        interference: moved(&beyond),
    })
}
