//! Where a model is: a name becomes a folder, a file, or the model that is compiled in.

use crate::embedded;
use crate::error::Error;
use crate::watch::Watcher;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use whipstaff_engine::{Outline, Tokenizer};
use whipstaff_hub::{Hub, Reference, Settings, Watch as HubWatch};
use whipstaff_steering::{Remark, RemarkKind};

/// A model that has been found and not yet loaded.
pub struct Located {
    /// The name that vectors and reports give the model.
    pub name: String,
    /// The folder or the file; none for the model that is compiled in.
    path: Option<PathBuf>,
}

impl Located {
    /// Finds the model that `name` means: a folder, a file, else a model of the hub, which is downloaded if it is not
    /// in the local cache. Without a name it is the model that is compiled in.
    ///
    /// # Errors
    ///
    /// Returns [`Error::NoSuchModel`] if there is none of that name, and [`Error::Hub`] if it cannot be downloaded.
    pub fn new(name: Option<&str>, watch: &Watcher) -> Result<Located, Error> {
        let Some(choice) = name else { return Ok(Located { name: embedded::NAME.into(), path: None }) };
        let (path, name) = locate(choice, watch)?;
        Ok(Located { name, path: Some(path) })
    }

    /// Reads the model's shape and sizes from its headers.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Engine`] with whatever is wrong with the headers.
    pub fn outline(&self) -> Result<Outline, Error> {
        Ok(match &self.path {
            Some(path) => Outline::open(path)?,
            None => Outline::of_files(embedded::FILES)?,
        })
    }

    /// Returns the folder or the file; none for the model that is compiled in.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Returns true for the model that is compiled in.
    pub fn is_embedded(&self) -> bool {
        self.path.is_none()
    }

    /// Reads the model's tokenizer.
    ///
    /// # Errors
    ///
    /// Returns the engine's error if there is none, or if it cannot be read.
    pub fn tokenizer(&self) -> Result<Tokenizer, whipstaff_engine::Error> {
        match &self.path {
            Some(path) => Tokenizer::load(path),
            None => Tokenizer::from_bytes(embedded::TOKENIZER, Path::new("embedded tokenizer")),
        }
    }
}

/// The folder or the file that `choice` means, and the model's name.
fn locate(choice: &str, watch: &Watcher) -> Result<(PathBuf, String), Error> {
    let path = PathBuf::from(choice);
    if path.is_dir() {
        let full = path.canonicalize().unwrap_or_else(|_| path.clone());
        let name = full.file_name().map_or(choice.into(), |name| name.to_string_lossy().into_owned());
        return Ok((path, name));
    }
    if path.exists() {
        let name = path.file_stem().map_or(choice.into(), |name| name.to_string_lossy().into_owned());
        return Ok((path, name));
    }
    match Reference::parse(choice) {
        Some(reference) => Ok((fetch(&reference, watch)?, reference.to_string())),
        None => Err(Error::NoSuchModel { name: choice.into() }),
    }
}

/// The folder or the GGUF file of a model of the hub, downloaded if it is not in the cache.
fn fetch(reference: &Reference, watch: &Watcher) -> Result<PathBuf, Error> {
    let hub = Settings::from_env().and_then(Hub::new).map_err(|error| Error::HubSettings(Box::new(error)))?;
    hub.locate(reference, &Download { watch, bytes: Mutex::default() })
        .map_err(|error| Error::Hub { name: reference.to_string(), error: Box::new(error) })
}

/// A download as the library's own watcher sees it.
struct Download<'a> {
    watch: &'a Watcher,
    bytes: Mutex<Bytes>,
}

#[derive(Default)]
struct Bytes {
    /// Bytes that the watcher was told of and that were then thrown away: they are not counted twice.
    owed: u64,
    /// True once the watcher has asked to stop.
    is_stopped: bool,
}

impl HubWatch for Download<'_> {
    fn begins(&self, bytes: u64) {
        self.watch.stage("downloading", bytes as usize);
    }

    fn moves(&self, bytes: i64) {
        let mut state = self.bytes.lock().expect("no one panics while holding it");
        let Ok(more) = u64::try_from(bytes) else {
            state.owed += bytes.unsigned_abs();
            return;
        };
        let repaid = state.owed.min(more);
        state.owed -= repaid;
        if self.watch.advance((more - repaid) as usize).is_err() {
            state.is_stopped = true;
        }
    }

    fn is_stopped(&self) -> bool {
        self.bytes.lock().expect("no one panics while holding it").is_stopped
    }

    fn remark(&self, text: &str) {
        self.watch.remark(&Remark::new(RemarkKind::Download, text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use whipstaff_steering::{Error as SteeringError, Watch};

    /// Counts bytes, and asks to stop from some number on.
    struct Counter {
        bytes: AtomicUsize,
        most: usize,
    }

    impl Watch for Counter {
        fn advance(&self, n: usize) -> Result<(), SteeringError> {
            let bytes = self.bytes.fetch_add(n, Ordering::Relaxed) + n;
            if bytes > self.most { Err(SteeringError::Interrupted) } else { Ok(()) }
        }
    }

    #[test]
    fn bytes_that_are_thrown_away_are_not_counted_twice() {
        let counter = Arc::new(Counter { bytes: AtomicUsize::new(0), most: 40 });
        let watch: Watcher = counter.clone();
        let download = Download { watch: &watch, bytes: Mutex::default() };
        for (bytes, want) in [(30, 30), (-20, 30), (15, 30), (10, 35)] {
            download.moves(bytes);
            assert_eq!(counter.bytes.load(Ordering::Relaxed), want);
        }
        assert!(!download.is_stopped());
        download.moves(6);
        assert!(download.is_stopped());
    }

    #[test]
    fn a_name_that_is_no_reference_is_no_model() {
        let watch: Watcher = Arc::new(whipstaff_steering::Unwatched);
        let error = Located::new(Some("no/such/folder/anywhere"), &watch).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "no/such/folder/anywhere: there is no such directory or file");
    }
}
