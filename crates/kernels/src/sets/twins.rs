//! Instructions in software: how what they do is seen on any processor.

mod bfdot;
mod pairs;
mod tiles;

pub(crate) use bfdot::Bfdot;
pub(crate) use pairs::{PairTwin, Vdpbf16ps};
pub(crate) use tiles::{ByteTwin, TileTwin};
