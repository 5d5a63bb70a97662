//! Matrix products: packed weights, activations in the forms that products read, tasks and inner loops.

mod input;
mod linear;
mod packed;
mod quant;
mod rounded;
mod strips;

pub use input::Input;
pub use linear::{Mlp, Product, hidden, linear};
pub use packed::{PACKED_LAYOUT, Packed, Packer};
