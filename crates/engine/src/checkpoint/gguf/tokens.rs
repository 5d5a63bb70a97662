//! The vocabulary of a GGUF file: texts, kinds and scores of its tokens.

use super::file::Gguf;
use crate::error::Error;
use std::collections::HashMap;
use std::fmt::Display;
use tokenizers::models::bpe::Vocab;

pub(super) const TOKENS: &str = "tokenizer.ggml.tokens";
const KINDS: &str = "tokenizer.ggml.token_type";
pub(super) const SCORES: &str = "tokenizer.ggml.scores";
pub(super) const ADD_SPACE: &str = "tokenizer.ggml.add_space_prefix";
pub(super) const CHARSMAP: &str = "tokenizer.ggml.precompiled_charsmap";

/// What a token is. The numbers are SentencePiece's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Unknown,
    /// Begins, ends or structures a text; never shown.
    Control,
    /// Text that is always one token.
    UserDefined,
    Unused,
    /// One byte, written `<0x41>`.
    Byte,
}

impl Kind {
    /// Returns the number that a file has for the kind.
    pub(super) fn id(self) -> i32 {
        match self {
            Kind::Normal => 1,
            Kind::Unknown => 2,
            Kind::Control => 3,
            Kind::UserDefined => 4,
            Kind::Unused => 5,
            Kind::Byte => 6,
        }
    }

    fn from_id(id: u64) -> Option<Kind> {
        Some(match id {
            1 => Kind::Normal,
            2 => Kind::Unknown,
            3 => Kind::Control,
            4 => Kind::UserDefined,
            5 => Kind::Unused,
            6 => Kind::Byte,
            _ => return None,
        })
    }
}

/// The vocabulary as the file has it.
pub(super) struct Tokens<'a> {
    pub(super) texts: Vec<&'a str>,
    pub(super) kinds: Vec<Kind>,
    pub(super) ids: HashMap<&'a str, u32>,
}

impl Gguf {
    /// Returns the ids of the control tokens.
    pub(super) fn control_tokens(&self) -> Result<Vec<u32>, Error> {
        let kinds = self.metadata.wholes(KINDS)?.unwrap_or_default();
        let is_control = |(_, kind): &(u32, u64)| Kind::from_id(*kind) == Some(Kind::Control);
        Ok((0u32..).zip(kinds).filter(is_control).map(|(id, _)| id).collect())
    }

    /// Reads the vocabulary.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming the key.
    pub(super) fn tokens(&self) -> Result<Tokens<'_>, Error> {
        let metadata = &self.metadata;
        let texts = metadata.texts(TOKENS)?.ok_or_else(|| metadata.missing(TOKENS))?;
        if texts.len() > i32::MAX as usize {
            return Err(metadata.error(TOKENS, "has more tokens than ids"));
        }
        let kinds = match metadata.wholes(KINDS)? {
            Some(kinds) if kinds.len() != texts.len() => {
                let what = format!("has {} entries, but {TOKENS} has {}", kinds.len(), texts.len());
                return Err(metadata.error(KINDS, what));
            }
            Some(kinds) => {
                let kind = |id: &u64| {
                    Kind::from_id(*id).ok_or_else(|| metadata.error(KINDS, format!("has the unknown {id}")))
                };
                kinds.iter().map(kind).collect::<Result<_, _>>()?
            }
            None => vec![Kind::Normal; texts.len()],
        };
        let mut ids = HashMap::with_capacity(texts.len());
        for (id, text) in (0u32..).zip(&texts) {
            if let Some(first) = ids.insert(*text, id) {
                let what = format!("has `{}` twice, as {first} and {id}", text.escape_debug());
                return Err(metadata.error(TOKENS, what));
            }
        }
        Ok(Tokens { texts, kinds, ids })
    }

    /// Reads a score for each token.
    pub(super) fn scores(&self, tokens: &Tokens) -> Result<Vec<f64>, Error> {
        let metadata = &self.metadata;
        let scores = metadata.numbers(SCORES)?.ok_or_else(|| metadata.missing(SCORES))?;
        if scores.len() != tokens.texts.len() {
            let what = format!("has {} entries, but {TOKENS} has {}", scores.len(), tokens.texts.len());
            return Err(metadata.error(SCORES, what));
        }
        Ok(scores)
    }

    /// Makes an error for a key whose value the `tokenizers` crate refuses.
    pub(super) fn broken(&self, key: &str, error: impl Display) -> Error {
        self.metadata.error(key, format!("makes no tokenizer: {error}"))
    }
}

impl Tokens<'_> {
    /// Returns the ids by text, as the `tokenizers` crate takes them.
    pub(super) fn vocab(&self) -> Vocab {
        self.ids.iter().map(|(text, id)| ((*text).to_owned(), *id)).collect()
    }
}
