//! The sweep: layers × alphas × methods on held-out contrasts, cell by cell, with a file that keeps what is measured.

mod grid;
mod journal;
mod run;

pub(crate) use grid::picks_on;
pub use grid::{Pick, Place, SweepCell, SweepPlan, digest_of, pick};
pub use journal::Journal;
pub use run::Sweep;
