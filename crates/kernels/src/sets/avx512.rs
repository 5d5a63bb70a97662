//! The sets `avx512`, `avx512-vnni` and `avx512-bf16`: sixteen lanes in one register.

use super::ints::IntLanes;
use super::lanes::Lanes;
use super::pairs::PairSums;
use half::f16;
use std::arch::x86_64::*;
use std::mem::transmute;

/// The mask of the upper half of a 32-bit lane.
const UPPER: i32 = 0xffff_0000u32 as i32;

/// Sixteen floats. With `VNNI` their integers add up four products of bytes in one instruction.
#[derive(Clone, Copy)]
pub(crate) struct Avx512Lanes<const VNNI: bool>(pub(crate) __m512);

// SAFETY of every block below: the caller promises the features and valid pointers.
#[allow(clippy::undocumented_unsafe_blocks)]
impl<const VNNI: bool> Lanes for Avx512Lanes<VNNI> {
    type Ints = Avx512Ints<VNNI>;
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

// Shifts take their distance from a register. Where the distance is a constant after inlining, as it is
// everywhere, the compiler makes it an immediate.

/// Sixteen integers.
#[derive(Clone, Copy)]
pub(crate) struct Avx512Ints<const VNNI: bool>(__m512i);

// SAFETY of every block below: the caller promises the features and valid pointers.
#[allow(clippy::undocumented_unsafe_blocks)]
impl<const VNNI: bool> IntLanes for Avx512Ints<VNNI> {
    type Floats = Avx512Lanes<VNNI>;
    const WIDE: bool = VNNI;
    const SIGN_OFFSET: i32 = if VNNI { 128 } else { 0 };

    #[inline(always)]
    unsafe fn splat(x: i32) -> Self {
        unsafe { Avx512Ints(_mm512_set1_epi32(x)) }
    }
    #[inline(always)]
    unsafe fn load(p: *const u32) -> Self {
        unsafe { Avx512Ints(_mm512_loadu_si512(p.cast())) }
    }
    #[inline(always)]
    unsafe fn load_i8(p: *const i8) -> Self {
        unsafe { Avx512Ints(_mm512_cvtepi8_epi32(_mm_loadu_si128(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut u32) {
        unsafe { _mm512_storeu_si512(p.cast(), self.0) }
    }
    #[inline(always)]
    unsafe fn and(self, other: Self) -> Self {
        unsafe { Avx512Ints(_mm512_and_si512(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        unsafe { Avx512Ints(_mm512_or_si512(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn look_up(self, table: &[i8; 16]) -> Self {
        unsafe {
            let table = _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
            Avx512Ints(_mm512_shuffle_epi8(table, self.0))
        }
    }
    #[inline(always)]
    unsafe fn shl(self, n: usize) -> Self {
        unsafe { Avx512Ints(_mm512_sll_epi32(self.0, _mm_cvtsi32_si128(n as i32))) }
    }
    #[inline(always)]
    unsafe fn shr(self, n: usize) -> Self {
        unsafe { Avx512Ints(_mm512_srl_epi32(self.0, _mm_cvtsi32_si128(n as i32))) }
    }
    #[inline(always)]
    unsafe fn sra(self, n: usize) -> Self {
        unsafe { Avx512Ints(_mm512_sra_epi32(self.0, _mm_cvtsi32_si128(n as i32))) }
    }
    #[inline(always)]
    unsafe fn mul16(self, other: Self) -> Self {
        unsafe { Avx512Ints(_mm512_mullo_epi16(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { Avx512Ints(_mm512_add_epi32(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        unsafe { Avx512Ints(_mm512_max_epi32(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn add_pairs(self, a: Self, b: Self) -> Self {
        unsafe { Avx512Ints(_mm512_add_epi32(self.0, _mm512_madd_epi16(a.0, b.0))) }
    }
    #[inline(always)]
    unsafe fn add_dots(self, a: Self, x: Self) -> Self {
        unsafe {
            if VNNI {
                Avx512Ints(_mm512_dpbusd_epi32(self.0, a.0, x.0))
            } else {
                Avx512Ints(_mm512_add_epi16(self.0, _mm512_maddubs_epi16(a.0, x.0)))
            }
        }
    }
    #[inline(always)]
    unsafe fn add_scaled(self, dots: Self, scale: Self) -> Self {
        unsafe {
            if VNNI {
                self.add(Avx512Ints(_mm512_mullo_epi32(dots.0, _mm512_srai_epi32::<16>(scale.0))))
            } else {
                self.add_pairs(dots, scale)
            }
        }
    }
    #[inline(always)]
    unsafe fn signed_codes(self) -> Self {
        // The numbers -128…127 become 0…255.
        unsafe { if VNNI { Avx512Ints(_mm512_xor_si512(self.0, _mm512_set1_epi8(-128))) } else { self } }
    }
    #[inline(always)]
    unsafe fn add_signed_dots(self, a: Self, x: Self) -> Self {
        unsafe {
            if VNNI {
                return self.add_dots(a, x);
            }
            let negative = _mm512_movepi8_mask(a.0);
            let x = _mm512_mask_sub_epi8(x.0, negative, _mm512_setzero_si512(), x.0);
            let dots = _mm512_maddubs_epi16(_mm512_abs_epi8(a.0), x);
            self.add_pairs(Avx512Ints(dots), Self::splat(0x0001_0001))
        }
    }
    #[inline(always)]
    unsafe fn to_f32(self) -> Avx512Lanes<VNNI> {
        unsafe { Avx512Lanes(_mm512_cvtepi32_ps(self.0)) }
    }
}

/// Sixteen sums of products of pairs.
#[derive(Clone, Copy)]
pub(crate) struct Avx512Sums(__m512);

// SAFETY of every block below: the caller promises the features and valid pointers.
#[allow(clippy::undocumented_unsafe_blocks)]
impl PairSums for Avx512Sums {
    type Pairs = __m512i;
    const STRIP: usize = 16;

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        unsafe { Avx512Sums(_mm512_loadu_ps(p)) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        unsafe { _mm512_storeu_ps(p, self.0) }
    }
    #[inline(always)]
    unsafe fn pairs(p: *const u32) -> __m512i {
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn add(self, w: __m512i, x: u32) -> Self {
        unsafe {
            // Both types are the same 512 bits.
            let [w, x] = [w, _mm512_set1_epi32(x as i32)].map(|bits| transmute::<__m512i, __m512bh>(bits));
            Avx512Sums(_mm512_dpbf16_ps(self.0, w, x))
        }
    }
    #[inline(always)]
    unsafe fn prefetch(p: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
}

/// Adds one pair of products to each sum, for a test.
///
/// # Safety
/// The processor has the features `avx512f` and `avx512bf16`.
#[cfg(test)]
#[target_feature(enable = "avx512f,avx512bf16")]
pub(crate) unsafe fn add_pairs(sums: &[f32; 16], w: &[u32; 16], x: u32) -> [f32; 16] {
    let mut out = [0.0; 16];
    // SAFETY: arrays of sixteen; the features are enabled on this function.
    unsafe { Avx512Sums::load(sums.as_ptr()).add(Avx512Sums::pairs(w.as_ptr()), x).store(out.as_mut_ptr()) };
    out
}
