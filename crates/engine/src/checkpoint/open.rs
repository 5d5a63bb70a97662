//! A model that has been opened and not loaded.

use super::folder;
use super::gguf::Gguf;
use super::weights::Weights;
use crate::config::Config;
use crate::error::Error;
use std::path::Path;
use whipstaff_kernels::Bytes;

/// A model as it lies on the disk: its blueprint and its tensors, mapped and not packed.
pub struct Checkpoint {
    pub(crate) config: Config,
    pub(crate) weights: Weights,
}

/// The files of a model that are at hand as bytes, for one that is compiled in.
#[derive(Clone, Copy)]
pub struct ModelFiles {
    /// `config.json`.
    pub config: &'static str,
    /// `generation_config.json`.
    pub generation_config: &'static str,
    /// `model.safetensors`.
    pub weights: &'static [u8],
}

impl Checkpoint {
    /// Opens a Hugging Face directory or a GGUF file and reads its headers.
    ///
    /// # Errors
    /// Whatever is wrong with it, by file and field.
    pub fn open(path: &Path) -> Result<Checkpoint, Error> {
        if path.is_file() {
            return Checkpoint::from_gguf(Gguf::open(path)?);
        }
        let (config, weights) = folder::open(path)?;
        Ok(Checkpoint { config, weights })
    }

    /// Opens a model that is compiled in.
    ///
    /// # Errors
    /// As for [`Checkpoint::open`].
    pub fn from_files(files: ModelFiles) -> Result<Checkpoint, Error> {
        let dir = Path::new("embedded model");
        let config = Config::parse(files.config, Some(files.generation_config), dir)?;
        Ok(Checkpoint { config, weights: Weights::from_bytes(Bytes::from(files.weights), dir)? })
    }

    /// Opens the model of a GGUF file whose header has been read.
    ///
    /// # Errors
    /// As for [`Checkpoint::open`].
    pub fn from_gguf(file: Gguf) -> Result<Checkpoint, Error> {
        let config = file.config()?;
        let weights = file.into_weights(&config)?;
        Ok(Checkpoint { config, weights })
    }

    /// Returns the blueprint.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the tensors.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }
}
