//! Rotary position embeddings: frequencies and their scaling (Su et al. 2021).

use crate::Rows;

/// The rotary embedding of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// The base of the geometric series of frequencies.
    pub theta: f64,
    /// How the frequencies are stretched for longer contexts.
    pub scaling: RopeScaling,
}

/// Ways to stretch the frequencies.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// None.
    Default,
    /// All frequencies divided by one factor.
    Linear {
        /// The factor.
        factor: f64,
    },
    /// Every pair of elements by a factor of its own, which the checkpoint holds.
    PerPair {
        /// One for each pair, `[head_dim / 2]`.
        factors: Vec<f64>,
    },
    /// Llama 3: long wavelengths divided by a factor, short ones kept, a ramp between.
    Llama3 {
        /// The factor for long wavelengths.
        factor: f64,
        /// Wavelengths above `original_max_positions / low_freq_factor` are long.
        low_freq_factor: f64,
        /// Wavelengths below `original_max_positions / high_freq_factor` are short.
        high_freq_factor: f64,
        /// The context the model was first trained with.
        original_max_positions: f64,
    },
}

impl Rope {
    /// The angle per position of each pair of elements, `[head_dim / 2]`. Rounded to `f32` where
    /// the reference implementation rounds.
    pub(crate) fn frequencies(&self, head_dim: usize) -> Vec<f32> {
        let base = |i: usize| {
            let exponent = (2 * i) as f32 / head_dim as f32;
            f64::from((1.0 / self.theta.powf(f64::from(exponent))) as f32)
        };
        (0..head_dim / 2).map(|i| self.scaling.apply(i, base(i)) as f32).collect()
    }
}

impl RopeScaling {
    /// The frequency that pair `pair` turns by instead of `frequency`.
    fn apply(&self, pair: usize, frequency: f64) -> f64 {
        match *self {
            RopeScaling::Default => frequency,
            RopeScaling::Linear { factor } => frequency / factor,
            RopeScaling::PerPair { ref factors } => frequency / factors[pair],
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_positions } => {
                let wavelength = std::f64::consts::TAU / frequency;
                if wavelength < original_max_positions / high_freq_factor {
                    frequency
                } else if wavelength > original_max_positions / low_freq_factor {
                    frequency / factor
                } else {
                    let turns = original_max_positions / wavelength;
                    let keep = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                    (1.0 - keep) * frequency / factor + keep * frequency
                }
            }
        }
    }
}

/// Cosines and sines for the positions of the rows of a batch, each `[n_rows, head_dim / 2]`.
pub(crate) struct RopeTable {
    pub(crate) cos: Rows,
    pub(crate) sin: Rows,
}

impl RopeTable {
    /// Fills in one row.
    pub(crate) fn set(&mut self, row: usize, position: usize, frequencies: &[f32]) {
        let (cos, sin) = (self.cos.row_mut(row), self.sin.row_mut(row));
        for ((cos, sin), frequency) in cos.iter_mut().zip(sin).zip(frequencies) {
            (*sin, *cos) = (position as f32 * frequency).sin_cos();
        }
    }
}
