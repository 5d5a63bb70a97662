//! The matrix unit in software: what the instruction is documented to do, in its order.

use super::{Sums, Tile, TileUnit};
use crate::lanes::LANES;

/// Multiplies tiles as the unit does, slowly. Tests run whole products through it, and the unit must
/// agree with it before it is used.
pub(crate) struct Twin;

impl TileUnit for Twin {
    fn multiply_2x2(&mut self, a: [&[Tile]; 2], b: [&[Tile]; 2], sums: [[&mut Sums; 2]; 2]) {
        for (a, sums) in a.into_iter().zip(sums) {
            for (b, sums) in b.into_iter().zip(sums) {
                self.multiply_1x1(a, b, sums);
            }
        }
    }

    fn multiply_1x4(&mut self, a: &[Tile], b: [&[Tile]; 4], sums: [&mut Sums; 4]) {
        for (b, sums) in b.into_iter().zip(sums) {
            self.multiply_1x1(a, b, sums);
        }
    }

    #[inline(never)]
    fn multiply_1x1(&mut self, a: &[Tile], b: &[Tile], sums: &mut Sums) {
        assert!(!a.is_empty() && a.len() == b.len(), "as many steps");
        for (a, b) in a.iter().zip(b) {
            add_step(a, b, sums);
        }
    }
}

/// One instruction. For each row and output, the products with the even and with the odd inputs are
/// summed up from zero by fused multiply-adds; the two sums are added, and what comes out is added to
/// what was there.
fn add_step(a: &Tile, b: &Tile, sums: &mut Sums) {
    for (a, sums) in a.0.iter().zip(sums) {
        let mut halves = [[0.0; 2]; LANES];
        for (a, b) in a.as_chunks::<2>().0.iter().zip(&b.0) {
            for (b, halves) in b.as_chunks::<2>().0.iter().zip(&mut halves) {
                for i in 0..2 {
                    halves[i] = flush(value(a[i]).mul_add(value(b[i]), halves[i]));
                }
            }
        }
        for (sum, [even, odd]) in sums.iter_mut().zip(halves) {
            *sum = flush(*sum + flush(even + odd));
        }
    }
}

/// The number that a `bf16` stands for.
fn value(bits: u16) -> f32 {
    flush(f32::from_bits(u32::from(bits) << 16))
}

/// The unit takes denormal numbers for zero and makes none.
fn flush(x: f32) -> f32 {
    if x.is_subnormal() { 0.0 } else { x }
}
