//! The vector file: safetensors with `direction.{layer}` tensors and one JSON in the metadata.
//!
//! Everything about the shape on disk is in this file and its folder; the rest of the crate knows [`PersonaVector`]
//! only. docs/FORMATS.md describes the shape for other tools.

mod receipt;
mod recipe;

use super::persona::{LayerDirection, ModelId, PersonaVector, Provenance, Recommendation};
use crate::contrasts::FrameId;
use crate::error::Error;
pub(crate) use receipt::ReceiptEntry;
use recipe::RecipeEntry;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use whipstaff_disk::write_atomically;

/// The latest version; a file with a later one is refused. Version 2 is written only for vectors of
/// other tools, of which version 1 would claim more than is known.
pub const FORMAT_VERSION: u32 = 2;

const METADATA_KEY: &str = "whipstaff";

/// The metadata of a file: everything beside its tensors.
#[derive(Serialize, Deserialize)]
pub(crate) struct Metadata {
    format_version: u32,
    name: String,
    model: ModelEntry,
    site: String,
    method: String,
    tokens: String,
    frame: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    template_sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    contrasts: ContrastsEntry,
    layers: BTreeMap<usize, LayerEntry>,
    recommended: Option<RecommendedEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    receipt: Option<ReceiptEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recipe: Option<RecipeEntry>,
    tool: String,
}

#[derive(Deserialize)]
struct Version {
    format_version: u32,
}

#[derive(Serialize, Deserialize)]
struct ModelEntry {
    name: String,
    weights_sha256: String,
    d_model: usize,
    n_layers: usize,
}

#[derive(Serialize, Deserialize)]
struct ContrastsEntry {
    name: String,
    sha256: String,
    n: usize,
}

/// The statistics of a layer.
#[derive(Serialize, Deserialize)]
pub(crate) struct LayerEntry {
    gap: Option<f64>,
    rms: Option<f64>,
    auc: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    coherence: Option<f64>,
}

#[derive(Serialize, Deserialize)]
struct RecommendedEntry {
    layers: Vec<usize>,
    alpha: f64,
    unit: String,
    best_layer: usize,
    measured_on: String,
    n_contrasts: usize,
    margin: [f64; 3],
    perplexity_ratio: f64,
}

impl PersonaVector {
    /// Writes the vector to a file, atomically.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        Ok(write_atomically(path, &self.to_bytes())?)
    }

    /// Returns the bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let metadata = self.to_json();
        let tensors: Vec<(String, Vec<u8>)> = self
            .layers
            .iter()
            .map(|(layer, of)| (format!("direction.{layer}"), bytes_of(&of.direction)))
            .collect();
        let shape = vec![self.provenance.model.d_model];
        let views = tensors.iter().map(|(name, bytes)| {
            (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).expect("d_model floats"))
        });
        let metadata = HashMap::from([(METADATA_KEY.to_owned(), metadata)]);
        safetensors::serialize(views, Some(metadata)).expect("names are distinct")
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<PersonaVector, String> {
        let not_ours = "is not a Whipstaff vector: `whipstaff extract` makes them";
        let (_, header) =
            SafeTensors::read_metadata(bytes).map_err(|error| format!("{not_ours} ({error})"))?;
        let json = header.metadata().as_ref().and_then(|m| m.get(METADATA_KEY)).ok_or(not_ours)?;
        let metadata = Metadata::parse(json)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
        let d_model = metadata.model.d_model;
        metadata.into_vector(|layer, _| direction_of(&tensors, layer, d_model))
    }

    /// Returns the metadata of the file as JSON.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(&self.to_metadata()).expect("plain data")
    }

    fn to_metadata(&self) -> Metadata {
        let Provenance {
            model, site, method, tokens, frame, contrasts, contrasts_sha256, n_contrasts, ..
        } = self.provenance.clone();
        Metadata {
            format_version: if self.is_foreign() { 2 } else { 1 },
            name: self.name.clone(),
            model: ModelEntry {
                name: model.name,
                weights_sha256: model.weights_sha256,
                d_model: model.d_model,
                n_layers: model.n_layers,
            },
            site: site.name().into(),
            method,
            tokens,
            frame: frame.name,
            template_sha256: frame.template_sha256,
            system: frame.system,
            contrasts: ContrastsEntry { name: contrasts, sha256: contrasts_sha256, n: n_contrasts },
            layers: self.layers.iter().map(|(layer, of)| (*layer, LayerEntry::new(of))).collect(),
            recommended: self.recommended.as_ref().map(RecommendedEntry::new),
            receipt: self.receipt.as_ref().map(ReceiptEntry::new),
            recipe: self.provenance.recipe.as_ref().map(RecipeEntry::new),
            tool: self.provenance.tool.clone(),
        }
    }
}

impl Metadata {
    /// Reads the JSON.
    pub(crate) fn parse(json: &str) -> Result<Metadata, String> {
        let fail = |error: serde_json::Error| format!("its `{METADATA_KEY}` metadata: {error}");
        // The version first: a later one may have other fields.
        let Version { format_version } = serde_json::from_str(json).map_err(fail)?;
        match format_version {
            0 => Err("has format version 0, which there never was".into()),
            1..=FORMAT_VERSION => serde_json::from_str(json).map_err(fail),
            later => Err(format!(
                "has format version {later}, this program reads up to {FORMAT_VERSION}: update it"
            )),
        }
    }

    /// Returns the layers that the metadata names.
    pub(crate) fn layers(&self) -> impl Iterator<Item = usize> {
        self.layers.keys().copied()
    }

    /// Returns the vector. Its directions are given by `direction` and checked here.
    pub(crate) fn into_vector(
        self,
        direction: impl Fn(usize, &LayerDirection) -> Result<Vec<f32>, String>,
    ) -> Result<PersonaVector, String> {
        let mut layers = BTreeMap::new();
        for (layer, entry) in &self.layers {
            entry
                .check(self.format_version)
                .map_err(|what| format!("the {what} of layer {layer} cannot be"))?;
            let LayerEntry { gap, rms, auc, coherence } = *entry;
            let mut of_layer = LayerDirection { direction: Vec::new(), gap, rms, auc, coherence };
            of_layer.direction = direction(*layer, &of_layer)?;
            check_direction(*layer, &of_layer, &self.model)?;
            layers.insert(*layer, of_layer);
        }
        if layers.is_empty() {
            return Err("holds no direction".into());
        }
        let recommended = match self.recommended {
            Some(entry) if !entry.fits(&layers) => {
                return Err("its recommendation names layers, a unit or an alpha that cannot be".into());
            }
            Some(entry) => Some(Recommendation {
                layers: entry.layers,
                alpha: entry.alpha,
                best_layer: entry.best_layer,
                measured_on: entry.measured_on,
                n_contrasts: entry.n_contrasts,
                margin: entry.margin,
                perplexity_ratio: entry.perplexity_ratio,
            }),
            None => None,
        };
        let receipt = self.receipt.map(ReceiptEntry::into_receipt).transpose()?;
        let recipe = self.recipe.map(RecipeEntry::into_recipe).transpose()?;
        let frame = FrameId { name: self.frame, template_sha256: self.template_sha256, system: self.system };
        if !frame.is_valid() {
            return Err(format!("its frame `{}` has no {{prompt}}", frame.name));
        }
        Ok(PersonaVector {
            name: self.name,
            layers,
            recommended,
            receipt,
            provenance: Provenance {
                model: ModelId {
                    name: self.model.name,
                    weights_sha256: self.model.weights_sha256,
                    d_model: self.model.d_model,
                    n_layers: self.model.n_layers,
                },
                site: self.site.parse()?,
                method: self.method,
                tokens: self.tokens,
                frame,
                contrasts: self.contrasts.name,
                contrasts_sha256: self.contrasts.sha256,
                n_contrasts: self.contrasts.n,
                recipe,
                tool: self.tool,
            },
        })
    }
}

impl LayerEntry {
    fn new(of: &LayerDirection) -> LayerEntry {
        LayerEntry { gap: of.gap, rms: of.rms, auc: of.auc, coherence: of.coherence }
    }

    /// Fails with the name of a number that no extraction gives.
    fn check(&self, version: u32) -> Result<(), &'static str> {
        let within = |x: f64, low: f64, high: f64| x >= low && x <= high;
        let is_size = |x: Option<f64>| x.map_or(version > 1, |x| within(x, 0.0, f64::MAX));
        match self {
            LayerEntry { gap, .. } if !is_size(*gap) => Err("gap"),
            LayerEntry { rms, .. } if !is_size(*rms) => Err("rms"),
            LayerEntry { auc: Some(auc), .. } if !within(*auc, 0.0, 1.0) => Err("AUC"),
            LayerEntry { coherence: Some(cosine), .. } if !within(*cosine, -1.01, 1.01) => Err("coherence"),
            _ => Ok(()),
        }
    }
}

impl RecommendedEntry {
    fn new(of: &Recommendation) -> RecommendedEntry {
        RecommendedEntry {
            layers: of.layers.clone(),
            alpha: of.alpha,
            unit: "gap".into(),
            best_layer: of.best_layer,
            measured_on: of.measured_on.clone(),
            n_contrasts: of.n_contrasts,
            margin: of.margin,
            perplexity_ratio: of.perplexity_ratio,
        }
    }

    fn fits(&self, layers: &BTreeMap<usize, LayerDirection>) -> bool {
        let mut named = self.layers.iter().chain([&self.best_layer]);
        self.unit == "gap"
            && self.alpha.is_finite()
            && !self.layers.is_empty()
            && named.all(|layer| layers.contains_key(layer))
    }
}

/// Returns the numbers as the file holds them.
fn bytes_of(direction: &[f32]) -> Vec<u8> {
    direction.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// Returns the direction of a layer as the file has it.
fn direction_of(tensors: &SafeTensors, layer: usize, d_model: usize) -> Result<Vec<f32>, String> {
    let name = format!("direction.{layer}");
    let view = tensors.tensor(&name).map_err(|_| format!("lacks the tensor `{name}`"))?;
    if view.dtype() != Dtype::F32 || view.shape().len() != 1 {
        let (dtype, shape) = (view.dtype(), view.shape());
        return Err(format!("`{name}` is {dtype:?} {shape:?}, expected F32 [{d_model}]"));
    }
    Ok(view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

/// Fails with what is wrong about a direction.
fn check_direction(layer: usize, of: &LayerDirection, model: &ModelEntry) -> Result<(), String> {
    let (name, n) = (format!("direction.{layer}"), of.direction.len());
    if model.n_layers > 0 && layer >= model.n_layers {
        return Err(format!("`{name}` is past the {} layers of its model", model.n_layers));
    }
    if n != model.d_model {
        return Err(format!("`{name}` is F32 [{n}], expected F32 [{}]", model.d_model));
    }
    if let Some(bad) = of.direction.iter().find(|x| !x.is_finite()) {
        return Err(format!("`{name}` holds {bad}, which is not a finite number"));
    }
    let norm = of.direction.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    if of.gap.is_some() && (norm - 1.0).abs() > 1e-3 {
        return Err(format!("`{name}` has norm {norm:.4}, but a direction has norm 1"));
    }
    Ok(())
}
