//! A request for steering on its way to the engine: the short form of the command line, and what a spec means for one
//! model.

mod resolve;
mod short;

pub use resolve::{ModelFacts, Resolved, ResolvedVector, WeightsDigest, resolve, resolve_without_model};
