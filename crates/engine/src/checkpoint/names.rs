//! What Hugging Face checkpoints call the parameters of a model, and how they lie there.

use super::params::{Param, Part};
use crate::config::Config;
use std::ops::Range;
use std::sync::Arc;

/// Where a parameter lies in a checkpoint.
pub(crate) struct Source {
    /// The tensor.
    pub(crate) name: String,
    /// What of it.
    pub(crate) cut: Cut,
}

/// What of a tensor a parameter is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// All of it, as it is.
    Whole,
    /// Some rows, out of so many.
    Rows { rows: Range<usize>, of: usize },
    /// The rows that are listed, in that order, out of so many.
    Gathered { rows: Arc<[u32]>, of: usize },
    /// Some columns, out of so many, turned into rows: the tensor is `[n_in, of]`. A bias is cut likewise.
    Columns { columns: Range<usize>, of: usize },
}

/// Names as in Llama, which most families took over. `#` is the block, `@` the expert.
const LLAMA: &[(Part, &str)] = &[
    (Part::Embedding, "model.embed_tokens"),
    (Part::FinalNorm, "model.norm"),
    (Part::Head, "lm_head"),
    (Part::AttnNorm, "model.layers.#.input_layernorm"),
    (Part::Q, "model.layers.#.self_attn.q_proj"),
    (Part::K, "model.layers.#.self_attn.k_proj"),
    (Part::V, "model.layers.#.self_attn.v_proj"),
    (Part::O, "model.layers.#.self_attn.o_proj"),
    (Part::QNorm, "model.layers.#.self_attn.q_norm"),
    (Part::KNorm, "model.layers.#.self_attn.k_norm"),
    (Part::MlpNorm, "model.layers.#.post_attention_layernorm"),
    (Part::Gate, "model.layers.#.mlp.gate_proj"),
    (Part::Up, "model.layers.#.mlp.up_proj"),
    (Part::Down, "model.layers.#.mlp.down_proj"),
    (Part::Router, "model.layers.#.mlp.gate"),
    (Part::SharedGate, "model.layers.#.mlp.shared_expert.gate_proj"),
    (Part::SharedUp, "model.layers.#.mlp.shared_expert.up_proj"),
    (Part::SharedDown, "model.layers.#.mlp.shared_expert.down_proj"),
    (Part::SharedSwitch, "model.layers.#.mlp.shared_expert_gate"),
    // Where a family has norms after, this is what they are called; where it also has norms before,
    // `BOTH_NORMS` renames those.
    (Part::AttnPostNorm, "model.layers.#.post_attention_layernorm"),
    (Part::MlpPostNorm, "model.layers.#.post_feedforward_layernorm"),
];

const BOTH_NORMS: &[(Part, &str)] = &[(Part::MlpNorm, "model.layers.#.pre_feedforward_layernorm")];

const EXPERTS: &[(Part, &str)] = &[
    (Part::Gate, "model.layers.#.mlp.experts.@.gate_proj"),
    (Part::Up, "model.layers.#.mlp.experts.@.up_proj"),
    (Part::Down, "model.layers.#.mlp.experts.@.down_proj"),
];

const MIXTRAL: &[(Part, &str)] = &[
    (Part::Router, "model.layers.#.block_sparse_moe.gate"),
    (Part::Gate, "model.layers.#.block_sparse_moe.experts.@.w1"),
    (Part::Up, "model.layers.#.block_sparse_moe.experts.@.w3"),
    (Part::Down, "model.layers.#.block_sparse_moe.experts.@.w2"),
];

/// Queries, keys and values in one tensor, one after the other; gate and up likewise.
const PHI3: &[(Part, &str)] = &[
    (Part::Q, "model.layers.#.self_attn.qkv_proj"),
    (Part::K, "model.layers.#.self_attn.qkv_proj"),
    (Part::V, "model.layers.#.self_attn.qkv_proj"),
    (Part::Gate, "model.layers.#.mlp.gate_up_proj"),
    (Part::Up, "model.layers.#.mlp.gate_up_proj"),
];

/// Queries, keys and values in one tensor, head by head.
const GPT_NEOX: &[(Part, &str)] = &[
    (Part::Embedding, "gpt_neox.embed_in"),
    (Part::FinalNorm, "gpt_neox.final_layer_norm"),
    (Part::Head, "embed_out"),
    (Part::AttnNorm, "gpt_neox.layers.#.input_layernorm"),
    (Part::Q, "gpt_neox.layers.#.attention.query_key_value"),
    (Part::K, "gpt_neox.layers.#.attention.query_key_value"),
    (Part::V, "gpt_neox.layers.#.attention.query_key_value"),
    (Part::O, "gpt_neox.layers.#.attention.dense"),
    (Part::MlpNorm, "gpt_neox.layers.#.post_attention_layernorm"),
    (Part::Up, "gpt_neox.layers.#.mlp.dense_h_to_4h"),
    (Part::Down, "gpt_neox.layers.#.mlp.dense_4h_to_h"),
];

/// Matrices lie turned, `[n_in, n_out]`; queries, keys and values in one.
const GPT2: &[(Part, &str)] = &[
    (Part::Embedding, "transformer.wte"),
    (Part::Positions, "transformer.wpe"),
    (Part::FinalNorm, "transformer.ln_f"),
    (Part::AttnNorm, "transformer.h.#.ln_1"),
    (Part::Q, "transformer.h.#.attn.c_attn"),
    (Part::K, "transformer.h.#.attn.c_attn"),
    (Part::V, "transformer.h.#.attn.c_attn"),
    (Part::O, "transformer.h.#.attn.c_proj"),
    (Part::MlpNorm, "transformer.h.#.ln_2"),
    (Part::Up, "transformer.h.#.mlp.c_fc"),
    (Part::Down, "transformer.h.#.mlp.c_proj"),
];

/// Returns the place of a parameter in a Hugging Face checkpoint.
pub(crate) fn hugging_face(config: &Config, param: Param) -> Source {
    let family: &[(Part, &str)] = match &config.family[..] {
        "gemma2" | "gemma3_text" => BOTH_NORMS,
        "phi3" => PHI3,
        "gpt_neox" => GPT_NEOX,
        "gpt2" => GPT2,
        "mixtral" => MIXTRAL,
        _ => &[],
    };
    let own = family.iter().filter(|(_, name)| name.contains('@') == param.expert.is_some());
    let experts = EXPERTS.iter().filter(|_| param.expert.is_some());
    let (_, template) =
        own.chain(experts).chain(LLAMA).find(|(part, _)| *part == param.part).expect("every part has a name");
    let mut name = template.replace('#', &param.layer.to_string());
    if let Some(expert) = param.expert {
        name = name.replace('@', &expert.to_string());
    }
    name += if param.is_bias { ".bias" } else { ".weight" };
    Source { name, cut: cut(config, param) }
}

fn cut(config: &Config, param: Param) -> Cut {
    let (q, kv) = (config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim);
    // Which of several that lie one after the other, with their heights.
    let stacked = match param.part {
        Part::Q => Some((0..q, q + 2 * kv)),
        Part::K => Some((q..q + kv, q + 2 * kv)),
        Part::V => Some((q + kv..q + 2 * kv, q + 2 * kv)),
        _ => None,
    };
    match (&config.family[..], param.part) {
        ("phi3", Part::Gate) => Cut::Rows { rows: 0..config.d_ff, of: 2 * config.d_ff },
        ("phi3", Part::Up) => Cut::Rows { rows: config.d_ff..2 * config.d_ff, of: 2 * config.d_ff },
        ("phi3", _) => stacked.map_or(Cut::Whole, |(rows, of)| Cut::Rows { rows, of }),
        ("gpt_neox", Part::Q) => head_by_head(config, 0),
        ("gpt_neox", Part::K) => head_by_head(config, 1),
        ("gpt_neox", Part::V) => head_by_head(config, 2),
        ("gpt2", Part::Q | Part::K | Part::V | Part::O | Part::Up | Part::Down) => {
            let all = param.shape(config).n_out;
            let (columns, of) = stacked.unwrap_or((0..all, all));
            Cut::Columns { columns, of }
        }
        _ => Cut::Whole,
    }
}

/// Returns the rows of queries (0), keys (1) or values (2) in a tensor that holds the three of each head side by
/// side.
fn head_by_head(config: &Config, which: usize) -> Cut {
    let head_dim = config.head_dim;
    let row = |i: usize| (i / head_dim * 3 + which) * head_dim + i % head_dim;
    let n = config.n_heads * head_dim;
    Cut::Gathered { rows: (0..n).map(|i| row(i) as u32).collect(), of: 3 * n }
}

/// Returns the names under which a tensor may also lie: without the part that holds the blocks, as it is saved
/// without a head, or inside a model that also sees.
pub(crate) fn aliases(name: &str) -> Vec<String> {
    let mut aliases = vec![name.to_owned()];
    if let Some((first, rest)) = name.split_once('.')
        && ["model", "transformer", "gpt_neox"].contains(&first)
    {
        aliases.push(rest.to_owned());
        aliases.push(format!("model.language_model.{rest}"));
    }
    aliases.push(format!("language_model.{name}"));
    aliases
}

/// Returns true for tensors that may be there and say nothing: masks and frequencies that follow from the config,
/// the parts of a model that sees, and a head that is the embedding's.
pub(crate) fn is_harmless(config: &Config, name: &str) -> bool {
    let ends = [
        ".rotary_emb.inv_freq",
        ".attn.bias",
        ".attn.masked_bias",
        ".attention.bias",
        ".attention.masked_bias",
    ];
    let sees = ["vision_tower.", "multi_modal_projector."];
    let is_head = name.ends_with("lm_head.weight") || name.ends_with("embed_out.weight");
    ends.iter().any(|end| name.ends_with(end))
        || (config.family == "gemma3_text" && sees.iter().any(|part| name.contains(part)))
        || (config.tied_embeddings && is_head)
}
