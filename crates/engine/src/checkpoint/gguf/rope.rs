//! Rotary embeddings as a GGUF file describes them.

use super::file::Gguf;
use super::keys::Keys;
use crate::config::family::{Family, Positions, Windows};
use crate::config::{Rope, RopeScaling};
use crate::error::Error;
use whipstaff_kernels::Matrix;

/// Factors of each pair, for short and for long texts.
pub(super) const SHORT: &str = "rope_factors_short.weight";
pub(super) const LONG: &str = "rope_factors_long.weight";

/// Factors of each pair, whatever the length.
pub(super) const PER_PAIR: &str = "rope_freqs.weight";

impl Gguf {
    /// Reads the ropes of a model: none, one, or a second for the layers that see a window.
    pub(super) fn ropes(
        &self,
        keys: &Keys,
        family: &Family,
        head_dim: usize,
        max_positions: usize,
    ) -> Result<Vec<Rope>, Error> {
        if family.positions == Positions::Learned {
            return Ok(Vec::new());
        }
        let dim = keys.optional_size("rope.dimension_count")?.unwrap_or(head_dim);
        let theta = keys.positive("rope.freq_base")?.unwrap_or(10_000.0);
        let mut ropes = vec![Rope { theta, dim, scaling: self.scaling(keys, family, dim, max_positions)? }];
        if let Windows::AllButEvery { rope_local: true, .. } = family.windows {
            let theta = keys.positive("rope.freq_base_swa")?.unwrap_or(10_000.0);
            ropes.push(Rope { theta, dim, scaling: RopeScaling::Default });
        }
        Ok(ropes)
    }

    /// Reads the scaling: a factor for all frequencies, or factors for each pair where the file has them.
    fn scaling(
        &self,
        keys: &Keys,
        family: &Family,
        dim: usize,
        max_positions: usize,
    ) -> Result<RopeScaling, Error> {
        let original = keys.optional_size("rope.scaling.original_context_length")?;
        let original_max_positions = original.unwrap_or(max_positions) as f64;
        let has_lengths = family.defaults.original_max_positions.is_some();
        if has_lengths && (self.tensors.contains_key(SHORT) || self.tensors.contains_key(LONG)) {
            return Ok(RopeScaling::LongRope {
                short_factors: self.factors(SHORT, dim)?,
                long_factors: self.factors(LONG, dim)?,
                attention_factor: keys.positive("rope.scaling.attn_factor")?.unwrap_or(1.0),
                original_max_positions,
            });
        }
        // A factor without a type is linear, as in files older than the type.
        let kind = keys.metadata.text(&keys.name("rope.scaling.type"))?.unwrap_or("linear");
        let factor = keys.not_negative("rope.scaling.factor")?;
        let factor = factor.map_or_else(|| keys.not_negative("rope.scale_linear"), |it| Ok(Some(it)))?;
        let factor = factor.filter(|factor| *factor != 0.0 && kind != "none").unwrap_or(1.0);
        let has_per_pair = self.tensors.contains_key(PER_PAIR);
        Ok(match kind {
            "none" | "linear" if has_per_pair => {
                let factors = self.factors(PER_PAIR, dim)?;
                RopeScaling::PerPair { factors: factors.into_iter().map(|it| it * factor).collect() }
            }
            "none" | "linear" if factor == 1.0 => RopeScaling::Default,
            "linear" => RopeScaling::Linear { factor },
            "yarn" if !has_per_pair => RopeScaling::Yarn {
                factor,
                attention_factor: 1.0 + 0.1 * factor.max(1.0).ln(),
                beta_fast: keys.positive("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0),
                beta_slow: keys.positive("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
                truncate: true,
                original_max_positions,
            },
            other => {
                let what = format!("is `{other}`, which is not supported (supported: none, linear, yarn)");
                return Err(keys.wrong("rope.scaling.type", &what));
            }
        })
    }

    /// Reads a tensor of one positive factor for each pair, `[dim / 2]`.
    fn factors(&self, name: &str, dim: usize) -> Result<Vec<f64>, Error> {
        let wrong = |what: &str| Error::malformed(&self.path, format!("tensor `{name}` {what}"));
        let tensor = self.tensors.get(name).ok_or_else(|| wrong("is missing"))?;
        let dtype = tensor.dtype.clone().map_err(|kind| wrong(&format!("is {kind}")))?;
        if tensor.shape != [dim / 2] {
            return Err(wrong(&format!("is {:?}, the head asks for [{}]", tensor.shape, dim / 2)));
        }
        let factors = Matrix::new(self.bytes_of(tensor), tensor.range.clone(), dtype, 1, dim / 2);
        let factors = factors.map_err(|error| wrong(&format!("{error:?}")))?.to_f32();
        if !factors.iter().all(|factor| factor.is_finite() && *factor > 0.0) {
            return Err(wrong("has factors that are not positive numbers"));
        }
        Ok(factors.into_iter().map(f64::from).collect())
    }
}
