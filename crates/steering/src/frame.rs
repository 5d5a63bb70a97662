//! Frames: how a user's words become the text that a model continues.

use crate::Error;
use whipstaff_engine::Tokenizer;

/// A text with the placeholder `{prompt}`. The answer follows after one space, unless the frame
/// itself ends in white space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame(String);

const PLAIN: &str = "User: {prompt}\nAssistant:";
const NONE: &str = "{prompt}";

impl Default for Frame {
    fn default() -> Frame {
        Frame(PLAIN.into())
    }
}

impl Frame {
    /// Reads `plain`, `none`, or a text with `{prompt}` in it, where `\n` stands for a new line.
    ///
    /// # Errors
    /// [`Error::Setting`] if the placeholder is missing.
    pub fn parse(text: &str) -> Result<Frame, Error> {
        match text {
            "plain" => Ok(Frame(PLAIN.into())),
            "none" => Ok(Frame(NONE.into())),
            text if text.contains("{prompt}") => Ok(Frame(text.replace("\\n", "\n"))),
            _ => Err(Error::Setting(format!(
                "--frame `{text}` is neither `plain` nor `none` nor a text with `{{prompt}}` in it"
            ))),
        }
    }

    /// The name that [`Frame::parse`] takes, or the text itself.
    pub fn name(&self) -> &str {
        match self.0.as_str() {
            PLAIN => "plain",
            NONE => "none",
            text => text,
        }
    }

    /// The ids of a framed prompt, special tokens included; a system message comes first.
    ///
    /// # Errors
    /// From the tokenizer.
    pub fn prompt_ids(
        &self,
        tokenizer: &Tokenizer,
        system: Option<&str>,
        prompt: &str,
    ) -> Result<Vec<u32>, Error> {
        let framed = self.0.replace("{prompt}", prompt);
        let text = match system {
            None => framed,
            Some(system) if self.0 == PLAIN => format!("System: {system}\n{framed}"),
            Some(system) => format!("{system}\n{framed}"),
        };
        Ok(tokenizer.encode(&text)?)
    }

    /// The ids of an answer to a framed prompt.
    ///
    /// # Errors
    /// From the tokenizer.
    pub fn answer_ids(&self, tokenizer: &Tokenizer, answer: &str) -> Result<Vec<u32>, Error> {
        let joined = if self.0.ends_with(char::is_whitespace) { answer.into() } else { format!(" {answer}") };
        Ok(tokenizer.encode_more(&joined)?)
    }

    /// Texts at which an answer in this frame is over: a base model that is done answering goes on
    /// to write the user's next turn.
    pub fn stops(&self) -> Vec<String> {
        if self.0 == PLAIN { vec!["\nUser:".into()] } else { Vec::new() }
    }
}
