//! Sixteen lanes in four registers of NEON.
//!
//! Operations that the standard library does not offer on stable Rust yet are written as the one instruction
//! that they are: widening of `f16`, `sdot` and prefetch.

use crate::sets::ints::IntLanes;
use crate::sets::lanes::Lanes;
use half::f16;
use std::arch::{aarch64::*, asm};

/// Sixteen floats; `DOT` is true if the processor has `sdot`.
#[derive(Clone, Copy)]
pub(crate) struct NeonLanes<const DOT: bool>([float32x4_t; 4]);

// SAFETY of every block below: the caller promises the features and valid pointers.
#[allow(clippy::undocumented_unsafe_blocks)]
impl<const DOT: bool> Lanes for NeonLanes<DOT> {
    type Ints = NeonInts<DOT>;
    const STRIP: usize = 4;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        unsafe { NeonLanes([vdupq_n_f32(x); 4]) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        unsafe { NeonLanes(each!(I => vld1q_f32(p.add(4 * I)))) }
    }
    #[inline(always)]
    unsafe fn load_bf16_pairs(p: *const u32) -> (Self, Self) {
        unsafe {
            let pairs = each!(I => vld1q_u32(p.add(4 * I)));
            let upper = vdupq_n_u32(0xffff_0000);
            (
                NeonLanes(each!(I => vreinterpretq_f32_u32(vshlq_n_u32::<16>(pairs[I])))),
                NeonLanes(each!(I => vreinterpretq_f32_u32(vandq_u32(pairs[I], upper)))),
            )
        }
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const f16) -> Self {
        unsafe { NeonLanes(each!(I => widen(vld1_u16(p.add(4 * I).cast())))) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        unsafe { each!(I => vst1q_f32(p.add(4 * I), self.0[I])) };
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { NeonLanes(each!(I => vaddq_f32(self.0[I], other.0[I]))) }
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        unsafe { NeonLanes(each!(I => vsubq_f32(self.0[I], other.0[I]))) }
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        unsafe { NeonLanes(each!(I => vmulq_f32(self.0[I], other.0[I]))) }
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        unsafe { NeonLanes(each!(I => vdivq_f32(self.0[I], other.0[I]))) }
    }
    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        unsafe { NeonLanes(each!(I => vfmaq_f32(self.0[I], a.0[I], b.0[I]))) }
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        unsafe { NeonLanes(each!(I => larger(self.0[I], other.0[I]))) }
    }
    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        unsafe {
            let four = larger(larger(self.0[0], self.0[1]), larger(self.0[2], self.0[3]));
            vmaxvq_f32(four)
        }
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        unsafe { NeonLanes(each!(I => vbslq_f32(vcltq_f32(self.0[I], other.0[I]), self.0[I], other.0[I]))) }
    }
    #[inline(always)]
    unsafe fn add_exponent(self, n: Self) -> Self {
        unsafe {
            NeonLanes(each!(I => {
                let n = vshlq_n_u32::<23>(vreinterpretq_u32_f32(n.0[I]));
                vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(self.0[I]), n))
            }))
        }
    }
    #[inline(always)]
    unsafe fn prefetch(p: *const u8) {
        unsafe { prefetch(p) }
    }
}

/// Prefetches the cache line at `p`, which may be any address.
#[inline(always)]
pub(super) unsafe fn prefetch(p: *const u8) {
    // SAFETY: a prefetch is only a hint.
    unsafe { asm!("prfm pldl1keep, [{}]", in(reg) p, options(nostack, preserves_flags, readonly)) }
}

/// Returns the larger of each lane, or the lane of `b` where either is not a number, which `vmaxq_f32` does
/// not do.
#[inline(always)]
unsafe fn larger(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    // SAFETY: the caller's features.
    unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) }
}

/// Widens four `f16`.
#[inline(always)]
unsafe fn widen(x: uint16x4_t) -> float32x4_t {
    let wide: float32x4_t;
    // SAFETY: registers only; the caller's features.
    unsafe {
        asm!(
            "fcvtl {wide:v}.4s, {x:v}.4h",
            x = in(vreg) x, wide = lateout(vreg) wide,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    wide
}

/// Sixteen integers; `DOT` is true if the processor has `sdot`.
#[derive(Clone, Copy)]
pub(crate) struct NeonInts<const DOT: bool>([int32x4_t; 4]);

// SAFETY of every block below: the caller promises the features and valid pointers.
#[allow(clippy::undocumented_unsafe_blocks)]
impl<const DOT: bool> IntLanes for NeonInts<DOT> {
    type Floats = NeonLanes<DOT>;
    const WIDE: bool = true;

    #[inline(always)]
    unsafe fn splat(x: i32) -> Self {
        unsafe { NeonInts([vdupq_n_s32(x); 4]) }
    }
    #[inline(always)]
    unsafe fn load(p: *const u32) -> Self {
        unsafe { NeonInts(each!(I => vld1q_s32(p.add(4 * I).cast()))) }
    }
    #[inline(always)]
    unsafe fn load_i8(p: *const i8) -> Self {
        unsafe {
            let bytes = vld1q_s8(p);
            let (low, high) = (vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes));
            let [a, b] = [low, high].map(|half| [vmovl_s16(vget_low_s16(half)), vmovl_high_s16(half)]);
            NeonInts([a[0], a[1], b[0], b[1]])
        }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut u32) {
        unsafe { each!(I => vst1q_s32(p.add(4 * I).cast(), self.0[I])) };
    }
    #[inline(always)]
    unsafe fn and(self, other: Self) -> Self {
        unsafe { NeonInts(each!(I => vandq_s32(self.0[I], other.0[I]))) }
    }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        unsafe { NeonInts(each!(I => vorrq_s32(self.0[I], other.0[I]))) }
    }
    #[inline(always)]
    unsafe fn look_up(self, table: &[i8; 16]) -> Self {
        unsafe {
            let table = vld1q_s8(table.as_ptr());
            NeonInts(each!(I => vreinterpretq_s32_s8(vqtbl1q_s8(table, vreinterpretq_u8_s32(self.0[I])))))
        }
    }
    // Shifts take their distance from a register and go to the right where it is negative. Where the distance
    // is a constant after inlining, as it is everywhere, the compiler makes it an immediate.
    #[inline(always)]
    unsafe fn shl(self, n: usize) -> Self {
        unsafe { NeonInts(each!(I => vshlq_s32(self.0[I], vdupq_n_s32(n as i32)))) }
    }
    #[inline(always)]
    unsafe fn shr(self, n: usize) -> Self {
        unsafe {
            let n = vdupq_n_s32(-(n as i32));
            NeonInts(each!(I => vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(self.0[I]), n))))
        }
    }
    #[inline(always)]
    unsafe fn sra(self, n: usize) -> Self {
        unsafe { NeonInts(each!(I => vshlq_s32(self.0[I], vdupq_n_s32(-(n as i32))))) }
    }
    #[inline(always)]
    unsafe fn mul16(self, other: Self) -> Self {
        unsafe {
            NeonInts(each!(I => {
                let (a, b) = (vreinterpretq_s16_s32(self.0[I]), vreinterpretq_s16_s32(other.0[I]));
                vreinterpretq_s32_s16(vmulq_s16(a, b))
            }))
        }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { NeonInts(each!(I => vaddq_s32(self.0[I], other.0[I]))) }
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        unsafe { NeonInts(each!(I => vmaxq_s32(self.0[I], other.0[I]))) }
    }
    #[inline(always)]
    unsafe fn add_pairs(self, a: Self, b: Self) -> Self {
        unsafe {
            NeonInts(each!(I => {
                let (a, b) = (vreinterpretq_s16_s32(a.0[I]), vreinterpretq_s16_s32(b.0[I]));
                let low = vmull_s16(vget_low_s16(a), vget_low_s16(b));
                vaddq_s32(self.0[I], vpaddq_s32(low, vmull_high_s16(a, b)))
            }))
        }
    }
    #[inline(always)]
    unsafe fn add_dots(self, a: Self, x: Self) -> Self {
        unsafe { self.add_signed_dots(a, x) }
    }
    #[inline(always)]
    unsafe fn add_scaled(self, dots: Self, scale: Self) -> Self {
        unsafe { NeonInts(each!(I => vmlaq_s32(self.0[I], dots.0[I], vshrq_n_s32::<16>(scale.0[I])))) }
    }
    #[inline(always)]
    unsafe fn add_signed_dots(self, a: Self, x: Self) -> Self {
        unsafe {
            NeonInts(each!(I => {
                let (a, x) = (vreinterpretq_s8_s32(a.0[I]), vreinterpretq_s8_s32(x.0[I]));
                if DOT { add_dot(self.0[I], a, x) } else { add_products(self.0[I], a, x) }
            }))
        }
    }
    #[inline(always)]
    unsafe fn to_f32(self) -> NeonLanes<DOT> {
        unsafe { NeonLanes(each!(I => vcvtq_f32_s32(self.0[I]))) }
    }
}

/// Adds the four products of the bytes of each lane to the lane of `sum`.
#[inline(always)]
unsafe fn add_dot(mut sum: int32x4_t, a: int8x16_t, x: int8x16_t) -> int32x4_t {
    // SAFETY: registers only; the caller's features.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {a:v}.16b, {x:v}.16b",
            sum = inlateout(vreg) sum, a = in(vreg) a, x = in(vreg) x,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

/// Does what [`add_dot`] does, where there is no `sdot`. Two products fit 16 bits if one factor of each is
/// above -128.
#[inline(always)]
unsafe fn add_products(sum: int32x4_t, a: int8x16_t, x: int8x16_t) -> int32x4_t {
    // SAFETY: the caller's features.
    unsafe {
        let low = vmull_s8(vget_low_s8(a), vget_low_s8(x));
        vpadalq_s16(sum, vpaddq_s16(low, vmull_high_s8(a, x)))
    }
}
