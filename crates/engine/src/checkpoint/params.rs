//! The parameters of a model: which there are, and their shapes. What a checkpoint calls them is in
//! `names.rs` and `gguf/tensors.rs`.

use crate::config::{Config, NormKind, QkNorm};
use smallvec::{SmallVec, smallvec};

/// A part of the model that has a weight, and perhaps a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Embedding,
    Positions,
    FinalNorm,
    Head,
    /// The norms of what attention reads, and of what it gives.
    AttnNorm,
    AttnPostNorm,
    Q,
    K,
    V,
    O,
    QNorm,
    KNorm,
    /// The norms of what the MLP reads, and of what it gives.
    MlpNorm,
    MlpPostNorm,
    /// The matrices of the MLP, or of one expert.
    Gate,
    Up,
    Down,
    Router,
    /// The matrices of the expert that every token goes to, and its own gate.
    SharedGate,
    SharedUp,
    SharedDown,
    SharedSwitch,
}

/// One parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Param {
    pub(crate) part: Part,
    /// The block, for parts of a block.
    pub(crate) layer: usize,
    /// The expert, for parts of one.
    pub(crate) expert: Option<usize>,
    pub(crate) is_bias: bool,
}

/// `[n_out, n_in]`, or `[n_out]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) n_out: usize,
    pub(crate) n_in: Option<usize>,
}

impl Shape {
    pub(crate) fn n_elements(self) -> usize {
        self.n_out * self.n_in.unwrap_or(1)
    }

    /// Returns the shape as a checkpoint states it.
    pub(crate) fn dims(self) -> SmallVec<[usize; 2]> {
        match self.n_in {
            Some(n_in) => smallvec![self.n_out, n_in],
            None => smallvec![self.n_out],
        }
    }
}

impl Param {
    pub(crate) fn weight(part: Part, layer: usize) -> Param {
        Param { part, layer, expert: None, is_bias: false }
    }

    pub(crate) fn of_expert(self, expert: Option<usize>) -> Param {
        Param { expert, ..self }
    }

    pub(crate) fn bias(self) -> Param {
        Param { is_bias: true, ..self }
    }

    /// Returns the shape that the blueprint gives the parameter.
    pub(crate) fn shape(self, config: &Config) -> Shape {
        let (d, vocab) = (config.d_model, config.vocab_size);
        let (q, kv) = (config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim);
        let experts = config.experts.as_ref();
        let ff = match self.expert {
            Some(_) => experts.map_or(0, |it| it.d_ff),
            None => config.d_ff,
        };
        let shared = experts.and_then(|it| it.shared_d_ff).unwrap_or(0);
        let matrix = |n_out, n_in| Shape { n_out, n_in: Some(n_in) };
        let vector = |n_out| Shape { n_out, n_in: None };
        let weight = match self.part {
            Part::Embedding | Part::Head => matrix(vocab, d),
            Part::Positions => matrix(config.max_positions, d),
            Part::FinalNorm | Part::AttnNorm | Part::AttnPostNorm | Part::MlpNorm | Part::MlpPostNorm => {
                vector(d)
            }
            Part::Q => matrix(q, d),
            Part::K | Part::V => matrix(kv, d),
            Part::O => matrix(d, q),
            Part::QNorm if config.qk_norm == Some(QkNorm::Whole) => vector(q),
            Part::KNorm if config.qk_norm == Some(QkNorm::Whole) => vector(kv),
            Part::QNorm | Part::KNorm => vector(config.head_dim),
            Part::Gate | Part::Up => matrix(ff, d),
            Part::Down => matrix(d, ff),
            Part::Router => matrix(experts.map_or(0, |it| it.n), d),
            Part::SharedGate | Part::SharedUp => matrix(shared, d),
            Part::SharedDown => matrix(d, shared),
            Part::SharedSwitch => matrix(1, d),
        };
        if self.is_bias { vector(weight.n_out) } else { weight }
    }

    /// Returns true if there is a bias beside the weight.
    pub(crate) fn is_biased(self, config: &Config) -> bool {
        match self.part {
            Part::FinalNorm | Part::AttnNorm | Part::AttnPostNorm | Part::MlpNorm | Part::MlpPostNorm => {
                config.norm == NormKind::Layer
            }
            Part::Q | Part::K | Part::V => config.qkv_bias,
            Part::O => config.o_bias,
            Part::Gate | Part::Up | Part::Down => config.mlp_bias,
            _ => false,
        }
    }
}

/// Lists every parameter that a blueprint asks for, with its shape.
pub(crate) fn parameters(config: &Config) -> Vec<(Param, Shape)> {
    let mut params = Vec::new();
    let mut push = |param: Param| {
        params.push((param, param.shape(config)));
        if param.is_biased(config) {
            params.push((param.bias(), param.bias().shape(config)));
        }
    };
    push(Param::weight(Part::Embedding, 0));
    if config.learned_positions {
        push(Param::weight(Part::Positions, 0));
    }
    push(Param::weight(Part::FinalNorm, 0));
    if !config.tied_embeddings {
        push(Param::weight(Part::Head, 0));
    }
    for layer in 0..config.n_layers {
        parts_of_block(config, layer).into_iter().for_each(|part| push(Param::weight(part, layer)));
        if let (Some(experts), true) = (&config.experts, config.layers[layer].routed) {
            for expert in 0..experts.n {
                for part in [Part::Gate, Part::Up, Part::Down] {
                    push(Param::weight(part, layer).of_expert(Some(expert)));
                }
            }
        }
    }
    params
}

/// Returns the number of weights of a model, by shape.
pub fn n_parameters(config: &Config) -> usize {
    parameters(config).iter().map(|(_, shape)| shape.n_elements()).sum()
}

/// Lists the parts of a block, without the parts of its experts.
fn parts_of_block(config: &Config, layer: usize) -> Vec<Part> {
    let mut parts = vec![Part::Q, Part::K, Part::V, Part::O];
    if config.norm_places.before() {
        parts.extend([Part::AttnNorm, Part::MlpNorm]);
    }
    if config.norm_places.after() {
        parts.extend([Part::AttnPostNorm, Part::MlpPostNorm]);
    }
    if config.qk_norm.is_some() {
        parts.extend([Part::QNorm, Part::KNorm]);
    }
    match config.experts {
        Some(experts) if config.layers[layer].routed => {
            parts.push(Part::Router);
            if experts.shared_d_ff.is_some() {
                parts.extend([Part::SharedGate, Part::SharedUp, Part::SharedDown, Part::SharedSwitch]);
            }
        }
        _ => {
            parts.extend([Part::Up, Part::Down]);
            if config.gated {
                parts.push(Part::Gate);
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn parameters_are_counted_by_shape() {
        let json = r#"{"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
            "intermediate_size": 128, "vocab_size": 100}"#;
        let config = Config::parse(json, None, Path::new("m")).unwrap();
        let block = 4 * 64 * 64 + 3 * 64 * 128 + 2 * 64;
        assert_eq!(n_parameters(&config), 2 * 100 * 64 + 2 * block + 64);
    }
}
