//! The blueprint of a model, from the metadata of a GGUF file.

use super::architecture::Architecture;
use super::file::Gguf;
use super::keys::Keys;
use crate::config::family::{FAMILIES, Sizes};
use crate::config::{Config, MAX_LAYERS, MAX_SIZE, NormKind};
use crate::error::Error;

/// Tokens that end a turn by their very name. Converted chat models often name only one of theirs in
/// the metadata.
const TURN_ENDS: &[&str] =
    &["<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<|end_of_text|>", "<|endoftext|>"];

impl Gguf {
    /// Reads the blueprint.
    ///
    /// # Errors
    /// [`Error::UnsupportedFamily`], or [`Error::Malformed`] naming the key. A key that would change
    /// the arithmetic in a way that is not implemented is refused, never ignored; so is one that is
    /// not known.
    pub(crate) fn config(&self) -> Result<Config, Error> {
        let metadata = &self.metadata;
        let architecture = "general.architecture";
        let name = metadata.text(architecture)?.ok_or_else(|| metadata.missing(architecture))?;
        let Some(row) = Architecture::named(name) else {
            let (path, family) = (self.path.clone(), name.to_owned());
            return Err(Error::UnsupportedFamily { path, family, supported: Architecture::names() });
        };
        let keys = Keys { metadata, row };
        keys.refuse_unknown_arithmetic()?;
        self.check_quantisation_version()?;
        let n_experts = if row.keys.contains(&"expert_count") { keys.count("expert_count")? } else { 0 };
        let family = row.with_experts.filter(|_| n_experts > 0).unwrap_or(row.family);
        let family = FAMILIES.iter().find(|it| it.name == family).expect("every row names a family");

        let n_layers = keys.size("block_count")?;
        if n_layers > MAX_LAYERS {
            return Err(keys.wrong("block_count", &format!("is {n_layers}, more than {MAX_LAYERS}")));
        }
        let d_model = keys.size("embedding_length")?;
        let n_heads = keys.size("attention.head_count")?;
        let n_kv_heads = keys.optional_size("attention.head_count_kv")?.unwrap_or(n_heads);
        if !n_heads.is_multiple_of(n_kv_heads) {
            return Err(keys.wrong("attention.head_count_kv", "does not divide attention.head_count"));
        }
        let head_dim = keys.head_dim(family, d_model, n_heads)?;
        let has = |name: &str| self.tensors.contains_key(name);
        let has_bias = |parts: &[&str]| parts.iter().any(|part| has(&format!("blk.0.{part}.bias")));
        let vocab_size = self.vocab_size()?;
        let d_ff = keys.size("feed_forward_length")?;
        let sizes = Sizes { d_model, n_layers, n_heads, n_kv_heads, head_dim, d_ff, vocab_size };
        let facts = family.blueprint(sizes);
        let max_positions = keys.size("context_length")?;
        Ok(Config {
            max_positions,
            // The files have the one that is added to the weights in them.
            norm: if facts.norm == NormKind::RmsPlusOne { NormKind::Rms } else { facts.norm },
            norm_eps: keys.positive(row.epsilon)?.ok_or_else(|| keys.missing(row.epsilon))? as f32,
            ropes: self.ropes(&keys, family, head_dim, max_positions)?,
            layers: keys.layers(family, &facts, n_experts > 0)?,
            embedding_scale: keys.multiplier("embedding_scale", facts.embedding_scale)?,
            residual_scale: keys.multiplier("residual_scale", facts.residual_scale)?,
            logit_divisor: keys.multiplier("logit_scale", facts.logit_divisor)?,
            attention_soft_cap: keys.soft_cap("attn_logit_softcapping", facts.attention_soft_cap)?,
            logit_soft_cap: keys.soft_cap("final_logit_softcapping", facts.logit_soft_cap)?,
            parallel: match row.keys.contains(&"use_parallel_residual") {
                true => metadata.flag(&keys.name("use_parallel_residual"))?.unwrap_or(facts.parallel),
                false => facts.parallel,
            },
            experts: keys.experts(family, n_experts, d_ff, n_layers)?,
            tied_embeddings: !has("output.weight"),
            qkv_bias: has_bias(&["attn_q", "attn_k", "attn_v", "attn_qkv"]),
            o_bias: has_bias(&["attn_output"]),
            mlp_bias: has_bias(&["ffn_gate", "ffn_up", "ffn_down"]),
            bos_token: self.token_id("tokenizer.ggml.bos_token_id", vocab_size)?,
            eos_tokens: self.eos_tokens(vocab_size)?,
            ..facts
        })
    }

    /// Returns the number of rows of the embedding. A tokenizer with more tokens would give ids that have no row.
    fn vocab_size(&self) -> Result<usize, Error> {
        let name = "token_embd.weight";
        let Some(tensor) = self.tensors.get(name) else {
            return Err(Error::MissingTensors { path: self.path.clone(), names: vec![name.to_owned()] });
        };
        let &[rows, _] = &tensor.shape[..] else {
            let reason = format!("tensor `{name}` is {:?}, which is not a matrix", tensor.shape);
            return Err(Error::malformed(&self.path, reason));
        };
        let key = "tokenizer.ggml.tokens";
        let n_tokens = self.metadata.texts(key)?.map_or(0, |tokens| tokens.len());
        if n_tokens > rows {
            let what = format!("has {n_tokens} tokens, but tensor `{name}` only {rows} rows");
            return Err(self.metadata.error(key, what));
        }
        if rows >= MAX_SIZE {
            return Err(Error::malformed(&self.path, format!("tensor `{name}` has {rows} rows")));
        }
        Ok(rows)
    }

    /// Refuses files from before the layouts of quantised blocks changed, which have another number here than 2.
    fn check_quantisation_version(&self) -> Result<(), Error> {
        let key = "general.quantization_version";
        match self.metadata.whole(key)? {
            None | Some(2) => Ok(()),
            Some(version) => {
                Err(self.metadata.error(key, format!("is {version}, which is not supported (supported: 2)")))
            }
        }
    }

    /// Returns the token that a key names.
    fn token_id(&self, key: &str, vocab_size: usize) -> Result<Option<u32>, Error> {
        let Some(id) = self.metadata.whole(key)? else { return Ok(None) };
        match u32::try_from(id) {
            Ok(id) if (id as usize) < vocab_size => Ok(Some(id)),
            _ => Err(self.metadata.error(key, format!("is {id}, outside the vocabulary of {vocab_size}"))),
        }
    }

    /// Returns the tokens that end a text or a turn: tokens that the metadata names, and control tokens with a name
    /// that says so.
    fn eos_tokens(&self, vocab_size: usize) -> Result<Vec<u32>, Error> {
        let mut ids = Vec::new();
        for kind in ["eos", "eot", "eom"] {
            ids.extend(self.token_id(&format!("tokenizer.ggml.{kind}_token_id"), vocab_size)?);
        }
        let tokens = self.metadata.texts("tokenizer.ggml.tokens")?.unwrap_or_default();
        for id in self.control_tokens()? {
            if tokens.get(id as usize).is_some_and(|token| TURN_ENDS.contains(token)) {
                ids.push(id);
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        ids.retain(|id| seen.insert(*id));
        Ok(ids)
    }
}
