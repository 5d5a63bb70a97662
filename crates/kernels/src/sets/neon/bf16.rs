//! Sums of products of pairs by `bfdot`, on 64-bit Arm with `bf16`. The arithmetic of the instruction is
//! described in `twins/bfdot.rs`.

use super::lanes::prefetch;
use crate::sets::pairs::PairSums;
use std::arch::{aarch64::*, asm};

/// Sixteen sums in four registers.
#[derive(Clone, Copy)]
pub(crate) struct NeonSums([float32x4_t; 4]);

// SAFETY of every block below: the caller promises the features and valid pointers.
#[allow(clippy::undocumented_unsafe_blocks)]
impl PairSums for NeonSums {
    type Pairs = [uint32x4_t; 4];
    const STRIP: usize = 4;

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        unsafe { NeonSums(each!(I => vld1q_f32(p.add(4 * I)))) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        unsafe { each!(I => vst1q_f32(p.add(4 * I), self.0[I])) };
    }
    #[inline(always)]
    unsafe fn pairs(p: *const u32) -> Self::Pairs {
        unsafe { each!(I => vld1q_u32(p.add(4 * I))) }
    }
    #[inline(always)]
    unsafe fn add(self, w: Self::Pairs, x: u32) -> Self {
        unsafe {
            let x = vdupq_n_u32(x);
            NeonSums(each!(I => add_dot(self.0[I], w[I], x)))
        }
    }
    #[inline(always)]
    unsafe fn prefetch(p: *const u8) {
        unsafe { prefetch(p) }
    }
}

/// Adds the two products of the pairs of each lane to the lane of `sum`.
#[inline(always)]
unsafe fn add_dot(mut sum: float32x4_t, w: uint32x4_t, x: uint32x4_t) -> float32x4_t {
    // SAFETY: registers only; the caller's features.
    unsafe {
        asm!(
            "bfdot {sum:v}.4s, {w:v}.8h, {x:v}.8h",
            sum = inlateout(vreg) sum, w = in(vreg) w, x = in(vreg) x,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

/// Adds one pair of products to each sum, for a test.
///
/// # Safety
/// The processor has the features `neon` and `bf16`.
#[cfg(test)]
#[target_feature(enable = "neon,bf16")]
pub(crate) unsafe fn add_pairs(sums: &[f32; 16], w: &[u32; 16], x: u32) -> [f32; 16] {
    let mut out = [0.0; 16];
    // SAFETY: arrays of sixteen; the features are enabled on this function.
    unsafe { NeonSums::load(sums.as_ptr()).add(NeonSums::pairs(w.as_ptr()), x).store(out.as_mut_ptr()) };
    out
}
