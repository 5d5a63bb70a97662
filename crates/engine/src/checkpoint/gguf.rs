//! GGUF files: a model of llama.cpp's in one file, weights and tokenizer, mapped and never copied.
//!
//! The container is a header and the tensors' bytes. The header is a magic word, a version, counts,
//! metadata (`metadata.rs`) and one entry per tensor: name, shape, type (`ggml_type.rs`), offset. The
//! file is data from elsewhere: every field is checked against the file before anything is sized,
//! sliced or computed with it. What the metadata means is read by `config.rs` (the blueprint) and
//! `tokenizer.rs`; `tensors.rs` knows how the tensors are called and how their rows lie; `parts.rs` puts
//! models together that are in several files. `quantise.rs` writes one: `blueprint.rs`, `vocabulary.rs` and
//! `pieces.rs` are its metadata, `write.rs` the container.

mod architecture;
mod blueprint;
mod charsmap;
mod config;
mod file;
mod ggml_type;
mod keys;
mod metadata;
mod parts;
mod pieces;
mod quantise;
mod reader;
mod rope;
mod sentencepiece;
mod split;
mod tensors;
mod tokenizer;
mod tokens;
mod unigram;
mod vocabulary;
mod write;

pub use file::Gguf;
pub use quantise::Quantised;
pub use write::{GgufValue, GgufWriter};

#[cfg(test)]
mod tests;
