//! Computations that are written once and compiled for every set.

use super::lanes::Lanes;

/// A computation written once over [`Lanes`] and compiled once per instruction set.
pub(crate) trait Kernel {
    /// Runs the computation. Implementations are `#[inline(always)]`, so that they take on the features of
    /// the function that calls them.
    ///
    /// # Safety
    /// The caller runs with the features that `L` needs.
    unsafe fn run<L: Lanes>(self);
}
