//! The seam: the operations over rows that a forward pass is made of.
//!
//! The model is written against [`Ops`] and the handles it gives out ([`Rows`], [`Input`], [`Weight`], [`Vector`],
//! [`Table`], [`KvCache`]) alone. Each handle is an enum with one variant for each kind of device, and so is what an
//! operation matches on: `cpu.rs` is the one body of today, and another device is another arm of every match here.

mod cpu;
mod kv;
mod rope_table;
mod rows;
mod weights;

use super::batch::Batch;
use super::tap::Hook;
use crate::checkpoint::{Param, Weights};
use crate::config::{Config, Frequencies};
use crate::error::Error;
use cpu::Body;
pub(crate) use kv::KvCache;
pub(crate) use rope_table::RopeTable;
pub(crate) use rows::Input;
pub use rows::{HostRows, Rows};
pub(crate) use weights::{Experts, Linear, Mlp, Norm, Table, Vector, Weight};
use whipstaff_kernels::{Attention, Cpu, KvShape};

/// The operations, on the device that the model was loaded for.
pub(crate) struct Ops {
    host: Cpu,
    device: Device,
}

/// Where rows live.
enum Device {
    Cpu(Body),
}

// Weights.
impl Ops {
    /// Returns the operations on the processor's own kernels.
    pub(crate) fn new(cpu: Cpu) -> Ops {
        Ops { device: Device::Cpu(Body::new(cpu.clone())), host: cpu }
    }

    /// Returns the kernel set and the threads of the host, whatever device the rows live on.
    pub(crate) fn host(&self) -> &Cpu {
        &self.host
    }

    /// Takes a matrix for products from a checkpoint.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is missing or has another shape; so for tables.
    pub(crate) fn weight(&self, weights: &Weights, config: &Config, param: Param) -> Result<Weight, Error> {
        match &self.device {
            Device::Cpu(body) => body.weight(weights, config, param),
        }
    }

    /// Takes a matrix whose rows are looked up from a checkpoint.
    ///
    /// # Errors
    /// As for [`Ops::weight`].
    pub(crate) fn table(&self, weights: &Weights, config: &Config, param: Param) -> Result<Table, Error> {
        match &self.device {
            Device::Cpu(_) => Ok(Table::Cpu(weights.matrix(config, param)?)),
        }
    }

    /// Takes the numbers of a norm or a bias.
    pub(crate) fn vector(&self, values: Vec<f32>) -> Vector {
        match &self.device {
            Device::Cpu(_) => Vector::Cpu(values),
        }
    }
}

// Rows from the host and to it.
impl Ops {
    /// Copies rows from the host: `elements` is `[n_rows, width]`.
    pub(crate) fn rows(&self, elements: &[f32], width: usize) -> Rows {
        match &self.device {
            Device::Cpu(body) => body.rows(elements, width),
        }
    }

    /// Computes `ln Σᵢ exp(xᵢ)` of every row: `[n_rows]`.
    pub(crate) fn log_sums(&self, x: &Rows) -> Vec<f64> {
        match &self.device {
            Device::Cpu(body) => body.log_sums(x),
        }
    }

    /// Returns the elements `which`, each given by its row and its place in the row.
    pub(crate) fn pick(&self, x: &Rows, which: &[(usize, usize)]) -> Vec<f32> {
        match &self.device {
            Device::Cpu(body) => body.pick(x, which),
        }
    }

    /// Computes `ln Σᵢ exp(xᵢ)` of numbers that the host has.
    pub(crate) fn host_log_sum(&self, x: &[f32]) -> f64 {
        whipstaff_kernels::log_sum_exp(&self.host, x, x.len())[0]
    }
}

// What a block is made of.
impl Ops {
    /// Looks up row `token` of the embedding for every row of the batch, times `scale`, and adds row `position` of
    /// the learned positions where there are any: `[n_rows, d_model]`.
    pub(crate) fn embed(
        &self,
        embedding: &Table,
        scale: f32,
        positions: Option<&Table>,
        batch: &Batch,
    ) -> Rows {
        match &self.device {
            Device::Cpu(body) => body.embed(embedding, scale, positions, batch),
        }
    }

    /// Computes cosines and sines for the position of every row.
    pub(crate) fn rope_table(&self, frequencies: &Frequencies, batch: &Batch) -> RopeTable {
        match &self.device {
            Device::Cpu(body) => body.rope_table(frequencies, batch),
        }
    }

    /// Computes the norm of every row, in the form that products read.
    pub(crate) fn norm(&self, x: &Rows, norm: &Norm) -> Input {
        match &self.device {
            Device::Cpu(body) => body.norm(x, norm),
        }
    }

    /// Computes the norm of every stretch that is as long as the norm's weight: of rows, or of the heads of rows.
    pub(crate) fn norm_in_place(&self, x: Rows, norm: &Norm) -> Rows {
        match &self.device {
            Device::Cpu(body) => body.norm_in_place(x, norm),
        }
    }

    /// Applies a linear layer: `[n_rows, n_in]` → `[n_rows, n_out]`.
    pub(crate) fn linear(&self, x: &Input, layer: &Linear) -> Rows {
        let [out] = self.linears(x, [layer]);
        out
    }

    /// Applies several layers to one input: `[n_rows, n_in]` → `[n_rows, n_out]` each.
    pub(crate) fn linears<const N: usize>(&self, x: &Input, layers: [&Linear; N]) -> [Rows; N] {
        match &self.device {
            Device::Cpu(body) => body.linears(x, layers),
        }
    }

    /// Applies an MLP: `[n_rows, d_model]` → `[n_rows, d_ff]` → `[n_rows, d_model]`.
    pub(crate) fn mlp(&self, x: &Input, mlp: &Mlp) -> Rows {
        match &self.device {
            Device::Cpu(body) => body.mlp(x, mlp),
        }
    }

    /// Computes `Σ weight · expert(x)` over the experts of each row, `[n_rows, d_model]` → `[n_rows, d_model]`.
    /// What a row gets does not depend on which other rows are there.
    pub(crate) fn experts(&self, x: &Input, experts: &Experts) -> Rows {
        match &self.device {
            Device::Cpu(body) => body.experts(x, experts),
        }
    }

    /// Rotates the beginning of every head of every row by the row's position.
    pub(crate) fn rope(&self, x: Rows, head_dim: usize, table: &RopeTable) -> Rows {
        match &self.device {
            Device::Cpu(body) => body.rope(x, head_dim, table),
        }
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
        match &self.device {
            Device::Cpu(body) => body.write_cache(batch, layer, shape, keys, values),
        }
    }

    /// Lets every row attend to its own sequence, up to and including itself.
    pub(crate) fn attend(&self, q: &Rows, batch: &Batch, layer: usize, shape: Attention) -> Input {
        match &self.device {
            Device::Cpu(body) => body.attend(q, batch, layer, shape),
        }
    }

    /// Returns `x · factor`.
    pub(crate) fn scale(&self, x: Rows, factor: f32) -> Rows {
        match &self.device {
            Device::Cpu(body) => body.scale(x, factor),
        }
    }

    /// Returns `x / divisor`.
    pub(crate) fn divide(&self, x: Rows, divisor: f32) -> Rows {
        match &self.device {
            Device::Cpu(body) => body.divide(x, divisor),
        }
    }

    /// Returns `cap · tanh(x / cap)`, if there is a cap.
    pub(crate) fn soft_cap(&self, x: Rows, cap: Option<f32>) -> Rows {
        match &self.device {
            Device::Cpu(body) => body.soft_cap(x, cap),
        }
    }

    /// Returns `x + y`, steered on the way as the sessions of the rows ask at this hook.
    pub(crate) fn add_steered(&self, x: Rows, y: &Rows, hook: Hook) -> Rows {
        match &self.device {
            Device::Cpu(body) => body.add_steered(x, y, hook),
        }
    }

    /// Returns `x`, steered as the sessions of the rows ask at this hook.
    pub(crate) fn steer(&self, x: Rows, hook: Hook) -> Rows {
        match &self.device {
            Device::Cpu(body) => body.steer(x, hook),
        }
    }
}
