//! Chat templates: a conversation to the ids that a chat model was trained to read it as.
//!
//! A template is a small program in Jinja that comes with the model (`checkpoint/templates.rs` finds it) and writes
//! messages out as text, with the special tokens that begin and end a turn. It is data from elsewhere
//! and runs under limits (`environment.rs`). What it writes must give the ids that transformers give,
//! and yet no text of a message may become a special token. So the special tokens in the template's own
//! text are replaced by characters that no message holds (`source.rs`, `marks.rs`) before it is run;
//! afterwards only those characters become special tokens. Messages go through as they are: whatever a
//! template does to them, it finds what it expects, and merges across the seam happen as they should.

mod environment;
mod marks;
mod message;
mod source;

use super::tokenizer::Tokenizer;
use crate::error::Error;
use environment::Program;
use marks::Marks;
pub use message::{Message, Role};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A model's chat template, ready to be used with its tokenizer.
pub struct ChatTemplate {
    path: PathBuf,
    source: String,
    /// `bos_token` and its like, as templates know them.
    variables: BTreeMap<String, String>,
    /// Without marks, for when others are needed.
    tokenizer: tokenizers::Tokenizer,
    marked: Marked,
}

/// A template whose special tokens are marks.
#[derive(Clone)]
struct Marked {
    marks: Marks,
    program: Program,
}

impl ChatTemplate {
    /// Makes a template from its text. `variables` are the special tokens that it knows by name, such as
    /// `bos_token`; `path` names it in errors.
    ///
    /// # Errors
    /// [`Error::Template`] for a text that cannot be parsed.
    pub fn new(
        source: String,
        variables: BTreeMap<String, String>,
        tokenizer: &Tokenizer,
        path: &Path,
    ) -> Result<ChatTemplate, Error> {
        let marks = Marks::new(&tokenizer.0, marks::PLANES[0])?;
        let marked = Marked::new(&source, &variables, marks, path)?;
        Ok(ChatTemplate { path: path.to_owned(), source, variables, tokenizer: tokenizer.0.clone(), marked })
    }

    /// Returns the SHA-256 of the template's text, in hex.
    pub fn sha256(&self) -> String {
        whipstaff_disk::sha256_hex(self.source.as_bytes())
    }

    /// Returns the text of a conversation, with special tokens written out. With `ask`, the beginning of the
    /// assistant's next message follows.
    ///
    /// # Errors
    /// [`Error::Template`] if the template refuses the conversation or does not end within its limits.
    pub fn render(&self, messages: &[Message], ask: bool) -> Result<String, Error> {
        let marked = self.marked_for(messages, &[])?;
        Ok(marked.marks.unmark(&marked.render(messages, ask, &self.path)?))
    }

    /// Returns the ids of a conversation. They are the ids of transformers' `apply_chat_template`, but for messages
    /// that spell out a special token, which stays text. The template writes bos if it wants it; none is added.
    ///
    /// # Errors
    /// As for [`ChatTemplate::render`].
    pub fn ids(&self, messages: &[Message], ask: bool) -> Result<Vec<u32>, Error> {
        let marked = self.marked_for(messages, &[])?;
        marked.marks.encode(&marked.render(messages, ask, &self.path)?)
    }

    /// Returns the ids of a conversation up to where the assistant speaks, and the ids of each of `answers` behind
    /// it: what the template writes as the content of such a message, without the end of the turn. What it writes
    /// between the two (an empty thought, say) belongs to the conversation.
    ///
    /// # Errors
    /// As for [`ChatTemplate::render`].
    pub fn answered_ids(
        &self,
        messages: &[Message],
        answers: &[&str],
    ) -> Result<(Vec<u32>, Vec<Vec<u32>>), Error> {
        let marked = self.marked_for(messages, answers)?;
        let asked = marked.render(messages, true, &self.path)?;
        let leads = answers.iter().map(|answer| {
            let turns = [messages, &[Message::new(Role::Assistant, *answer)]].concat();
            let whole = marked.render(&turns, false, &self.path)?;
            let turn = whole.strip_prefix(&asked);
            Ok(turn.and_then(|turn| Some(turn[..turn.find(answer.trim())?].to_owned())))
        });
        let leads = leads.collect::<Result<Vec<Option<String>>, Error>>()?;
        // A template that writes a finished turn otherwise than one that is asked for: the answer
        // follows the question directly, as it does when the model writes it.
        let lead = match &leads[..] {
            [Some(first), rest @ ..] if rest.iter().all(|it| it.as_ref() == Some(first)) => first,
            _ => "",
        };
        // A space before an answer is part of its first word.
        let space = lead.len() - lead.trim_end_matches(' ').len();
        let (lead, space) = lead.split_at(lead.len() - space);
        let prompt_text = asked + lead;
        let prompt = marked.marks.encode(&prompt_text)?;
        let ids = |answer: &&str| {
            let answer = format!(
                "{space}{}",
                if lead.is_empty() && space.is_empty() { answer } else { answer.trim() }
            );
            let whole = marked.marks.encode(&format!("{prompt_text}{answer}"))?;
            match whole.strip_prefix(&prompt[..]) {
                Some(ids) => Ok(ids.to_vec()),
                // The seam is where the model's own answer would begin, so nothing merges across it.
                None => marked.marks.encode(&answer),
            }
        };
        let answers = answers.iter().map(ids).collect::<Result<Vec<_>, Error>>()?;
        Ok((prompt, answers))
    }

    /// Returns the token that ends an answer, if it is a special one.
    pub fn turn_end(&self) -> Option<u32> {
        const ANSWER: &str = "qqq";
        let turns = [Message::new(Role::User, "x"), Message::new(Role::Assistant, ANSWER)];
        let whole = self.marked.render(&turns, false, &self.path).ok()?;
        let end = &whole[whole.rfind(ANSWER)? + ANSWER.len()..];
        self.marked.marks.first(end)
    }

    /// Returns the template with marks that none of the texts hold.
    fn marked_for(&self, messages: &[Message], answers: &[&str]) -> Result<Cow<'_, Marked>, Error> {
        let texts = || messages.iter().map(|it| &it.content[..]).chain(answers.iter().copied());
        for (i, plane) in marks::PLANES.into_iter().enumerate() {
            if texts().any(|text| marks::holds(text, plane)) {
                continue;
            }
            if i == 0 {
                return Ok(Cow::Borrowed(&self.marked));
            }
            let marks = Marks::new(&self.tokenizer, plane)?;
            return Ok(Cow::Owned(Marked::new(&self.source, &self.variables, marks, &self.path)?));
        }
        let reason = "the messages hold characters of both private planes of Unicode; remove those of one";
        Err(Error::Template { path: self.path.clone(), reason: reason.into() })
    }
}

impl Marked {
    fn new(
        source: &str,
        variables: &BTreeMap<String, String>,
        marks: Marks,
        path: &Path,
    ) -> Result<Marked, Error> {
        let variables = variables.iter().map(|(name, text)| (name.clone(), marks.mark(text))).collect();
        let program = Program::new(source::mark(source, &marks), variables)
            .map_err(|reason| Error::Template { path: path.to_owned(), reason })?;
        Ok(Marked { marks, program })
    }

    /// Returns the text of a conversation with marks for special tokens.
    fn render(&self, messages: &[Message], ask: bool, path: &Path) -> Result<String, Error> {
        let fail = |reason| Error::Template { path: path.to_owned(), reason };
        // Some templates put a special token together from pieces, such as `<|` and the role. What is
        // spelled out although no message says anything is the template's doing.
        let inert: Vec<Message> = messages.iter().map(silenced).collect();
        let built = self.program.run(&inert, ask).map(|text| self.marks.spelled(&text)).unwrap_or_default();
        if built.is_empty() {
            return self.program.run(messages, ask).map_err(fail);
        }
        let hold = |it: &Message| Message::new(it.role, self.marks.hold(&it.content, &built));
        let held: Vec<Message> = messages.iter().map(hold).collect();
        let text = self.program.run(&held, ask).map_err(fail)?;
        self.marks.release(&text, &built).map_err(fail)
    }
}

/// Returns the message with a content that no special token has a part in.
fn silenced(message: &Message) -> Message {
    let content = if message.content.trim().is_empty() { message.content.as_str() } else { "x" };
    Message::new(message.role, content)
}

#[cfg(test)]
mod tests;
