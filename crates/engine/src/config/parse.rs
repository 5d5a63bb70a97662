//! Reads a blueprint from `config.json`, in its old and its new spelling.

use super::angles::{Rope, RopeScaling};
use super::blueprint::{Config, Experts, MAX_LAYERS};
use super::family::{self, Biases, FAMILIES, Family, Sizes, families};
use super::fields::{Fields, parse_object};
use crate::error::Error;
use serde_json::{Map, Value};
use std::path::Path;
use whipstaff_kernels::Attention;

/// More experts than all layers of any model have, for the same reason.
const MAX_EXPERTS: usize = 100_000;

impl Config {
    /// Reads a config. `generation` is the text of `generation_config.json`, where there is one;
    /// `path` names the folder in errors.
    ///
    /// # Errors
    /// [`Error::UnsupportedFamily`], or [`Error::Malformed`] naming the field. A field that would
    /// change the arithmetic in a way that is not implemented is refused, never ignored; so is one
    /// that is not known.
    pub fn parse(config: &str, generation: Option<&str>, path: &Path) -> Result<Config, Error> {
        let config_path = path.join("config.json");
        let mut fields =
            Fields { map: parse_object(config, &config_path)?, path: &config_path, spelling: &[] };
        let mut name = fields.string("model_type")?;
        if name == "gemma3" {
            fields.map = fields.text_part()?;
            name = "gemma3_text".to_owned();
        }
        let Some(family) = FAMILIES.iter().find(|family| family.name == name) else {
            return Err(Error::UnsupportedFamily {
                path: config_path.clone(),
                family: name,
                supported: families(),
            });
        };
        fields.spelling = family.spelling;
        fields.refuse_unknown_arithmetic(family)?;

        let generation = match generation {
            Some(text) => parse_object(text, &path.join("generation_config.json"))?,
            None => Map::new(),
        };
        let eos = generation.get("eos_token_id").filter(|value| !value.is_null());
        let config = fields.config(family)?;
        Ok(Config { eos_tokens: token_ids(eos.or(fields.map.get("eos_token_id"))), ..config })
    }
}

impl Fields<'_> {
    /// Returns the text part of a Gemma 3 that also sees. The sizes that it leaves out are those of the smallest
    /// model.
    fn text_part(&self) -> Result<Map<String, Value>, Error> {
        let Some(Value::Object(text)) = self.get("text_config") else {
            return Err(self.wrong("text_config", "is missing, or not an object"));
        };
        let mut text = text.clone();
        for name in ["bos_token_id", "eos_token_id", "tie_word_embeddings", "quantization_config"] {
            if let Some(value) = self.get(name) {
                text.insert(name.to_owned(), value.clone());
            }
        }
        for (name, default) in [("vocab_size", 262_208), ("num_attention_heads", 8)] {
            text.entry(name).or_insert(default.into());
        }
        Ok(text)
    }

    /// Reads the blueprint, but for the tokens that end a text.
    fn config(&self, family: &Family) -> Result<Config, Error> {
        let defaults = family.defaults;
        let (d_model, n_heads) = (self.size("hidden_size")?, self.size("num_attention_heads")?);
        let n_layers = self.size("num_hidden_layers")?;
        if n_layers > MAX_LAYERS {
            return Err(self.wrong("num_hidden_layers", format!("is {n_layers}, more than {MAX_LAYERS}")));
        }
        let default =
            if self.has("num_key_value_heads") { n_heads } else { defaults.n_kv_heads.unwrap_or(n_heads) };
        let n_kv_heads = self.size_or("num_key_value_heads", default)?;
        if !n_heads.is_multiple_of(n_kv_heads) {
            return Err(self.wrong("num_key_value_heads", "does not divide num_attention_heads"));
        }
        let head_dim = self.head_dim(family, d_model, n_heads)?;
        let max_positions = self.size_or("max_position_embeddings", defaults.max_positions)?;
        let ropes = self.ropes(family, head_dim, max_positions)?;
        let (qkv_bias, o_bias, mlp_bias) = self.biases(family)?;
        let sizes = Sizes {
            d_model,
            n_layers,
            n_heads,
            n_kv_heads,
            head_dim,
            d_ff: self.d_ff(d_model)?,
            vocab_size: self.size("vocab_size")?,
        };
        let facts = family.blueprint(sizes);
        let number = |name: &str, default: f32| self.number_or(name, default.into()).map(|x| x as f32);
        let cap = |name: &str, default: Option<f32>| {
            let default = default.map(f64::from);
            Ok::<_, Error>(self.nullable_number(name, default)?.map(|x| x as f32))
        };
        let scale = self.attention_scale(family, facts.layers.first().map_or(1.0, |kind| kind.scale))?;
        let reach = match &ropes[..] {
            // The family with two ropes says the length after stretching.
            [Rope { scaling: RopeScaling::Linear { .. }, .. }, _] => max_positions,
            ropes => ropes.iter().fold(max_positions, |max, rope| rope.reach(max)),
        };
        Ok(Config {
            max_positions: reach,
            layers: self.layers(family, n_layers, scale)?,
            ropes,
            embedding_scale: number("embedding_multiplier", facts.embedding_scale)?,
            norm_eps: number("rms_norm_eps", facts.norm_eps)?,
            attention_soft_cap: cap("attn_logit_softcapping", facts.attention_soft_cap)?,
            qkv_bias,
            o_bias,
            activation: self.activation(family)?,
            mlp_bias,
            experts: self.experts(family, n_layers)?,
            parallel: self.flag_or("use_parallel_residual", facts.parallel)?,
            residual_scale: number("residual_multiplier", facts.residual_scale)?,
            logit_divisor: number("logits_scaling", facts.logit_divisor)?,
            logit_soft_cap: cap("final_logit_softcapping", facts.logit_soft_cap)?,
            tied_embeddings: self.flag_or("tie_word_embeddings", facts.tied_embeddings)?,
            bos_token: token_ids(self.map.get("bos_token_id")).first().copied(),
            ..facts
        })
    }

    fn head_dim(&self, family: &Family, d_model: usize, n_heads: usize) -> Result<usize, Error> {
        let default = family.defaults.head_dim.filter(|_| !self.has("head_dim"));
        let head_dim = match self.optional_size("head_dim")?.or(default) {
            Some(head_dim) => head_dim,
            None if d_model.is_multiple_of(n_heads) => d_model / n_heads,
            None => {
                let what = format!("is not a multiple of {}", self.spelt("num_attention_heads"));
                return Err(self.wrong("hidden_size", what));
            }
        };
        if family.derives_head_dim() && head_dim * n_heads != d_model {
            return Err(
                self.wrong("head_dim", "is not hidden_size / num_attention_heads, as this family has it")
            );
        }
        if family.positions != family::Positions::Learned && !head_dim.is_multiple_of(2) {
            return Err(self.wrong("head_dim", "is odd, but rotary embeddings rotate pairs"));
        }
        if head_dim > Attention::MAX_HEAD_DIM {
            return Err(
                self.wrong("head_dim", format!("is {head_dim}, more than {}", Attention::MAX_HEAD_DIM))
            );
        }
        Ok(head_dim)
    }

    /// Reads the width inside the MLP. In one family it is four times the model's width where nothing is said.
    fn d_ff(&self, d_model: usize) -> Result<usize, Error> {
        match self.spelt("intermediate_size") {
            "n_inner" => self.size_or("intermediate_size", 4 * d_model),
            _ => self.size("intermediate_size"),
        }
    }

    /// Reads whether q, k and v, o, and the MLP have biases.
    fn biases(&self, family: &Family) -> Result<(bool, bool, bool), Error> {
        let flag = |name: &str, default: Option<bool>| default.map_or(Ok(false), |it| self.flag_or(name, it));
        Ok(match family.biases {
            Biases::Flags { attention, mlp } => {
                let attention = flag("attention_bias", attention)?;
                (attention, attention, flag("mlp_bias", mlp)?)
            }
            Biases::Qkv => (self.flag_or("qkv_bias", true)?, false, false),
            Biases::MlpAndFlag { attention } => {
                let attention = self.flag_or("attention_bias", attention)?;
                (attention, attention, true)
            }
            Biases::All => (true, true, true),
        })
    }

    /// Reads the factor on attention's scores.
    fn attention_scale(&self, family: &Family, default: f32) -> Result<f32, Error> {
        if family.fields.contains(&"attention_multiplier") {
            return Ok(self.number_or("attention_multiplier", 1.0)? as f32);
        }
        if !self.flag_or("scale_attn_weights", true)? {
            return Ok(1.0);
        }
        Ok(self.number("query_pre_attn_scalar")?.map_or(default, |scalar| (1.0 / scalar.sqrt()) as f32))
    }

    fn experts(&self, family: &Family, n_layers: usize) -> Result<Option<Experts>, Error> {
        let Some(described) = family.experts else { return Ok(None) };
        // Newer files call it by the other family's name.
        let (name, default) = described.n;
        let name = if self.get(name).is_none() { "num_local_experts" } else { name };
        let n = self.size_or(name, default)?;
        let per_token = self.size_or("num_experts_per_tok", described.per_token)?;
        if n.saturating_mul(n_layers) > MAX_EXPERTS {
            return Err(
                self.wrong(name, format!("is {n}; all layers together have more than {MAX_EXPERTS} experts"))
            );
        }
        if per_token > n {
            let what = format!("is {per_token}, of {n} experts");
            return Err(self.wrong("num_experts_per_tok", what));
        }
        let shared = |default| self.size_or("shared_expert_intermediate_size", default);
        Ok(Some(Experts {
            n,
            per_token,
            d_ff: self.size_or(described.d_ff.0, described.d_ff.1)?,
            normalise: match described.normalise {
                Some(normalise) => normalise,
                None => self.flag_or("norm_topk_prob", false)?,
            },
            shared_d_ff: described.shared_d_ff.map(shared).transpose()?,
        }))
    }
}

/// Reads one id, a list of ids, or nothing.
fn token_ids(value: Option<&Value>) -> Vec<u32> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Some(Value::Array(values)) => values.iter().filter_map(id).collect(),
        Some(value) => id(value).into_iter().collect(),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use whipstaff_kernels::Activation;

    const SHAPE: &str = r#""model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 100"#;

    fn parse(more: &str) -> Result<Config, Error> {
        of("llama", more)
    }

    /// Parses the same shape as another family's. Of a field that is said twice, the last value counts.
    fn of(family: &str, more: &str) -> Result<Config, Error> {
        let shape = SHAPE.replace("llama", family);
        Config::parse(&format!("{{{shape}{more}}}"), None, Path::new("m"))
    }

    fn check_error(more: &str, part: &str) {
        let error = parse(more).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }

    #[test]
    fn both_spellings_of_rope_mean_the_same() {
        let old = parse(r#", "rope_theta": 500000.0, "rope_scaling": {"type": "linear", "factor": 4.0}"#);
        let new =
            parse(r#", "rope_parameters": {"rope_theta": 500000.0, "rope_type": "linear", "factor": 4.0}"#);
        assert_eq!(old.unwrap(), new.unwrap());
    }

    #[test]
    fn what_is_left_out_takes_the_familys_default() {
        let config = parse("").unwrap();
        assert_eq!((config.n_kv_heads, config.head_dim), (4, 16));
        assert_eq!(config.ropes, [Rope { theta: 10_000.0, dim: 16, scaling: RopeScaling::Default }]);
        assert!(!config.tied_embeddings && !config.qkv_bias && !config.o_bias);

        let gemma2 = of("gemma2", "").unwrap();
        assert_eq!((gemma2.n_kv_heads, gemma2.head_dim, gemma2.tied_embeddings), (4, 256, true));
        assert_eq!((gemma2.attention_soft_cap, gemma2.logit_soft_cap), (Some(50.0), Some(30.0)));
        assert_eq!(gemma2.activation, Activation::GeluTanh);
        let gemma = |act: &str| of("gemma", &format!(r#", "num_key_value_heads": 4, "hidden_act": "{act}""#));
        assert_eq!(gemma("gelu").unwrap().activation, Activation::GeluTanh);
        assert_eq!(gemma("gelu_python").unwrap().activation, Activation::Gelu);
        assert_eq!(of("qwen3", r#", "num_key_value_heads": null"#).unwrap().head_dim, 128);
        assert_eq!(of("smollm3", "").unwrap().ropes[0].theta, 2e6);
        let neox = of("gpt_neox", "").unwrap();
        assert_eq!((neox.ropes[0].dim, neox.parallel, neox.qkv_bias, neox.mlp_bias), (4, true, true, true));
    }

    /// Compares the windows of four layers, zero for none.
    fn check_windows(family: &str, more: &str, want: [usize; 4]) {
        let config = of(family, &format!(r#", "num_hidden_layers": 4 {more}"#)).unwrap();
        let windows: Vec<usize> = config.layers.iter().map(|kind| kind.window.unwrap_or(0)).collect();
        assert_eq!(windows, want, "{family} {more}");
    }

    #[test]
    fn windows_are_where_the_family_has_them() {
        check_windows("llama", "", [0; 4]);
        check_windows("mistral", r#", "num_key_value_heads": 4"#, [4096; 4]);
        check_windows("mistral", r#", "num_key_value_heads": 4, "sliding_window": null"#, [0; 4]);
        check_windows("mistral", r#", "num_key_value_heads": 4, "sliding_window": 7"#, [7; 4]);
        let qwen = r#", "num_key_value_heads": 4, "sliding_window": 7, "max_window_layers": 1"#;
        check_windows("qwen2", qwen, [0; 4]);
        check_windows("qwen2", &format!(r#"{qwen}, "use_sliding_window": true"#), [0, 7, 7, 7]);
        check_windows("gemma2", "", [4096, 0, 4096, 0]);
        check_windows("gemma3_text", r#", "sliding_window_pattern": 3"#, [4096, 4096, 0, 4096]);
        let types =
            r#", "layer_types": ["full_attention", "sliding_attention", "full_attention", "full_attention"]"#;
        check_windows("gemma3_text", types, [0, 4096, 0, 0]);
        check_windows("smollm3", r#", "use_sliding_window": true, "sliding_window": 5"#, [0, 0, 0, 5]);
        check_windows("phi3", r#", "sliding_window": 5"#, [5; 4]);
    }

    #[test]
    fn layers_that_see_a_window_have_the_local_rope() {
        let config = of("gemma3_text", r#", "num_hidden_layers": 2, "sliding_window_pattern": 2"#).unwrap();
        assert_eq!(config.layers.iter().map(|kind| kind.rope).collect::<Vec<_>>(), [Some(1), Some(0)]);
        assert_eq!(config.ropes.iter().map(|rope| rope.theta).collect::<Vec<_>>(), [1e6, 1e4]);
        let smollm3 = of("smollm3", r#", "num_hidden_layers": 2, "no_rope_layers": [0, 1]"#).unwrap();
        assert_eq!(smollm3.layers.iter().map(|kind| kind.rope).collect::<Vec<_>>(), [None, Some(0)]);
    }

    #[test]
    fn stop_tokens_come_from_the_generation_config_first() {
        let text = format!("{{{SHAPE}, \"eos_token_id\": 2}}");
        let eos = |generation| Config::parse(&text, generation, Path::new("m")).unwrap().eos_tokens;
        assert_eq!(eos(None), [2]);
        assert_eq!(eos(Some(r#"{"eos_token_id": [5, 6]}"#)), [5, 6]);
        assert_eq!(eos(Some(r#"{"eos_token_id": null}"#)), [2]);
    }

    #[test]
    fn wrong_fields_are_named() {
        check_error(r#", "num_hidden_layers": 2000000000"#, "num_hidden_layers");
        check_error(r#", "num_key_value_heads": 3"#, "num_key_value_heads");
        check_error(r#", "head_dim": 0"#, "head_dim");
        check_error(r#", "rope_scaling": {"rope_type": "warp", "factor": 2.0}"#, "warp");
        check_error(r#", "rope_scaling": {"rope_type": "yarn"}"#, "rope_scaling.factor");
        check_error(
            r#", "rope_scaling": {"type": "linear", "factor": 2.0, "twist": 1}"#,
            "rope_scaling.twist",
        );
        check_error(r#", "rope_scaling": {"rope_type": "llama3", "factor": 2.0}"#, "low_freq_factor");
        check_error(r#", "hidden_act": "mish""#, "hidden_act");
        check_error(r#", "head_dim": 100000"#, "head_dim");
        check_error(r#", "quantization_config": {"bits": 4}"#, "quantization_config");
    }

    #[test]
    fn fields_that_are_not_known_are_refused_by_name_unless_they_change_nothing() {
        check_error(r#", "attention_twist": 0.5"#, "attention_twist");
        check_error(r#", "sliding_window": 8"#, "sliding_window");
        check_error(r#", "logits_scaling": 8"#, "logits_scaling");
        check_error(r#", "partial_rotary_factor": 0.5"#, "partial_rotary_factor");
        check_error(r#", "layer_types": ["sliding_attention", "full_attention"]"#, "layer_types");
        parse(r#", "attention_twist": null, "torch_dtype": "bfloat16", "use_cache": true"#).unwrap();
        parse(r#", "layer_types": ["full_attention", "full_attention"]"#).unwrap();
        let mistral = |more: &str| of("mistral", &format!(r#", "num_key_value_heads": 4{more}"#));
        mistral(r#", "attention_bias": false"#).unwrap();
        assert!(mistral(r#", "attention_bias": true"#).unwrap_err().to_string().contains("attention_bias"));
        let olmoe = of("olmoe", r#", "clip_qkv": 8.0"#).unwrap_err().to_string();
        assert!(olmoe.contains("clip_qkv"), "{olmoe}");
    }

    #[test]
    fn fields_that_released_files_have_are_accepted() {
        let check = |family: &str, more: &str| {
            of(family, &format!(r#", "num_key_value_heads": 4, {more}"#)).unwrap();
        };
        check("smollm3", r#""max_window_layers": 28, "use_sliding_window": false, "sliding_window": null"#);
        check("gemma2", r#""sliding_window": 4096, "sliding_window_size": 4096"#);
        check("qwen3_moe", r#""qkv_bias": false, "shared_expert_intermediate_size": 0, "use_qk_norm": true"#);
        check("llama", r#""max_sequence_length": 16384, "pruned_heads": {}, "num_labels": 2"#);
        check("llama", r#""rope_scaling": {"type": "yarn", "factor": 16.0, "finetuned": true}"#);
        check("gpt_neox", r#""custom_pipelines": {"text-generation": {"pt": "AutoModelForCausalLM"}}"#);
        let gpt2 = r#"{"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 40,
            "vocab_size": 50, "n_special": 0, "predict_special_tokens": true, "_num_labels": 1}"#;
        Config::parse(gpt2, None, Path::new("m")).unwrap();
    }

    #[test]
    fn the_same_fields_with_other_values_are_refused() {
        let check = |family: &str, more: &str, part: &str| {
            let error = of(family, &format!(r#", "num_key_value_heads": 4, {more}"#)).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        };
        check("gemma2", r#""sliding_window": 4096, "sliding_window_size": 512"#, "sliding_window_size");
        check("qwen3_moe", r#""shared_expert_intermediate_size": 8"#, "shared_expert_intermediate_size");
        check("qwen3_moe", r#""use_qk_norm": false"#, "use_qk_norm");
        check("llama", r#""use_qk_norm": true"#, "use_qk_norm");
        check("llama", r#""qkv_bias": true"#, "qkv_bias");
        check("llama", r#""pruned_heads": {"0": [1]}"#, "pruned_heads");
    }

    #[test]
    fn a_stretched_rope_reaches_further_than_the_file_says() {
        let check = |family: &str, scaling: &str, want: usize| {
            let more = r#", "num_key_value_heads": 4, "max_position_embeddings": 1000"#;
            let config = of(family, &format!(r#"{more}, "rope_scaling": {scaling}"#)).unwrap();
            assert_eq!(config.max_positions, want, "{family} {scaling}");
        };
        check("llama", r#"{"type": "linear", "factor": 4.0}"#, 4000);
        check("llama", r#"{"type": "dynamic", "factor": 2.0}"#, 2000);
        check("qwen2", r#"{"type": "yarn", "factor": 4.0}"#, 4000);
        check("qwen2", r#"{"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 250}"#, 1000);
        check("gemma3_text", r#"{"rope_type": "linear", "factor": 8.0}"#, 1000);
    }

    #[test]
    fn a_pattern_of_windows_that_begins_with_an_underscore_is_not_read() {
        let both = r#", "sliding_window_pattern": 3, "_sliding_window_pattern": 2"#;
        check_windows("gemma3_text", both, [4096, 4096, 0, 4096]);
        check_windows("gemma3_text", r#", "_sliding_window_pattern": 2"#, [4096; 4]);
    }

    #[test]
    fn families_spell_their_fields_as_they_do() {
        let gpt2 = r#"{"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 40,
            "vocab_size": 50}"#;
        let config = Config::parse(gpt2, None, Path::new("m")).unwrap();
        assert_eq!((config.d_model, config.d_ff, config.max_positions), (32, 128, 40));
        assert!(config.learned_positions && config.ropes.is_empty() && config.tied_embeddings);
        let missing = r#"{"model_type": "gpt2", "n_embd": 32, "n_layer": 2}"#;
        let error = Config::parse(missing, None, Path::new("m")).unwrap_err().to_string();
        assert!(error.contains("`n_head`"), "{error}");
    }

    #[test]
    fn a_model_that_also_sees_is_read_for_its_text() {
        let text = format!(
            "{{\"model_type\": \"gemma3\", \"eos_token_id\": [1, 106], \"vision_config\": {{}}, \"text_config\": {{{}}}}}",
            SHAPE.replace("llama", "gemma3_text")
        );
        let config = Config::parse(&text, None, Path::new("m")).unwrap();
        assert_eq!((&config.family[..], config.n_heads, config.n_kv_heads), ("gemma3_text", 4, 4));
        assert_eq!(config.eos_tokens, [1, 106]);
        let error =
            Config::parse(r#"{"model_type": "gemma3"}"#, None, Path::new("m")).unwrap_err().to_string();
        assert!(error.contains("text_config"), "{error}");
    }

    #[test]
    fn an_unsupported_family_is_named_with_what_is_supported() {
        let error =
            Config::parse(r#"{"model_type": "mamba"}"#, None, Path::new("m")).unwrap_err().to_string();
        assert!(error.contains("mamba") && error.contains("supported: llama, mistral"), "{error}");
    }
}
