//! Tokenizers and chat templates, from wherever a model keeps them.

use super::gguf::Gguf;
use super::{folder, templates};
use crate::error::Error;
use crate::text::{ChatTemplate, Tokenizer};
use std::path::Path;

impl Tokenizer {
    /// Reads `tokenizer.json` of a Hugging Face directory, with what `tokenizer_config.json` says of the tokens
    /// around a text, or the tokenizer of a GGUF file.
    ///
    /// # Errors
    /// [`Error::Read`] or [`Error::Malformed`].
    pub fn load(path: &Path) -> Result<Tokenizer, Error> {
        if path.is_file() {
            return Ok(Tokenizer(Gguf::open(path)?.tokenizer()?));
        }
        folder::tokenizer(path)
    }
}

impl ChatTemplate {
    /// Reads the template of a Hugging Face directory or a GGUF file; `None` if it has none. In a
    /// directory, `chat_template.jinja` goes before `tokenizer_config.json`, and that before
    /// `chat_template.json`; of several named ones, `default` is taken.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Malformed`], or [`Error::Template`] for one that cannot be parsed.
    pub fn load(path: &Path, tokenizer: &Tokenizer) -> Result<Option<ChatTemplate>, Error> {
        let found = if path.is_file() {
            Gguf::open(path)?.chat_template()?.map(templates::checked).transpose()?
        } else {
            templates::find(path)?
        };
        let Some(found) = found else { return Ok(None) };
        ChatTemplate::new(found.source, found.variables, tokenizer, &found.path).map(Some)
    }
}
