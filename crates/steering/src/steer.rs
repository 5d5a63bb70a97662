//! From a request to a steering: how it is written down, what it means, and what it comes to in words.

mod compose;
mod dose;
mod instruction;
mod spec;
mod words;

pub use compose::{Cosines, Mix, Part, compose, same_gaps, shared_layers};
pub use dose::{Dose, combine};
pub use instruction::{Application, GateSpec, Instruction, Op, TokenFilter, steering_of};
pub use spec::{FieldError, GateRequest, SteerSpec};
pub(crate) use spec::{field, from_toml, typed};
