//! The set `avx2`: sixteen lanes in two registers.

use super::ints::IntLanes;
use super::lanes::Lanes;
use half::f16;
use std::arch::x86_64::*;

/// The mask of the upper half of a 32-bit lane.
const UPPER: i32 = 0xffff_0000u32 as i32;

/// Sixteen floats.
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

// Shifts take their distance from a register. Where the distance is a constant after inlining, as it is
// everywhere, the compiler makes it an immediate.

/// Sixteen integers.
#[derive(Clone, Copy)]
pub(crate) struct Avx2Ints(__m256i, __m256i);

// SAFETY of every block below: the caller promises the features and valid pointers.
#[allow(clippy::undocumented_unsafe_blocks)]
impl IntLanes for Avx2Ints {
    type Floats = Avx2Lanes;
    const WIDE: bool = false;

    #[inline(always)]
    unsafe fn splat(x: i32) -> Self {
        unsafe { Avx2Ints(_mm256_set1_epi32(x), _mm256_set1_epi32(x)) }
    }
    #[inline(always)]
    unsafe fn load(p: *const u32) -> Self {
        unsafe { Avx2Ints(_mm256_loadu_si256(p.cast()), _mm256_loadu_si256(p.add(8).cast())) }
    }
    #[inline(always)]
    unsafe fn load_i8(p: *const i8) -> Self {
        unsafe {
            let low = _mm256_cvtepi8_epi32(_mm_loadl_epi64(p.cast()));
            Avx2Ints(low, _mm256_cvtepi8_epi32(_mm_loadl_epi64(p.add(8).cast())))
        }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut u32) {
        unsafe {
            _mm256_storeu_si256(p.cast(), self.0);
            _mm256_storeu_si256(p.add(8).cast(), self.1);
        }
    }
    #[inline(always)]
    unsafe fn and(self, other: Self) -> Self {
        unsafe { Avx2Ints(_mm256_and_si256(self.0, other.0), _mm256_and_si256(self.1, other.1)) }
    }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        unsafe { Avx2Ints(_mm256_or_si256(self.0, other.0), _mm256_or_si256(self.1, other.1)) }
    }
    #[inline(always)]
    unsafe fn look_up(self, table: &[i8; 16]) -> Self {
        unsafe {
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
            Avx2Ints(_mm256_shuffle_epi8(table, self.0), _mm256_shuffle_epi8(table, self.1))
        }
    }
    #[inline(always)]
    unsafe fn shl(self, n: usize) -> Self {
        unsafe {
            let n = _mm_cvtsi32_si128(n as i32);
            Avx2Ints(_mm256_sll_epi32(self.0, n), _mm256_sll_epi32(self.1, n))
        }
    }
    #[inline(always)]
    unsafe fn shr(self, n: usize) -> Self {
        unsafe {
            let n = _mm_cvtsi32_si128(n as i32);
            Avx2Ints(_mm256_srl_epi32(self.0, n), _mm256_srl_epi32(self.1, n))
        }
    }
    #[inline(always)]
    unsafe fn sra(self, n: usize) -> Self {
        unsafe {
            let n = _mm_cvtsi32_si128(n as i32);
            Avx2Ints(_mm256_sra_epi32(self.0, n), _mm256_sra_epi32(self.1, n))
        }
    }
    #[inline(always)]
    unsafe fn mul16(self, other: Self) -> Self {
        unsafe { Avx2Ints(_mm256_mullo_epi16(self.0, other.0), _mm256_mullo_epi16(self.1, other.1)) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { Avx2Ints(_mm256_add_epi32(self.0, other.0), _mm256_add_epi32(self.1, other.1)) }
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        unsafe { Avx2Ints(_mm256_max_epi32(self.0, other.0), _mm256_max_epi32(self.1, other.1)) }
    }
    #[inline(always)]
    unsafe fn add_pairs(self, a: Self, b: Self) -> Self {
        unsafe {
            let low = _mm256_add_epi32(self.0, _mm256_madd_epi16(a.0, b.0));
            Avx2Ints(low, _mm256_add_epi32(self.1, _mm256_madd_epi16(a.1, b.1)))
        }
    }
    #[inline(always)]
    unsafe fn add_dots(self, a: Self, x: Self) -> Self {
        unsafe {
            let low = _mm256_add_epi16(self.0, _mm256_maddubs_epi16(a.0, x.0));
            Avx2Ints(low, _mm256_add_epi16(self.1, _mm256_maddubs_epi16(a.1, x.1)))
        }
    }
    #[inline(always)]
    unsafe fn add_scaled(self, dots: Self, scale: Self) -> Self {
        unsafe { self.add_pairs(dots, scale) }
    }
    #[inline(always)]
    unsafe fn add_signed_dots(self, a: Self, x: Self) -> Self {
        unsafe {
            // The only product of bytes that there is needs one side without signs.
            let low = _mm256_maddubs_epi16(_mm256_abs_epi8(a.0), _mm256_sign_epi8(x.0, a.0));
            let high = _mm256_maddubs_epi16(_mm256_abs_epi8(a.1), _mm256_sign_epi8(x.1, a.1));
            self.add_pairs(Avx2Ints(low, high), Self::splat(0x0001_0001))
        }
    }
    #[inline(always)]
    unsafe fn to_f32(self) -> Avx2Lanes {
        unsafe { Avx2Lanes(_mm256_cvtepi32_ps(self.0), _mm256_cvtepi32_ps(self.1)) }
    }
}
