//! A model ready to use, wherever it came from.

use crate::args::{ComputeArgs, PrecisionArg};
use crate::memory::{self, Before, Work};
use crate::{embedded, failure::Failure, hub, output::note, packs, progress};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use whipstaff_engine::{
    ChatTemplate, Cpu, Isa, LoadOptions, Model, Outline, Precision, Tokenizer, available,
};
use whipstaff_hub::Reference;
use whipstaff_steering::Frame;

/// A model, its tokenizer and its name.
pub struct Loaded {
    pub model: Model,
    /// What it is called in vectors and reports.
    pub name: String,
    /// Is it the one that is compiled in?
    pub embedded: bool,
    tokenizer: Result<Tokenizer, whipstaff_engine::Error>,
    /// The folder or file that it is in.
    path: Option<PathBuf>,
}

impl Loaded {
    /// Loads what `--model` names; the embedded model if it names nothing. `work` is what will be done with
    /// it: what would take more memory than it may is refused before anything is loaded.
    ///
    /// # Errors
    /// Whatever is wrong with it, or that it would take too much.
    pub fn new(
        choice: Option<&str>,
        on: ComputeArgs,
        work: impl FnOnce(&Before) -> Work,
    ) -> Result<Loaded, Failure> {
        let cpu = cpu(on)?;
        let found = Found::new(choice)?;
        let (outline, tokenizer) = (found.outline()?, found.tokenizer());
        let work = work(&Before { outline: &outline, tokenizer: tokenizer.as_ref().ok() });
        memory::check(&found.name, &outline, &work, on.max_memory)?;
        drop(outline);
        let model = match &found.path {
            Some(path) => load(path, cpu)?,
            None => Model::from_files(embedded::FILES, cpu)?,
        };
        let embedded = found.path.is_none();
        Ok(Loaded { model, tokenizer, embedded, name: found.name, path: found.path })
    }

    /// The frame of the model's own chat template, which `why` asks for.
    pub fn chat_frame(&self, why: &str) -> Result<Frame, Failure> {
        let template = self.template()?.ok_or_else(|| {
            Failure::BadInput(format!("{why}: {} has no chat template; use --frame plain", self.name))
        })?;
        Ok(Frame::from(template))
    }

    /// The frame to talk to this model in: its chat template if it is a chat model, which is one that
    /// stops where its template ends an answer. Base models often carry a template along, too.
    pub fn own_frame(&self) -> Result<Frame, Failure> {
        let template = match self.template() {
            Ok(Some(template)) => template,
            Ok(None) => return Ok(Frame::default()),
            Err(Failure::BadInput(reason)) => {
                note(&format!("{reason}; the plain frame is used instead"));
                return Ok(Frame::default());
            }
            Err(failure) => return Err(failure),
        };
        let stops = &self.model.config().eos_tokens;
        if template.turn_end().is_some_and(|end| stops.contains(&end)) {
            return Ok(Frame::from(template));
        }
        note(&format!(
            "{} has a chat template but does not stop where that ends an answer, so it is taken for a base model \
             and gets the plain frame; --chat uses the template",
            self.name
        ));
        Ok(Frame::default())
    }

    fn template(&self) -> Result<Option<Arc<ChatTemplate>>, Failure> {
        match (&self.path, &self.tokenizer) {
            (Some(path), Ok(tokenizer)) => Ok(ChatTemplate::load(path, tokenizer)?.map(Arc::new)),
            _ => Ok(None),
        }
    }

    /// The tokenizer; a model without one can still run token ids.
    pub fn tokenizer(&self) -> Result<&Tokenizer, Failure> {
        // The error is wanted by reference, and is only ever shown.
        self.tokenizer.as_ref().map_err(|error| Failure::BadInput(error.to_string()))
    }
}

/// Loads it, with a bar while weights are packed.
fn load(path: &Path, cpu: Cpu) -> Result<Model, Failure> {
    let bar = progress::loading();
    let shown = bar.clone();
    let progress = Box::new(move |done, total| {
        shown.set_length(total as u64);
        shown.set_position(done as u64);
    });
    let options = LoadOptions { packs: packs::cache(), progress: Some(progress) };
    let model = Model::load_with(path, cpu, options)?;
    bar.finish_and_clear();
    Ok(model)
}

/// What the command line and the environment say to compute on.
pub fn cpu(on: ComputeArgs) -> Result<Cpu, Failure> {
    let threads = on.threads.map_or_else(available, NonZeroUsize::get);
    let precision = match on.precision {
        PrecisionArg::Fast => Precision::Fast,
        PrecisionArg::F32 => Precision::F32,
    };
    Ok(Cpu::new(isa()?, threads).with_precision(precision))
}

/// The kernel set: the best, or the one that the environment asks for.
fn isa() -> Result<Isa, Failure> {
    match std::env::var("WHIPSTAFF_KERNELS") {
        Ok(name) if !name.is_empty() => Isa::named(&name).map_err(|error| {
            let available = error.available.join(", ");
            Failure::Usage(format!("WHIPSTAFF_KERNELS={name}: this processor offers {available}"))
        }),
        _ => Ok(Isa::best()),
    }
}

/// A model that has been found, not loaded.
pub struct Found {
    /// What it is called in vectors and reports.
    pub name: String,
    /// The folder or the file; none for the model that is compiled in.
    path: Option<PathBuf>,
}

impl Found {
    /// Finds what `--model` names: a folder or a file, else a model of the hub.
    ///
    /// # Errors
    /// That there is no such thing, or that it cannot be downloaded.
    pub fn new(choice: Option<&str>) -> Result<Found, Failure> {
        let Some(choice) = choice else { return Ok(Found { name: embedded::NAME.into(), path: None }) };
        let (path, name) = locate(choice)?;
        Ok(Found { name, path: Some(path) })
    }

    /// What it is, from its headers.
    ///
    /// # Errors
    /// Whatever is wrong with them.
    pub fn outline(&self) -> Result<Outline, Failure> {
        Ok(match &self.path {
            Some(path) => Outline::open(path)?,
            None => Outline::of_files(embedded::FILES)?,
        })
    }

    /// The folder or the file; none for the model that is compiled in.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> Result<Tokenizer, whipstaff_engine::Error> {
        match &self.path {
            Some(path) => Tokenizer::load(path),
            None => Tokenizer::from_bytes(embedded::TOKENIZER, Path::new("embedded tokenizer")),
        }
    }
}

/// The folder or the file that `choice` means, and the model's name.
fn locate(choice: &str) -> Result<(PathBuf, String), Failure> {
    let dir = PathBuf::from(choice);
    if dir.is_dir() {
        let full = dir.canonicalize().unwrap_or_else(|_| dir.clone());
        let name = full.file_name().map_or(choice.into(), |name| name.to_string_lossy().into_owned());
        return Ok((dir, name));
    }
    if dir.exists() {
        let name = dir.file_stem().map_or(choice.into(), |name| name.to_string_lossy().into_owned());
        return Ok((dir, name));
    }
    match Reference::parse(choice) {
        Some(reference) => Ok((hub::locate(&reference)?, reference.to_string())),
        None => Err(Failure::BadInput(format!("--model {choice}: there is no such directory or file"))),
    }
}
