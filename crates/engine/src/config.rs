//! What a model is: its blueprint, and how the config file of each family spells it. Nothing here opens a file.

pub(crate) mod angles;
mod blueprint;
pub(crate) mod family;
mod fields;
mod layers;
mod parse;
mod rope;

pub(crate) use angles::{Frequencies, is_close};
pub use angles::{Rope, RopeScaling};
pub use blueprint::{Config, Experts, LayerKind, NormKind, NormPlaces, QkNorm};
pub(crate) use blueprint::{MAX_LAYERS, MAX_SIZE};
pub use family::families;
