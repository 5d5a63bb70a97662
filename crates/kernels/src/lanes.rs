//! Sixteen `f32` lanes: the one shape in which every kernel computes.
//!
//! AVX-512 holds them in one register, AVX2 in two, the plain version in an array that the
//! compiler vectorises as it can (on aarch64 into four NEON registers). All three do the same
//! operations in the same order, so they give the same bits.

use crate::ints::{IntLanes, PlainInts};
use half::f16;

/// How many lanes there are.
pub(crate) const LANES: usize = 16;

/// Sixteen `f32` values and the operations that kernels need of them.
///
/// # Safety
/// Every method needs the features of its instruction set enabled in the caller; pointers must be
/// valid for sixteen elements, at any alignment.
pub(crate) trait Lanes: Copy {
    /// The integers of the same instruction set.
    type Ints: IntLanes<Floats = Self>;
    /// Rows of a tile whose accumulators fit the register file beside one panel of weights.
    const STRIP: usize;
    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(p: *const f32) -> Self;
    /// Sixteen pairs of `bf16`, `[16][2]`: the first of each pair, and the second.
    unsafe fn load_bf16_pairs(p: *const u32) -> (Self, Self);
    unsafe fn load_f16(p: *const f16) -> Self;
    unsafe fn store(self, p: *mut f32);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    /// `self + a * b`, rounded once.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    /// The larger; `other` where either is not a number.
    unsafe fn max(self, other: Self) -> Self;
    /// The largest lane; any of them if one is not a number.
    unsafe fn largest(self) -> f32;
    /// The smaller; `other` where either is not a number.
    unsafe fn min(self, other: Self) -> Self;
    /// Adds the low bits of `n`, taken as integers, to the exponents of `self`.
    unsafe fn add_exponent(self, n: Self) -> Self;
    /// Asks for the cache line at `p`, which may lie outside any allocation.
    unsafe fn prefetch(p: *const u8);

    /// `eˣ` within two units in the last place; below -87.3 the smallest normal number, above 88
    /// what it is there. A number that is none stays none.
    ///
    /// `eˣ = 2ⁿ · eʳ` with `n = round(x · log₂ e)` and `|r| ≤ ln 2 / 2`, where `n` is read from the
    /// low bits of `x · log₂ e + 1.5 · 2²³` and `eʳ` is its Taylor polynomial of degree 7 (error
    /// 1e-8 at the ends, below the rounding).
    #[inline(always)]
    unsafe fn exp(self) -> Self {
        const SHIFT: f32 = 12_582_912.0;
        /// The upper bits of ln 2, so few that their product with `n` is exact.
        const LN_2_HIGH: f32 = 0.693_359_4;
        const LN_2_LOW: f32 = -2.121_944_4e-4;
        // SAFETY: the caller's promise.
        unsafe {
            let x = Self::splat(88.0).min(Self::splat(-87.3).max(self));
            let shifted = Self::splat(SHIFT).add_product(x, Self::splat(std::f32::consts::LOG2_E));
            let n = shifted.sub(Self::splat(SHIFT));
            let r = x.add_product(n, Self::splat(-LN_2_HIGH)).add_product(n, Self::splat(-LN_2_LOW));
            let mut p = Self::splat(1.0 / 5040.0);
            for factor in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
                p = Self::splat(factor).add_product(p, r);
            }
            p.add_exponent(shifted)
        }
    }
}

/// The plain version.
#[derive(Clone, Copy)]
pub(crate) struct PlainLanes(pub(crate) [f32; LANES]);

impl PlainLanes {
    #[inline(always)]
    fn zip(mut self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        for (x, y) in self.0.iter_mut().zip(other.0) {
            *x = f(*x, y);
        }
        self
    }
}

impl Lanes for PlainLanes {
    type Ints = PlainInts;
    const STRIP: usize = 4;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        PlainLanes([x; LANES])
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the caller's promise.
        PlainLanes(unsafe { p.cast::<[f32; LANES]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn load_bf16_pairs(p: *const u32) -> (Self, Self) {
        // SAFETY: the caller's promise.
        let pairs = unsafe { p.cast::<[u32; LANES]>().read_unaligned() };
        let second = pairs.map(|pair| f32::from_bits(pair & 0xffff_0000));
        (PlainLanes(pairs.map(|pair| f32::from_bits(pair << 16))), PlainLanes(second))
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const f16) -> Self {
        // SAFETY: the caller's promise.
        PlainLanes(unsafe { p.cast::<[f16; LANES]>().read_unaligned() }.map(f16::to_f32))
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[f32; LANES]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.zip(other, |x, y| x + y)
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        self.zip(other, |x, y| x - y)
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        self.zip(other, |x, y| x * y)
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        self.zip(other, |x, y| x / y)
    }
    #[inline(always)]
    unsafe fn add_product(mut self, a: Self, b: Self) -> Self {
        for i in 0..LANES {
            self.0[i] = a.0[i].mul_add(b.0[i], self.0[i]);
        }
        self
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        self.zip(other, |x, y| if x > y { x } else { y })
    }
    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        self.0.into_iter().fold(f32::NEG_INFINITY, |x, y| if x > y { x } else { y })
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        self.zip(other, |x, y| if x < y { x } else { y })
    }
    #[inline(always)]
    unsafe fn add_exponent(self, n: Self) -> Self {
        self.zip(n, |x, n| f32::from_bits(x.to_bits().wrapping_add(n.to_bits() << 23)))
    }
    #[inline(always)]
    unsafe fn prefetch(_: *const u8) {}
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2Lanes, Avx512Lanes};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Lanes, f16};
    use crate::ints::{Avx2Ints, Avx512Ints};
    use std::arch::x86_64::*;

    /// Keeps the upper half of a 32-bit lane.
    const UPPER: i32 = 0xffff_0000u32 as i32;

    #[derive(Clone, Copy)]
    pub(crate) struct Avx512Lanes(pub(crate) __m512);

    // SAFETY of every block below: the caller promises the features and valid pointers.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Lanes for Avx512Lanes {
        type Ints = Avx512Ints;
        const STRIP: usize = 12;

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            unsafe { Avx512Lanes(_mm512_set1_ps(x)) }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            unsafe { Avx512Lanes(_mm512_loadu_ps(p)) }
        }
        #[inline(always)]
        unsafe fn load_bf16_pairs(p: *const u32) -> (Self, Self) {
            unsafe {
                let pairs = _mm512_loadu_si512(p.cast());
                let second = _mm512_and_si512(pairs, _mm512_set1_epi32(UPPER));
                let first = _mm512_slli_epi32::<16>(pairs);
                (Avx512Lanes(_mm512_castsi512_ps(first)), Avx512Lanes(_mm512_castsi512_ps(second)))
            }
        }
        #[inline(always)]
        unsafe fn load_f16(p: *const f16) -> Self {
            unsafe { Avx512Lanes(_mm512_cvtph_ps(_mm256_loadu_si256(p.cast()))) }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            unsafe { _mm512_storeu_ps(p, self.0) }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            unsafe { Avx512Lanes(_mm512_add_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            unsafe { Avx512Lanes(_mm512_sub_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            unsafe { Avx512Lanes(_mm512_mul_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn div(self, other: Self) -> Self {
            unsafe { Avx512Lanes(_mm512_div_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            unsafe { Avx512Lanes(_mm512_fmadd_ps(a.0, b.0, self.0)) }
        }
        #[inline(always)]
        unsafe fn max(self, other: Self) -> Self {
            unsafe { Avx512Lanes(_mm512_max_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn largest(self) -> f32 {
            unsafe { _mm512_reduce_max_ps(self.0) }
        }
        #[inline(always)]
        unsafe fn min(self, other: Self) -> Self {
            unsafe { Avx512Lanes(_mm512_min_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn add_exponent(self, n: Self) -> Self {
            unsafe {
                let n = _mm512_slli_epi32::<23>(_mm512_castps_si512(n.0));
                Avx512Lanes(_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(self.0), n)))
            }
        }
        #[inline(always)]
        unsafe fn prefetch(p: *const u8) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
        }
    }

    #[derive(Clone, Copy)]
    pub(crate) struct Avx2Lanes(pub(crate) __m256, pub(crate) __m256);

    // SAFETY of every block below: the caller promises the features and valid pointers.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Lanes for Avx2Lanes {
        type Ints = Avx2Ints;
        const STRIP: usize = 6;

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            unsafe { Avx2Lanes(_mm256_set1_ps(x), _mm256_set1_ps(x)) }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            unsafe { Avx2Lanes(_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))) }
        }
        #[inline(always)]
        unsafe fn load_bf16_pairs(p: *const u32) -> (Self, Self) {
            unsafe {
                let low = _mm256_loadu_si256(p.cast());
                let high = _mm256_loadu_si256(p.add(8).cast());
                let upper = _mm256_set1_epi32(UPPER);
                let first = (_mm256_slli_epi32::<16>(low), _mm256_slli_epi32::<16>(high));
                let second = (_mm256_and_si256(low, upper), _mm256_and_si256(high, upper));
                (
                    Avx2Lanes(_mm256_castsi256_ps(first.0), _mm256_castsi256_ps(first.1)),
                    Avx2Lanes(_mm256_castsi256_ps(second.0), _mm256_castsi256_ps(second.1)),
                )
            }
        }
        #[inline(always)]
        unsafe fn load_f16(p: *const f16) -> Self {
            unsafe {
                let low = _mm256_cvtph_ps(_mm_loadu_si128(p.cast()));
                Avx2Lanes(low, _mm256_cvtph_ps(_mm_loadu_si128(p.add(8).cast())))
            }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            unsafe {
                _mm256_storeu_ps(p, self.0);
                _mm256_storeu_ps(p.add(8), self.1);
            }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            unsafe { Avx2Lanes(_mm256_add_ps(self.0, other.0), _mm256_add_ps(self.1, other.1)) }
        }
        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            unsafe { Avx2Lanes(_mm256_sub_ps(self.0, other.0), _mm256_sub_ps(self.1, other.1)) }
        }
        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            unsafe { Avx2Lanes(_mm256_mul_ps(self.0, other.0), _mm256_mul_ps(self.1, other.1)) }
        }
        #[inline(always)]
        unsafe fn div(self, other: Self) -> Self {
            unsafe { Avx2Lanes(_mm256_div_ps(self.0, other.0), _mm256_div_ps(self.1, other.1)) }
        }
        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            unsafe { Avx2Lanes(_mm256_fmadd_ps(a.0, b.0, self.0), _mm256_fmadd_ps(a.1, b.1, self.1)) }
        }
        #[inline(always)]
        unsafe fn max(self, other: Self) -> Self {
            unsafe { Avx2Lanes(_mm256_max_ps(self.0, other.0), _mm256_max_ps(self.1, other.1)) }
        }
        #[inline(always)]
        unsafe fn largest(self) -> f32 {
            unsafe {
                let eight = _mm256_max_ps(self.0, self.1);
                let four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
                let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
            }
        }
        #[inline(always)]
        unsafe fn min(self, other: Self) -> Self {
            unsafe { Avx2Lanes(_mm256_min_ps(self.0, other.0), _mm256_min_ps(self.1, other.1)) }
        }
        #[inline(always)]
        unsafe fn add_exponent(self, n: Self) -> Self {
            unsafe {
                let low = _mm256_slli_epi32::<23>(_mm256_castps_si256(n.0));
                let high = _mm256_slli_epi32::<23>(_mm256_castps_si256(n.1));
                let low = _mm256_add_epi32(_mm256_castps_si256(self.0), low);
                let high = _mm256_add_epi32(_mm256_castps_si256(self.1), high);
                Avx2Lanes(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high))
            }
        }
        #[inline(always)]
        unsafe fn prefetch(p: *const u8) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Isa, Kernel};

    /// Sixteen exponentials at a time.
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
    fn exponentials_are_right_to_two_units_and_the_same_on_every_set() {
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

    /// The largest of sixteen, written to the first.
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
    fn exponentials_of_what_is_no_number_or_infinite() {
        for isa in Isa::available() {
            let mut x = [0.0f32; LANES];
            x[..4].copy_from_slice(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0]);
            isa.run(Exp(&mut x));
            assert!(x[0].is_nan() && x[1] > 1e38 && x[2] < 2e-38 && x[3] == 1.0, "{isa:?}: {x:?}");
        }
    }
}
