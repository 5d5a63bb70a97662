//! The model that is compiled in, with what belongs to it (models/librarian).

use whipstaff_engine::ModelFiles;

/// What the model is called in vectors and reports.
pub const NAME: &str = "whipstaff/librarian";

/// Weights and configuration.
pub const FILES: ModelFiles = ModelFiles {
    config: include_str!("../../../models/librarian/config.json"),
    generation_config: include_str!("../../../models/librarian/generation_config.json"),
    weights: &WEIGHTS.bytes,
};

/// The tokenizer.
pub const TOKENIZER: &[u8] = include_bytes!("../../../models/librarian/tokenizer.json");

/// Its own contrasts: a model this small needs its own distribution.
pub const CONTRASTS: &str = include_str!("../../../models/librarian/contrasts.jsonl");

/// Contrasts to measure on.
pub const HELDOUT: &str = include_str!("../../../models/librarian/contrasts-heldout.jsonl");

/// Questions of forms and about topics that it was not trained on, one a line.
pub const QUESTIONS: &str = include_str!("../../../models/librarian/questions-heldout.txt");

/// Tells helpful, neutral and dismissive answers apart.
pub const CLASSIFIER: &str = include_str!("../../../models/librarian/classifier.json");

/// Included bytes have no alignment of their own; weights are read where they lie, as numbers.
#[repr(C, align(64))]
struct Aligned<B: ?Sized> {
    bytes: B,
}

const WEIGHTS: &Aligned<[u8]> =
    &Aligned { bytes: *include_bytes!("../../../models/librarian/model.safetensors") };
