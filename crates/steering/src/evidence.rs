//! Does a vector work, how much of it is best, and at what cost? Measured on contrasts that nothing was fitted on.

mod budget;
mod interference;
mod receipt;
mod recommend;
pub(crate) mod study;
pub mod sweep;

pub use budget::{Solved, solve_kl};
pub use interference::{Interference, Moved, interference};
pub use receipt::{ReceiptOptions, receipt};
pub use recommend::{PERPLEXITY_BUDGET, recommend};
