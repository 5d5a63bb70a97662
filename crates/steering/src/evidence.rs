//! Does a vector work, how much of it is best, and at what cost? Measured on contrasts that nothing was fitted on.

mod budget;
mod extraction;
mod interference;
mod receipt;
mod recommend;
pub mod study;
pub mod sweep;

pub use budget::{Solved, solve_kl};
pub use extraction::Extraction;
pub use interference::Interference;
pub use receipt::Controls;
pub use recommend::PERPLEXITY_BUDGET;
