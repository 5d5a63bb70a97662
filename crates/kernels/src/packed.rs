//! Weights as the products read them: panels of sixteen rows, packed once at load.
//!
//! ```text
//! matrix [n_out, n_in]             panel: 16 rows, one 32-bit lane each        K block: 256 inputs
//!
//!  o=0  ┌──────────────┐           ┌ block 0 ┬ block 1 ┬ … ┐    bf16, pair 0:  w₀[0]w₀[1] w₁[0]w₁[1] … w₁₅[0]w₁₅[1]
//!       │   panel 0    │  ──────►  │         │         │   │          pair 1:  w₀[2]w₀[3] w₁[2]w₁[3] …
//!  o=16 ├──────────────┤           └─────────┴─────────┴───┘          …        (64 bytes each)
//!       │   panel 1    │           panels follow each other
//!  o=32 ├──────────────┤           without gaps
//!       │      …       │
//! ```
//!
//! A lane is an output, so a vector of weights times one broadcast input adds to sixteen sums at
//! once and no sum is ever taken across lanes: one row (decoding) and many (prefill) read the very
//! same bytes in the same order. A pair of `bf16` inputs shares a 32-bit lane because that is also
//! the shape of a tile of the matrix units.
//!
//! Quantised types have panels of their own (`quant.rs`).

use crate::Dtype;
use crate::amx::STEP;
use crate::buffer::Buffer;
use crate::cpu::{Cpu, Precision};
use crate::matrix::Matrix;
use crate::quant::{self, Layout};
use crate::shared_mut::Chunks;

/// Rows of a panel: the outputs that are computed side by side.
pub(crate) const PANEL: usize = 16;

/// Inputs of a K block: what is summed before it is added to the total.
pub(crate) const K_BLOCK: usize = 256;

/// A packed weight matrix `[n_out, n_in]`.
pub struct Packed {
    n_out: usize,
    n_in: usize,
    dtype: Dtype,
    panel_bytes: usize,
    data: Buffer,
    exact_input: bool,
}

impl Packed {
    /// Packs a matrix, in parallel. It is read once, row by row of sixteen.
    pub fn new(cpu: &Cpu, matrix: &Matrix) -> Packed {
        let (n_out, n_in, dtype) = (matrix.n_out, matrix.n_in, matrix.dtype());
        let n_panels = n_out.div_ceil(PANEL);
        let panel_bytes = panel_bytes(dtype, n_in);
        let mut data = Buffer::zeroed(n_panels * panel_bytes);
        let panels = Chunks::new(&mut data, panel_bytes);
        cpu.pool().for_each(n_panels, |panel| {
            // SAFETY: each panel is written by the one call that has its number.
            let out = unsafe { panels.get(panel) };
            let rows = panel * PANEL..n_out.min((panel + 1) * PANEL);
            pack_panel(matrix, rows, out);
        });
        let packed = Packed { n_out, n_in, dtype, panel_bytes, data, exact_input: false };
        match cpu.precision() {
            Precision::Fast => packed,
            Precision::F32 => packed.with_exact_input(),
        }
    }

    /// The matrix as [`Packed::new`] would make it, without its bytes: to be asked for its size, not to be
    /// multiplied with.
    pub fn outline(matrix: &Matrix) -> Packed {
        let (n_out, n_in, dtype) = (matrix.n_out, matrix.n_in, matrix.dtype());
        let (panel_bytes, data) = (panel_bytes(dtype, n_in), Buffer::zeroed(0));
        Packed { n_out, n_in, dtype, panel_bytes, data, exact_input: false }
    }

    /// Multiplies with inputs as they are instead of with their approximations: quantised ones for
    /// quantised weights, and for `bf16` weights on the kernel set `amx` those rounded to `bf16` (the
    /// product is then that of `avx512`, bit for bit). Exact, and several times slower. Without effect
    /// on other weights and sets, which read inputs as they are anyway.
    pub fn with_exact_input(mut self) -> Packed {
        self.exact_input = true;
        self
    }

    /// Whether inputs are quantised before they are multiplied.
    pub(crate) fn quantises_input(&self) -> bool {
        self.dtype.is_quantised() && !self.exact_input
    }

    /// Whether products may go through tiles, which round inputs to `bf16`: a panel is whole tiles.
    pub(crate) fn fits_tiles(&self) -> bool {
        self.dtype == Dtype::Bf16 && self.n_in.is_multiple_of(STEP) && !self.exact_input
    }

    /// Rows: the width of the product.
    pub fn n_out(&self) -> usize {
        self.n_out
    }

    /// Columns: the width of the input.
    pub fn n_in(&self) -> usize {
        self.n_in
    }

    /// The type of the elements.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Bytes that it takes in memory.
    pub fn n_bytes(&self) -> usize {
        self.n_panels() * self.panel_bytes
    }

    /// Number of panels; the last one is filled up with rows of zeros.
    pub(crate) fn n_panels(&self) -> usize {
        self.n_out.div_ceil(PANEL)
    }

    /// The bytes of a panel.
    pub(crate) fn panel(&self, panel: usize) -> &[u8] {
        &self.data[panel * self.panel_bytes..][..self.panel_bytes]
    }
}

/// Inputs of K block `block`, rounded up to whole pairs.
pub(crate) fn block_len(n_in: usize, block: usize) -> usize {
    (n_in - block * K_BLOCK).min(K_BLOCK).next_multiple_of(2)
}

/// Bytes of a panel of rows of `n_in` inputs.
fn panel_bytes(dtype: Dtype, n_in: usize) -> usize {
    if dtype.is_quantised() {
        return Layout::of(dtype).panel_bytes(n_in);
    }
    n_in.next_multiple_of(2) * PANEL * dtype.block_bytes()
}

/// Packs the rows `rows` of a matrix; missing ones stay zero.
fn pack_panel(matrix: &Matrix, rows: std::ops::Range<usize>, out: &mut [u8]) {
    if matrix.dtype().is_quantised() {
        return quant::pack::pack_panel(matrix.dtype(), rows.map(|row| matrix.row_bytes(row)), out);
    }
    for (lane, row) in rows.enumerate() {
        let row = matrix.row_bytes(row);
        match matrix.dtype() {
            Dtype::F16 => scatter::<2>(row, lane, out),
            // One lane holds a pair of `bf16`: 4 bytes of the row every 64 bytes of the panel.
            _ => scatter::<4>(row, lane, out),
        }
    }
}

/// Puts each `N` bytes of a row into lane `lane` of the next vector of sixteen.
fn scatter<const N: usize>(row: &[u8], lane: usize, out: &mut [u8]) {
    let mut vectors = out.chunks_exact_mut(N * PANEL);
    let mut elements = row.chunks_exact(N);
    for (element, vector) in elements.by_ref().zip(vectors.by_ref()) {
        vector[lane * N..][..N].copy_from_slice(element);
    }
    let rest = elements.remainder();
    if let Some(vector) = vectors.next() {
        vector[lane * N..][..rest.len()].copy_from_slice(rest);
    }
}
