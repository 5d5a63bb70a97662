//! The seam: the operations over rows that a forward pass is made of.
//!
//! The model is written against [`Ops`] and [`Rows`] alone. Everything about processors is below
//! this file; another kind of device would be another body of these functions.

use crate::Batch;
use crate::kv::KvShape;
use crate::rope::RopeTable;
use whipstaff_kernels::{self as kernels, Attention, Isa, Matrix};

/// Activations: rows of equal width, `f32`, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    width: usize,
    data: Vec<f32>,
}

impl Rows {
    /// Rows of zeros, `[n_rows, width]`.
    pub fn zeros(n_rows: usize, width: usize) -> Rows {
        Rows { width, data: vec![0.0; n_rows * width] }
    }

    /// Elements per row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.data.len() / self.width
    }

    /// One row.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.data[row * self.width..][..self.width]
    }

    /// One row, to write to.
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        &mut self.data[row * self.width..][..self.width]
    }

    /// All elements, row after row.
    pub fn as_slice(&self) -> &[f32] {
        &self.data
    }

    /// The rows `which`, copied in that order.
    pub fn select(&self, which: &[usize]) -> Rows {
        let data = which.iter().flat_map(|row| self.row(*row)).copied().collect();
        Rows { width: self.width, data }
    }
}

/// A linear layer: `[n_out, n_in]`, with or without a bias `[n_out]`.
pub(crate) struct Linear {
    pub(crate) weight: Matrix,
    pub(crate) bias: Option<Vec<f32>>,
}

/// The operations, on the processor's own kernels.
pub(crate) struct Ops {
    pub(crate) isa: Isa,
}

impl Ops {
    /// Row `token` of the embedding for every row of the batch: `[n_rows, d_model]`.
    pub(crate) fn embed(&self, embedding: &Matrix, tokens: impl ExactSizeIterator<Item = u32>) -> Rows {
        let mut out = Rows::zeros(tokens.len(), embedding.n_in);
        for (row, token) in tokens.enumerate() {
            embedding.row_to_f32(token as usize, out.row_mut(row));
        }
        out
    }

    pub(crate) fn rms_norm(&self, x: &Rows, weight: &[f32], eps: f32) -> Rows {
        let mut out = Rows::zeros(x.n_rows(), x.width);
        kernels::rms_norm(&x.data, weight, eps, &mut out.data);
        out
    }

    /// `[n_rows, n_in]` → `[n_rows, n_out]`.
    pub(crate) fn linear(&self, x: &Rows, layer: &Linear) -> Rows {
        let mut out = Rows::zeros(x.n_rows(), layer.weight.n_out);
        kernels::linear(self.isa, &x.data, &layer.weight, layer.bias.as_deref(), &mut out.data);
        out
    }

    /// Rotates every head of every row by the row's position.
    pub(crate) fn rope(&self, mut x: Rows, table: &RopeTable) -> Rows {
        for row in 0..x.n_rows() {
            let (cos, sin) = table.row(row);
            kernels::rope(x.row_mut(row), cos, sin);
        }
        x
    }

    /// Stores each row's key and value in its session's cache.
    pub(crate) fn write_cache(
        &self,
        batch: &mut Batch,
        layer: usize,
        shape: KvShape,
        keys: &Rows,
        values: &Rows,
    ) {
        for (sequence, session) in batch.sessions.iter_mut().enumerate() {
            let span = batch.plan.span(sequence);
            if span.is_empty() {
                continue;
            }
            let start = batch.plan.row(span.start).position;
            let range = span.start * shape.width..span.end * shape.width;
            session.cache.write(shape, layer, start, &keys.data[range.clone()], &values.data[range]);
        }
    }

    /// Every row attends to its own sequence, up to and including itself.
    pub(crate) fn attend(
        &self,
        q: &Rows,
        batch: &Batch,
        layer: usize,
        kv: KvShape,
        shape: Attention,
    ) -> Rows {
        let mut out = Rows::zeros(q.n_rows(), q.width);
        let view = |row: usize| {
            let row = batch.plan.row(row);
            batch.sessions[row.sequence].cache.view(kv, layer, row.position + 1)
        };
        kernels::attention(self.isa, shape, &q.data, view, &mut out.data);
        out
    }

    /// `silu(gate) · up`.
    pub(crate) fn silu_mul(&self, mut gate: Rows, up: &Rows) -> Rows {
        kernels::silu_mul(&mut gate.data, &up.data);
        gate
    }

    pub(crate) fn add(&self, mut x: Rows, y: &Rows) -> Rows {
        kernels::add_assign(&mut x.data, &y.data);
        x
    }
}
