//! What judges said, kept on disk, so that nothing is paid for twice.
//!
//! One line for each reply, under the hash of all that it depends on, with a digest of itself: a line that was cut
//! or edited is not believed and asked for again. The file is only ever added to. docs/FORMATS.md describes it.

use super::{JudgeReply, Rating, distinct};
use crate::Error;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;
use whipstaff_disk::{Sealed, line, parse, sha256_hex};

/// Replies by what was asked of whom.
pub struct Verdicts {
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

impl Verdicts {
    /// Opens the file, or begins it; without one, replies are known until the end of the program.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Write`]; [`Error::File`] if it holds something, but no verdict.
    pub fn open(path: Option<&Path>) -> Result<Verdicts, Error> {
        let Some(path) = path else { return Ok(Verdicts { known: HashMap::new(), file: None }) };
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
            // A line that was cut stays alone.
            file.append("\n")?;
        }
        Ok(Verdicts { known, file: Some(file) })
    }

    /// The prompts that are still to be asked, each once.
    pub fn missing<'p>(&self, identity: &str, prompts: &'p [String]) -> Vec<&'p str> {
        distinct(prompts).filter(|it| !self.known.contains_key(&request(identity, it))).collect()
    }

    /// What was replied.
    pub(crate) fn get(&self, identity: &str, prompt: &str) -> Option<&JudgeReply> {
        self.known.get(&request(identity, prompt))
    }

    /// Keeps a reply, and sees it to the disk; what is no rating may be one at the next try, and is not kept there.
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

/// What a reply is kept under.
fn request(identity: &str, prompt: &str) -> String {
    sha256_hex(format!("{identity}\0{prompt}").as_bytes())
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
        Verdicts::open(Some(&path)).unwrap().append("judge", "prompt", reply("85")).unwrap();
        let again = Verdicts::open(Some(&path)).unwrap();
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
        let mut verdicts = Verdicts::open(Some(&path)).unwrap();
        for prompt in ["a", "b"] {
            verdicts.append("judge", prompt, reply(prompt)).unwrap();
        }
        let whole = std::fs::read_to_string(&path).unwrap();
        let check = |name: &str, damaged: String, known: [bool; 2]| {
            std::fs::write(&path, &damaged).unwrap();
            let mut verdicts = Verdicts::open(Some(&path)).unwrap();
            let found = ["a", "b"].map(|it| verdicts.get("judge", it) == Some(&reply(it)));
            assert_eq!(found, known, "{name}");
            verdicts.append("judge", "c", reply("c")).unwrap();
            assert!(std::fs::read_to_string(&path).unwrap().starts_with(&damaged), "{name}");
            let again = Verdicts::open(Some(&path)).unwrap();
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
        let error = Verdicts::open(Some(&path)).err().unwrap().to_string();
        assert!(error.contains("holds no verdict") && error.contains("contrasts.jsonl"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"prompt\": \"x\"}\n");
    }
}
