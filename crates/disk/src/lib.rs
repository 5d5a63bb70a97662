//! Files that are whole or absent, lines that carry their own digest, and hex.
//!
//! [`write_atomically`] writes a small file at once, [`Streamed`] a large one piece by piece; readers see the old
//! file or the new one, never half of either. [`Sealed`] is a file of JSON lines that is only ever added to, and
//! each line of it is believed only if it is what its digest says.
//!
//! The crate knows nothing of models or of any other crate of the workspace.
//!
//! Reading order: `error`, `digest`, `atomic`, `streamed`, `sealed`.

#![forbid(unsafe_code)]

mod atomic;
mod digest;
mod error;
mod sealed;
mod streamed;

pub use atomic::{make_beside, rename_synced, write_atomically};
pub use digest::{hex, sha256, sha256_hex, sha256_of_file};
pub use error::Error;
pub use sealed::{Sealed, difference, line, parse};
pub use streamed::Streamed;
