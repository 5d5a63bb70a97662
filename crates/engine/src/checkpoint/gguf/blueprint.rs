//! The blueprint of a model as the metadata of a GGUF file: what `config.rs`, `keys.rs` and `rope.rs` read,
//! the other way round. Whether the file says all of it is not reasoned about but tried: the header is read
//! back, and what comes out has to be what went in.

use super::architecture::Architecture;
use super::rope::{LONG, PER_PAIR, SHORT};
use super::write::{GgufValue, GgufWriter};
use crate::config::{Config, LayerKind, NormKind, Rope, RopeScaling, is_close};
use whipstaff_kernels::Dtype;

/// Keys of a blueprint, written under the name of its architecture.
struct Keys {
    row: &'static Architecture,
    writer: GgufWriter<'static>,
}

/// Begins a file with the keys of `config`, called `name`, and with the tensors that say the rest of its rope,
/// which are the first of the file. `file_type` is llama.cpp's number for the type of most matrices.
///
/// # Errors
/// Returns what a file has no key for, in words.
pub(super) fn write(
    config: &Config,
    row: &'static Architecture,
    name: &str,
    file_type: u32,
) -> Result<GgufWriter<'static>, String> {
    let writer = GgufWriter::new(row.name)
        .set("general.name", GgufValue::Text(name.to_owned()))
        .set("general.file_type", GgufValue::U32(file_type))
        .set("general.quantization_version", GgufValue::U32(2));
    let mut keys = Keys { row, writer };
    keys.sizes(config);
    keys.experts(config);
    keys.attention(config);
    keys.multipliers(config);
    if let Some(rope) = config.ropes.first() {
        keys.rope(rope)?;
    }
    if let (Some(local), true) = (config.ropes.get(1), row.keys.contains(&"rope.freq_base_swa")) {
        keys.float("rope.freq_base_swa", local.theta as f32);
    }
    Ok(keys.writer)
}

impl Keys {
    fn set(&mut self, key: &str, value: GgufValue) {
        let writer = std::mem::replace(&mut self.writer, GgufWriter::new(""));
        self.writer = writer.set(&format!("{}.{key}", self.row.name), value);
    }

    fn whole(&mut self, key: &str, n: usize) {
        self.set(key, GgufValue::U32(n as u32));
    }

    fn float(&mut self, key: &str, x: f32) {
        self.set(key, GgufValue::F32(x));
    }

    fn reads(&self, key: &str) -> bool {
        self.row.keys.contains(&key)
    }

    fn sizes(&mut self, config: &Config) {
        self.whole("block_count", config.n_layers);
        self.whole("context_length", config.max_positions);
        self.whole("embedding_length", config.d_model);
        self.whole("feed_forward_length", config.d_ff);
        self.whole("attention.head_count", config.n_heads);
        self.whole("attention.head_count_kv", config.n_kv_heads);
        self.whole("attention.key_length", config.head_dim);
        self.whole("attention.value_length", config.head_dim);
        self.float(self.row.epsilon, config.norm_eps);
        self.whole("vocab_size", config.vocab_size);
    }

    fn experts(&mut self, config: &Config) {
        let Some(experts) = config.experts else { return };
        self.whole("expert_count", experts.n);
        self.whole("expert_used_count", experts.per_token);
        if self.reads("expert_feed_forward_length") {
            self.whole("expert_feed_forward_length", experts.d_ff);
        }
        if let (Some(shared), true) = (experts.shared_d_ff, self.reads("expert_shared_feed_forward_length")) {
            self.whole("expert_shared_feed_forward_length", shared);
        }
    }

    fn attention(&mut self, config: &Config) {
        let key = "attention.sliding_window";
        if self.reads(key) {
            let window = config.layers.iter().find_map(|kind| kind.window);
            self.whole(key, window.unwrap_or(0));
        }
        let key = "use_parallel_residual";
        if self.reads(key) {
            self.set(key, GgufValue::Bool(config.parallel));
        }
    }

    fn multipliers(&mut self, config: &Config) {
        let given = [
            ("attention.scale", config.layers.first().map(|kind| kind.scale)),
            ("embedding_scale", Some(config.embedding_scale)),
            ("residual_scale", Some(config.residual_scale)),
            ("logit_scale", Some(config.logit_divisor)),
            ("attn_logit_softcapping", config.attention_soft_cap),
            ("final_logit_softcapping", config.logit_soft_cap),
        ];
        for (key, value) in given {
            if let (Some(value), true) = (value, self.reads(key)) {
                self.float(key, value);
            }
        }
    }

    fn rope(&mut self, rope: &Rope) -> Result<(), String> {
        self.whole("rope.dimension_count", rope.dim);
        self.float("rope.freq_base", rope.theta as f32);
        let kind = |kind: &str| GgufValue::Text(kind.to_owned());
        match &rope.scaling {
            RopeScaling::Default => {}
            RopeScaling::Linear { factor } => {
                self.set("rope.scaling.type", kind("linear"));
                self.float("rope.scaling.factor", *factor as f32);
            }
            RopeScaling::Llama3 { .. } | RopeScaling::PerPair { .. } => {
                self.factors(PER_PAIR, &rope.factors());
            }
            RopeScaling::Yarn { factor, beta_fast, beta_slow, original_max_positions, .. } => {
                self.set("rope.scaling.type", kind("yarn"));
                self.float("rope.scaling.factor", *factor as f32);
                self.float("rope.scaling.yarn_beta_fast", *beta_fast as f32);
                self.float("rope.scaling.yarn_beta_slow", *beta_slow as f32);
                self.whole("rope.scaling.original_context_length", *original_max_positions as usize);
            }
            RopeScaling::LongRope {
                short_factors,
                long_factors,
                attention_factor,
                original_max_positions,
            } => {
                let floats = |factors: &[f64]| factors.iter().map(|x| *x as f32).collect::<Vec<f32>>();
                self.float("rope.scaling.attn_factor", *attention_factor as f32);
                self.whole("rope.scaling.original_context_length", *original_max_positions as usize);
                self.factors(SHORT, &floats(short_factors));
                self.factors(LONG, &floats(long_factors));
            }
            RopeScaling::Dynamic { .. } => {
                return Err(
                    "`rope_scaling` is of the kind `dynamic`, which a GGUF file cannot say".to_owned()
                );
            }
        }
        Ok(())
    }

    fn factors(&mut self, name: &str, factors: &[f32]) {
        let bytes: Vec<u8> = factors.iter().flat_map(|x| x.to_le_bytes()).collect();
        let writer = std::mem::replace(&mut self.writer, GgufWriter::new(""));
        self.writer = writer.tensor(name, Dtype::F32, &[factors.len()], bytes);
    }
}

/// Fields of `config.json` in which the blueprint that is read from the file is not the one that it was written
/// from; `None` if it is the same model.
pub(super) fn difference(written: &Config, read: &Config) -> Option<&'static str> {
    let layers = |same: fn(&LayerKind, &LayerKind) -> bool| {
        written.layers.len() == read.layers.len()
            && written.layers.iter().zip(&read.layers).all(|(a, b)| same(a, b))
    };
    let experts = |of: &Config| of.experts.map(|it| it.normalise);
    let fields = [
        ("hidden_act", written.activation == read.activation),
        ("attention_bias", (written.qkv_bias, written.o_bias) == (read.qkv_bias, read.o_bias)),
        ("mlp_bias", written.mlp_bias == read.mlp_bias),
        ("sliding_window and the layers that have it", layers(|a, b| a.window == b.window)),
        ("the layers without rope", layers(|a, b| a.rope == b.rope)),
        ("mlp_only_layers or decoder_sparse_step", layers(|a, b| a.routed == b.routed)),
        (
            "what attention's scores are multiplied by (query_pre_attn_scalar, scale_attn_weights, \
             scale_attn_by_inverse_layer_idx)",
            layers(|a, b| is_close(a.scale, b.scale)),
        ),
        (
            "rope_scaling",
            written.ropes.len() == read.ropes.len()
                && written.ropes.iter().zip(&read.ropes).all(|(a, b)| a.is_nearly(b)),
        ),
        ("norm_topk_prob", experts(written) == experts(read)),
        ("attn_logit_softcapping", written.attention_soft_cap == read.attention_soft_cap),
        ("final_logit_softcapping", written.logit_soft_cap == read.logit_soft_cap),
        ("embedding_multiplier", is_close(written.embedding_scale, read.embedding_scale)),
    ];
    let first = fields.iter().find(|(_, same)| !same).map(|(field, _)| *field);
    // Whatever is not in the list above still has to be the same.
    let rest = Config {
        family: written.family.clone(),
        norm: if written.norm == NormKind::RmsPlusOne { NormKind::Rms } else { written.norm },
        ropes: read.ropes.clone(),
        layers: read.layers.clone(),
        embedding_scale: read.embedding_scale,
        // A reader adds tokens that end a turn by their name.
        bos_token: read.bos_token,
        eos_tokens: read.eos_tokens.clone(),
        ..written.clone()
    };
    first.or_else(|| {
        (rest != Config { family: written.family.clone(), ..read.clone() })
            .then_some("one of its sizes or multipliers")
    })
}
