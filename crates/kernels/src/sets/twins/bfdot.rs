//! `bfdot` of 64-bit Arm in software: what the architecture says of it (`BFDotAdd`), in its order.
//!
//! Both products are exact, their sum is rounded, and so is that with what is there. To round is to cut off
//! what is too long for an `f32` and, if that was not zero, to set the last bit ("to odd"). Denormal numbers
//! are taken for zero and none are made. Nothing of this depends on how the process has set its
//! floating-point unit, but for `FPCR.EBF` of processors with `FEAT_EBF16`, which is 0 unless somebody sets it:
//! then sums would be rounded once and as all others are.

use super::pairs::{Rule, flush};

/// Its rule.
#[derive(Clone, Copy)]
pub(crate) struct Bfdot;

impl Rule for Bfdot {
    const STRIP: usize = 4;

    #[inline(always)]
    fn add(sum: f32, w: u32, x: u32) -> f32 {
        add_to_odd(sum, add_to_odd(product(w << 16, x << 16), product(w, x)))
    }
}

/// The product of what the upper halves are, which has at most sixteen bits.
fn product(w: u32, x: u32) -> f32 {
    let [w, x] = [w, x].map(|bits| flush(f32::from_bits(bits & 0xffff_0000)));
    flush(w * x)
}

/// `a + b`, rounded to odd.
fn add_to_odd(a: f32, b: f32) -> f32 {
    /// Bits of the fraction that an `f64` has and an `f32` has not.
    const MORE: u32 = 52 - 23;
    let [a, b] = [a, b].map(|x| f64::from(flush(x)));
    let sum = a + b;
    if !sum.is_finite() {
        return sum as f32;
    }
    // What rounding to an f64 took off (Knuth's two-sum): then the f64 is rounded to odd itself.
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
        // Whatever is lost sets the last bit, be it close by or as far as floats go.
        check(1.0, f32::EPSILON / 2.0, one(1));
        check(1.0, f32::EPSILON / 64.0, one(1));
        check(1.0, 1e-37, one(1));
        check(one(1), 1e-37, one(1));
        check(one(2), 1e-37, one(3));
        check(one(2), -1e-37, one(1));
        check(one(3), -1e-37, one(3));
        check(1.0, -1e-37, f32::from_bits(1.0f32.to_bits() - 1));
        // Above the largest number is infinity, just above it is not.
        check(f32::MAX, f32::MAX, f32::INFINITY);
        check(f32::MAX, 1e30, f32::MAX);
        check(f32::MAX, f32::MAX / (1 << 23) as f32, f32::INFINITY);
        // Denormal numbers are zero.
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
