//! How the tensors of a GGUF file are called, and how their rows lie.

use super::{Gguf, ggml_type};
use crate::model::tensor_names;
use crate::weights::Tensor;
use crate::{Config, Error, Weights};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Our names, which are those of Hugging Face checkpoints, and the file's.
const WHOLE: &[(&str, &str)] =
    &[("model.embed_tokens", "token_embd"), ("model.norm", "output_norm"), ("lm_head", "output")];

/// The same inside a block.
const IN_BLOCK: &[(&str, &str)] = &[
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// What the file calls a tensor of ours.
fn stored_name(name: &str) -> String {
    let translated = || {
        let (part, kind) = name.rsplit_once('.')?;
        if let Some(block) = part.strip_prefix("model.layers.") {
            let (layer, part) = block.split_once('.')?;
            let (_, stored) = IN_BLOCK.iter().find(|(ours, _)| *ours == part)?;
            return Some(format!("blk.{layer}.{stored}.{kind}"));
        }
        let (_, stored) = WHOLE.iter().find(|(ours, _)| *ours == part)?;
        Some(format!("{stored}.{kind}"))
    };
    translated().unwrap_or_else(|| name.to_owned())
}

impl Gguf {
    /// The tensors of the model, where they lie.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming a tensor that the model does not have: it would change the
    /// arithmetic. Those that are missing are found when they are asked for.
    pub(crate) fn into_weights(self, config: &Config) -> Result<Weights, Error> {
        let expected: BTreeSet<String> = tensor_names(config).iter().map(|name| stored_name(name)).collect();
        // The frequencies: the first is read by `config.rs`, the second repeats what it follows from.
        let frequencies = |name: &str| name == "rope_freqs.weight" || name.contains(".attn_rot_embd.");
        let is_strange = |name: &&String| !expected.contains(*name) && !frequencies(name);
        if let Some(name) = self.tensors.keys().find(is_strange) {
            let reason = format!(
                "tensor `{name}` has no place in a {} model of {} blocks and may change the arithmetic",
                config.family, config.n_layers
            );
            return Err(Error::malformed(&self.path, reason));
        }
        let mut tensors = BTreeMap::new();
        let mut unusable = BTreeMap::new();
        for (name, info) in self.tensors {
            let n_heads = match name.split('.').nth(2) {
                Some("attn_q") => config.n_heads,
                Some("attn_k") => config.n_kv_heads,
                _ => 0,
            };
            // A tensor of another height is refused when it is asked for; nothing is sized after it.
            let row_order = (info.shape.first() == Some(&(n_heads * config.head_dim)))
                .then(|| interleaved(n_heads, config.head_dim));
            match info.dtype {
                Ok(dtype) => {
                    let (range, shape) = (info.range, info.shape);
                    tensors.insert(name, Tensor { shard: 0, range, dtype, shape, row_order });
                }
                Err(kind) => {
                    unusable.insert(name, kind);
                }
            }
        }
        let supported = ggml_type::supported().map(|dtype| dtype.name()).collect();
        let (path, shards, loading) = (self.path, vec![self.bytes], Default::default());
        Ok(Weights { path, shards, tensors, unusable, stored_name, supported, loading })
    }
}

/// Where the rows of a query or key projection lie. The model rotates elements `i` and
/// `i + head_dim / 2` of a head together; files of this architecture hold each such pair as neighbours.
fn interleaved(n_heads: usize, head_dim: usize) -> Arc<[u32]> {
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

    #[test]
    fn every_tensor_of_a_model_has_its_name_in_the_file() {
        let check = |ours: &str, stored: &str| assert_eq!(stored_name(ours), stored);
        check("model.embed_tokens.weight", "token_embd.weight");
        check("model.norm.weight", "output_norm.weight");
        check("lm_head.weight", "output.weight");
        check("model.layers.0.input_layernorm.weight", "blk.0.attn_norm.weight");
        check("model.layers.12.self_attn.q_proj.weight", "blk.12.attn_q.weight");
        check("model.layers.12.self_attn.k_proj.bias", "blk.12.attn_k.bias");
        check("model.layers.3.self_attn.o_proj.weight", "blk.3.attn_output.weight");
        check("model.layers.3.post_attention_layernorm.weight", "blk.3.ffn_norm.weight");
        check("model.layers.3.mlp.down_proj.bias", "blk.3.ffn_down.bias");
        check("something.else", "something.else");
    }

    #[test]
    fn pairs_that_are_rotated_together_lie_as_neighbours_in_the_file() {
        // Two heads of six: rows 0 and 3 of each head are a pair, then 1 and 4, then 2 and 5.
        assert_eq!(interleaved(2, 6)[..], [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]);
        assert_eq!(interleaved(1, 2)[..], [0, 1]);
    }
}
