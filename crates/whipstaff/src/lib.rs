//! Activation steering for decoder-only language models, on the machine you have.
//!
//! A *persona vector* is a direction in the activations of a model, one for each layer, that tells two kinds of answers
//! apart. Added while the model writes, it moves the answers; the weights stay as they are.
//!
//! ```
//! use whipstaff::prelude::*;
//!
//! # fn main() -> whipstaff::Result<()> {
//! // A folder, a .gguf file or a name on the hub: `whipstaff::open("org/name")`. This model is compiled in.
//! let model = whipstaff::embedded()?;
//!
//! // The same question answered by two personas, some dozens of times: those are contrasts.
//! let contrasts = whipstaff::embedded::contrasts()?;
//! let vector = model.extractor().recommend(4).receipt(0).run(&contrasts)?;
//!
//! // How much of the vector, and where. Nothing here changes the model.
//! let steering = model.steering(&[vector.at(0.8).layers("2-4")?])?;
//! for piece in model.ask("Where is the printer?").steered(steering).max_tokens(12).stream()? {
//!     print!("{}", piece?);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # A tour
//!
//! | to | call |
//! |---|---|
//! | open a model | [`open()`], [`embedded()`], or [`OpenOptions`] for threads, precision, memory and progress |
//! | make a vector | [`LanguageModel::extract`], or [`LanguageModel::extractor`] for its settings |
//! | say how much, where and how | [`PersonaVector::at`](prelude::PersonaVector::at), then [`LanguageModel::steering`]; for files [`LanguageModel::resolve`] |
//! | talk to it | [`LanguageModel::ask`], [`LanguageModel::chat`], then [`Ask::stream`], [`Ask::answer`] or [`Ask::compare`] |
//! | serve many at once | [`LanguageModel::generator`], which admits and cancels an [`Ask::request`] between any two steps |
//! | know whether it works | [`LanguageModel::receipt`], [`LanguageModel::sweep`] |
//! | see what it does | [`LanguageModel::figure`], [`LanguageModel::project`] |
//! | read activations | [`LanguageModel::activations`], or a [`Tap`](prelude::Tap) of your own with [`LanguageModel::run`] |
//! | measure anything else | [`LanguageModel::bench`] |
//!
//! The crate prints nothing and has no global state. One [`Watch`] is told of progress and of every [`Remark`], and may
//! stop long work; one [`enum@Error`] has a [`kind`](Error::kind) for exit codes and HTTP statuses. Memory is estimated
//! from headers, and work that would take too much is refused in numbers before anything is loaded.
//!
//! The crates below are re-exported as [`engine`] and [`steering`].

#![forbid(unsafe_code)]

mod activations;
mod ask;
mod compare;
mod compute;
pub mod embedded;
mod error;
mod extract;
mod figure;
mod frames;
mod locate;
mod machine;
mod memory;
mod model;
mod neutral;
mod open;
mod packs;
pub mod prelude;
mod receipt;
mod steer;
mod stream;
mod sweep;
mod watch;

pub use activations::TokenProjections;
pub use ask::{Ask, OwnedGenerator};
pub use compare::{Side, SideBySide};
pub use compute::Compute;
pub use error::{Error, ErrorKind, Result};
pub use extract::Extractor;
pub use frames::FrameChoice;
pub use locate::Located;
pub use machine::{InvalidLimit, MemoryLimit, Size};
pub use memory::{Estimate, FRAME_TOKENS, Preview, Refusal, Workload};
pub use model::LanguageModel;
pub use open::{OpenOptions, embedded, open};
pub use packs::{Packs, user_cache};
pub use receipt::ReceiptOptions;
pub use steer::SteeredBy;
pub use stream::{Piece, Stream};
pub use sweep::{SweepOptions, SweepTable};
pub use watch::Watcher;
pub use whipstaff_engine as engine;
pub use whipstaff_steering as steering;
pub use whipstaff_steering::{Remark, RemarkKind, Unwatched, Watch};
