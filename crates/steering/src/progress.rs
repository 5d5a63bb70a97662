//! How long work reports where it stands, and learns that it should stop.

use crate::error::Error;
use std::fmt;

/// Watches long work: told where it stands and what a person should know, asked whether it should go on.
///
/// Implementations must be cheap, since they are called once per forward pass, and may be called from any thread.
pub trait Watch: Sync {
    /// A new stage of `total` steps begins.
    fn stage(&self, _name: &str, _total: usize) {}

    /// `n` more steps are done; 0 only asks whether to go on.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if the work should stop here.
    fn advance(&self, _n: usize) -> Result<(), Error> {
        Ok(())
    }

    /// Something came up that is no failure, but that a person should know.
    fn remark(&self, _remark: &Remark) {}
}

/// Shows nothing and never stops.
pub struct Unwatched;

impl Watch for Unwatched {}

/// Something that a person should know about a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// What it is about, for programs.
    pub kind: RemarkKind,
    /// What it says, for people: a sentence without a full stop.
    pub text: String,
}

/// What a [`Remark`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RemarkKind {
    /// The vector was made on other weights than those it is used with.
    OtherWeights,
    /// The vector was made in another frame than the one it is used in.
    OtherFrame,
    /// The model's chat template is not used, and why.
    PlainFrame,
    /// How strong a dose became that was asked for in other terms.
    Dose,
    /// There are too few contrasts for a part of the work, which was left out.
    TooFewContrasts,
    /// A part of a download, or of the hub's answers, that went another way than planned.
    Download,
}

impl RemarkKind {
    /// Returns the kind's name in JSON: `other_weights` and so on.
    pub fn name(self) -> &'static str {
        match self {
            RemarkKind::OtherWeights => "other_weights",
            RemarkKind::OtherFrame => "other_frame",
            RemarkKind::PlainFrame => "plain_frame",
            RemarkKind::Dose => "dose",
            RemarkKind::TooFewContrasts => "too_few_contrasts",
            RemarkKind::Download => "download",
        }
    }
}

impl Remark {
    /// Makes a remark of a kind.
    pub fn new(kind: RemarkKind, text: impl Into<String>) -> Remark {
        Remark { kind, text: text.into() }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
