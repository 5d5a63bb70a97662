//! Weights as files hold them: bytes, stored types, quantised blocks, and matrices that are read where they
//! lie.

mod blocks;
mod bytes;
mod dtype;
mod encode;
mod matrix;

#[cfg(test)]
pub(crate) use blocks::dequantise_row;
pub(crate) use blocks::{Block, IQ4_VALUES, MAX_BLOCK, MXFP4_VALUES};
pub use bytes::Bytes;
pub use dtype::Dtype;
pub use encode::{WRITABLE, quantise_row};
pub use matrix::{Elements, Matrix, MatrixError};
