//! Products of rounded inputs pair by pair, on processors with AVX-512 BF16 and on 64-bit Arm with `bf16`.
//!
//! One instruction adds, in every lane, the products of a pair of weights with a pair of activations, and so
//! does twice the work of a multiply-add of `f32`. A panel holds pairs as the instruction reads them, and a
//! pair of activations is broadcast from its tile:
//!
//! ```text
//! weights      a vector of a panel     [16 outputs][2] bf16                  64 bytes
//! activations  32 bits of a tile       [2] bf16, the same for all outputs
//! sums         a row, a panel          [16 outputs] f32, as many rows as registers hold
//! ```
//!
//! **One order of every sum.** A sum is one chain over all inputs from the first to the last, pair by pair.
//! On x86 the second of a pair is added before the first; on Arm the sum of both is added. So a row has the
//! same bits whatever surrounds it, but other bits than on sets that read exact inputs, and other bits than
//! by tiles.

use super::rows::RoundedProduct;
use crate::layout::{AHEAD, GROUP, K_BLOCK, LANES, STEP, TILE_ROWS};
use crate::sets::{PairSums, Tile};

/// Runs a product. The K blocks are the outer loop, so that a panel's part stays in the first-level cache
/// while the rows pass over it.
///
/// # Safety
/// The caller runs with the features that `S` needs.
#[inline(always)]
pub(crate) unsafe fn multiply<S: PairSums>(product: RoundedProduct<'_>) {
    let RoundedProduct { weight, panels, x, rows, totals } = product;
    let per_panel = totals.len() / GROUP;
    assert!(rows.start.is_multiple_of(TILE_ROWS) && panels.len() <= GROUP && rows.len() <= per_panel);
    let n_steps = weight.n_in() / STEP;
    let mut first = 0;
    while first < n_steps {
        let steps = first..n_steps.min(first + K_BLOCK / STEP);
        // A step of a panel is sixteen vectors.
        let w = |panel: usize| weight.panel(panel)[size_of::<Tile>() * first..].as_ptr().cast::<u32>();
        let x = |tile: usize| &x.row_tile(rows.start / TILE_ROWS + tile)[steps.clone()];
        let (mut panel, mut totals) = (panels.start, &mut *totals);
        while panel < panels.end {
            let left = panels.end - panel;
            // SAFETY: the caller promises the features, and panels and tiles have these steps.
            let n = unsafe {
                // A row is one chain per panel, in which each addition waits for the one before. With few
                // rows, several panels run side by side.
                match (rows.len(), left) {
                    (1, 4..) => few::<S, 1, 4>([0, 1, 2, 3].map(|c| w(panel + c)), x(0), totals, per_panel),
                    (1, 2..) => few::<S, 1, 2>([w(panel), w(panel + 1)], x(0), totals, per_panel),
                    (2, 2..) => few::<S, 2, 2>([w(panel), w(panel + 1)], x(0), totals, per_panel),
                    (3, 2..) => few::<S, 3, 2>([w(panel), w(panel + 1)], x(0), totals, per_panel),
                    _ => {
                        for (tile, totals) in totals[..rows.len()].chunks_mut(TILE_ROWS).enumerate() {
                            strips::<S>(w(panel), x(tile), totals);
                        }
                        1
                    }
                }
            };
            panel += n;
            totals = &mut totals[n * per_panel..];
        }
        first = steps.end;
    }
}

/// Takes the first `R` rows of tiles against a block of `C` panels, whose totals are `per_panel` apart, and
/// returns `C`.
///
/// # Safety
/// The caller runs with the features that `S` needs, and each of `w` has as many steps as `x`.
#[inline(always)]
unsafe fn few<S: PairSums, const R: usize, const C: usize>(
    w: [*const u32; C],
    x: &[Tile],
    totals: &mut [[f32; LANES]],
    per_panel: usize,
) -> usize {
    // SAFETY: the caller's promise.
    unsafe { strip::<S, R, C>(w, x, 0, totals, per_panel) };
    C
}

/// Takes the first `totals.len()` rows of tiles against a block of a panel. There are only a few heights of
/// strips, because each is a copy of the inner loop.
///
/// # Safety
/// The caller runs with the features that `S` needs, and `w` has as many steps as `x`.
#[inline(always)]
unsafe fn strips<S: PairSums>(w: *const u32, x: &[Tile], totals: &mut [[f32; LANES]]) {
    let mut row = 0;
    while row < totals.len() {
        let totals = &mut totals[row..];
        // SAFETY: the caller's promise; strips end at the last row.
        row += unsafe {
            match totals.len() {
                16.. if const { S::STRIP >= 16 } => strip::<S, 16, 1>([w], x, row, totals, 0),
                8.. if const { S::STRIP >= 8 } => strip::<S, 8, 1>([w], x, row, totals, 0),
                4.. => strip::<S, 4, 1>([w], x, row, totals, 0),
                2.. => strip::<S, 2, 1>([w], x, row, totals, 0),
                _ => strip::<S, 1, 1>([w], x, row, totals, 0),
            }
        };
    }
}

/// Takes `R` rows from `row` on against `C` panels, whose totals are `per_panel` apart, and returns `R`.
///
/// # Safety
/// The promises of [`strips`] hold.
#[allow(clippy::needless_range_loop)] // indices make the shape of the tile visible
#[inline(always)]
unsafe fn strip<S: PairSums, const R: usize, const C: usize>(
    w: [*const u32; C],
    x: &[Tile],
    row: usize,
    totals: &mut [[f32; LANES]],
    per_panel: usize,
) -> usize {
    assert!(totals.len() >= (C - 1) * per_panel + R && row + R <= TILE_ROWS);
    // SAFETY: tiles and totals have `R` rows, and a step is sixteen vectors of weights.
    unsafe {
        let totals = totals.as_mut_ptr().cast::<f32>();
        let mut sums = [[S::load(totals); C]; R];
        for r in 0..R {
            for c in 0..C {
                sums[r][c] = S::load(totals.add((c * per_panel + r) * LANES));
            }
        }
        for (step, x) in x.iter().enumerate() {
            let x = x.0[row..].as_ptr().cast::<u32>();
            for pair in 0..STEP / 2 {
                for c in 0..C {
                    let w = w[c].add((step * STEP / 2 + pair) * LANES);
                    S::prefetch(w.cast::<u8>().wrapping_add(AHEAD));
                    let w = S::pairs(w);
                    for r in 0..R {
                        sums[r][c] = sums[r][c].add(w, *x.add(r * STEP / 2 + pair));
                    }
                }
            }
        }
        for r in 0..R {
            for c in 0..C {
                sums[r][c].store(totals.add((c * per_panel + r) * LANES));
            }
        }
    }
    R
}
