//! The instruction sets that kernels are compiled for.
//!
//! The traits say what kernels need of a set: lanes of floats and integers, sums of pairs, tiles. Every set
//! implements [`Lanes`]; some have instructions that multiply pairs or tiles, and each of those has a twin in
//! software.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod ints;
mod kernel;
mod lanes;
#[cfg(target_arch = "aarch64")]
mod neon;
mod pairs;
mod portable;
mod tiles;
mod twins;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) use amx::{ByteTileUnit, TileUnit, is_available as is_amx_available};
#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2Lanes;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::{Avx512Lanes, Avx512Sums};
pub(crate) use ints::IntLanes;
pub(crate) use kernel::Kernel;
pub(crate) use lanes::Lanes;
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::{NeonLanes, NeonSums, Smmla};
pub(crate) use pairs::PairSums;
pub(crate) use portable::PlainLanes;
pub(crate) use tiles::{ByteSums, ByteTiles, FloatTiles, N_TILES, Sums, Tile};
pub(crate) use twins::{Bfdot, ByteTwin, PairTwin, TileTwin, Vdpbf16ps};
