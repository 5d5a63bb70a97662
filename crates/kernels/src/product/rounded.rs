//! Products of `bf16` weights with activations rounded to `bf16`, by the instructions that multiply `bf16`
//! with `bf16`: pair by pair, or by the tiles of a matrix unit.

mod dispatch;
mod pairs;
mod rows;
#[cfg(test)]
pub(crate) mod tests;
mod tiles;

pub(crate) use dispatch::multiply_rounded;
pub(crate) use rows::{Rounded, RoundedProduct, to_bf16};
