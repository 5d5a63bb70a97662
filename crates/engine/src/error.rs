//! What can go wrong between a folder on disk and a token.

use std::{io, path::PathBuf};

/// The errors of the engine. Each says what was being read, what was found and what would do instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the model could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of the model is there, but not what it should be.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, naming the field.
        reason: String,
    },
    /// The model is of a family whose arithmetic is not implemented.
    #[error(
        "{}: models of the family `{family}` are not supported (supported: {})",
        path.display(), supported.join(", ")
    )]
    UnsupportedFamily {
        /// The config file.
        path: PathBuf,
        /// Its `model_type`.
        family: String,
        /// The families that are supported.
        supported: Vec<&'static str>,
    },
    /// The checkpoint lacks tensors that the config promises.
    #[error("{}: the checkpoint lacks {} of the tensors that the config asks for: {}", path.display(), names.len(), list(names))]
    MissingTensors {
        /// The checkpoint folder.
        path: PathBuf,
        /// Every missing name.
        names: Vec<String>,
    },
    /// More tokens than the model has positions for.
    #[error("{tokens} tokens do not fit the model's context of {max}; shorten the text")]
    TooLong {
        /// Tokens asked for.
        tokens: usize,
        /// `max_position_embeddings`.
        max: usize,
    },
    /// A token id that the vocabulary does not have.
    #[error("token id {id} is outside the vocabulary of {vocab_size} entries")]
    UnknownToken {
        /// The id.
        id: u32,
        /// The vocabulary's size.
        vocab_size: usize,
    },
    /// There is nothing to run: a prompt of no tokens.
    #[error("the text is empty: nothing to run")]
    Empty,
    /// Text could not be turned into tokens or back.
    #[error("tokenizer: {0}")]
    Tokenize(String),
    /// A chat template cannot be used, or not for this conversation.
    #[error("{}: the chat template {reason}", path.display())]
    Template {
        /// The file that it is in.
        path: PathBuf,
        /// What it does, as the rest of a sentence.
        reason: String,
    },
    /// The model computed something that is no number.
    #[error(
        "the model's output is not a number: the steering is far too strong or the checkpoint is damaged"
    )]
    NotANumber,
    /// A steering vector does not fit the model.
    #[error("{0}")]
    SteeringMismatch(String),
}

impl Error {
    pub(crate) fn malformed(path: impl Into<PathBuf>, reason: impl Into<String>) -> Error {
        Error::Malformed { path: path.into(), reason: reason.into() }
    }
}

/// Lists at most eight names, then how many more there are.
fn list(names: &[String]) -> String {
    let shown = names.iter().take(8).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(8) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
