//! What the hub says about repositories and files.

use crate::client::{Answer, Client, Method};
use crate::error::Error;
use crate::reference::{FileName, Repo};
use serde_json::Value;

/// The files of a repository at a commit.
pub(crate) struct Listing {
    pub(crate) commit: String,
    /// As the server names them: nothing to build a path from.
    pub(crate) files: Vec<String>,
}

/// What has to be known of a file before it is downloaded.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Names its content; the file's name among the blobs of the cache.
    pub(crate) etag: String,
    pub(crate) size: u64,
}

/// What is asked about, for errors.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) repo: &'a Repo,
    pub(crate) revision: &'a str,
    pub(crate) file: Option<&'a FileName>,
}

impl Client {
    /// What there is at a revision.
    pub(crate) fn listing(&self, repo: &Repo, revision: &str) -> Result<Listing, Error> {
        let url = self.url(&format!("api/models/{repo}/revision/{}", encode(revision, "")));
        let asked = Asked { repo, revision, file: None };
        let what = format!("{repo}@{revision}");
        let json =
            self.patiently(|| self.ok(self.ask(&url, Method::Get { from: 0 })?, asked)?.json(&what))?;
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

    /// What a file is.
    pub(crate) fn facts(&self, repo: &Repo, commit: &str, file: &FileName) -> Result<Facts, Error> {
        let (url, asked) =
            (self.file_url(repo, commit, file), Asked { repo, revision: commit, file: Some(file) });
        let answer = self.patiently(|| {
            let answer = self.ask(&url, Method::Head)?;
            // A redirect that describes the file is as good as an answer.
            if (300..400).contains(&answer.status) { Ok(answer) } else { self.ok(answer, asked) }
        })?;
        let wrong = |reason: &str| Error::Answer {
            host: answer.host.clone(),
            what: format!("{repo}/{file}"),
            reason: reason.into(),
        };
        let linked = answer.header("x-linked-etag");
        let etag = linked.or(answer.header("etag")).ok_or_else(|| wrong("there is no ETag"))?;
        let etag = etag.trim_start_matches("W/").trim_matches('"');
        if !is_plain(etag, 128) {
            return Err(wrong("the ETag is not one"));
        }
        // The length of a redirect is not that of the file.
        let own = if answer.is_ok() { answer.number("content-length") } else { None };
        let size = answer.number("x-linked-size").or(own);
        let size = size.ok_or_else(|| wrong("the file's size is missing"))?;
        Ok(Facts { etag: etag.to_owned(), size })
    }

    /// Where a file's content is asked for.
    pub(crate) fn file_url(&self, repo: &Repo, commit: &str, file: &FileName) -> String {
        self.url(&format!("{repo}/resolve/{}/{}", encode(commit, ""), encode(file.as_str(), "/")))
    }

    /// The answer, if its status is a good one.
    pub(crate) fn ok(&self, answer: Answer, asked: Asked) -> Result<Answer, Error> {
        if answer.is_ok() { Ok(answer) } else { Err(self.refusal(&answer, asked)) }
    }

    fn refusal(&self, answer: &Answer, Asked { repo, revision, file }: Asked) -> Error {
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

/// A word of letters, digits, hyphens and dots that can be the name of a file.
fn is_plain(text: &str, longest: usize) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=longest).contains(&text.len()) && !text.starts_with('.') && text.chars().all(plain)
}

/// Percent-encodes all but letters, digits and `-_.~`, and what is in `also`.
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
    fn names_are_encoded_as_urls_need_them() {
        assert_eq!(encode("refs/pr/1", ""), "refs%2Fpr%2F1");
        assert_eq!(encode("a/b c+é.gguf", "/"), "a/b%20c%2B%C3%A9.gguf");
    }
}
