//! The set `amx`: the matrix unit of Xeons since 2023, and the test that decides whether it is used.

mod detect;
mod unit;

pub(crate) use detect::is_available;
pub(crate) use unit::{ByteTileUnit, TileUnit};
