//! The blueprint of a model, from the metadata of a GGUF file.

use super::Gguf;
use super::metadata::Metadata;
use crate::config::family::{FAMILIES, Sizes};
use crate::config::{MAX_LAYERS, MAX_SIZE};
use crate::{Config, Error, Rope, RopeScaling};
use whipstaff_kernels::Matrix;

/// The values of `general.architecture` that are read.
const ARCHITECTURES: &[&str] = &["llama"];

/// Keys behind `llama.` that are read, or that say nothing about the arithmetic.
const KNOWN: &[&str] = &[
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_rms_epsilon",
    "attention.value_length",
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "pooling_type",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scale_linear",
    "rope.scaling.factor",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    "tensor_data_layout",
    "vocab_size",
];

/// Keys behind `llama.` that would change the arithmetic, with the values that leave it alone.
const NEUTRAL: &[(&str, &[f64])] = &[
    ("attention.causal", &[1.0]),
    ("attention.clamp_kqv", &[0.0]),
    ("attention.max_alibi_bias", &[0.0]),
    ("attention.scale", &[0.0]),
    ("attention.sliding_window", &[0.0]),
    ("attn_logit_softcapping", &[0.0]),
    ("embedding_scale", &[0.0, 1.0]),
    ("expert_count", &[0.0]),
    ("expert_used_count", &[0.0]),
    ("final_logit_softcapping", &[0.0]),
    ("logit_scale", &[0.0, 1.0]),
    ("nextn_predict_layers", &[0.0]),
    ("residual_scale", &[0.0, 1.0]),
    ("rope.scaling.alpha", &[0.0]),
    ("rope.scaling.attn_factor", &[1.0]),
    ("use_parallel_residual", &[0.0]),
];

/// Tokens that end a turn by their very name. Converted chat models often name only one of theirs in
/// the metadata.
const TURN_ENDS: &[&str] =
    &["<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<|end_of_text|>", "<|endoftext|>"];

impl Gguf {
    /// The blueprint.
    ///
    /// # Errors
    /// [`Error::UnsupportedFamily`], or [`Error::Malformed`] naming the key. A key that would change
    /// the arithmetic in a way that is not implemented is refused, never ignored; so is one that is
    /// not known.
    pub(crate) fn config(&self) -> Result<Config, Error> {
        let metadata = &self.metadata;
        let architecture = "general.architecture";
        let family = metadata.text(architecture)?.ok_or_else(|| metadata.missing(architecture))?.to_owned();
        let row = FAMILIES.iter().find(|row| row.name == family && ARCHITECTURES.contains(&row.name));
        let Some(row) = row else {
            let (path, supported) = (self.path.clone(), ARCHITECTURES.to_vec());
            return Err(Error::UnsupportedFamily { path, family, supported });
        };
        let keys = Keys { metadata, prefix: &family };
        keys.refuse_unknown_arithmetic()?;
        self.check_quantisation_version()?;

        let n_layers = keys.size("block_count")?;
        if n_layers > MAX_LAYERS {
            return Err(keys.wrong("block_count", "is beyond belief"));
        }
        let d_model = keys.size("embedding_length")?;
        let n_heads = keys.size("attention.head_count")?;
        let n_kv_heads = keys.optional_size("attention.head_count_kv")?.unwrap_or(n_heads);
        if !n_heads.is_multiple_of(n_kv_heads) {
            return Err(keys.wrong("attention.head_count_kv", "does not divide attention.head_count"));
        }
        let head_dim = keys.head_dim(d_model, n_heads)?;
        let has = |name: &str| self.tensors.contains_key(name);
        let has_any = |parts: &[&str]| parts.iter().any(|part| has(&format!("blk.0.{part}.bias")));
        let vocab_size = self.vocab_size()?;
        let sizes = Sizes {
            d_model,
            n_layers,
            n_heads,
            n_kv_heads,
            head_dim,
            d_ff: keys.size("feed_forward_length")?,
            vocab_size,
        };
        let has_attention_bias = has_any(&["attn_q", "attn_k", "attn_v", "attn_output"]);
        Ok(Config {
            max_positions: keys.size("context_length")?,
            norm_eps: keys
                .positive("attention.layer_norm_rms_epsilon")?
                .ok_or_else(|| keys.missing("attention.layer_norm_rms_epsilon"))?
                as f32,
            ropes: vec![self.rope(&keys, head_dim)?],
            tied_embeddings: !has("output.weight"),
            qkv_bias: has_attention_bias,
            o_bias: has_attention_bias,
            mlp_bias: has_any(&["ffn_gate", "ffn_up", "ffn_down"]),
            bos_token: self.token_id("tokenizer.ggml.bos_token_id", vocab_size)?,
            eos_tokens: self.eos_tokens(vocab_size)?,
            ..row.blueprint(sizes)
        })
    }

    /// Rows of the embedding. A tokenizer with more tokens would give ids that have none.
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

    /// The layouts of quantised blocks changed once, before this number was 2.
    fn check_quantisation_version(&self) -> Result<(), Error> {
        let key = "general.quantization_version";
        match self.metadata.whole(key)? {
            None | Some(2) => Ok(()),
            Some(version) => {
                Err(self.metadata.error(key, format!("is {version}, which is not supported (supported: 2)")))
            }
        }
    }

    /// Frequencies: a base, a factor for all, and factors for each pair where the file has them.
    fn rope(&self, keys: &Keys, head_dim: usize) -> Result<Rope, Error> {
        let theta = keys.positive("rope.freq_base")?.unwrap_or(10_000.0);
        // A factor without a type is linear, as in files older than the type.
        let factor = match keys.metadata.text(&keys.name("rope.scaling.type"))?.unwrap_or("linear") {
            "none" => 1.0,
            "linear" => {
                let factor = keys.not_negative("rope.scaling.factor")?;
                let factor = factor.map_or_else(|| keys.not_negative("rope.scale_linear"), |it| Ok(Some(it)));
                factor?.filter(|factor| *factor != 0.0).unwrap_or(1.0)
            }
            other => {
                let what = format!("is `{other}`, which is not supported (supported: none, linear)");
                return Err(keys.wrong("rope.scaling.type", &what));
            }
        };
        let name = "rope_freqs.weight";
        let scaling = match self.tensors.get(name) {
            Some(tensor) => {
                let wrong = |what: &str| Error::malformed(&self.path, format!("tensor `{name}` {what}"));
                let dtype = tensor.dtype.clone().map_err(|kind| wrong(&format!("is {kind}")))?;
                if tensor.shape != [head_dim / 2] {
                    let shape = format!("is {:?}, the head asks for [{}]", tensor.shape, head_dim / 2);
                    return Err(wrong(&shape));
                }
                let factors = Matrix::new(&self.bytes, tensor.range.clone(), dtype, 1, head_dim / 2);
                let factors = factors.map_err(|error| wrong(&format!("{error:?}")))?.to_f32();
                if !factors.iter().all(|factor| factor.is_finite() && *factor > 0.0) {
                    return Err(wrong("has factors that are not positive numbers"));
                }
                let factors = factors.into_iter().map(|it| f64::from(it) * factor).collect();
                RopeScaling::PerPair { factors }
            }
            None if factor == 1.0 => RopeScaling::Default,
            None => RopeScaling::Linear { factor },
        };
        Ok(Rope { theta, dim: head_dim, scaling })
    }

    /// The token that a key names.
    fn token_id(&self, key: &str, vocab_size: usize) -> Result<Option<u32>, Error> {
        let Some(id) = self.metadata.whole(key)? else { return Ok(None) };
        match u32::try_from(id) {
            Ok(id) if (id as usize) < vocab_size => Ok(Some(id)),
            _ => Err(self.metadata.error(key, format!("is {id}, outside the vocabulary of {vocab_size}"))),
        }
    }

    /// The tokens that end a text or a turn: those that the metadata names, and control tokens with
    /// a name that says so.
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

/// The keys of one architecture, with errors that name them.
struct Keys<'a> {
    metadata: &'a Metadata,
    prefix: &'a str,
}

impl Keys<'_> {
    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.prefix)
    }

    fn wrong(&self, key: &str, what: &str) -> Error {
        self.metadata.error(&self.name(key), what)
    }

    fn missing(&self, key: &str) -> Error {
        self.metadata.missing(&self.name(key))
    }

    /// A size, also where it is given layer by layer, if it is the same for all.
    fn optional_size(&self, key: &str) -> Result<Option<usize>, Error> {
        let Some(sizes) = self.metadata.wholes(&self.name(key))? else { return Ok(None) };
        let Some(&size) = sizes.first() else { return Err(self.wrong(key, "is empty")) };
        if sizes.iter().any(|it| *it != size) {
            return Err(self.wrong(key, "differs between layers, which is not supported"));
        }
        match usize::try_from(size) {
            Ok(size) if size > 0 && size < MAX_SIZE => Ok(Some(size)),
            _ => Err(self.wrong(key, &format!("is {size}, which is not a size"))),
        }
    }

    fn size(&self, key: &str) -> Result<usize, Error> {
        self.optional_size(key)?.ok_or_else(|| self.missing(key))
    }

    fn not_negative(&self, key: &str) -> Result<Option<f64>, Error> {
        match self.metadata.number(&self.name(key))? {
            Some(x) if !(x.is_finite() && x >= 0.0) => Err(self.wrong(key, &format!("is {x}"))),
            x => Ok(x),
        }
    }

    fn positive(&self, key: &str) -> Result<Option<f64>, Error> {
        match self.not_negative(key)? {
            Some(0.0) => Err(self.wrong(key, "is 0")),
            x => Ok(x),
        }
    }

    /// The width of a head: keys, values and the part that is rotated are equally wide.
    fn head_dim(&self, d_model: usize, n_heads: usize) -> Result<usize, Error> {
        let head_dim = match self.optional_size("attention.key_length")? {
            Some(head_dim) => head_dim,
            None if d_model.is_multiple_of(n_heads) => d_model / n_heads,
            None => {
                return Err(self.wrong("embedding_length", "is not a multiple of attention.head_count"));
            }
        };
        let value = self.optional_size("attention.value_length")?;
        if value.unwrap_or(d_model / n_heads) != head_dim {
            let what = format!("is not the width of a key, {head_dim}, which is not supported");
            return Err(self.wrong("attention.value_length", &what));
        }
        if self.optional_size("rope.dimension_count")?.is_some_and(|n| n != head_dim) {
            let what = format!("is not the width of a head, {head_dim}, which is not supported");
            return Err(self.wrong("rope.dimension_count", &what));
        }
        if !head_dim.is_multiple_of(2) {
            return Err(self.wrong("attention.key_length", "is odd, but rotary embeddings rotate pairs"));
        }
        Ok(head_dim)
    }

    fn refuse_unknown_arithmetic(&self) -> Result<(), Error> {
        for name in self.metadata.keys() {
            let Some(key) = name.strip_prefix(self.prefix).and_then(|rest| rest.strip_prefix('.')) else {
                continue;
            };
            if KNOWN.contains(&key) {
                continue;
            }
            let neutral = NEUTRAL.iter().find(|(known, _)| *known == key).map(|(_, values)| *values);
            let Some(neutral) = neutral else {
                return Err(self.wrong(key, "is not known and may change the arithmetic"));
            };
            let value = self.metadata.number_or_flag(name)?.unwrap_or(0.0);
            if !neutral.contains(&value) {
                let what = format!("is {value}: it changes the arithmetic in a way that is not supported");
                return Err(self.wrong(key, &what));
            }
        }
        Ok(())
    }
}
