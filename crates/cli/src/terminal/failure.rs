//! How a run fails: the message, and the exit code that scripts can rely on.

use whipstaff::{Error as LibraryError, ErrorKind};
use whipstaff_disk::Error as DiskError;
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

    /// Returns the exit code that scripts can rely on.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::BrokenPipe => 0,
            Failure::Failed(_) => 1,
            Failure::Usage(_) => 2,
            Failure::BadInput(_) => 3,
            Failure::Access(_) => 4,
            Failure::Memory(_) => 5,
            Failure::Interrupted => 130,
        }
    }

    /// Returns the failure to open the model that `flag` names.
    pub fn of_model(flag: &str, error: LibraryError) -> Failure {
        match error {
            LibraryError::NoSuchModel { .. } | LibraryError::Hub { .. } => {
                Failure::new(error.kind(), format!("{flag} {error}"))
            }
            error => Failure::from(error),
        }
    }

    fn new(kind: ErrorKind, message: String) -> Failure {
        match kind {
            ErrorKind::Usage => Failure::Usage(message),
            ErrorKind::BadInput => Failure::BadInput(message),
            ErrorKind::Access => Failure::Access(message),
            ErrorKind::Memory => Failure::Memory(message),
            ErrorKind::Interrupted => Failure::Interrupted,
            ErrorKind::Failed => Failure::Failed(message),
        }
    }
}

impl From<LibraryError> for Failure {
    /// Errors that a flag could have avoided name the flag.
    fn from(error: LibraryError) -> Failure {
        let message = match &error {
            LibraryError::Memory(refusal) => refusal.in_words("--max-memory"),
            LibraryError::NoChatTemplate { model, by_vector: false } => {
                format!("--frame chat: {model} has no chat template; use --frame plain")
            }
            LibraryError::NoChatTemplate { model, by_vector: true } => format!(
                "the vector was made with a chat template (--frame plain would do without): {model} has no chat template; \
                 use --frame plain"
            ),
            error => error.to_string(),
        };
        Failure::new(error.kind(), message)
    }
}

impl From<DiskError> for Failure {
    fn from(error: DiskError) -> Failure {
        let message = error.to_string();
        match error {
            DiskError::Read { .. } => Failure::BadInput(message),
            DiskError::Write { .. } => Failure::Failed(message),
        }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Failure {
        LibraryError::from(error).into()
    }
}

impl From<SteeringError> for Failure {
    fn from(error: SteeringError) -> Failure {
        LibraryError::from(error).into()
    }
}
