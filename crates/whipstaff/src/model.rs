//! The model that everything starts from: weights, tokenizer and name.

use crate::error::Error;
use crate::locate::Located;
use crate::watch::Watcher;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use whipstaff_engine::{Config, Error as EngineError, Model, Tokenizer};
use whipstaff_steering::{Bench, Frame, ModelFacts, ModelId};

/// A model, its tokenizer and its name. Clones are cheap: they share the weights, from any thread.
///
/// ```
/// let model = whipstaff::embedded()?;
/// let answer = model.ask("Where is the printer?").max_tokens(8).answer()?;
/// assert!(!answer.text.is_empty());
/// # Ok::<(), whipstaff::Error>(())
/// ```
#[derive(Clone)]
pub struct LanguageModel {
    model: Arc<Model>,
    name: String,
    tokenizer: Result<Arc<Tokenizer>, Arc<EngineError>>,
    /// The folder or the file; none for the model that is compiled in.
    path: Option<PathBuf>,
    watch: Watcher,
}

impl fmt::Debug for LanguageModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LanguageModel")
            .field("name", &self.name)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl LanguageModel {
    pub(crate) fn new(
        model: Arc<Model>,
        located: Located,
        tokenizer: Result<Tokenizer, EngineError>,
        watch: Watcher,
    ) -> LanguageModel {
        let path = located.path().map(Path::to_owned);
        let tokenizer = tokenizer.map(Arc::new).map_err(Arc::new);
        LanguageModel { model, name: located.name, tokenizer, path, watch }
    }

    /// Returns the name that vectors and reports give the model.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the weights, and with them the one forward pass over them.
    pub fn engine(&self) -> &Arc<Model> {
        &self.model
    }

    /// Returns the model's shape.
    pub fn config(&self) -> &Config {
        self.model.config()
    }

    /// Returns the tokenizer. A model without one can still run token ids.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Tokenizer`] with the reason why there is none.
    pub fn tokenizer(&self) -> Result<&Arc<Tokenizer>, Error> {
        self.tokenizer.as_ref().map_err(|error| Error::Tokenizer(error.clone()))
    }

    /// Returns the folder or the file that the model is in; none for the model that is compiled in.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Returns true for the model that is compiled in.
    pub fn is_embedded(&self) -> bool {
        self.path.is_none()
    }

    /// Returns what vectors that are made on the model remember of it; hashes all weights.
    pub fn id(&self) -> ModelId {
        ModelId::of(&self.model, &self.name)
    }

    /// Returns what the resolution of a steering request needs to know about the model.
    pub fn facts(&self) -> ModelFacts<'_> {
        ModelFacts::of(&self.model, &self.name, self.tokenizer.as_deref().ok())
    }

    /// Returns the model at work in a frame, for every measurement that this library has no shorter way for.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Tokenizer`] for a model without one.
    pub fn bench<'a>(&'a self, frame: &'a Frame) -> Result<Bench<'a>, Error> {
        Ok(Bench { model: &self.model, tokenizer: self.tokenizer()?, frame, watch: &*self.watch })
    }

    /// Returns who is told of everything that is done with the model.
    pub fn watch(&self) -> &Watcher {
        &self.watch
    }

    /// Returns the same model with another watcher, which sees the progress of what is done from here on, gets the
    /// remarks, and may stop it.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use whipstaff::prelude::*;
    ///
    /// #[derive(Default)]
    /// struct Stages(Mutex<Vec<String>>);
    ///
    /// impl Watch for Stages {
    ///     fn stage(&self, name: &str, _total: usize) {
    ///         self.0.lock().unwrap().push(name.to_owned());
    ///     }
    /// }
    ///
    /// let stages = Arc::new(Stages::default());
    /// let model = whipstaff::embedded()?.watched_by(stages.clone());
    /// model.extractor().recommend(0).receipt(0).run(&whipstaff::embedded::contrasts()?.first(4))?;
    /// assert!(!stages.0.lock().unwrap().is_empty());
    /// # Ok::<(), whipstaff::Error>(())
    /// ```
    pub fn watched_by(&self, watch: Watcher) -> LanguageModel {
        LanguageModel { watch, ..self.clone() }
    }
}
