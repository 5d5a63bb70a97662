//! Persona vectors: directions with their statistics and their provenance.

use super::layers::layers_text;
use super::receipt::Receipt;
use super::recipe::Recipe;
use super::unit::Unit;
use crate::contrasts::FrameId;
use crate::error::Error;
use std::collections::BTreeMap;
use whipstaff_engine::{Model, Site};

/// One unit direction per layer, with everything that a later reader needs to know about them.
#[derive(Clone, Debug, PartialEq)]
pub struct PersonaVector {
    /// The name: that of the contrast set.
    pub name: String,
    /// The directions by 0-based block; each acts on `provenance.site` of that block and was read there.
    pub layers: BTreeMap<usize, LayerDirection>,
    /// The dose to begin with, if it was measured.
    pub recommended: Option<Recommendation>,
    /// The evidence that the vector works, and its cost, if they were measured.
    pub receipt: Option<Receipt>,
    /// How the vector was made.
    pub provenance: Provenance,
}

/// The direction of one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerDirection {
    /// The direction, `[d_model]`, of norm 1 if the gap is known; positive answers project higher on average.
    pub direction: Vec<f32>,
    /// The mean projection of the positive answers less that of the negative ones; of a mix, the length of its sum;
    /// `None` in a vector of another tool.
    pub gap: Option<f64>,
    /// The root mean square norm of the residual rows that were averaged; `None` in a vector of another tool.
    pub rms: Option<f64>,
    /// The cross-validated AUC of the projections; `None` for a single contrast.
    pub auc: Option<f64>,
    /// The mean cosine between the differences of any two contrasts; `None` where it is not known.
    pub coherence: Option<f64>,
}

/// The dose that does best on contrasts that the direction was not fitted on.
#[derive(Clone, Debug, PartialEq)]
pub struct Recommendation {
    /// The layers to inject at.
    pub layers: Vec<usize>,
    /// The alpha, in units of the gap.
    pub alpha: f64,
    /// The single layer that does best alone.
    pub best_layer: usize,
    /// The name of the set that the dose was measured on.
    pub measured_on: String,
    /// The number of contrasts that the dose was measured on.
    pub n_contrasts: usize,
    /// The mean margin of positive over negative answers, in nats per token: unsteered, at +alpha, at −alpha.
    pub margin: [f64; 3],
    /// The perplexity under the unsteered model of answers written at ±alpha (the worse of the two), over the
    /// perplexity of its own answers.
    pub perplexity_ratio: f64,
}

/// How a vector was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Provenance {
    /// The model.
    pub model: ModelId,
    /// The place in the block.
    pub site: Site,
    /// How the direction was fitted: the name of a [`Method`](crate::Method), or `composed` for a mix. This and the
    /// fields below are `unknown` or empty in vectors of other tools.
    pub method: String,
    /// Which tokens were averaged: the name of a [`TokenRule`](crate::TokenRule).
    pub tokens: String,
    /// The frame around the prompts.
    pub frame: FrameId,
    /// The name of the contrast set.
    pub contrasts: String,
    /// The SHA-256 of the contrast set's file.
    pub contrasts_sha256: String,
    /// The number of contrasts; 0 if they are not known.
    pub n_contrasts: usize,
    /// The recipe, if the vector is a mix.
    pub recipe: Option<Recipe>,
    /// The tool and version that made the vector.
    pub tool: String,
}

/// The identity of a model that a vector belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelId {
    /// The name of the folder, or of the model on the hub.
    pub name: String,
    /// The SHA-256 of the weights; empty if it is not known.
    pub weights_sha256: String,
    /// The width of the residual stream.
    pub d_model: usize,
    /// The number of blocks; 0 if it is not known.
    pub n_layers: usize,
}

impl PersonaVector {
    /// Returns true for a vector imported from another tool, which carries directions but no statistics.
    pub fn is_foreign(&self) -> bool {
        self.layers.values().any(|it| it.gap.is_none() || it.rms.is_none())
    }

    /// Drops the recommendation if it names a layer that the vector has no direction for, or no longer has.
    pub fn drop_unfounded_recommendation(&mut self) {
        let layers = &self.layers;
        self.recommended = self.recommended.take().filter(|recommended| {
            let mut named = recommended.layers.iter().chain([&recommended.best_layer]);
            named.all(|layer| layers.contains_key(layer))
        });
    }

    /// Returns the direction at `layer`.
    ///
    /// # Errors
    /// [`Error::Vector`], which names the layers that there are.
    pub fn at_layer(&self, layer: usize) -> Result<&LayerDirection, Error> {
        self.layers.get(&layer).ok_or_else(|| Error::Vector {
            vector: self.name.clone(),
            reason: format!("has no direction for layer {layer} (it has {})", self.layers_text()),
        })
    }

    /// Checks that the vector fits a model's shape.
    ///
    /// # Errors
    /// [`Error::Vector`], which says what differs.
    pub fn check_fits(&self, file: &str, d_model: usize, n_layers: usize) -> Result<(), Error> {
        let fail = |reason| Err(Error::Vector { vector: file.to_owned(), reason });
        let its = &self.provenance.model;
        if its.d_model != d_model {
            return fail(format!(
                "was made for a model with d_model {} ({}), this model has {d_model}",
                its.d_model, its.name
            ));
        }
        match self.layers.keys().next_back() {
            Some(last) if *last >= n_layers => {
                fail(format!("has a direction for layer {last}, this model has layers 0-{}", n_layers - 1))
            }
            _ => Ok(()),
        }
    }

    /// Returns the layers and the alpha to use when none are given: those that are recommended, else the middle layer at
    /// one full contrast. For a vector of another tool these are all its layers, as that tool would use them.
    pub fn default_dose(&self) -> (Vec<usize>, f64) {
        match &self.recommended {
            Some(recommended) => (recommended.layers.clone(), recommended.alpha),
            None if self.is_foreign() => (self.layers.keys().copied().collect(), 1.0),
            None => {
                let layers: Vec<usize> = self.layers.keys().copied().collect();
                (vec![layers[layers.len() / 2]], 1.0)
            }
        }
    }

    /// Returns the layers as a person would write them: `0-15` or `3,5,7`.
    pub fn layers_text(&self) -> String {
        layers_text(&self.layers.keys().copied().collect::<Vec<_>>())
    }
}

impl LayerDirection {
    /// Returns what alpha 1 in `unit` multiplies the direction with, if it is known.
    pub fn factor(&self, unit: Unit) -> Option<f64> {
        match unit {
            Unit::Gap => self.gap,
            Unit::Rms => self.rms,
            Unit::Unit => Some(1.0),
        }
    }
}

impl ModelId {
    /// Returns the identity of a loaded model, whose weights are all hashed for it.
    pub fn of(model: &Model, name: &str) -> ModelId {
        ModelId {
            name: name.to_owned(),
            weights_sha256: model.weights().sha256(),
            d_model: model.config().d_model,
            n_layers: model.config().n_layers,
        }
    }
}
