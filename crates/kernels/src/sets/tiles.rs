//! Tiles of `bf16` and of bytes: what a matrix unit is used through.

use crate::layout::{LANES, STEP, TILE_ROWS};

/// Sixteen rows of 32 `bf16` (as bits): `[16 rows][32 inputs]` of activations or
/// `[16 pairs of inputs][16 outputs][2]` of weights.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Tile(pub(crate) [[u16; STEP]; TILE_ROWS]);

/// Sums, `[16 rows][16 outputs]`.
pub(crate) type Sums = [[f32; LANES]; TILE_ROWS];

/// What multiplies tiles. All methods add to `sums` the products of the tiles of `a` (activations)
/// with those of `b` (weights), step by step in ascending order; all slices have the same length, at
/// least one.
pub(crate) trait FloatTiles {
    /// Two row tiles with two panels: each tile that is loaded is used twice.
    fn multiply_2x2(&mut self, a: [&[Tile]; 2], b: [&[Tile]; 2], sums: [[&mut Sums; 2]; 2]);
    /// One row tile with four panels: four streams of weights, for decoding.
    fn multiply_1x4(&mut self, a: &[Tile], b: [&[Tile]; 4], sums: [&mut Sums; 4]);
    /// What is left over.
    fn multiply_1x1(&mut self, a: &[Tile], b: &[Tile], sums: &mut Sums);
}

/// Products, `[16 rows][16 outputs]`.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct ByteSums(pub(crate) [[u32; LANES]; TILE_ROWS]);

/// Tiles that are multiplied side by side.
pub(crate) const N_TILES: usize = 4;

/// What multiplies tiles of bytes.
pub(crate) trait ByteTiles {
    /// Puts the quads of a decoded block as this unit wants them, tile by tile in their place.
    fn arrange(&mut self, _quads: &mut [[u32; LANES]]) {}

    /// Sets `sums[i]` to the products of rows of `codes`, which are `stride` bytes apart, with the quads, which
    /// are arranged: of tile `i`, which is the next `4 · depth` inputs and the next `depth` quads. Quads
    /// have signs where `signed`. What is made of more than `n_rows` rows is of no meaning.
    ///
    /// # Safety
    /// There are sixteen rows of codes, and so many quads; `depth` is that of this unit; at most [`N_TILES`]
    /// tiles.
    #[allow(clippy::too_many_arguments)] // each is a register of the inner loops
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
