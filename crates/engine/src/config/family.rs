//! The families: one row of facts each, as transformers has them. What a config file may leave out is
//! in the row's defaults; what it says wins.

use super::angles::{Rope, RopeScaling};
use super::blueprint::{Config, LayerKind, NormKind, NormPlaces, QkNorm};
use whipstaff_kernels::Activation;

/// Lists the values of `model_type` that [`Config::parse`] accepts.
pub fn families() -> Vec<&'static str> {
    FAMILIES.iter().map(|family| family.name).collect()
}

/// What is known of a family before its config is read.
pub(crate) struct Family {
    /// `model_type`.
    pub(crate) name: &'static str,
    pub(crate) norm: NormKind,
    pub(crate) places: NormPlaces,
    pub(crate) qk_norm: Option<QkNorm>,
    /// The MLP has a gate.
    pub(crate) gated: bool,
    /// The embedding is multiplied by the root of its width.
    pub(crate) scales_embedding: bool,
    /// The MLP reads what attention reads.
    pub(crate) parallel: bool,
    pub(crate) positions: Positions,
    pub(crate) biases: Biases,
    pub(crate) windows: Windows,
    pub(crate) experts: Option<ExpertFields>,
    pub(crate) defaults: Defaults,
    /// How the config spells fields that others spell differently.
    pub(crate) spelling: &'static [(&'static str, &'static str)],
    /// Fields that are read beyond those of every family.
    pub(crate) fields: &'static [&'static str],
}

/// How a model knows where a token stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Positions {
    /// Rotary, over all of a head.
    Rotary,
    /// Rotary, over the first part of a head that the config names.
    PartlyRotary,
    /// A learned vector is added to the embedding.
    Learned,
}

/// Which linear layers have biases.
#[derive(Clone, Copy)]
pub(crate) enum Biases {
    /// The layers that the flags `attention_bias` and `mlp_bias` name, where the family has the flag.
    Flags { attention: Option<bool>, mlp: Option<bool> },
    /// Query, key and value, unless `qkv_bias` says otherwise.
    Qkv,
    /// The MLP's layers always, attention's by flag.
    MlpAndFlag { attention: bool },
    /// All.
    All,
}

/// Which layers see a window only.
#[derive(Clone, Copy)]
pub(crate) enum Windows {
    /// None.
    None,
    /// All, if there is a `sliding_window`.
    Every,
    /// All, if `use_sliding_window` says so and there is a `sliding_window`.
    EveryIfUsed,
    /// The layers from `max_window_layers` on, under the same condition.
    UpperIfUsed,
    /// The layers without rope, under the same condition.
    UnrotatedIfUsed,
    /// All but every n-th, and those that see a window have a rope of their own if `rope_local`.
    AllButEvery { n: usize, rope_local: bool },
}

/// How experts are described.
#[derive(Clone, Copy)]
pub(crate) struct ExpertFields {
    /// Field of the number of experts, and of how many each token goes to; with defaults.
    pub(crate) n: (&'static str, usize),
    pub(crate) per_token: usize,
    /// Field of the width of an expert.
    pub(crate) d_ff: (&'static str, usize),
    /// Width of an expert beside them, under its own gate.
    pub(crate) shared_d_ff: Option<usize>,
    /// Whether the weights of the chosen experts are made to add up to one; `None`: the config says.
    pub(crate) normalise: Option<bool>,
}

/// What a config means where it says nothing.
#[derive(Clone, Copy)]
pub(crate) struct Defaults {
    /// `None`: as many as query heads.
    pub(crate) n_kv_heads: Option<usize>,
    /// `None`: `d_model / n_heads`.
    pub(crate) head_dim: Option<usize>,
    pub(crate) max_positions: usize,
    pub(crate) norm_eps: f64,
    pub(crate) theta: f64,
    /// The part of a head that is rotated.
    pub(crate) rotary: f64,
    pub(crate) activation: Activation,
    pub(crate) tied: bool,
    pub(crate) window: Option<usize>,
    /// What the score is divided by the root of, and the soft caps of scores and logits.
    pub(crate) query_scalar: Option<f64>,
    pub(crate) attention_soft_cap: Option<f64>,
    pub(crate) logit_soft_cap: Option<f64>,
    /// Where rope of kind `longrope` changes from short to long.
    pub(crate) original_max_positions: Option<usize>,
}

const LLAMA: Family = Family {
    name: "llama",
    norm: NormKind::Rms,
    places: NormPlaces::Before,
    qk_norm: None,
    gated: true,
    scales_embedding: false,
    parallel: false,
    positions: Positions::Rotary,
    biases: Biases::Flags { attention: Some(false), mlp: Some(false) },
    windows: Windows::None,
    experts: None,
    defaults: Defaults {
        n_kv_heads: None,
        head_dim: None,
        max_positions: 2048,
        norm_eps: 1e-6,
        theta: 10_000.0,
        rotary: 1.0,
        activation: Activation::Silu,
        tied: false,
        window: None,
        query_scalar: None,
        attention_soft_cap: None,
        logit_soft_cap: None,
        original_max_positions: None,
    },
    spelling: &[],
    fields: &[],
};

/// Llama's, as Mistral has them.
const MISTRAL: Family = Family {
    name: "mistral",
    biases: Biases::Flags { attention: None, mlp: None },
    windows: Windows::Every,
    defaults: Defaults { n_kv_heads: Some(8), max_positions: 131_072, window: Some(4096), ..LLAMA.defaults },
    fields: &["sliding_window"],
    ..LLAMA
};

const QWEN2: Family = Family {
    name: "qwen2",
    biases: Biases::Qkv,
    windows: Windows::UpperIfUsed,
    defaults: Defaults { n_kv_heads: Some(32), max_positions: 32_768, window: Some(4096), ..LLAMA.defaults },
    fields: &["use_sliding_window", "sliding_window", "max_window_layers", "layer_types"],
    ..LLAMA
};

const QWEN3: Family = Family {
    name: "qwen3",
    qk_norm: Some(QkNorm::Heads),
    biases: Biases::Flags { attention: Some(false), mlp: None },
    defaults: Defaults { head_dim: Some(128), ..QWEN2.defaults },
    ..QWEN2
};

const GEMMA: Family = Family {
    name: "gemma",
    norm: NormKind::RmsPlusOne,
    scales_embedding: true,
    biases: Biases::Flags { attention: Some(false), mlp: None },
    defaults: Defaults {
        n_kv_heads: Some(16),
        head_dim: Some(256),
        max_positions: 8192,
        activation: Activation::GeluTanh,
        tied: true,
        ..LLAMA.defaults
    },
    fields: &["hidden_activation"],
    ..LLAMA
};

const GEMMA2: Family = Family {
    name: "gemma2",
    places: NormPlaces::Both,
    windows: Windows::AllButEvery { n: 2, rope_local: false },
    defaults: Defaults {
        n_kv_heads: Some(4),
        window: Some(4096),
        query_scalar: Some(256.0),
        attention_soft_cap: Some(50.0),
        logit_soft_cap: Some(30.0),
        ..GEMMA.defaults
    },
    spelling: &[("hidden_act", "hidden_activation")],
    fields: &[
        "hidden_act",
        "hidden_activation",
        "query_pre_attn_scalar",
        "attn_logit_softcapping",
        "final_logit_softcapping",
        "sliding_window",
        "layer_types",
    ],
    ..GEMMA
};

const GEMMA3: Family = Family {
    name: "gemma3_text",
    qk_norm: Some(QkNorm::Heads),
    windows: Windows::AllButEvery { n: 6, rope_local: true },
    defaults: Defaults {
        max_positions: 131_072,
        theta: 1_000_000.0,
        attention_soft_cap: None,
        logit_soft_cap: None,
        ..GEMMA2.defaults
    },
    fields: &[
        "hidden_act",
        "hidden_activation",
        "query_pre_attn_scalar",
        "final_logit_softcapping",
        "sliding_window",
        "sliding_window_pattern",
        "_sliding_window_pattern",
        "layer_types",
        "rope_local_base_freq",
    ],
    ..GEMMA2
};

const PHI3: Family = Family {
    name: "phi3",
    positions: Positions::PartlyRotary,
    defaults: Defaults {
        n_kv_heads: None,
        max_positions: 4096,
        norm_eps: 1e-5,
        window: None,
        original_max_positions: Some(4096),
        ..LLAMA.defaults
    },
    fields: &["sliding_window", "original_max_position_embeddings", "partial_rotary_factor"],
    ..MISTRAL
};

const OLMO2: Family = Family {
    name: "olmo2",
    places: NormPlaces::After,
    qk_norm: Some(QkNorm::Whole),
    biases: Biases::Flags { attention: Some(false), mlp: None },
    defaults: Defaults { norm_eps: 1e-5, ..LLAMA.defaults },
    ..LLAMA
};

const GRANITE: Family = Family {
    name: "granite",
    fields: &["embedding_multiplier", "residual_multiplier", "attention_multiplier", "logits_scaling"],
    ..LLAMA
};

const SMOLLM3: Family = Family {
    name: "smollm3",
    windows: Windows::UnrotatedIfUsed,
    defaults: Defaults {
        n_kv_heads: Some(4),
        max_positions: 32_768,
        theta: 2_000_000.0,
        tied: true,
        ..LLAMA.defaults
    },
    fields: &[
        "no_rope_layers",
        "no_rope_layer_interval",
        "use_sliding_window",
        "sliding_window",
        "layer_types",
        // In its files, but of no effect: windows are where there is no rope.
        "max_window_layers",
    ],
    ..LLAMA
};

const GPT_NEOX: Family = Family {
    name: "gpt_neox",
    norm: NormKind::Layer,
    gated: false,
    parallel: true,
    positions: Positions::PartlyRotary,
    biases: Biases::MlpAndFlag { attention: true },
    defaults: Defaults { norm_eps: 1e-5, rotary: 0.25, activation: Activation::Gelu, ..LLAMA.defaults },
    spelling: &[("rms_norm_eps", "layer_norm_eps")],
    fields: &[
        "layer_norm_eps",
        "rotary_pct",
        "rotary_emb_base",
        "partial_rotary_factor",
        "use_parallel_residual",
    ],
    ..LLAMA
};

const GPT2: Family = Family {
    name: "gpt2",
    norm: NormKind::Layer,
    gated: false,
    positions: Positions::Learned,
    biases: Biases::All,
    defaults: Defaults {
        max_positions: 1024,
        norm_eps: 1e-5,
        activation: Activation::GeluTanh,
        tied: true,
        ..LLAMA.defaults
    },
    spelling: &[
        ("hidden_size", "n_embd"),
        ("num_hidden_layers", "n_layer"),
        ("num_attention_heads", "n_head"),
        ("max_position_embeddings", "n_positions"),
        ("intermediate_size", "n_inner"),
        ("rms_norm_eps", "layer_norm_epsilon"),
        ("hidden_act", "activation_function"),
    ],
    fields: &[
        "n_embd",
        "n_layer",
        "n_head",
        "n_positions",
        "n_ctx",
        "n_inner",
        "layer_norm_epsilon",
        "activation_function",
        "scale_attn_weights",
        "scale_attn_by_inverse_layer_idx",
    ],
    ..LLAMA
};

const MIXTRAL: Family = Family {
    name: "mixtral",
    experts: Some(ExpertFields {
        n: ("num_local_experts", 8),
        per_token: 2,
        d_ff: ("intermediate_size", 14_336),
        shared_d_ff: None,
        normalise: Some(true),
    }),
    defaults: Defaults { norm_eps: 1e-5, theta: 1_000_000.0, window: None, ..MISTRAL.defaults },
    fields: &["sliding_window", "num_local_experts", "num_experts_per_tok"],
    ..MISTRAL
};

const QWEN2_MOE: Family = Family {
    name: "qwen2_moe",
    windows: Windows::EveryIfUsed,
    experts: Some(ExpertFields {
        n: ("num_experts", 60),
        per_token: 4,
        d_ff: ("moe_intermediate_size", 1408),
        shared_d_ff: Some(5632),
        normalise: None,
    }),
    defaults: Defaults { n_kv_heads: Some(16), ..QWEN2.defaults },
    fields: &[
        "qkv_bias",
        "use_sliding_window",
        "sliding_window",
        "max_window_layers",
        "layer_types",
        "num_experts",
        "num_experts_per_tok",
        "moe_intermediate_size",
        "shared_expert_intermediate_size",
        "norm_topk_prob",
        "decoder_sparse_step",
        "mlp_only_layers",
    ],
    ..QWEN2
};

const QWEN3_MOE: Family = Family {
    name: "qwen3_moe",
    qk_norm: Some(QkNorm::Heads),
    biases: Biases::Flags { attention: Some(false), mlp: None },
    experts: Some(ExpertFields {
        n: ("num_experts", 128),
        per_token: 8,
        d_ff: ("moe_intermediate_size", 768),
        shared_d_ff: None,
        normalise: None,
    }),
    defaults: Defaults { n_kv_heads: Some(4), ..QWEN2.defaults },
    fields: &[
        "use_sliding_window",
        "sliding_window",
        "max_window_layers",
        "num_experts",
        "num_local_experts",
        "num_experts_per_tok",
        "moe_intermediate_size",
        "norm_topk_prob",
        "decoder_sparse_step",
        "mlp_only_layers",
    ],
    ..QWEN2_MOE
};

const OLMOE: Family = Family {
    name: "olmoe",
    qk_norm: Some(QkNorm::Whole),
    biases: Biases::Flags { attention: Some(false), mlp: None },
    experts: Some(ExpertFields {
        n: ("num_experts", 64),
        per_token: 8,
        d_ff: ("intermediate_size", 2048),
        shared_d_ff: None,
        normalise: None,
    }),
    defaults: Defaults { max_positions: 4096, norm_eps: 1e-5, ..LLAMA.defaults },
    fields: &["num_experts", "num_experts_per_tok", "norm_topk_prob"],
    ..LLAMA
};

/// Every family that a `config.json` may name.
pub(crate) const FAMILIES: &[Family] = &[
    LLAMA, MISTRAL, QWEN2, QWEN3, GEMMA, GEMMA2, GEMMA3, PHI3, OLMO2, GRANITE, SMOLLM3, GPT_NEOX, GPT2,
    MIXTRAL, QWEN2_MOE, QWEN3_MOE, OLMOE,
];

/// The sizes of a model.
pub(crate) struct Sizes {
    pub(crate) d_model: usize,
    pub(crate) n_layers: usize,
    pub(crate) n_heads: usize,
    pub(crate) n_kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) d_ff: usize,
    pub(crate) vocab_size: usize,
}

impl Family {
    /// Returns the blueprint of a model of these sizes whose file says nothing else: without windows, experts and
    /// biases, and with a rope that is not stretched.
    pub(crate) fn blueprint(&self, sizes: Sizes) -> Config {
        let Sizes { d_model, n_layers, n_heads, n_kv_heads, head_dim, d_ff, vocab_size } = sizes;
        let defaults = self.defaults;
        let learned_positions = self.positions == Positions::Learned;
        let dim = (head_dim as f64 * defaults.rotary) as usize;
        let rope = Rope { theta: defaults.theta, dim, scaling: RopeScaling::Default };
        let kind = LayerKind {
            window: None,
            rope: (!learned_positions).then_some(0),
            scale: match defaults.query_scalar {
                Some(scalar) => (1.0 / scalar.sqrt()) as f32,
                None => 1.0 / (head_dim as f32).sqrt(),
            },
            routed: false,
        };
        Config {
            family: self.name.to_owned(),
            d_model,
            n_layers,
            n_heads,
            n_kv_heads,
            head_dim,
            d_ff,
            vocab_size,
            max_positions: defaults.max_positions,
            layers: vec![kind; n_layers],
            ropes: if learned_positions { Vec::new() } else { vec![rope] },
            learned_positions,
            embedding_scale: if self.scales_embedding { (d_model as f64).sqrt() as f32 } else { 1.0 },
            norm: self.norm,
            norm_eps: defaults.norm_eps as f32,
            norm_places: self.places,
            qk_norm: self.qk_norm,
            attention_soft_cap: defaults.attention_soft_cap.map(|cap| cap as f32),
            qkv_bias: false,
            o_bias: false,
            activation: defaults.activation,
            gated: self.gated,
            mlp_bias: false,
            experts: None,
            parallel: self.parallel,
            residual_scale: 1.0,
            logit_divisor: 1.0,
            logit_soft_cap: defaults.logit_soft_cap.map(|cap| cap as f32),
            tied_embeddings: defaults.tied,
            bos_token: None,
            eos_tokens: Vec::new(),
        }
    }

    /// Returns true if the family reads this flag of biases.
    pub(crate) fn reads_flag(&self, name: &str) -> bool {
        match (name, self.biases) {
            ("attention_bias", Biases::Flags { attention, .. }) => attention.is_some(),
            ("mlp_bias", Biases::Flags { mlp, .. }) => mlp.is_some(),
            ("attention_bias", Biases::MlpAndFlag { .. }) => true,
            _ => false,
        }
    }

    /// Heads share the model's width, whatever the config says of their own.
    pub(crate) fn derives_head_dim(&self) -> bool {
        ["gpt_neox", "gpt2", "qwen2_moe", "olmoe"].contains(&self.name)
    }
}
