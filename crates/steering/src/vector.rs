//! What a vector is: directions with their statistics, the receipt and the recipe that belong to it, and its files.
//! Nothing is measured here.

mod control;
mod file;
mod layers;
mod persona;
mod read;
mod receipt;
mod recipe;
mod unit;

pub use control::Convention;
pub use file::FORMAT_VERSION;
pub(crate) use file::ReceiptEntry;
pub(crate) use layers::LayerMark;
pub use layers::{LayerSpec, layers_text};
pub use persona::{LayerDirection, ModelId, PersonaVector, Provenance, Recommendation};
pub use receipt::{Arm, ArmKind, Cost, Effect, Nuisance, Receipt, Verdict};
pub use recipe::{Orthogonal, Recipe, RecipePart};
pub use unit::Unit;
pub(crate) use unit::no_statistic;
