//! How the tensors of a GGUF file are called, and how their rows lie.

use super::architecture::Architecture;
use super::file::Gguf;
use super::ggml_type;
use crate::checkpoint::names::{Cut, Source};
use crate::checkpoint::params::{Param, Part, parameters};
use crate::checkpoint::weights::{Tensor, Weights};
use crate::config::Config;
use crate::error::Error;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What the file calls the parts of a model; `#` is the block.
const NAMES: &[(Part, &str)] = &[
    (Part::Embedding, "token_embd"),
    (Part::FinalNorm, "output_norm"),
    (Part::Head, "output"),
    (Part::AttnNorm, "blk.#.attn_norm"),
    (Part::Q, "blk.#.attn_q"),
    (Part::K, "blk.#.attn_k"),
    (Part::V, "blk.#.attn_v"),
    (Part::O, "blk.#.attn_output"),
    (Part::MlpNorm, "blk.#.ffn_norm"),
    (Part::Gate, "blk.#.ffn_gate"),
    (Part::Up, "blk.#.ffn_up"),
    (Part::Down, "blk.#.ffn_down"),
    (Part::Positions, "position_embd"),
    (Part::QNorm, "blk.#.attn_q_norm"),
    (Part::KNorm, "blk.#.attn_k_norm"),
    (Part::AttnPostNorm, "blk.#.post_attention_norm"),
    (Part::MlpPostNorm, "blk.#.post_ffw_norm"),
    (Part::Router, "blk.#.ffn_gate_inp"),
    (Part::SharedGate, "blk.#.ffn_gate_shexp"),
    (Part::SharedUp, "blk.#.ffn_up_shexp"),
    (Part::SharedDown, "blk.#.ffn_down_shexp"),
    (Part::SharedSwitch, "blk.#.ffn_gate_inp_shexp"),
];

/// Returns the place of a parameter in the file.
pub(super) fn source(config: &Config, param: Param) -> Source {
    let (q, kv) = (config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim);
    let rows = |name: &'static str, rows, of| (name, Cut::Rows { rows, of });
    let (_, own) = NAMES.iter().find(|(part, _)| *part == param.part).expect("every part has a name");
    let is_phi = config.family == "phi3";
    let is_fused = is_phi || ["gpt_neox", "gpt2"].contains(&&config.family[..]);
    let (template, cut) = match (param.part, param.expert) {
        (Part::Q, _) if is_fused => rows("blk.#.attn_qkv", 0..q, q + 2 * kv),
        (Part::K, _) if is_fused => rows("blk.#.attn_qkv", q..q + kv, q + 2 * kv),
        (Part::V, _) if is_fused => rows("blk.#.attn_qkv", q + kv..q + 2 * kv, q + 2 * kv),
        (Part::Gate, None) if is_phi => rows("blk.#.ffn_up", 0..config.d_ff, 2 * config.d_ff),
        (Part::Up, None) if is_phi => rows("blk.#.ffn_up", config.d_ff..2 * config.d_ff, 2 * config.d_ff),
        (part, Some(expert)) => {
            // The matrices of all experts lie one after the other.
            let name = match part {
                Part::Gate => "blk.#.ffn_gate_exps",
                Part::Up => "blk.#.ffn_up_exps",
                _ => "blk.#.ffn_down_exps",
            };
            let (n, n_out) = (config.experts.map_or(0, |it| it.n), param.shape(config).n_out);
            rows(name, expert * n_out..(expert + 1) * n_out, n * n_out)
        }
        _ => (*own, Cut::Whole),
    };
    let kind = if param.is_bias { "bias" } else { "weight" };
    Source { name: format!("{}.{kind}", template.replace('#', &param.layer.to_string())), cut }
}

impl Gguf {
    /// Returns the tensors of the model, where they lie.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming a tensor that the model does not have: it would change the
    /// arithmetic. Those that are missing are found when they are asked for.
    pub(crate) fn into_weights(mut self, config: &Config) -> Result<Weights, Error> {
        let expected: BTreeSet<String> =
            parameters(config).iter().map(|(param, _)| source(config, *param).name).collect();
        // The frequencies: the first is read by `config.rs`, the second repeats what it follows from.
        let frequencies = |name: &str| {
            let is_factors = name.starts_with("rope_factors_") && config.family == "phi3";
            name == "rope_freqs.weight" || name.contains(".attn_rot_embd.") || is_factors
        };
        let is_strange = |name: &&String| !expected.contains(*name) && !frequencies(name);
        if let Some(name) = self.tensors.keys().find(is_strange) {
            let reason = format!(
                "tensor `{name}` has no place in a {} model of {} blocks and may change the arithmetic",
                config.family, config.n_layers
            );
            return Err(Error::malformed(&self.path, reason));
        }
        self.tensors.retain(|name, _| !frequencies(name));
        let mut tensors = BTreeMap::new();
        let mut unusable = BTreeMap::new();
        let neighbours = Architecture::of_family(&config.family).is_some_and(|row| row.neighbours);
        for (name, mut info) in self.tensors {
            info.shape = as_matrix(&name, info.shape);
            let n_heads = match name.split('.').nth(2) {
                Some("attn_q") if neighbours => config.n_heads,
                Some("attn_k") if neighbours => config.n_kv_heads,
                _ => 0,
            };
            // A tensor of another height is refused when it is asked for; nothing is sized after it.
            let row_order = (info.shape.first() == Some(&(n_heads * config.head_dim)))
                .then(|| interleaved(n_heads, config.head_dim));
            match info.dtype {
                Ok(dtype) => {
                    let (shard, range, shape) = (info.part, info.range, info.shape);
                    tensors.insert(name, Tensor { shard, range, dtype, shape, row_order });
                }
                Err(kind) => {
                    unusable.insert(name, kind);
                }
            }
        }
        let supported = ggml_type::supported().map(|dtype| dtype.name()).collect();
        let (files, shards) = self.parts.into_iter().unzip();
        let (path, loading) = (self.path, Default::default());
        Ok(Weights { path, files, shards, tensors, unusable, source, supported, loading })
    }
}

/// Returns the shape of a tensor of experts as one tall matrix, and the shape of a switch as a single row.
fn as_matrix(name: &str, shape: Vec<usize>) -> Vec<usize> {
    match (name.split('.').nth(2), &shape[..]) {
        (Some("ffn_gate_exps" | "ffn_up_exps" | "ffn_down_exps"), &[n, n_out, n_in]) => vec![n * n_out, n_in],
        (Some("ffn_gate_inp_shexp"), &[n_in]) => vec![1, n_in],
        _ => shape,
    }
}

/// Returns where the rows of a query or key projection lie. The model rotates elements `i` and `i + head_dim / 2`
/// of a head together; files of this architecture hold each such pair as neighbours.
pub(super) fn interleaved(n_heads: usize, head_dim: usize) -> Arc<[u32]> {
    let half = head_dim / 2;
    let row = |row: usize| {
        let (head, i) = (row / head_dim, row % head_dim);
        (head * head_dim + i % half * 2 + i / half) as u32
    };
    (0..n_heads * head_dim).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::family::{FAMILIES, Sizes};

    fn where_it_is(param: Param) -> String {
        let sizes = Sizes {
            d_model: 8,
            n_layers: 13,
            n_heads: 2,
            n_kv_heads: 1,
            head_dim: 4,
            d_ff: 16,
            vocab_size: 30,
        };
        source(&FAMILIES[0].blueprint(sizes), param).name
    }

    #[test]
    fn every_tensor_of_a_model_has_its_name_in_the_file() {
        let check = |param: Param, stored: &str| assert_eq!(where_it_is(param), stored);
        check(Param::weight(Part::Embedding, 0), "token_embd.weight");
        check(Param::weight(Part::FinalNorm, 0), "output_norm.weight");
        check(Param::weight(Part::Head, 0), "output.weight");
        check(Param::weight(Part::AttnNorm, 0), "blk.0.attn_norm.weight");
        check(Param::weight(Part::Q, 12), "blk.12.attn_q.weight");
        check(Param::weight(Part::K, 12).bias(), "blk.12.attn_k.bias");
        check(Param::weight(Part::O, 3), "blk.3.attn_output.weight");
        check(Param::weight(Part::MlpNorm, 3), "blk.3.ffn_norm.weight");
        check(Param::weight(Part::Down, 3).bias(), "blk.3.ffn_down.bias");
    }

    #[test]
    fn pairs_that_are_rotated_together_lie_as_neighbours_in_the_file() {
        // Two heads of six: rows 0 and 3 of each head are a pair, then 1 and 4, then 2 and 5.
        assert_eq!(interleaved(2, 6)[..], [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]);
        assert_eq!(interleaved(1, 2)[..], [0, 1]);
    }
}
