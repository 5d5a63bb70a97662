//! Twins of instructions in software, which show on any processor what the instructions do.

mod bfdot;
mod pairs;
mod tiles;

pub(crate) use bfdot::Bfdot;
pub(crate) use pairs::{PairTwin, Vdpbf16ps};
pub(crate) use tiles::{ByteTwin, TileTwin};
