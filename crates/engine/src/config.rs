//! The blueprint of a model, read from `config.json` in its old and its new spelling.

use crate::{Error, Rope, RopeScaling};
use serde_json::{Map, Value};
use std::path::Path;

/// The values of `model_type` that [`Config::parse`] accepts.
pub const FAMILIES: &[&str] = &["llama"];

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
    /// Width of the gated unit (`intermediate_size`).
    pub d_ff: usize,
    /// Entries of the vocabulary.
    pub vocab_size: usize,
    /// Longest context (`max_position_embeddings`).
    pub max_positions: usize,
    /// Epsilon of the norms.
    pub norm_eps: f32,
    /// Rotary embedding.
    pub rope: Rope,
    /// The head shares the embedding's matrix.
    pub tied_embeddings: bool,
    /// q, k, v and o projections have biases.
    pub attention_bias: bool,
    /// gate, up and down projections have biases.
    pub mlp_bias: bool,
    /// Token put in front of a text, if any.
    pub bos_token: Option<u32>,
    /// Tokens that end a generation: those of `generation_config.json`, else of `config.json`.
    pub eos_tokens: Vec<u32>,
}

impl Config {
    /// Reads a config. `generation` is the text of `generation_config.json`, where there is one;
    /// `path` names the folder in errors.
    ///
    /// # Errors
    /// [`Error::UnsupportedFamily`], or [`Error::Malformed`] naming the field. A field that would
    /// change the arithmetic in a way that is not implemented is refused, never ignored.
    pub fn parse(config: &str, generation: Option<&str>, path: &Path) -> Result<Config, Error> {
        let config_path = path.join("config.json");
        let fields = Fields { map: parse_object(config, &config_path)?, path: &config_path };
        let family = fields.string("model_type")?;
        if !FAMILIES.contains(&family.as_str()) {
            return Err(Error::UnsupportedFamily {
                path: config_path.clone(),
                family,
                supported: FAMILIES.to_vec(),
            });
        }
        fields.refuse_unknown_arithmetic()?;

        let (d_model, n_heads) = (fields.size("hidden_size")?, fields.size("num_attention_heads")?);
        let n_layers = fields.size("num_hidden_layers")?;
        if n_layers > MAX_LAYERS {
            return Err(fields.wrong("num_hidden_layers", "is beyond belief"));
        }
        let n_kv_heads = fields.optional_size("num_key_value_heads")?.unwrap_or(n_heads);
        let head_dim = match fields.optional_size("head_dim")? {
            Some(head_dim) => head_dim,
            None if d_model % n_heads == 0 => d_model / n_heads,
            None => return Err(fields.wrong("hidden_size", "is not a multiple of num_attention_heads")),
        };
        if !n_heads.is_multiple_of(n_kv_heads) {
            return Err(fields.wrong("num_key_value_heads", "does not divide num_attention_heads"));
        }
        if !head_dim.is_multiple_of(2) {
            return Err(fields.wrong("head_dim", "is odd, but rotary embeddings rotate pairs"));
        }
        let generation = match generation {
            Some(text) => parse_object(text, &path.join("generation_config.json"))?,
            None => Map::new(),
        };
        let eos = generation.get("eos_token_id").filter(|value| !value.is_null());
        Ok(Config {
            family,
            d_model,
            n_layers,
            n_heads,
            n_kv_heads,
            head_dim,
            d_ff: fields.size("intermediate_size")?,
            vocab_size: fields.size("vocab_size")?,
            max_positions: fields.optional_size("max_position_embeddings")?.unwrap_or(2048),
            norm_eps: fields.number("rms_norm_eps")?.unwrap_or(1e-6) as f32,
            rope: fields.rope()?,
            tied_embeddings: fields.flag("tie_word_embeddings")?,
            attention_bias: fields.flag("attention_bias")?,
            mlp_bias: fields.flag("mlp_bias")?,
            bos_token: token_ids(fields.map.get("bos_token_id")).first().copied(),
            eos_tokens: token_ids(eos.or(fields.map.get("eos_token_id"))),
        })
    }

    /// Parameters of the model, by shape.
    pub fn n_parameters(&self) -> usize {
        let (q, kv) = (self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim);
        let attention = 2 * self.d_model * q + 2 * self.d_model * kv;
        let attention_biases = if self.attention_bias { q + 2 * kv + self.d_model } else { 0 };
        let mlp = 3 * self.d_model * self.d_ff;
        let mlp_biases = if self.mlp_bias { 2 * self.d_ff + self.d_model } else { 0 };
        let block = attention + attention_biases + mlp + mlp_biases + 2 * self.d_model;
        let embeddings = self.vocab_size * self.d_model * if self.tied_embeddings { 1 } else { 2 };
        self.n_layers * block + embeddings + self.d_model
    }
}

fn parse_object(text: &str, path: &Path) -> Result<Map<String, Value>, Error> {
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Error::malformed(path, "is not a JSON object")),
        Err(error) => Err(Error::malformed(path, format!("is not JSON: {error}"))),
    }
}

/// One id, a list of ids, or nothing.
fn token_ids(value: Option<&Value>) -> Vec<u32> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Some(Value::Array(values)) => values.iter().filter_map(id).collect(),
        Some(value) => id(value).into_iter().collect(),
        None => Vec::new(),
    }
}

/// The fields of a config file, with errors that name them.
struct Fields<'a> {
    map: Map<String, Value>,
    path: &'a Path,
}

impl Fields<'_> {
    fn wrong(&self, name: &str, what: &str) -> Error {
        Error::malformed(self.path, format!("`{name}` {what}"))
    }

    /// The value of a field; absent and null are the same.
    fn get(&self, name: &str) -> Option<&Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    fn string(&self, name: &str) -> Result<String, Error> {
        let value = self.get(name).ok_or_else(|| self.wrong(name, "is missing"))?;
        value.as_str().map(str::to_owned).ok_or_else(|| self.wrong(name, "is not a string"))
    }

    fn optional_size(&self, name: &str) -> Result<Option<usize>, Error> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.as_u64() {
            Some(n) if n > 0 && n < MAX_SIZE as u64 => Ok(Some(n as usize)),
            _ => Err(self.wrong(name, "is not a positive whole number")),
        }
    }

    fn size(&self, name: &str) -> Result<usize, Error> {
        self.optional_size(name)?.ok_or_else(|| self.wrong(name, "is missing"))
    }

    fn number(&self, name: &str) -> Result<Option<f64>, Error> {
        number_in(&self.map, name).map_err(|what| self.wrong(name, what))
    }

    fn flag(&self, name: &str) -> Result<bool, Error> {
        let Some(value) = self.get(name) else { return Ok(false) };
        value.as_bool().ok_or_else(|| self.wrong(name, "is neither true nor false"))
    }

    /// The old spelling has `rope_theta` beside `rope_scaling`, the new one both in
    /// `rope_parameters`; inside, the kind is called `rope_type` or `type`.
    fn rope(&self) -> Result<Rope, Error> {
        let (name, inner) = match (self.get("rope_parameters"), self.get("rope_scaling")) {
            (Some(inner), _) => ("rope_parameters", inner),
            (None, Some(inner)) => ("rope_scaling", inner),
            (None, None) => ("rope_scaling", &Value::Null),
        };
        let empty = Map::new();
        let inner = match inner {
            Value::Object(map) => map,
            Value::Null => &empty,
            _ => return Err(self.wrong(name, "is not an object")),
        };
        let number = |field: &str| {
            number_in(inner, field).map_err(|what| self.wrong(&format!("{name}.{field}"), what))
        };
        let required =
            |field: &str| number(field)?.ok_or_else(|| self.wrong(&format!("{name}.{field}"), "is missing"));
        let theta = match number("rope_theta")? {
            Some(theta) => theta,
            None => self.number("rope_theta")?.unwrap_or(10_000.0),
        };
        let kind = inner.get("rope_type").or(inner.get("type")).and_then(Value::as_str).unwrap_or("default");
        let scaling = match kind {
            "default" => RopeScaling::Default,
            "linear" => RopeScaling::Linear { factor: required("factor")? },
            "llama3" => RopeScaling::Llama3 {
                factor: required("factor")?,
                low_freq_factor: required("low_freq_factor")?,
                high_freq_factor: required("high_freq_factor")?,
                original_max_positions: required("original_max_position_embeddings")?,
            },
            other => {
                let what =
                    format!("is `{other}`, which is not supported (supported: default, linear, llama3)");
                return Err(self.wrong(&format!("{name}.rope_type"), &what));
            }
        };
        Ok(Rope { theta, scaling })
    }

    fn refuse_unknown_arithmetic(&self) -> Result<(), Error> {
        if let Some(activation) = self.get("hidden_act")
            && activation != "silu"
        {
            let what = format!("is {activation}, which is not supported (supported: \"silu\")");
            return Err(self.wrong("hidden_act", &what));
        }
        let is_one = |value: &Value| value.as_f64() == Some(1.0);
        for (name, neutral) in [
            ("quantization_config", None),
            ("partial_rotary_factor", Some(is_one)),
            ("pretraining_tp", Some(is_one)),
        ] {
            if let Some(value) = self.get(name)
                && !neutral.is_some_and(|neutral| neutral(value))
            {
                return Err(self.wrong(name, "changes the arithmetic in a way that is not supported"));
            }
        }
        Ok(())
    }
}

fn number_in(map: &Map<String, Value>, name: &str) -> Result<Option<f64>, &'static str> {
    match map.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64() {
            Some(x) if x.is_finite() && x > 0.0 => Ok(Some(x)),
            _ => Err("is not a positive number"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: &str = r#""model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 100"#;

    fn parse(more: &str) -> Result<Config, Error> {
        Config::parse(&format!("{{{SHAPE}{more}}}"), None, Path::new("m"))
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
        assert_eq!(config.rope, Rope { theta: 10_000.0, scaling: RopeScaling::Default });
        assert!(!config.tied_embeddings && !config.attention_bias);
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
        check_error(r#", "rope_scaling": {"rope_type": "yarn", "factor": 2.0}"#, "yarn");
        check_error(r#", "rope_scaling": {"rope_type": "llama3", "factor": 2.0}"#, "low_freq_factor");
        check_error(r#", "hidden_act": "gelu""#, "hidden_act");
        check_error(r#", "quantization_config": {"bits": 4}"#, "quantization_config");
    }

    #[test]
    fn an_unsupported_family_is_named_with_what_is_supported() {
        let error = Config::parse(r#"{"model_type": "gpt2"}"#, None, Path::new("m")).unwrap_err().to_string();
        assert!(error.contains("gpt2") && error.contains("supported: llama"), "{error}");
    }
}
