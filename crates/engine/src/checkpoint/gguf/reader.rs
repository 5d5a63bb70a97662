//! A cursor over the header of a GGUF file that never reads past its end.

use crate::error::Error;
use std::fmt::Display;
use std::path::Path;

/// Reads little-endian fields one after another. Every error names the field that was being read.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    path: &'a Path,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], path: &'a Path) -> Reader<'a> {
        Reader { bytes, at: 0, path }
    }

    /// Returns the number of bytes read so far.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn error(&self, field: impl Display, what: impl Display) -> Error {
        Error::malformed(self.path, format!("{field} {what}"))
    }

    /// Takes the next `n` bytes.
    pub(super) fn take(&mut self, n: u64, field: impl Display) -> Result<&'a [u8], Error> {
        let left = self.bytes.len() - self.at;
        let fits = usize::try_from(n).ok().filter(|n| *n <= left);
        let n = fits.ok_or_else(|| {
            let what = format!("takes {n} bytes at byte {}, but the file ends {left} bytes later", self.at);
            self.error(field, what)
        })?;
        self.at += n;
        Ok(&self.bytes[self.at - n..self.at])
    }

    pub(super) fn u32(&mut self, field: impl Display) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.take(4, field)?.try_into().expect("four bytes")))
    }

    pub(super) fn u64(&mut self, field: impl Display) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.take(8, field)?.try_into().expect("eight bytes")))
    }

    /// Reads a string: its length in bytes, then the bytes.
    pub(super) fn string(&mut self, field: impl Display) -> Result<&'a [u8], Error> {
        let len = self.u64(&field)?;
        self.take(len, field)
    }

    /// Reads a string that has to be text, because it is looked up.
    pub(super) fn name(&mut self, field: impl Display) -> Result<&'a str, Error> {
        let bytes = self.string(&field)?;
        std::str::from_utf8(bytes).map_err(|_| self.error(field, "is not UTF-8"))
    }

    /// Reads how many things follow, each at least `least` bytes long. The number is at most what the rest of the
    /// file can hold, so that nothing is ever sized after a number that lies.
    pub(super) fn count(&mut self, least: usize, field: impl Display) -> Result<usize, Error> {
        let n = self.u64(&field)?;
        let most = (self.bytes.len() - self.at) / least;
        match usize::try_from(n) {
            Ok(n) if n <= most => Ok(n),
            _ => Err(self.error(field, format!("is {n}, but the rest of the file has room for {most}"))),
        }
    }
}
