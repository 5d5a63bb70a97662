//! The errors that can happen between a name and a file.

use std::{io, path::PathBuf, time::Duration};

/// An error of the hub. Each message says what is wrong, with which value, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A variable of the environment has an unusable value.
    #[error("{name}: {reason}")]
    Setting {
        /// The name of the variable.
        name: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
    /// The network may not be used, and the cache does not have what was asked for.
    #[error(
        "{what} is not in the local hub cache ({}), and HF_HUB_OFFLINE forbids downloading it: unset HF_HUB_OFFLINE, \
         or fetch it where there is a network and copy the cache", cache.display()
    )]
    Offline {
        /// The model, or one of its files.
        what: String,
        /// The cache that was searched.
        cache: PathBuf,
    },
    /// The server cannot be reached, or the connection broke.
    #[error("cannot reach {host}: {reason}")]
    Network {
        /// The server.
        host: String,
        /// What went wrong with the connection.
        reason: String,
        /// True if another attempt may succeed.
        again: bool,
    },
    /// A download ended early.
    #[error(
        "the connection to {host} ended after {have} of {size} bytes of {file}; what has arrived is kept: run again to resume"
    )]
    Cut {
        /// The server.
        host: String,
        /// The file.
        file: String,
        /// Bytes on disk.
        have: u64,
        /// Bytes of the file.
        size: u64,
    },
    /// The server is overloaded or broken, or it limits the number of requests.
    #[error("{host} answers {status}{}{}", explain(message), waiting(*retry_after))]
    Busy {
        /// The server.
        host: String,
        /// 429 or 5xx.
        status: u16,
        /// What the server says about it.
        message: String,
        /// How long the server asks the client to wait.
        retry_after: Option<Duration>,
    },
    /// The licence of the repository has to be accepted first.
    #[error("{repo} is gated: accept its licence at {page}, {}", access(*with_token))]
    Gated {
        /// The repository.
        repo: String,
        /// The page with the licence.
        page: String,
        /// True if a token was sent.
        with_token: bool,
    },
    /// The repository does not exist, or the server does not reveal it to this user.
    #[error(
        "{host} has no model {repo}, or it is private: check the name{}",
        if *with_token { "; the token that was sent gives no access to it" }
        else { ", or set HF_TOKEN (or run `hf auth login`) if it is yours" }
    )]
    NoSuchRepo {
        /// The server.
        host: String,
        /// The repository.
        repo: String,
        /// True if a token was sent.
        with_token: bool,
    },
    /// The repository has no such branch, tag or commit.
    #[error("{repo} has no revision `{revision}`: leave `@{revision}` out for the newest")]
    NoSuchRevision {
        /// The repository.
        repo: String,
        /// The branch, tag or commit.
        revision: String,
    },
    /// The repository has no such file.
    #[error("{repo} has no file `{file}`{}", listed(files))]
    NoSuchFile {
        /// The repository.
        repo: String,
        /// What was asked for.
        file: String,
        /// The files that exist instead.
        files: Vec<String>,
    },
    /// No GGUF file of the repository carries this quantisation in its name.
    #[error("{repo} has no GGUF file named `{quant}`{}", listed(files))]
    NoSuchQuant {
        /// The repository.
        repo: String,
        /// What was asked for.
        quant: String,
        /// The GGUF files that exist.
        files: Vec<String>,
    },
    /// Several GGUF files of the repository carry this quantisation in their names.
    #[error("{repo}:{quant} may mean several files; name one as {repo}/FILE{}", listed(files))]
    AmbiguousQuant {
        /// The repository.
        repo: String,
        /// What was asked for.
        quant: String,
        /// The files that match.
        files: Vec<String>,
    },
    /// The repository has no safetensors checkpoint.
    #[error("{repo} {reason}{}", listed(files))]
    NoWeights {
        /// The repository.
        repo: String,
        /// What the repository has instead.
        reason: String,
        /// The GGUF files that could be named instead.
        files: Vec<String>,
    },
    /// The server refuses for another reason.
    #[error("{host} answers {status}{} to {what}", explain(message))]
    Refused {
        /// The server.
        host: String,
        /// The status.
        status: u16,
        /// What the server says about it.
        message: String,
        /// What was asked for.
        what: String,
    },
    /// A redirect leads to an address that is not followed.
    #[error("{host} redirects to {to}, which is not followed: {reason}")]
    Redirect {
        /// The server.
        host: String,
        /// The target of the redirect.
        to: String,
        /// The reason why it is not followed.
        reason: &'static str,
    },
    /// The server's answer cannot be used.
    #[error("the answer from {host} for {what} cannot be used: {reason}")]
    Answer {
        /// The server.
        host: String,
        /// What was asked for.
        what: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The content that arrived is not the promised file. It has been deleted.
    #[error("{file} from {host} is damaged and was deleted: {reason}; run again to download it")]
    Damaged {
        /// The server.
        host: String,
        /// The file.
        file: String,
        /// How the damage was detected.
        reason: String,
    },
    /// The cache cannot be written to. The part that has arrived is kept.
    #[error("cannot write {}: {source}{}", path.display(), kept(*have))]
    Write {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
        /// The number of bytes that have arrived and stay on disk.
        have: u64,
    },
    /// The watcher has asked to stop. The part that has arrived is kept.
    #[error("interrupted")]
    Interrupted,
    /// The cache cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl Error {
    /// Returns true if another attempt may succeed.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Error::Network { again: true, .. } | Error::Cut { .. } | Error::Busy { .. })
    }

    /// Makes the error for a file that cannot be written.
    pub(crate) fn write(path: impl Into<PathBuf>, source: io::Error) -> Error {
        Error::Write { path: path.into(), source, have: 0 }
    }
}

impl From<whipstaff_disk::Error> for Error {
    fn from(error: whipstaff_disk::Error) -> Error {
        match error {
            whipstaff_disk::Error::Read { path, source } => Error::Read { path, source },
            whipstaff_disk::Error::Write { path, source } => Error::write(path, source),
        }
    }
}

fn explain(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(" ({message})") }
}

fn waiting(retry_after: Option<Duration>) -> String {
    retry_after.map_or_else(String::new, |it| format!("; try again in {} s", it.as_secs()))
}

fn access(with_token: bool) -> &'static str {
    match with_token {
        true => "with the account of the token that was sent: it has no access yet",
        false => "then set HF_TOKEN (or run `hf auth login`)",
    }
}

fn kept(have: u64) -> String {
    match have {
        0 => String::new(),
        _ => format!("; the {have} bytes that have arrived are kept: make room and run again to resume"),
    }
}

/// Lists the first forty files for a message.
fn listed(files: &[String]) -> String {
    const MOST: usize = 40;
    let more = files.len().saturating_sub(MOST);
    let names = files.iter().take(MOST).map(|it| format!("\n  {it}")).collect::<String>();
    match (files.is_empty(), more) {
        (true, _) => String::new(),
        (_, 0) => format!("; available files:{names}"),
        _ => format!("; available files:{names}\n  and {more} more"),
    }
}
