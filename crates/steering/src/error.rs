//! What can go wrong between contrasts and a figure.

use std::{io, path::PathBuf};

/// Errors of the steering crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] whipstaff_engine::Error),
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line of a text file is wrong.
    #[error("{}:{line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// 1-based.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A file is not what it should be.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The contrasts give no direction at some layer.
    #[error(
        "the contrasts of `{set}` give a zero direction at layer {layer}: their positive and negative \
         answers are the same to the model"
    )]
    ZeroDirection {
        /// The contrast set.
        set: String,
        /// The layer.
        layer: usize,
    },
    /// The model computed something that is no number.
    #[error("the activations at layer {layer} are not finite numbers: the checkpoint is damaged")]
    NotFinite {
        /// The layer.
        layer: usize,
    },
    /// A contrast is longer than the model can read.
    #[error(
        "contrast {number} of `{set}` has {tokens} tokens, the model's context is {max}; shorten or remove it"
    )]
    TooLong {
        /// The contrast set.
        set: String,
        /// 1-based, empty lines not counted.
        number: usize,
        /// Tokens of the prompt with its longer answer.
        tokens: usize,
        /// `max_position_embeddings`.
        max: usize,
    },
    /// A vector does not fit a model or a request.
    #[error("vector `{vector}`: {reason}")]
    Vector {
        /// The vector's name or file.
        vector: String,
        /// What does not fit.
        reason: String,
    },
    /// A judge cannot be asked, or does not answer.
    #[error("the judge {judge}: {reason}")]
    Judge {
        /// Who.
        judge: String,
        /// What happened.
        reason: String,
    },
    /// A setting makes no sense.
    #[error("{0}")]
    Setting(String),
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl From<whipstaff_disk::Error> for Error {
    fn from(error: whipstaff_disk::Error) -> Error {
        match error {
            whipstaff_disk::Error::Read { path, source } => Error::Read { path, source },
            whipstaff_disk::Error::Write { path, source } => Error::Write { path, source },
        }
    }
}
