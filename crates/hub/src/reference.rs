//! The name that a person types for a model of the hub, parsed into its parts.

use std::fmt::{self, Display};
use std::path::{Component, Path};

/// A model of the hub: `org/name`, `org/name@revision`, `org/name:QUANT` or `org/name/file.gguf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The repository.
    pub repo: Repo,
    /// A branch, a tag or a commit. `None` stands for `main`.
    pub revision: Option<String>,
    /// The part of the repository.
    pub part: Part,
}

/// The part of a repository that a reference means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The safetensors checkpoint with its config and tokenizer.
    Checkpoint,
    /// The GGUF file whose name carries this quantisation.
    Quant(String),
    /// The GGUF file with this name.
    File(FileName),
}

/// The name of a repository: `org/name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repo(String);

/// The name of a file in a repository: a relative path that stays inside any folder it is joined to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileName(String);

impl Reference {
    /// Parses a reference. Returns `None` for a text that cannot name a model of the hub.
    pub fn parse(text: &str) -> Option<Reference> {
        let (text, revision) = match text.split_once('@') {
            Some((text, revision)) => (text.to_owned(), Some(revision)),
            None => (text.to_owned(), None),
        };
        // `org/name@main:Q8_0` means the same as `org/name:Q8_0@main`.
        let (text, revision) = match revision.and_then(|it| it.split_once(':')) {
            Some((revision, quant)) => (format!("{text}:{quant}"), Some(revision)),
            None => (text, revision),
        };
        let revision = match revision {
            Some(revision) => Some(is_revision(revision).then(|| revision.to_owned())?),
            None => None,
        };
        let (path, quant) = match text.split_once(':') {
            Some((path, quant)) => (path, Some(quant)),
            None => (text.as_str(), None),
        };
        let mut parts = path.splitn(3, '/');
        let repo = Repo::new(parts.next()?, parts.next()?)?;
        let part = match (parts.next(), quant) {
            (None, None) => Part::Checkpoint,
            (None, Some(quant)) if is_quant(quant) => Part::Quant(quant.to_owned()),
            (Some(file), None) if is_gguf(file) => Part::File(FileName::new(file)?),
            _ => return None,
        };
        Some(Reference { repo, revision, part })
    }

    /// Returns the branch, tag or commit.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }
}

impl Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repo)?;
        match &self.part {
            Part::Checkpoint => {}
            Part::Quant(quant) => write!(f, ":{quant}")?,
            Part::File(file) => write!(f, "/{file}")?,
        }
        self.revision.iter().try_for_each(|revision| write!(f, "@{revision}"))
    }
}

impl Repo {
    fn new(org: &str, name: &str) -> Option<Repo> {
        (is_repo_name(org) && is_repo_name(name)).then(|| Repo(format!("{org}/{name}")))
    }

    /// Returns the name of the repository's cache folder: `models--org--name`.
    pub(crate) fn folder(&self) -> String {
        format!("models--{}", self.0.replace('/', "--"))
    }
}

impl Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FileName {
    /// Checks a name from elsewhere. Returns `None` for a name that could reach out of a folder.
    pub fn new(name: &str) -> Option<FileName> {
        let inside = Path::new(name).components().all(|it| matches!(it, Component::Normal(_)));
        // `a//b` and `a/.` are other spellings of names inside a folder. No hub uses them.
        let plain = name.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
        let odd = |c: char| c == '\\' || c.is_control();
        (inside && plain && name.len() <= 1024 && !name.contains(odd)).then(|| FileName(name.to_owned()))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns true for the name of an organisation or of a repository in it.
fn is_repo_name(part: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=96).contains(&part.len())
        && !part.starts_with(['.', '-'])
        // Two hyphens stand for the slash in the names of cache folders.
        && !part.contains("--")
        && !part.contains("..")
        && part.chars().all(is_plain)
}

/// Returns true for the name of a GGUF file.
pub(crate) fn is_gguf(name: &str) -> bool {
    name.len() > 5 && name.to_ascii_lowercase().ends_with(".gguf")
}

fn is_quant(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// Returns true for a text that can be a revision, which becomes a path below `refs` and a part of a URL.
fn is_revision(text: &str) -> bool {
    FileName::new(text).is_some() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_parsed_into_its_parts() {
        let check = |text: &str, repo: &str, revision: Option<&str>, part: Part| {
            let got = Reference::parse(text).unwrap_or_else(|| panic!("{text}"));
            let want = Reference { repo: Repo(repo.into()), revision: revision.map(str::to_owned), part };
            assert_eq!(got, want, "{text}");
            assert_eq!(Reference::parse(&got.to_string()), Some(want), "{text}");
        };
        let file = |name: &str| Part::File(FileName::new(name).unwrap());
        let quant = |name: &str| Part::Quant(name.into());
        check("meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.2-1B", None, Part::Checkpoint);
        check("org/name@v1.0", "org/name", Some("v1.0"), Part::Checkpoint);
        check("org/name@refs/pr/3", "org/name", Some("refs/pr/3"), Part::Checkpoint);
        check("org/name:Q4_K_M", "org/name", None, quant("Q4_K_M"));
        check("org/name:UD-Q4_K_XL@main", "org/name", Some("main"), quant("UD-Q4_K_XL"));
        check("org/name@main:q8_0", "org/name", Some("main"), quant("q8_0"));
        check("org/name/a-Q8_0.gguf", "org/name", None, file("a-Q8_0.gguf"));
        check(
            "org/name/BF16/a-00001-of-00002.gguf@dev",
            "org/name",
            Some("dev"),
            file("BF16/a-00001-of-00002.gguf"),
        );
    }

    #[test]
    fn a_text_that_cannot_name_a_model_is_no_reference() {
        for text in [
            "model",
            "/meta-llama",
            "./model",
            "../x",
            "a/b/c",
            "a/",
            "/",
            "",
            "a--b/c",
            "a/b..c",
            ".a/b",
            "a/-b",
            "a/b@",
            "a/b:",
            "a/b@../x",
            "a/b@/x",
            "a/b@x y",
            "a/b/../x.gguf",
            "a/b//x.gguf",
            "a/b/x.gguf:Q8_0",
            "a/b:Q 8",
            "a/b/x\\y.gguf",
            "a/b/.gguf",
            "a b/c",
        ] {
            assert_eq!(Reference::parse(text), None, "{text}");
        }
    }

    #[test]
    fn file_names_stay_inside_their_folder() {
        let check = |name: &str, want: bool| assert_eq!(FileName::new(name).is_some(), want, "{name:?}");
        check("config.json", true);
        check("a/b/c.gguf", true);
        check("..a/b..", true);
        for name in ["", "/etc/passwd", "../x", "a/../b", "a/..", "./a", "a//b", "a/", "a\\b", "a\0b", "a\nb"]
        {
            check(name, false);
        }
        check(&"x".repeat(2000), false);
    }
}
