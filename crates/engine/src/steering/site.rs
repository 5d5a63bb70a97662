//! The places of a block at which the stream is read and edited.

use std::{fmt, str::FromStr};

/// A place inside a decoder block. `resid_post` of block ℓ is what "layer ℓ" means everywhere: the
/// stream after the block and, for the last block, before the final norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Site {
    /// The stream as it enters the block.
    ResidPre,
    /// What attention adds.
    AttnOut,
    /// The stream between attention and the MLP.
    ResidMid,
    /// What the MLP adds.
    MlpOut,
    /// The stream as it leaves the block.
    ResidPost,
}

impl Site {
    /// All sites, in the order in which a block passes them.
    pub const ALL: [Site; 5] = [Site::ResidPre, Site::AttnOut, Site::ResidMid, Site::MlpOut, Site::ResidPost];

    /// Returns the name in files and on command lines: `resid_post` and so on.
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
