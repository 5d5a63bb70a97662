//! Models by name: found in the user's Hugging Face cache, or brought there from the hub.
//!
//! A [`Reference`] is what a person types: `org/name`, a revision, a quantisation, a file. A [`Hub`] turns
//! it into a path. The cache is the one of the Python tools, in their layout and under their locks: what
//! one side has downloaded, the other finds.
//!
//! Everything that a server says is checked before it is used: names of files become paths inside the
//! cache or nothing, content is what its hash says, redirects go where a public hub would send one, and
//! the token goes to the endpoint alone.
//!
//! The crate knows no models and no command lines; files have names, sizes and hashes.
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
