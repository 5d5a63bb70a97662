//! The seam through which the residual stream is read, and may be edited.

use super::batch::RowPlan;
use super::ops::{HostRows, Rows};
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

impl Hook<'_> {
    /// Reads activations. Rows of the processor are borrowed; those of a device are waited for and copied.
    pub fn host<'r>(&self, x: &'r Rows) -> HostRows<'r> {
        x.read()
    }

    /// Lets the host change every row: `edit` gets the row's index and its elements, `[d_model]`.
    pub fn edit(&self, x: Rows, edit: impl FnMut(usize, &mut [f32])) -> Rows {
        x.edit(edit)
    }
}

/// Reads or edits activations on their way. The value that a tap returns is the value that the
/// model goes on with.
pub trait Tap {
    /// Returns true for the places that [`Tap::at`] is to be called at; nothing is handed over elsewhere.
    fn reads(&self, layer: usize, site: Site) -> bool;

    /// Takes the activations `[n_rows, d_model]` at a hook and returns them, changed or not.
    fn at(&mut self, hook: Hook<'_>, x: Rows) -> Rows;
}

/// The tap that does nothing; it compiles away.
pub struct NoTap;

impl Tap for NoTap {
    #[inline(always)]
    fn reads(&self, _: usize, _: Site) -> bool {
        false
    }

    #[inline(always)]
    fn at(&mut self, _: Hook<'_>, x: Rows) -> Rows {
        x
    }
}

impl<T: Tap + ?Sized> Tap for &mut T {
    fn reads(&self, layer: usize, site: Site) -> bool {
        (**self).reads(layer, site)
    }

    fn at(&mut self, hook: Hook<'_>, x: Rows) -> Rows {
        (**self).at(hook, x)
    }
}
