//! The hub's API: which files a repository has, and the size and hash of each file.

use crate::client::{Answer, Client, Method};
use crate::error::Error;
use crate::reference::{FileName, Repo};
use serde_json::Value;

/// The files of a repository at a commit.
pub(crate) struct Listing {
    pub(crate) commit: String,
    /// The names as the server gives them. They are not checked, so no path may be built from them.
    pub(crate) files: Vec<String>,
}

/// The facts about a file that a download needs.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The identifier of the content, and the file's name among the blobs of the cache.
    pub(crate) etag: String,
    /// In bytes.
    pub(crate) size: u64,
}

/// The subject of a request, for error messages.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) repo: &'a Repo,
    pub(crate) revision: &'a str,
    pub(crate) file: Option<&'a FileName>,
}

impl Client {
    /// Lists the files of a repository at a revision.
    pub(crate) fn listing(&self, repo: &Repo, revision: &str) -> Result<Listing, Error> {
        let url = self.url(&format!("api/models/{repo}/revision/{}", encode(revision, "")));
        let subject = Subject { repo, revision, file: None };
        let what = format!("{repo}@{revision}");
        let json =
            self.patiently(|| self.ok(self.ask(&url, Method::Get { from: 0 })?, subject)?.json(&what))?;
        let wrong =
            |reason: &str| Error::Answer { host: self.host(), what: what.clone(), reason: reason.into() };
        let commit =
            json["sha"].as_str().filter(|it| is_plain(it, 64)).ok_or(wrong("`sha` is not a commit"))?;
        let siblings = json["siblings"].as_array().ok_or(wrong("`siblings` is not a list of files"))?;
        let name = |it: &Value| it["rfilename"].as_str().map(str::to_owned);
        let files = siblings.iter().map(name).collect::<Option<Vec<_>>>();
        let files = files.ok_or(wrong("`siblings` has an entry without `rfilename`"))?;
        Ok(Listing { commit: commit.to_owned(), files })
    }

    /// Asks for the size and the hash of a file.
    pub(crate) fn facts(&self, repo: &Repo, commit: &str, file: &FileName) -> Result<Facts, Error> {
        let url = self.file_url(repo, commit, file);
        let subject = Subject { repo, revision: commit, file: Some(file) };
        let answer = self.patiently(|| {
            let answer = self.ask(&url, Method::Head)?;
            // A redirect that describes the file already answers the question.
            if (300..400).contains(&answer.status) { Ok(answer) } else { self.ok(answer, subject) }
        })?;
        let wrong = |reason: &str| Error::Answer {
            host: answer.host.clone(),
            what: format!("{repo}/{file}"),
            reason: reason.into(),
        };
        let linked = answer.header("x-linked-etag");
        let etag = linked.or(answer.header("etag")).ok_or_else(|| wrong("it has no ETag"))?;
        let etag = etag.trim_start_matches("W/").trim_matches('"');
        if !is_plain(etag, 128) {
            return Err(wrong("its ETag cannot be the name of a file"));
        }
        // The length of a redirect is not the length of the file.
        let own = if answer.is_ok() { answer.number("content-length") } else { None };
        let size = answer.number("x-linked-size").or(own);
        let size = size.ok_or_else(|| wrong("the file's size is missing"))?;
        Ok(Facts { etag: etag.to_owned(), size })
    }

    /// Returns the URL of a file's content.
    pub(crate) fn file_url(&self, repo: &Repo, commit: &str, file: &FileName) -> String {
        self.url(&format!("{repo}/resolve/{}/{}", encode(commit, ""), encode(file.as_str(), "/")))
    }

    /// Returns the answer if its status is a success, and the error that the status stands for otherwise.
    pub(crate) fn ok(&self, answer: Answer, subject: Subject) -> Result<Answer, Error> {
        if answer.is_ok() { Ok(answer) } else { Err(self.refusal(&answer, subject)) }
    }

    fn refusal(&self, answer: &Answer, Subject { repo, revision, file }: Subject) -> Error {
        let (host, status, message) = (answer.host.clone(), answer.status, answer.message());
        let with_token = self.has_token();
        let no_repo = || Error::NoSuchRepo { host: host.clone(), repo: repo.to_string(), with_token };
        match (status, answer.header("x-error-code"), file) {
            (429 | 500..600, ..) => Error::Busy { host, status, message, retry_after: answer.retry_after() },
            (401 | 403, Some("GatedRepo"), _) => {
                Error::Gated { repo: repo.to_string(), page: self.url(&repo.to_string()), with_token }
            }
            (_, Some("RevisionNotFound"), _) => {
                Error::NoSuchRevision { repo: repo.to_string(), revision: revision.to_owned() }
            }
            (404, Some("EntryNotFound") | None, Some(file)) => {
                Error::NoSuchFile { repo: repo.to_string(), file: file.to_string(), files: Vec::new() }
            }
            // A hub does not tell strangers whether a private repository exists.
            (_, Some("RepoNotFound"), _) | (401, ..) | (404, ..) => no_repo(),
            _ => {
                let what = file.map_or_else(|| repo.to_string(), |file| format!("{repo}/{file}"));
                Error::Refused { host, status, message, what }
            }
        }
    }
}

/// Returns true for a word of letters, digits, `-`, `_` and `.` that can be the name of a file.
fn is_plain(text: &str, longest: usize) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=longest).contains(&text.len()) && !text.starts_with('.') && text.chars().all(plain)
}

/// Percent-encodes all characters but letters, digits, `-_.~` and those in `also`.
fn encode(text: &str, also: &str) -> String {
    let encode = |byte: u8| match byte as char {
        c if c.is_ascii_alphanumeric() || "-_.~".contains(c) || also.contains(c) => c.to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_percent_encoded_for_urls() {
        assert_eq!(encode("refs/pr/1", ""), "refs%2Fpr%2F1");
        assert_eq!(encode("a/b c+é.gguf", "/"), "a/b%20c%2B%C3%A9.gguf");
    }
}
