//! The set `plain`: sixteen lanes in arrays, which the compiler vectorises as it can.

use super::ints::IntLanes;
use super::lanes::Lanes;
use crate::layout::LANES;
use half::f16;

/// Sixteen floats in an array.
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

/// Sixteen integers in an array.
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

/// Returns the halves of a lane.
#[inline(always)]
fn halves(x: i32) -> [i16; 2] {
    [x as i16, (x >> 16) as i16]
}

/// Returns the bytes of a lane, widened.
#[inline(always)]
pub(super) fn bytes(x: i32) -> [i16; 4] {
    x.to_le_bytes().map(|x| i16::from(x as i8))
}

/// Joins two halves to a lane.
#[inline(always)]
fn lane([low, high]: [i16; 2]) -> i32 {
    i32::from(low as u16) | i32::from(high) << 16
}

impl IntLanes for PlainInts {
    type Floats = PlainLanes;
    const WIDE: bool = true;

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
    unsafe fn max(self, other: Self) -> Self {
        self.zip(other, i32::max)
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
    unsafe fn add_dots(mut self, a: Self, x: Self) -> Self {
        for i in 0..LANES {
            for (a, x) in a.0[i].to_le_bytes().into_iter().zip(bytes(x.0[i])) {
                self.0[i] = self.0[i].wrapping_add(i32::from(a) * i32::from(x));
            }
        }
        self
    }
    #[inline(always)]
    unsafe fn add_scaled(self, dots: Self, scale: Self) -> Self {
        // SAFETY: plain lanes need no feature.
        unsafe { self.add(dots.zip(scale.sra(16), i32::wrapping_mul)) }
    }
    #[inline(always)]
    unsafe fn add_signed_dots(mut self, a: Self, x: Self) -> Self {
        for i in 0..LANES {
            for (a, x) in bytes(a.0[i]).into_iter().zip(bytes(x.0[i])) {
                self.0[i] = self.0[i].wrapping_add(i32::from(a * x));
            }
        }
        self
    }
    #[inline(always)]
    unsafe fn look_up(self, table: &[i8; 16]) -> Self {
        PlainInts(
            self.0.map(|x| i32::from_le_bytes(x.to_le_bytes().map(|i| table[usize::from(i & 15)] as u8))),
        )
    }
    #[inline(always)]
    unsafe fn to_f32(self) -> PlainLanes {
        PlainLanes(self.0.map(|x| x as f32))
    }
}
