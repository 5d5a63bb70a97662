//! Writes GGUF files: metadata of every type, tensors, alignment.
//!
//! The layout is the one that `file.rs` reads, version 3, little-endian. Equal content gives equal
//! bytes, those of the `gguf` package of Python for the same keys and tensors in the same order.

use super::file::{DEFAULT_ALIGNMENT, MAGIC};
use super::ggml_type::GgmlType;
use std::borrow::Cow;
use std::io::{self, Write};
use whipstaff_kernels::Dtype;

const VERSION: u32 = 3;

/// A value of metadata.
#[derive(Clone, Debug, PartialEq)]
pub enum GgufValue {
    /// 8 bits, not negative.
    U8(u8),
    /// 8 bits.
    I8(i8),
    /// 16 bits, not negative.
    U16(u16),
    /// 16 bits.
    I16(i16),
    /// 32 bits, not negative.
    U32(u32),
    /// 32 bits.
    I32(i32),
    /// 64 bits, not negative.
    U64(u64),
    /// 64 bits.
    I64(i64),
    /// A float of 32 bits.
    F32(f32),
    /// A float of 64 bits.
    F64(f64),
    /// A flag.
    Bool(bool),
    /// Text.
    Text(String),
    /// Values of one type, none of them a list. An empty one counts as a list of texts.
    List(Vec<GgufValue>),
}

impl GgufValue {
    /// Returns the number by which a header names the type.
    fn id(&self) -> u32 {
        match self {
            GgufValue::U8(_) => 0,
            GgufValue::I8(_) => 1,
            GgufValue::U16(_) => 2,
            GgufValue::I16(_) => 3,
            GgufValue::U32(_) => 4,
            GgufValue::I32(_) => 5,
            GgufValue::F32(_) => 6,
            GgufValue::Bool(_) => 7,
            GgufValue::Text(_) => 8,
            GgufValue::List(_) => 9,
            GgufValue::U64(_) => 10,
            GgufValue::I64(_) => 11,
            GgufValue::F64(_) => 12,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            GgufValue::U8(x) => out.push(*x),
            GgufValue::I8(x) => out.extend(x.to_le_bytes()),
            GgufValue::U16(x) => out.extend(x.to_le_bytes()),
            GgufValue::I16(x) => out.extend(x.to_le_bytes()),
            GgufValue::U32(x) => out.extend(x.to_le_bytes()),
            GgufValue::I32(x) => out.extend(x.to_le_bytes()),
            GgufValue::U64(x) => out.extend(x.to_le_bytes()),
            GgufValue::I64(x) => out.extend(x.to_le_bytes()),
            GgufValue::F32(x) => out.extend(x.to_le_bytes()),
            GgufValue::F64(x) => out.extend(x.to_le_bytes()),
            GgufValue::Bool(x) => out.push(u8::from(*x)),
            GgufValue::Text(text) => string(text, out),
            GgufValue::List(items) => {
                let id = items.first().map_or(8, GgufValue::id);
                let fits = id != 9 && items.iter().all(|item| item.id() == id);
                assert!(fits, "the items of a GGUF list are of one type and no lists");
                out.extend(id.to_le_bytes());
                out.extend((items.len() as u64).to_le_bytes());
                items.iter().for_each(|item| item.write(out));
            }
        }
    }
}

/// A tensor to write.
struct Tensor<'a> {
    name: String,
    /// The number of its type.
    id: u32,
    /// Row-major, the innermost dimension last; the file has them the other way round.
    shape: Vec<usize>,
    n_bytes: usize,
    /// Nothing for a tensor that is only declared.
    bytes: Cow<'a, [u8]>,
}

impl Tensor<'_> {
    fn is_at_hand(&self) -> bool {
        self.bytes.len() == self.n_bytes
    }
}

/// A GGUF file in the making.
pub struct GgufWriter<'a> {
    metadata: Vec<(String, GgufValue)>,
    tensors: Vec<Tensor<'a>>,
    alignment: u64,
}

impl<'a> GgufWriter<'a> {
    /// Begins a file of this `general.architecture`, without anything else.
    pub fn new(architecture: &str) -> GgufWriter<'a> {
        let architecture = ("general.architecture".to_owned(), GgufValue::Text(architecture.to_owned()));
        GgufWriter { metadata: vec![architecture], tensors: Vec::new(), alignment: DEFAULT_ALIGNMENT }
    }

    /// Sets where tensors start: at multiples of this many bytes, a power of two. It is 32 unless it is set.
    ///
    /// # Panics
    /// If it is no power of two.
    #[must_use]
    pub fn align(mut self, alignment: u32) -> GgufWriter<'a> {
        assert!(alignment.is_power_of_two(), "an alignment of {alignment} is not a power of two");
        self.alignment = alignment.into();
        self.set("general.alignment", GgufValue::U32(alignment))
    }

    /// Sets a key; keys are written in the order in which they are set first.
    #[must_use]
    pub fn set(mut self, key: &str, value: GgufValue) -> GgufWriter<'a> {
        match self.metadata.iter_mut().find(|(it, _)| it == key) {
            Some((_, old)) => *old = value,
            None => self.metadata.push((key.to_owned(), value)),
        }
        self
    }

    /// Adds a tensor: `shape` row-major, `bytes` as the type lays them out.
    ///
    /// # Panics
    /// If the name is taken, or if shape and bytes do not fit each other.
    #[must_use]
    pub fn tensor(
        self,
        name: &str,
        dtype: Dtype,
        shape: &[usize],
        bytes: impl Into<Cow<'a, [u8]>>,
    ) -> GgufWriter<'a> {
        let mut writer = self.declare(name, dtype, shape);
        let (bytes, tensor) = (bytes.into(), writer.tensors.last_mut().expect("it was just declared"));
        let (kind, n) = (dtype.name(), bytes.len());
        assert!(n == tensor.n_bytes, "`{name}` has {n} bytes, not those of {kind} {shape:?}");
        tensor.bytes = bytes;
        writer
    }

    /// Adds a tensor whose bytes are at hand later: [`GgufWriter::begin`] says how such a file is written.
    ///
    /// # Panics
    /// If the name is taken, or if rows are not whole blocks.
    #[must_use]
    pub fn declare(mut self, name: &str, dtype: Dtype, shape: &[usize]) -> GgufWriter<'a> {
        let (id, kind) = GgmlType::of(dtype);
        assert!(self.tensors.iter().all(|it| it.name != name), "there are two tensors `{name}`");
        let whole = shape.last().is_some_and(|row| row.is_multiple_of(kind.block_len));
        assert!(whole, "`{name}` {shape:?} is not whole blocks of {}", kind.name);
        let n_bytes = shape.iter().product::<usize>() / kind.block_len * kind.block_bytes;
        let (name, shape, bytes) = (name.to_owned(), shape.to_vec(), Cow::Borrowed(&[][..]));
        self.tensors.push(Tensor { name, id, shape, n_bytes, bytes });
        self
    }

    /// Returns the header, and the tensors before the first that is only declared. Behind it follow the others in
    /// the order in which they were added, each with its [`GgufWriter::padding`].
    pub fn begin(&self) -> Vec<u8> {
        let mut bytes = self.padded_header();
        for tensor in self.tensors.iter().take_while(|tensor| tensor.is_at_hand()) {
            bytes.extend(&*tensor.bytes);
            bytes.extend(self.padding(tensor.n_bytes));
        }
        bytes
    }

    /// Returns the bytes of the whole file.
    pub fn n_bytes(&self) -> u64 {
        let aligned = |tensor: &Tensor| (tensor.n_bytes as u64).next_multiple_of(self.alignment);
        self.padded_header().len() as u64 + self.tensors.iter().map(aligned).sum::<u64>()
    }

    /// Writes the file.
    ///
    /// # Errors
    /// What `out` says.
    ///
    /// # Panics
    /// If a tensor has no bytes.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.padded_header())?;
        for tensor in &self.tensors {
            assert!(tensor.is_at_hand(), "`{}` was only declared", tensor.name);
            out.write_all(&tensor.bytes)?;
            out.write_all(&self.padding(tensor.bytes.len()))?;
        }
        Ok(())
    }

    /// Returns the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes).expect("memory takes everything");
        bytes
    }

    /// Returns what stands before the first tensor.
    fn padded_header(&self) -> Vec<u8> {
        let mut header = self.header();
        header.extend(self.padding(header.len()));
        header
    }

    fn header(&self) -> Vec<u8> {
        let mut header = MAGIC.to_vec();
        header.extend(VERSION.to_le_bytes());
        header.extend((self.tensors.len() as u64).to_le_bytes());
        header.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            string(key, &mut header);
            header.extend(value.id().to_le_bytes());
            value.write(&mut header);
        }
        let mut offset = 0u64;
        for tensor in &self.tensors {
            string(&tensor.name, &mut header);
            header.extend((tensor.shape.len() as u32).to_le_bytes());
            tensor.shape.iter().rev().for_each(|n| header.extend((*n as u64).to_le_bytes()));
            header.extend(tensor.id.to_le_bytes());
            header.extend(offset.to_le_bytes());
            offset += (tensor.n_bytes as u64).next_multiple_of(self.alignment);
        }
        header
    }

    /// Returns the zeros that are missing behind `len` bytes to the next place where a tensor may start.
    pub fn padding(&self, len: usize) -> Vec<u8> {
        vec![0; (len as u64).next_multiple_of(self.alignment) as usize - len]
    }
}

fn string(text: &str, out: &mut Vec<u8>) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::Gguf;
    use super::*;
    use std::path::Path;
    use whipstaff_kernels::Bytes;

    fn read(writer: &GgufWriter) -> Gguf {
        Gguf::parse(Bytes::from(writer.to_bytes()), Path::new("w.gguf")).unwrap()
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let text = |it: &str| GgufValue::Text(it.into());
        let writer = GgufWriter::new("x")
            .set("a.u8", GgufValue::U8(255))
            .set("a.i8", GgufValue::I8(-1))
            .set("a.u16", GgufValue::U16(65_535))
            .set("a.i16", GgufValue::I16(-2))
            .set("a.u32", GgufValue::U32(u32::MAX))
            .set("a.i32", GgufValue::I32(7))
            .set("a.u64", GgufValue::U64(1 << 40))
            .set("a.i64", GgufValue::I64(8))
            .set("a.f32", GgufValue::F32(0.1))
            .set("a.f64", GgufValue::F64(0.1))
            .set("a.flag", GgufValue::Bool(true))
            .set("a.texts", GgufValue::List(vec![text("ü"), text("")]))
            .set("a.none", GgufValue::List(Vec::new()))
            .set("a.numbers", GgufValue::List(vec![GgufValue::F32(1.5), GgufValue::F32(-2.0)]))
            .tensor("t.1", Dtype::F32, &[3], vec![1; 12])
            .tensor("t.0", Dtype::F16, &[2, 5], vec![2; 20])
            .tensor("q", Dtype::Q8_0, &[2, 32], vec![3; 68]);
        let file = read(&writer);
        let metadata = &file.metadata;
        for (key, want) in [
            ("a.u8", 255),
            ("a.u16", 65_535),
            ("a.u32", u64::from(u32::MAX)),
            ("a.i32", 7),
            ("a.u64", 1 << 40),
            ("a.i64", 8),
        ] {
            assert_eq!(metadata.whole(key).unwrap(), Some(want), "{key}");
        }
        for (key, want) in [("a.i8", -1.0), ("a.i16", -2.0), ("a.f32", f64::from(0.1f32)), ("a.f64", 0.1)] {
            assert_eq!(metadata.number(key).unwrap(), Some(want), "{key}");
        }
        assert_eq!(metadata.flag("a.flag").unwrap(), Some(true));
        assert_eq!(metadata.texts("a.texts").unwrap(), Some(vec!["ü", ""]));
        assert_eq!(metadata.texts("a.none").unwrap(), Some(vec![]));
        assert_eq!(metadata.numbers("a.numbers").unwrap(), Some(vec![1.5, -2.0]));
        assert_eq!(metadata.text("general.architecture").unwrap(), Some("x"));
        for (name, shape, n, byte) in
            [("t.1", vec![3], 12, 1), ("t.0", vec![2, 5], 20, 2), ("q", vec![2, 32], 68, 3)]
        {
            let tensor = &file.tensors[name];
            assert_eq!(tensor.shape, shape, "{name}");
            assert_eq!(file.parts[0].1[tensor.range.clone()], vec![byte; n], "{name}");
        }
    }

    #[test]
    fn tensors_start_where_the_alignment_says() {
        for alignment in [1, 8, 32, 256] {
            let writer = GgufWriter::new("x")
                .align(alignment)
                .tensor("a", Dtype::F32, &[1], vec![1; 4])
                .tensor("b", Dtype::F32, &[1], vec![2; 4]);
            let file = read(&writer);
            for name in ["a", "b"] {
                assert!(
                    file.tensors[name].range.start.is_multiple_of(alignment as usize),
                    "{name} {alignment}"
                );
            }
        }
    }

    #[test]
    #[should_panic(expected = "not those of F32 [2]")]
    fn a_shape_that_does_not_fit_its_bytes_is_our_own_mistake() {
        let _ = GgufWriter::new("x").tensor("a", Dtype::F32, &[2], vec![0; 4]);
    }
}
