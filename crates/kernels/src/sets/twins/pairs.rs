//! Twins of the instructions that multiply pairs of `bf16`.

use crate::layout::LANES;
use crate::sets::pairs::PairSums;
use std::marker::PhantomData;

/// The rule by which an instruction adds the two products of a pair to a sum.
pub(crate) trait Rule: Copy {
    /// The [`PairSums::STRIP`] of the instruction.
    const STRIP: usize;
    /// Returns the sum and the two products.
    fn add(sum: f32, w: u32, x: u32) -> f32;
}

/// An instruction in software, sixteen lanes wide.
#[derive(Clone, Copy)]
pub(crate) struct PairTwin<R>(pub(super) [f32; LANES], pub(super) PhantomData<R>);

impl<R: Rule> PairSums for PairTwin<R> {
    type Pairs = [u32; LANES];
    const STRIP: usize = R::STRIP;

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the caller's promise.
        PairTwin(unsafe { p.cast::<[f32; LANES]>().read_unaligned() }, PhantomData)
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

/// The documented rule of `vdpbf16ps`: `(sum + w₁ · x₁) + w₀ · x₀`.
#[derive(Clone, Copy)]
pub(crate) struct Vdpbf16ps;

impl Rule for Vdpbf16ps {
    const STRIP: usize = 16;

    #[inline(always)]
    fn add(mut sum: f32, w: u32, x: u32) -> f32 {
        // Upper halves are taken as they are, and lower halves are moved up.
        for (w, x) in [(w, x), (w << 16, x << 16)] {
            let [w, x] = [w, x].map(|bits| flush(f32::from_bits(bits & 0xffff_0000)));
            sum = flush(w.mul_add(x, flush(sum)));
        }
        sum
    }
}

/// Replaces a denormal number by zero.
pub(super) fn flush(x: f32) -> f32 {
    if x.is_subnormal() { 0.0f32.copysign(x) } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    use crate::machine::Isa;

    /// Returns one sum by the twin, whose weights are all one.
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
        if Isa::named("avx512-bf16").is_ok() {
            // SAFETY: the set is there.
            check_equal::<PairTwin<Vdpbf16ps>>(|sums, w, x| unsafe {
                crate::sets::avx512::add_pairs(sums, w, x)
            });
        }
    }

    #[test]
    #[cfg(target_arch = "aarch64")]
    fn the_instruction_of_arm_equals_its_twin_to_the_bit() {
        if Isa::named("bf16").is_ok() {
            // SAFETY: the set is there.
            check_equal::<PairTwin<super::super::bfdot::Bfdot>>(|sums, w, x| unsafe {
                crate::sets::neon::add_pairs(sums, w, x)
            });
        }
    }

    /// Compares one step of an instruction with its twin on pairs of any bits, among which special numbers
    /// are more frequent than by chance.
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
                    // Magnitudes near one show how sums are rounded.
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
                assert!(same, "{:e} + {:x} · {x:x}: {:e}, expected {:e}", sums[i], w[i], got[i], want[i]);
            }
        }
    }
}
