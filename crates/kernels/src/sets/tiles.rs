//! Tiles of `bf16` and of bytes: the traits through which matrix units are used.

use crate::layout::{LANES, STEP, TILE_ROWS};

/// Sixteen rows of 32 `bf16` (as bits): `[16 rows][32 inputs]` of activations or
/// `[16 pairs of inputs][16 outputs][2]` of weights.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Tile(pub(crate) [[u16; STEP]; TILE_ROWS]);

/// Sums of products of `bf16`, `[16 rows][16 outputs]`.
pub(crate) type Sums = [[f32; LANES]; TILE_ROWS];

/// A unit that multiplies tiles of `bf16`. All methods add the products of the tiles of `a` (activations)
/// with the tiles of `b` (weights) to `sums`, step by step in ascending order. All slices have the same
/// length, which is at least one.
pub(crate) trait FloatTiles {
    /// Multiplies two row tiles with two panels, so that each tile that is loaded is used twice.
    fn multiply_2x2(&mut self, a: [&[Tile]; 2], b: [&[Tile]; 2], sums: [[&mut Sums; 2]; 2]);
    /// Multiplies one row tile with four panels: four streams of weights, for decoding.
    fn multiply_1x4(&mut self, a: &[Tile], b: [&[Tile]; 4], sums: [&mut Sums; 4]);
    /// Multiplies one row tile with one panel, for what is left over.
    fn multiply_1x1(&mut self, a: &[Tile], b: &[Tile], sums: &mut Sums);
}

/// Sums of products of bytes, `[16 rows][16 outputs]`.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct ByteSums(pub(crate) [[u32; LANES]; TILE_ROWS]);

/// The number of tiles of bytes that are multiplied side by side.
pub(crate) const N_TILES: usize = 4;

/// A unit that multiplies tiles of bytes.
pub(crate) trait ByteTiles {
    /// Arranges the quads of a decoded block as this unit reads them, tile by tile in their place.
    fn arrange(&mut self, _quads: &mut [[u32; LANES]]) {}

    /// Sets `sums[i]` to the products of tile `i`, which is the `i`-th `4 · depth` inputs and the `i`-th
    /// `depth` quads. Rows of `codes` are `stride` bytes apart; quads are arranged, and have signs where
    /// `signed`. Sums of rows beyond `n_rows` have no meaning.
    ///
    /// # Safety
    /// There are sixteen rows of codes and as many quads as the tiles take, `depth` is the depth that this
    /// unit is set up for, and there are at most [`N_TILES`] tiles.
    unsafe fn multiply(
        &mut self,
        codes: *const i8,
        stride: usize,
        n_rows: usize,
        quads: *const [u32; LANES],
        depth: usize,
        signed: bool,
        sums: &mut [ByteSums],
    );
}
