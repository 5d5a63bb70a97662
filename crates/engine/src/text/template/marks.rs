//! Characters that stand for special tokens while a template is run.
//!
//! They are of a private plane of Unicode, one per special token, and none of them is in any message
//! of the conversation: so whatever becomes of the messages, a mark comes from the template. The
//! tokenizer that reads the result knows the marks as tokens and special tokens as mere text.

use crate::error::Error;
use aho_corasick::{AhoCorasick, MatchKind};
use std::collections::{BTreeMap, HashMap, HashSet};
use tokenizers::{AddedToken, ModelWrapper, Tokenizer};

/// The private planes, each by its first character.
pub(super) const PLANES: [u32; 2] = [0xF_0000, 0x10_0000];

/// Characters of a plane; its last two are no characters.
const PLANE_LEN: u32 = 0xFFFE;

/// Returns true if the text holds a character of this plane.
pub(super) fn holds(text: &str, plane: u32) -> bool {
    text.chars().any(|c| (plane..plane + PLANE_LEN).contains(&(c as u32)))
}

/// How often the template spells a special token out, by the token's index.
pub(super) type Spelled = BTreeMap<usize, usize>;

/// The special tokens of a tokenizer, their marks, and the tokenizer that reads them.
#[derive(Clone)]
pub(super) struct Marks {
    /// Id and text; the mark of the `i`th is the `i`th character of the plane.
    tokens: Vec<(u32, String)>,
    plane: u32,
    find: AhoCorasick,
    tokenizer: Tokenizer,
    /// Special tokens by the ids of their marks.
    ids: HashMap<u32, u32>,
    /// Special tokens that must not come out of text.
    special: HashSet<u32>,
}

impl Marks {
    /// Marks of `plane` for the special tokens of `tokenizer`.
    pub(super) fn new(tokenizer: &Tokenizer, plane: u32) -> Result<Marks, Error> {
        let added = tokenizer.get_added_tokens_decoder();
        let mut special: Vec<(u32, AddedToken)> =
            added.into_iter().filter(|(_, it)| it.special && !it.content.trim().is_empty()).collect();
        special.sort_by_key(|(id, _)| *id);
        // Half of a plane: the other half is for what is held.
        if special.len() as u32 > PLANE_LEN / 2 {
            let reason = format!("has {} special tokens, more than a chat template can name", special.len());
            return Err(Error::Tokenize(reason));
        }
        let texts = special.iter().map(|(_, it)| &it.content);
        let find = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(texts);
        let mut tokenizer = tokenizer.clone();
        tokenizer.set_encode_special_tokens(true);
        // A mark takes the white space around it as its token does.
        let mark = |(i, (_, token)): (usize, &(u32, AddedToken))| AddedToken {
            content: character(plane, i).into(),
            special: false,
            ..token.clone()
        };
        let marks: Vec<AddedToken> = special.iter().enumerate().map(mark).collect();
        tokenizer.add_tokens(marks.clone()).map_err(|error| Error::Tokenize(error.to_string()))?;
        let id = |(mark, (id, _)): (&AddedToken, &(u32, AddedToken))| {
            Some((tokenizer.token_to_id(&mark.content)?, *id))
        };
        let ids = marks.iter().zip(&special).filter_map(id).collect();
        let unknown = unknown_token(&tokenizer);
        Ok(Marks {
            special: special.iter().map(|(id, _)| *id).filter(|id| Some(*id) != unknown).collect(),
            tokens: special.into_iter().map(|(id, it)| (id, it.content)).collect(),
            plane,
            find: find.map_err(|error| Error::Tokenize(error.to_string()))?,
            tokenizer,
            ids,
        })
    }

    /// Returns the special tokens: ids and texts.
    #[cfg(test)]
    pub(super) fn tokens(&self) -> &[(u32, String)] {
        &self.tokens
    }

    /// Returns the text with marks for the special tokens that it spells out.
    pub(super) fn mark(&self, text: &str) -> String {
        self.replace(text, |i| Some(character(self.plane, i)))
    }

    /// Returns the text with special tokens spelled out for their marks.
    pub(super) fn unmark(&self, text: &str) -> String {
        let mut plain = String::with_capacity(text.len());
        for c in text.chars() {
            match self.marked(c) {
                Some(i) => plain += &self.tokens[i].1,
                None => plain.push(c),
            }
        }
        plain
    }

    /// Returns the id of the first mark in a text.
    pub(super) fn first(&self, text: &str) -> Option<u32> {
        text.chars().find_map(|c| Some(self.tokens[self.marked(c)?].0))
    }

    /// Counts the special tokens that a text spells out.
    pub(super) fn spelled(&self, text: &str) -> Spelled {
        let mut spelled = Spelled::new();
        self.find.find_iter(text).for_each(|it| *spelled.entry(it.pattern().as_usize()).or_default() += 1);
        spelled
    }

    /// Returns the text with the beginnings of the `built` tokens that it spells out held: as other characters, so
    /// that a template's own can be told from them.
    pub(super) fn hold(&self, text: &str, built: &Spelled) -> String {
        let mut held = String::with_capacity(text.len());
        let mut from = 0;
        for found in self.find.find_iter(text) {
            let i = found.pattern().as_usize();
            if built.contains_key(&i) {
                held += &text[from..found.start()];
                held.push(character(self.plane, self.tokens.len() + i));
                from = found.start() + self.beginning(i).len_utf8();
            }
        }
        held + &text[from..]
    }

    /// Returns the text with marks for the `built` tokens that it spells out, and puts back what was held.
    ///
    /// # Errors
    /// Returns a sentence if the text spells out more of them than the template would: a message then has a part
    /// in one.
    pub(super) fn release(&self, text: &str, built: &Spelled) -> Result<String, String> {
        for (i, n) in self.spelled(text) {
            if built.get(&i).is_some_and(|built| n > *built) {
                return Err(format!(
                    "puts pieces of the messages together to the special token `{}`; change the messages",
                    self.tokens[i].1
                ));
            }
        }
        let marked = self.replace(text, |i| built.contains_key(&i).then(|| character(self.plane, i)));
        let held = |c: char| (c as u32).checked_sub(self.plane)?.checked_sub(self.tokens.len() as u32);
        let put_back = |c: char| match held(c) {
            Some(i) if (i as usize) < self.tokens.len() => self.beginning(i as usize),
            _ => c,
        };
        Ok(marked.chars().map(put_back).collect())
    }

    /// Returns the ids of a text with marks.
    ///
    /// # Errors
    /// [`Error::Tokenize`], also for a text that the tokenizer cannot but read as a special token.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        let encoding = self.tokenizer.encode_fast(text, false);
        let encoding = encoding.map_err(|error| Error::Tokenize(error.to_string()))?;
        let id = |id: &u32| match self.ids.get(id) {
            Some(special) => Ok(*special),
            None if self.special.contains(id) => {
                let text = self.tokens.iter().find(|(it, _)| it == id).map_or("", |(_, text)| text);
                Err(Error::Tokenize(format!(
                    "reads the text `{text}` of a message as a special token; remove it from the message"
                )))
            }
            None => Ok(*id),
        };
        encoding.get_ids().iter().map(id).collect()
    }

    /// Returns the token that a character stands for.
    fn marked(&self, c: char) -> Option<usize> {
        let i = (c as u32).checked_sub(self.plane)? as usize;
        (i < self.tokens.len()).then_some(i)
    }

    fn beginning(&self, i: usize) -> char {
        self.tokens[i].1.chars().next().expect("special tokens are not blank")
    }

    /// Returns the text with some of the special tokens that it spells out replaced.
    fn replace(&self, text: &str, by: impl Fn(usize) -> Option<char>) -> String {
        let mut replaced = String::with_capacity(text.len());
        let mut from = 0;
        for found in self.find.find_iter(text) {
            if let Some(c) = by(found.pattern().as_usize()) {
                replaced += &text[from..found.start()];
                replaced.push(c);
                from = found.end();
            }
        }
        replaced + &text[from..]
    }
}

fn character(plane: u32, i: usize) -> char {
    char::from_u32(plane + i as u32).expect("a character of a private plane")
}

/// Returns the token that stands for what has none. Text may become it.
fn unknown_token(tokenizer: &Tokenizer) -> Option<u32> {
    match tokenizer.get_model() {
        ModelWrapper::BPE(model) => tokenizer.token_to_id(model.get_unk_token().as_ref()?),
        ModelWrapper::Unigram(_) => tokenizer.token_to_id("<unk>"),
        ModelWrapper::WordPiece(model) => tokenizer.token_to_id(&model.unk_token),
        ModelWrapper::WordLevel(model) => tokenizer.token_to_id(&model.unk_token),
    }
}
