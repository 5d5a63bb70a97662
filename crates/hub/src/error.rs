//! What can go wrong between a name and a file.

use std::{io, path::PathBuf, time::Duration};

/// Errors of the hub. Each says what was asked for and what would do instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A variable of the environment says what cannot be.
    #[error("{name}: {reason}")]
    Setting {
        /// The variable.
        name: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
    /// The network may not be used, and the cache does not have it.
    #[error(
        "{what} is not in the local hub cache ({}), and HF_HUB_OFFLINE forbids downloading it: unset HF_HUB_OFFLINE, \
         or fetch it where there is a network and copy the cache", cache.display()
    )]
    Offline {
        /// The model, or one of its files.
        what: String,
        /// Where it was looked for.
        cache: PathBuf,
    },
    /// No connection, or one that broke.
    #[error("cannot reach {host}: {reason}")]
    Network {
        /// The server.
        host: String,
        /// What happened.
        reason: String,
        /// Might it go better at the next try?
        again: bool,
    },
    /// A download ended early.
    #[error(
        "the connection to {host} ended after {have} of {size} bytes of {file}; what has arrived is kept, run again to go on"
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
    /// The server is overloaded, broken, or has had enough of us.
    #[error("{host} answers {status}{}{}", explain(message), waiting(*retry_after))]
    Busy {
        /// The server.
        host: String,
        /// 429 or 5xx.
        status: u16,
        /// What the server says about it.
        message: String,
        /// How long the server asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// The licence has to be accepted first.
    #[error("{repo} is gated: accept its licence at {page}, {}", access(*with_token))]
    Gated {
        /// The repository.
        repo: String,
        /// Where the licence is.
        page: String,
        /// Was a token sent?
        with_token: bool,
    },
    /// Not there, or not for us to know.
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
        /// Was a token sent?
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
        /// What it has instead.
        files: Vec<String>,
    },
    /// No GGUF file of the repository carries this quantisation in its name.
    #[error("{repo} has no GGUF file named `{quant}`{}", listed(files))]
    NoSuchQuant {
        /// The repository.
        repo: String,
        /// What was asked for.
        quant: String,
        /// The GGUF files that there are.
        files: Vec<String>,
    },
    /// More than one does.
    #[error("{repo}:{quant} may mean several files; name one as {repo}/FILE{}", listed(files))]
    AmbiguousQuant {
        /// The repository.
        repo: String,
        /// What was asked for.
        quant: String,
        /// The files that match.
        files: Vec<String>,
    },
    /// The repository has no weights that we would load from a directory.
    #[error("{repo} {reason}{}", listed(files))]
    NoWeights {
        /// The repository.
        repo: String,
        /// What it has instead.
        reason: String,
        /// GGUF files that could be named.
        files: Vec<String>,
    },
    /// The server says no for another reason.
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
    /// A redirect to where a hub has no business sending anyone.
    #[error("{host} redirects to {to}, which is not followed: {reason}")]
    Redirect {
        /// The server.
        host: String,
        /// Where to.
        to: String,
        /// Why not.
        reason: &'static str,
    },
    /// The server's answer makes no sense.
    #[error("the answer of {host} for {what} cannot be used: {reason}")]
    Answer {
        /// The server.
        host: String,
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What arrived is not what was promised. It has been deleted.
    #[error(
        "{file} from {host} is not what it should be, and was deleted: {reason}; run again to fetch it anew"
    )]
    Damaged {
        /// The server.
        host: String,
        /// The file.
        file: String,
        /// How it is known.
        reason: String,
    },
    /// The cache cannot be written to; what has arrived stays.
    #[error("cannot write {}: {source}{}", path.display(), kept(*have))]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
        /// Bytes that have arrived and stay on disk.
        have: u64,
    },
    /// The watcher has asked to stop; what has arrived is kept.
    #[error("interrupted")]
    Interrupted,
    /// The cache cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// Could it go well if tried again?
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Error::Network { again: true, .. } | Error::Cut { .. } | Error::Busy { .. })
    }

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
    retry_after.map_or_else(String::new, |it| format!("; it asks to be left alone for {} s", it.as_secs()))
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
        _ => format!("; the {have} bytes that have arrived are kept: make room and run again to go on"),
    }
}

/// A list of files, the first dozens of it.
fn listed(files: &[String]) -> String {
    const MOST: usize = 40;
    let more = files.len().saturating_sub(MOST);
    let names = files.iter().take(MOST).map(|it| format!("\n  {it}")).collect::<String>();
    match (files.is_empty(), more) {
        (true, _) => String::new(),
        (_, 0) => format!("; there are:{names}"),
        _ => format!("; there are:{names}\n  and {more} more"),
    }
}
