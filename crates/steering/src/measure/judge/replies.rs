//! Replies of judges, kept on disk, so that nothing is paid for twice.
//!
//! Each reply has a line, under the hash of everything that it depends on, with a digest of itself. A line that was cut
//! or edited is not believed, and its prompt is asked again. The file is only ever added to. docs/FORMATS.md describes
//! it.

use super::rating::{JudgeReply, Rating};
use crate::error::Error;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use whipstaff_disk::{Sealed, line, parse, sha256_hex};

/// The replies of judges, by judge and prompt.
pub struct Replies {
    known: HashMap<String, JudgeReply>,
    file: Option<Sealed>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    verdict: Entry,
    digest: String,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    request: String,
    text: String,
    alternatives: Vec<(String, f64)>,
}

impl Replies {
    /// Opens the file, or begins it. Without a file, replies are known until the program ends.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Write`]; [`Error::File`] if the file holds something, but no reply.
    pub fn open(path: Option<&Path>) -> Result<Replies, Error> {
        let Some(path) = path else { return Ok(Replies { known: HashMap::new(), file: None }) };
        let text = Sealed::read(path)?.unwrap_or_default();
        let entries = text.lines().filter_map(parse::<Line>).map(|it| it.verdict);
        let known: HashMap<_, _> = entries
            .map(|it| (it.request, JudgeReply { text: it.text, alternatives: it.alternatives }))
            .collect();
        if known.is_empty() && !text.trim().is_empty() {
            let reason = "holds no verdict of a judge, so none is added to it: name another file";
            return Err(Error::File { path: path.to_owned(), reason: reason.into() });
        }
        let mut file = Sealed::open(path)?;
        if !text.is_empty() && !text.ends_with('\n') {
            // The next line must not continue one that was cut.
            file.append("\n")?;
        }
        Ok(Replies { known, file: Some(file) })
    }

    /// Returns the prompts that are still to be asked, each once.
    pub fn missing<'p>(&self, identity: &str, prompts: &'p [String]) -> Vec<&'p str> {
        distinct(prompts).filter(|it| !self.known.contains_key(&request(identity, it))).collect()
    }

    /// Returns the reply to a prompt, if it is known.
    pub(crate) fn get(&self, identity: &str, prompt: &str) -> Option<&JudgeReply> {
        self.known.get(&request(identity, prompt))
    }

    /// Keeps a reply, and writes it to the disk. A reply that is no rating is not written: the next try may give one.
    pub(crate) fn append(&mut self, identity: &str, prompt: &str, reply: JudgeReply) -> Result<(), Error> {
        let request = request(identity, prompt);
        let kept = self.file.as_mut().filter(|_| Rating::of(&reply) != Rating::Unusable);
        if let Some(file) = kept {
            let JudgeReply { text, alternatives } = reply.clone();
            let entry = Entry { request: request.clone(), text, alternatives };
            file.append(&line(&entry, "verdict"))?;
        }
        self.known.insert(request, reply);
        Ok(())
    }
}

/// Returns the key that a reply is kept under.
fn request(identity: &str, prompt: &str) -> String {
    sha256_hex(format!("{identity}\0{prompt}").as_bytes())
}

/// Returns the prompts, each once.
fn distinct(prompts: &[String]) -> impl Iterator<Item = &str> {
    let mut seen = HashSet::new();
    prompts.iter().map(String::as_str).filter(move |it| seen.insert(*it))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str) -> JudgeReply {
        JudgeReply {
            text: text.into(),
            alternatives: vec![("85".into(), -0.1), ("say \"80\"\n".into(), -2.3)],
        }
    }

    #[test]
    fn a_reply_is_known_again_to_the_same_judge_and_prompt_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v.jsonl");
        Replies::open(Some(&path)).unwrap().append("judge", "prompt", reply("85")).unwrap();
        let again = Replies::open(Some(&path)).unwrap();
        assert_eq!(again.get("judge", "prompt"), Some(&reply("85")));
        assert_eq!(again.get("judge", "prompt "), None);
        assert_eq!(again.get("judge2", "prompt"), None);
        let prompts = ["prompt", "new", "new"].map(str::to_owned);
        assert_eq!(again.missing("judge", &prompts), ["new"]);
    }

    #[test]
    fn whatever_happens_to_lines_the_others_are_believed_and_the_file_is_only_added_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v.jsonl");
        let mut verdicts = Replies::open(Some(&path)).unwrap();
        for prompt in ["a", "b"] {
            verdicts.append("judge", prompt, reply(prompt)).unwrap();
        }
        let whole = std::fs::read_to_string(&path).unwrap();
        let check = |name: &str, damaged: String, known: [bool; 2]| {
            std::fs::write(&path, &damaged).unwrap();
            let mut verdicts = Replies::open(Some(&path)).unwrap();
            let found = ["a", "b"].map(|it| verdicts.get("judge", it) == Some(&reply(it)));
            assert_eq!(found, known, "{name}");
            verdicts.append("judge", "c", reply("c")).unwrap();
            assert!(std::fs::read_to_string(&path).unwrap().starts_with(&damaged), "{name}");
            let again = Replies::open(Some(&path)).unwrap();
            assert_eq!(again.get("judge", "c"), Some(&reply("c")), "{name}");
        };
        check("nothing", whole.clone(), [true, true]);
        check("cut", whole[..whole.len() - 9].to_owned(), [true, false]);
        check("edited", whole.replacen("-0.1", "-0.2", 1), [false, true]);
        check("noise", format!("\u{0}garbage\n{whole}"), [true, true]);
    }

    #[test]
    fn a_file_of_something_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("contrasts.jsonl");
        std::fs::write(&path, "{\"prompt\": \"x\"}\n").unwrap();
        let error = Replies::open(Some(&path)).err().unwrap().to_string();
        assert!(error.contains("holds no verdict") && error.contains("contrasts.jsonl"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"prompt\": \"x\"}\n");
    }
}
