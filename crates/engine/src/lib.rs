//! Tokens in, activations and tokens out: decoder-only language models with a tap on every block.
//!
//! Three nouns carry the crate. A [`Model`] is loaded weights: immutable, shareable. A [`Session`]
//! is one mutable timeline: tokens, their keys and values, and the steering they run under. A
//! [`Steering`] is a plain value: what is done to the stream, where and when. One [`Batch`] of rows, taken from
//! any number of sessions and packed without padding, is the only way to run a model.
//!
//! The crate has never heard of personas, vector files, HTTP or command lines.
//!
//! Reading order: `config` (what a model is; `config/family` is the table of families), `params` and
//! `names`, `weights`, `gguf`, `load`, `model` (the forward pass: the page to show visitors), `ops` (the
//! seam under it), `experts`, `tap`, `steering`, `operator`, `scope`, `gate`, `batch`, `session`, `generate`.

#![forbid(unsafe_code)]

mod batch;
mod capture;
mod config;
mod decide;
mod error;
mod experts;
mod gate;
mod generate;
mod gguf;
mod kv;
mod lens;
mod load;
mod model;
mod names;
mod operator;
mod ops;
mod outline;
mod packs;
mod params;
mod prefix;
mod rope;
mod rows;
mod sample;
mod scope;
mod score;
mod session;
mod steering;
mod tap;
mod template;
mod text;
mod tokenizer;
mod weights;

pub use batch::{Batch, Row, RowPlan, pack};
pub use capture::{KeepRows, SumRows};
pub use config::{Config, Experts, LayerKind, NormKind, NormPlaces, QkNorm, families};
pub use decide::decide;
pub use error::Error;
pub use gate::{Fires, Gate, Pool, Score};
pub use generate::{Event, Finish, Generator, Request, RequestError, RequestId};
pub use gguf::{Gguf, GgufValue, GgufWriter, Quantised};
pub use model::{LoadOptions, Model, ModelFiles};
pub use operator::Operator;
pub use outline::Outline;
pub use packs::PackCache;
pub use prefix::{PrefixTree, Prefixes};
pub use rope::{Rope, RopeScaling};
pub use rows::Rows;
pub use sample::{Sampler, Sampling};
pub use scope::{Position, Schedule, Scope, Span, TokenSet};
pub use score::{Continuation, log_probs, log_probs_among, score};
pub use session::Session;
pub use steering::{Edit, Steering};
pub use tap::{Hook, NoTap, Site, Tap};
pub use template::{ChatTemplate, Message, Role};
pub use text::TextStream;
pub use tokenizer::Tokenizer;
pub use weights::Weights;
pub use whipstaff_kernels::{
    Activation, Bytes, Cpu, Dtype, Isa, Precision, Profiled, UnknownIsa, available, fma_peak, read_bandwidth,
};

/// Rows per forward pass that keep the weights' cost shared and the activations small: with the
/// 1B shape, 512 rows of the widest activation are 32 MB.
pub const ROW_BUDGET: usize = 512;
