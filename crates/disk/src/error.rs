//! What can go wrong with a file.

use std::io;
use std::path::{Path, PathBuf};

/// A file that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
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
}

impl Error {
    pub(crate) fn read(path: &Path, source: io::Error) -> Error {
        Error::Read { path: path.to_owned(), source }
    }

    pub(crate) fn write(path: &Path, source: io::Error) -> Error {
        Error::Write { path: path.to_owned(), source }
    }

    /// A file that could not be written under a temporary name. Only the kind is kept: the full error names the
    /// temporary file, which nobody asked for.
    pub(crate) fn write_kind(path: &Path, source: &io::Error) -> Error {
        Error::write(path, source.kind().into())
    }
}

impl From<Error> for io::Error {
    /// Returns what the system said, for callers that name the file themselves.
    fn from(error: Error) -> io::Error {
        match error {
            Error::Read { source, .. } | Error::Write { source, .. } => source,
        }
    }
}
