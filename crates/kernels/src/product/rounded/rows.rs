//! Activations rounded to `bf16`, laid out as tiles.
//!
//! Weights are read exactly. Activations are rounded once per input, which costs about 1.5e-3 of a product;
//! [`Packed::with_exact_input`] asks for products in `f32`.

use crate::layout::{LANES, STEP, TILE_ROWS};
use crate::product::packed::Packed;
use crate::sets::Tile;
use std::ops::Range;

/// The product of the rows `rows` with the panels `panels`, of which there are at most
/// [`GROUP`](crate::layout::GROUP), to be added to `totals`: `[panel][row][lane]` with as many rows per panel
/// as fit. Rows begin at a row tile. Totals of the rows that fill up the last tile are zero.
pub(crate) struct RoundedProduct<'a> {
    pub(crate) weight: &'a Packed,
    pub(crate) panels: Range<usize>,
    pub(crate) x: &'a Rounded,
    pub(crate) rows: Range<usize>,
    pub(crate) totals: &'a mut [[f32; LANES]],
}

/// Rows of activations `[n_rows, n_in]` as tiles, `[row tile of 16][step of 32 inputs]`. The memory is kept
/// when the rows are filled again.
#[derive(Clone, Default)]
pub(crate) struct Rounded {
    n_rows: usize,
    n_in: usize,
    filled: bool,
    /// The tiles. Rows that fill up the last row tile are zero.
    tiles: Vec<Tile>,
}

impl Rounded {
    /// Makes room for `[n_rows, n_in]`. The content has no meaning until every row tile is filled.
    ///
    /// # Panics
    /// Panics if rows are not whole steps.
    pub(crate) fn reset(&mut self, n_rows: usize, n_in: usize) {
        assert!(n_in.is_multiple_of(STEP), "a row is whole steps");
        // Nobody writes to the rows that fill up a tile, so in the same shape they are still zero. Decoding
        // would otherwise clear fifteen rows for each row that it fills.
        if (self.n_rows, self.n_in) != (n_rows, n_in) {
            (self.n_rows, self.n_in) = (n_rows, n_in);
            self.tiles.clear();
            self.tiles.resize(n_rows.div_ceil(TILE_ROWS) * (n_in / STEP), bytemuck::Zeroable::zeroed());
        }
        self.filled = true;
    }

    /// Forgets the rows, but keeps their memory.
    pub(crate) fn clear(&mut self) {
        self.filled = false;
    }

    /// Returns true if there are rows.
    pub(crate) fn is_filled(&self) -> bool {
        self.filled
    }

    /// Returns row tile `tile`, `[n_in / 32]`.
    pub(crate) fn row_tile(&self, tile: usize) -> &[Tile] {
        let n_steps = self.n_in / STEP;
        &self.tiles[tile * n_steps..][..n_steps]
    }

    /// Returns all row tiles, one after the other.
    pub(crate) fn tiles_mut(&mut self) -> &mut [Tile] {
        &mut self.tiles
    }
}

/// Returns the bits of the nearest `bf16`, ties to even; NaN stays NaN. The function has no branches, so that
/// loops over it become vectors.
#[inline(always)]
pub(crate) fn to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    let quiet_nan = bits >> 16 | 0x40;
    (if x.is_nan() { quiet_nan } else { nearest }) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Cpu, Isa};
    use crate::product::input::Input;
    use half::bf16;

    #[test]
    fn rounding_equals_that_of_the_half_crate() {
        for high in 0..=u32::from(u16::MAX) {
            for low in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let x = f32::from_bits(high << 16 | low);
                assert_eq!(to_bf16(x), bf16::from_f32(x).to_bits(), "{x:e}");
            }
        }
    }

    /// The numbers are integers that a `bf16` holds exactly; one input and one `Rounded` are used again and
    /// again.
    #[test]
    fn every_element_lies_in_its_place_and_all_others_are_zero() {
        let cpu = Cpu::new(Isa::TWINS[0], 2);
        let (mut input, mut rounded) = (Input::default(), Rounded::default());
        for (n_rows, n_in) in [(1, 32), (3, 288), (16, 64), (17, 512), (1, 64), (2, 64), (100, 544)] {
            let x: Vec<f32> = (0..n_rows * n_in).map(|i| (i % 251) as f32 + 1.0).collect();
            input.fill(&cpu, &x, n_in);
            rounded.reset(n_rows, n_in);
            input.round(&cpu, &mut rounded);
            for row in 0..n_rows.next_multiple_of(TILE_ROWS) {
                for i in 0..n_in {
                    let tile = &rounded.row_tile(row / TILE_ROWS)[i / STEP];
                    let got = bf16::from_bits(tile.0[row % TILE_ROWS][i % STEP]).to_f32();
                    let want = if row < n_rows { x[row * n_in + i] } else { 0.0 };
                    assert_eq!(got, want, "row {row}, input {i} of {n_rows}x{n_in}");
                }
            }
        }
    }
}
