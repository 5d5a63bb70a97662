//! Multiple-choice questions: the files that hold them, and what a model chooses.

mod scoring;
mod set;

pub use scoring::{ChoiceScore, ChoiceTest};
pub use set::{Choice, ChoiceSet};
