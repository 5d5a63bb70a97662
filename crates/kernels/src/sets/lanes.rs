//! Sixteen `f32` lanes: the one shape in which every kernel computes.
//!
//! AVX-512 holds the lanes in one register, AVX2 in two, NEON in four, and the plain version in an array that
//! the compiler vectorises as it can. All versions do the same operations in the same order, so they give the
//! same bits.

use super::ints::IntLanes;
use half::f16;

/// Sixteen `f32` values and the operations on them that kernels need.
///
/// # Safety
/// Every method needs the features of its instruction set enabled in the caller. Pointers must be valid for
/// sixteen elements, at any alignment.
pub(crate) trait Lanes: Copy {
    /// The integers of the same instruction set.
    type Ints: IntLanes<Floats = Self>;
    /// The number of rows whose accumulators fit the register file beside one panel of weights.
    const STRIP: usize;
    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(p: *const f32) -> Self;
    /// Loads sixteen pairs of `bf16`, `[16][2]`: the first of each pair, and the second.
    unsafe fn load_bf16_pairs(p: *const u32) -> (Self, Self);
    unsafe fn load_f16(p: *const f16) -> Self;
    unsafe fn store(self, p: *mut f32);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    /// Returns `self + a * b`, rounded once.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    /// Returns the larger of each lane, or the lane of `other` where either is not a number.
    unsafe fn max(self, other: Self) -> Self;
    /// Returns the largest lane, or any lane if one is not a number.
    unsafe fn largest(self) -> f32;
    /// Returns the smaller of each lane, or the lane of `other` where either is not a number.
    unsafe fn min(self, other: Self) -> Self;
    /// Adds the low bits of `n`, taken as integers, to the exponents of `self`.
    unsafe fn add_exponent(self, n: Self) -> Self;
    /// Prefetches the cache line at `p`, which may lie outside any allocation.
    unsafe fn prefetch(p: *const u8);

    /// Returns `eˣ` within two units in the last place. Arguments below -87.3 and above 88 count as those
    /// bounds; NaN stays NaN.
    ///
    /// The value is `2ⁿ · eʳ` with `n = round(x · log₂ e)` and `|r| ≤ ln 2 / 2`. The low bits of
    /// `x · log₂ e + 1.5 · 2²³` hold `n`, and `eʳ` is its Taylor polynomial of degree 7, whose error of 1e-8 at
    /// the ends is below the rounding.
    #[inline(always)]
    unsafe fn exp(self) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let (r, shifted) = Self::splat(88.0).min(Self::splat(-87.3).max(self)).reduced();
            let mut p = Self::splat(1.0 / 5040.0);
            for factor in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
                p = Self::splat(factor).add_product(p, r);
            }
            p.add_exponent(shifted)
        }
    }

    /// Splits `self`, which is within ±88, into `n · ln 2 + r` with `|r| ≤ ln 2 / 2`, for exponentials.
    /// Returns `r` and a number whose low bits are `n`.
    #[inline(always)]
    unsafe fn reduced(self) -> (Self, Self) {
        const SHIFT: f32 = 12_582_912.0;
        /// The upper bits of ln 2: so few that their product with `n` is exact.
        const LN_2_HIGH: f32 = 0.693_359_4;
        const LN_2_LOW: f32 = -2.121_944_4e-4;
        // SAFETY: the caller's promise.
        unsafe {
            let shifted = Self::splat(SHIFT).add_product(self, Self::splat(std::f32::consts::LOG2_E));
            let n = shifted.sub(Self::splat(SHIFT));
            let r = self.add_product(n, Self::splat(-LN_2_HIGH)).add_product(n, Self::splat(-LN_2_LOW));
            (r, shifted)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::LANES;
    use crate::machine::Isa;
    use crate::sets::kernel::Kernel;

    /// Replaces numbers by their exponentials, sixteen at a time.
    struct Exp<'a>(&'a mut [f32]);

    impl Kernel for Exp<'_> {
        #[inline(always)]
        unsafe fn run<L: Lanes>(self) {
            for group in self.0.chunks_exact_mut(LANES) {
                // SAFETY: the group has sixteen elements; the features are the caller's promise.
                unsafe { L::load(group.as_ptr()).exp().store(group.as_mut_ptr()) }
            }
        }
    }

    #[test]
    fn exponentials_are_within_two_units_and_the_same_on_every_set() {
        let xs: Vec<f32> = (0..16 * 4000).map(|i| -88.0 + i as f32 * 0.00275).collect();
        let mut first: Option<Vec<f32>> = None;
        for isa in Isa::available() {
            let mut got = xs.clone();
            isa.run(Exp(&mut got));
            for (x, got) in xs.iter().zip(&got) {
                let want = f64::from(x.clamp(-87.3, 88.0)).exp();
                let error = (f64::from(*got) - want).abs() / want;
                assert!(error < 2.4e-7, "{isa:?}: exp({x}) = {got}, wanted {want}");
            }
            assert_eq!(first.get_or_insert_with(|| got.clone()), &got, "{isa:?} gives other bits");
        }
    }

    /// Writes the largest of sixteen numbers to the first.
    struct Largest<'a>(&'a mut [f32; LANES]);

    impl Kernel for Largest<'_> {
        #[inline(always)]
        unsafe fn run<L: Lanes>(self) {
            // SAFETY: sixteen elements; the features are the caller's promise.
            self.0[0] = unsafe { L::load(self.0.as_ptr()).largest() };
        }
    }

    #[test]
    fn the_largest_lane_is_found_wherever_it_is() {
        for isa in Isa::available() {
            for at in 0..LANES {
                for (others, largest) in [(-5.0, 3.0), (f32::NEG_INFINITY, -1e30), (1.0, f32::INFINITY)] {
                    let mut x = [others; LANES];
                    x[at] = largest;
                    isa.run(Largest(&mut x));
                    assert_eq!(x[0], largest, "{isa:?}, lane {at}");
                }
            }
        }
    }

    #[test]
    fn exponentials_of_nan_and_infinity_are_nan_and_the_bounds() {
        for isa in Isa::available() {
            let mut x = [0.0f32; LANES];
            x[..4].copy_from_slice(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0]);
            isa.run(Exp(&mut x));
            assert!(x[0].is_nan() && x[1] > 1e38 && x[2] < 2e-38 && x[3] == 1.0, "{isa:?}: {x:?}");
        }
    }
}
