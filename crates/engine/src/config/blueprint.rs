//! The blueprint of a model: sizes, and the facts in which families differ.

use super::angles::Rope;
use whipstaff_kernels::Activation;

/// Deeper than any model; a config that claims more would make us list its tensors for hours.
pub(crate) const MAX_LAYERS: usize = 10_000;

/// Far above any model, and low enough that products of two sizes cannot overflow.
pub(crate) const MAX_SIZE: usize = 1 << 31;

/// The shape and the constants of a decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `model_type`.
    pub family: String,
    /// Width of the residual stream (`hidden_size`).
    pub d_model: usize,
    /// Number of decoder blocks (`num_hidden_layers`).
    pub n_layers: usize,
    /// Query heads (`num_attention_heads`).
    pub n_heads: usize,
    /// Key and value heads (`num_key_value_heads`).
    pub n_kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Width inside the MLP (`intermediate_size`).
    pub d_ff: usize,
    /// Entries of the vocabulary.
    pub vocab_size: usize,
    /// Longest context (`max_position_embeddings`).
    pub max_positions: usize,
    /// What differs from layer to layer, `[n_layers]`.
    pub layers: Vec<LayerKind>,
    /// The rotary embeddings that layers refer to.
    pub ropes: Vec<Rope>,
    /// A learned vector for each position is added to the embedding.
    pub learned_positions: bool,
    /// What the embedding is multiplied by.
    pub embedding_scale: f32,
    /// The kind of norm.
    pub norm: NormKind,
    /// Epsilon of the norms.
    pub norm_eps: f32,
    /// Where in a block norms are.
    pub norm_places: NormPlaces,
    /// A norm of queries and keys.
    pub qk_norm: Option<QkNorm>,
    /// Scores `s` of attention become `cap · tanh(s / cap)`.
    pub attention_soft_cap: Option<f32>,
    /// q, k and v projections have biases.
    pub qkv_bias: bool,
    /// The o projection has a bias.
    pub o_bias: bool,
    /// The function inside the MLP.
    pub activation: Activation,
    /// The MLP has a gate.
    pub gated: bool,
    /// The projections of the MLP have biases.
    pub mlp_bias: bool,
    /// The experts of the layers that have them.
    pub experts: Option<Experts>,
    /// The MLP reads what attention reads, not what attention has added to.
    pub parallel: bool,
    /// What attention and MLP add is multiplied by it.
    pub residual_scale: f32,
    /// What logits are divided by.
    pub logit_divisor: f32,
    /// Logits `x` become `cap · tanh(x / cap)`.
    pub logit_soft_cap: Option<f32>,
    /// The head shares the embedding's matrix.
    pub tied_embeddings: bool,
    /// Token put in front of a text, if any.
    pub bos_token: Option<u32>,
    /// Tokens that end a generation: those of `generation_config.json`, else of `config.json`.
    pub eos_tokens: Vec<u32>,
}

/// What one layer has that another may have not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerKind {
    /// Positions that a row sees at most, itself included; all, if there is no window.
    pub window: Option<usize>,
    /// Which of [`Config::ropes`] rotates queries and keys.
    pub rope: Option<usize>,
    /// Factor on attention's scores, usually `1 / sqrt(head_dim)`.
    pub scale: f32,
    /// Its MLP is experts.
    pub routed: bool,
}

/// Kinds of norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// `x / rms(x) · weight` (Zhang & Sennrich 2019).
    Rms,
    /// `x / rms(x) · (1 + weight)`.
    RmsPlusOne,
    /// `(x - mean(x)) / std(x) · weight + bias` (Ba, Kiros & Hinton 2016).
    Layer,
}

/// Where norms are: of what attention and MLP read, of what they give, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormPlaces {
    /// Of what they read.
    Before,
    /// Of what they give.
    After,
    /// Both.
    Both,
}

/// A norm of queries and keys, before they are rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QkNorm {
    /// Of each head.
    Heads,
    /// Of all heads of a row together.
    Whole,
}

/// A mixture of experts: each token goes to a few of many MLPs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Experts {
    /// How many there are.
    pub n: usize,
    /// How many a token goes to.
    pub per_token: usize,
    /// Width inside one.
    pub d_ff: usize,
    /// The weights of a token's experts are made to add up to one.
    pub normalise: bool,
    /// Width inside one that every token goes to, under a gate of its own.
    pub shared_d_ff: Option<usize>,
}

impl NormPlaces {
    /// Returns true if what attention and MLP read is normed.
    pub fn before(self) -> bool {
        self != NormPlaces::After
    }

    /// Returns true if what attention and MLP give is normed.
    pub fn after(self) -> bool {
        self != NormPlaces::Before
    }
}
