//! The readers of files from elsewhere, each as a function of bytes: what the fuzz targets run, and
//! `crates/steering/tests/readers.rs` without a fuzzer.

use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use tempfile::NamedTempFile;
use whipstaff_engine::{Bytes, Config, Outline, Tokenizer, Weights};
use whipstaff_steering::{ContrastSet, PersonaVector};

/// Reads the bytes of a file; `Err` is what the user would be told.
pub type Read = fn(&[u8]) -> Result<(), String>;

/// Every reader, by the name of its target and of its folder in `fuzz/corpus`.
pub const READERS: [(&str, Read); 6] = [
    ("gguf", gguf),
    ("tokenizer", tokenizer),
    ("safetensors", safetensors),
    ("config", config),
    ("contrasts", contrasts),
    ("vector", vector),
];

/// Lets a reader read: it may refuse, in words.
///
/// # Panics
/// If the reader does, or refuses without a word.
pub fn run(reader: &str, bytes: &[u8]) {
    let (_, read) = READERS.iter().find(|(name, _)| *name == reader).expect("a reader of that name");
    if let Err(error) = read(bytes) {
        assert!(!error.is_empty(), "{reader} refuses without a word");
    }
}

/// A whole model: header, blueprint, tensors held against each other.
fn gguf(bytes: &[u8]) -> Result<(), String> {
    Outline::open(file(bytes, ".gguf").path()).map(drop).map_err(words)
}

/// The tokenizer that a GGUF file's metadata describes, used once.
fn tokenizer(bytes: &[u8]) -> Result<(), String> {
    let tokenizer = Tokenizer::load(file(bytes, ".gguf").path()).map_err(words)?;
    let ids = tokenizer.encode("The café's 12 \u{1f600} <s>\n  end").map_err(words)?;
    tokenizer.decode(&ids).map(drop).map_err(words)
}

fn safetensors(bytes: &[u8]) -> Result<(), String> {
    Weights::from_bytes(Bytes::from(bytes.to_vec()), Path::new("x")).map(drop).map_err(words)
}

fn config(bytes: &[u8]) -> Result<(), String> {
    Config::parse(&String::from_utf8_lossy(bytes), None, Path::new("x")).map(drop).map_err(words)
}

fn contrasts(bytes: &[u8]) -> Result<(), String> {
    ContrastSet::parse(&String::from_utf8_lossy(bytes), Path::new("c.jsonl")).map(drop).map_err(words)
}

/// A vector file or a control vector: the first bytes say which.
fn vector(bytes: &[u8]) -> Result<(), String> {
    PersonaVector::read(file(bytes, ".safetensors").path()).map(drop).map_err(words)
}

/// For readers that open files by themselves.
fn file(bytes: &[u8], suffix: &str) -> NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(suffix).tempfile().expect("a temporary file");
    file.write_all(bytes).expect("room for it");
    file
}

fn words(error: impl Display) -> String {
    error.to_string()
}
