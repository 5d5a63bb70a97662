//! Matrix products, from packed weights to the outputs of a linear layer.

mod input;
mod linear;
mod packed;
mod quant;
mod rounded;
mod strips;

pub use input::Input;
pub use linear::{Mlp, Product, hidden, linear};
pub use packed::{PACKED_LAYOUT, Packed, Packer};
