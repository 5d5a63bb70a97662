//! Sixteen 32-bit integer lanes, each also two halves or four bytes: what quantised products compute
//! in. Integers are exact, so all versions agree by themselves.

use crate::lanes::{LANES, PlainLanes};

/// Sixteen 32-bit lanes and the operations that quantised products need of them. A lane is read as
/// one `i32`, as two `i16` or as four bytes, the lowest first.
///
/// # Safety
/// Every method needs the features of its instruction set enabled in the caller; pointers must be
/// valid for sixteen elements, at any alignment.
pub(crate) trait IntLanes: Copy {
    /// The floats of the same instruction set.
    type Floats;
    unsafe fn splat(x: i32) -> Self;
    unsafe fn load(p: *const u32) -> Self;
    /// Sixteen bytes, widened.
    unsafe fn load_i8(p: *const i8) -> Self;
    unsafe fn store(self, p: *mut u32);
    unsafe fn and(self, other: Self) -> Self;
    unsafe fn or(self, other: Self) -> Self;
    unsafe fn shl(self, n: usize) -> Self;
    /// Fills up with zeros.
    unsafe fn shr(self, n: usize) -> Self;
    /// Fills up with the sign.
    unsafe fn sra(self, n: usize) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    /// Adds the halves.
    unsafe fn add16(self, other: Self) -> Self;
    /// The lower 16 bits of the products of the halves.
    unsafe fn mul16(self, other: Self) -> Self;
    /// `self + a₀ · b₀ + a₁ · b₁`, the halves of `a` and `b` multiplied to 32 bits.
    unsafe fn add_pairs(self, a: Self, b: Self) -> Self;
    /// In the lower half `a₀ · x₀ + a₁ · x₁`, in the upper `a₂ · x₂ + a₃ · x₃`, where the bytes of `a`
    /// are unsigned and those of `x` are not. Sums must fit 16 bits.
    unsafe fn dot_bytes(a: Self, x: Self) -> Self;
    /// The magnitudes of the bytes; -128 becomes 128.
    unsafe fn abs8(self) -> Self;
    /// The bytes, negated where those of `by` are negative. Where those are zero: of no meaning.
    unsafe fn signed8(self, by: Self) -> Self;
    /// To the nearest `f32`, ties to even.
    unsafe fn to_f32(self) -> Self::Floats;
}

/// The plain version.
#[derive(Clone, Copy)]
pub(crate) struct PlainInts([i32; LANES]);

impl PlainInts {
    #[inline(always)]
    fn zip(mut self, other: Self, f: impl Fn(i32, i32) -> i32) -> Self {
        for (x, y) in self.0.iter_mut().zip(other.0) {
            *x = f(*x, y);
        }
        self
    }
}

/// The halves of a lane.
#[inline(always)]
fn halves(x: i32) -> [i16; 2] {
    [x as i16, (x >> 16) as i16]
}

#[inline(always)]
fn lane([low, high]: [i16; 2]) -> i32 {
    i32::from(low as u16) | i32::from(high) << 16
}

impl IntLanes for PlainInts {
    type Floats = PlainLanes;

    #[inline(always)]
    unsafe fn splat(x: i32) -> Self {
        PlainInts([x; LANES])
    }
    #[inline(always)]
    unsafe fn load(p: *const u32) -> Self {
        // SAFETY: the caller's promise.
        PlainInts(unsafe { p.cast::<[i32; LANES]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn load_i8(p: *const i8) -> Self {
        // SAFETY: the caller's promise.
        PlainInts(unsafe { p.cast::<[i8; LANES]>().read() }.map(i32::from))
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut u32) {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[i32; LANES]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn and(self, other: Self) -> Self {
        self.zip(other, |x, y| x & y)
    }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        self.zip(other, |x, y| x | y)
    }
    #[inline(always)]
    unsafe fn shl(self, n: usize) -> Self {
        PlainInts(self.0.map(|x| x << n))
    }
    #[inline(always)]
    unsafe fn shr(self, n: usize) -> Self {
        PlainInts(self.0.map(|x| (x as u32 >> n) as i32))
    }
    #[inline(always)]
    unsafe fn sra(self, n: usize) -> Self {
        PlainInts(self.0.map(|x| x >> n))
    }
    #[inline(always)]
    unsafe fn mul16(self, other: Self) -> Self {
        self.zip(other, |x, y| {
            let (x, y) = (halves(x), halves(y));
            lane([x[0].wrapping_mul(y[0]), x[1].wrapping_mul(y[1])])
        })
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.zip(other, i32::wrapping_add)
    }
    #[inline(always)]
    unsafe fn add16(self, other: Self) -> Self {
        self.zip(other, |x, y| {
            let (x, y) = (halves(x), halves(y));
            lane([x[0].wrapping_add(y[0]), x[1].wrapping_add(y[1])])
        })
    }
    #[inline(always)]
    unsafe fn add_pairs(mut self, a: Self, b: Self) -> Self {
        for i in 0..LANES {
            let (a, b) = (halves(a.0[i]).map(i32::from), halves(b.0[i]).map(i32::from));
            self.0[i] = self.0[i].wrapping_add((a[0] * b[0]).wrapping_add(a[1] * b[1]));
        }
        self
    }
    #[inline(always)]
    unsafe fn dot_bytes(a: Self, x: Self) -> Self {
        a.zip(x, |a, x| {
            let (a, x) = (a.to_le_bytes().map(i16::from), x.to_le_bytes().map(|x| i16::from(x as i8)));
            lane([a[0] * x[0] + a[1] * x[1], a[2] * x[2] + a[3] * x[3]])
        })
    }
    #[inline(always)]
    unsafe fn abs8(self) -> Self {
        PlainInts(self.0.map(|x| i32::from_le_bytes(x.to_le_bytes().map(|x| (x as i8).unsigned_abs()))))
    }
    #[inline(always)]
    unsafe fn signed8(self, by: Self) -> Self {
        self.zip(by, |x, by| {
            let (mut x, by) = (x.to_le_bytes(), by.to_le_bytes());
            for i in 0..4 {
                if (by[i] as i8) < 0 {
                    x[i] = x[i].wrapping_neg();
                }
            }
            i32::from_le_bytes(x)
        })
    }
    #[inline(always)]
    unsafe fn to_f32(self) -> PlainLanes {
        PlainLanes(self.0.map(|x| x as f32))
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2Ints, Avx512Ints};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::IntLanes;
    use crate::lanes::{Avx2Lanes, Avx512Lanes};
    use std::arch::x86_64::*;

    // Shifts take their distance from a register: where it is a constant after inlining, as it is
    // everywhere, the compiler makes it an immediate.

    #[derive(Clone, Copy)]
    pub(crate) struct Avx512Ints(__m512i);

    // SAFETY of every block below: the caller promises the features and valid pointers.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl IntLanes for Avx512Ints {
        type Floats = Avx512Lanes;

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
        unsafe fn add_pairs(self, a: Self, b: Self) -> Self {
            unsafe { Avx512Ints(_mm512_add_epi32(self.0, _mm512_madd_epi16(a.0, b.0))) }
        }
        #[inline(always)]
        unsafe fn add16(self, other: Self) -> Self {
            unsafe { Avx512Ints(_mm512_add_epi16(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn dot_bytes(a: Self, x: Self) -> Self {
            unsafe { Avx512Ints(_mm512_maddubs_epi16(a.0, x.0)) }
        }
        #[inline(always)]
        unsafe fn abs8(self) -> Self {
            unsafe { Avx512Ints(_mm512_abs_epi8(self.0)) }
        }
        #[inline(always)]
        unsafe fn signed8(self, by: Self) -> Self {
            unsafe {
                let negative = _mm512_movepi8_mask(by.0);
                Avx512Ints(_mm512_mask_sub_epi8(self.0, negative, _mm512_setzero_si512(), self.0))
            }
        }
        #[inline(always)]
        unsafe fn to_f32(self) -> Avx512Lanes {
            unsafe { Avx512Lanes(_mm512_cvtepi32_ps(self.0)) }
        }
    }

    #[derive(Clone, Copy)]
    pub(crate) struct Avx2Ints(__m256i, __m256i);

    // SAFETY of every block below: the caller promises the features and valid pointers.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl IntLanes for Avx2Ints {
        type Floats = Avx2Lanes;

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
        unsafe fn add_pairs(self, a: Self, b: Self) -> Self {
            unsafe {
                let low = _mm256_add_epi32(self.0, _mm256_madd_epi16(a.0, b.0));
                Avx2Ints(low, _mm256_add_epi32(self.1, _mm256_madd_epi16(a.1, b.1)))
            }
        }
        #[inline(always)]
        unsafe fn add16(self, other: Self) -> Self {
            unsafe { Avx2Ints(_mm256_add_epi16(self.0, other.0), _mm256_add_epi16(self.1, other.1)) }
        }
        #[inline(always)]
        unsafe fn dot_bytes(a: Self, x: Self) -> Self {
            unsafe { Avx2Ints(_mm256_maddubs_epi16(a.0, x.0), _mm256_maddubs_epi16(a.1, x.1)) }
        }
        #[inline(always)]
        unsafe fn abs8(self) -> Self {
            unsafe { Avx2Ints(_mm256_abs_epi8(self.0), _mm256_abs_epi8(self.1)) }
        }
        #[inline(always)]
        unsafe fn signed8(self, by: Self) -> Self {
            unsafe { Avx2Ints(_mm256_sign_epi8(self.0, by.0), _mm256_sign_epi8(self.1, by.1)) }
        }
        #[inline(always)]
        unsafe fn to_f32(self) -> Avx2Lanes {
            unsafe { Avx2Lanes(_mm256_cvtepi32_ps(self.0), _mm256_cvtepi32_ps(self.1)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Isa, Kernel};
    use crate::lanes::Lanes;

    /// Every operation on `a` and `b`, one after the other.
    struct All<'a> {
        a: [u32; LANES],
        b: [u32; LANES],
        out: &'a mut Vec<[u32; LANES]>,
    }

    impl Kernel for All<'_> {
        #[inline(always)]
        unsafe fn run<L: Lanes>(self) {
            // SAFETY: arrays have sixteen elements; the features are the caller's promise.
            unsafe {
                let (a, b) = (L::Ints::load(self.a.as_ptr()), L::Ints::load(self.b.as_ptr()));
                let mut results = vec![a.and(b), a.or(b), a.add(b), a.add16(b), a.mul16(b), a.abs8()];
                results.push(L::Ints::splat(self.a[3] as i32).add_pairs(a, b));
                results.push(L::Ints::load_i8(self.a.as_ptr().cast()));
                // Small enough to fit, and no byte of the sign is zero.
                let small = a.and(L::Ints::splat(0x7f7f_7f7f));
                results.push(L::Ints::dot_bytes(small, b));
                results.push(a.signed8(b.or(L::Ints::splat(0x0101_0101))));
                for n in [0, 1, 7, 15] {
                    results.extend([a.shl(n), a.shr(n), a.sra(n)]);
                }
                for result in results {
                    let mut lanes = [0; LANES];
                    result.store(lanes.as_mut_ptr());
                    self.out.push(lanes);
                }
                let mut floats = [0.0; LANES];
                a.to_f32().store(floats.as_mut_ptr());
                self.out.push(floats.map(f32::to_bits));
            }
        }
    }

    #[test]
    fn every_operation_is_the_same_on_every_set() {
        let mut state = 7u32;
        let mut next = || {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            state ^ state >> 13
        };
        for case in 0..200 {
            let (mut a, mut b) = ([0; LANES], [0; LANES]);
            a.iter_mut().chain(&mut b).for_each(|x| *x = next());
            // The corners of bytes and halves.
            a[case % LANES] = [0x8000_8000, 0x8080_8080, 0xffff_ffff][case % 3];
            b[case % LANES] = [0x8000_8000, 0x8080_8080, 0xffff_ffff, 0x7f7f_7f7f][case % 4];
            let mut want = Vec::new();
            Isa::named("plain").unwrap().run(All { a, b, out: &mut want });
            for isa in Isa::available() {
                let mut got = Vec::new();
                isa.run(All { a, b, out: &mut got });
                assert_eq!(got, want, "{isa:?} of {a:x?} and {b:x?}");
            }
        }
    }

    #[test]
    fn the_plain_operations_are_what_they_are_called() {
        let mut out = Vec::new();
        // As halves (3, -2) and (-16, 2), as bytes (3, 0, -2, -1) and (-16, -1, 2, 0).
        let (a, b) = ([0xfffe_0003; LANES], [0x0002_fff0; LANES]);
        Isa::named("plain").unwrap().run(All { a, b, out: &mut out });
        let first: Vec<u32> = out.iter().map(|lanes| lanes[0]).collect();
        assert_eq!(first[3], 0x0000_fff3); // (-13, 0)
        assert_eq!(first[4], 0xfffc_ffd0); // (-48, -4)
        assert_eq!(first[5], 0x0102_0003);
        assert_eq!(first[6] as i32, 0xfffe_0003u32 as i32 - 52);
        assert_eq!(first[7], 3);
        assert_eq!(first[8], 0x00fc_ffd0); // 3 · -16, and 126 · 2
        assert_eq!(first[9], 0xfffe_00fd); // the lower half's negated
        assert_eq!(first[13..16], [0xfffc_0006, 0x7fff_0001, 0xffff_0001]);
    }
}
