//! A model ready to use, wherever it came from.

use crate::args::{ComputeArgs, PrecisionArg};
use crate::{embedded, failure::Failure, hub, packs, progress};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use whipstaff_engine::{Cpu, Isa, LoadOptions, Model, Precision, Tokenizer, available};
use whipstaff_steering::ModelId;

/// A model, its tokenizer and its name.
pub struct Loaded {
    pub model: Model,
    /// What it is called in vectors and reports.
    pub name: String,
    /// Is it the one that is compiled in?
    pub embedded: bool,
    tokenizer: Result<Tokenizer, whipstaff_engine::Error>,
}

impl Loaded {
    /// Loads what `--model` names; the embedded model if it names nothing.
    pub fn new(choice: Option<&str>, on: ComputeArgs) -> Result<Loaded, Failure> {
        let cpu = cpu(on)?;
        let Some(choice) = choice else {
            return Ok(Loaded {
                model: Model::from_files(embedded::FILES, cpu)?,
                tokenizer: Tokenizer::from_bytes(embedded::TOKENIZER, Path::new("embedded tokenizer")),
                name: embedded::NAME.into(),
                embedded: true,
            });
        };
        let (path, name) = locate(choice)?;
        let bar = progress::loading();
        let shown = bar.clone();
        let progress = Box::new(move |done, total| {
            shown.set_length(total as u64);
            shown.set_position(done as u64);
        });
        let options = LoadOptions { packs: packs::cache(), progress: Some(progress) };
        let (model, tokenizer) = (Model::load_with(&path, cpu, options)?, Tokenizer::load(&path));
        bar.finish_and_clear();
        Ok(Loaded { model, tokenizer, name, embedded: false })
    }

    /// Is this the model that a vector was made on? Weights of some size are not hashed again at
    /// every use, which would take seconds; their name has to do.
    pub fn is(&self, id: &ModelId) -> bool {
        const QUICKLY_HASHED: usize = 100 << 20;
        if self.model.weights().n_bytes() > QUICKLY_HASHED {
            return self.name == id.name;
        }
        self.model.weights().sha256() == id.weights_sha256
    }

    /// The tokenizer; a model without one can still run token ids.
    pub fn tokenizer(&self) -> Result<&Tokenizer, Failure> {
        // The error is wanted by reference, and is only ever shown.
        self.tokenizer.as_ref().map_err(|error| Failure::BadInput(error.to_string()))
    }
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
    if !hub::is_id(choice) {
        return Err(Failure::BadInput(format!("--model {choice}: there is no such directory or file")));
    }
    match hub::cached(choice) {
        Some(dir) => Ok((dir, choice.to_owned())),
        None => Err(Failure::Access(format!(
            "--model {choice} is neither a directory or file here nor in the local hub cache; this version does not \
             download: fetch it first with `hf download {choice}`"
        ))),
    }
}
