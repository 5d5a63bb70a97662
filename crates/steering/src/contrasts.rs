//! Contrasts: the same user prompt with a positive and a negative answer.

use crate::Error;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::path::Path;

/// One user prompt, answered from both sides of a persona.
#[derive(Clone, Debug, PartialEq)]
pub struct Contrast {
    /// What the user says.
    pub prompt: String,
    /// What the persona answers.
    pub positive: String,
    /// What its opposite answers.
    pub negative: String,
    /// A system message in front of the prompt.
    pub system: Option<String>,
}

/// Contrasts from one source.
#[derive(Clone, Debug, PartialEq)]
pub struct ContrastSet {
    /// The file's name without its extension.
    pub name: String,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// At least one.
    pub contrasts: Vec<Contrast>,
}

/// A line of the file, as written.
#[derive(Deserialize)]
struct Line {
    prompt: Option<String>,
    positive: Option<String>,
    negative: Option<String>,
    system: Option<String>,
    messages: Option<serde_json::Value>,
}

impl ContrastSet {
    /// Reads a JSONL file: one `{"prompt": …, "positive": …, "negative": …}` a line, with
    /// `system`, `id` and `tags` optional. Empty lines are skipped.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::Line`] for a line that is not such an object or whose answers are
    /// the same; [`Error::File`] if there is no contrast at all.
    pub fn read(path: &Path) -> Result<ContrastSet, Error> {
        let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Error::File { path: path.to_owned(), reason: "is not UTF-8 text".into() })?;
        ContrastSet::parse(&text, path)
    }

    /// Reads the text of such a file; `path` names it in errors and gives the set its name.
    ///
    /// # Errors
    /// As for [`ContrastSet::read`].
    pub fn parse(text: &str, path: &Path) -> Result<ContrastSet, Error> {
        let mut contrasts = Vec::new();
        for (i, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let contrast = parse_line(line);
            contrasts.push(contrast.map_err(|reason| Error::Line {
                path: path.to_owned(),
                line: i + 1,
                reason,
            })?);
        }
        if contrasts.is_empty() {
            let reason = "holds no contrast: one JSON object a line is expected, with the fields \
                          `prompt`, `positive` and `negative`";
            return Err(Error::File { path: path.to_owned(), reason: reason.into() });
        }
        let name = path.file_stem().map_or("contrasts".into(), |stem| stem.to_string_lossy().into_owned());
        let digest = Sha256::digest(text.as_bytes());
        let sha256 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(ContrastSet { name, sha256, contrasts })
    }

    /// The first `n` contrasts, or all.
    pub fn first(&self, n: usize) -> ContrastSet {
        ContrastSet { contrasts: self.contrasts.iter().take(n).cloned().collect(), ..self.clone() }
    }

    /// At most `n` contrasts, evenly spaced over the set.
    pub fn evenly(&self, n: usize) -> ContrastSet {
        let (n, len) = (n.min(self.contrasts.len()), self.contrasts.len());
        let contrasts = (0..n).map(|i| self.contrasts[i * len / n].clone()).collect();
        ContrastSet { contrasts, ..self.clone() }
    }

    /// Cuts the set in two: three of four contrasts, and every fourth.
    pub fn split(&self) -> (ContrastSet, ContrastSet) {
        let part = |held_out: bool| ContrastSet {
            contrasts: self
                .contrasts
                .iter()
                .enumerate()
                .filter(|(i, _)| (i % 4 == 3) == held_out)
                .map(|(_, contrast)| contrast.clone())
                .collect(),
            ..self.clone()
        };
        (part(false), part(true))
    }
}

fn parse_line(line: &str) -> Result<Contrast, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| format!("is not a contrast: {error}"))?;
    if line.messages.is_some() {
        return Err("`messages` is not supported yet: give a `prompt` (and a `system`)".into());
    }
    let field = |name: &str, value: Option<String>| match value {
        None => Err(format!("`{name}` is missing")),
        Some(text) if text.trim().is_empty() => Err(format!("`{name}` is empty")),
        Some(text) => Ok(text),
    };
    let contrast = Contrast {
        prompt: field("prompt", line.prompt)?,
        positive: field("positive", line.positive)?,
        negative: field("negative", line.negative)?,
        system: line.system,
    };
    if contrast.positive == contrast.negative {
        return Err("`positive` and `negative` are the same answer, which gives a zero direction".into());
    }
    Ok(contrast)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_error(text: &str, want: &str) {
        let error = ContrastSet::parse(text, Path::new("c.jsonl")).unwrap_err().to_string();
        assert!(error.starts_with(want), "{error}");
    }

    #[test]
    fn wrong_lines_are_named_by_file_and_number() {
        let good = r#"{"prompt": "p", "positive": "a", "negative": "b"}"#;
        check_error("", "c.jsonl: holds no contrast");
        check_error("\n  \n", "c.jsonl: holds no contrast");
        check_error(&format!("{good}\n\nnot json"), "c.jsonl:3: is not a contrast");
        check_error(r#"{"prompt": "p", "positive": "a"}"#, "c.jsonl:1: `negative` is missing");
        check_error(r#"{"prompt": " ", "positive": "a", "negative": "b"}"#, "c.jsonl:1: `prompt` is empty");
        check_error(r#"{"prompt": "p", "positive": 3, "negative": "b"}"#, "c.jsonl:1: is not a contrast");
        check_error(r#"{"prompt": "p", "positive": "a", "negative": "a"}"#, "c.jsonl:1: `positive` and");
        check_error(r#"{"messages": [], "positive": "a", "negative": "b"}"#, "c.jsonl:1: `messages`");
    }

    #[test]
    fn optional_fields_and_empty_lines_are_accepted() {
        let text = "\u{feff}{\"id\": 1, \"tags\": [\"x\"], \"system\": \"s\", \"prompt\": \"p\", \
                    \"positive\": \"a\", \"negative\": \"b\"}\r\n\n";
        let set = ContrastSet::parse(text, Path::new("dir/name.jsonl")).unwrap();
        assert_eq!((set.name.as_str(), set.contrasts.len()), ("name", 1));
        assert_eq!(set.contrasts[0].system.as_deref(), Some("s"));
    }
}
