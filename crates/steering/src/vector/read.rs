//! Reading a vector from a file of any kind.

use super::control::{Convention, read_control};
use super::persona::PersonaVector;
use super::unit::Unit;
use crate::error::Error;
use std::path::Path;
use whipstaff_engine::Gguf;

impl PersonaVector {
    /// Reads a vector file, or a control vector whose layers are counted as llama.cpp applies them, and checks the
    /// version, the shapes and every number.
    ///
    /// # Errors
    /// [`Error::Read`], or [`Error::File`], which says what is wrong.
    pub fn read(path: &Path) -> Result<PersonaVector, Error> {
        Ok(PersonaVector::read_from(path, Convention::default())?.0)
    }

    /// Reads a vector file or a control vector, and returns it with the unit of the file's own coefficients.
    ///
    /// # Errors
    /// [`Error::Read`], or [`Error::File`], which says what is wrong.
    pub fn read_from(path: &Path, from: Convention) -> Result<(PersonaVector, Unit), Error> {
        let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let fail = |reason| Error::File { path: path.to_owned(), reason };
        if bytes.starts_with(b"GGUF") {
            return read_control(&Gguf::from_bytes(bytes, path)?, path, from).map_err(fail);
        }
        if from != Convention::default() {
            return Err(fail("is no control vector: how others count its layers makes no difference".into()));
        }
        let vector = PersonaVector::from_bytes(&bytes).map_err(fail)?;
        let unit = if vector.is_foreign() { Unit::Unit } else { Unit::Gap };
        Ok((vector, unit))
    }
}
