//! The seam through which the residual stream is read, and may be edited.

use crate::{RowPlan, Rows};
use std::{fmt, str::FromStr};

/// A place inside a decoder block. `resid_post` of block ℓ is what "layer ℓ" means everywhere: the
/// stream after the block and, for the last block, before the final norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Site {
    /// The stream as it enters the block.
    ResidPre,
    /// What attention adds.
    AttnOut,
    /// The stream between attention and the gated unit.
    ResidMid,
    /// What the gated unit adds.
    MlpOut,
    /// The stream as it leaves the block.
    ResidPost,
}

impl Site {
    /// All sites, in the order in which a block passes them.
    pub const ALL: [Site; 5] = [Site::ResidPre, Site::AttnOut, Site::ResidMid, Site::MlpOut, Site::ResidPost];

    /// The name of the field: `resid_post` and so on.
    pub fn name(self) -> &'static str {
        match self {
            Site::ResidPre => "resid_pre",
            Site::AttnOut => "attn_out",
            Site::ResidMid => "resid_mid",
            Site::MlpOut => "mlp_out",
            Site::ResidPost => "resid_post",
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Site {
    type Err = String;
    fn from_str(name: &str) -> Result<Site, String> {
        Site::ALL.into_iter().find(|site| site.name() == name).ok_or_else(|| {
            let names = Site::ALL.map(Site::name).join(", ");
            format!("`{name}` is not a site (sites: {names})")
        })
    }
}

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
