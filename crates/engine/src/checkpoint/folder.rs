//! A Hugging Face folder: its blueprint, its tensors, its tokenizer.

use super::specials;
use super::weights::Weights;
use crate::config::Config;
use crate::error::Error;
use crate::text::Tokenizer;
use std::path::Path;

/// Reads `config.json` and `generation_config.json`, and maps the weights.
///
/// # Errors
/// Whatever is wrong with a file, by its name and field.
pub(super) fn open(dir: &Path) -> Result<(Config, Weights), Error> {
    let read = |name: &str| {
        let path = dir.join(name);
        std::fs::read_to_string(&path).map_err(|source| Error::Read { path, source })
    };
    let config = read("config.json")?;
    let generation = dir.join("generation_config.json").exists().then(|| read("generation_config.json"));
    let config = Config::parse(&config, generation.transpose()?.as_deref(), dir)?;
    Ok((config, Weights::open(dir)?))
}

/// Reads `tokenizer.json`, with what `tokenizer_config.json` says of the tokens around a text.
///
/// # Errors
/// [`Error::Read`] or [`Error::Malformed`].
pub(super) fn tokenizer(dir: &Path) -> Result<Tokenizer, Error> {
    let path = dir.join("tokenizer.json");
    let bytes = std::fs::read(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
    let mut tokenizer = Tokenizer::from_bytes(&bytes, &path)?;
    if let Some(rule) = specials::flagged(dir, &tokenizer.0)? {
        tokenizer.0.with_post_processor(Some(rule));
    }
    Ok(tokenizer)
}
