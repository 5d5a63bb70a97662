//! The model that is compiled in, with what belongs to it (models/librarian).

use crate::error::Error;
use std::path::Path;
use whipstaff_engine::ModelFiles;
use whipstaff_steering::{Classifier, ContrastSet};

/// What the model is called in vectors and reports.
pub(crate) const NAME: &str = "whipstaff/librarian";

/// Weights and configuration.
pub(crate) const FILES: ModelFiles = ModelFiles {
    config: include_str!("../../../models/librarian/config.json"),
    generation_config: include_str!("../../../models/librarian/generation_config.json"),
    weights: &WEIGHTS.bytes,
};

/// The tokenizer.
pub(crate) const TOKENIZER: &[u8] = include_bytes!("../../../models/librarian/tokenizer.json");

/// Its own contrasts: a model this small needs its own distribution.
const CONTRASTS: &str = include_str!("../../../models/librarian/contrasts.jsonl");

/// Contrasts to measure on.
const HELDOUT: &str = include_str!("../../../models/librarian/contrasts-heldout.jsonl");

/// Questions of forms and about topics that it was not trained on, one a line.
pub const QUESTIONS: &str = include_str!("../../../models/librarian/questions-heldout.txt");

/// Tells helpful, neutral and dismissive answers apart.
const CLASSIFIER: &str = include_str!("../../../models/librarian/classifier.json");

/// Returns the contrasts that the model's own vector is fitted on.
///
/// # Errors
///
/// Never fails: the contrasts are part of the library.
pub fn contrasts() -> Result<ContrastSet, Error> {
    Ok(ContrastSet::parse(CONTRASTS, Path::new("librarian.jsonl"))?)
}

/// Returns the contrasts that the model's own vector is measured on.
///
/// # Errors
///
/// Never fails: the contrasts are part of the library.
pub fn heldout() -> Result<ContrastSet, Error> {
    Ok(ContrastSet::parse(HELDOUT, Path::new("librarian-heldout.jsonl"))?)
}

/// Returns the classifier that tells helpful, neutral and dismissive answers apart.
///
/// # Errors
///
/// Never fails: the classifier is part of the library.
pub fn classifier() -> Result<Classifier, Error> {
    Ok(Classifier::parse(CLASSIFIER, Path::new("classifier.json"))?)
}

/// Included bytes have no alignment of their own; weights are read where they lie, as numbers.
#[repr(C, align(64))]
struct Aligned<B: ?Sized> {
    bytes: B,
}

const WEIGHTS: &Aligned<[u8]> =
    &Aligned { bytes: *include_bytes!("../../../models/librarian/model.safetensors") };
