//! Products of decoded blocks with rows of activations, by tiles of bytes.
//!
//! A decoded block lies as the matrix unit reads a tile of weights, and rows of activations lie as it reads
//! tiles of activations, so nothing is copied:
//!
//! ```text
//! activations  16 rows, as they lie              A: [16 rows][4 · depth inputs] i8
//! weights      `depth` quads of a decoded block  B: [depth quads][16 outputs][4] u8 (i8 where codes have signs)
//! products     of the inputs that share a scale  C: [16 rows][16 outputs] i32
//! ```
//!
//! A tile is as deep as the number of inputs that share a scale: 16 or 32. The vectors of the kernel set do
//! the rest: integer scales, then factors. Everything that a tile adds up is an integer, and floats are
//! treated as in `product.rs`, so all bits are those of every other set.

use super::decode::{DecodeScratch, decode};
use super::format::{Layout, with_format};
use super::product::{Blocks, PanelProduct, Strip, add_sign_offsets, finish_unit};
use crate::layout::{LANES, TILE_ROWS};
use crate::sets::{ByteSums, ByteTiles, IntLanes, Lanes, N_TILES};
use crate::weights::Dtype;

/// The number of rows from which tiles are used. Fewer rows are left to vectors, whose work grows with the
/// rows, while putting tiles together costs the same for any number of rows. The number is calculated from
/// the instructions that each way takes, and not measured.
///
/// AMX multiplies sixteen rows at once. `smmla` multiplies four: a tile of 32 inputs takes 104 vector
/// instructions for them (64 products, 24 to put rows and sums together, 16 scalings) and 32 more to arrange
/// the weights, once for all rows, where `sdot` takes 176 (128 products, 32 broadcasts, 16 scalings). Eight
/// rows take 240 instead of 352. Four to seven rows gain less or nothing, and products pass through memory on
/// the way.
pub(crate) const TILES_FROM: usize = 8;

/// Returns the depth of the tiles of `dtype`, which is the number of quads that share a scale.
pub(crate) const fn depth_of(dtype: Dtype) -> usize {
    if Layout::of(dtype).group == 16 { 4 } else { 8 }
}

/// Adds the products of any number of rows. The bits are those of [`super::product::rows_product`].
///
/// # Safety
/// The caller runs with the features that `L` needs, whose sums are wide, and `unit` is set up for the depth
/// of the type's tiles.
///
/// # Panics
/// Panics where [`super::product::rows_product`] does.
#[inline(always)]
pub(crate) unsafe fn tiled_product<L: Lanes>(
    unit: &mut impl ByteTiles,
    product: PanelProduct,
    scratch: &mut DecodeScratch,
) {
    assert!(<L::Ints as IntLanes>::WIDE, "tiles add up in whole lanes");
    let (dtype, n_rows) = (product.dtype, product.rows.len());
    let layout = Layout::of(dtype);
    let mut blocks = Blocks::new(product);
    while let Some((block, n_units, x, totals)) = blocks.next() {
        // SAFETY: block and rows are there, with room for sixteen rows behind every row, and the caller
        // promises the features.
        unsafe {
            with_format!(dtype, F => decode::<F, L>(block, n_units, scratch));
            unit.arrange(&mut scratch.quads[..n_units * layout.unit / 4]);
            let mut row = 0;
            while row < n_rows {
                let high = (n_rows - row).min(TILE_ROWS);
                let (x, totals) = (x.skip(row), totals.add(row * LANES));
                if layout.unit == 32 {
                    units_of_one_tile::<L>(unit, scratch, n_units, layout.is_signed(), x, high, totals);
                } else {
                    units_of_many_tiles::<L>(unit, scratch, depth_of(dtype), x, high, totals);
                }
                row += high;
            }
        }
    }
}

/// Takes up to sixteen rows against a block of units of 32, each of which is a tile.
///
/// # Safety
/// The promises of [`tiled_product`] hold.
#[inline(always)]
unsafe fn units_of_one_tile<L: Lanes>(
    unit: &mut impl ByteTiles,
    w: &DecodeScratch,
    n_units: usize,
    signed: bool,
    x: Strip,
    n_rows: usize,
    totals: *mut f32,
) {
    let offset = signed && const { <L::Ints as IntLanes>::SIGN_OFFSET != 0 };
    let mut products = [ByteSums([[0; LANES]; TILE_ROWS]); N_TILES];
    // SAFETY: the caller's promise.
    unsafe {
        for first in (0..n_units).step_by(N_TILES) {
            let products = &mut products[..(n_units - first).min(N_TILES)];
            let codes = x.codes.add(32 * first);
            let quads = w.quads.as_ptr().add(8 * first);
            unit.multiply(codes, x.len, n_rows, quads, 8, signed && !offset, products);
            let mut row = 0;
            while row < n_rows {
                let strip = strip_of(n_rows - row);
                let (x, totals) = (x.skip(row), totals.add(row * LANES));
                for (i, products) in products.iter().enumerate() {
                    let products = &products.0[row..];
                    match strip {
                        4 => one_tile::<L, 4>(w, first + i, offset, products, x, totals),
                        _ => one_tile::<L, 1>(w, first + i, offset, products, x, totals),
                    }
                }
                row += strip;
            }
        }
    }
}

/// Adds unit `u`, whose products with `R` rows are given, to the totals of the rows.
#[inline(always)]
unsafe fn one_tile<L: Lanes, const R: usize>(
    w: &DecodeScratch,
    u: usize,
    offset: bool,
    products: &[[u32; LANES]],
    x: Strip,
    totals: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = load::<L, R>(products);
        if offset {
            add_sign_offsets(&mut sums, u, x);
        }
        finish_unit::<L, R>(w, u, x, sums, totals);
    }
}

/// Takes up to sixteen rows against a block that is one unit of many tiles.
///
/// # Safety
/// The promises of [`tiled_product`] hold.
#[inline(always)]
unsafe fn units_of_many_tiles<L: Lanes>(
    unit: &mut impl ByteTiles,
    w: &DecodeScratch,
    depth: usize,
    x: Strip,
    n_rows: usize,
    totals: *mut f32,
) {
    let mut products = [ByteSums([[0; LANES]; TILE_ROWS]); N_TILES];
    let mut sums = ByteSums([[0; LANES]; TILE_ROWS]);
    // SAFETY: the caller's promise.
    unsafe {
        for first in (0..x.len / (4 * depth)).step_by(N_TILES) {
            let quads = w.quads.as_ptr().add(depth * first);
            let codes = x.codes.add(4 * depth * first);
            unit.multiply(codes, x.len, n_rows, quads, depth, false, &mut products);
            let mut scales = [L::Ints::splat(0); N_TILES];
            for (i, scale) in scales.iter_mut().enumerate() {
                *scale = L::Ints::load(w.scales[(first + i) * depth / 4].as_ptr());
            }
            for (row, sums) in sums.0[..n_rows].iter_mut().enumerate() {
                let mut sum = L::Ints::load(sums.as_ptr());
                for (products, scale) in products.iter().zip(scales) {
                    sum = sum.add_scaled(L::Ints::load(products.0[row].as_ptr()), scale);
                }
                sum.store(sums.as_mut_ptr());
            }
        }
        let mut row = 0;
        while row < n_rows {
            let strip = strip_of(n_rows - row);
            let (x, sums, totals) = (x.skip(row), &sums.0[row..], totals.add(row * LANES));
            match strip {
                4 => finish_unit::<L, 4>(w, 0, x, load::<L, 4>(sums), totals),
                _ => finish_unit::<L, 1>(w, 0, x, load::<L, 1>(sums), totals),
            }
            row += strip;
        }
    }
}

/// Returns the number of rows that are taken together when `n_rows` are left.
fn strip_of(n_rows: usize) -> usize {
    if n_rows >= 4 { 4 } else { 1 }
}

/// Loads the first `R` rows.
///
/// # Safety
/// The caller runs with the features that `L` needs.
#[inline(always)]
unsafe fn load<L: Lanes, const R: usize>(rows: &[[u32; LANES]]) -> [L::Ints; R] {
    // SAFETY: rows have sixteen elements, and the caller promises the features.
    unsafe {
        let mut out = [L::Ints::splat(0); R];
        for (out, row) in out.iter_mut().zip(&rows[..R]) {
            *out = L::Ints::load(row.as_ptr());
        }
        out
    }
}
