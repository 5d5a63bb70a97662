//! From a request to a steering: how it is written down, what it means, and what it comes to in words.

mod compose;
mod dose;
mod instruction;
mod resolve;
mod short;
mod spec;
mod vector_dose;
mod words;

pub use compose::{Cosines, Mix, Part, compose, same_gaps, shared_layers};
pub use dose::{Dose, combine};
pub use instruction::{Application, GateSpec, Instruction, Op, TokenFilter, steering_of};
pub use resolve::{
    ModelFacts, Resolved, ResolvedVector, WeightsDigest, resolve, resolve_doses, resolve_without_model,
};
pub use spec::{Amount, FieldError, GateRequest, SteerSpec};
pub(crate) use spec::{field, from_toml, typed};
pub use vector_dose::VectorDose;
