//! What several commands print: a vector, a receipt, an evaluation, a text on a vector.

mod evaluation;
mod receipt;
mod token_map;
mod vector;

pub use evaluation::{Answers, Evaluation, Form, Measure, Rated};
pub use receipt::receipt_text;
pub use token_map::token_map_text;
pub use vector::{print_vector, vector_json};
