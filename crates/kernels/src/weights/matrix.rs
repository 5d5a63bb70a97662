//! Weight matrices in the type in which they are stored, viewed where they lie.

use super::blocks;
use super::bytes::Bytes;
use super::dtype::Dtype;
use bytemuck::Pod;
use half::{bf16, f16};
use std::{marker::PhantomData, ops::Range, sync::Arc};

/// The error of a matrix whose bytes and shape do not fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatrixError {
    /// The bytes that the shape asks for; nothing if rows would not be whole blocks or the number overflows.
    pub expected: Option<usize>,
    /// The bytes that were given.
    pub got: usize,
}

/// A weight matrix `[n_out, n_in]`, row-major as `torch.nn.Linear` stores it: output `o` is the dot product
/// of row `o` with the input. Clones share the bytes.
#[derive(Clone)]
pub struct Matrix {
    /// Rows: the width of the product.
    pub n_out: usize,
    /// Columns: the width of the input.
    pub n_in: usize,
    elements: Elements,
    /// The stored index of each row, if the rows are not stored in their own order.
    row_order: Option<Arc<[u32]>>,
}

/// The elements of a matrix, in their stored type.
#[derive(Clone)]
pub enum Elements {
    /// Elements stored as `f32`.
    F32(View<f32>),
    /// Elements stored as `bf16`.
    Bf16(View<bf16>),
    /// Elements stored as `f16`.
    F16(View<f16>),
    /// Elements stored as quantised blocks of this type, row after row.
    Blocks(Dtype, View<u8>),
}

/// A typed window into shared bytes.
#[derive(Clone)]
pub struct View<T> {
    bytes: Bytes,
    range: Range<usize>,
    of: PhantomData<T>,
}

impl<T: Pod> View<T> {
    /// Views `range` of `bytes` as elements, and copies them only if they are not aligned for `T`.
    fn new(bytes: &Bytes, range: Range<usize>) -> View<T> {
        let window = &bytes[range.clone()];
        if bytemuck::try_cast_slice::<u8, T>(window).is_ok() {
            return View { bytes: bytes.clone(), range, of: PhantomData };
        }
        // A vector of bytes is promised no more than byte alignment, so there must be room to start at a
        // multiple of `align`.
        let align = align_of::<T>();
        let mut copy = vec![0u8; window.len() + align];
        let start = copy.as_ptr().align_offset(align);
        copy[start..start + window.len()].copy_from_slice(window);
        View { range: start..start + window.len(), bytes: Bytes::from(copy), of: PhantomData }
    }

    /// Returns a window into this one; `part` is in elements.
    fn part(&self, part: Range<usize>) -> View<T> {
        let (start, size) = (self.range.start, size_of::<T>());
        let range = start + part.start * size..start + part.end * size;
        View { bytes: self.bytes.clone(), range, of: PhantomData }
    }

    /// Returns the elements.
    pub fn as_slice(&self) -> &[T] {
        bytemuck::cast_slice(&self.bytes[self.range.clone()])
    }
}

impl Matrix {
    /// Makes a matrix over `range` of `bytes`, which are little-endian elements or blocks of `dtype`.
    ///
    /// # Errors
    /// Returns [`MatrixError`] if the range does not hold exactly `n_out` rows of `n_in` elements, or a row
    /// would not be whole blocks.
    pub fn new(
        bytes: &Bytes,
        range: Range<usize>,
        dtype: Dtype,
        n_out: usize,
        n_in: usize,
    ) -> Result<Matrix, MatrixError> {
        let expected = dtype.row_bytes(n_in).and_then(|row| row.checked_mul(n_out));
        if expected != Some(range.len()) || range.end > bytes.len() {
            return Err(MatrixError { expected, got: range.len() });
        }
        let elements = match dtype {
            Dtype::F32 => Elements::F32(View::new(bytes, range)),
            Dtype::Bf16 => Elements::Bf16(View::new(bytes, range)),
            Dtype::F16 => Elements::F16(View::new(bytes, range)),
            blocks => Elements::Blocks(blocks, View::new(bytes, range)),
        };
        Ok(Matrix { n_out, n_in, elements, row_order: None })
    }

    /// Returns the matrix whose row `i` is row `order[i]` of this one. Nothing moves: [`Matrix::row_bytes`]
    /// and the readers of `f32` look the row up.
    ///
    /// # Panics
    /// Panics if `order` does not have `n_out` entries, or if an entry is not the index of a row.
    pub fn with_row_order(mut self, order: Arc<[u32]>) -> Matrix {
        assert_eq!(order.len(), self.n_out, "the order has one entry per row");
        assert!(order.iter().all(|row| (*row as usize) < self.n_out), "every entry is a row");
        let composed = |old: &Arc<[u32]>| order.iter().map(|row| old[*row as usize]).collect();
        self.row_order = Some(self.row_order.as_ref().map_or(order.clone(), composed));
        self
    }

    /// Returns some consecutive rows as a matrix that shares the bytes.
    ///
    /// # Panics
    /// Panics if there are no such rows, or if the rows of this matrix are not in their own order.
    pub fn rows(&self, rows: Range<usize>) -> Matrix {
        assert!(self.row_order.is_none() && rows.end <= self.n_out, "rows of {}", self.n_out);
        let (n_out, n_in) = (rows.len(), self.n_in);
        let elements = match &self.elements {
            Elements::F32(view) => Elements::F32(view.part(rows.start * n_in..rows.end * n_in)),
            Elements::Bf16(view) => Elements::Bf16(view.part(rows.start * n_in..rows.end * n_in)),
            Elements::F16(view) => Elements::F16(view.part(rows.start * n_in..rows.end * n_in)),
            Elements::Blocks(dtype, view) => {
                let n = dtype.row_bytes(n_in).expect("whole blocks");
                Elements::Blocks(*dtype, view.part(rows.start * n..rows.end * n))
            }
        };
        Matrix { n_out, n_in, elements, row_order: None }
    }

    /// Returns the rows that are listed, copied in that order.
    ///
    /// # Panics
    /// Panics if there is no such row.
    pub fn gathered(&self, rows: &[u32]) -> Matrix {
        let bytes = rows.iter().flat_map(|row| self.row_bytes(*row as usize)).copied().collect();
        self.of_bytes(bytes, rows.len(), self.n_in)
    }

    /// Returns some columns as rows, copied: the transpose of that part.
    ///
    /// # Panics
    /// Panics if there are no such columns, or if the elements are blocks.
    pub fn turned(&self, columns: Range<usize>) -> Matrix {
        assert!(columns.end <= self.n_in && !self.dtype().is_quantised(), "columns of {}", self.n_in);
        let size = self.dtype().block_bytes();
        let mut bytes = vec![0; columns.len() * self.n_out * size];
        for row in 0..self.n_out {
            let stored = self.row_bytes(row);
            for (i, column) in columns.clone().enumerate() {
                let element = &stored[column * size..][..size];
                bytes[(i * self.n_out + row) * size..][..size].copy_from_slice(element);
            }
        }
        self.of_bytes(bytes, columns.len(), self.n_out)
    }

    /// Makes a matrix of the same type over bytes of its own.
    fn of_bytes(&self, bytes: Vec<u8>, n_out: usize, n_in: usize) -> Matrix {
        let bytes = Bytes::from(bytes);
        let range = 0..bytes.len();
        Matrix::new(&bytes, range, self.dtype(), n_out, n_in).expect("as many bytes as the shape asks for")
    }

    /// Returns the stored index of each row, if the rows are not stored in their own order.
    pub fn row_order(&self) -> Option<&[u32]> {
        self.row_order.as_deref()
    }

    /// Makes a matrix that owns `f32` elements.
    ///
    /// # Panics
    /// Panics if `elements` does not hold `n_out * n_in` of them.
    pub fn from_f32(elements: &[f32], n_out: usize, n_in: usize) -> Matrix {
        let bytes = Bytes::from(bytemuck::cast_slice(elements).to_vec());
        let range = 0..bytes.len();
        Matrix::new(&bytes, range, Dtype::F32, n_out, n_in).expect("n_out * n_in elements")
    }

    /// Returns the stored type.
    pub fn dtype(&self) -> Dtype {
        match self.elements {
            Elements::F32(_) => Dtype::F32,
            Elements::Bf16(_) => Dtype::Bf16,
            Elements::F16(_) => Dtype::F16,
            Elements::Blocks(dtype, _) => dtype,
        }
    }

    /// Returns the elements in their stored type and order, which is the order of the rows unless there is a
    /// [`Matrix::row_order`].
    pub fn elements(&self) -> &Elements {
        &self.elements
    }

    /// Returns row `row` in the file's layout: `dtype().row_bytes(n_in)` bytes.
    ///
    /// # Panics
    /// Panics if there is no such row.
    pub fn row_bytes(&self, row: usize) -> &[u8] {
        let stored = self.stored_row(row);
        let bytes = match &self.elements {
            Elements::F32(view) => bytemuck::cast_slice(view.as_slice()),
            Elements::Bf16(view) => bytemuck::cast_slice(view.as_slice()),
            Elements::F16(view) => bytemuck::cast_slice(view.as_slice()),
            Elements::Blocks(_, view) => view.as_slice(),
        };
        let n = bytes.len() / self.n_out;
        &bytes[stored * n..(stored + 1) * n]
    }

    /// Returns the index of a row among the stored rows.
    fn stored_row(&self, row: usize) -> usize {
        self.row_order.as_ref().map_or(row, |order| order[row] as usize)
    }

    /// Writes row `row` to `out` as `f32`. Floats are widened, which is exact; blocks are dequantised.
    ///
    /// # Panics
    /// Panics if there is no such row, or if `out` does not have `n_in` elements.
    pub fn row_to_f32(&self, row: usize, out: &mut [f32]) {
        assert_eq!(out.len(), self.n_in, "a row has n_in elements");
        let stored = self.stored_row(row);
        let range = stored * self.n_in..(stored + 1) * self.n_in;
        match &self.elements {
            Elements::F32(view) => out.copy_from_slice(&view.as_slice()[range]),
            Elements::Bf16(view) => widen(&view.as_slice()[range], out, bf16::to_f32),
            Elements::F16(view) => widen(&view.as_slice()[range], out, f16::to_f32),
            Elements::Blocks(dtype, _) => blocks::dequantise_row(*dtype, self.row_bytes(row), out),
        }
    }

    /// Returns all elements as `f32`, row by row.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.n_out * self.n_in];
        for (row, out) in out.chunks_exact_mut(self.n_in.max(1)).enumerate() {
            self.row_to_f32(row, out);
        }
        out
    }
}

/// Writes `f` of each element of `from` to `to`.
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

    #[test]
    fn a_quantised_matrix_is_made_of_whole_blocks() {
        let bytes = Bytes::from(vec![0u8; 4 * 144]);
        let check = |range, dtype, n_out, n_in| Matrix::new(&bytes, range, dtype, n_out, n_in).is_ok();
        assert!(check(0..576, Dtype::Q4K, 4, 256));
        assert!(check(0..576, Dtype::Q4K, 2, 512));
        assert!(!check(0..576, Dtype::Q4K, 8, 128));
        assert!(!check(0..576, Dtype::Q4K, 4, 255));
        assert!(!check(0..576, Dtype::Q4K, usize::MAX / 256, 256));
        assert!(!check(0..576, Dtype::Q4K, usize::MAX, usize::MAX / 256 * 256));
        assert!(check(0..576, Dtype::Q4_0, 4, 256));
        assert!(check(0..144, Dtype::Q4_0, 8, 32));
        assert!(!check(0..144, Dtype::Q4_0, 16, 16));
        assert!(check(0..68, Dtype::Q8_0, 2, 32));
    }

    #[test]
    fn a_row_of_blocks_is_dequantised_where_it_lies() {
        // Two rows of two blocks: the scale is one, the codes count up through all four.
        let mut bytes = vec![9u8];
        for block in 0..4u8 {
            bytes.extend(f16::ONE.to_le_bytes());
            bytes.extend((0..32).map(|k| 32 * block + k));
        }
        let bytes = Bytes::from(bytes);
        let matrix = Matrix::new(&bytes, 1..137, Dtype::Q8_0, 2, 64).unwrap();
        let mut row = [0.0; 64];
        matrix.row_to_f32(1, &mut row);
        assert_eq!(row.to_vec(), (64..128).map(|k| k as f32).collect::<Vec<_>>());
        assert_eq!(matrix.dtype(), Dtype::Q8_0);
    }

    #[test]
    fn a_row_order_leads_every_reader_to_the_row_that_is_meant() {
        let values: Vec<f32> = (0..8).map(|i| i as f32).collect();
        let floats = Matrix::from_f32(&values, 4, 2);
        let mut blocks = Vec::new();
        for row in 0..4u8 {
            blocks.extend(f16::ONE.to_le_bytes());
            blocks.extend([row; 32]);
        }
        let quantised = Matrix::new(&Bytes::from(blocks), 0..136, Dtype::Q8_0, 4, 32).unwrap();
        let check = |matrix: &Matrix, order: &[u32]| {
            let mut other = vec![0.0; matrix.n_in];
            let ordered = matrix.clone().with_row_order(order.into());
            for (row, stored) in order.iter().map(|row| *row as usize).enumerate() {
                assert_eq!(ordered.row_bytes(row), matrix.row_bytes(stored));
                matrix.row_to_f32(stored, &mut other);
                assert_eq!(ordered.to_f32()[row * matrix.n_in..][..matrix.n_in], other);
            }
        };
        for matrix in [&floats, &quantised] {
            check(matrix, &[0, 1, 2, 3]);
            check(matrix, &[2, 0, 3, 1]);
            check(matrix, &[1, 1, 1, 1]);
        }
        assert_eq!(bytemuck::cast_slice::<u8, f32>(floats.row_bytes(3)), [6.0, 7.0]);
        let twice = floats.with_row_order([2, 0, 3, 1].into()).with_row_order([1, 2, 3, 0].into());
        assert_eq!(twice.row_order(), Some(&[0, 3, 1, 2][..]));
    }

    #[test]
    fn parts_of_a_matrix_are_what_they_were_in_it() {
        let values: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let floats = Matrix::from_f32(&values, 4, 3);
        let half: Vec<f16> = values.iter().map(|x| f16::from_f32(*x)).collect();
        let bytes = Bytes::from(bytemuck::cast_slice(&half).to_vec());
        let half = Matrix::new(&bytes, 0..24, Dtype::F16, 4, 3).unwrap();
        for matrix in [floats, half] {
            assert_eq!(matrix.rows(1..3).to_f32(), values[3..9]);
            assert_eq!(matrix.rows(2..4).rows(1..2).to_f32(), values[9..12]);
            assert_eq!(matrix.gathered(&[3, 0]).to_f32(), [9.0, 10.0, 11.0, 0.0, 1.0, 2.0]);
            assert_eq!(matrix.turned(1..3).to_f32(), [1.0, 4.0, 7.0, 10.0, 2.0, 5.0, 8.0, 11.0]);
            assert_eq!(matrix.turned(0..3).turned(0..4).to_f32(), values);
        }
    }
}
