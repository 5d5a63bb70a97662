//! Lines of JSON that carry a digest of themselves: one that was cut or edited is not believed. And files of such
//! lines, which are read, begun again with what is believed, and added to.

use crate::{Error, write_atomically};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A file of lines, open at its end.
pub(crate) struct Sealed {
    path: PathBuf,
    file: File,
}

impl Sealed {
    /// What the file holds; none if there is no file. Bytes that are no text are replaced, so that nobody believes
    /// their lines.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub(crate) fn read(path: &Path) -> Result<Option<String>, Error> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Read { path: path.to_owned(), source }),
        }
    }

    /// Makes `text` all that the file holds, and opens it.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub(crate) fn begin(path: &Path, text: &str) -> Result<Sealed, Error> {
        write_atomically(path, text.as_bytes())?;
        Sealed::open(path)
    }

    /// Opens the file as it is, or an empty one.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub(crate) fn open(path: &Path) -> Result<Sealed, Error> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(|source| Error::Write { path: path.to_owned(), source })?;
        Ok(Sealed { path: path.to_owned(), file })
    }

    /// Adds lines, and sees them to the disk.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub(crate) fn append(&mut self, text: &str) -> Result<(), Error> {
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|source| Error::Write { path: self.path.clone(), source })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// A line: the entry under its name, and its digest.
pub(crate) fn line(entry: &impl Serialize, name: &str) -> String {
    let body = serde_json::to_string(entry).expect("plain data");
    format!("{{\"{name}\":{body},\"digest\":\"{}\"}}\n", digest(&body))
}

/// A line that is what its digest says. `T` has a field of the entry's name and `digest`.
pub(crate) fn parse<T: DeserializeOwned + Serialize>(text: &str) -> Option<T> {
    let entry: T = serde_json::from_str(text).ok()?;
    let Value::Object(fields) = serde_json::from_str(text).ok()? else { return None };
    let (name, said) = (fields.keys().find(|it| *it != "digest")?, fields.get("digest")?.as_str()?);
    // Numbers are written as they are read, so the entry's own text is the text that was digested.
    let again = serde_json::to_string(&entry).ok()?;
    let body = again.strip_prefix(&format!(r#"{{"{name}":"#))?.rsplit_once(r#","digest":"#)?.0;
    (digest(body) == said && again == text).then_some(entry)
}

/// The first field in which what was found is not what is wanted, in words.
pub(crate) fn difference(found: &impl Serialize, wanted: &impl Serialize) -> Option<String> {
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
    Sha256::digest(body.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
