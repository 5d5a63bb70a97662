//! Products of panels of quantised weights with rows of quantised activations, by vectors.

use super::activations::{Quantised, QuantisedBlock};
use super::decode::{DecodeScratch, code_quad, decode, factors, mins, offsets, prefetch, scales};
use super::format::{Format, Layout, Mins, with_format};
use crate::layout::{K_BLOCK, LANES};
use crate::sets::{IntLanes, Lanes};
use crate::weights::Dtype;
use std::ops::Range;

/// Returns the largest number of rows for which decoding the weights into memory first would take longer.
/// Decoding a fifth bit takes work that is worth sharing sooner.
pub(crate) const fn few_rows_of(layout: Layout) -> usize {
    if layout.high == 1 { 2 } else { 3 }
}

/// A panel of quantised weights, rows of quantised activations, and sums to add their products to.
pub(crate) struct PanelProduct<'a> {
    /// The type of the weights.
    pub(crate) dtype: Dtype,
    /// Sixteen rows of weights, as wide as `x`.
    pub(crate) panel: &'a [u8],
    /// The activations, quantised for this type.
    pub(crate) x: &'a Quantised,
    /// The rows of `x` that are multiplied.
    pub(crate) rows: Range<usize>,
    /// The sums, `[rows.len()][lane]`.
    pub(crate) totals: &'a mut [[f32; LANES]],
}

/// Adds the products of at most [`few_rows_of`] rows.
///
/// # Safety
/// The caller runs with the features that `L` needs.
///
/// # Panics
/// Panics if there are more rows, and where [`rows_product`] does.
#[inline(always)]
pub(crate) unsafe fn few_rows_product<L: Lanes>(product: PanelProduct) {
    let (dtype, n_rows) = (product.dtype, product.rows.len());
    let mut blocks = Blocks::new(product);
    while let Some((block, n_units, x, totals)) = blocks.next() {
        // SAFETY: block and rows are there, and the caller promises the features.
        unsafe {
            match n_rows {
                0 => {}
                1 => with_format!(dtype, F => few_rows::<F, L, 1>(block, n_units, x, totals)),
                2 => with_format!(dtype, F => few_rows::<F, L, 2>(block, n_units, x, totals)),
                3 => with_format!(dtype, F => few_rows::<F, L, 3>(block, n_units, x, totals)),
                _ => panic!("more rows than this product takes"),
            }
        }
    }
}

/// Adds the products of any number of rows. The bits are those of [`few_rows_product`].
///
/// # Safety
/// The caller runs with the features that `L` needs.
///
/// # Panics
/// Panics if the panel is not as wide as `x`, if `x` is quantised for other types, if there are no such rows,
/// or if `totals` does not have as many.
#[inline(always)]
pub(crate) unsafe fn rows_product<L: Lanes>(product: PanelProduct, scratch: &mut DecodeScratch) {
    let (dtype, n_rows) = (product.dtype, product.rows.len());
    let mut blocks = Blocks::new(product);
    while let Some((block, n_units, x, totals)) = blocks.next() {
        // SAFETY: block and rows are there, and the caller promises the features.
        unsafe {
            with_format!(dtype, F => decode::<F, L>(block, n_units, scratch));
            match Layout::of(dtype).quads_per_sum(<L::Ints as IntLanes>::WIDE) {
                8 => strips::<L, 8>(scratch, n_units, x, n_rows, totals),
                4 => strips::<L, 4>(scratch, n_units, x, n_rows, totals),
                2 => strips::<L, 2>(scratch, n_units, x, n_rows, totals),
                _ => strips::<L, 1>(scratch, n_units, x, n_rows, totals),
            }
        }
    }
}

/// The K blocks of a panel, each beside the K block of the rows.
pub(super) struct Blocks<'a> {
    layout: Layout,
    panel: &'a [u8],
    x: &'a Quantised,
    first_row: usize,
    totals: *mut f32,
    next: usize,
}

impl<'a> Blocks<'a> {
    /// Starts at the first block.
    pub(super) fn new(product: PanelProduct<'a>) -> Blocks<'a> {
        let PanelProduct { dtype, panel, x, rows, totals } = product;
        let layout = Layout::of(dtype);
        assert_eq!(x.unit(), layout.unit, "activations are quantised for this type");
        assert_eq!(panel.len(), layout.panel_bytes(x.n_in()), "the panel is as wide as the input");
        assert!(rows.end <= x.n_rows() && totals.len() == rows.len(), "there is a total for each row");
        let totals = totals.as_flattened_mut().as_mut_ptr();
        Blocks { layout, panel, x, first_row: rows.start, totals, next: 0 }
    }

    /// Returns the units of the next block, their number, the rows, and the totals of the rows.
    pub(super) fn next(&mut self) -> Option<(*const u8, usize, Strip, *mut f32)> {
        let start = self.next * self.layout.panel_bytes(K_BLOCK);
        if start >= self.panel.len() {
            return None;
        }
        let x = self.x.block(self.next);
        self.next += 1;
        let strip = Strip::new(&x, self.layout, self.first_row);
        Some((self.panel[start..].as_ptr(), x.len / self.layout.unit, strip, self.totals))
    }
}

/// The rows of a K block from some row on, and the shape of their units.
#[derive(Clone, Copy)]
pub(super) struct Strip {
    /// The codes, `[row][inputs of the block]`.
    pub(super) codes: *const i8,
    /// The sums of sixteen codes, `[row][sixteens of the block]`.
    sums: *const i16,
    /// The scales, `[row][units of the block]`.
    scales: *const f32,
    /// The number of inputs of the block.
    pub(super) len: usize,
    /// The number of inputs of a unit.
    unit: usize,
    has_offsets: bool,
    has_mins: bool,
}

impl Strip {
    /// Makes the strip of the rows from `row` on.
    fn new(x: &QuantisedBlock, layout: Layout, row: usize) -> Strip {
        Strip {
            codes: x.codes[row * x.len..].as_ptr(),
            sums: x.sums[row * (x.len / 16)..].as_ptr(),
            scales: x.scales[row * (x.len / layout.unit)..].as_ptr(),
            len: x.len,
            unit: layout.unit,
            has_offsets: layout.offset != 0,
            has_mins: layout.mins != Mins::None,
        }
    }

    /// Returns the rows from the `n`-th on.
    ///
    /// # Safety
    /// There are `n` rows.
    #[inline(always)]
    pub(super) unsafe fn skip(self, n: usize) -> Strip {
        // SAFETY: the caller's promise.
        unsafe {
            Strip {
                codes: self.codes.add(n * self.len),
                sums: self.sums.add(n * (self.len / 16)),
                scales: self.scales.add(n * (self.len / self.unit)),
                ..self
            }
        }
    }

    /// Returns quad `t` of row `r`, in all lanes.
    #[inline(always)]
    unsafe fn quad<I: IntLanes>(&self, r: usize, t: usize) -> I {
        // SAFETY: the caller promises that it is there.
        unsafe { I::splat(self.codes.add(r * self.len + 4 * t).cast::<i32>().read_unaligned()) }
    }

    /// Returns the sums of sixteens `2 i` and `2 i + 1` of row `r`, in all lanes.
    #[inline(always)]
    unsafe fn sums<I: IntLanes>(&self, r: usize, i: usize) -> I {
        // SAFETY: the caller promises that they are there.
        unsafe { I::splat(self.sums.add(r * (self.len / 16) + 2 * i).cast::<i32>().read_unaligned()) }
    }

    /// Returns the scale of unit `u` of row `r`.
    #[inline(always)]
    unsafe fn scale(&self, r: usize, u: usize) -> f32 {
        // SAFETY: the caller promises that it is there.
        unsafe { *self.scales.add(r * (self.len / self.unit) + u) }
    }
}

/// Takes all rows against a decoded block, as many at a time as the registers hold sums of.
///
/// # Safety
/// The caller runs with the features that `L` needs, block and rows have `n_units` units, and `totals` has
/// `n_rows` vectors.
#[inline(always)]
unsafe fn strips<L: Lanes, const Q: usize>(
    w: &DecodeScratch,
    n_units: usize,
    first: Strip,
    n_rows: usize,
    totals: *mut f32,
) {
    let mut row = 0;
    while row < n_rows {
        // Each row needs sums of 16 and of 32 bits.
        let n = (n_rows - row).min(L::STRIP / 2);
        // SAFETY: the caller's promise, and strips end at the last row.
        unsafe {
            let (x, totals) = (first.skip(row), totals.add(row * LANES));
            // The compiler drops the heights that no strip of this set has.
            match n {
                6 if const { L::STRIP >= 12 } => tile::<L, Q, 6>(w, n_units, x, totals),
                5 if const { L::STRIP >= 10 } => tile::<L, Q, 5>(w, n_units, x, totals),
                4 if const { L::STRIP >= 8 } => tile::<L, Q, 4>(w, n_units, x, totals),
                3 if const { L::STRIP >= 6 } => tile::<L, Q, 3>(w, n_units, x, totals),
                2 => tile::<L, Q, 2>(w, n_units, x, totals),
                _ => tile::<L, Q, 1>(w, n_units, x, totals),
            }
        }
        row += n;
    }
}

/// Takes `R` rows against a decoded block, and adds up `Q` quads at a time before they are scaled. `Q` is one
/// for signed codes, which have no scale and are taken by eight, so that the loop is unrolled.
///
/// # Safety
/// The promises of [`strips`] hold.
#[allow(clippy::needless_range_loop)] // indices make the shape of the tile visible
#[inline(always)]
unsafe fn tile<L: Lanes, const Q: usize, const R: usize>(
    w: &DecodeScratch,
    n_units: usize,
    x: Strip,
    totals: *mut f32,
) {
    let quads = x.unit / 4;
    // SAFETY: the caller's promise.
    unsafe {
        for u in 0..n_units {
            let mut sums = [L::Ints::splat(0); R];
            if Q == 1 && const { <L::Ints as IntLanes>::SIGN_OFFSET != 0 } {
                add_sign_offsets(&mut sums, u, x);
            }
            let mut first = u * quads;
            while first < (u + 1) * quads {
                if Q == 1 {
                    for t in first..first + 8 {
                        let w = L::Ints::load(w.quads.as_ptr().add(t).cast());
                        for r in 0..R {
                            sums[r] = sums[r].add_signed_dots(w, x.quad(r, t));
                        }
                    }
                    first += 8;
                } else {
                    let mut dots = [L::Ints::splat(0); R];
                    for t in first..first + Q {
                        let w = L::Ints::load(w.quads.as_ptr().add(t).cast());
                        for r in 0..R {
                            dots[r] = dots[r].add_dots(w, x.quad(r, t));
                        }
                    }
                    let scale = L::Ints::load(w.scales.as_ptr().add(first / 4).cast());
                    for r in 0..R {
                        sums[r] = sums[r].add_scaled(dots[r], scale);
                    }
                    first += Q;
                }
            }
            finish_unit::<L, R>(w, u, x, sums, totals);
        }
    }
}

/// Subtracts the excess of the codes of unit `u`, which are signed and were read as unsigned.
///
/// # Safety
/// The promises of [`strips`] hold.
#[inline(always)]
pub(super) unsafe fn add_sign_offsets<I: IntLanes, const R: usize>(sums: &mut [I; R], u: usize, x: Strip) {
    let groups = x.unit / 32;
    // SAFETY: the caller's promise.
    unsafe {
        for (r, sum) in sums.iter_mut().enumerate() {
            for i in u * groups..(u + 1) * groups {
                *sum = sum.add_pairs(sign_offsets(), x.sums(r, i));
            }
        }
    }
}

/// Adds the sums of `R` rows over the scaled codes of unit `u` to the totals of the rows.
///
/// # Safety
/// The promises of [`strips`] hold.
#[allow(clippy::needless_range_loop)] // as in `tile`
#[inline(always)]
pub(super) unsafe fn finish_unit<L: Lanes, const R: usize>(
    w: &DecodeScratch,
    u: usize,
    x: Strip,
    mut sums: [L::Ints; R],
    totals: *mut f32,
) {
    let groups = x.unit / 32;
    // SAFETY: the caller's promise.
    unsafe {
        if x.has_offsets {
            for i in u * groups..(u + 1) * groups {
                let offsets = L::Ints::load(w.offsets.as_ptr().add(i).cast());
                for r in 0..R {
                    sums[r] = sums[r].add_pairs(offsets, x.sums(r, i));
                }
            }
        }
        let d = L::load(w.d.as_ptr().add(u).cast());
        for r in 0..R {
            add_unit(totals.add(r * LANES), sums[r], d, x.scale(r, u));
        }
        if x.has_mins {
            let mut sums = [L::Ints::splat(0); R];
            for i in u * groups..(u + 1) * groups {
                let mins = L::Ints::load(w.mins.as_ptr().add(i).cast());
                for r in 0..R {
                    sums[r] = sums[r].add_pairs(mins, x.sums(r, i));
                }
            }
            let dmin = L::load(w.dmin.as_ptr().add(u).cast());
            for r in 0..R {
                add_unit(totals.add(r * LANES), sums[r], dmin, -x.scale(r, u));
            }
        }
    }
}

/// Returns the factors by which the sums of activations are multiplied to subtract [`IntLanes::SIGN_OFFSET`]
/// from signed codes.
#[inline(always)]
unsafe fn sign_offsets<I: IntLanes>() -> I {
    // SAFETY: the caller's features.
    unsafe { I::splat((-I::SIGN_OFFSET & 0xffff) * 0x0001_0001) }
}

/// Adds `sum · (d · dx)` to `total`.
#[inline(always)]
unsafe fn add_unit<L: Lanes>(total: *mut f32, sum: L::Ints, d: L, dx: f32) {
    // SAFETY: the caller's promise.
    unsafe { L::load(total).add_product(sum.to_f32(), d.mul(L::splat(dx))).store(total) }
}

/// Takes `R` rows against a packed block, which is decoded on the way into the registers, because for so few
/// rows storing the decoded block first would take longer. The integers are those of [`tile`].
///
/// # Safety
/// The promises of [`strips`] hold, and `block` is `n_units` packed units.
#[allow(clippy::needless_range_loop)] // indices make the shape of the tile visible
#[inline(always)]
unsafe fn few_rows<F: Format, L: Lanes, const R: usize>(
    block: *const u8,
    n_units: usize,
    x: Strip,
    totals: *mut f32,
) {
    let layout = F::LAYOUT;
    if const { R > few_rows_of(F::LAYOUT) } {
        panic!("more rows than this product takes");
    }
    let groups = layout.unit / 32;
    let per_sum = layout.quads_per_sum(<L::Ints as IntLanes>::WIDE);
    // SAFETY: the caller's promise.
    unsafe {
        for u in 0..n_units {
            let unit = block.add(u * layout.bytes());
            let mut sums = [L::Ints::splat(0); R];
            let mut min_sums = [L::Ints::splat(0); R];
            for g in 0..groups {
                prefetch::<F, L>(unit, g, groups);
                let at = u * groups + g;
                let scales = scales::<F, L::Ints>(unit, g);
                let mut dots = [L::Ints::splat(0); R];
                for t in 0..8 {
                    let w = code_quad::<F, L::Ints>(unit, g, t);
                    for r in 0..R {
                        let x = x.quad::<L::Ints>(r, 8 * at + t);
                        if layout.is_signed() {
                            sums[r] = sums[r].add_signed_dots(w, x);
                        } else {
                            dots[r] = dots[r].add_dots(w, x);
                            if (t + 1).is_multiple_of(per_sum) {
                                sums[r] = sums[r].add_scaled(dots[r], scales[t / 4]);
                                dots[r] = L::Ints::splat(0);
                            }
                        }
                    }
                }
                for r in 0..R {
                    if layout.is_signed() && const { <L::Ints as IntLanes>::SIGN_OFFSET != 0 } {
                        sums[r] = sums[r].add_pairs(sign_offsets(), x.sums(r, at));
                    }
                    if layout.offset != 0 {
                        sums[r] = sums[r].add_pairs(offsets::<F, L::Ints>(scales), x.sums(r, at));
                    }
                    if layout.mins != Mins::None {
                        min_sums[r] = min_sums[r].add_pairs(mins::<F, L::Ints>(unit, g), x.sums(r, at));
                    }
                }
            }
            let (d, dmin) = factors::<F, L>(unit);
            for r in 0..R {
                add_unit(totals.add(r * LANES), sums[r], d, x.scale(r, u));
                if layout.mins != Mins::None {
                    add_unit(totals.add(r * LANES), min_sums[r], dmin, -x.scale(r, u));
                }
            }
        }
    }
}
