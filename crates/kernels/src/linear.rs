//! `y = x Wᵀ + b`: every linear layer, for one row (decoding) or many (prefill).
//!
//! The weights are read where they lie, in the type they are stored in, and widened on the way
//! into the registers. A tile holds a few rows of `x` against a few rows of `W`; both are walked
//! along the shared dimension, so that neither needs packing.

use crate::isa::{Isa, Kernel};
use crate::lanes::{Element, LANES, Lanes};
use crate::matrix::{Elements, Matrix};
use rayon::prelude::*;

/// Columns of the product that one task computes: with 2048 inputs in bf16 their weights are
/// 128 KB, which stays in the second-level cache while the rows of `x` pass by.
const COLUMNS_PER_TASK: usize = 32;

/// Below this many multiply-adds the product is not worth waking other threads for (about 15 µs).
const SERIAL_BELOW: usize = 1 << 18;

/// Computes `out[r, o] = Σᵢ x[r, i] · w[o, i] + bias[o]`.
///
/// `x` is `[n_rows, w.n_in]`, `out` is `[n_rows, w.n_out]`, both row-major. Accumulates in `f32`;
/// a row's result does not depend on the other rows.
///
/// # Panics
/// If the slices do not have these shapes.
pub fn linear(isa: Isa, x: &[f32], w: &Matrix, bias: Option<&[f32]>, out: &mut [f32]) {
    match w.elements() {
        Elements::F32(view) => linear_of(isa, x, view.as_slice(), w, bias, out),
        Elements::Bf16(view) => linear_of(isa, x, view.as_slice(), w, bias, out),
        Elements::F16(view) => linear_of(isa, x, view.as_slice(), w, bias, out),
        // Dequantised anew for every call: right, and slow until panels of blocks are multiplied.
        Elements::Blocks(..) => linear_of(isa, x, &w.to_f32(), w, bias, out),
    }
}

fn linear_of<W: Element>(
    isa: Isa,
    x: &[f32],
    elements: &[W],
    w: &Matrix,
    bias: Option<&[f32]>,
    out: &mut [f32],
) {
    let (n_in, n_out) = (w.n_in, w.n_out);
    let n_rows = x.len() / n_in.max(1);
    assert_eq!(x.len(), n_rows * n_in, "x is [n_rows, n_in]");
    assert_eq!(out.len(), n_rows * n_out, "out is [n_rows, n_out]");
    assert_eq!(elements.len(), n_out * n_in, "w is [n_out, n_in]");
    assert!(bias.is_none_or(|b| b.len() == n_out), "bias is [n_out]");
    if n_rows == 0 {
        return;
    }
    let product = Product { x, w: elements, bias, n_in, n_out, out: OutPtr(out.as_mut_ptr()) };
    if n_rows * n_in * n_out < SERIAL_BELOW {
        isa.run(Columns { product, first: 0, last: n_out });
        return;
    }
    (0..n_out.div_ceil(COLUMNS_PER_TASK)).into_par_iter().for_each(|task| {
        let first = task * COLUMNS_PER_TASK;
        let last = (first + COLUMNS_PER_TASK).min(n_out);
        isa.run(Columns { product, first, last });
    });
}

/// The operands of one product. `out` is written through a pointer because tasks own columns,
/// which interleave in memory.
#[derive(Clone, Copy)]
struct Product<'a, W> {
    x: &'a [f32],
    w: &'a [W],
    bias: Option<&'a [f32]>,
    n_in: usize,
    n_out: usize,
    out: OutPtr,
}

#[derive(Clone, Copy)]
struct OutPtr(*mut f32);
// SAFETY: every task writes the columns `first..last` of its own and reads none.
unsafe impl Send for OutPtr {}
// SAFETY: as above.
unsafe impl Sync for OutPtr {}

/// The columns `first..last` of a product, for all rows.
struct Columns<'a, W> {
    product: Product<'a, W>,
    first: usize,
    last: usize,
}

impl<W: Element> Kernel for Columns<'_, W> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let n_rows = self.product.x.len() / self.product.n_in;
        let mut row = 0;
        // SAFETY: rows and columns stay within the shapes that `linear_of` asserted.
        unsafe {
            if L::BIG_TILES {
                while row + 4 <= n_rows {
                    self.strip::<L, 4, 4>(row);
                    row += 4;
                }
            }
            while row + 2 <= n_rows {
                self.strip::<L, 2, 2>(row);
                row += 2;
            }
            if row < n_rows {
                self.strip::<L, 1, 4>(row);
            }
        }
    }
}

impl<W: Element> Columns<'_, W> {
    /// `R` rows from `row` on, against all columns of the task, `C` at a time.
    #[inline(always)]
    unsafe fn strip<L: Lanes, const R: usize, const C: usize>(&self, row: usize) {
        let mut column = self.first;
        // SAFETY: the caller's rows are in range, and so are these columns.
        unsafe {
            while column + C <= self.last {
                self.tile::<L, R, C>(row, column);
                column += C;
            }
            while column < self.last {
                self.tile::<L, R, 1>(row, column);
                column += 1;
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<L: Lanes, const R: usize, const C: usize>(&self, row: usize, column: usize) {
        let Product { x, w, bias, n_in, n_out, out } = self.product;
        // SAFETY: `row + R` and `column + C` are in range, so are the rows of x and w they start,
        // and no other task writes these columns of `out`.
        unsafe {
            let mut rows = [x.as_ptr(); R];
            for (r, start) in rows.iter_mut().enumerate() {
                *start = x.as_ptr().add((row + r) * n_in);
            }
            let mut columns = [w.as_ptr(); C];
            for (c, start) in columns.iter_mut().enumerate() {
                *start = w.as_ptr().add((column + c) * n_in);
            }
            let sums = dot_tile::<L, f32, W, R, C>(rows, columns, n_in);
            for (r, sums) in sums.iter().enumerate() {
                for (c, sum) in sums.iter().enumerate() {
                    let bias = match bias {
                        Some(bias) => *bias.get_unchecked(column + c),
                        None => 0.0,
                    };
                    out.0.add((row + r) * n_out + column + c).write(sum + bias);
                }
            }
        }
    }
}

/// All dot products of `R` vectors with `C` vectors of length `n`.
///
/// # Safety
/// Each pointer is valid for `n` elements; the caller runs with the features that `L` needs.
#[allow(clippy::needless_range_loop)] // indices are what makes the tile's shape visible
#[inline(always)]
pub(crate) unsafe fn dot_tile<L: Lanes, A: Element, B: Element, const R: usize, const C: usize>(
    a: [*const A; R],
    b: [*const B; C],
    n: usize,
) -> [[f32; C]; R] {
    // Plain loops throughout: a closure handed to the standard library is compiled without the
    // features of this function, and calls out for every vector.
    // SAFETY: whole groups of lanes lie within the `n` elements; the rest goes through a buffer.
    unsafe {
        let zero = L::splat(0.0);
        let mut sums = [[zero; C]; R];
        let mut columns = [zero; C];
        let whole = n - n % LANES;
        let mut i = 0;
        while i < whole {
            for c in 0..C {
                columns[c] = B::load::<L>(b[c].add(i));
            }
            for r in 0..R {
                let row = A::load::<L>(a[r].add(i));
                for c in 0..C {
                    sums[r][c] = sums[r][c].add_product(row, columns[c]);
                }
            }
            i += LANES;
        }
        if whole < n {
            for c in 0..C {
                columns[c] = load_rest(b[c].add(whole), n - whole);
            }
            for r in 0..R {
                let row: L = load_rest(a[r].add(whole), n - whole);
                for c in 0..C {
                    sums[r][c] = sums[r][c].add_product(row, columns[c]);
                }
            }
        }
        let mut totals = [[0.0; C]; R];
        for r in 0..R {
            for c in 0..C {
                totals[r][c] = sums[r][c].sum();
            }
        }
        totals
    }
}

/// Fewer than sixteen elements, the missing lanes zero.
#[inline(always)]
unsafe fn load_rest<L: Lanes, T: Element>(p: *const T, n: usize) -> L {
    let mut lanes = [T::default(); LANES];
    // SAFETY: `n` elements are valid and fit the buffer.
    unsafe {
        std::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), n);
        T::load::<L>(lanes.as_ptr())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plain;
    use half::{bf16, f16};

    /// A small deterministic sequence in (-1, 1); no generator crate needed for operands.
    fn numbers(n: usize, seed: u32) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2654435761).wrapping_add(1);
        let mut next = || {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..n).map(|_| next()).collect()
    }

    fn matrices(n_out: usize, n_in: usize) -> [Matrix; 3] {
        let w = numbers(n_out * n_in, 7);
        let bytes = |raw: Vec<u8>| crate::Bytes::from(raw);
        let bf: Vec<bf16> = w.iter().map(|&x| bf16::from_f32(x)).collect();
        let fp: Vec<f16> = w.iter().map(|&x| f16::from_f32(x)).collect();
        let bf = bytes(bytemuck::cast_slice(&bf).to_vec());
        let fp = bytes(bytemuck::cast_slice(&fp).to_vec());
        [
            Matrix::from_f32(&w, n_out, n_in),
            Matrix::new(&bf, 0..bf.len(), crate::Dtype::Bf16, n_out, n_in).unwrap(),
            Matrix::new(&fp, 0..fp.len(), crate::Dtype::F16, n_out, n_in).unwrap(),
        ]
    }

    /// Every kernel set and stored type against the f64 twin. The bound is that of any f32 sum of
    /// `n` products: a few units in the last place of the sum of magnitudes.
    fn check(n_rows: usize, n_out: usize, n_in: usize) {
        let x = numbers(n_rows * n_in, 3);
        let bias = numbers(n_out, 5);
        for w in matrices(n_out, n_in) {
            let want = plain::linear(&x, &w, Some(&bias));
            let mut first: Option<Vec<f32>> = None;
            for isa in Isa::available() {
                let mut got = vec![f32::NAN; n_rows * n_out];
                linear(isa, &x, &w, Some(&bias), &mut got);
                for (got, want) in got.iter().zip(&want) {
                    let bound = 1e-6 * (n_in as f32).sqrt() + 1e-6;
                    assert!((got - want).abs() <= bound, "{isa:?} {n_rows}x{n_out}x{n_in}: {got} {want}");
                }
                let first = first.get_or_insert_with(|| got.clone());
                assert_eq!(*first, got, "{isa:?} gives other bits");
            }
        }
    }

    #[test]
    fn every_kernel_set_equals_the_plain_twin_on_every_class_of_shape() {
        check(1, 1, 1);
        check(1, 5, 3);
        check(1, 33, 16);
        check(2, 31, 17);
        check(3, 4, 64);
        check(4, 4, 15);
        check(5, 7, 100);
        check(9, 66, 48);
        check(64, 40, 129);
        check(7, 300, 200); // large enough to run on several threads
    }

    #[test]
    fn a_row_does_not_depend_on_its_neighbours() {
        let (n_out, n_in) = (70, 130);
        let x = numbers(9 * n_in, 11);
        for w in matrices(n_out, n_in) {
            let mut all = vec![0.0; 9 * n_out];
            linear(Isa::best(), &x, &w, None, &mut all);
            for row in 0..9 {
                let mut one = vec![0.0; n_out];
                linear(Isa::best(), &x[row * n_in..][..n_in], &w, None, &mut one);
                assert_eq!(one, all[row * n_out..][..n_out]);
            }
        }
    }
}
