//! Products of `bf16` weights by pairs: processors with AVX-512 BF16, or of 64-bit Arm with `bf16`.
//!
//! One instruction adds, in every lane, the products of a pair of weights with a pair of activations, and
//! so does twice the work of a multiply-add of `f32`. A panel holds pairs as the instruction wants them;
//! a pair of activations is broadcast from its tile:
//!
//! ```text
//! weights      a vector of a panel     [16 outputs][2] bf16                  64 bytes
//! activations  32 bits of a tile       [2] bf16, the same for all outputs
//! sums         a row, a panel          [16 outputs] f32, as many rows as registers hold
//! ```
//!
//! **One order of every sum.** A sum is one chain over all inputs from the first to the last, pair by pair: on
//! x86 the second of a pair and then the first, on Arm the sum of both. So a row has the same bits whatever
//! surrounds it; they are not those of sets that read inputs as they are, nor those of tiles.

pub(crate) mod bfdot;

use crate::lanes::LANES;
use crate::linear::GROUP;
use crate::packed::K_BLOCK;
use crate::rounded::{MultiplyRounded, STEP, TILE_ROWS, Tile};
use crate::tile::AHEAD;
use std::marker::PhantomData;

/// Sums of sixteen outputs of a row, to which products of pairs are added.
///
/// # Safety
/// Every method needs the features of its instruction set enabled in the caller; pointers must be
/// valid for sixteen elements, at any alignment.
pub(crate) trait PairSums: Copy {
    /// A pair of weights for each output.
    type Pairs: Copy;
    /// Rows whose sums the registers hold: 4, 8 or 16.
    const STRIP: usize;
    unsafe fn load(p: *const f32) -> Self;
    unsafe fn store(self, p: *mut f32);
    unsafe fn pairs(p: *const u32) -> Self::Pairs;
    /// Adds `w₀ · x₀` and `w₁ · x₁`, the lower halves being the first of their pairs, in the order and with the
    /// rounding of the instruction. Denormal numbers are taken for zero, and none are made.
    unsafe fn add(self, w: Self::Pairs, x: u32) -> Self;
    unsafe fn prefetch(p: *const u8);
}

/// Runs a product. The K blocks are the outer loop, so that a panel's part stays in the first-level cache
/// while the rows pass over it.
///
/// # Safety
/// As for [`PairSums`].
#[inline(always)]
pub(crate) unsafe fn multiply<S: PairSums>(product: MultiplyRounded<'_>) {
    let MultiplyRounded { weight, panels, x, rows, totals } = product;
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
            // SAFETY: the features are the caller's promise; panels and tiles have these steps.
            let n = unsafe {
                // A row is one chain per panel, each addition of which waits for the one before: with few rows,
                // several panels run side by side.
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

/// The first `R` rows of tiles against a block of `C` panels, whose totals are `per_panel` apart; returns
/// `C`.
///
/// # Safety
/// As for [`PairSums`]; `w` are as many steps as `x`.
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

/// The first `totals.len()` rows of tiles against a block of a panel: a few heights only, as each is a
/// copy of the inner loop.
///
/// # Safety
/// As for [`PairSums`]; `w` is as many steps as `x`.
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

/// `R` rows from `row` on against `C` panels, whose totals are `per_panel` apart; returns how many rows.
///
/// # Safety
/// As for [`strips`].
#[allow(clippy::needless_range_loop)] // indices are what makes the tile's shape visible
#[inline(always)]
unsafe fn strip<S: PairSums, const R: usize, const C: usize>(
    w: [*const u32; C],
    x: &[Tile],
    row: usize,
    totals: &mut [[f32; LANES]],
    per_panel: usize,
) -> usize {
    assert!(totals.len() >= (C - 1) * per_panel + R && row + R <= TILE_ROWS);
    // SAFETY: `R` rows are in the tiles and the totals; a step is sixteen vectors of weights.
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

/// How an instruction adds the two products of a pair to a sum.
pub(crate) trait Rule: Copy {
    /// As [`PairSums::STRIP`] of the instruction.
    const STRIP: usize;
    fn add(sum: f32, w: u32, x: u32) -> f32;
}

/// An instruction in software.
#[derive(Clone, Copy)]
pub(crate) struct Twin<R>([f32; LANES], PhantomData<R>);

impl<R: Rule> PairSums for Twin<R> {
    type Pairs = [u32; LANES];
    const STRIP: usize = R::STRIP;

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the caller's promise.
        Twin(unsafe { p.cast::<[f32; LANES]>().read_unaligned() }, PhantomData)
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[f32; LANES]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn pairs(p: *const u32) -> Self::Pairs {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[u32; LANES]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn add(mut self, w: Self::Pairs, x: u32) -> Self {
        for (sum, w) in self.0.iter_mut().zip(w) {
            *sum = R::add(*sum, w, x);
        }
        self
    }
    #[inline(always)]
    unsafe fn prefetch(_: *const u8) {}
}

/// That of `vdpbf16ps`, as it is documented: `(sum + w₁ · x₁) + w₀ · x₀`.
#[derive(Clone, Copy)]
pub(crate) struct Vdpbf16ps;

impl Rule for Vdpbf16ps {
    const STRIP: usize = 16;

    #[inline(always)]
    fn add(mut sum: f32, w: u32, x: u32) -> f32 {
        // Upper halves as they are, lower ones moved up.
        for (w, x) in [(w, x), (w << 16, x << 16)] {
            let [w, x] = [w, x].map(|bits| flush(f32::from_bits(bits & 0xffff_0000)));
            sum = flush(w.mul_add(x, flush(sum)));
        }
        sum
    }
}

/// Denormal numbers are zero.
fn flush(x: f32) -> f32 {
    if x.is_subnormal() { 0.0f32.copysign(x) } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One sum by the twin, of weights of one.
    fn twin_sum(before: f32, pairs: &[[f32; 2]]) -> f32 {
        let pair = |[first, second]: [f32; 2]| second.to_bits() & 0xffff_0000 | first.to_bits() >> 16;
        pairs.iter().fold(before, |sum, x| Vdpbf16ps::add(sum, pair([1.0; 2]), pair(*x)))
    }

    #[test]
    fn the_twin_adds_in_the_order_that_is_documented() {
        const LARGE: f32 = (1 << 27) as f32;
        // The second of a pair comes first; a one is lost beside a large number.
        assert_eq!(twin_sum(0.0, &[[1.0, LARGE], [0.0, -LARGE]]), 0.0);
        assert_eq!(twin_sum(0.0, &[[LARGE, 1.0], [-LARGE, 0.0]]), 0.0);
        assert_eq!(twin_sum(LARGE, &[[1.0, -LARGE]]), 1.0);
        assert_eq!(twin_sum(LARGE, &[[-LARGE, 1.0]]), 0.0);
        // Denormal numbers are zero.
        assert_eq!(twin_sum(0.0, &[[1e-39, 1e-39]]), 0.0);
        assert_eq!(twin_sum(1e-39, &[[0.0, 0.0]]), 0.0);
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_instruction_of_x86_equals_its_twin_to_the_bit() {
        if crate::Isa::named("avx512-bf16").is_ok() {
            // SAFETY: the set is there.
            check_equal::<Twin<Vdpbf16ps>>(|sums, w, x| unsafe { crate::avx512::add_pairs(sums, w, x) });
        }
    }

    #[test]
    #[cfg(target_arch = "aarch64")]
    fn the_instruction_of_arm_equals_its_twin_to_the_bit() {
        if crate::Isa::named("bf16").is_ok() {
            // SAFETY: the set is there.
            check_equal::<Twin<bfdot::Bfdot>>(|sums, w, x| unsafe {
                crate::neon::bf16::add_pairs(sums, w, x)
            });
        }
    }

    /// Holds one step of an instruction to its twin: pairs of any bits, with what is special among them more
    /// often than by chance.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    fn check_equal<T: PairSums<Pairs = [u32; LANES]>>(
        instruction: impl Fn(&[f32; LANES], &[u32; LANES], u32) -> [f32; LANES],
    ) {
        const SPECIAL: [u16; 10] = [0, 0x8000, 1, 0x807f, 0x0080, 0x7f80, 0xff80, 0x7fc0, 0x7f7f, 0x3f80];
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 32) as u32
        };
        for round in 0..20_000 {
            let mut half = || {
                let bits = next();
                match round % 3 {
                    0 => bits as u16,
                    1 if bits % 4 == 0 => SPECIAL[bits as usize / 4 % SPECIAL.len()],
                    // Magnitudes near one, so that roundings are seen.
                    _ => (bits & 0x807f | (0x3e80 + (bits >> 8 & 0x0180))) as u16,
                }
            };
            let mut pair = || u32::from(half()) << 16 | u32::from(half());
            let (sums, w, x) =
                ([0; LANES].map(|_| f32::from_bits(pair())), [0; LANES].map(|_| pair()), pair());
            let (mut want, got) = ([0.0; LANES], instruction(&sums, &w, x));
            // SAFETY: arrays have sixteen elements; a twin needs no feature.
            unsafe { T::load(sums.as_ptr()).add(w, x).store(want.as_mut_ptr()) };
            for i in 0..LANES {
                let same = want[i].to_bits() == got[i].to_bits() || want[i].is_nan() && got[i].is_nan();
                assert!(same, "{:e} + {:x} · {x:x}: {:e}, not {:e}", sums[i], w[i], got[i], want[i]);
            }
        }
    }
}
