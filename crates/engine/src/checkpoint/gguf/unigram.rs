//! SentencePiece's unigram models (`t5`): of all ways to cut a text into tokens, the one whose scores add up
//! to the most.

use super::file::Gguf;
use super::tokens::{ADD_SPACE, CHARSMAP, Kind, SCORES, TOKENS, Tokens};
use super::{charsmap, sentencepiece};
use crate::error::Error;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::strip::Strip;
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{NormalizerWrapper, Prepend, Replace, Sequence};
use tokenizers::{DecoderWrapper, Tokenizer, decoders};

const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";
const REMOVE_SPACES: &str = "tokenizer.ggml.remove_extra_whitespaces";

impl Gguf {
    /// Characters become others where the file has a table of them, spaces become marks, and the text is cut by
    /// scores; characters that are no token become bytes, or one unknown token in a row.
    pub(super) fn unigram(&self, tokens: &Tokens) -> Result<Tokenizer, Error> {
        let metadata = &self.metadata;
        let scores = self.scores(tokens)?;
        if let Some(at) = scores.iter().position(|score| !score.is_finite()) {
            return Err(metadata.error(SCORES, format!("has {} for token {at}", scores[at])));
        }
        let unknown = match metadata.whole(UNKNOWN)? {
            Some(id) => match usize::try_from(id) {
                Ok(id) if id < tokens.texts.len() => Some(id),
                _ => return Err(metadata.error(UNKNOWN, format!("is {id}, which is no token"))),
            },
            None => tokens.kinds.iter().position(|kind| *kind == Kind::Unknown),
        };
        let unknown = unknown.ok_or_else(|| metadata.missing(UNKNOWN))?;
        let vocab = tokens.texts.iter().map(|text| (*text).to_owned()).zip(scores).collect();
        let has_bytes = tokens.kinds.contains(&Kind::Byte);
        let model = Unigram::from(vocab, Some(unknown), has_bytes);
        let mut tokenizer = Tokenizer::new(model.map_err(|error| self.broken(TOKENS, error))?);

        let prefix_space = metadata.flag(ADD_SPACE)?.unwrap_or(false);
        let remove_spaces = metadata.flag(REMOVE_SPACES)?.unwrap_or(false);
        let broken = |error| self.broken(TOKENS, error);
        let replace = |pattern: &str, with: &str| {
            Replace::new(ReplacePattern::Regex(pattern.to_owned()), with)
                .map(NormalizerWrapper::from)
                .map_err(broken)
        };
        let space = sentencepiece::SPACE;
        let mut normalizers: Vec<NormalizerWrapper> = Vec::new();
        if let Some(numbers) = metadata.numbers(CHARSMAP)? {
            // Bytes, signed or not.
            let bytes: Vec<u8> = numbers.iter().map(|it| *it as i64 as u8).collect();
            normalizers.push(charsmap::read(&bytes).map_err(|what| metadata.error(CHARSMAP, what))?.into());
        }
        if remove_spaces {
            normalizers.extend([replace("^ +| +$", "")?, replace(" {2,}", " ")?]);
        }
        if prefix_space {
            normalizers.push(Prepend::new(space.to_owned()).into());
        }
        normalizers.push(Replace::new(" ", space).map_err(broken)?.into());
        tokenizer.with_normalizer(Some(Sequence::new(normalizers))).map_err(broken)?;

        let spaces = Replace::new(space, " ").map_err(broken)?;
        let mut decoders: Vec<DecoderWrapper> =
            vec![spaces.into(), ByteFallback::new().into(), Fuse::new().into()];
        if prefix_space || remove_spaces {
            decoders.push(Strip::new(' ', 1, 0).into());
        }
        tokenizer.with_decoder(Some(decoders::sequence::Sequence::new(decoders)));
        Ok(tokenizer)
    }
}
