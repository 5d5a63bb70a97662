//! How a run fails: the message, and the exit code that scripts can rely on.

use crate::output::tell;
use std::process::ExitCode;
use whipstaff_engine::Error as EngineError;
use whipstaff_steering::Error as SteeringError;

/// Why the program ends early.
#[derive(Debug)]
pub enum Failure {
    /// Something that should have worked did not.
    Failed(String),
    /// The command line asks for what cannot be.
    Usage(String),
    /// An input file is missing, of the wrong kind, or damaged.
    BadInput(String),
    /// Something has to come from the network or is not accessible.
    Access(String),
    /// It would take more memory than it may.
    Memory(String),
    /// The user pressed ctrl-C.
    Interrupted,
    /// Whoever read our output has seen enough.
    BrokenPipe,
}

impl Failure {
    /// The same failure, with the flag it is about in front.
    pub fn about(self, flag: &str) -> Failure {
        match self {
            Failure::Usage(message) => Failure::Usage(format!("{flag}: {message}")),
            other => other,
        }
    }

    /// Tells the user, and gives the exit code.
    pub fn report(self) -> ExitCode {
        let code = match &self {
            Failure::BrokenPipe => 0,
            Failure::Failed(_) => 1,
            Failure::Usage(_) => 2,
            Failure::BadInput(_) => 3,
            Failure::Access(_) => 4,
            Failure::Memory(_) => 5,
            Failure::Interrupted => 130,
        };
        match self {
            Failure::Failed(message)
            | Failure::Usage(message)
            | Failure::BadInput(message)
            | Failure::Access(message)
            | Failure::Memory(message) => tell(&format!("error: {message}")),
            Failure::Interrupted => tell("interrupted: nothing half-written was left behind"),
            Failure::BrokenPipe => {}
        }
        ExitCode::from(code)
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Failure {
        let message = error.to_string();
        match error {
            EngineError::Read { .. }
            | EngineError::Malformed { .. }
            | EngineError::UnsupportedFamily { .. }
            | EngineError::MissingTensors { .. }
            | EngineError::Template { .. }
            | EngineError::SteeringMismatch(_) => Failure::BadInput(message),
            EngineError::TooLong { .. } | EngineError::UnknownToken { .. } | EngineError::Empty => {
                Failure::Usage(message)
            }
            EngineError::Tokenize(_) | EngineError::NotANumber => Failure::Failed(message),
        }
    }
}

impl From<SteeringError> for Failure {
    fn from(error: SteeringError) -> Failure {
        let message = error.to_string();
        match error {
            SteeringError::Engine(error) => error.into(),
            SteeringError::Read { .. }
            | SteeringError::Line { .. }
            | SteeringError::File { .. }
            | SteeringError::ZeroDirection { .. }
            | SteeringError::TooLong { .. }
            | SteeringError::NotFinite { .. }
            | SteeringError::Vector { .. } => Failure::BadInput(message),
            SteeringError::Judge { .. } => Failure::Access(message),
            SteeringError::Setting(_) | SteeringError::Request(_) => Failure::Usage(message),
            SteeringError::Write { .. } => Failure::Failed(message),
            SteeringError::Interrupted => Failure::Interrupted,
        }
    }
}
