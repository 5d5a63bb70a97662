//! The metadata of a GGUF file: keys with typed values, left where they lie until they are asked for.

use super::reader::Reader;
use crate::error::Error;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use whipstaff_kernels::Bytes;

/// The types of single values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
    Bool,
    String,
}

/// What the header calls an array.
const ARRAY: u32 = 9;

impl Kind {
    fn from_id(id: u32) -> Option<Kind> {
        Some(match id {
            0 => Kind::U8,
            1 => Kind::I8,
            2 => Kind::U16,
            3 => Kind::I16,
            4 => Kind::U32,
            5 => Kind::I32,
            6 => Kind::F32,
            7 => Kind::Bool,
            8 => Kind::String,
            10 => Kind::U64,
            11 => Kind::I64,
            12 => Kind::F64,
            _ => return None,
        })
    }

    /// Returns the bytes of a value; for a string, the bytes of its length, the least that it can have.
    fn size(self) -> usize {
        match self {
            Kind::U8 | Kind::I8 | Kind::Bool => 1,
            Kind::U16 | Kind::I16 => 2,
            Kind::U32 | Kind::I32 | Kind::F32 => 4,
            Kind::U64 | Kind::I64 | Kind::F64 | Kind::String => 8,
        }
    }
}

/// Where a value is, and what.
struct Entry {
    kind: Kind,
    /// For an array, how many values of `kind` follow each other.
    len: Option<usize>,
    at: usize,
}

/// Keys and values. The accessors return `None` for a key that is not there, and an error that
/// names the key for a value of another type.
pub(crate) struct Metadata {
    path: PathBuf,
    bytes: Bytes,
    entries: BTreeMap<String, Entry>,
}

/// Bytes of the smallest entry: an empty key, a type, a value of one byte.
pub(super) const SMALLEST_ENTRY: usize = 8 + 4 + 1;

impl Metadata {
    /// Reads `n` entries.
    pub(super) fn read(reader: &mut Reader, n: usize, path: &Path, bytes: &Bytes) -> Result<Metadata, Error> {
        let mut entries = BTreeMap::new();
        for i in 0..n {
            let key = reader.name(format_args!("the key of metadata entry {i}"))?;
            let entry = read_entry(reader, key)?;
            if entries.insert(key.to_owned(), entry).is_some() {
                return Err(reader.error(format_args!("metadata key `{key}`"), "is there twice"));
            }
        }
        Ok(Metadata { path: path.to_owned(), bytes: bytes.clone(), entries })
    }

    pub(crate) fn error(&self, key: &str, what: impl Display) -> Error {
        Error::malformed(&self.path, format!("`{key}` {what}"))
    }

    pub(crate) fn missing(&self, key: &str) -> Error {
        self.error(key, "is missing")
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Returns a whole number that is not negative, of any integer type.
    pub(crate) fn whole(&self, key: &str) -> Result<Option<u64>, Error> {
        let what = "is not a whole number of at least 0";
        self.single(key, what, |kind, bytes| u64::try_from(integer(kind, bytes)?).ok())
    }

    /// Returns a number of any type.
    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, Error> {
        self.single(key, "is not a number", number)
    }

    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, Error> {
        self.single(key, "is neither true nor false", flag)
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>, Error> {
        self.single(key, "is not text in UTF-8", text)
    }

    /// Returns a list of texts, in place.
    pub(crate) fn texts(&self, key: &str) -> Result<Option<Vec<&str>>, Error> {
        self.list(key, "is not a list of texts in UTF-8", text)
    }

    /// Returns a list of numbers of any type.
    pub(crate) fn numbers(&self, key: &str) -> Result<Option<Vec<f64>>, Error> {
        self.list(key, "is not a list of numbers", number)
    }

    /// Returns one whole number, or a list of whole numbers, as a list.
    pub(crate) fn wholes(&self, key: &str) -> Result<Option<Vec<u64>>, Error> {
        if self.entries.get(key).is_some_and(|entry| entry.len.is_none()) {
            return Ok(self.whole(key)?.map(|n| vec![n]));
        }
        let whole = |kind, bytes: &[u8]| u64::try_from(integer(kind, bytes)?).ok();
        self.list(key, "is not a list of whole numbers of at least 0", whole)
    }

    /// Returns a value as a number, flags as 0 and 1.
    pub(crate) fn number_or_flag(&self, key: &str) -> Result<Option<f64>, Error> {
        let what = "is neither a number nor a flag";
        self.single(key, what, |kind, bytes| {
            number(kind, bytes).or_else(|| flag(kind, bytes).map(|flag| f64::from(u8::from(flag))))
        })
    }

    fn single<'a, T>(
        &'a self,
        key: &str,
        what: &str,
        read: impl Fn(Kind, &'a [u8]) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let Some(entry) = self.entries.get(key) else { return Ok(None) };
        let value = match entry.len {
            None => read(entry.kind, self.value_at(entry.kind, &mut entry.at.clone())),
            Some(_) => None,
        };
        value.map(Some).ok_or_else(|| self.error(key, what))
    }

    fn list<'a, T>(
        &'a self,
        key: &str,
        what: &str,
        read: impl Fn(Kind, &'a [u8]) -> Option<T>,
    ) -> Result<Option<Vec<T>>, Error> {
        let Some(entry) = self.entries.get(key) else { return Ok(None) };
        let len = entry.len.ok_or_else(|| self.error(key, what))?;
        let mut at = entry.at;
        let values = (0..len).map(|_| read(entry.kind, self.value_at(entry.kind, &mut at)));
        values.collect::<Option<Vec<T>>>().map(Some).ok_or_else(|| self.error(key, what))
    }

    /// Returns the bytes of the value at `at`, which [`Metadata::read`] has found to be whole, and moves on to the
    /// next.
    fn value_at(&self, kind: Kind, at: &mut usize) -> &[u8] {
        let mut len = kind.size();
        if kind == Kind::String {
            let field: [u8; 8] = self.bytes[*at..*at + 8].try_into().expect("eight bytes");
            *at += 8;
            len = u64::from_le_bytes(field) as usize;
        }
        *at += len;
        &self.bytes[*at - len..*at]
    }
}

/// Reads the type of the value of `key`, and walks over the value.
fn read_entry(reader: &mut Reader, key: &str) -> Result<Entry, Error> {
    let field = format_args!("`{key}`");
    let kind = |reader: &Reader, id| {
        Kind::from_id(id).ok_or_else(|| reader.error(field, format!("has values of the unknown type {id}")))
    };
    let mut id = reader.u32(format_args!("the type of `{key}`"))?;
    let mut len = None;
    if id == ARRAY {
        id = reader.u32(format_args!("the element type of `{key}`"))?;
        if id == ARRAY {
            return Err(reader.error(field, "is a list of lists, which is not supported"));
        }
        let least = kind(reader, id)?.size();
        len = Some(reader.count(least, format_args!("the length of `{key}`"))?);
    }
    let kind = kind(reader, id)?;
    let at = reader.at();
    match kind {
        Kind::String => (0..len.unwrap_or(1)).try_for_each(|_| reader.string(field).map(drop))?,
        // The product cannot overflow: `count` has compared it with the length of the file.
        _ => drop(reader.take((kind.size() * len.unwrap_or(1)) as u64, field)?),
    }
    Ok(Entry { kind, len, at })
}

fn integer(kind: Kind, bytes: &[u8]) -> Option<i128> {
    Some(match kind {
        Kind::U8 => u8::from_le_bytes(bytes.try_into().ok()?).into(),
        Kind::I8 => i8::from_le_bytes(bytes.try_into().ok()?).into(),
        Kind::U16 => u16::from_le_bytes(bytes.try_into().ok()?).into(),
        Kind::I16 => i16::from_le_bytes(bytes.try_into().ok()?).into(),
        Kind::U32 => u32::from_le_bytes(bytes.try_into().ok()?).into(),
        Kind::I32 => i32::from_le_bytes(bytes.try_into().ok()?).into(),
        Kind::U64 => u64::from_le_bytes(bytes.try_into().ok()?).into(),
        Kind::I64 => i64::from_le_bytes(bytes.try_into().ok()?).into(),
        _ => return None,
    })
}

fn number(kind: Kind, bytes: &[u8]) -> Option<f64> {
    match kind {
        Kind::F32 => Some(f32::from_le_bytes(bytes.try_into().ok()?).into()),
        Kind::F64 => Some(f64::from_le_bytes(bytes.try_into().ok()?)),
        _ => integer(kind, bytes).map(|n| n as f64),
    }
}

fn flag(kind: Kind, bytes: &[u8]) -> Option<bool> {
    match (kind, bytes) {
        (Kind::Bool, [0]) => Some(false),
        (Kind::Bool, [1]) => Some(true),
        _ => None,
    }
}

fn text(kind: Kind, bytes: &[u8]) -> Option<&str> {
    if kind == Kind::String { std::str::from_utf8(bytes).ok() } else { None }
}
