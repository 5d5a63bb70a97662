//! Prompts: what a user says, with the answer that it got or without.

use crate::error::Error;
use serde::Deserialize;
use std::path::Path;
use whipstaff_engine::{Message, Role};

/// Returns what a user says as a conversation.
pub fn said(prompt: &str) -> Vec<Message> {
    vec![Message::new(Role::User, prompt)]
}

/// A text to measure on: what the user says and, perhaps, an answer.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct PromptLine {
    /// What the user says.
    pub prompt: String,
    /// What is answered, if anything.
    pub answer: Option<String>,
}

impl PromptLine {
    /// Returns a prompt without an answer.
    pub fn new(prompt: impl Into<String>) -> PromptLine {
        PromptLine { prompt: prompt.into(), answer: None }
    }
}

/// Reads prompts: one a line, or, from a `.jsonl` file, JSON objects with `prompt` and `answer`.
///
/// # Errors
///
/// Returns [`Error::Read`], [`Error::Line`] for a line that is no prompt, and [`Error::File`] if there is none.
pub fn read_prompts(path: &Path) -> Result<Vec<PromptLine>, Error> {
    let text =
        std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let is_json = path.extension().is_some_and(|extension| extension == "jsonl");
    let mut prompts = Vec::new();
    for (i, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        prompts.push(if is_json {
            serde_json::from_str(line).map_err(|error| Error::Line {
                path: path.to_owned(),
                line: i + 1,
                reason: format!("is not a prompt: {error}"),
            })?
        } else {
            PromptLine::new(line)
        });
    }
    if prompts.is_empty() {
        return Err(Error::File { path: path.to_owned(), reason: "holds no prompt".into() });
    }
    Ok(prompts)
}
