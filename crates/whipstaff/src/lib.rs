//! Activation steering for decoder-only language models, on the machine you have.
//!
//! [`open`] finds a model by path or by its name on the hub; [`embedded()`] needs neither. Either way the result is a
//! [`LanguageModel`]: weights, tokenizer and name, cheap to clone and shared between threads.
//!
//! The crate prints nothing and has no global state. What a person should know comes as a [`Remark`] to the one
//! [`Watch`] that is given in [`OpenOptions`]; it sees the progress of long work and may stop it.
//!
//! Reading order: `open`, `locate`, `embedded`, `packs`, `compute`, `machine`, `memory`, `frames`, `error`.

#![forbid(unsafe_code)]

mod compute;
pub mod embedded;
mod error;
mod frames;
mod locate;
mod machine;
mod memory;
mod open;
mod packs;
mod watch;

pub use compute::Compute;
pub use error::{Error, ErrorKind, Result};
pub use frames::FrameChoice;
pub use locate::Located;
pub use machine::{InvalidLimit, MemoryLimit, Size};
pub use memory::{Estimate, FRAME_TOKENS, Preview, Refusal, Workload};
pub use open::{LanguageModel, OpenOptions, embedded, open};
pub use packs::{Packs, user_cache};
pub use watch::Watcher;
pub use whipstaff_steering::{Remark, RemarkKind, Unwatched, Watch};
