//! One error type for everything below the library, and the few kinds that callers tell apart.

use crate::machine::InvalidLimit;
use crate::memory::Refusal;
use std::sync::Arc;
use whipstaff_engine::Error as EngineError;
use whipstaff_hub::Error as HubError;
use whipstaff_steering::{Error as SteeringError, FieldError};

/// A result with the library's own [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong between a model's name and a steered answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name is neither a folder nor a file nor a model of the hub.
    #[error("{name}: there is no such directory or file")]
    NoSuchModel {
        /// The name as it was given.
        name: String,
    },
    /// The hub does not give the model out, or cannot be reached.
    #[error("{name}: {}{error}", perhaps_a_path(error))]
    Hub {
        /// The model as it was asked for.
        name: String,
        /// What the hub or the network said.
        error: Box<HubError>,
    },
    /// The settings of the hub, which come from the environment, make no sense.
    #[error(transparent)]
    HubSettings(Box<HubError>),
    /// This processor does not offer the kernel set that was asked for.
    #[error("{asked}: this processor offers {}", available.join(", "))]
    NoSuchKernels {
        /// The variable or the option that asked for it, with its value.
        asked: String,
        /// The kernel sets that this processor runs.
        available: Vec<&'static str>,
    },
    /// A memory limit is no amount.
    #[error(transparent)]
    Limit(#[from] InvalidLimit),
    /// The work would take more memory than it may.
    #[error(transparent)]
    Memory(Box<Refusal>),
    /// The model has no tokenizer, or one that cannot be read.
    #[error(transparent)]
    Tokenizer(Arc<EngineError>),
    /// A chat frame is needed, and the model has no chat template.
    #[error("{}: {model} has no chat template; use the frame `plain`", wants_chat(*by_vector))]
    NoChatTemplate {
        /// The model's name.
        model: String,
        /// True if a vector needs the frame rather than the caller.
        by_vector: bool,
    },
    /// A prompt is longer than the model can read.
    #[error("prompt {number} has {tokens} tokens, the model's context is {max}")]
    PromptTooLong {
        /// The prompt's number, from 1 on.
        number: usize,
        /// The tokens of the prompt with its answer.
        tokens: usize,
        /// The model's context.
        max: usize,
    },
    /// The engine refused.
    #[error(transparent)]
    Engine(EngineError),
    /// Contrasts, vectors or steering are not what they should be.
    #[error(transparent)]
    Steering(SteeringError),
}

/// What kind of failure an [`enum@Error`] is, for exit codes and HTTP statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request asks for what cannot be: exit code 2, status 400.
    Usage,
    /// A file is missing, of the wrong kind, or damaged: exit code 3, status 422.
    BadInput,
    /// Something comes from the network or is not accessible: exit code 4, status 502.
    Access,
    /// The work would take more memory than it may: exit code 5, status 507.
    Memory,
    /// The caller asked to stop: exit code 130, status 499.
    Interrupted,
    /// Something failed that should have worked: exit code 1, status 500.
    Failed,
}

impl Error {
    /// Returns the kind of failure.
    ///
    /// ```
    /// let error = whipstaff::open("no/such/folder/anywhere").unwrap_err();
    /// assert_eq!(error.kind(), whipstaff::ErrorKind::BadInput);
    /// ```
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::NoSuchModel { .. }
            | Error::PromptTooLong { .. }
            | Error::Tokenizer(_)
            | Error::NoChatTemplate { .. } => ErrorKind::BadInput,
            Error::NoSuchKernels { .. } | Error::Limit(_) => ErrorKind::Usage,
            Error::Memory(_) => ErrorKind::Memory,
            Error::Hub { error, .. } | Error::HubSettings(error) => of_hub(error),
            Error::Engine(error) => of_engine(error),
            Error::Steering(error) => of_steering(error),
        }
    }
}

fn of_hub(error: &HubError) -> ErrorKind {
    match error {
        HubError::Setting { .. } | HubError::AmbiguousQuant { .. } => ErrorKind::Usage,
        HubError::NoWeights { .. } | HubError::Read { .. } => ErrorKind::BadInput,
        HubError::Write { .. } => ErrorKind::Failed,
        HubError::Interrupted => ErrorKind::Interrupted,
        _ => ErrorKind::Access,
    }
}

fn of_engine(error: &EngineError) -> ErrorKind {
    match error {
        EngineError::Read { .. }
        | EngineError::Malformed { .. }
        | EngineError::UnsupportedFamily { .. }
        | EngineError::MissingTensors { .. }
        | EngineError::Template { .. }
        | EngineError::SteeringMismatch(_) => ErrorKind::BadInput,
        EngineError::TooLong { .. } | EngineError::UnknownToken { .. } | EngineError::Empty => {
            ErrorKind::Usage
        }
        EngineError::Tokenize(_) | EngineError::NotANumber => ErrorKind::Failed,
    }
}

fn of_steering(error: &SteeringError) -> ErrorKind {
    match error {
        SteeringError::Engine(error) => of_engine(error),
        SteeringError::Read { .. }
        | SteeringError::Line { .. }
        | SteeringError::File { .. }
        | SteeringError::ZeroDirection { .. }
        | SteeringError::TooLong { .. }
        | SteeringError::NotFinite { .. }
        | SteeringError::Vector { .. } => ErrorKind::BadInput,
        SteeringError::Judge { .. } => ErrorKind::Access,
        SteeringError::Setting(_) | SteeringError::Request(_) => ErrorKind::Usage,
        SteeringError::Write { .. } => ErrorKind::Failed,
        SteeringError::Interrupted => ErrorKind::Interrupted,
    }
}

/// A name of the form `org/name` may have been meant as a path.
fn perhaps_a_path(error: &HubError) -> &'static str {
    match error {
        HubError::Offline { .. } | HubError::NoSuchRepo { .. } | HubError::Network { .. } => {
            "there is no such directory or file here, and "
        }
        _ => "",
    }
}

fn wants_chat(by_vector: bool) -> &'static str {
    if by_vector { "the vector was made with a chat template" } else { "frame `chat`" }
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Error {
        Error::Engine(error)
    }
}

impl From<SteeringError> for Error {
    fn from(error: SteeringError) -> Error {
        match error {
            SteeringError::Engine(error) => Error::Engine(error),
            error => Error::Steering(error),
        }
    }
}

impl From<FieldError> for Error {
    fn from(error: FieldError) -> Error {
        Error::Steering(SteeringError::Setting(error.to_string()))
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        Error::Memory(Box::new(refusal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_every_crate_have_a_kind() {
        let check = |error: Error, want: ErrorKind| assert_eq!(error.kind(), want, "{error}");
        let steering = |error: SteeringError| Error::from(error);
        check(Error::NoSuchModel { name: "x".into() }, ErrorKind::BadInput);
        check(EngineError::Empty.into(), ErrorKind::Usage);
        check(EngineError::NotANumber.into(), ErrorKind::Failed);
        check(steering(SteeringError::Interrupted), ErrorKind::Interrupted);
        check(steering(EngineError::Empty.into()), ErrorKind::Usage);
        let hub = |error| Error::Hub { name: "org/name".into(), error: Box::new(error) };
        check(hub(HubError::Interrupted), ErrorKind::Interrupted);
        check(hub(HubError::Setting { name: "HF_ENDPOINT", reason: "no".into() }), ErrorKind::Usage);
    }

    #[test]
    fn a_name_that_the_hub_does_not_know_may_have_been_a_path() {
        let error = HubError::NoSuchRepo { host: "hub".into(), repo: "org/name".into(), with_token: false };
        let text = Error::Hub { name: "org/name".into(), error: Box::new(error) }.to_string();
        assert!(
            text.starts_with("org/name: there is no such directory or file here, and hub has no"),
            "{text}"
        );
    }
}
