//! Everything that is read from a disk: a model's blueprint, its mapped tensors and its texts. Nothing is packed here.

mod facts;
mod folder;
mod gguf;
mod names;
mod open;
mod packs;
mod params;
mod specials;
mod templates;
mod texts;
mod weights;

pub(crate) use facts::TextFacts;
pub use gguf::{Gguf, GgufValue, GgufWriter, Quantised};
pub use open::{Checkpoint, ModelFiles};
pub use packs::PackCache;
pub use params::n_parameters;
pub(crate) use params::{Param, Part};
pub use weights::Weights;
