//! The set `amx`: the matrix unit of Xeons since 2023.

mod detect;
mod unit;

pub(crate) use detect::is_available;
pub(crate) use unit::{ByteTileUnit, TileUnit};
