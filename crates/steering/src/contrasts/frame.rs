//! Frames, which turn a conversation into the text that a model continues.

use crate::error::Error;
use std::sync::Arc;
use whipstaff_engine::{ChatTemplate, Message, Role, Tokenizer};

/// The layout of a conversation for a model, and the system message that it gets if it has none.
#[derive(Clone)]
pub struct Frame {
    layout: Layout,
    system: Option<String>,
}

#[derive(Clone)]
enum Layout {
    /// A text with the placeholder `{prompt}`. The answer follows after one space, unless the text
    /// itself ends in white space.
    Text(String),
    /// The model's own template.
    Chat(Arc<ChatTemplate>),
}

const PLAIN: &str = "User: {prompt}\nAssistant:";
const NONE: &str = "{prompt}";

impl Default for Frame {
    fn default() -> Frame {
        Frame { layout: Layout::Text(PLAIN.into()), system: None }
    }
}

impl From<Arc<ChatTemplate>> for Frame {
    fn from(template: Arc<ChatTemplate>) -> Frame {
        Frame { layout: Layout::Chat(template), system: None }
    }
}

/// The identity of a frame, which a vector keeps of the one that it was made in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameId {
    /// `plain`, `chat`, `none`, or a text with `{prompt}` in it.
    pub name: String,
    /// The SHA-256 of the chat template, in hex.
    pub template_sha256: Option<String>,
    /// The system message of conversations that have none.
    pub system: Option<String>,
}

impl FrameId {
    /// Returns the frame of a vector whose maker did not name it.
    pub fn unknown() -> FrameId {
        FrameId { name: "unknown".into(), template_sha256: None, system: None }
    }

    /// Returns true if the vector's maker did not name its frame.
    pub fn is_unknown(&self) -> bool {
        self.name == "unknown"
    }

    /// Returns true if a vector may have such a frame.
    pub fn is_valid(&self) -> bool {
        self.is_chat() || self.is_unknown() || text_of(&self.name).is_some()
    }

    /// Returns true for the chat template of some model.
    pub fn is_chat(&self) -> bool {
        self.name == "chat"
    }

    /// Returns in words how the frame of a run differs, if it does. A system message in a run is a choice; only one
    /// that is missing is a difference.
    pub fn difference(&self, run: &FrameId) -> Option<String> {
        if self.is_unknown() {
            return None;
        }
        let name = |id: &FrameId| id.name.escape_debug().to_string();
        if self.name != run.name {
            return Some(format!("was made with the frame `{}`, this run uses `{}`", name(self), name(run)));
        }
        if self.template_sha256 != run.template_sha256 {
            return Some("was made with another chat template than this model's".into());
        }
        if self.system.is_some() && run.system.is_none() {
            return Some("was made with a system message, this run has none".into());
        }
        None
    }
}

/// Returns the text of a frame that is named, or written as a text with a placeholder.
fn text_of(name: &str) -> Option<String> {
    match name {
        "plain" => Some(PLAIN.into()),
        "none" => Some(NONE.into()),
        text if text.contains("{prompt}") => Some(text.replace("\\n", "\n")),
        _ => None,
    }
}

impl Frame {
    /// Reads `plain`, `none`, or a text with `{prompt}` in it, where `\n` stands for a new line. A chat
    /// frame is made from the model's template instead.
    ///
    /// # Errors
    /// [`Error::Setting`] if the placeholder is missing.
    pub fn parse(text: &str) -> Result<Frame, Error> {
        let what =
            || format!("--frame `{text}` is neither plain, chat nor none nor a text with `{{prompt}}` in it");
        let text = text_of(text).ok_or_else(|| Error::Setting(what()))?;
        Ok(Frame { layout: Layout::Text(text), system: None })
    }

    /// Returns the frame with a system message for conversations that have none.
    pub fn with_system(self, system: Option<String>) -> Frame {
        Frame { system, ..self }
    }

    /// Returns `chat`, the name that [`Frame::parse`] takes, or the text itself.
    pub fn name(&self) -> &str {
        match &self.layout {
            Layout::Chat(_) => "chat",
            Layout::Text(text) => match text.as_str() {
                PLAIN => "plain",
                NONE => "none",
                text => text,
            },
        }
    }

    /// Returns the identity that a vector keeps of this frame.
    pub fn id(&self) -> FrameId {
        let template_sha256 = match &self.layout {
            Layout::Chat(template) => Some(template.sha256()),
            Layout::Text(_) => None,
        };
        FrameId { name: self.name().into(), template_sha256, system: self.system.clone() }
    }

    /// Encodes a conversation up to where the model speaks, special tokens included.
    ///
    /// # Errors
    /// [`Error::Engine`] from the tokenizer or the template; [`Error::Setting`] for a conversation of several turns in a
    /// frame that has room for one.
    pub fn prompt_ids(&self, tokenizer: &Tokenizer, messages: &[Message]) -> Result<Vec<u32>, Error> {
        let messages = self.complete(messages);
        match &self.layout {
            Layout::Text(text) => Ok(tokenizer.encode(&fill(text, &messages)?)?),
            Layout::Chat(template) => Ok(template.ids(&messages, true)?),
        }
    }

    /// Encodes a conversation, and answers that each continue where it ends.
    ///
    /// # Errors
    /// As for [`Frame::prompt_ids`].
    pub fn answered_ids(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
        answers: &[&str],
    ) -> Result<(Vec<u32>, Vec<Vec<u32>>), Error> {
        let messages = self.complete(messages);
        match &self.layout {
            Layout::Text(text) => {
                let space = if text.ends_with(char::is_whitespace) { "" } else { " " };
                let ids = |answer: &&str| Ok(tokenizer.encode_more(&format!("{space}{answer}"))?);
                let prompt = tokenizer.encode(&fill(text, &messages)?)?;
                Ok((prompt, answers.iter().map(ids).collect::<Result<_, Error>>()?))
            }
            Layout::Chat(template) => Ok(template.answered_ids(&messages, answers)?),
        }
    }

    /// Returns the texts at which an answer in this frame is over: a base model that is done answering goes on to
    /// write the user's next turn.
    pub fn stops(&self) -> Vec<String> {
        match &self.layout {
            Layout::Text(text) if text == PLAIN => vec!["\nUser:".into()],
            _ => Vec::new(),
        }
    }

    /// Returns the tokens at which an answer in this frame is over, beside those that the model stops at anyway.
    pub fn stop_tokens(&self) -> Vec<u32> {
        match &self.layout {
            Layout::Chat(template) => template.turn_end().into_iter().collect(),
            Layout::Text(_) => Vec::new(),
        }
    }

    /// Returns the messages, with this frame's system message in front if they have none.
    fn complete(&self, messages: &[Message]) -> Vec<Message> {
        let has_one = messages.first().is_some_and(|it| it.role == Role::System);
        let system = self.system.iter().filter(|_| !has_one).map(|it| Message::new(Role::System, it.clone()));
        system.chain(messages.iter().cloned()).collect()
    }
}

/// Returns a conversation as the text of a frame.
fn fill(text: &str, messages: &[Message]) -> Result<String, Error> {
    let plain = text == PLAIN;
    if plain && messages.len() > 1 {
        let turn = |message: &Message| match message.role {
            Role::System => format!("System: {}\n", message.content),
            Role::User => format!("User: {}\n", message.content),
            Role::Assistant => format!("Assistant: {}\n", message.content),
        };
        return Ok(messages.iter().map(turn).collect::<String>() + "Assistant:");
    }
    match messages {
        [prompt] => Ok(text.replace("{prompt}", &prompt.content)),
        [system, prompt] if system.role == Role::System => {
            Ok(format!("{}\n{}", system.content, text.replace("{prompt}", &prompt.content)))
        }
        _ => Err(Error::Setting(format!(
            "--frame {}: there is room for one prompt, not for a conversation of {} messages; use plain or chat",
            text.escape_debug(),
            messages.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(roles: &[Role]) -> Vec<Message> {
        roles.iter().zip(["a", "b", "c", "d"]).map(|(role, text)| Message::new(*role, text)).collect()
    }

    #[test]
    fn a_conversation_is_laid_out_turn_by_turn() {
        use Role::{Assistant, System, User};
        let check = |frame: &str, roles: &[Role], want: &str| {
            let got = fill(&text_of(frame).unwrap(), &messages(roles)).unwrap();
            assert_eq!(got, want, "{frame}");
        };
        check("plain", &[User], "User: a\nAssistant:");
        check("plain", &[System, User], "System: a\nUser: b\nAssistant:");
        check("plain", &[User, Assistant, User], "User: a\nAssistant: b\nUser: c\nAssistant:");
        check("none", &[User], "a");
        check("none", &[System, User], "a\nb");
        check("Q: {prompt}\\nA:", &[User], "Q: a\nA:");
        check("Q: {prompt}\\nA:", &[System, User], "a\nQ: b\nA:");
        assert!(fill("{prompt}", &messages(&[User, Assistant, User])).is_err());
    }

    #[test]
    fn what_differs_between_frames_is_said_in_words() {
        let id = |name: &str, sha: Option<&str>, system: Option<&str>| FrameId {
            name: name.into(),
            template_sha256: sha.map(Into::into),
            system: system.map(Into::into),
        };
        let check = |made: &FrameId, run: &FrameId, want: Option<&str>| {
            let got = made.difference(run);
            assert_eq!(got.is_some(), want.is_some(), "{got:?}");
            assert!(got.unwrap_or_default().contains(want.unwrap_or_default()));
        };
        let (plain, chat) = (id("plain", None, None), id("chat", Some("1"), None));
        check(&plain, &plain, None);
        check(&plain, &chat, Some("with the frame `plain`, this run uses `chat`"));
        check(&chat, &id("chat", Some("2"), None), Some("another chat template"));
        check(&chat, &id("chat", Some("1"), Some("s")), None);
        check(&id("chat", Some("1"), Some("s")), &chat, Some("with a system message"));
    }

    #[test]
    fn a_frame_needs_a_place_for_the_prompt() {
        assert!(Frame::parse("chat").is_err() && Frame::parse("Q:").is_err());
        assert_eq!(Frame::parse("plain").unwrap().name(), "plain");
        assert_eq!(Frame::parse("{prompt}!").unwrap().name(), "{prompt}!");
    }
}
