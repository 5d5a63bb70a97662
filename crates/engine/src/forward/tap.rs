//! The seam through which the residual stream is read, and may be edited.

use super::batch::RowPlan;
use super::rows::Rows;
use crate::steering::Site;

/// Where a tap is called, and for which rows.
#[derive(Clone, Copy)]
pub struct Hook<'a> {
    /// The 0-based block.
    pub layer: usize,
    /// The place in the block.
    pub site: Site,
    /// The rows that the activations belong to.
    pub rows: &'a RowPlan,
}

/// Reads or edits activations on their way. The value that a tap returns is the value that the
/// model goes on with.
pub trait Tap {
    /// Takes the activations `[n_rows, d_model]` at a hook and returns them, changed or not.
    fn at(&mut self, hook: Hook<'_>, x: Rows) -> Rows;
}

/// The tap that does nothing; it compiles away.
pub struct NoTap;

impl Tap for NoTap {
    #[inline(always)]
    fn at(&mut self, _: Hook<'_>, x: Rows) -> Rows {
        x
    }
}

impl<T: Tap + ?Sized> Tap for &mut T {
    fn at(&mut self, hook: Hook<'_>, x: Rows) -> Rows {
        (**self).at(hook, x)
    }
}
