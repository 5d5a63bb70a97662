//! The seam: the operations over rows that a forward pass is made of.
//!
//! The model is written against [`Ops`] and [`Rows`] alone. Everything about processors is below
//! this file; another kind of device would be another body of these functions.

use crate::Batch;
use crate::rope::RopeTable;
use crate::rows::{Loan, Rows, Shelf};
use std::sync::Arc;
use whipstaff_kernels::{
    self as kernels, Attention, Context, Cpu, KvBlock, KvShape, Matrix, Packed, Product,
};

/// A linear layer: `[n_out, n_in]`, with or without a bias `[n_out]`.
pub(crate) struct Linear {
    pub(crate) weight: Packed,
    pub(crate) bias: Option<Vec<f32>>,
}

impl Linear {
    fn parts(&self) -> (&Packed, Option<&[f32]>) {
        (&self.weight, self.bias.as_deref())
    }
}

/// The operations, on the processor's own kernels.
pub(crate) struct Ops {
    pub(crate) cpu: Cpu,
    shelf: Arc<Shelf>,
}

impl Ops {
    pub(crate) fn new(cpu: Cpu) -> Ops {
        Ops { cpu, shelf: Arc::default() }
    }

    /// Row `token` of the embedding for every row of the batch: `[n_rows, d_model]`.
    pub(crate) fn embed(&self, embedding: &Matrix, batch: &Batch) -> Rows {
        let mut out = self.shelf.rows(batch.rows().len(), embedding.n_in);
        for (i, row) in batch.rows().iter().enumerate() {
            embedding.row_to_f32(row.token as usize, out.row_mut(i));
        }
        out
    }

    /// Cosines and sines for the position of every row.
    pub(crate) fn rope_table(&self, frequencies: &[f32], batch: &Batch) -> RopeTable {
        let (n_rows, width) = (batch.rows().len(), frequencies.len());
        let mut table =
            RopeTable { cos: self.shelf.rows(n_rows, width), sin: self.shelf.rows(n_rows, width) };
        for (i, row) in batch.rows().iter().enumerate() {
            table.set(i, row.position, frequencies);
        }
        table
    }

    /// The norm of every row, in the form that products read.
    pub(crate) fn rms_norm(&self, x: &Rows, weight: &[f32], eps: f32) -> Loan {
        let mut loan = self.shelf.input();
        loan.fill_rms_norm(&self.cpu, x.as_slice(), weight, eps);
        loan
    }

    /// `[n_rows, n_in]` → `[n_rows, n_out]`.
    pub(crate) fn linear(&self, x: &Loan, layer: &Linear) -> Rows {
        let [out] = self.linears(x, [layer]);
        out
    }

    /// Several layers on one input: `[n_rows, n_in]` → `[n_rows, n_out]` each.
    pub(crate) fn linears<const N: usize>(&self, x: &Loan, layers: [&Linear; N]) -> [Rows; N] {
        let mut outs = layers.map(|layer| self.shelf.rows(x.n_rows(), layer.weight.n_out()));
        let mut next = outs.iter_mut();
        let products = layers.map(|Linear { weight, bias }| {
            let out = next.next().expect("one for each layer").as_mut_slice();
            Product { weight, bias: bias.as_deref(), out }
        });
        kernels::linear(&self.cpu, x, products);
        outs
    }

    /// `silu(gate(x)) · up(x)`: `[n_rows, d_model]` → `[n_rows, d_ff]`.
    pub(crate) fn gated(&self, x: &Loan, gate: &Linear, up: &Linear) -> Loan {
        let mut loan = self.shelf.input();
        kernels::gated(&self.cpu, x, gate.parts(), up.parts(), &mut loan);
        loan
    }

    /// Rotates every head of every row by the row's position.
    pub(crate) fn rope(&self, mut x: Rows, head_dim: usize, table: &RopeTable) -> Rows {
        let (cos, sin) = (table.cos.as_slice(), table.sin.as_slice());
        kernels::rope(&self.cpu, x.as_mut_slice(), head_dim, cos, sin);
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
            let range = span.start * shape.width()..span.end * shape.width();
            session.cache.write(
                shape,
                layer,
                start,
                &keys.as_slice()[range.clone()],
                &values.as_slice()[range],
            );
        }
    }

    /// Every row attends to its own sequence, up to and including itself.
    pub(crate) fn attend(&self, q: &Rows, batch: &Batch, layer: usize, shape: Attention) -> Loan {
        let mut out = self.shelf.rows(q.n_rows(), q.width());
        kernels::attention(&self.cpu, shape, layer, q.as_slice(), &Caches(batch), out.as_mut_slice());
        let mut loan = self.shelf.input();
        loan.fill(&self.cpu, out.as_slice(), out.width());
        loan
    }

    pub(crate) fn add(&self, mut x: Rows, y: &Rows) -> Rows {
        kernels::add_assign(&self.cpu, x.as_mut_slice(), y.as_slice());
        x
    }
}

/// What the rows of a batch see: their sessions' caches.
struct Caches<'a, 's>(&'a Batch<'s>);

impl Context for Caches<'_, '_> {
    fn seen(&self, row: usize) -> usize {
        self.0.plan.row(row).position + 1
    }

    fn block(&self, row: usize, index: usize) -> &KvBlock {
        self.0.sessions[self.0.plan.row(row).sequence].cache.block(index)
    }
}
