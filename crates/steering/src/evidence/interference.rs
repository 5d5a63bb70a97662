//! Whether a mix of vectors does what its parts do one by one.
//!
//! On held-out contrasts of a trait, the effect of each part alone and of the mix is measured as for the receipt:
//! half of the way that the margin moves from −dose to +dose, in nats per token. If parts did not get into each
//! other's way, the effect of the mix would be the sum of the parts' effects. The interference is what it is beyond
//! that sum.

use crate::contrasts::ContrastSet;
use crate::error::Error;
use crate::math::{Estimate, mean};
use crate::measure::Bench;
use crate::steer::{Dose, combine};
use whipstaff_engine::Steering;

/// What parts and mix do on one contrast set. Estimates are in nats per token.
#[derive(Clone, Debug, PartialEq)]
pub struct Interference {
    /// The name of the contrast set.
    pub measured_on: String,
    /// The number of its contrasts that were used.
    pub n_contrasts: usize,
    /// The mean margin without steering, in nats per token.
    pub margin: f64,
    /// The effect of each part alone, in the order given.
    pub alone: Vec<Estimate>,
    /// The effect of the mix.
    pub mix: Estimate,
    /// The effect of the mix less the sum of the effects of its parts.
    pub interference: Estimate,
}

impl Bench<'_> {
    /// Measures the doses `parts` alone and the dose `mix` on `heldout`, which none of the vectors should have been
    /// fitted on. The same `seed` gives the same intervals.
    ///
    /// # Errors
    /// [`Error::Vector`] for a dose that its vector does not have; [`Error::TooLong`] and [`Error::Engine`] for
    /// texts that the model cannot run; [`Error::Interrupted`].
    pub fn interference(
        &self,
        parts: &[Dose<'_>],
        mix: &Dose<'_>,
        heldout: &ContrastSet,
        seed: u64,
    ) -> Result<Interference, Error> {
        let margins = self.margins(heldout)?;
        let mut steerings = vec![Steering::default()];
        for dose in parts.iter().chain([mix]) {
            for factor in [1.0, -1.0] {
                steerings.push(combine(std::slice::from_ref(dose), factor)?);
            }
        }
        self.watch.stage("measuring the mix", margins.n_texts());
        let measured = margins.under(&steerings, self.watch)?;
        let mut effects: Vec<Vec<f64>> = measured[1..].chunks(2).map(half_way).collect();
        let of_mix = effects.pop().expect("the mix was measured");
        let sum_of_parts = |contrast: usize| effects.iter().map(|alone| alone[contrast]).sum::<f64>();
        let beyond: Vec<f64> =
            of_mix.iter().enumerate().map(|(i, effect)| effect - sum_of_parts(i)).collect();
        Ok(Interference {
            measured_on: heldout.name.clone(),
            n_contrasts: margins.n_contrasts(),
            margin: mean(&measured[0]),
            alone: effects.iter().map(|effect| Estimate::of(effect, seed)).collect(),
            mix: Estimate::of(&of_mix, seed),
            interference: Estimate::of(&beyond, seed),
        })
    }
}

/// Returns half of the way from the margins at −dose to those at +dose, which come first.
fn half_way(sides: &[Vec<f64>]) -> Vec<f64> {
    sides[0].iter().zip(&sides[1]).map(|(plus, minus)| (plus - minus) / 2.0).collect()
}
