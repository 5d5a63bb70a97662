//! How long work reports its progress, and learns that it should stop.

use crate::error::Error;
use std::fmt;

/// A watcher of long work, which is told of the progress and of what a person should know, and which may stop it.
///
/// Implementations must be cheap, since they are called once per forward pass, and may be called from any thread.
pub trait Watch: Sync {
    /// Learns that a new stage of `total` steps begins.
    fn stage(&self, _name: &str, _total: usize) {}

    /// Learns that `n` more steps are done; 0 only asks whether to go on.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if the work should stop here.
    fn advance(&self, _n: usize) -> Result<(), Error> {
        Ok(())
    }

    /// Learns of something that is no failure, but that a person should know.
    fn remark(&self, _remark: &Remark) {}
}

/// A watcher that shows nothing and never stops.
pub struct Unwatched;

impl Watch for Unwatched {}

/// A remark on a result, for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// What the remark is about, for programs.
    pub kind: RemarkKind,
    /// What the remark says, for people: a sentence without a full stop.
    pub text: String,
}

/// The kinds of remarks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RemarkKind {
    /// The vector was made on other weights than those it is used with.
    OtherWeights,
    /// The vector was made in another frame than the one it is used in.
    OtherFrame,
    /// The model's chat template is not used; the text says why.
    PlainFrame,
    /// A dose that was asked for in other terms has become an alpha.
    Dose,
    /// A budget in nats was spent; the text says which alpha it came to.
    Budget,
    /// A part of the work was done before, and is not done again.
    Resumed,
    /// There are too few contrasts for a part of the work, which is left out.
    TooFewContrasts,
    /// A part of a download, or of the hub's answers, went another way than planned.
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
            RemarkKind::Budget => "budget",
            RemarkKind::Resumed => "resumed",
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
