//! Products with quantised weights, in integers: the layout of panels, packing, decoding, quantised
//! activations, and products by vectors and by tiles of bytes.

mod activations;
mod decode;
mod dispatch;
mod format;
mod pack;
mod product;
#[cfg(test)]
pub(crate) mod tests;
mod tiles;

pub(crate) use activations::{Quantised, QuantisedWriter};
pub(crate) use decode::{DecodeScratch, decode_f32};
pub(crate) use dispatch::add_tiled_products;
pub(crate) use format::Layout;
pub(crate) use pack::pack_panel;
pub(crate) use product::{PanelProduct, few_rows_of, few_rows_product, rows_product};
pub(crate) use tiles::TILES_FROM;
