//! Contrasts: the same conversation with a positive and a negative answer.

use crate::error::Error;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use whipstaff_disk::sha256_hex;
use whipstaff_engine::{Message, Role};

/// One conversation, answered from both sides of a persona.
#[derive(Clone, Debug, PartialEq)]
pub struct Contrast {
    /// The conversation before the answer; its last message is the user's.
    pub messages: Vec<Message>,
    /// The system messages under which the positive and the negative answer are read at extraction, if these differ;
    /// the model is then asked and measured without them.
    pub systems: Option<[String; 2]>,
    /// The persona's answer.
    pub positive: String,
    /// The answer of the persona's opposite.
    pub negative: String,
}

impl Contrast {
    /// Returns what the user says last.
    pub fn prompt(&self) -> &str {
        self.messages.last().map_or("", |it| &it.content)
    }
}

/// The contrasts of one file.
#[derive(Clone, Debug, PartialEq)]
pub struct ContrastSet {
    /// The file's name without its extension.
    pub name: String,
    /// The SHA-256 of the file, in hex.
    pub sha256: String,
    /// The contrasts, at least one.
    pub contrasts: Vec<Contrast>,
}

/// A line of the file, as it is written.
#[derive(Deserialize)]
struct Line {
    prompt: Option<String>,
    positive: Option<String>,
    negative: Option<String>,
    system: Option<String>,
    positive_system: Option<String>,
    negative_system: Option<String>,
    messages: Option<Vec<Message>>,
}

impl ContrastSet {
    /// Reads a JSONL file.
    ///
    /// Each line is `{"prompt": …, "positive": …, "negative": …}`, or has `messages` instead of `prompt`. The fields
    /// `system`, `positive_system` with `negative_system`, `id` and `tags` are optional. Empty lines are skipped.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::Line`] for a line that is not such an object or whose answers are
    /// the same; [`Error::File`] if there is no contrast at all.
    pub fn read(path: impl AsRef<Path>) -> Result<ContrastSet, Error> {
        let path = path.as_ref();
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
        Ok(ContrastSet { name, sha256: sha256_hex(text.as_bytes()), contrasts })
    }

    /// Returns the set as extraction reads its positive answers (side 0) or its negative ones (side 1).
    pub(crate) fn as_read_for(&self, side: usize) -> ContrastSet {
        let mut set = self.clone();
        for contrast in &mut set.contrasts {
            if let Some(systems) = &contrast.systems {
                contrast.messages.insert(0, Message::new(Role::System, systems[side].clone()));
            }
        }
        set
    }

    /// Returns the first `n` contrasts, or all.
    pub fn first(&self, n: usize) -> ContrastSet {
        ContrastSet { contrasts: self.contrasts.iter().take(n).cloned().collect(), ..self.clone() }
    }

    /// Returns at most `n` contrasts, evenly spaced over the set.
    pub fn evenly(&self, n: usize) -> ContrastSet {
        let (n, len) = (n.min(self.contrasts.len()), self.contrasts.len());
        let contrasts = (0..n).map(|i| self.contrasts[i * len / n].clone()).collect();
        ContrastSet { contrasts, ..self.clone() }
    }

    /// Cuts the set in two: three of four contrasts to fit on, and every fourth to measure on. Returns `None` if the
    /// set has fewer than four contrasts.
    pub fn split(&self) -> Option<(ContrastSet, ContrastSet)> {
        let part = |held_out: bool| -> Vec<Contrast> {
            let numbered = self.contrasts.iter().enumerate();
            numbered.filter(|(i, _)| (i % 4 == 3) == held_out).map(|(_, contrast)| contrast.clone()).collect()
        };
        let held_out = ContrastSet {
            name: format!("{} (every fourth)", self.name),
            contrasts: part(true),
            ..self.clone()
        };
        (!held_out.contrasts.is_empty())
            .then(|| (ContrastSet { contrasts: part(false), ..self.clone() }, held_out))
    }

    /// Returns the path of the held-out contrasts that lie beside `F.jsonl` as `F-heldout.jsonl`, if there are any.
    pub fn heldout_beside(contrasts: &Path) -> Option<PathBuf> {
        let stem = contrasts.file_stem().unwrap_or_default().to_string_lossy();
        let beside = contrasts.parent().unwrap_or(Path::new("")).join(format!("{stem}-heldout.jsonl"));
        beside.exists().then_some(beside)
    }
}

/// Reads a line; fails with what is wrong about it.
fn parse_line(line: &str) -> Result<Contrast, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| format!("is not a contrast: {error}"))?;
    let field = |name: &str, value: Option<String>| match value {
        None => Err(format!("`{name}` is missing")),
        Some(text) if text.trim().is_empty() => Err(format!("`{name}` is empty")),
        Some(text) => Ok(text),
    };
    let mut messages = match (line.messages, line.prompt) {
        (Some(_), Some(_)) => return Err("has both `messages` and `prompt`: which is it?".into()),
        (Some(messages), None) => checked(messages)?,
        (None, prompt) => vec![Message::new(Role::User, field("prompt", prompt)?)],
    };
    if let Some(system) = line.system {
        if messages[0].role == Role::System {
            return Err("has a `system` and a system message in `messages`: which is it?".into());
        }
        messages.insert(0, Message::new(Role::System, system));
    }
    let has_system = messages[0].role == Role::System;
    let systems = match (line.positive_system, line.negative_system) {
        (None, None) => None,
        (Some(_), Some(_)) if has_system => {
            return Err(
                "has `positive_system` and `negative_system` and another system message: which is it?".into(),
            );
        }
        (Some(positive), Some(negative)) => Some([positive, negative]),
        _ => return Err("`positive_system` and `negative_system` belong together: one is missing".into()),
    };
    let contrast = Contrast {
        messages,
        systems,
        positive: field("positive", line.positive)?,
        negative: field("negative", line.negative)?,
    };
    let read_alike = contrast.systems.as_ref().is_none_or(|[positive, negative]| positive == negative);
    if contrast.positive == contrast.negative && read_alike {
        return Err("`positive` and `negative` are the same answer, which gives a zero direction".into());
    }
    Ok(contrast)
}

/// Returns the messages if an answer can follow them; fails with what is wrong otherwise.
fn checked(messages: Vec<Message>) -> Result<Vec<Message>, String> {
    match messages.last() {
        None => return Err("`messages` is empty".into()),
        Some(last) if last.role != Role::User => {
            return Err("`messages` must end with the user, whom the answers answer".into());
        }
        Some(last) if last.content.trim().is_empty() => return Err("the last of `messages` is empty".into()),
        Some(_) => {}
    }
    match messages.iter().skip(1).any(|it| it.role == Role::System) {
        true => Err("a system message in `messages` comes first".into()),
        false => Ok(messages),
    }
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
        let messages = |them: &str| format!(r#"{{"messages": {them}, "positive": "a", "negative": "b"}}"#);
        let said = |role: &str| format!(r#"{{"role": "{role}", "content": "c"}}"#);
        let (system, user, assistant) = (said("system"), said("user"), said("assistant"));
        check_error(&messages("[]"), "c.jsonl:1: `messages` is empty");
        check_error(&messages("3"), "c.jsonl:1: is not a contrast");
        check_error(&messages(&format!("[{}]", said("tool"))), "c.jsonl:1: is not a contrast");
        check_error(
            &messages(&format!("[{user}, {assistant}]")),
            "c.jsonl:1: `messages` must end with the user",
        );
        check_error(&messages(&format!("[{user}, {system}, {user}]")), "c.jsonl:1: a system message");
        let systems = |more: &str| good.replacen('{', &format!("{{{more}, "), 1);
        check_error(&systems(r#""positive_system": "s""#), "c.jsonl:1: `positive_system` and");
        let both = r#""positive_system": "s", "negative_system": "t""#;
        check_error(&systems(&format!(r#"{both}, "system": "u""#)), "c.jsonl:1: has `positive_system` and");
        let both = good.replace("{", &format!(r#"{{"messages": [{user}], "#));
        check_error(&both, "c.jsonl:1: has both `messages` and `prompt`");
        let two = messages(&format!("[{system}, {user}]")).replacen('{', r#"{"system": "s", "#, 1);
        check_error(&two, "c.jsonl:1: has a `system` and");
    }

    #[test]
    fn optional_fields_and_empty_lines_are_accepted() {
        let text = "\u{feff}{\"id\": 1, \"tags\": [\"x\"], \"system\": \"s\", \"prompt\": \"p\", \
                    \"positive\": \"a\", \"negative\": \"b\"}\r\n\n";
        let set = ContrastSet::parse(text, Path::new("dir/name.jsonl")).unwrap();
        assert_eq!((set.name.as_str(), set.contrasts.len()), ("name", 1));
        let want = [Message::new(Role::System, "s"), Message::new(Role::User, "p")];
        assert_eq!(set.contrasts[0].messages, want);
    }

    #[test]
    fn the_same_answer_may_be_read_under_two_system_messages() {
        let text = r#"{"prompt": "p", "positive": "a", "negative": "a", "positive_system": "s", "negative_system": "t"}"#;
        let set = ContrastSet::parse(text, Path::new("c.jsonl")).unwrap();
        let said = |set: &ContrastSet| {
            set.contrasts[0].messages.iter().map(|it| it.content.clone()).collect::<Vec<_>>()
        };
        assert_eq!(
            (said(&set), said(&set.as_read_for(0)), said(&set.as_read_for(1))),
            (
                vec!["p".to_owned()],
                vec!["s".to_owned(), "p".to_owned()],
                vec!["t".to_owned(), "p".to_owned()],
            )
        );
    }

    #[test]
    fn a_conversation_may_stand_in_front_of_the_answers() {
        let text = r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"}], "positive": "d", "negative": "e"}"#;
        let set = ContrastSet::parse(&text.replace('\n', ""), Path::new("c.jsonl")).unwrap();
        let roles: Vec<Role> = set.contrasts[0].messages.iter().map(|it| it.role).collect();
        assert_eq!(roles, [Role::User, Role::Assistant, Role::User]);
        assert_eq!(set.contrasts[0].prompt(), "c");
    }
}
