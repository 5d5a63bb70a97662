//! Lines of JSON that carry their own digest, and files of such lines: a line that was cut or edited is not
//! believed.

use crate::atomic::write_atomically;
use crate::digest::{hex, sha256};
use crate::error::Error;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A file of sealed lines, open at its end.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use whipstaff_disk::{Sealed, line, parse};
///
/// #[derive(Serialize, Deserialize)]
/// struct Line {
///     score: f64,
///     digest: String,
/// }
///
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("scores.jsonl");
/// let mut file = Sealed::open(&path)?;
/// file.append(&line(&0.5, "score"))?;
/// file.append(&line(&0.7, "score").replace("0.7", "0.9"))?; // edited: not believed
///
/// let text = Sealed::read(&path)?.unwrap();
/// let scores: Vec<f64> = text.lines().filter_map(parse::<Line>).map(|line| line.score).collect();
/// assert_eq!(scores, [0.5]);
/// # Ok::<(), whipstaff_disk::Error>(())
/// ```
#[derive(Debug)]
pub struct Sealed {
    path: PathBuf,
    file: File,
}

impl Sealed {
    /// Returns the text of a file; `None` if there is no file. Bytes that are no text are replaced, so that nobody
    /// believes their lines.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Read`].
    pub fn read(path: &Path) -> Result<Option<String>, Error> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::read(path, source)),
        }
    }

    /// Makes `text` all that the file holds, and opens the file.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Write`].
    pub fn begin(path: &Path, text: &str) -> Result<Sealed, Error> {
        write_atomically(path, text.as_bytes())?;
        Sealed::open(path)
    }

    /// Opens the file as it is, or begins an empty one.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Write`].
    pub fn open(path: &Path) -> Result<Sealed, Error> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(|source| Error::write(path, source))?;
        Ok(Sealed { path: path.to_owned(), file })
    }

    /// Adds lines and flushes them to the disk.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Write`].
    pub fn append(&mut self, text: &str) -> Result<(), Error> {
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|source| Error::write(&self.path, source))
    }

    /// Returns the path that the file was opened under.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Returns a sealed line: the entry under its name, and its digest.
///
/// # Panics
///
/// Panics if the entry cannot be written as JSON, such as a map whose keys are no strings.
pub fn line(entry: &impl Serialize, name: &str) -> String {
    let body = serde_json::to_string(entry).expect("plain data");
    format!("{{\"{name}\":{body},\"digest\":\"{}\"}}\n", digest(&body))
}

/// Reads a sealed line; `None` if the line is not what its digest says. `T` has one field of the entry's name and a
/// field `digest`.
pub fn parse<T: DeserializeOwned + Serialize>(text: &str) -> Option<T> {
    let entry: T = serde_json::from_str(text).ok()?;
    let Value::Object(fields) = serde_json::from_str(text).ok()? else { return None };
    let (name, said) = (fields.keys().find(|it| *it != "digest")?, fields.get("digest")?.as_str()?);
    // Numbers are written as they are read, so the entry's own text is the text that was digested.
    let again = serde_json::to_string(&entry).ok()?;
    let body = again.strip_prefix(&format!(r#"{{"{name}":"#))?.rsplit_once(r#","digest":"#)?.0;
    (digest(body) == said && again == text).then_some(entry)
}

/// Says in words which is the first field in which `found` differs from `wanted`; `None` if they are equal.
///
/// # Panics
///
/// Panics if one of the two is no struct.
pub fn difference(found: &impl Serialize, wanted: &impl Serialize) -> Option<String> {
    let (found, wanted) = (fields(found), fields(wanted));
    let (name, value) = wanted.iter().find(|(name, value)| found.get(*name) != Some(value))?;
    Some(format!("its `{name}` is {}, this one's is {value}", found.get(name).unwrap_or(&Value::Null)))
}

fn fields(of: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(of).expect("plain data") {
        Value::Object(fields) => fields,
        _ => unreachable!("a struct is an object"),
    }
}

fn digest(body: &str) -> String {
    hex(&sha256(body.as_bytes())[..8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Line {
        entry: Entry,
        digest: String,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Entry {
        name: String,
        x: f64,
    }

    fn entry() -> Entry {
        Entry { name: "a \"b\"".into(), x: 0.1 + 0.2 }
    }

    #[test]
    fn a_line_is_believed_as_it_was_written_and_in_no_other_way() {
        let whole = line(&entry(), "entry");
        let check = |text: &str, believed: bool| {
            assert_eq!(parse::<Line>(text.trim_end()).map(|it| it.entry), believed.then(entry), "{text}");
        };
        check(&whole, true);
        check(&whole.replace("0.3", "0.4"), false);
        check(&whole[..whole.len() - 4], false);
        check(&whole.replace(':', ": "), false);
        check(&whole.replace("entry", "cell"), false);
        check("", false);
    }

    #[test]
    fn a_file_is_begun_again_with_what_is_believed_and_added_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.jsonl");
        assert_eq!(Sealed::read(&path).unwrap(), None);
        let mut file = Sealed::begin(&path, "one\n").unwrap();
        file.append("two\n").unwrap();
        Sealed::open(file.path()).unwrap().append("three\n").unwrap();
        assert_eq!(Sealed::read(&path).unwrap().unwrap(), "one\ntwo\nthree\n");
        std::fs::write(&path, b"\xff\n").unwrap();
        assert_eq!(Sealed::read(&path).unwrap().unwrap(), "\u{fffd}\n");
    }

    #[test]
    fn the_first_difference_is_told_in_words() {
        let other = Entry { x: 2.0, ..entry() };
        assert_eq!(difference(&entry(), &entry()), None);
        assert_eq!(
            difference(&entry(), &other).unwrap(),
            "its `x` is 0.30000000000000004, this one's is 2.0"
        );
    }
}
