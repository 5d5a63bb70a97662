//! The operations on the processor's own kernels: rows are floats in memory, weights are packed for the kernel set.

mod experts;
pub(super) mod shelf;

use super::kv::KvCache;
use super::rope_table::{RopeTable, fill};
use super::rows::{Input, Rows, Store};
use super::weights::{Linear, Mlp, Norm, Table, Vector, Weight};
use crate::checkpoint::{Param, Weights};
use crate::config::{Config, Frequencies};
use crate::error::Error;
use crate::forward::batch::Batch;
use crate::forward::steer::{is_steered, steer};
use crate::forward::tap::Hook;
use shelf::{Loan, Shelf};
use std::sync::Arc;
use whipstaff_kernels::{
    self as kernels, Attention, Context, Cpu, KvBlock, KvShape, Matrix, Packed, Product,
};

/// The processor, and the memory of activations.
pub(super) struct Body {
    cpu: Cpu,
    shelf: Arc<Shelf>,
}

/// Returns the floats of rows.
fn floats(x: &Rows) -> &[f32] {
    let Store::Cpu(buffer) = &x.store;
    buffer
}

/// Returns the floats of rows, to write to.
fn floats_mut(x: &mut Rows) -> &mut [f32] {
    let Store::Cpu(buffer) = &mut x.store;
    buffer
}

fn row_mut(x: &mut Rows, row: usize) -> &mut [f32] {
    let width = x.width();
    &mut floats_mut(x)[row * width..][..width]
}

fn loan(x: &Input) -> &Loan {
    let Input::Cpu(loan) = x;
    loan
}

fn packed(weight: &Weight) -> &Packed {
    let Weight::Cpu(packed) = weight;
    packed
}

fn numbers(vector: &Vector) -> &[f32] {
    let Vector::Cpu(values) = vector;
    values
}

fn matrix(table: &Table) -> &Matrix {
    let Table::Cpu(matrix) = table;
    matrix
}

fn parts(layer: &Linear) -> (&Packed, Option<&[f32]>) {
    (packed(&layer.weight), layer.bias.as_ref().map(numbers))
}

impl Body {
    pub(super) fn new(cpu: Cpu) -> Body {
        Body { cpu, shelf: Arc::default() }
    }

    pub(super) fn weight(&self, weights: &Weights, config: &Config, param: Param) -> Result<Weight, Error> {
        Ok(Weight::Cpu(weights.packed(&self.cpu, config, param)?))
    }

    /// Takes rows whose elements are whatever they were last used for.
    fn blank(&self, n_rows: usize, width: usize) -> Rows {
        Rows::new(n_rows, width, Store::Cpu(self.shelf.buffer(n_rows * width)))
    }

    pub(super) fn rows(&self, elements: &[f32], width: usize) -> Rows {
        let mut out = self.blank(elements.len() / width, width);
        floats_mut(&mut out).copy_from_slice(elements);
        out
    }

    pub(super) fn log_sums(&self, x: &Rows) -> Vec<f64> {
        kernels::log_sum_exp(&self.cpu, floats(x), x.width())
    }

    pub(super) fn pick(&self, x: &Rows, which: &[(usize, usize)]) -> Vec<f32> {
        which.iter().map(|(row, at)| floats(x)[row * x.width()..][..x.width()][*at]).collect()
    }

    pub(super) fn embed(
        &self,
        embedding: &Table,
        scale: f32,
        positions: Option<&Table>,
        batch: &Batch,
    ) -> Rows {
        let (n_rows, embedding) = (batch.rows().len(), matrix(embedding));
        let mut out = self.blank(n_rows, embedding.n_in);
        for (i, row) in batch.rows().iter().enumerate() {
            embedding.row_to_f32(row.token as usize, row_mut(&mut out, i));
        }
        if let Some(positions) = positions {
            let mut added = self.blank(n_rows, embedding.n_in);
            for (i, row) in batch.rows().iter().enumerate() {
                matrix(positions).row_to_f32(row.position, row_mut(&mut added, i));
            }
            out = self.add(out, &added);
        }
        self.scale(out, scale)
    }

    pub(super) fn rope_table(&self, frequencies: &Frequencies, batch: &Batch) -> RopeTable {
        let (n_rows, width) = (batch.rows().len(), frequencies.n_pairs());
        let (mut cos, mut sin) = (self.blank(n_rows, width), self.blank(n_rows, width));
        for (sequence, session) in batch.sessions.iter().enumerate() {
            let angles = frequencies.of(session.reach());
            for row in batch.rows().span(sequence) {
                let (cos, sin) = (row_mut(&mut cos, row), row_mut(&mut sin, row));
                fill(cos, sin, batch.plan.row(row).position, &angles, frequencies.scale());
            }
        }
        RopeTable { cos, sin }
    }

    pub(super) fn norm(&self, x: &Rows, norm: &Norm) -> Input {
        let (mut loan, width, x) = (self.shelf.input(), x.width(), floats(x));
        match norm {
            Norm::None => loan.fill(&self.cpu, x, width),
            Norm::Rms { weight, eps } => loan.fill_rms_norm(&self.cpu, x, numbers(weight), *eps),
            Norm::Layer { weight, bias, eps } => {
                loan.fill_layer_norm(&self.cpu, x, numbers(weight), numbers(bias), *eps);
            }
        }
        Input::Cpu(loan)
    }

    pub(super) fn norm_in_place(&self, mut x: Rows, norm: &Norm) -> Rows {
        match norm {
            Norm::None => {}
            Norm::Rms { weight, eps } => {
                kernels::rms_norm(&self.cpu, floats_mut(&mut x), numbers(weight), *eps);
            }
            Norm::Layer { .. } => unreachable!("no family has this kind of norm there"),
        }
        x
    }

    pub(super) fn linears<const N: usize>(&self, x: &Input, layers: [&Linear; N]) -> [Rows; N] {
        let x = loan(x);
        let mut outs = layers.map(|layer| self.blank(x.n_rows(), packed(&layer.weight).n_out()));
        let mut next = outs.iter_mut();
        let products = layers.map(|layer| {
            let out = floats_mut(next.next().expect("one for each layer"));
            let (weight, bias) = parts(layer);
            Product { weight, bias, out }
        });
        kernels::linear(&self.cpu, x, products);
        outs
    }

    fn linear(&self, x: &Input, layer: &Linear) -> Rows {
        let [out] = self.linears(x, [layer]);
        out
    }

    pub(super) fn mlp(&self, x: &Input, mlp: &Mlp) -> Rows {
        let mut hidden = self.shelf.input();
        let (up, gate) = (parts(&mlp.up), mlp.gate.as_ref().map(parts));
        let first = kernels::Mlp { up, gate, activation: mlp.activation };
        kernels::hidden(&self.cpu, loan(x), first, &mut hidden);
        self.linear(&Input::Cpu(hidden), &mlp.down)
    }

    pub(super) fn rope(&self, mut x: Rows, head_dim: usize, table: &RopeTable) -> Rows {
        let (cos, sin, n_rotated) = (floats(&table.cos), floats(&table.sin), 2 * table.cos.width());
        kernels::rope(&self.cpu, floats_mut(&mut x), head_dim, n_rotated, cos, sin);
        x
    }

    pub(super) fn write_cache(
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
                let (keys, values) = (&floats(keys)[range.clone()], &floats(values)[range]);
                session.cache.write(shape, layer, plan.row(span.start).position, keys, values);
            }
        });
    }

    pub(super) fn attend(&self, q: &Rows, batch: &Batch, layer: usize, shape: Attention) -> Input {
        let mut out = self.blank(q.n_rows(), q.width());
        kernels::attention(&self.cpu, shape, layer, floats(q), &Caches(batch), floats_mut(&mut out));
        let mut loan = self.shelf.input();
        loan.fill(&self.cpu, floats(&out), out.width());
        Input::Cpu(loan)
    }

    pub(super) fn scale(&self, mut x: Rows, factor: f32) -> Rows {
        if factor != 1.0 {
            floats_mut(&mut x).iter_mut().for_each(|x| *x *= factor);
        }
        x
    }

    pub(super) fn divide(&self, mut x: Rows, divisor: f32) -> Rows {
        if divisor != 1.0 {
            floats_mut(&mut x).iter_mut().for_each(|x| *x /= divisor);
        }
        x
    }

    pub(super) fn soft_cap(&self, mut x: Rows, cap: Option<f32>) -> Rows {
        if let Some(cap) = cap {
            kernels::soft_cap(&self.cpu, floats_mut(&mut x), cap);
        }
        x
    }

    fn add(&self, mut x: Rows, y: &Rows) -> Rows {
        let width = x.width();
        kernels::add_assign(&self.cpu, floats_mut(&mut x), floats(y), width, |_, _| ());
        x
    }

    pub(super) fn add_steered(&self, mut x: Rows, y: &Rows, hook: Hook) -> Rows {
        if !is_steered(hook) {
            return self.add(x, y);
        }
        let (width, edit) = (x.width(), |row: usize, values: &mut [f32]| steer(hook, row, values));
        kernels::add_assign(&self.cpu, floats_mut(&mut x), floats(y), width, edit);
        x
    }

    pub(super) fn steer(&self, mut x: Rows, hook: Hook) -> Rows {
        if is_steered(hook) {
            let (width, edit) = (x.width(), |row: usize, values: &mut [f32]| steer(hook, row, values));
            kernels::edit_rows(&self.cpu, floats_mut(&mut x), width, edit);
        }
        x
    }
}

/// What the rows of a batch see: their sessions' caches.
struct Caches<'a, 's>(&'a Batch<'s>);

impl Caches<'_, '_> {
    fn cache(&self, row: usize) -> &KvCache {
        &self.0.sessions[self.0.plan.row(row).sequence].cache
    }
}

impl Context for Caches<'_, '_> {
    fn seen(&self, row: usize) -> usize {
        self.0.plan.row(row).position + 1
    }

    fn block(&self, row: usize, index: usize) -> &KvBlock {
        self.cache(row).block(index)
    }
}
