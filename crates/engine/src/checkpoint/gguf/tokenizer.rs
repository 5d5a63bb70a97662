//! The tokenizer of a GGUF file, built from its metadata as the `tokenizers` crate's own.

use super::file::Gguf;
use super::sentencepiece;
use super::split::Rule;
use super::tokens::{ADD_SPACE, CHARSMAP, Kind, TOKENS, Tokens};
use crate::checkpoint::specials;
use crate::checkpoint::templates::Found;
use crate::error::Error;
use crate::text::parse;
use std::collections::BTreeMap;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::strip::Strip;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::{NormalizerWrapper, Prepend, Replace, Sequence};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, DecoderWrapper, Tokenizer, decoders};

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const MERGES: &str = "tokenizer.ggml.merges";

/// `tokenizer.json` as it is, by GGUF's own specification.
pub(super) const ORIGINAL: &str = "tokenizer.huggingface.json";

/// What templates call special tokens, and what the keys of their ids do.
const VARIABLES: &[(&str, &str)] = &[
    ("bos_token", "bos"),
    ("eos_token", "eos"),
    ("unk_token", "unknown"),
    ("pad_token", "padding"),
    ("sep_token", "seperator"),
    ("mask_token", "mask"),
];

impl Gguf {
    /// Builds the tokenizer: from the original, where the file has it, else from the vocabulary.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming the key. Kinds of tokenizers and of cutting text that are not
    /// known are refused by name.
    pub(crate) fn tokenizer(&self) -> Result<Tokenizer, Error> {
        let metadata = &self.metadata;
        let tokens = self.tokens()?;
        if let Some(json) = metadata.text(ORIGINAL)? {
            return self.original(json, &tokens);
        }
        let (mut tokenizer, add_bos, add_eos) =
            match metadata.text(MODEL)?.ok_or_else(|| metadata.missing(MODEL))? {
                "gpt2" => {
                    let (tokenizer, add_bos) = self.byte_level(&tokens)?;
                    (tokenizer, add_bos, false)
                }
                "llama" => (self.sentencepiece(&tokens)?, true, false),
                "t5" => (self.unigram(&tokens)?, false, true),
                other => {
                    let what = format!("is `{other}`, which is not supported (supported: gpt2, llama, t5)");
                    return Err(metadata.error(MODEL, what));
                }
            };
        self.frame(&mut tokenizer, &tokens, add_bos, add_eos)?;
        let of_kind = |kind| tokens.texts.iter().zip(&tokens.kinds).filter(move |(_, it)| **it == kind);
        // Added tokens are found in a text before anything else is done to it.
        let added = |(text, kind): (&&str, &Kind)| {
            AddedToken::from(*text, *kind != Kind::UserDefined).normalized(false)
        };
        let special = of_kind(Kind::Control).chain(of_kind(Kind::Unknown));
        let added = special.chain(of_kind(Kind::UserDefined)).map(added);
        tokenizer.add_tokens(added).map_err(|error| self.broken(TOKENS, error))?;
        Ok(tokenizer)
    }

    /// Parses the original, which may know no token that the vocabulary does not have.
    fn original(&self, json: &str, tokens: &Tokens) -> Result<Tokenizer, Error> {
        let tokenizer = parse(json.as_bytes()).map_err(|error| self.broken(ORIGINAL, error))?;
        match tokenizer.get_vocab(true).into_iter().find(|(text, id)| tokens.ids.get(&text[..]) != Some(id)) {
            None => Ok(tokenizer),
            Some((text, id)) => {
                let what = format!("has `{}` as {id}, unlike {TOKENS}", text.escape_debug());
                Err(self.metadata.error(ORIGINAL, what))
            }
        }
    }

    /// Returns the chat template, and the special tokens that it may know by name.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming the key.
    pub(in crate::checkpoint) fn chat_template(&self) -> Result<Option<Found>, Error> {
        let metadata = &self.metadata;
        let Some(source) = metadata.text("tokenizer.chat_template")? else { return Ok(None) };
        let texts = metadata.texts(TOKENS)?.unwrap_or_default();
        let mut variables = BTreeMap::new();
        for (variable, key) in VARIABLES {
            let id = metadata.whole(&format!("tokenizer.ggml.{key}_token_id"))?;
            if let Some(text) = id.and_then(|id| texts.get(usize::try_from(id).ok()?)) {
                variables.insert((*variable).to_owned(), (*text).to_owned());
            }
        }
        Ok(Some(Found { source: source.to_owned(), variables, path: self.path.clone() }))
    }

    /// Builds byte-level BPE: text is cut into pieces, bytes become letters, letters are merged.
    fn byte_level(&self, tokens: &Tokens) -> Result<(Tokenizer, bool), Error> {
        let metadata = &self.metadata;
        let name = metadata.text(PRE)?.unwrap_or("default");
        let rule = Rule::named(name).ok_or_else(|| {
            let what = format!("is `{name}`, which is not supported (supported: {})", Rule::names());
            metadata.error(PRE, what)
        })?;
        let lines = metadata.texts(MERGES)?.ok_or_else(|| metadata.missing(MERGES))?;
        let halves = |line: &str| {
            // The first character belongs to the left half even if it is a space.
            let first = line.chars().next()?.len_utf8();
            let at = first + line[first..].find(' ')?;
            Some((line[..at].to_owned(), line[at + 1..].to_owned()))
        };
        let merge = |line: &&str| {
            let what = || format!("has `{}`, which is not two tokens", line.escape_debug());
            halves(line).ok_or_else(|| metadata.error(MERGES, what()))
        };
        let merges = lines.iter().map(merge).collect::<Result<Vec<_>, _>>()?;
        self.check_merges(&merges, tokens)?;
        let model = BPE::builder().vocab_and_merges(tokens.vocab(), merges).ignore_merges(rule.ignore_merges);
        let mut tokenizer = Tokenizer::new(model.build().map_err(|error| self.broken(MERGES, error))?);
        let prefix_space = metadata.flag(ADD_SPACE)?.unwrap_or(false);
        let pre_tokenizer = rule.pre_tokenizer(prefix_space).map_err(|error| self.broken(PRE, error))?;
        tokenizer.with_pre_tokenizer(Some(pre_tokenizer));
        tokenizer.with_normalizer(rule.normalizer()).map_err(|error| self.broken(PRE, error))?;
        tokenizer.with_decoder(Some(ByteLevel::default()));
        Ok((tokenizer, rule.add_bos))
    }

    /// Builds SentencePiece's BPE: spaces become marks, characters are merged by the scores of what they become,
    /// and characters that are no token become bytes.
    fn sentencepiece(&self, tokens: &Tokens) -> Result<Tokenizer, Error> {
        let metadata = &self.metadata;
        let scores = self.scores(tokens)?;
        if metadata.keys().any(|key| key == CHARSMAP) {
            return Err(metadata.error(CHARSMAP, "changes the text in a way that is not supported"));
        }
        let pieces: Vec<(&str, f64)> = (tokens.texts.iter().copied().zip(scores).zip(&tokens.kinds))
            .filter(|(_, kind)| matches!(kind, Kind::Normal | Kind::UserDefined | Kind::Unused))
            .map(|(piece, _)| piece)
            .collect();
        let merges = sentencepiece::merges(&pieces, &tokens.ids);
        let mut model = BPE::builder().vocab_and_merges(tokens.vocab(), merges);
        model = model.byte_fallback(true).fuse_unk(true);
        if let Some(at) = tokens.kinds.iter().position(|kind| *kind == Kind::Unknown) {
            model = model.unk_token(tokens.texts[at].to_owned());
        }
        let mut tokenizer = Tokenizer::new(model.build().map_err(|error| self.broken(TOKENS, error))?);
        let broken = |error| self.broken(TOKENS, error);
        let prefix_space = metadata.flag(ADD_SPACE)?.unwrap_or(true);
        let space = sentencepiece::SPACE;
        let marks = || Replace::new(" ", space).map_err(broken);
        let spaces = || Replace::new(space, " ").map_err(broken);
        let mut normalizers: Vec<NormalizerWrapper> = vec![marks()?.into()];
        let mut decoders: Vec<DecoderWrapper> =
            vec![spaces()?.into(), ByteFallback::new().into(), Fuse::new().into()];
        if prefix_space {
            normalizers.insert(0, Prepend::new(space.to_owned()).into());
            decoders.push(Strip::new(' ', 1, 0).into());
        }
        tokenizer.with_normalizer(Some(Sequence::new(normalizers))).map_err(broken)?;
        tokenizer.with_decoder(Some(decoders::sequence::Sequence::new(decoders)));
        Ok(tokenizer)
    }

    /// Puts bos before a text and eos behind it, where the file or the kind of tokenizer says so.
    fn frame(
        &self,
        tokenizer: &mut Tokenizer,
        tokens: &Tokens,
        add_bos: bool,
        add_eos: bool,
    ) -> Result<(), Error> {
        let metadata = &self.metadata;
        let mut around = [None, None];
        for ((name, default), token) in [("bos", add_bos), ("eos", add_eos)].into_iter().zip(&mut around) {
            let add = metadata.flag(&format!("tokenizer.ggml.add_{name}_token"))?;
            let key = format!("tokenizer.ggml.{name}_token_id");
            let id = metadata.whole(&key)?;
            if !add.unwrap_or(default && id.is_some()) {
                continue;
            }
            let id = id.ok_or_else(|| metadata.missing(&key))?;
            let text = usize::try_from(id).ok().and_then(|id| tokens.texts.get(id));
            let text = text.ok_or_else(|| metadata.error(&key, format!("is {id}, which is no token")))?;
            *token = Some((&**text, id as u32));
        }
        if let [None, None] = around {
            return Ok(());
        }
        let rule = specials::around(around[0], around[1]).map_err(|error| self.broken(TOKENS, error))?;
        tokenizer.with_post_processor(Some(rule));
        Ok(())
    }

    /// Refuses a merge of what is no token, by name; the library would only name the half.
    fn check_merges(&self, merges: &[(String, String)], tokens: &Tokens) -> Result<(), Error> {
        let is_token = |text: &str| tokens.ids.contains_key(text);
        let whole = |(left, right): &&(String, String)| {
            is_token(left) && is_token(right) && is_token(&format!("{left}{right}"))
        };
        match merges.iter().find(|merge| !whole(merge)) {
            Some((left, right)) => {
                let what = format!("merges `{left}` and `{right}`, but not all of it are tokens");
                Err(self.metadata.error(MERGES, what))
            }
            None => Ok(()),
        }
    }
}
