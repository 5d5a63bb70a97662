//! What differs from layer to layer, as a config file describes it.

use super::blueprint::LayerKind;
use super::family::{Family, Positions, Windows};
use super::fields::Fields;
use crate::error::Error;
use serde_json::Value;

impl Fields<'_> {
    /// Returns the kind of every layer. `scale` is the factor on attention's scores.
    pub(super) fn layers(
        &self,
        family: &Family,
        n_layers: usize,
        scale: f32,
    ) -> Result<Vec<LayerKind>, Error> {
        let rotates = self.rotates(family, n_layers)?;
        let windows = self.windows(family, &rotates)?;
        let routed = self.routed(family, n_layers)?;
        let has_local_rope = matches!(family.windows, Windows::AllButEvery { rope_local: true, .. });
        let by_index = self.flag_or("scale_attn_by_inverse_layer_idx", false)?;
        let kind = |layer: usize| LayerKind {
            window: windows[layer],
            rope: rotates[layer].then_some(usize::from(has_local_rope && windows[layer].is_some())),
            scale: if by_index { scale / (layer + 1) as f32 } else { scale },
            routed: routed[layer],
        };
        Ok((0..n_layers).map(kind).collect())
    }

    /// Returns which layers have rope.
    fn rotates(&self, family: &Family, n_layers: usize) -> Result<Vec<bool>, Error> {
        if family.positions == Positions::Learned {
            return Ok(vec![false; n_layers]);
        }
        if !family.fields.contains(&"no_rope_layers") {
            return Ok(vec![true; n_layers]);
        }
        match self.list("no_rope_layers", n_layers)? {
            // In spite of its name, the list has a one where there is rope.
            Some(list) => {
                Ok(list.iter().map(|it| it.as_u64() == Some(1) || it.as_bool() == Some(true)).collect())
            }
            None => {
                let interval = self.size_or("no_rope_layer_interval", 4)?;
                Ok((1..=n_layers).map(|n| n % interval != 0).collect())
            }
        }
    }

    /// Returns the window of every layer that has one.
    fn windows(&self, family: &Family, rotates: &[bool]) -> Result<Vec<Option<usize>>, Error> {
        let n_layers = rotates.len();
        let flag = "use_sliding_window";
        let is_used = match family.windows {
            Windows::None => return Ok(vec![None; n_layers]),
            Windows::Every | Windows::AllButEvery { .. } => true,
            Windows::EveryIfUsed | Windows::UpperIfUsed | Windows::UnrotatedIfUsed => {
                self.flag_or(flag, false)?
            }
        };
        // Newer files write zero for none.
        let is_zero = self.get("sliding_window").and_then(Value::as_u64) == Some(0);
        let window = match self.has("sliding_window") {
            true if is_zero => None,
            true => self.optional_size("sliding_window")?,
            false => family.defaults.window,
        };
        let window = window.filter(|_| is_used);
        let pattern = match self.layer_types(n_layers)? {
            Some(types) => types,
            None => match family.windows {
                Windows::UpperIfUsed => {
                    let first = self.get("max_window_layers").map_or(Ok(28), |value| {
                        let wrong = || self.wrong("max_window_layers", "is not a whole number");
                        value.as_u64().ok_or_else(wrong)
                    })?;
                    (0..n_layers).map(|layer| layer as u64 >= first).collect()
                }
                Windows::UnrotatedIfUsed => rotates.iter().map(|rotates| !rotates).collect(),
                Windows::AllButEvery { n, .. } => {
                    // With an underscore before it, it is written, but never read.
                    let n = self.size_or("sliding_window_pattern", n)?;
                    (1..=n_layers).map(|layer| layer % n != 0).collect()
                }
                _ => vec![true; n_layers],
            },
        };
        let always = matches!(family.windows, Windows::AllButEvery { .. });
        if (always || self.get("layer_types").is_some()) && window.is_none() && pattern.contains(&true) {
            return Err(self.wrong("sliding_window", "is missing, but some layers ask for it"));
        }
        Ok(pattern.into_iter().map(|slides| window.filter(|_| slides)).collect())
    }

    /// Returns whether each layer slides, where the file lists it.
    fn layer_types(&self, n_layers: usize) -> Result<Option<Vec<bool>>, Error> {
        let Some(list) = self.list("layer_types", n_layers)? else { return Ok(None) };
        let slides = |value: &Value| match value.as_str() {
            Some("sliding_attention") => Ok(true),
            Some("full_attention") => Ok(false),
            _ => Err(self.wrong("layer_types", format!("has {value}, which is not supported"))),
        };
        list.iter().map(slides).collect::<Result<Vec<bool>, Error>>().map(Some)
    }

    /// Returns which layers route tokens to experts.
    fn routed(&self, family: &Family, n_layers: usize) -> Result<Vec<bool>, Error> {
        if family.experts.is_none() {
            return Ok(vec![false; n_layers]);
        }
        let step = self.size_or("decoder_sparse_step", 1)?;
        let dense: Vec<u64> = match self.get("mlp_only_layers") {
            None => Vec::new(),
            Some(value) => value
                .as_array()
                .and_then(|list| list.iter().map(Value::as_u64).collect())
                .ok_or_else(|| self.wrong("mlp_only_layers", "is not a list of layers"))?,
        };
        Ok((0..n_layers).map(|layer| (layer + 1) % step == 0 && !dense.contains(&(layer as u64))).collect())
    }
}
