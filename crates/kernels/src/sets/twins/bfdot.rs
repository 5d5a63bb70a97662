//! The twin of `bfdot` of 64-bit Arm, which does what the architecture says of the instruction (`BFDotAdd`),
//! in the same order.
//!
//! Both products are exact. Their sum is rounded, and so is its sum with the number that was there before.
//! Rounding cuts off the bits that are too many for an `f32` and, if they were not zero, sets the last bit
//! ("to odd"). Denormal numbers are taken for zero, and none are made. None of this depends on how the
//! process has set its floating-point unit, except for `FPCR.EBF` of processors with `FEAT_EBF16`. That bit
//! is 0 unless somebody sets it; sums would then be rounded once, and as all other sums are.

use super::pairs::{Rule, flush};

/// The rule of `bfdot`.
#[derive(Clone, Copy)]
pub(crate) struct Bfdot;

impl Rule for Bfdot {
    const STRIP: usize = 4;

    #[inline(always)]
    fn add(sum: f32, w: u32, x: u32) -> f32 {
        add_to_odd(sum, add_to_odd(product(w << 16, x << 16), product(w, x)))
    }
}

/// Returns the product of the upper halves, which has at most sixteen bits.
fn product(w: u32, x: u32) -> f32 {
    let [w, x] = [w, x].map(|bits| flush(f32::from_bits(bits & 0xffff_0000)));
    flush(w * x)
}

/// Returns `a + b`, rounded to odd.
fn add_to_odd(a: f32, b: f32) -> f32 {
    /// The number of fraction bits that an `f64` has beyond those of an `f32`.
    const MORE: u32 = 52 - 23;
    let [a, b] = [a, b].map(|x| f64::from(flush(x)));
    let sum = a + b;
    if !sum.is_finite() {
        return sum as f32;
    }
    // Knuth's two-sum gives what rounding to an f64 lost; if that is not zero, the f64 is rounded to odd
    // itself.
    let b_there = sum - a;
    let lost = (a - (sum - b_there)) + (b - b_there);
    let mut bits = sum.to_bits();
    if lost != 0.0 {
        bits = (bits - u64::from((lost < 0.0) != (sum < 0.0))) | 1;
    }
    let sign = (bits >> 63 << 31) as u32;
    let fraction = (bits >> MORE & 0x7f_ffff) as u32 | u32::from(bits & ((1 << MORE) - 1) != 0);
    match (bits >> 52 & 0x7ff) as i32 - 1023 {
        ..-126 => f32::from_bits(sign),
        exponent @ -126..128 => f32::from_bits(sign | ((exponent + 127) as u32) << 23 | fraction),
        _ => f32::INFINITY.copysign(f32::from_bits(sign)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::LANES;
    use crate::sets::pairs::PairSums;
    use crate::sets::twins::pairs::PairTwin;
    use std::marker::PhantomData;

    #[test]
    fn sums_are_rounded_to_odd() {
        let check = |a: f32, b: f32, want: f32| {
            assert_eq!(add_to_odd(a, b).to_bits(), want.to_bits(), "{a:e} + {b:e}");
            assert_eq!(add_to_odd(-b, -a), -want, "{:e} - {a:e}", -b);
        };
        let one = |ulps: u32| f32::from_bits(1.0f32.to_bits() + ulps);
        check(1.0, 2.0, 3.0);
        check(1.0, f32::EPSILON, one(1));
        // Whatever is lost sets the last bit, however small it is.
        check(1.0, f32::EPSILON / 2.0, one(1));
        check(1.0, f32::EPSILON / 64.0, one(1));
        check(1.0, 1e-37, one(1));
        check(one(1), 1e-37, one(1));
        check(one(2), 1e-37, one(3));
        check(one(2), -1e-37, one(1));
        check(one(3), -1e-37, one(3));
        check(1.0, -1e-37, f32::from_bits(1.0f32.to_bits() - 1));
        // A sum above the largest number is infinity, but a sum just above it is not.
        check(f32::MAX, f32::MAX, f32::INFINITY);
        check(f32::MAX, 1e30, f32::MAX);
        check(f32::MAX, f32::MAX / (1 << 23) as f32, f32::INFINITY);
        // Denormal numbers count as zero.
        check(1e-39, 1.0, 1.0);
        check(1.5 * f32::MIN_POSITIVE, -f32::MIN_POSITIVE, 0.0);
        check(1.0, -1.0, 0.0);
    }

    #[test]
    fn the_products_of_a_pair_are_added_before_the_sum() {
        let pair = |[first, second]: [f32; 2]| second.to_bits() & 0xffff_0000 | first.to_bits() >> 16;
        let check = |before: f32, x: [f32; 2], want: f32| {
            let twin = PairTwin::<Bfdot>([before; LANES], PhantomData);
            // SAFETY: the twin needs no feature.
            let got = unsafe { twin.add([pair([1.0; 2]); LANES], pair(x)) };
            assert_eq!(got.0, [want; LANES], "{before} + {x:?}");
        };
        const LARGE: f32 = (1 << 27) as f32;
        let after = |x: f32| f32::from_bits(x.to_bits() + 1);
        check(1.0, [LARGE, -LARGE], 1.0);
        check(LARGE, [-LARGE, 1.0], -f32::from_bits(LARGE.to_bits() - 1) + LARGE);
        check(0.0, [LARGE, 1.0], after(LARGE));
    }
}
