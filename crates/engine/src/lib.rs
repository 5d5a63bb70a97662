//! Tokens in, activations and tokens out: decoder-only language models with a tap on every block.
//!
//! Three nouns carry the crate. A [`Model`] is loaded weights: immutable, shareable. A [`Session`]
//! is one mutable timeline: tokens, their keys and values, and the steering they run under. A
//! [`Steering`] is a plain value: what is done to the stream, where and when. One [`Batch`] of rows, taken from
//! any number of sessions and packed without padding, is the only way to run a model.
//!
//! The crate has never heard of personas, vector files, HTTP or command lines.
//!
//! The wings, from the ground up: `config` (what a model is), `steering` (what is done to it: plain values), `text`
//! (text to ids and back), `checkpoint` (everything read from a disk), `forward` (the pass), `load` (a checkpoint
//! becomes a model), `run` (generation, scoring, gates). `forward/model.rs` is the page to show visitors, and
//! `forward/ops.rs` is the seam under it.

#![forbid(unsafe_code)]

mod checkpoint;
mod config;
mod error;
mod forward;
mod load;
mod run;
mod steering;
mod text;

pub use checkpoint::{
    Checkpoint, Gguf, GgufValue, GgufWriter, ModelFiles, PackCache, Quantised, Weights, n_parameters,
};
pub use config::{Config, Experts, LayerKind, NormKind, NormPlaces, QkNorm, Rope, RopeScaling, families};
pub use error::Error;
pub use forward::{
    Batch, Hook, HostRows, KeepRows, Model, NoTap, ROW_BUDGET, Row, RowPlan, Rows, Session, SumRows, Tap,
    pack,
};
pub use load::{LoadOptions, Outline};
pub use run::{
    Continuation, Event, Finish, Generator, PrefixTree, Prefixes, Request, RequestError, RequestId, Sampler,
    Sampling, decide, log_probs, log_probs_among, score,
};
pub use steering::{
    Edit, Fires, Gate, Operator, Pool, Position, Schedule, Scope, Score, Site, Span, Steering, TokenSet,
};
pub use text::{ChatTemplate, Message, Role, TextStream, Tokenizer};
pub use whipstaff_kernels::{
    Activation, Bytes, Cpu, Dtype, Isa, Precision, Profiled, UnknownIsa, available, fma_peak, read_bandwidth,
};
