//! What several commands print: a vector, a receipt, an evaluation.

mod evaluation;
mod receipt;
mod vector;

pub use evaluation::{Answers, Evaluation, Form, Measure, Rated};
pub use receipt::receipt_text;
pub use vector::{print_vector, vector_json};
