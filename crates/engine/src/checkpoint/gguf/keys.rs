//! The keys of one architecture, with errors that name them: sizes, layers, experts.

use super::architecture::Architecture;
use super::metadata::Metadata;
use crate::config::family::{Family, Positions, Windows};
use crate::config::{Config, Experts, LayerKind, MAX_SIZE};
use crate::error::Error;
use whipstaff_kernels::Attention;

/// Keys behind the architecture's name that are read, or that say nothing about the arithmetic.
const KNOWN: &[&str] = &[
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
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
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "tensor_data_layout",
    "vocab_size",
];

/// Keys that would change the arithmetic of an architecture that does not read them, with the values that leave it
/// alone.
const NEUTRAL: &[(&str, &[f64])] = &[
    ("attention.causal", &[1.0]),
    ("attention.clamp_kqv", &[0.0]),
    ("attention.max_alibi_bias", &[0.0]),
    ("attention.scale", &[0.0]),
    ("attention.sliding_window", &[0.0]),
    ("attn_logit_softcapping", &[0.0]),
    ("embedding_scale", &[0.0, 1.0]),
    ("expert_count", &[0.0]),
    ("expert_gating_func", &[0.0, SOFTMAX]),
    ("expert_group_count", &[0.0, 1.0]),
    ("expert_group_used_count", &[0.0, 1.0]),
    ("expert_shared_count", &[0.0]),
    ("expert_used_count", &[0.0]),
    ("expert_weights_scale", &[0.0, 1.0]),
    ("final_logit_softcapping", &[0.0]),
    ("logit_scale", &[0.0, 1.0]),
    ("nextn_predict_layers", &[0.0]),
    ("residual_scale", &[0.0, 1.0]),
    ("rope.scaling.alpha", &[0.0]),
    ("rope.scaling.attn_factor", &[1.0]),
    ("rope.scaling.yarn_ext_factor", &[1.0]),
    ("rope.scaling.yarn_attn_factor", &[1.0]),
    ("use_parallel_residual", &[0.0]),
];

/// How llama.cpp numbers the function that turns a router's scores into weights.
const SOFTMAX: f64 = 1.0;

/// More experts than all layers of any model have; more would make us list their tensors for hours.
const MAX_EXPERTS: usize = 100_000;

/// The keys of a file's architecture.
pub(super) struct Keys<'a> {
    pub(super) metadata: &'a Metadata,
    pub(super) row: &'static Architecture,
}

impl Keys<'_> {
    pub(super) fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.row.name)
    }

    pub(super) fn wrong(&self, key: &str, what: &str) -> Error {
        self.metadata.error(&self.name(key), what)
    }

    pub(super) fn missing(&self, key: &str) -> Error {
        self.metadata.missing(&self.name(key))
    }

    /// Reads a size, also where it is given layer by layer, if it is the same for all.
    pub(super) fn optional_size(&self, key: &str) -> Result<Option<usize>, Error> {
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

    pub(super) fn size(&self, key: &str) -> Result<usize, Error> {
        self.optional_size(key)?.ok_or_else(|| self.missing(key))
    }

    /// Reads a size that may be 0, as it is where the key is missing.
    pub(super) fn count(&self, key: &str) -> Result<usize, Error> {
        match self.metadata.whole(&self.name(key))? {
            None | Some(0) => Ok(0),
            Some(_) => self.size(key),
        }
    }

    pub(super) fn not_negative(&self, key: &str) -> Result<Option<f64>, Error> {
        match self.metadata.number(&self.name(key))? {
            Some(x) if !(x.is_finite() && x >= 0.0) => Err(self.wrong(key, &format!("is {x}"))),
            x => Ok(x),
        }
    }

    pub(super) fn positive(&self, key: &str) -> Result<Option<f64>, Error> {
        match self.not_negative(key)? {
            Some(0.0) => Err(self.wrong(key, "is 0")),
            x => Ok(x),
        }
    }

    /// Reads a number of an architecture that has the key; 0 is as good as nothing.
    fn own_number(&self, key: &str) -> Result<Option<f64>, Error> {
        let number = if self.row.keys.contains(&key) { self.not_negative(key)? } else { None };
        Ok(number.filter(|x| *x != 0.0))
    }

    pub(super) fn multiplier(&self, key: &str, default: f32) -> Result<f32, Error> {
        Ok(self.own_number(key)?.map_or(default, |x| x as f32))
    }

    /// Reads a soft cap; 0 says that there is none.
    pub(super) fn soft_cap(&self, key: &str, default: Option<f32>) -> Result<Option<f32>, Error> {
        let is_read = self.row.keys.contains(&key) && self.metadata.number(&self.name(key))?.is_some();
        Ok(if is_read { self.own_number(key)?.map(|x| x as f32) } else { default })
    }

    /// Reads the width of a head. Keys and values are equally wide.
    pub(super) fn head_dim(&self, family: &Family, d_model: usize, n_heads: usize) -> Result<usize, Error> {
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
        let rotated = self.optional_size("rope.dimension_count")?.unwrap_or(head_dim);
        if family.positions == Positions::Rotary && rotated != head_dim {
            let what = format!("is not the width of a head, {head_dim}, which is not supported");
            return Err(self.wrong("rope.dimension_count", &what));
        }
        if rotated > head_dim || (family.positions != Positions::Learned && !rotated.is_multiple_of(2)) {
            let what = format!("is {rotated}: of heads of {head_dim}, rotary embeddings rotate pairs");
            return Err(self.wrong("rope.dimension_count", &what));
        }
        if head_dim > Attention::MAX_HEAD_DIM {
            let what = format!("is {head_dim}, more than {}", Attention::MAX_HEAD_DIM);
            return Err(self.wrong("attention.key_length", &what));
        }
        Ok(head_dim)
    }

    /// Reads the kind of every layer.
    pub(super) fn layers(
        &self,
        family: &Family,
        facts: &Config,
        routed: bool,
    ) -> Result<Vec<LayerKind>, Error> {
        let key = "attention.sliding_window";
        let is_read = self.row.keys.contains(&key);
        let given = if is_read { self.metadata.whole(&self.name(key))? } else { None };
        let window = match given {
            Some(0) => None,
            Some(_) => self.optional_size(key)?,
            None => family.defaults.window.filter(|_| is_read),
        };
        let (slides_but_every, has_two) = match family.windows {
            Windows::AllButEvery { n, rope_local } => (n, rope_local),
            _ => (usize::MAX, false),
        };
        // Released models have the root of a head's width where a scalar of its own may stand; the
        // one that has not is told by its depth, as llama.cpp does, which knows no key for it.
        let largest = match family.name {
            "gemma2" => Some(46),
            "gemma3_text" => Some(62),
            _ => None,
        };
        let width = match largest {
            Some(depth) if facts.n_layers == depth => facts.d_model / facts.n_heads,
            _ => facts.head_dim,
        };
        let scale = self.multiplier("attention.scale", 1.0 / (width as f32).sqrt())?;
        let kind = |(i, kind): (usize, &LayerKind)| {
            let n = i + 1;
            let window = window.filter(|_| n % slides_but_every != 0);
            let is_bare = self.row.unrotated_every.is_some_and(|every| n % every == 0);
            let rope = kind.rope.filter(|_| !is_bare).map(|_| usize::from(has_two && window.is_some()));
            LayerKind { window, rope, scale, routed }
        };
        Ok(facts.layers.iter().enumerate().map(kind).collect())
    }

    /// Reads the experts. In files of these architectures, all layers have experts or none does.
    pub(super) fn experts(
        &self,
        family: &Family,
        n: usize,
        d_ff: usize,
        n_layers: usize,
    ) -> Result<Option<Experts>, Error> {
        let Some(described) = family.experts else { return Ok(None) };
        if n.saturating_mul(n_layers) > MAX_EXPERTS {
            return Err(self.wrong(
                "expert_count",
                &format!("is {n}; all layers together have more than {MAX_EXPERTS} experts"),
            ));
        }
        if n == 0 {
            return Err(self.wrong("expert_count", "is missing, or 0"));
        }
        let per_token = self.size("expert_used_count")?;
        if per_token > n {
            return Err(self.wrong("expert_used_count", &format!("is {per_token}, of {n} experts")));
        }
        let own = |key: &str, default: usize| match self.row.keys.contains(&key) {
            true => Ok::<_, Error>(self.optional_size(key)?.unwrap_or(default)),
            false => Ok(d_ff),
        };
        let shared = |_| own("expert_shared_feed_forward_length", d_ff);
        Ok(Some(Experts {
            n,
            per_token,
            d_ff: own("expert_feed_forward_length", (d_ff / per_token).max(1))?,
            normalise: self.row.normalise,
            shared_d_ff: described.shared_d_ff.map(shared).transpose()?,
        }))
    }

    pub(super) fn refuse_unknown_arithmetic(&self) -> Result<(), Error> {
        for name in self.metadata.keys() {
            let Some(key) = name.strip_prefix(self.row.name).and_then(|rest| rest.strip_prefix('.')) else {
                continue;
            };
            if KNOWN.contains(&key) || self.row.keys.contains(&key) || key == self.row.epsilon {
                continue;
            }
            let neutral = match key {
                "expert_weights_norm" => [f64::from(u8::from(self.row.normalise))].to_vec(),
                _ => match NEUTRAL.iter().find(|(known, _)| *known == key) {
                    Some((_, values)) => values.to_vec(),
                    None => return Err(self.wrong(key, "is not known and may change the arithmetic")),
                },
            };
            let value = self.metadata.number_or_flag(name)?.unwrap_or(0.0);
            if !neutral.contains(&value) {
                let what = format!("is {value}: it changes the arithmetic in a way that is not supported");
                return Err(self.wrong(key, &what));
            }
        }
        // Of one family alone, this says whether there is rope at all.
        let key = "rope.scaling.finetuned";
        if self.row.name == "granite" && self.metadata.flag(&self.name(key))? == Some(false) {
            return Err(self.wrong(key, "is false: a model without rope is not supported"));
        }
        Ok(())
    }
}
