//! Rotary embeddings as a config file describes them.

use super::angles::{Rope, RopeScaling};
use super::family::{Family, Positions, Windows};
use super::fields::{Fields, number_in};
use crate::error::Error;
use serde_json::{Map, Value};

/// The object that describes a rope, and its name.
struct Described<'a, 'f> {
    fields: &'a Fields<'f>,
    name: String,
    map: Map<String, Value>,
}

impl Fields<'_> {
    /// Reads the ropes of a model: none, one, or one for the layers that see everything and one for the layers that
    /// see a window.
    ///
    /// The old spelling has `rope_theta` beside `rope_scaling`, the new one both in `rope_parameters`,
    /// there also for each kind of layer; inside, the kind is called `rope_type` or `type`.
    pub(super) fn ropes(
        &self,
        family: &Family,
        head_dim: usize,
        max_positions: usize,
    ) -> Result<Vec<Rope>, Error> {
        if family.positions == Positions::Learned {
            return Ok(Vec::new());
        }
        let name = if self.get("rope_parameters").is_some() { "rope_parameters" } else { "rope_scaling" };
        let map = match self.get(name) {
            None => Map::new(),
            Some(Value::Object(map)) => map.clone(),
            Some(_) => return Err(self.wrong(name, "is not an object")),
        };
        let whole = Described { fields: self, name: name.to_owned(), map };
        let has_two = matches!(family.windows, Windows::AllButEvery { rope_local: true, .. });
        let part = |kind: &str| match whole.map.get(kind) {
            Some(Value::Object(map)) => {
                Ok(Some(Described { fields: self, name: format!("{name}.{kind}"), map: map.clone() }))
            }
            None | Some(Value::Null) => Ok(None),
            Some(_) => Err(self.wrong(&format!("{name}.{kind}"), "is not an object")),
        };
        let (global, local) = (part("full_attention")?, part("sliding_attention")?);
        let is_nested = global.is_some() || local.is_some();
        if is_nested && !has_two {
            return Err(self.wrong(name, "differs between layers, which is not supported for this family"));
        }
        let theta = match self.number("rope_theta")? {
            Some(theta) => theta,
            None => self.number_or("rotary_emb_base", family.defaults.theta)?,
        };
        let global = if is_nested { global } else { Some(whole) };
        let empty = || Described { fields: self, name: name.to_owned(), map: Map::new() };
        let mut ropes = vec![global.unwrap_or_else(empty).rope(family, theta, head_dim, max_positions)?];
        if has_two {
            let theta = self.number_or("rope_local_base_freq", 10_000.0)?;
            ropes.push(local.unwrap_or_else(empty).rope(family, theta, head_dim, max_positions)?);
        }
        Ok(ropes)
    }
}

impl Described<'_, '_> {
    fn wrong(&self, field: &str, what: impl std::fmt::Display) -> Error {
        self.fields.wrong(&format!("{}.{field}", self.name), what)
    }

    fn number(&self, field: &str) -> Result<Option<f64>, Error> {
        number_in(&self.map, field).map_err(|what| self.wrong(field, what))
    }

    fn required(&self, field: &str) -> Result<f64, Error> {
        self.number(field)?.ok_or_else(|| self.wrong(field, "is missing"))
    }

    /// Reads one factor for each pair of elements.
    fn factors(&self, field: &str, n_pairs: usize) -> Result<Vec<f64>, Error> {
        let values = self.map.get(field).and_then(Value::as_array);
        let values = values.ok_or_else(|| self.wrong(field, "is missing, or not a list"))?;
        let factors: Vec<f64> = values.iter().filter_map(Value::as_f64).filter(|x| *x > 0.0).collect();
        if factors.len() != values.len() || factors.len() != n_pairs {
            return Err(self.wrong(field, format!("is not a list of {n_pairs} positive numbers")));
        }
        Ok(factors)
    }

    fn rope(
        &self,
        family: &Family,
        theta: f64,
        head_dim: usize,
        max_positions: usize,
    ) -> Result<Rope, Error> {
        let theta = self.number("rope_theta")?.unwrap_or(theta);
        let outside = match self.fields.number("partial_rotary_factor")? {
            Some(part) => part,
            None => self.fields.number_or("rotary_pct", family.defaults.rotary)?,
        };
        let part = self.number("partial_rotary_factor")?.unwrap_or(outside);
        let dim = (head_dim as f64 * part) as usize;
        if family.positions == Positions::Rotary && dim != head_dim {
            return Err(self.wrong("partial_rotary_factor", "is not supported for this family"));
        }
        if dim == 0 || dim.next_multiple_of(2) > head_dim {
            return Err(self.wrong("partial_rotary_factor", format!("is {part}, for heads of {head_dim}")));
        }
        let scaling = self.scaling(family, dim.div_ceil(2), max_positions)?;
        Ok(Rope { theta, dim, scaling })
    }

    fn scaling(&self, family: &Family, n_pairs: usize, max_positions: usize) -> Result<RopeScaling, Error> {
        let kind = self.map.get("rope_type").or(self.map.get("type"));
        let kind = match kind.filter(|kind| !kind.is_null()) {
            None => "default",
            Some(kind) => kind.as_str().ok_or_else(|| self.wrong("rope_type", "is not a string"))?,
        };
        // Files of this family used other names for what is one kind now.
        let is_phi = family.defaults.original_max_positions.is_some();
        let kind = if is_phi && ["su", "yarn"].contains(&kind) { "longrope" } else { kind };
        let known: &[&str] = match kind {
            "default" => &[],
            "linear" | "dynamic" => &["factor"],
            "yarn" => &[
                "factor",
                "attention_factor",
                "mscale",
                "mscale_all_dim",
                "beta_fast",
                "beta_slow",
                "truncate",
            ],
            "llama3" => &["factor", "low_freq_factor", "high_freq_factor"],
            "longrope" => &["factor", "attention_factor", "short_factor", "long_factor"],
            other => {
                let what = format!(
                    "is `{other}`, which is not supported (supported: default, linear, dynamic, yarn, llama3, longrope)"
                );
                return Err(self.wrong("rope_type", what));
            }
        };
        let always = [
            "rope_type",
            "type",
            "rope_theta",
            "partial_rotary_factor",
            "original_max_position_embeddings",
            "finetuned",
        ];
        let is_known =
            |name: &str| known.contains(&name) || always.contains(&name) || self.map[name].is_null();
        if kind != "default"
            && let Some(name) = self.map.keys().find(|name| !is_known(name))
        {
            return Err(self.wrong(name, "changes the arithmetic in a way that is not supported"));
        }
        let original = self.number("original_max_position_embeddings")?;
        let max = max_positions as f64;
        Ok(match kind {
            "linear" => RopeScaling::Linear { factor: self.required("factor")? },
            "dynamic" => {
                RopeScaling::Dynamic { factor: self.required("factor")?, original_max_positions: max }
            }
            "llama3" => RopeScaling::Llama3 {
                factor: self.required("factor")?,
                low_freq_factor: self.required("low_freq_factor")?,
                high_freq_factor: self.required("high_freq_factor")?,
                original_max_positions: self.required("original_max_position_embeddings")?,
            },
            "yarn" => RopeScaling::Yarn {
                factor: self.required("factor")?,
                attention_factor: self.yarn_attention_factor()?,
                beta_fast: self.number("beta_fast")?.unwrap_or(32.0),
                beta_slow: self.number("beta_slow")?.unwrap_or(1.0),
                truncate: self.map.get("truncate").and_then(Value::as_bool).unwrap_or(true),
                original_max_positions: original.unwrap_or(max),
            },
            "longrope" => {
                let beside = self.fields.number("original_max_position_embeddings")?;
                let default = family.defaults.original_max_positions.map(|it| it as f64);
                let original = original.or(beside).or(default);
                let ratio = original.map(|original| max / original);
                // The old spelling has the ratio of the lengths go before the factor.
                let (first, second) = match &self.name[..] {
                    "rope_scaling" => (ratio, self.number("factor")?),
                    _ => (self.number("factor")?, ratio),
                };
                let factor = first.or(second).unwrap_or(1.0);
                let original = original.unwrap_or(max);
                let suggested = if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / original.ln()).sqrt() };
                RopeScaling::LongRope {
                    short_factors: self.factors("short_factor", n_pairs)?,
                    long_factors: self.factors("long_factor", n_pairs)?,
                    attention_factor: self.number("attention_factor")?.unwrap_or(suggested),
                    original_max_positions: original,
                }
            }
            _ => RopeScaling::Default,
        })
    }

    /// Returns the factor that the paper suggests (Peng et al. 2023), unless the file says another.
    fn yarn_attention_factor(&self) -> Result<f64, Error> {
        if let Some(factor) = self.number("attention_factor")? {
            return Ok(factor);
        }
        let factor = self.required("factor")?;
        let scale = |mscale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 };
        // Zero is as good as nothing here.
        let optional = |field: &str| self.map.get(field).and_then(Value::as_f64).filter(|it| *it != 0.0);
        Ok(match (optional("mscale"), optional("mscale_all_dim")) {
            (Some(mscale), Some(all)) => scale(mscale) / scale(all),
            _ => scale(1.0),
        })
    }
}
