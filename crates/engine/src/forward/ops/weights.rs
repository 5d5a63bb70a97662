//! Weights as the operations hold them: handles whose inside only the bodies know.

use whipstaff_kernels::{Activation, Matrix, Packed};

/// A matrix that products read, `[n_out, n_in]`.
pub(crate) enum Weight {
    Cpu(Packed),
}

/// Numbers of a norm or a bias.
#[derive(Clone)]
pub(crate) enum Vector {
    Cpu(Vec<f32>),
}

/// A matrix whose rows are looked up: the embedding, or the learned positions.
pub(crate) enum Table {
    Cpu(Matrix),
}

/// A linear layer: `[n_out, n_in]`, with or without a bias `[n_out]`.
pub(crate) struct Linear {
    pub(crate) weight: Weight,
    pub(crate) bias: Option<Vector>,
}

/// A norm, or none.
pub(crate) enum Norm {
    None,
    /// `x / rms(x) · weight`.
    Rms {
        weight: Vector,
        eps: f32,
    },
    /// `(x - mean(x)) / std(x) · weight + bias`.
    Layer {
        weight: Vector,
        bias: Vector,
        eps: f32,
    },
}

/// An MLP: `down(activation(up(x)))`, or with a gate `down(activation(gate(x)) · up(x))`.
pub(crate) struct Mlp {
    pub(crate) gate: Option<Linear>,
    pub(crate) up: Linear,
    pub(crate) down: Linear,
    pub(crate) activation: Activation,
}

/// A mixture of experts (Shazeer et al. 2017): each row goes to a few of many MLPs.
pub(crate) struct Experts {
    /// `[n_experts, d_model]`.
    pub(crate) router: Linear,
    pub(crate) mlps: Vec<Mlp>,
    pub(crate) per_token: usize,
    /// The weights of a token's experts add up to one.
    pub(crate) normalise: bool,
    /// The expert of every token, with its own gate `[1, d_model]`.
    pub(crate) shared: Option<(Linear, Mlp)>,
}

impl Vector {
    /// Returns as many zeros.
    fn zeros(&self) -> Vector {
        match self {
            Vector::Cpu(values) => Vector::Cpu(vec![0.0; values.len()]),
        }
    }
}

impl Norm {
    /// Returns the norm without epsilon and bias: what it makes of a row depends on the row's direction alone.
    pub(crate) fn of_directions(&self) -> Norm {
        match self {
            Norm::None => Norm::None,
            Norm::Rms { weight, .. } => Norm::Rms { weight: weight.clone(), eps: 0.0 },
            Norm::Layer { weight, bias, .. } => {
                Norm::Layer { weight: weight.clone(), bias: bias.zeros(), eps: 0.0 }
            }
        }
    }
}
