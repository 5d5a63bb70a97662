//! The fields of a config file, with errors that name them.

use super::blueprint::MAX_SIZE;
use super::family::Family;
use crate::error::Error;
use serde_json::{Map, Value};
use std::path::Path;
use whipstaff_kernels::Activation;

/// Fields that every family reads.
const READ: &[&str] = &[
    "model_type",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "intermediate_size",
    "vocab_size",
    "max_position_embeddings",
    "rms_norm_eps",
    "hidden_act",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "tie_word_embeddings",
    "bos_token_id",
    "eos_token_id",
];

/// Fields that say nothing about what is computed: names, versions, training, sampling, classification.
const HARMLESS: &[&str] = &[
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_commit_hash",
    "_flash_attn_2_enabled",
    "_name_or_path",
    "_num_labels",
    "architectures",
    "attention_dropout",
    "attention_probs_dropout_prob",
    "attn_implementation",
    "attn_pdrop",
    "auto_map",
    "bad_words_ids",
    "begin_suppress_tokens",
    "boi_token_index",
    "cache_implementation",
    "chunk_size_feed_forward",
    "classifier_dropout",
    "custom_pipelines",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dropout",
    "dtype",
    "early_stopping",
    "embd_pdrop",
    "embedding_dropout",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "ffn_dropout",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "hidden_dropout",
    "hidden_dropout_prob",
    "id2label",
    "initializer_range",
    "is_llama_config",
    "label2id",
    "length_penalty",
    "loss_type",
    "max_length",
    "max_sequence_length",
    "min_length",
    "min_p",
    "model_max_length",
    "n_special",
    "neftune_noise_alpha",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_labels",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_past",
    "output_router_logits",
    "output_scores",
    "pad_token_id",
    "predict_special_tokens",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "remove_invalid_values",
    "reorder_and_upcast_attn",
    "repetition_penalty",
    "resid_pdrop",
    "return_dict",
    "return_dict_in_generate",
    "router_aux_loss_coef",
    "router_jitter_noise",
    "sep_token_id",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tokenizer_class",
    "tokenizer_model_max_length",
    "tokenizer_padding_side",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "typical_p",
    "unk_token_id",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
    "use_flash_attention_2",
    "xla_device",
];

/// Whole groups of the same kind.
const HARMLESS_PREFIXES: &[&str] = &["summary_", "tf_"];

/// Fields that would change the arithmetic of a family that does not read them, with the values that
/// leave it alone. (Null does so everywhere.)
const NEUTRAL: &[(&str, &[Neutral])] = &[
    ("add_cross_attention", &[Neutral::Flag(false)]),
    ("attention_bias", &[Neutral::Flag(false)]),
    ("full_attn_mod", &[Neutral::Number(1.0)]),
    ("interpolate_factor", &[Neutral::Number(1.0)]),
    ("is_decoder", &[Neutral::Flag(false), Neutral::Flag(true)]),
    ("is_encoder_decoder", &[Neutral::Flag(false)]),
    ("lm_head_bias", &[Neutral::Flag(false)]),
    ("mlp_bias", &[Neutral::Flag(false)]),
    ("partial_rotary_factor", &[Neutral::Number(1.0)]),
    ("pruned_heads", &[Neutral::Empty]),
    ("qkv_bias", &[Neutral::Flag(false)]),
    ("rope_interleaved", &[Neutral::Flag(false)]),
    ("shared_expert_intermediate_size", &[Neutral::Number(0.0)]),
    ("tie_encoder_decoder", &[Neutral::Flag(false)]),
    ("use_bidirectional_attention", &[Neutral::Flag(false)]),
    ("use_mrope", &[Neutral::Flag(false)]),
    ("use_sliding_window", &[Neutral::Flag(false)]),
];

enum Neutral {
    Flag(bool),
    Number(f64),
    /// An object with nothing in it.
    Empty,
}

/// The fields of a config file.
pub(super) struct Fields<'a> {
    pub(super) map: Map<String, Value>,
    pub(super) path: &'a Path,
    pub(super) spelling: &'static [(&'static str, &'static str)],
}

impl Fields<'_> {
    /// Returns how the file spells a field.
    pub(super) fn spelt<'n>(&self, name: &'n str) -> &'n str {
        self.spelling.iter().find(|(ours, _)| *ours == name).map_or(name, |(_, theirs)| *theirs)
    }

    pub(super) fn wrong(&self, name: &str, what: impl std::fmt::Display) -> Error {
        Error::malformed(self.path, format!("`{}` {what}", self.spelt(name)))
    }

    /// Returns the value of a field; absent and null are the same.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.map.get(self.spelt(name)).filter(|value| !value.is_null())
    }

    /// Returns true if the field is there, if only as null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.map.contains_key(self.spelt(name))
    }

    pub(super) fn string(&self, name: &str) -> Result<String, Error> {
        let value = self.get(name).ok_or_else(|| self.wrong(name, "is missing"))?;
        value.as_str().map(str::to_owned).ok_or_else(|| self.wrong(name, "is not a string"))
    }

    pub(super) fn optional_size(&self, name: &str) -> Result<Option<usize>, Error> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.as_u64() {
            Some(n) if n > 0 && n < MAX_SIZE as u64 => Ok(Some(n as usize)),
            _ => Err(self.wrong(name, "is not a positive whole number")),
        }
    }

    pub(super) fn size(&self, name: &str) -> Result<usize, Error> {
        self.optional_size(name)?.ok_or_else(|| self.wrong(name, "is missing"))
    }

    pub(super) fn size_or(&self, name: &str, default: usize) -> Result<usize, Error> {
        Ok(self.optional_size(name)?.unwrap_or(default))
    }

    /// Reads a positive number.
    pub(super) fn number(&self, name: &str) -> Result<Option<f64>, Error> {
        number_in(&self.map, self.spelt(name)).map_err(|what| self.wrong(name, what))
    }

    pub(super) fn number_or(&self, name: &str, default: f64) -> Result<f64, Error> {
        Ok(self.number(name)?.unwrap_or(default))
    }

    /// Reads a number whose default holds where the field is absent; null means none.
    pub(super) fn nullable_number(&self, name: &str, default: Option<f64>) -> Result<Option<f64>, Error> {
        if self.has(name) { self.number(name) } else { Ok(default) }
    }

    pub(super) fn flag_or(&self, name: &str, default: bool) -> Result<bool, Error> {
        let Some(value) = self.get(name) else { return Ok(default) };
        value.as_bool().ok_or_else(|| self.wrong(name, "is neither true nor false"))
    }

    /// Reads a list with one entry for each layer.
    pub(super) fn list(&self, name: &str, n_layers: usize) -> Result<Option<&[Value]>, Error> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let list = value.as_array().ok_or_else(|| self.wrong(name, "is not a list"))?;
        if list.len() != n_layers {
            let what = format!("has {} entries, the model {n_layers} layers", list.len());
            return Err(self.wrong(name, what));
        }
        Ok(Some(list))
    }

    /// Reads the function inside the MLP.
    pub(super) fn activation(&self, family: &Family) -> Result<Activation, Error> {
        let default = family.defaults.activation;
        let Some(value) = self.get("hidden_act") else { return Ok(default) };
        if family.name != "gemma" {
            return self.activation_of("hidden_act", value);
        }
        // The first configs of this family say `gelu` and mean its approximation: so transformers 5 has it;
        // 4.48 to 4.57 took it at its word.
        let meant = |name: &str, value: &Value| match value.as_str() {
            Some("gelu") => Ok(Activation::GeluTanh),
            _ => self.activation_of(name, value),
        };
        let activation = meant("hidden_act", value)?;
        match self.get("hidden_activation") {
            Some(other) if meant("hidden_activation", other)? != activation => {
                Err(self.wrong("hidden_activation", format!("is {other}, but `hidden_act` is {value}")))
            }
            _ => Ok(activation),
        }
    }

    fn activation_of(&self, name: &str, value: &Value) -> Result<Activation, Error> {
        match value.as_str() {
            Some("silu" | "swish") => Ok(Activation::Silu),
            Some("gelu" | "gelu_python") => Ok(Activation::Gelu),
            Some("gelu_new" | "gelu_pytorch_tanh" | "gelu_python_tanh" | "gelu_fast" | "gelu_accurate") => {
                Ok(Activation::GeluTanh)
            }
            Some("relu") => Ok(Activation::Relu),
            _ => {
                let what =
                    format!("is {value}, which is not supported (supported: silu, gelu, gelu_new, relu)");
                Err(self.wrong(name, what))
            }
        }
    }

    /// Refuses what is not known to leave the arithmetic alone.
    pub(super) fn refuse_unknown_arithmetic(&self, family: &Family) -> Result<(), Error> {
        for (name, value) in self.map.iter().filter(|(_, value)| !value.is_null()) {
            let name = name.as_str();
            // What the family calls by another name, it does not read by this one.
            let is_read = (READ.contains(&name) && self.spelt(name) == name) || family.fields.contains(&name);
            if is_read
                || family.reads_flag(name)
                || HARMLESS.contains(&name)
                || HARMLESS_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
                || (name == "layer_types" && all_full(value))
                || (name == "use_qk_norm" && value.as_bool() == Some(family.qk_norm.is_some()))
                || (name == "sliding_window_size" && self.get("sliding_window") == Some(value))
            {
                continue;
            }
            let Some((_, neutral)) = NEUTRAL.iter().find(|(known, _)| *known == name) else {
                let what = "changes the arithmetic in a way that is not supported, or is not known";
                return Err(self.wrong(name, what));
            };
            let leaves_alone = neutral.iter().any(|neutral| match neutral {
                Neutral::Flag(flag) => value.as_bool() == Some(*flag),
                Neutral::Number(number) => value.as_f64() == Some(*number),
                Neutral::Empty => value.as_object().is_some_and(Map::is_empty),
            });
            if !leaves_alone {
                return Err(self.wrong(name, "changes the arithmetic in a way that is not supported"));
            }
        }
        Ok(())
    }
}

/// Returns true if all layers are of the plain kind.
fn all_full(value: &Value) -> bool {
    value.as_array().is_some_and(|types| types.iter().all(|it| it == "full_attention"))
}

/// Reads a positive number of an object.
pub(super) fn number_in(map: &Map<String, Value>, name: &str) -> Result<Option<f64>, &'static str> {
    match map.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64() {
            Some(x) if x.is_finite() && x > 0.0 => Ok(Some(x)),
            _ => Err("is not a positive number"),
        },
    }
}

pub(super) fn parse_object(text: &str, path: &Path) -> Result<Map<String, Value>, Error> {
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Error::malformed(path, "is not a JSON object")),
        Err(error) => Err(Error::malformed(path, format!("is not JSON: {error}"))),
    }
}
