//! Rotary position embeddings: frequencies and their scaling (Su et al. 2021).

use std::borrow::Cow;

/// The rotary embedding of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// The base of the geometric series of frequencies.
    pub theta: f64,
    /// How many elements of a head, from its first, are rotated.
    pub dim: usize,
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
    /// A larger base for sessions longer than the context the model was trained with.
    Dynamic {
        /// How much longer contexts may be.
        factor: f64,
        /// The context the model was trained with.
        original_max_positions: f64,
    },
    /// Every pair of elements by a factor of its own, which the checkpoint holds.
    PerPair {
        /// One for each pair, `[dim / 2]`.
        factors: Vec<f64>,
    },
    /// YaRN: pairs that turn slowly divided by a factor, fast ones kept, a ramp over pairs between
    /// (Peng et al. 2023).
    Yarn {
        /// The factor for slow pairs.
        factor: f64,
        /// What cosines and sines are multiplied by.
        attention_factor: f64,
        /// Turns within the original context above which a pair is fast.
        beta_fast: f64,
        /// Turns below which it is slow.
        beta_slow: f64,
        /// The ramp begins and ends at whole pairs.
        truncate: bool,
        /// The context the model was first trained with.
        original_max_positions: f64,
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
    /// LongRoPE: a factor for each pair, others for sessions longer than the original context
    /// (Ding et al. 2024).
    LongRope {
        /// For sessions within the original context, `[dim / 2]`.
        short_factors: Vec<f64>,
        /// For longer ones, `[dim / 2]`.
        long_factors: Vec<f64>,
        /// What cosines and sines are multiplied by.
        attention_factor: f64,
        /// The context the model was first trained with.
        original_max_positions: f64,
    },
}

/// The angle per position of each pair of elements, for sessions of any length.
pub(crate) struct Frequencies {
    rope: Rope,
    within: Vec<f32>,
    /// What cosines and sines are multiplied by.
    scale: f32,
}

/// Returns true if the two are equal but for the rounding of `f32`.
pub(crate) fn is_close(a: f32, b: f32) -> bool {
    (a - b).abs() <= 1e-6 * a.abs()
}

impl Rope {
    /// Returns everything about the rope that does not depend on positions.
    pub(crate) fn frequencies(&self) -> Frequencies {
        let scale = match self.scaling {
            RopeScaling::Yarn { attention_factor, .. } | RopeScaling::LongRope { attention_factor, .. } => {
                attention_factor as f32
            }
            _ => 1.0,
        };
        Frequencies { rope: self.clone(), within: self.frequencies_for(0), scale }
    }

    /// Returns what each pair's frequency is divided by, in sessions that begin with nothing.
    pub(crate) fn factors(&self) -> Vec<f32> {
        let plain = Rope { scaling: RopeScaling::Default, ..self.clone() };
        let pairs = plain.frequencies_for(0).into_iter().zip(self.frequencies_for(0));
        pairs.map(|(plain, scaled)| (f64::from(plain) / f64::from(scaled)) as f32).collect()
    }

    /// Gives the same angles as the other but for the rounding of `f32`, in sessions of any length.
    pub(crate) fn is_nearly(&self, other: &Rope) -> bool {
        let same = |reach: usize| {
            let (a, b) = (self.frequencies_for(reach), other.frequencies_for(reach));
            a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| is_close(*a, *b))
        };
        let beyond = self.limit().map_or(0, |limit| limit as usize + 1);
        self.dim == other.dim
            && self.limit() == other.limit()
            && is_close(self.frequencies().scale, other.frequencies().scale)
            && same(0)
            && same(beyond)
    }

    /// Returns the longest context of a model whose config says `max` positions. Files that were stretched after
    /// training say the length before.
    pub(crate) fn reach(&self, max: usize) -> usize {
        let stretched = match self.scaling {
            RopeScaling::Dynamic { factor, .. } | RopeScaling::Linear { factor } => max as f64 * factor,
            RopeScaling::Yarn { factor, original_max_positions, .. } => original_max_positions * factor,
            _ => 0.0,
        };
        max.max(stretched as usize)
    }

    /// Returns the length up to which sessions share one set of frequencies.
    fn limit(&self) -> Option<f64> {
        match self.scaling {
            RopeScaling::Dynamic { original_max_positions, .. }
            | RopeScaling::LongRope { original_max_positions, .. } => Some(original_max_positions),
            _ => None,
        }
    }

    /// Returns the angles per position of each pair, `[n_pairs]`, in sessions that begin with `reach` tokens.
    ///
    /// Every step is in `f32`, in the order of the reference implementation: one bit of a frequency is an
    /// angle that grows with the position, which at the end of a long text shows in the scores. So scalars
    /// divided by a tensor are its reciprocals times the scalar there.
    fn frequencies_for(&self, reach: usize) -> Vec<f32> {
        let pairs = 0..self.dim.div_ceil(2);
        let dim = self.dim as f64;
        let power = |theta: f32, pair: usize| {
            let exponent = (2 * pair) as f32 / self.dim as f32;
            f64::from(theta).powf(f64::from(exponent)) as f32
        };
        let theta = self.theta as f32;
        let base = |pair: usize| 1.0 / power(theta, pair);
        let is_long = self.limit().is_some_and(|limit| reach as f64 > limit);
        match &self.scaling {
            RopeScaling::Default => pairs.map(base).collect(),
            RopeScaling::Linear { factor } => pairs.map(|pair| base(pair) / *factor as f32).collect(),
            RopeScaling::PerPair { factors } => {
                pairs.map(|pair| (f64::from(base(pair)) / factors[pair]) as f32).collect()
            }
            RopeScaling::Dynamic { factor, original_max_positions } if is_long => {
                let length = *factor as f32 * reach as f32 / *original_max_positions as f32;
                let stretch = f64::from(length - (factor - 1.0) as f32).powf(dim / (dim - 2.0));
                let theta = theta * stretch as f32;
                pairs.map(|pair| 1.0 / power(theta, pair)).collect()
            }
            RopeScaling::Dynamic { .. } => pairs.map(base).collect(),
            RopeScaling::LongRope { short_factors, long_factors, .. } => {
                let factors = if is_long { long_factors } else { short_factors };
                pairs.map(|pair| 1.0 / (factors[pair] as f32 * power(theta, pair))).collect()
            }
            RopeScaling::Yarn { factor, beta_fast, beta_slow, truncate, original_max_positions, .. } => {
                // The pair that turns `turns` times within the original context.
                let pair_of = |turns: f64| {
                    dim * (original_max_positions / (turns * std::f64::consts::TAU)).ln()
                        / (2.0 * self.theta.ln())
                };
                let (low, high) = (pair_of(*beta_fast), pair_of(*beta_slow));
                let (low, high) = if *truncate { (low.floor(), high.ceil()) } else { (low, high) };
                let (low, high) = (low.max(0.0), high.min(dim - 1.0));
                let high = if low == high { high + 0.001 } else { high };
                let frequency = |pair: usize| {
                    let slow = ((pair as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
                    let keep = 1.0 - slow;
                    let stretched = 1.0 / (*factor as f32 * power(theta, pair));
                    stretched * (1.0 - keep) + base(pair) * keep
                };
                pairs.map(frequency).collect()
            }
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_positions } => {
                let frequency = |pair: usize| {
                    let frequency = base(pair);
                    let wavelength = 1.0 / frequency * std::f64::consts::TAU as f32;
                    if wavelength < (original_max_positions / high_freq_factor) as f32 {
                        frequency
                    } else if wavelength > (original_max_positions / low_freq_factor) as f32 {
                        frequency / *factor as f32
                    } else {
                        let turns = 1.0 / wavelength * *original_max_positions as f32;
                        let keep =
                            (turns - *low_freq_factor as f32) / (high_freq_factor - low_freq_factor) as f32;
                        (1.0 - keep) * frequency / *factor as f32 + keep * frequency
                    }
                };
                pairs.map(frequency).collect()
            }
        }
    }
}

impl Frequencies {
    /// Returns how many pairs are rotated.
    pub(crate) fn n_pairs(&self) -> usize {
        self.within.len()
    }

    /// Returns what cosines and sines are multiplied by.
    pub(crate) fn scale(&self) -> f32 {
        self.scale
    }

    /// Returns true if a session's length decides which angles it gets.
    pub(crate) fn depend_on_length(&self) -> bool {
        self.rope.limit().is_some()
    }

    /// Returns the angle per position of each pair in a session that begins with `reach` tokens.
    pub(crate) fn of(&self, reach: usize) -> Cow<'_, [f32]> {
        match self.rope.limit() {
            Some(limit) if reach as f64 > limit => Cow::Owned(self.rope.frequencies_for(reach)),
            _ => Cow::Borrowed(&self.within),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares the frequencies of eight pairs, in sessions that begin with `reach` tokens, with the bits that
    /// transformers 4.57.6 gives with torch.
    fn check(theta: f64, scaling: RopeScaling, reach: usize, want: [u32; 8]) {
        let rope = Rope { theta, dim: 16, scaling };
        let got: Vec<u32> = rope.frequencies_for(reach).into_iter().map(f32::to_bits).collect();
        assert_eq!(got, want, "{rope:?}");
    }

    #[test]
    fn frequencies_are_those_of_transformers_to_the_bit() {
        let default =
            [0x3f800000, 0x3ea1e89b, 0x3dcccccd, 0x3d0186e3, 0x3c23d70a, 0x3b4f3e38, 0x3a83126f, 0x39a5cb60];
        check(1e4, RopeScaling::Default, 0, default);
        let linear =
            [0x3e8a60dd, 0x3d44dc3f, 0x3c0c0772, 0x3ac7356a, 0x398db310, 0x384995c1, 0x370f63c7, 0x35cbfd5b];
        check(1e6, RopeScaling::Linear { factor: 3.7 }, 0, linear);
        let llama3 = RopeScaling::Llama3 {
            factor: 32.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_positions: 8192.0,
        };
        let bits =
            [0x3f800000, 0x3e4693b0, 0x3d1a08c8, 0x3beef74f, 0x39e13620, 0x370fc8f8, 0x35df10c4, 0x34ad07a7];
        check(5e5, llama3, 0, bits);
        let yarn = RopeScaling::Yarn {
            factor: 4.0,
            attention_factor: 1.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
            truncate: true,
            original_max_positions: 32768.0,
        };
        let bits =
            [0x3f800000, 0x3e361887, 0x3d0186e3, 0x3b8a3375, 0x3a03126f, 0x383a7753, 0x3704a2b2, 0x35bcb0c1];
        check(1e6, yarn, 0, bits);
        let longrope = RopeScaling::LongRope {
            short_factors: vec![1.1, 1.3, 1.7, 2.1, 2.3, 2.9, 3.1, 3.7],
            long_factors: vec![1.0; 8],
            attention_factor: 1.0,
            original_max_positions: 64.0,
        };
        check(1e4, longrope.clone(), 65, default);
        let bits =
            [0x3f68ba2e, 0x3e791716, 0x3d70f0f1, 0x3c76b7c8, 0x3b8e7835, 0x3a8eed1e, 0x39a9200b, 0x38b33cbb];
        check(1e4, longrope, 64, bits);
        let dynamic = RopeScaling::Dynamic { factor: 3.0, original_max_positions: 64.0 };
        check(1e4, dynamic.clone(), 64, default);
        let bits =
            [0x3f800000, 0x3e736852, 0x3d676f36, 0x3c5c0cdf, 0x3b5139e4, 0x3a46ef36, 0x393d2620, 0x3833d844];
        check(1e4, dynamic, 200, bits);
    }
}
