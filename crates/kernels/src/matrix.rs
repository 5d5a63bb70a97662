//! Weight matrices in the type they are stored in, viewed where they lie.

use crate::Bytes;
use bytemuck::Pod;
use half::{bf16, f16};
use std::{marker::PhantomData, ops::Range};

/// The element types that weights may be stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE single precision.
    F32,
    /// The upper half of an `f32`.
    Bf16,
    /// IEEE half precision.
    F16,
}

impl Dtype {
    /// Bytes per element.
    pub fn size(self) -> usize {
        match self {
            Dtype::F32 => 4,
            Dtype::Bf16 | Dtype::F16 => 2,
        }
    }

    /// The name that safetensors headers use.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "F32",
            Dtype::Bf16 => "BF16",
            Dtype::F16 => "F16",
        }
    }
}

/// Bytes and shape do not fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatrixError {
    /// The bytes that the shape asks for, if that number exists at all.
    pub expected: Option<usize>,
    /// The bytes that were given.
    pub got: usize,
}

/// A weight matrix `[n_out, n_in]`, row-major: output `o` is the dot product of row `o` with the
/// input, as `torch.nn.Linear` stores it. Cloning shares the bytes.
#[derive(Clone)]
pub struct Matrix {
    /// Rows: the width of the product.
    pub n_out: usize,
    /// Columns: the width of the input.
    pub n_in: usize,
    elements: Elements,
}

/// The elements of a matrix in their stored type.
#[derive(Clone)]
pub enum Elements {
    /// Stored as `f32`.
    F32(View<f32>),
    /// Stored as `bf16`.
    Bf16(View<bf16>),
    /// Stored as `f16`.
    F16(View<f16>),
}

/// A typed window into shared bytes.
#[derive(Clone)]
pub struct View<T> {
    bytes: Bytes,
    range: Range<usize>,
    of: PhantomData<T>,
}

impl<T: Pod> View<T> {
    /// Views `range` of `bytes` as elements; copies only if the bytes are not aligned for `T`.
    fn new(bytes: &Bytes, range: Range<usize>) -> View<T> {
        let window = &bytes[range.clone()];
        if bytemuck::try_cast_slice::<u8, T>(window).is_ok() {
            return View { bytes: bytes.clone(), range, of: PhantomData };
        }
        // A vector of bytes is only promised byte alignment, so leave room to start at a multiple.
        let align = align_of::<T>();
        let mut copy = vec![0u8; window.len() + align];
        let start = copy.as_ptr().align_offset(align);
        copy[start..start + window.len()].copy_from_slice(window);
        View { range: start..start + window.len(), bytes: Bytes::from(copy), of: PhantomData }
    }

    /// The elements.
    pub fn as_slice(&self) -> &[T] {
        bytemuck::cast_slice(&self.bytes[self.range.clone()])
    }
}

impl Matrix {
    /// A matrix over `range` of `bytes`, which are little-endian elements of `dtype`.
    ///
    /// # Errors
    /// [`MatrixError`] if the range does not hold exactly `n_out * n_in` elements.
    pub fn new(
        bytes: &Bytes,
        range: Range<usize>,
        dtype: Dtype,
        n_out: usize,
        n_in: usize,
    ) -> Result<Matrix, MatrixError> {
        let expected = n_out.checked_mul(n_in).and_then(|n| n.checked_mul(dtype.size()));
        if expected != Some(range.len()) || range.end > bytes.len() {
            return Err(MatrixError { expected, got: range.len() });
        }
        let elements = match dtype {
            Dtype::F32 => Elements::F32(View::new(bytes, range)),
            Dtype::Bf16 => Elements::Bf16(View::new(bytes, range)),
            Dtype::F16 => Elements::F16(View::new(bytes, range)),
        };
        Ok(Matrix { n_out, n_in, elements })
    }

    /// A matrix that owns `f32` elements.
    ///
    /// # Panics
    /// If `elements` does not hold `n_out * n_in` of them.
    pub fn from_f32(elements: &[f32], n_out: usize, n_in: usize) -> Matrix {
        let bytes = Bytes::from(bytemuck::cast_slice(elements).to_vec());
        let range = 0..bytes.len();
        Matrix::new(&bytes, range, Dtype::F32, n_out, n_in).expect("n_out * n_in elements")
    }

    /// The stored type.
    pub fn dtype(&self) -> Dtype {
        match self.elements {
            Elements::F32(_) => Dtype::F32,
            Elements::Bf16(_) => Dtype::Bf16,
            Elements::F16(_) => Dtype::F16,
        }
    }

    /// The elements in their stored type.
    pub fn elements(&self) -> &Elements {
        &self.elements
    }

    /// Row `row` as it is stored.
    pub fn row_bytes(&self, row: usize) -> &[u8] {
        let size = self.n_in * self.dtype().size();
        let bytes = match &self.elements {
            Elements::F32(view) => bytemuck::cast_slice(view.as_slice()),
            Elements::Bf16(view) => bytemuck::cast_slice(view.as_slice()),
            Elements::F16(view) => bytemuck::cast_slice(view.as_slice()),
        };
        &bytes[row * size..][..size]
    }

    /// Writes row `row` to `out`, widened to `f32` (exactly: every stored type fits).
    pub fn row_to_f32(&self, row: usize, out: &mut [f32]) {
        let range = row * self.n_in..(row + 1) * self.n_in;
        match &self.elements {
            Elements::F32(view) => out.copy_from_slice(&view.as_slice()[range]),
            Elements::Bf16(view) => widen(&view.as_slice()[range], out, bf16::to_f32),
            Elements::F16(view) => widen(&view.as_slice()[range], out, f16::to_f32),
        }
    }

    /// All elements widened to `f32`, row by row.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.n_out * self.n_in];
        for (row, out) in out.chunks_exact_mut(self.n_in.max(1)).enumerate() {
            self.row_to_f32(row, out);
        }
        out
    }
}

fn widen<T: Copy>(from: &[T], to: &mut [f32], f: impl Fn(T) -> f32) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = f(*from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_that_is_not_aligned_is_copied_and_reads_the_same() {
        let values = [1.0f32, -2.5, 3.25, 0.0];
        let mut bytes = vec![7u8];
        bytes.extend_from_slice(bytemuck::cast_slice(&values));
        let bytes = Bytes::from(bytes);
        let matrix = Matrix::new(&bytes, 1..17, Dtype::F32, 2, 2).unwrap();
        assert_eq!(matrix.to_f32(), values);
    }

    #[test]
    fn a_shape_that_does_not_fit_its_bytes_is_refused() {
        let bytes = Bytes::from(vec![0u8; 16]);
        let check = |range, n_out, n_in| Matrix::new(&bytes, range, Dtype::F32, n_out, n_in).is_err();
        assert!(check(0..16, 2, 3));
        assert!(check(0..20, 1, 5));
        assert!(check(0..16, usize::MAX, 2));
        assert!(!check(0..16, 2, 2));
    }
}
