//! Text to ids and back. Nothing here opens a file.

mod stream;
mod template;
mod tokenizer;

pub use stream::TextStream;
pub use template::{ChatTemplate, Message, Role};
pub use tokenizer::Tokenizer;
pub(crate) use tokenizer::parse;
