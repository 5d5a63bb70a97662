//! The study: methods and layers compared at equal cost, for any models and personas, and against prompting.
//!
//! A pair is one persona on one model. Every method at every set of layers gets the alpha at which it moves
//! neutral texts by the same KL, and is measured there: by that, doses can be compared whose alphas cannot.
//! docs/REFERENCE.md says what is measured and how the three questions are answered.

mod data;
mod findings;
mod journal;
mod measure;
mod pair;
mod plan;

pub use findings::{Compared, Curve, Depth, Findings, MethodRow, PromptRow};
pub use journal::Journal;
pub use measure::PairMaterial;
pub use pair::{DoseOutcome, Judged, Pair, PairPlan, StudyCell};
pub use plan::{EMBEDDED, PersonaPlan, StudyPlan, file_name};

#[cfg(test)]
mod tests;
