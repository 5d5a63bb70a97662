//! Panels of quantised weights against rows of quantised activations.

use super::activations::{Quantised, QuantisedBlock};
use super::decode::{DecodeScratch, decode, factors, min_pairs, mins, octet, prefetch, scale};
use super::{Format, K_BLOCK, Layout, with_format};
use crate::Dtype;
use crate::ints::IntLanes;
use crate::lanes::{LANES, Lanes};
use std::ops::Range;

/// Adds the products of the rows `rows` with a panel of `dtype` to `totals`, `[rows.len()][lane]`.
///
/// # Safety
/// The caller runs with the features that `L` needs.
///
/// # Panics
/// If the panel is not that of rows of `x.n_in()`, `x` is quantised for other types, there are no
/// such rows, or `totals` has not as many.
#[inline(always)]
pub(crate) unsafe fn panel_product<L: Lanes>(
    dtype: Dtype,
    panel: &[u8],
    x: &Quantised,
    rows: Range<usize>,
    totals: &mut [[f32; LANES]],
    scratch: &mut DecodeScratch,
) {
    let layout = Layout::of(dtype);
    assert_eq!(x.unit(), layout.unit, "activations for this type");
    assert_eq!(panel.len(), layout.panel_bytes(x.n_in()), "a panel as wide as the input");
    assert!(rows.end <= x.n_rows() && totals.len() == rows.len(), "a total for each row");
    let mut start = panel.as_ptr();
    for block in 0..x.n_in().div_ceil(K_BLOCK) {
        let x = x.block(block);
        let n_units = x.len / layout.unit;
        let strip = |row: usize| Strip::new(&x, layout, row);
        // SAFETY: by the assertions the panel has these units and `x` these rows.
        unsafe {
            if rows.len() == 1 {
                let total = totals[0].as_mut_ptr();
                let sum = L::load(total);
                let x = strip(rows.start);
                with_format!(dtype, F => one_row::<F, L>(start, n_units, x, sum)).store(total);
            } else {
                with_format!(dtype, F => decode::<F, L>(start, n_units, scratch));
                let mut row = 0;
                while row < rows.len() {
                    let n = (rows.len() - row).min(L::STRIP);
                    let (x, totals) = (strip(rows.start + row), totals.as_mut_ptr().add(row).cast());
                    match n {
                        12 => tile::<L, 12>(scratch, n_units, x, totals),
                        11 => tile::<L, 11>(scratch, n_units, x, totals),
                        10 => tile::<L, 10>(scratch, n_units, x, totals),
                        9 => tile::<L, 9>(scratch, n_units, x, totals),
                        8 => tile::<L, 8>(scratch, n_units, x, totals),
                        7 => tile::<L, 7>(scratch, n_units, x, totals),
                        6 => tile::<L, 6>(scratch, n_units, x, totals),
                        5 => tile::<L, 5>(scratch, n_units, x, totals),
                        4 => tile::<L, 4>(scratch, n_units, x, totals),
                        3 => tile::<L, 3>(scratch, n_units, x, totals),
                        2 => tile::<L, 2>(scratch, n_units, x, totals),
                        _ => tile::<L, 1>(scratch, n_units, x, totals),
                    }
                    row += n;
                }
            }
            start = start.add(n_units * layout.bytes());
        }
    }
}

/// Rows of a K block from one on, and the shape of their units.
#[derive(Clone, Copy)]
struct Strip {
    /// Pairs of codes, `[row][pairs of the block]`.
    codes: *const i16,
    /// Pairs of sums, `[row][pairs of sixteens of the block]`.
    sums: *const i16,
    /// `[row][units of the block]`.
    scales: *const f32,
    /// Inputs of the block.
    len: usize,
    /// Inputs of a unit.
    unit: usize,
    /// Pairs of minimums of a unit, if any.
    min_pairs: usize,
}

impl Strip {
    #[inline(always)]
    fn new(x: &QuantisedBlock, layout: Layout, row: usize) -> Strip {
        Strip {
            codes: x.codes[row * x.len..].as_ptr(),
            sums: x.sums[row * (x.len / 16)..].as_ptr(),
            scales: x.scales[row * (x.len / layout.unit)..].as_ptr(),
            len: x.len,
            unit: layout.unit,
            min_pairs: min_pairs(layout),
        }
    }

    /// Pair `i` of the codes of row `r`, in all lanes.
    #[inline(always)]
    unsafe fn pair<I: IntLanes>(&self, r: usize, i: usize) -> I {
        // SAFETY: the caller's promise that there is one.
        unsafe { I::splat(self.codes.add(r * self.len + 2 * i).cast::<i32>().read_unaligned()) }
    }

    /// Pair `i` of the sums of sixteen of row `r`, in all lanes.
    #[inline(always)]
    unsafe fn pair_of_sums<I: IntLanes>(&self, r: usize, i: usize) -> I {
        // SAFETY: the caller's promise that there is one.
        unsafe { I::splat(self.sums.add(r * (self.len / 16) + 2 * i).cast::<i32>().read_unaligned()) }
    }

    /// The scale of unit `u` of row `r`.
    #[inline(always)]
    unsafe fn scale(&self, r: usize, u: usize) -> f32 {
        // SAFETY: the caller's promise that there is one.
        unsafe { *self.scales.add(r * (self.len / self.unit) + u) }
    }
}

/// `R` rows against a decoded block.
///
/// # Safety
/// As for [`Lanes`]; block and rows have `n_units` units, `totals` has `R` vectors.
#[allow(clippy::needless_range_loop)] // indices are what makes the tile's shape visible
#[inline(always)]
unsafe fn tile<L: Lanes, const R: usize>(w: &DecodeScratch, n_units: usize, x: Strip, totals: *mut f32) {
    let pairs = x.unit / 2;
    // SAFETY: the caller's promise.
    unsafe {
        for u in 0..n_units {
            let mut acc = [L::Ints::splat(0); R];
            for p in u * pairs..(u + 1) * pairs {
                let w = L::Ints::load(w.pairs.as_ptr().add(p).cast());
                for r in 0..R {
                    acc[r] = acc[r].add_pairs(w, x.pair(r, p));
                }
            }
            let d = L::load(w.d.as_ptr().add(u).cast());
            for r in 0..R {
                add_unit(totals.add(r * LANES), acc[r], d, x.scale(r, u));
            }
            if x.min_pairs > 0 {
                let mut acc = [L::Ints::splat(0); R];
                for p in u * x.min_pairs..(u + 1) * x.min_pairs {
                    let w = L::Ints::load(w.mins.as_ptr().add(p).cast());
                    for r in 0..R {
                        acc[r] = acc[r].add_pairs(w, x.pair_of_sums(r, p));
                    }
                }
                let dmin = L::load(w.dmin.as_ptr().add(u).cast());
                for r in 0..R {
                    add_unit(totals.add(r * LANES), acc[r], dmin, -x.scale(r, u));
                }
            }
        }
    }
}

/// `total += sum · (d · dx)`.
#[inline(always)]
unsafe fn add_unit<L: Lanes>(total: *mut f32, sum: L::Ints, d: L, dx: f32) {
    // SAFETY: the caller's promise.
    unsafe { L::load(total).add_product(sum.to_f32(), d.mul(L::splat(dx))).store(total) }
}

/// One row against a packed block, which is decoded on the way. The same integers as by way of
/// [`decode`]: a scale is multiplied with the sum of its group instead of with each of its codes.
///
/// # Safety
/// As for [`Lanes`]; block and row have `n_units` units.
#[inline(always)]
unsafe fn one_row<F: Format, L: Lanes>(block: *const u8, n_units: usize, x: Strip, mut total: L) -> L {
    let layout = F::LAYOUT;
    let groups = layout.unit / 32;
    // SAFETY: the caller's promise.
    unsafe {
        for u in 0..n_units {
            let unit = block.add(u * layout.bytes());
            let mut sum = L::Ints::splat(0);
            let mut min_sum = L::Ints::splat(0);
            for g in 0..groups {
                prefetch::<F, L>(unit, g, groups);
                let mut halves = [L::Ints::splat(0); 2];
                for j in 0..4 {
                    let q = octet::<F, L::Ints>(unit, g, j);
                    for i in 0..4 {
                        halves[j / 2] =
                            halves[j / 2].add_pairs(q[i], x.pair(0, (u * groups + g) * 16 + 4 * j + i));
                    }
                }
                if layout.group == 16 {
                    for i in 0..2 {
                        sum = sum.add(halves[i].mul(scale::<F, L::Ints>(unit, 2 * g + i)));
                    }
                } else {
                    let both = halves[0].add(halves[1]);
                    sum = sum.add(if layout.group == 0 {
                        both
                    } else {
                        both.mul(scale::<F, L::Ints>(unit, g))
                    });
                }
                if g < min_pairs(layout) {
                    let sums = x.pair_of_sums(0, u * groups + g);
                    min_sum = min_sum.add_pairs(mins::<F, L::Ints>(unit, g), sums);
                }
            }
            let (d, dmin) = factors::<F, L>(unit);
            let dx = x.scale(0, u);
            total = total.add_product(sum.to_f32(), d.mul(L::splat(dx)));
            if min_pairs(layout) > 0 {
                total = total.add_product(min_sum.to_f32(), dmin.mul(L::splat(-dx)));
            }
        }
        total
    }
}
