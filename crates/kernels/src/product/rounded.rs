//! Products of `bf16` weights with activations rounded to `bf16`.

mod dispatch;
mod pairs;
mod rows;
#[cfg(test)]
pub(crate) mod tests;
mod tiles;

pub(crate) use dispatch::multiply_rounded;
pub(crate) use rows::{MultiplyRounded, Rounded, to_bf16};
