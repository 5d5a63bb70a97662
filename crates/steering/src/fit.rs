//! From contrasts to directions: what a model makes of the answers, and the methods that fit a direction to it.

mod extract;
mod methods;

pub use extract::{AnswerRows, ExtractOptions, extract};
pub use methods::Method;
pub(crate) use methods::random_direction;
