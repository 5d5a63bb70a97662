//! Persona vectors: directions with their statistics and where they came from.

use super::layers::layers_text;
use super::receipt::Receipt;
use super::recipe::Recipe;
use super::unit::Unit;
use crate::contrasts::FrameId;
use crate::error::Error;
use std::collections::BTreeMap;
use whipstaff_engine::{Model, Site};

/// One unit direction per layer, and everything that a later reader needs to know about them.
#[derive(Clone, Debug, PartialEq)]
pub struct PersonaVector {
    /// What it is called: the contrast set's name.
    pub name: String,
    /// By 0-based block; each acts on and was read from `provenance.site` of that block.
    pub layers: BTreeMap<usize, LayerDirection>,
    /// The layers and the alpha to begin with, if they were measured.
    pub recommended: Option<Recommendation>,
    /// Whether it works, and what it costs, if that was measured.
    pub receipt: Option<Receipt>,
    /// How it was made.
    pub provenance: Provenance,
}

/// The direction of one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerDirection {
    /// `[d_model]`, of norm 1 if the gap is known; the positive answers project higher on average.
    pub direction: Vec<f32>,
    /// Mean projection of the positive answers minus that of the negative ones; of a mix, the length of what it adds
    /// up to; `None` in a vector of another tool.
    pub gap: Option<f64>,
    /// Root mean square norm of the residual rows that were averaged; `None` as for the gap.
    pub rms: Option<f64>,
    /// Cross-validated AUC of the projections; `None` for a single contrast.
    pub auc: Option<f64>,
    /// Mean cosine between the differences of any two contrasts; `None` where it is not known.
    pub coherence: Option<f64>,
}

/// The dose that did best on contrasts that the direction was not fitted on.
#[derive(Clone, Debug, PartialEq)]
pub struct Recommendation {
    /// The layers to inject at.
    pub layers: Vec<usize>,
    /// The alpha, in units of the gap.
    pub alpha: f64,
    /// The single layer that did best alone.
    pub best_layer: usize,
    /// Contrasts it was measured on, by name of the set.
    pub measured_on: String,
    /// Their number.
    pub n_contrasts: usize,
    /// Mean per-token log-probability margin of positive over negative answers, in nats:
    /// unsteered, at +alpha, at −alpha.
    pub margin: [f64; 3],
    /// Perplexity under the unsteered model of answers written at ±alpha (the worse of the two),
    /// over that of its own answers.
    pub perplexity_ratio: f64,
}

/// How a vector was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Provenance {
    /// The model.
    pub model: ModelId,
    /// Where in the block.
    pub site: Site,
    /// How the direction was fitted: the name of a [`Method`](crate::Method), `composed` for a mix; `unknown` for
    /// vectors of other tools, here and below.
    pub method: String,
    /// Which tokens were averaged: a [`TokenRule`](crate::TokenRule).
    pub tokens: String,
    /// The frame around the prompts.
    pub frame: FrameId,
    /// Name of the contrast set.
    pub contrasts: String,
    /// SHA-256 of its file.
    pub contrasts_sha256: String,
    /// Number of contrasts; 0 if they are not known.
    pub n_contrasts: usize,
    /// What it was composed of, if it is a mix of vectors.
    pub recipe: Option<Recipe>,
    /// The tool and version that made it.
    pub tool: String,
}

/// Which model a vector belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelId {
    /// The folder's or the hub's name.
    pub name: String,
    /// SHA-256 of the weights; empty if it is not known.
    pub weights_sha256: String,
    /// Width of its residual stream.
    pub d_model: usize,
    /// Its number of blocks; 0 if it is not known.
    pub n_layers: usize,
}

impl PersonaVector {
    /// Is it another tool's, of which nothing is known but the directions?
    pub fn is_foreign(&self) -> bool {
        self.layers.values().any(|it| it.gap.is_none() || it.rms.is_none())
    }

    /// Drops the recommendation if it names a layer that the vector has no direction for (any more).
    pub fn drop_unfounded_recommendation(&mut self) {
        let layers = &self.layers;
        let fits =
            |it: &Recommendation| it.layers.iter().chain([&it.best_layer]).all(|it| layers.contains_key(it));
        self.recommended = self.recommended.take().filter(fits);
    }

    /// The direction of a layer.
    ///
    /// # Errors
    /// [`Error::Vector`] naming the layers that there are.
    pub fn at_layer(&self, layer: usize) -> Result<&LayerDirection, Error> {
        self.layers.get(&layer).ok_or_else(|| Error::Vector {
            vector: self.name.clone(),
            reason: format!("has no direction for layer {layer} (it has {})", self.layers_text()),
        })
    }

    /// Checks that the vector fits a model's shape.
    ///
    /// # Errors
    /// [`Error::Vector`] saying what differs.
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

    /// The layers and alpha to use when none are given: those recommended, else the middle layer
    /// at one full contrast; for another tool's vector all its layers, as that tool would.
    pub fn default_dose(&self) -> (Vec<usize>, f64) {
        match &self.recommended {
            Some(it) => (it.layers.clone(), it.alpha),
            None if self.is_foreign() => (self.layers.keys().copied().collect(), 1.0),
            None => {
                let layers: Vec<usize> = self.layers.keys().copied().collect();
                (vec![layers[layers.len() / 2]], 1.0)
            }
        }
    }

    /// The layers as a person would write them: `0-15` or `3,5,7`.
    pub fn layers_text(&self) -> String {
        layers_text(&self.layers.keys().copied().collect::<Vec<_>>())
    }
}

impl LayerDirection {
    /// What alpha 1 multiplies the direction with in a unit; `None` if it is not known.
    pub fn factor(&self, unit: Unit) -> Option<f64> {
        match unit {
            Unit::Gap => self.gap,
            Unit::Rms => self.rms,
            Unit::Unit => Some(1.0),
        }
    }
}

impl ModelId {
    /// The identity of a loaded model; hashes all its weights.
    pub fn of(model: &Model, name: &str) -> ModelId {
        ModelId {
            name: name.to_owned(),
            weights_sha256: model.weights().sha256(),
            d_model: model.config().d_model,
            n_layers: model.config().n_layers,
        }
    }
}
