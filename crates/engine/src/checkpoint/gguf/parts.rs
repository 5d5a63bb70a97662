//! Models in several files, as llama.cpp's `gguf-split` cuts them: `NAME-00001-of-00003.gguf` and so on.
//!
//! Each part is a whole GGUF file of some of the tensors. Its metadata says which part it is (`split.no`, from 0)
//! of how many (`split.count`), and how many tensors all have together (`split.tensors.count`); what else there
//! is to say of the model is in the first alone.

use super::file::Gguf;
use crate::error::Error;
use std::path::{Path, PathBuf};
use whipstaff_kernels::Bytes;

const COUNT: &str = "split.count";
const NUMBER: &str = "split.no";
const TENSORS: &str = "split.tensors.count";

impl Gguf {
    /// Maps a file and reads its header; of a part of a model, those of all parts, which lie in one folder.
    ///
    /// # Errors
    /// [`Error::Read`], or [`Error::Malformed`] naming the field or the part.
    pub fn open(path: &Path) -> Result<Gguf, Error> {
        Gguf::open_one(path)?.with_other_parts()
    }

    /// Reads the header of a file that is at hand as bytes; `path` names it in errors.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming the field; for a part of a model too.
    pub fn from_bytes(bytes: Vec<u8>, path: &Path) -> Result<Gguf, Error> {
        Gguf::parse(Bytes::from(bytes), path)
    }

    /// Reads the header of bytes that are mapped or shared.
    pub(crate) fn parse(bytes: Bytes, path: &Path) -> Result<Gguf, Error> {
        let file = Gguf::read(bytes, path)?;
        match file.n_parts()? {
            1 => Ok(file),
            n => {
                let what = format!("is {n}: the file is one part of a model; merge the parts first");
                Err(file.metadata.error("split.count", what))
            }
        }
    }

    /// Returns how many files the model is in.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a count that is no number.
    pub(super) fn n_parts(&self) -> Result<u64, Error> {
        Ok(self.metadata.whole(COUNT)?.unwrap_or(1).max(1))
    }

    /// Returns the whole model, if this is a part of one. The other parts are looked for beside it, by their names.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming the part that is missing, or that does not belong to the others.
    pub(super) fn with_other_parts(self) -> Result<Gguf, Error> {
        let n = self.n_parts()?;
        if n == 1 {
            return Ok(self);
        }
        let number = self.number(n)?;
        let paths = paths(&self, number, n)?;
        let mut parts = Vec::new();
        for (i, path) in (0..).zip(&paths) {
            let part = Gguf::open_one(path)?;
            if part.n_parts()? != n {
                let what =
                    format!("is {}, but `{}` is one of {n} parts", part.n_parts()?, name_of(&self.path));
                return Err(part.metadata.error(COUNT, what));
            }
            if part.number(n)? != i {
                let what = format!("is {}, but by its name the file is part {i}", part.number(n)?);
                return Err(part.metadata.error(NUMBER, what));
            }
            parts.push(part);
        }
        join(parts)
    }

    /// Returns which part of `n` the file is, from 0.
    fn number(&self, n: u64) -> Result<u64, Error> {
        let number = self.metadata.whole(NUMBER)?.ok_or_else(|| self.metadata.missing(NUMBER))?;
        if number < n {
            Ok(number)
        } else {
            Err(self.metadata.error(NUMBER, format!("is {number}, but `{COUNT}` is {n}")))
        }
    }
}

/// Returns the paths of all parts, after a check that they are there.
fn paths(part: &Gguf, number: u64, n: u64) -> Result<Vec<PathBuf>, Error> {
    let ending = |number: u64| format!("-{:05}-of-{n:05}.gguf", number + 1);
    let wrong = |what: String| Error::malformed(&part.path, what);
    let name = name_of(&part.path);
    let Some(stem) = name.strip_suffix(&ending(number)) else {
        let ending = ending(number);
        return Err(wrong(format!(
            "is part {} of {n}, so its name has to end in `{ending}`: give all parts the names that they came with",
            number + 1
        )));
    };
    // Most counts that are wrong are far too large: nothing is sized after them before the files are there.
    let mut paths = Vec::new();
    for other in 0..n {
        let path = part.path.with_file_name(format!("{stem}{}", ending(other)));
        if !path.is_file() {
            return Err(wrong(format!(
                "is part {} of {n}, but `{}` is missing: put all parts into one folder",
                number + 1,
                name_of(&path)
            )));
        }
        paths.push(path);
    }
    Ok(paths)
}

/// Makes one model of its parts, which are in order.
fn join(parts: Vec<Gguf>) -> Result<Gguf, Error> {
    let mut parts = parts.into_iter();
    let mut whole = parts.next().expect("a model has a first part");
    for part in parts {
        let number = whole.parts.len();
        for (name, mut tensor) in part.tensors {
            tensor.part = number;
            if let Some(first) = whole.tensors.insert(name.clone(), tensor) {
                let first = name_of(&whole.parts[first.part].0);
                let what = format!("tensor `{name}` is also in `{first}`: the parts are not of one model");
                return Err(Error::malformed(&part.path, what));
            }
        }
        whole.parts.extend(part.parts);
    }
    match whole.metadata.whole(TENSORS)? {
        Some(n) if n != whole.tensors.len() as u64 => {
            let what = format!("is {n}, but the parts have {} tensors together", whole.tensors.len());
            Err(whole.metadata.error(TENSORS, what))
        }
        _ => Ok(whole),
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
