//! Models by name, found in the user's Hugging Face cache or downloaded there from the hub.
//!
//! A [`Reference`] is the text that a person types: `org/name`, perhaps with a revision, a quantisation or
//! a file. A [`Hub`] turns it into a path. The crate shares the cache, its layout and its locks with the
//! Python tools, so each side finds the files that the other has downloaded.
//!
//! Everything that a server sends is checked before it is used. The name of a file must be a path inside
//! the cache, and the content must have the promised hash. Redirects may only lead to public addresses, and
//! the token goes to the endpoint alone.
//!
//! The crate knows neither models nor command lines. It knows the names, sizes and hashes of files.
//!
//! Reading order: `reference`, `cache`, `fetch`, `download`, `client`.

#![forbid(unsafe_code)]

mod address;
mod api;
mod cache;
mod choose;
mod client;
mod download;
mod error;
mod fetch;
mod patience;
mod reference;
mod settings;
mod watch;

pub use error::Error;
pub use fetch::Hub;
pub use patience::{Failures, Patience};
pub use reference::{FileName, Part, Reference, Repo};
pub use settings::Settings;
pub use watch::{Silent, Watch};
