//! Products of rounded inputs by tiles, on the matrix unit of Xeons since 2023 (AMX).
//!
//! A tile is 16 rows of 64 bytes. The unit multiplies a tile of activations with a tile of weights and adds
//! the products to a tile of sums, `[16 rows][16 outputs] += [16 rows][32 inputs] · [32 inputs][16 outputs]`:
//!
//! ```text
//! activations  [row tile of 16][step of 32 inputs]        A: [16 rows][32 inputs] bf16        1 KB
//! weights      a panel as it lies, 32 inputs at a time    B: [16 pairs][16 outputs][2] bf16   1 KB
//! totals       [panel][row tile of 16]                    C: [16 rows][16 outputs] f32        1 KB
//! ```
//!
//! **One order of every sum.** Tiles are always whole, since missing rows are zero, and a sum stays in one
//! tile from the first input to the last. So here too a row has the same bits whatever surrounds it, but
//! other bits than on other kernel sets.
//!
//! **What has been run.** Everything around the unit (rounding, layout, edges, blocks of tiles, totals) is
//! shared by the unit (`sets/amx/unit.rs`) and its twin in software (`sets/twins/tiles.rs`), and tested
//! through the twin. The unit has run all tests in an emulated processor under Linux (`tools/emulate.sh`),
//! and not yet in a real one. It is offered only after its products have equalled the twin's
//! (`sets/amx/detect.rs`). Products of bytes, for quantised weights, are in `quant/tiles.rs`.

use super::rows::RoundedProduct;
use crate::layout::{GROUP, TILE_ROWS};
use crate::sets::{FloatTiles, Sums, Tile};

/// Runs a product on `unit`.
pub(crate) fn multiply(product: RoundedProduct<'_>, unit: &mut impl FloatTiles) {
    let RoundedProduct { weight, panels, x, rows, totals } = product;
    let per_panel = totals.len() / GROUP;
    assert!(
        rows.start.is_multiple_of(TILE_ROWS) && per_panel.is_multiple_of(TILE_ROWS),
        "rows and totals begin at whole tiles"
    );
    assert!(panels.len() <= GROUP && rows.len() <= per_panel, "the totals hold the task");
    let per_panel = per_panel / TILE_ROWS;
    let sums = totals.as_chunks_mut::<TILE_ROWS>().0;
    let first = rows.start / TILE_ROWS;
    let n_row_tiles = rows.len().div_ceil(TILE_ROWS);
    let a = |tile: usize| x.row_tile(first + tile);
    let b = |panel: usize| bytemuck::cast_slice::<u8, Tile>(weight.panel(panels.start + panel));

    let mut tile = 0;
    while tile < n_row_tiles {
        let height = (n_row_tiles - tile).min(2);
        let mut panel = 0;
        while panel < panels.len() {
            let left = panels.len() - panel;
            let at = |r: usize, c: usize| (panel + c) * per_panel + tile + r;
            let width = match (height, left) {
                (2, 2..) => {
                    let [s00, s01, s10, s11] = disjoint(sums, [at(0, 0), at(0, 1), at(1, 0), at(1, 1)]);
                    let (a, b) = ([a(tile), a(tile + 1)], [b(panel), b(panel + 1)]);
                    unit.multiply_2x2(a, b, [[s00, s01], [s10, s11]]);
                    2
                }
                (1, 4..) => {
                    let sums = disjoint(sums, [at(0, 0), at(0, 1), at(0, 2), at(0, 3)]);
                    unit.multiply_1x4(a(tile), [0, 1, 2, 3].map(|c| b(panel + c)), sums);
                    4
                }
                _ => {
                    for r in 0..height {
                        unit.multiply_1x1(a(tile + r), b(panel), &mut sums[at(r, 0)]);
                    }
                    1
                }
            };
            panel += width;
        }
        tile += height;
    }
}

/// Returns the tiles of sums at four different places.
fn disjoint(sums: &mut [Sums], at: [usize; 4]) -> [&mut Sums; 4] {
    sums.get_disjoint_mut(at).expect("four places inside the totals")
}
