//! Everything that can go wrong between contrasts and evidence.

use std::{io, path::PathBuf};

/// Errors of the steering crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine refuses.
    #[error(transparent)]
    Engine(#[from] whipstaff_engine::Error),
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A line of a text file is wrong.
    #[error("{}:{line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The number of the line, 1-based.
        line: usize,
        /// What is wrong with the line.
        reason: String,
    },
    /// A file is not what it should be.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with the file.
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
    /// The model computes something that is no number.
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
        /// The number of the contrast, 1-based; empty lines do not count.
        number: usize,
        /// The tokens of the prompt with its longer answer.
        tokens: usize,
        /// The tokens that the context has room for: `max_position_embeddings`.
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
        /// The judge.
        judge: String,
        /// What happened.
        reason: String,
    },
    /// A setting makes no sense.
    #[error("{0}")]
    Setting(String),
    /// The user asks to stop.
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
