//! A model at work.

use crate::contrasts::Frame;
use crate::progress::Watch;
use whipstaff_engine::{Model, Tokenizer};

/// What every measurement is made with: a model, how it is talked to, and who is told of the progress.
///
/// Its methods stand beside what they measure, in `measure` and in `evidence`.
#[derive(Clone, Copy)]
pub struct Bench<'a> {
    /// The model.
    pub model: &'a Model,
    /// The model's tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The frame around prompts.
    pub frame: &'a Frame,
    /// Is told where the work stands, and may stop it.
    pub watch: &'a dyn Watch,
}
