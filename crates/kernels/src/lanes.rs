//! Sixteen `f32` lanes: the one shape in which every kernel accumulates.
//!
//! AVX-512 holds them in one register, AVX2 in two, the plain version in an array that the
//! compiler vectorises as it can (on aarch64 into four NEON registers). All three do the same
//! operations in the same order, so they give the same bits.

use crate::ints::{IntLanes, PlainInts};
use half::{bf16, f16};

/// How many lanes there are.
pub(crate) const LANES: usize = 16;

/// Sixteen `f32` values and the few operations that kernels need of them.
///
/// # Safety
/// Every method needs the features of its instruction set enabled in the caller; pointers must be
/// valid for sixteen elements, at any alignment.
pub(crate) trait Lanes: Copy {
    /// The integers of the same instruction set.
    type Ints: IntLanes<Floats = Self>;
    /// Rows and columns of the largest tile whose accumulators fit the register file.
    const BIG_TILES: bool;
    /// Rows of a tile whose accumulators fit the register file beside one panel of weights.
    const STRIP: usize;
    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(p: *const f32) -> Self;
    unsafe fn load_bf16(p: *const bf16) -> Self;
    unsafe fn load_f16(p: *const f16) -> Self;
    unsafe fn store(self, p: *mut f32);
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    /// Asks for the cache line at `p`, which may lie outside any allocation.
    unsafe fn prefetch(p: *const u8);
    /// `self + a * b`, rounded once.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    /// The sum of the lanes, always by the same tree: halves onto each other, 16 → 8 → 4 → 2 → 1.
    unsafe fn sum(self) -> f32;
}

/// An element type that lanes can be loaded from.
pub(crate) trait Element: Copy + Default + Send + Sync {
    /// Loads sixteen elements, widened to `f32`.
    ///
    /// # Safety
    /// As for [`Lanes`].
    unsafe fn load<L: Lanes>(p: *const Self) -> L;
}

impl Element for f32 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(p: *const f32) -> L {
        // SAFETY: the caller's promise.
        unsafe { L::load(p) }
    }
}

impl Element for bf16 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(p: *const bf16) -> L {
        // SAFETY: the caller's promise.
        unsafe { L::load_bf16(p) }
    }
}

impl Element for f16 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(p: *const f16) -> L {
        // SAFETY: the caller's promise.
        unsafe { L::load_f16(p) }
    }
}

/// The plain version.
#[derive(Clone, Copy)]
pub(crate) struct PlainLanes(pub(crate) [f32; LANES]);

impl Lanes for PlainLanes {
    type Ints = PlainInts;
    const STRIP: usize = 4;
    const BIG_TILES: bool = false;

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
    unsafe fn load_bf16(p: *const bf16) -> Self {
        // SAFETY: the caller's promise.
        PlainLanes(unsafe { p.cast::<[bf16; LANES]>().read_unaligned() }.map(bf16::to_f32))
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
    unsafe fn sub(mut self, other: Self) -> Self {
        for i in 0..LANES {
            self.0[i] -= other.0[i];
        }
        self
    }
    #[inline(always)]
    unsafe fn mul(mut self, other: Self) -> Self {
        for i in 0..LANES {
            self.0[i] *= other.0[i];
        }
        self
    }
    #[inline(always)]
    unsafe fn prefetch(_: *const u8) {}
    #[inline(always)]
    unsafe fn add_product(mut self, a: Self, b: Self) -> Self {
        for i in 0..LANES {
            self.0[i] = a.0[i].mul_add(b.0[i], self.0[i]);
        }
        self
    }
    #[inline(always)]
    unsafe fn sum(mut self) -> f32 {
        let mut half = LANES / 2;
        while half > 0 {
            for i in 0..half {
                self.0[i] += self.0[i + half];
            }
            half /= 2;
        }
        self.0[0]
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2Lanes, Avx512Lanes};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Lanes, bf16, f16};
    use crate::ints::{Avx2Ints, Avx512Ints};
    use std::arch::x86_64::*;

    #[derive(Clone, Copy)]
    pub(crate) struct Avx512Lanes(pub(crate) __m512);

    // SAFETY of every block below: the caller promises the features and valid pointers.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Lanes for Avx512Lanes {
        type Ints = Avx512Ints;
        const STRIP: usize = 12;
        const BIG_TILES: bool = true;

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            unsafe { Avx512Lanes(_mm512_set1_ps(x)) }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            unsafe { Avx512Lanes(_mm512_loadu_ps(p)) }
        }
        #[inline(always)]
        unsafe fn load_bf16(p: *const bf16) -> Self {
            unsafe {
                let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast()));
                Avx512Lanes(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide)))
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
        unsafe fn sub(self, other: Self) -> Self {
            unsafe { Avx512Lanes(_mm512_sub_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            unsafe { Avx512Lanes(_mm512_mul_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn prefetch(p: *const u8) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
        }
        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            unsafe { Avx512Lanes(_mm512_fmadd_ps(a.0, b.0, self.0)) }
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            unsafe {
                let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(self.0)));
                sum_eight(_mm256_add_ps(_mm512_castps512_ps256(self.0), high))
            }
        }
    }

    #[derive(Clone, Copy)]
    pub(crate) struct Avx2Lanes(pub(crate) __m256, pub(crate) __m256);

    // SAFETY of every block below: the caller promises the features and valid pointers.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Lanes for Avx2Lanes {
        type Ints = Avx2Ints;
        const STRIP: usize = 6;
        const BIG_TILES: bool = false;

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            unsafe { Avx2Lanes(_mm256_set1_ps(x), _mm256_set1_ps(x)) }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            unsafe { Avx2Lanes(_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))) }
        }
        #[inline(always)]
        unsafe fn load_bf16(p: *const bf16) -> Self {
            unsafe {
                let low = _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()));
                let high = _mm256_cvtepu16_epi32(_mm_loadu_si128(p.add(8).cast()));
                let widen = (_mm256_slli_epi32::<16>(low), _mm256_slli_epi32::<16>(high));
                Avx2Lanes(_mm256_castsi256_ps(widen.0), _mm256_castsi256_ps(widen.1))
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
        unsafe fn sub(self, other: Self) -> Self {
            unsafe { Avx2Lanes(_mm256_sub_ps(self.0, other.0), _mm256_sub_ps(self.1, other.1)) }
        }
        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            unsafe { Avx2Lanes(_mm256_mul_ps(self.0, other.0), _mm256_mul_ps(self.1, other.1)) }
        }
        #[inline(always)]
        unsafe fn prefetch(p: *const u8) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
        }
        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            unsafe { Avx2Lanes(_mm256_fmadd_ps(a.0, b.0, self.0), _mm256_fmadd_ps(a.1, b.1, self.1)) }
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            unsafe { sum_eight(_mm256_add_ps(self.0, self.1)) }
        }
    }

    /// 8 → 4 → 2 → 1.
    ///
    /// # Safety
    /// The caller runs with AVX2.
    #[allow(clippy::undocumented_unsafe_blocks)]
    #[inline(always)]
    unsafe fn sum_eight(x: __m256) -> f32 {
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
}
