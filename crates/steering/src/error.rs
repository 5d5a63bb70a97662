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
    /// A request for steering asks for what cannot be.
    #[error(transparent)]
    Request(#[from] SteerError),
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

/// A request for steering that cannot be resolved, though the files that it names are sound.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SteerError {
    /// An operator needs an alpha, and none is given.
    #[error("{}: {op} needs an angle in degrees as its alpha (write {}:20)", vector.display(), vector.display())]
    AlphaMissing {
        /// The vector's file.
        vector: PathBuf,
        /// The operator.
        op: &'static str,
    },
    /// A unit is asked for, but the alpha is the vector's own and counted in another.
    #[error(
        "unit {unit} needs an alpha: the one that {} brings along is in the unit `{own}` (write {}:0.5)",
        vector.display(), vector.display()
    )]
    UnitWithoutAlpha {
        /// The vector's file.
        vector: PathBuf,
        /// The unit asked for.
        unit: &'static str,
        /// The unit of the vector's own alpha.
        own: &'static str,
    },
    /// A vector has no direction at a layer that is asked for.
    #[error("{} has no direction at layer {layer}; it has them at {layers}", vector.display())]
    NoDirection {
        /// The vector's file.
        vector: PathBuf,
        /// The layer.
        layer: usize,
        /// The layers that there are.
        layers: String,
    },
    /// A gate names no layer, and its vector does not know its best one.
    #[error("{}: the vector does not know its best layer: say gate.layer", vector.display())]
    GateLayerMissing {
        /// The condition vector's file.
        vector: PathBuf,
    },
    /// A budget was not turned into an alpha.
    #[error("{}: {nats} nats are measured on a prompt: give an alpha here", vector.display())]
    UnmeasuredBudget {
        /// The vector's file.
        vector: PathBuf,
        /// The budget, in nats per token.
        nats: f64,
    },
    /// One of several vectors is given in nats.
    #[error("{nats} nats are of all vectors together, not of {} alone: give alphas, and the budget once", vector.display())]
    SharedBudget {
        /// The file of the vector that names the budget.
        vector: PathBuf,
        /// The budget, in nats per token.
        nats: f64,
    },
    /// A token filter is asked for of a model without a tokenizer.
    #[error("{}: the token filter needs a tokenizer, and this model has none", vector.display())]
    TokenizerMissing {
        /// The vector's file.
        vector: PathBuf,
    },
}
