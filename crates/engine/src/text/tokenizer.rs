//! Text to ids and back, by the `tokenizers` crate.

use crate::error::Error;
use crate::steering::TokenSet;
use std::path::Path;

/// A model's tokenizer.
pub struct Tokenizer(pub(crate) tokenizers::Tokenizer);

impl Tokenizer {
    /// Reads the bytes of a `tokenizer.json`; `path` names it in errors. How texts were cut and filled up in
    /// training is left aside, as by transformers.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Tokenizer, Error> {
        let wrong = |error| Error::malformed(path, format!("is not a tokenizer: {error}"));
        Ok(Tokenizer(parse(bytes).map_err(wrong)?))
    }

    /// Returns the ids of a text that begins a sequence, with the special tokens (such as bos) that the tokenizer's
    /// own rules add.
    ///
    /// # Errors
    /// [`Error::Tokenize`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        self.encode_with(text, true)
    }

    /// Returns the ids of a text that continues a sequence; nothing is added.
    ///
    /// # Errors
    /// [`Error::Tokenize`].
    pub fn encode_more(&self, text: &str) -> Result<Vec<u32>, Error> {
        self.encode_with(text, false)
    }

    /// Returns the text of ids, with special tokens left out.
    ///
    /// # Errors
    /// [`Error::Tokenize`].
    pub fn decode(&self, ids: &[u32]) -> Result<String, Error> {
        self.0.decode(ids, true).map_err(|error| Error::Tokenize(error.to_string()))
    }

    /// Returns the ids of the vocabulary for which `wanted` returns true. It gets the text of each token (spaces as
    /// spaces; characters that a token holds a part of as U+FFFD) and whether the token is special.
    pub fn tokens_where(&self, wanted: impl Fn(&str, bool) -> bool) -> TokenSet {
        let added = self.0.get_added_tokens_decoder();
        let chosen = |id: &u32| {
            let special = added.get(id).is_some_and(|it| it.special);
            wanted(&self.text(*id, special).unwrap_or_default(), special)
        };
        (0..self.0.get_vocab_size(true) as u32).filter(chosen).collect()
    }

    /// Returns true if the id is in the vocabulary. A model's head may have room for more.
    pub fn has_token(&self, id: u32) -> bool {
        self.0.id_to_token(id).is_some()
    }

    /// Returns the text of a token, as in [`Tokenizer::tokens_where`], and whether it is special, or `None` for an
    /// id that is not in the vocabulary.
    pub fn token(&self, id: u32) -> Option<(String, bool)> {
        let special = self.0.get_added_tokens_decoder().get(&id).is_some_and(|it| it.special);
        let known = self.0.id_to_token(id)?;
        Some((self.text(id, special).unwrap_or(known), special))
    }

    /// Returns the text of a token; of a special token, its name.
    fn text(&self, id: u32, special: bool) -> Option<String> {
        // A piece by itself may lose the space in front that it has within a text: it is decoded behind another.
        if special { self.0.id_to_token(id) } else { self.piece(id) }
    }

    /// Returns the text that a token adds to what stands before it.
    fn piece(&self, id: u32) -> Option<String> {
        let (once, twice) = (self.0.decode(&[id], false).ok()?, self.0.decode(&[id, id], false).ok()?);
        Some(twice.strip_prefix(&once).map_or(once.clone(), str::to_owned))
    }

    fn encode_with(&self, text: &str, special: bool) -> Result<Vec<u32>, Error> {
        let encoding =
            self.0.encode_fast(text, special).map_err(|error| Error::Tokenize(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }
}

/// Parses a `tokenizer.json`, wherever it lies, without truncation and padding.
pub(crate) fn parse(json: &[u8]) -> Result<tokenizers::Tokenizer, tokenizers::Error> {
    let mut tokenizer = tokenizers::Tokenizer::from_bytes(json)?;
    tokenizer.with_truncation(None)?.with_padding(None);
    Ok(tokenizer)
}
