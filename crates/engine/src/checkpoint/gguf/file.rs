//! The container: a header that is read and checked, and the tensors' bytes where they lie.

use super::ggml_type::GgmlType;
use super::metadata::{Metadata, SMALLEST_ENTRY};
use super::reader::Reader;
use crate::checkpoint::facts::TextFacts;
use crate::error::Error;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use whipstaff_kernels::{Bytes, Dtype};

/// The first bytes of every GGUF file.
pub(super) const MAGIC: &[u8] = b"GGUF";

/// Where nothing else is said, tensors start at multiples of this many bytes.
pub(super) const DEFAULT_ALIGNMENT: u64 = 32;

/// Bytes of the smallest tensor entry: an empty name, no dimensions, a type and an offset.
const SMALLEST_TENSOR: usize = 8 + 4 + 4 + 8;

/// The most dimensions that a tensor may have.
const MAX_DIMENSIONS: u32 = 4;

/// A GGUF file, or several that are one model, whose headers have been read and found whole.
pub struct Gguf {
    /// The file, or the first.
    pub(super) path: PathBuf,
    pub(super) parts: Vec<(PathBuf, Bytes)>,
    pub(super) metadata: Metadata,
    pub(super) tensors: BTreeMap<String, TensorInfo>,
}

/// One tensor of the model.
pub(super) struct TensorInfo {
    /// The file that it is in, as an index.
    pub(super) part: usize,
    /// The type, or the name of one that cannot be computed with.
    pub(super) dtype: Result<Dtype, String>,
    /// Row-major, the innermost dimension last: the file has them the other way round.
    pub(super) shape: Vec<usize>,
    /// Its bytes in the file; empty if the type is not even known.
    pub(super) range: Range<usize>,
}

impl Gguf {
    /// Returns the text of a key, or `None` if there is no such key.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a value of another type; so for the others.
    pub fn text(&self, key: &str) -> Result<Option<&str>, Error> {
        self.metadata.text(key)
    }

    /// Returns the whole number, not negative, of a key.
    ///
    /// # Errors
    /// As for [`Gguf::text`].
    pub fn whole(&self, key: &str) -> Result<Option<u64>, Error> {
        self.metadata.whole(key)
    }

    /// Returns the list of numbers of a key.
    ///
    /// # Errors
    /// As for [`Gguf::text`].
    pub fn numbers(&self, key: &str) -> Result<Option<Vec<f64>>, Error> {
        self.metadata.numbers(key)
    }

    /// Returns the names of all tensors.
    pub fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Returns the numbers of a tensor of one dimension and type F32.
    ///
    /// # Errors
    /// [`Error::Malformed`] for any other.
    pub fn vector(&self, name: &str) -> Result<Vec<f32>, Error> {
        let wrong = |what: String| Error::malformed(&self.path, format!("tensor `{name}` {what}"));
        let tensor = self.tensors.get(name).ok_or_else(|| wrong("is missing".into()))?;
        match (&tensor.dtype, &tensor.shape[..]) {
            (Ok(Dtype::F32), [_]) => {
                let numbers = self.bytes_of(tensor)[tensor.range.clone()].chunks_exact(4);
                Ok(numbers.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
            }
            (dtype, shape) => {
                let dtype = dtype.as_ref().map_or_else(|other| other.as_str(), |dtype| dtype.name());
                Err(wrong(format!("is {dtype} {shape:?}, expected F32 with one dimension")))
            }
        }
    }

    /// Maps a file by itself, be it a part or not.
    pub(super) fn open_one(path: &Path) -> Result<Gguf, Error> {
        let bytes = Bytes::map(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Gguf::read(bytes, path)
    }

    /// Reads the header of a file of which only the beginning is at hand. Tensors that lie beyond it have
    /// shapes and types, but must not be asked for their elements.
    pub(super) fn of_beginning(bytes: Vec<u8>, path: &Path) -> Result<Gguf, Error> {
        Gguf::read_of(Bytes::from(bytes), u64::MAX, path)
    }

    pub(super) fn read(bytes: Bytes, path: &Path) -> Result<Gguf, Error> {
        let file_len = bytes.len() as u64;
        Gguf::read_of(bytes, file_len, path)
    }

    /// Reads the header of a file of so many bytes.
    fn read_of(bytes: Bytes, file_len: u64, path: &Path) -> Result<Gguf, Error> {
        let mut reader = Reader::new(&bytes, path);
        check_magic(&mut reader, path)?;
        let n_tensors = reader.count(SMALLEST_TENSOR, "tensor_count")?;
        let n_entries = reader.count(SMALLEST_ENTRY, "metadata_kv_count")?;
        let metadata = Metadata::read(&mut reader, n_entries, path, &bytes)?;
        let alignment = alignment(&metadata)?;
        let mut entries = BTreeMap::new();
        for i in 0..n_tensors {
            let name = reader.name(format_args!("the name of tensor {i}"))?;
            let entry = TensorEntry::read(&mut reader, name, alignment)?;
            if entries.insert(name.to_owned(), entry).is_some() {
                return Err(reader.error(format_args!("tensor `{name}`"), "is there twice"));
            }
        }
        let tensors = place(entries, &reader, alignment, file_len)?;
        Ok(Gguf { path: path.to_owned(), parts: vec![(path.to_owned(), bytes)], metadata, tensors })
    }

    /// Returns the file that a tensor is in.
    pub(super) fn bytes_of(&self, tensor: &TensorInfo) -> &Bytes {
        &self.parts[tensor.part].1
    }

    /// Tells whether there are a tokenizer and a chat template. Most of the header is the tokenizer's.
    pub(crate) fn about_texts(&self) -> Result<TextFacts, Error> {
        let has = |key: &str| self.metadata.text(key).map(|it| it.is_some());
        let in_first = self.tensors.values().filter(|tensor| tensor.part == 0);
        let header = in_first.map(|tensor| tensor.range.start).min().unwrap_or(self.parts[0].1.len());
        Ok(TextFacts {
            has_tokenizer: has("tokenizer.ggml.model")?,
            has_chat_template: has("tokenizer.chat_template")?,
            tokenizer_file: header as u64,
        })
    }
}

fn check_magic(reader: &mut Reader, path: &Path) -> Result<(), Error> {
    if reader.take(4, "the magic word").ok() != Some(MAGIC) {
        let what = "is not a GGUF file: a model is a .gguf file or a Hugging Face directory";
        return Err(Error::malformed(path, what));
    }
    let field = "the version";
    match reader.u32(field)? {
        2 | 3 => Ok(()),
        1 => Err(reader.error(field, "is 1, which is too old (supported: 2, 3); convert the model again")),
        version if version.swap_bytes() <= 3 => {
            Err(reader.error(field, "is in big-endian order, which is not supported"))
        }
        version => {
            Err(reader.error(field, format!("is {version}, which is not supported (supported: 2, 3)")))
        }
    }
}

fn alignment(metadata: &Metadata) -> Result<u64, Error> {
    let key = "general.alignment";
    let alignment = metadata.whole(key)?.unwrap_or(DEFAULT_ALIGNMENT);
    if alignment.is_power_of_two() {
        Ok(alignment)
    } else {
        Err(metadata.error(key, format!("is {alignment}, which is not a power of two")))
    }
}

/// A tensor as the header has it, its size computed.
struct TensorEntry {
    dtype: Result<Dtype, String>,
    shape: Vec<usize>,
    offset: u64,
    /// Unknown, if the type is.
    n_bytes: Option<u64>,
}

impl TensorEntry {
    /// Reads what follows the name.
    pub(super) fn read(reader: &mut Reader, name: &str, alignment: u64) -> Result<TensorEntry, Error> {
        let field = format_args!("tensor `{name}`");
        let n_dimensions = reader.u32(format_args!("the number of dimensions of tensor `{name}`"))?;
        if n_dimensions > MAX_DIMENSIONS {
            let what = format!("has {n_dimensions} dimensions, more than {MAX_DIMENSIONS}");
            return Err(reader.error(field, what));
        }
        let mut shape = Vec::new();
        for _ in 0..n_dimensions {
            let n = reader.u64(format_args!("the shape of tensor `{name}`"))?;
            match usize::try_from(n) {
                Ok(n) if n > 0 => shape.push(n),
                _ => return Err(reader.error(field, format!("has a dimension of {n}"))),
            }
        }
        let id = reader.u32(format_args!("the type of tensor `{name}`"))?;
        let offset = reader.u64(format_args!("the offset of tensor `{name}`"))?;
        if !offset.is_multiple_of(alignment) {
            let what = format!("has the offset {offset}, which is not a multiple of {alignment}");
            return Err(reader.error(field, what));
        }
        let n_elements = shape.iter().try_fold(1usize, |n, dimension| n.checked_mul(*dimension));
        let n_elements = n_elements.filter(|n| i64::try_from(*n).is_ok()).ok_or_else(|| {
            reader.error(field, format!("has the shape {shape:?}, more elements than can be counted"))
        })?;
        let Some(kind) = GgmlType::from_id(id) else {
            shape.reverse();
            return Ok(TensorEntry { dtype: Err(format!("ggml type {id}")), shape, offset, n_bytes: None });
        };
        let row = shape.first().copied().unwrap_or(1);
        if !row.is_multiple_of(kind.block_len) {
            let what = format!("is {} with rows of {row}, not whole blocks of {}", kind.name, kind.block_len);
            return Err(reader.error(field, what));
        }
        let n_bytes = (n_elements / kind.block_len).checked_mul(kind.block_bytes);
        let n_bytes = n_bytes.ok_or_else(|| {
            reader.error(field, format!("has the shape {shape:?}, more bytes than can be counted"))
        })?;
        shape.reverse();
        let dtype = kind.dtype().ok_or_else(|| kind.name.to_owned());
        Ok(TensorEntry { dtype, shape, offset, n_bytes: Some(n_bytes as u64) })
    }
}

/// Finds the bytes of every tensor: offsets count from the end of the header, aligned.
fn place(
    entries: BTreeMap<String, TensorEntry>,
    reader: &Reader,
    alignment: u64,
    file_len: u64,
) -> Result<BTreeMap<String, TensorInfo>, Error> {
    let data = (reader.at() as u64).checked_next_multiple_of(alignment);
    let mut tensors = BTreeMap::new();
    for (name, entry) in entries {
        let start = data.and_then(|data| data.checked_add(entry.offset));
        let end = start.and_then(|start| start.checked_add(entry.n_bytes.unwrap_or(0)));
        let (Some(start), Some(end)) = (start, end.filter(|end| *end <= file_len)) else {
            let what = match end {
                Some(end) => {
                    format!("ends at byte {end}, but the file at {file_len}; it may be cut off: get it again")
                }
                None => format!("has the offset {}, beyond any file", entry.offset),
            };
            return Err(reader.error(format_args!("tensor `{name}`"), what));
        };
        let (dtype, shape) = (entry.dtype, entry.shape);
        tensors.insert(name, TensorInfo { part: 0, dtype, shape, range: start as usize..end as usize });
    }
    refuse_overlaps(&tensors, reader)?;
    Ok(tensors)
}

/// Refuses tensors that share bytes. No writer makes them, so such a header is damaged.
fn refuse_overlaps(tensors: &BTreeMap<String, TensorInfo>, reader: &Reader) -> Result<(), Error> {
    let mut in_order: Vec<_> = tensors.iter().filter(|(_, tensor)| !tensor.range.is_empty()).collect();
    in_order.sort_by_key(|(_, tensor)| tensor.range.start);
    match in_order.windows(2).find(|pair| pair[1].1.range.start < pair[0].1.range.end) {
        Some(pair) => {
            let (first, second) = (pair[0].0, pair[1].0);
            Err(reader.error(format_args!("tensor `{second}`"), format!("overlaps tensor `{first}`")))
        }
        None => Ok(()),
    }
}
