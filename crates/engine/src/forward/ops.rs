//! The seam: the operations over rows that a forward pass is made of.
//!
//! The model is written against [`Ops`] and [`Rows`] alone. Everything about processors is below
//! this file; another kind of device would be another body of these functions.

use super::batch::Batch;
use super::rope_table::RopeTable;
use super::rows::{Loan, Rows, Shelf};
use super::steer::{acts, steer};
use super::tap::Hook;
use crate::config::Frequencies;
use std::sync::Arc;
use whipstaff_kernels::{
    self as kernels, Activation, Attention, Context, Cpu, KvBlock, KvShape, Matrix, Packed, Product,
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

/// A norm, or none.
pub(crate) enum Norm {
    None,
    /// `x / rms(x) · weight`.
    Rms {
        weight: Vec<f32>,
        eps: f32,
    },
    /// `(x - mean(x)) / std(x) · weight + bias`.
    Layer {
        weight: Vec<f32>,
        bias: Vec<f32>,
        eps: f32,
    },
}

/// An MLP: `down(activation(up(x)))`, or with a gate `down(activation(gate(x)) · up(x))`.
pub(crate) struct Mlp {
    pub(crate) gate: Option<Linear>,
    pub(crate) up: Linear,
    pub(crate) down: Linear,
    pub(crate) activation: Activation,
}

/// A mixture of experts (`experts.rs`).
pub(crate) struct Experts {
    /// `[n_experts, d_model]`.
    pub(crate) router: Linear,
    pub(crate) mlps: Vec<Mlp>,
    pub(crate) per_token: usize,
    /// The weights of a token's experts add up to one.
    pub(crate) normalise: bool,
    /// One for every token, with its own gate `[1, d_model]`.
    pub(crate) shared: Option<(Linear, Mlp)>,
}

/// The operations, on the processor's own kernels.
pub(crate) struct Ops {
    pub(crate) cpu: Cpu,
    pub(crate) shelf: Arc<Shelf>,
}

impl Ops {
    pub(crate) fn new(cpu: Cpu) -> Ops {
        Ops { cpu, shelf: Arc::default() }
    }

    /// Row `token` of the embedding for every row of the batch, times `scale`, and row `position` of the
    /// learned positions where there are any: `[n_rows, d_model]`.
    pub(crate) fn embed(
        &self,
        embedding: &Matrix,
        scale: f32,
        positions: Option<&Matrix>,
        batch: &Batch,
    ) -> Rows {
        let mut out = self.shelf.rows(batch.rows().len(), embedding.n_in);
        for (i, row) in batch.rows().iter().enumerate() {
            embedding.row_to_f32(row.token as usize, out.row_mut(i));
        }
        if let Some(positions) = positions {
            let mut added = self.shelf.rows(out.n_rows(), embedding.n_in);
            for (i, row) in batch.rows().iter().enumerate() {
                positions.row_to_f32(row.position, added.row_mut(i));
            }
            out = self.add(out, &added);
        }
        self.scale(out, scale)
    }

    /// Cosines and sines for the position of every row.
    pub(crate) fn rope_table(&self, frequencies: &Frequencies, batch: &Batch) -> RopeTable {
        let (n_rows, width) = (batch.rows().len(), frequencies.n_pairs());
        let mut table =
            RopeTable { cos: self.shelf.rows(n_rows, width), sin: self.shelf.rows(n_rows, width) };
        for (sequence, session) in batch.sessions.iter().enumerate() {
            let angles = frequencies.of(session.reach());
            for row in batch.rows().span(sequence) {
                table.set(row, batch.plan.row(row).position, &angles, frequencies.scale());
            }
        }
        table
    }

    /// The norm of every row, in the form that products read.
    pub(crate) fn norm(&self, x: &Rows, norm: &Norm) -> Loan {
        let mut loan = self.shelf.input();
        match norm {
            Norm::None => loan.fill(&self.cpu, x.as_slice(), x.width()),
            Norm::Rms { weight, eps } => loan.fill_rms_norm(&self.cpu, x.as_slice(), weight, *eps),
            Norm::Layer { weight, bias, eps } => {
                loan.fill_layer_norm(&self.cpu, x.as_slice(), weight, bias, *eps);
            }
        }
        loan
    }

    /// The norm of every stretch that is as long as the norm's weight: of rows, or of the heads of rows.
    pub(crate) fn norm_in_place(&self, mut x: Rows, norm: &Norm) -> Rows {
        match norm {
            Norm::None => {}
            Norm::Rms { weight, eps } => kernels::rms_norm(&self.cpu, x.as_mut_slice(), weight, *eps),
            Norm::Layer { .. } => unreachable!("no family has this kind of norm there"),
        }
        x
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

    /// `[n_rows, d_model]` → `[n_rows, d_ff]` → `[n_rows, d_model]`.
    pub(crate) fn mlp(&self, x: &Loan, mlp: &Mlp) -> Rows {
        let mut hidden = self.shelf.input();
        let (up, gate) = (mlp.up.parts(), mlp.gate.as_ref().map(Linear::parts));
        let first = kernels::Unit { up, gate, activation: mlp.activation };
        kernels::hidden(&self.cpu, x, first, &mut hidden);
        self.linear(&hidden, &mlp.down)
    }

    /// Rotates the beginning of every head of every row by the row's position.
    pub(crate) fn rope(&self, mut x: Rows, head_dim: usize, table: &RopeTable) -> Rows {
        let (cos, sin) = (table.cos.as_slice(), table.sin.as_slice());
        kernels::rope(&self.cpu, x.as_mut_slice(), head_dim, 2 * table.cos.width(), cos, sin);
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
        let (plan, width) = (&batch.plan, shape.width());
        self.cpu.for_each_mut(&mut batch.sessions, |sequence, session| {
            let span = plan.span(sequence);
            if !span.is_empty() {
                let range = span.start * width..span.end * width;
                let (keys, values) = (&keys.as_slice()[range.clone()], &values.as_slice()[range]);
                session.cache.write(shape, layer, plan.row(span.start).position, keys, values);
            }
        });
    }

    /// Every row attends to its own sequence, up to and including itself.
    pub(crate) fn attend(&self, q: &Rows, batch: &Batch, layer: usize, shape: Attention) -> Loan {
        let mut out = self.shelf.rows(q.n_rows(), q.width());
        kernels::attention(&self.cpu, shape, layer, q.as_slice(), &Caches(batch), out.as_mut_slice());
        let mut loan = self.shelf.input();
        loan.fill(&self.cpu, out.as_slice(), out.width());
        loan
    }

    /// `x · factor`.
    pub(crate) fn scale(&self, mut x: Rows, factor: f32) -> Rows {
        if factor != 1.0 {
            x.as_mut_slice().iter_mut().for_each(|x| *x *= factor);
        }
        x
    }

    /// `x / divisor`.
    pub(crate) fn divide(&self, mut x: Rows, divisor: f32) -> Rows {
        if divisor != 1.0 {
            x.as_mut_slice().iter_mut().for_each(|x| *x /= divisor);
        }
        x
    }

    /// `cap · tanh(x / cap)`, if there is a cap.
    pub(crate) fn soft_cap(&self, mut x: Rows, cap: Option<f32>) -> Rows {
        if let Some(cap) = cap {
            kernels::soft_cap(&self.cpu, x.as_mut_slice(), cap);
        }
        x
    }

    pub(crate) fn add(&self, mut x: Rows, y: &Rows) -> Rows {
        let width = x.width();
        kernels::add_assign(&self.cpu, x.as_mut_slice(), y.as_slice(), width, |_, _| ());
        x
    }

    /// `x + y`, steered on the way as everybody wishes at this hook.
    pub(crate) fn add_steered(&self, mut x: Rows, y: &Rows, hook: Hook) -> Rows {
        if !acts(hook) {
            return self.add(x, y);
        }
        let (width, edit) = (x.width(), |row: usize, values: &mut [f32]| steer(hook, row, values));
        kernels::add_assign(&self.cpu, x.as_mut_slice(), y.as_slice(), width, edit);
        x
    }

    /// `x`, steered as everybody wishes at this hook.
    pub(crate) fn steer(&self, mut x: Rows, hook: Hook) -> Rows {
        if acts(hook) {
            let (width, edit) = (x.width(), |row: usize, values: &mut [f32]| steer(hook, row, values));
            kernels::edit_rows(&self.cpu, x.as_mut_slice(), width, edit);
        }
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
