//! A model ready to use, wherever it came from.

use crate::compute::Compute;
use crate::embedded::FILES;
use crate::error::Error;
use crate::locate::Located;
use crate::machine::MemoryLimit;
use crate::memory::{self, Preview, Workload};
use crate::model::LanguageModel;
use crate::packs::Packs;
use crate::watch::Watcher;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use whipstaff_engine::{Cpu, LoadOptions, Model, Precision};
use whipstaff_steering::Unwatched;

/// Opens a model: a Hugging Face folder, a `.gguf` file, or a model of the hub (`org/name`, `org/name:QUANT` or
/// `org/name/FILE.gguf`, each with `@REVISION` if you like), which is downloaded if it is not in the local cache.
///
/// # Errors
///
/// Returns [`Error::NoSuchModel`], [`Error::Hub`], [`Error::Memory`], or [`Error::Engine`] for files that are damaged.
pub fn open(name: &str) -> Result<LanguageModel, Error> {
    OpenOptions::default().open(name)
}

/// Opens the model that is compiled in: tiny, and enough to see steering work without a network.
///
/// # Errors
///
/// Returns [`Error::Memory`] on a machine without room for a few megabytes, and [`Error::NoSuchKernels`].
///
/// ```
/// let model = whipstaff::embedded()?;
/// assert_eq!(model.name(), "whipstaff/librarian");
/// # Ok::<(), whipstaff::Error>(())
/// ```
pub fn embedded() -> Result<LanguageModel, Error> {
    OpenOptions::default().embedded()
}

/// How a model is opened.
///
/// ```
/// use std::num::NonZeroUsize;
///
/// let options = whipstaff::OpenOptions::default().threads(NonZeroUsize::MIN).memory_limit("2G".parse()?);
/// let model = options.embedded()?;
/// assert_eq!(model.engine().cpu().n_threads(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct OpenOptions {
    compute: Compute,
    limit: MemoryLimit,
    packs: Packs,
    watch: Watcher,
}

impl Default for OpenOptions {
    /// Every core, the fastest kernel set, 80 % of the memory, packed weights in the user's cache, no watcher.
    fn default() -> OpenOptions {
        OpenOptions {
            compute: Compute::default(),
            limit: MemoryLimit::default(),
            packs: Packs::default(),
            watch: Arc::new(Unwatched),
        }
    }
}

impl OpenOptions {
    /// Sets the number of threads.
    pub fn threads(mut self, n: NonZeroUsize) -> OpenOptions {
        self.compute.threads = Some(n);
        self
    }

    /// Sets how exactly products are taken.
    pub fn precision(mut self, precision: Precision) -> OpenOptions {
        self.compute.precision = precision;
        self
    }

    /// Sets the kernel set by name; [`Error::NoSuchKernels`] lists those that this processor runs.
    pub fn kernels(mut self, name: impl Into<String>) -> OpenOptions {
        self.compute.kernels = Some(name.into());
        self
    }

    /// Sets threads, precision and kernel set in one go.
    pub fn compute(mut self, compute: Compute) -> OpenOptions {
        self.compute = compute;
        self
    }

    /// Sets how much memory may be used; what would take more is refused before anything is loaded.
    pub fn memory_limit(mut self, limit: MemoryLimit) -> OpenOptions {
        self.limit = limit;
        self
    }

    /// Sets where packed weights are kept between starts.
    pub fn packs(mut self, packs: Packs) -> OpenOptions {
        self.packs = packs;
        self
    }

    /// Sets who is told of downloads, of packing, and of everything that is done with the model.
    pub fn watch(mut self, watch: Watcher) -> OpenOptions {
        self.watch = watch;
        self
    }

    /// Opens the model that `name` means, as [`open`] does.
    ///
    /// # Errors
    ///
    /// Those of [`open`].
    pub fn open(&self, name: &str) -> Result<LanguageModel, Error> {
        self.open_for(Some(name), |preview| preview.conversation())
    }

    /// Opens the model that is compiled in.
    ///
    /// # Errors
    ///
    /// Those of [`embedded`].
    pub fn embedded(&self) -> Result<LanguageModel, Error> {
        self.open_for(None, |preview| preview.conversation())
    }

    /// Opens a model for work that is known beforehand, or the one that is compiled in without a name. Work that would
    /// take more memory than it may is refused before anything is loaded.
    ///
    /// # Errors
    ///
    /// Those of [`open`].
    pub fn open_for(
        &self,
        name: Option<&str>,
        work: impl FnOnce(&Preview) -> Workload,
    ) -> Result<LanguageModel, Error> {
        let cpu = self.compute.cpu()?;
        let located = Located::new(name, &self.watch)?;
        let (outline, tokenizer) = (located.outline()?, located.tokenizer());
        let work = work(&Preview { outline: &outline, tokenizer: tokenizer.as_ref().ok() });
        memory::check(&located.name, &outline, &work, self.limit)?;
        drop(outline);
        let model = match located.path() {
            Some(path) => self.load(path, cpu)?,
            None => Model::from_files(FILES, cpu)?,
        };
        Ok(LanguageModel::new(Arc::new(model), located, tokenizer, self.watch.clone()))
    }

    /// Loads a model; the watcher sees how far its weights are packed.
    fn load(&self, path: &Path, cpu: Cpu) -> Result<Model, Error> {
        let (watch, seen) = (self.watch.clone(), AtomicUsize::new(0));
        let progress = move |done: usize, total: usize| {
            let before = seen.fetch_max(done, Ordering::Relaxed);
            if before == 0 {
                watch.stage("packing weights", total);
            }
            // A model that is half packed is of no use: the watcher is told, and cannot stop it.
            let _ = watch.advance(done.saturating_sub(before));
        };
        let options = LoadOptions { packs: self.packs.cache(), progress: Some(Box::new(progress)) };
        Ok(Model::load_with(path, cpu, options)?)
    }
}
