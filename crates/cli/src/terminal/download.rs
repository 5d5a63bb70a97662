//! Models of the hub: the local cache, downloads with a progress bar, and failures in words.

use crate::failure::Failure;
use crate::output::note;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::sync::Mutex;
use whipstaff_hub::{Error, Hub, Reference, Settings, Watch};

/// The folder or the GGUF file of a model, downloaded if it is not in the cache.
pub fn locate(reference: &Reference) -> Result<PathBuf, Failure> {
    let hub = Settings::from_env().and_then(Hub::new)?;
    hub.locate(reference, &Download::new()).map_err(|error| {
        let text = match &error {
            // It may have been meant as a path.
            Error::Offline { .. } | Error::NoSuchRepo { .. } | Error::Network { .. } => {
                format!("--model {reference}: there is no such directory or file here, and {error}")
            }
            _ => format!("--model {reference}: {error}"),
        };
        classify(&error, text)
    })
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let text = error.to_string();
        classify(&error, text)
    }
}

fn classify(error: &Error, text: String) -> Failure {
    match error {
        Error::Setting { .. } | Error::AmbiguousQuant { .. } => Failure::Usage(text),
        Error::NoWeights { .. } | Error::Read { .. } => Failure::BadInput(text),
        Error::Write { .. } => Failure::Failed(text),
        _ => Failure::Access(text),
    }
}

/// A bar on standard error while files come in; nothing at all if that is not a terminal.
struct Download {
    bar: Mutex<ProgressBar>,
}

impl Download {
    fn new() -> Download {
        Download { bar: Mutex::new(ProgressBar::hidden()) }
    }

    fn bar(&self) -> ProgressBar {
        self.bar.lock().expect("no one panics here").clone()
    }
}

impl Watch for Download {
    fn begins(&self, bytes: u64) {
        let template = "{msg:20} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} left";
        let bar = ProgressBar::new(bytes).with_message("downloading");
        bar.set_style(ProgressStyle::with_template(template).expect("a valid template"));
        *self.bar.lock().expect("no one panics here") = bar;
    }

    fn moves(&self, bytes: i64) {
        match u64::try_from(bytes) {
            Ok(bytes) => self.bar().inc(bytes),
            Err(_) => self.bar().dec(bytes.unsigned_abs()),
        }
    }

    fn ends(&self) {
        self.bar().finish_and_clear();
    }

    fn remark(&self, text: &str) {
        self.bar().suspend(|| note(text));
    }
}
