//! Twins of the matrix units, which do what the instructions are documented to do, in the same order.

use crate::layout::LANES;
use crate::sets::tiles::{ByteSums, ByteTiles, FloatTiles, Sums, Tile};

/// The twin of AMX on tiles of `bf16`. Tests run whole products through the twin, and the unit must agree
/// with it before it is used.
pub(crate) struct TileTwin;

impl FloatTiles for TileTwin {
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
        assert!(!a.is_empty() && a.len() == b.len(), "both streams have the same number of steps");
        for (a, b) in a.iter().zip(b) {
            add_step(a, b, sums);
        }
    }
}

/// Does the work of one instruction. For each row and output, the products with the even and with the odd
/// inputs are summed up from zero by fused multiply-adds. The two sums are added, and the result is added to
/// the sum that was there.
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

/// Returns the number that the bits of a `bf16` stand for.
fn value(bits: u16) -> f32 {
    flush(f32::from_bits(u32::from(bits) << 16))
}

/// Replaces a denormal number by zero, as the unit takes denormal numbers for zero and makes none.
fn flush(x: f32) -> f32 {
    if x.is_subnormal() { 0.0 } else { x }
}

/// The twin of every unit that multiplies tiles of bytes.
pub(crate) struct ByteTwin;

impl ByteTiles for ByteTwin {
    unsafe fn multiply(
        &mut self,
        codes: *const i8,
        stride: usize,
        n_rows: usize,
        quads: *const [u32; LANES],
        depth: usize,
        signed: bool,
        sums: &mut [ByteSums],
    ) {
        for (tile, sums) in sums.iter_mut().enumerate() {
            for (row, sums) in sums.0[..n_rows].iter_mut().enumerate() {
                for (lane, sum) in sums.iter_mut().enumerate() {
                    *sum = 0;
                    for quad in 0..depth {
                        let at = tile * depth + quad;
                        // SAFETY: the caller's promise.
                        let (x, w) = unsafe {
                            let x = codes.add(row * stride + 4 * at).cast::<[i8; 4]>().read();
                            (x, (*quads.add(at))[lane].to_le_bytes())
                        };
                        for (x, w) in x.into_iter().zip(w) {
                            let w = if signed { i32::from(w as i8) } else { i32::from(w) };
                            *sum = sum.wrapping_add((i32::from(x) * w) as u32);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{STEP, TILE_ROWS};
    use half::bf16;

    /// Returns one sum by the twin: the products of the first row of activations, `products[step][input]`,
    /// with weights of one. Other inputs are zero.
    fn twin_sum(before: f32, products: &[&[f32]]) -> f32 {
        let (mut a, mut b): (Vec<Tile>, Vec<Tile>) = Default::default();
        for products in products {
            let (mut x, mut w) = (Tile([[0; STEP]; TILE_ROWS]), Tile([[0; STEP]; TILE_ROWS]));
            for (i, product) in products.iter().enumerate() {
                x.0[0][i] = bf16::from_f32(*product).to_bits();
                w.0[i / 2][i % 2] = bf16::ONE.to_bits();
            }
            a.push(x);
            b.push(w);
        }
        let mut sums = [[before; LANES]; TILE_ROWS];
        TileTwin.multiply_1x1(&a, &b, &mut sums);
        sums[0][0]
    }

    #[test]
    fn the_twin_adds_in_the_order_that_is_documented() {
        const LARGE: f32 = (1 << 27) as f32;
        // Even and odd inputs have separate sums, in which a one is lost beside a large number.
        assert_eq!(twin_sum(0.0, &[&[LARGE, -LARGE, 1.0]]), 0.0);
        assert_eq!(twin_sum(0.0, &[&[LARGE, 1.0, -LARGE]]), 1.0);
        // Each step begins at zero and is added as a whole.
        assert_eq!(twin_sum(LARGE, &[&[1.0; 8], &[-LARGE]]), 0.0);
        assert_eq!(twin_sum(LARGE, &[&[-LARGE], &[1.0; 8]]), 8.0);
        assert_eq!(twin_sum(LARGE, &[&[1.0; 32], &[-LARGE]]), 32.0);
        // Denormal numbers count as zero.
        assert_eq!(twin_sum(0.0, &[&[1e-39; 32]]), 0.0);
    }
}
