//! The terminal: what is printed and how, progress, ctrl-C, and how a run fails.

mod download;
mod failure;
mod output;
mod progress;

pub use download::Loading;
pub use failure::Failure;
pub use output::{Tone, colour, columns, note, paint, print, print_line, printable, tell, width, wrap};
pub use progress::Bar;
