//! A checkpoint and a device become a model; or, without loading, the sizes that it would have.

mod loader;
mod outline;

pub use loader::LoadOptions;
pub use outline::Outline;
