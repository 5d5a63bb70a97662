//! Activations in the layout that products read.
//!
//! A product walks along the inputs in blocks of 256, and within a block over strips of rows. So the rows of
//! a block lie together, `[n_blocks][n_rows][256]`. A strip of six rows is 6 KB without gaps, instead of six
//! lines that fall onto the same set of the cache, as they do at a stride of 8 KB.

use super::packed::Packed;
use super::quant::{Layout, Quantised, QuantisedWriter};
use super::rounded::{Rounded, to_bf16};
use crate::layout::{K_BLOCK, STEP, TILE_ROWS, block_len};
use crate::machine::{Chunks, Cpu, Work};
use crate::rows::{SERIAL_BELOW, mean_and_scale, rms_scale};
use crate::sets::{Kernel, Lanes, Tile};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Rows of activations, `[n_rows, n_in]`, cut into K blocks. An input keeps its memory when it is filled
/// again.
#[derive(Default)]
pub struct Input {
    n_rows: usize,
    n_in: usize,
    /// The rows, `[n_blocks][n_rows][block_len]`, padded with a zero where a block is odd.
    blocks: Vec<f32>,
    /// The rows quantised by 32 and by 256, each once a product has asked for it.
    quantised: [Mutex<Arc<Quantised>>; 2],
    /// The rows as tiles of `bf16`, once a product has asked for them.
    rounded: Mutex<Arc<Rounded>>,
}

/// Activations in the form with which a certain weight is multiplied.
pub(crate) enum Activations<'a> {
    Floats(&'a Input),
    Quantised(Arc<Quantised>),
    Rounded(Arc<Rounded>),
}

/// The operation that fills a row.
enum Fill<'a> {
    /// `x`.
    Copy,
    /// `x · scale(x) · weight`.
    RmsNorm { weight: &'a [f32], eps: f32 },
    /// `(x - mean(x)) · scale(x) · weight + bias`.
    LayerNorm { weight: &'a [f32], bias: &'a [f32], eps: f32 },
}

impl Input {
    /// Fills the input with the rows `x`, `[n_rows, n_in]`.
    ///
    /// # Panics
    /// Panics if `x` is not whole rows.
    pub fn fill(&mut self, cpu: &Cpu, x: &[f32], n_in: usize) {
        self.fill_by(cpu, x, n_in, Fill::Copy);
    }

    /// Fills the input with `x / sqrt(mean(x²) + eps) · weight`, row by row (Zhang & Sennrich 2019). The mean
    /// is taken in `f64`.
    ///
    /// # Panics
    /// Panics if `x` is not whole rows of `weight.len()`.
    pub fn fill_rms_norm(&mut self, cpu: &Cpu, x: &[f32], weight: &[f32], eps: f32) {
        self.fill_by(cpu, x, weight.len(), Fill::RmsNorm { weight, eps });
    }

    /// Fills the input with `(x - mean(x)) / sqrt(variance(x) + eps) · weight + bias`, row by row (Ba, Kiros
    /// & Hinton 2016). Mean and variance are taken in `f64`.
    ///
    /// # Panics
    /// Panics if `x` is not whole rows of `weight.len()`, or if `bias` is not as long as `weight`.
    pub fn fill_layer_norm(&mut self, cpu: &Cpu, x: &[f32], weight: &[f32], bias: &[f32], eps: f32) {
        assert_eq!(weight.len(), bias.len(), "weight and bias are [n_in]");
        self.fill_by(cpu, x, weight.len(), Fill::LayerNorm { weight, bias, eps });
    }

    /// Fills the input with the listed rows of another input, in that order.
    ///
    /// # Panics
    /// Panics if there is no such row.
    pub fn fill_gathered(&mut self, from: &Input, rows: impl ExactSizeIterator<Item = usize> + Clone) {
        self.reset(rows.len(), from.n_in);
        let mut at = 0;
        for block in 0..from.n_blocks() {
            let (stored, len) = (from.block(block), block_len(from.n_in, block));
            for row in rows.clone() {
                self.blocks[at..at + len].copy_from_slice(&stored[row * len..][..len]);
                at += len;
            }
        }
    }

    /// Returns the number of rows.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Returns the number of elements per row.
    pub fn n_in(&self) -> usize {
        self.n_in
    }

    /// Returns row `row`, put together again.
    pub fn row(&self, row: usize) -> Vec<f32> {
        let mut out = Vec::with_capacity(self.n_in);
        for block in 0..self.n_blocks() {
            out.extend_from_slice(
                &self.block(block)[row * block_len(self.n_in, block)..][..block_len(self.n_in, block)],
            );
        }
        out.truncate(self.n_in);
        out
    }

    /// Returns the number of K blocks.
    pub(crate) fn n_blocks(&self) -> usize {
        self.n_in.div_ceil(K_BLOCK)
    }

    /// Returns the rows of K block `block`, `[n_rows][block_len]`.
    pub(crate) fn block(&self, block: usize) -> &[f32] {
        let start = block * K_BLOCK * self.n_rows;
        &self.blocks[start..][..self.n_rows * block_len(self.n_in, block)]
    }

    /// Returns the activations in the form with which `weight` is multiplied. Quantised and rounded
    /// activations are made when the first weight asks for them, and kept for other weights.
    pub(crate) fn activations(&self, cpu: &Cpu, weight: &Packed) -> Activations<'_> {
        if weight.is_input_quantised() {
            Activations::Quantised(self.quantised(cpu, weight))
        } else if cpu.isa().has_rounded_products() && weight.can_round_input() {
            Activations::Rounded(self.rounded(cpu))
        } else {
            Activations::Floats(self)
        }
    }

    /// Returns the activations quantised for `weight`.
    fn quantised(&self, cpu: &Cpu, weight: &Packed) -> Arc<Quantised> {
        let unit = Layout::of(weight.dtype()).unit;
        let mut slot =
            self.quantised[usize::from(unit == K_BLOCK)].lock().unwrap_or_else(PoisonError::into_inner);
        if slot.n_rows() != self.n_rows {
            // Nobody else holds activations that are not filled.
            let quantised = Arc::make_mut(&mut slot);
            quantised.reset(unit, self.n_rows, self.n_in);
            self.quantise(cpu, &quantised.writer());
        }
        slot.clone()
    }

    /// Returns the activations rounded to `bf16`.
    fn rounded(&self, cpu: &Cpu) -> Arc<Rounded> {
        let mut slot = self.rounded.lock().unwrap_or_else(PoisonError::into_inner);
        if !slot.is_filled() {
            // Nobody else holds activations that are not filled.
            let rounded = Arc::make_mut(&mut slot);
            rounded.reset(self.n_rows, self.n_in);
            self.round(cpu, rounded);
        }
        slot.clone()
    }

    /// Rounds all rows into `out`, which has made room for them.
    pub(crate) fn round(&self, cpu: &Cpu, out: &mut Rounded) {
        let elements = self.n_rows * self.n_in;
        let _timing = cpu.timing(|| Work { kernel: "round input".into(), flops: elements, bytes: 0 });
        let n_tasks = self.n_rows.div_ceil(TILE_ROWS);
        let tiles = Chunks::new(out.tiles_mut(), self.n_in / STEP);
        let task = |task: usize| {
            let rows = task * TILE_ROWS..self.n_rows.min((task + 1) * TILE_ROWS);
            // SAFETY: only the call with the number of a row tile fills it.
            let out = unsafe { tiles.get(task) };
            cpu.isa().run(RoundRows { x: self, rows, out });
        };
        if self.blocks.len() < SERIAL_BELOW {
            (0..n_tasks).for_each(task);
        } else {
            cpu.pool().for_each(n_tasks, task);
        }
    }

    /// Quantises all rows to `out`.
    fn quantise(&self, cpu: &Cpu, out: &QuantisedWriter<'_>) {
        let elements = self.n_rows * self.n_in;
        let _timing = cpu.timing(|| Work { kernel: "quantise input".into(), flops: 4 * elements, bytes: 0 });
        let n_tasks = self.n_blocks() * self.n_rows.div_ceil(ROWS_PER_TASK);
        let task = |task: usize| {
            let (block, rows) = (task % self.n_blocks(), task / self.n_blocks() * ROWS_PER_TASK);
            let rows = rows..self.n_rows.min(rows + ROWS_PER_TASK);
            cpu.isa().run(QuantiseRows {
                x: self.block(block),
                len: block_len(self.n_in, block),
                block,
                rows,
                out,
            });
        };
        if self.blocks.len() < SERIAL_BELOW {
            (0..n_tasks).for_each(task);
        } else {
            cpu.pool().for_each(n_tasks, task);
        }
    }

    /// Makes room for `[n_rows, n_in]`. The padding is zero, and the caller fills the rest.
    pub(crate) fn reset(&mut self, n_rows: usize, n_in: usize) {
        (self.n_rows, self.n_in) = (n_rows, n_in);
        self.blocks.resize(n_rows * n_in.next_multiple_of(2), 0.0);
        for slot in &mut self.quantised {
            forget(slot, Quantised::clear);
        }
        forget(&mut self.rounded, Rounded::clear);
        if n_in % 2 == 1 {
            let last = self.n_blocks() - 1;
            let (start, len) = (last * K_BLOCK * n_rows, block_len(n_in, last));
            self.blocks[start..].iter_mut().skip(len - 1).step_by(len).for_each(|x| *x = 0.0);
        }
    }

    /// Returns a writer through which several threads fill the input; see [`InputWriter::row_part`].
    pub(crate) fn writer(&mut self) -> InputWriter<'_> {
        InputWriter { n_rows: self.n_rows, n_in: self.n_in, blocks: Chunks::new(&mut self.blocks, 1) }
    }

    /// Fills the input with the rows `x`, each passed through `fill`.
    fn fill_by(&mut self, cpu: &Cpu, x: &[f32], n_in: usize, fill: Fill) {
        assert_eq!(x.len() % n_in, 0, "x is [n_rows, n_in]");
        self.reset(x.len() / n_in, n_in);
        let _timing = cpu.timing(|| {
            let kernel = if matches!(fill, Fill::Copy) { "copy to input" } else { "norm" };
            Work { kernel: kernel.into(), flops: 4 * x.len(), bytes: 0 }
        });
        let writer = self.writer();
        let row = |row: usize| {
            let x = &x[row * n_in..][..n_in];
            let (mean, scale) = match fill {
                Fill::Copy => (0.0, 1.0),
                Fill::RmsNorm { eps, .. } => (0.0, rms_scale(x, eps)),
                Fill::LayerNorm { eps, .. } => mean_and_scale(x, eps),
            };
            for (block, x) in x.chunks(K_BLOCK).enumerate() {
                // SAFETY: only this call has this row.
                let out = unsafe { writer.row_part(row, block * K_BLOCK, x.len()) };
                match fill {
                    Fill::Copy => out.copy_from_slice(x),
                    Fill::RmsNorm { weight, .. } => {
                        let weight = &weight[block * K_BLOCK..][..x.len()];
                        for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
                            *out = x * scale * weight;
                        }
                    }
                    Fill::LayerNorm { weight, bias, .. } => {
                        let weight = &weight[block * K_BLOCK..][..x.len()];
                        let bias = &bias[block * K_BLOCK..][..x.len()];
                        for (((out, x), weight), bias) in out.iter_mut().zip(x).zip(weight).zip(bias) {
                            *out = (x - mean) * scale * weight + bias;
                        }
                    }
                }
            }
        };
        if x.len() < SERIAL_BELOW {
            (0..writer.n_rows).for_each(row);
        } else {
            cpu.pool().for_each(writer.n_rows, row);
        }
    }
}

/// Clears the content of a slot, or leaves the content to its other holders.
fn forget<T: Default>(slot: &mut Mutex<Arc<T>>, clear: fn(&mut T)) {
    let slot = slot.get_mut().unwrap_or_else(PoisonError::into_inner);
    match Arc::get_mut(slot) {
        Some(form) => clear(form),
        None => *slot = Arc::default(),
    }
}

/// The number of rows of a K block that one task quantises.
const ROWS_PER_TASK: usize = 64;

/// The quantisation of some rows of a K block.
struct QuantiseRows<'a> {
    /// The rows of the block, `[n_rows][len]`.
    x: &'a [f32],
    len: usize,
    block: usize,
    rows: Range<usize>,
    out: &'a QuantisedWriter<'a>,
}

impl Kernel for QuantiseRows<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        for row in self.rows {
            let x = &self.x[row * self.len..][..self.len];
            // SAFETY: the caller promises the features, and each row of a block has one task.
            unsafe { self.out.fill::<L>(row, self.block, x) };
        }
    }
}

/// The rounding of the rows of a row tile.
pub(crate) struct RoundRows<'a> {
    pub(crate) x: &'a Input,
    /// The rows of the tile that exist.
    pub(crate) rows: Range<usize>,
    /// The row tile, `[n_in / 32]`.
    pub(crate) out: &'a mut [Tile],
}

impl Kernel for RoundRows<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        for (block, out) in self.out.chunks_mut(K_BLOCK / STEP).enumerate() {
            let (x, len) = (self.x.block(block), out.len() * STEP);
            for (at, row) in self.rows.clone().enumerate() {
                let x = x[row * len..][..len].as_chunks::<STEP>().0;
                for (x, out) in x.iter().zip(out.iter_mut()) {
                    for (out, x) in out.0[at].iter_mut().zip(x) {
                        *out = to_bf16(*x);
                    }
                }
            }
        }
    }
}

/// A writer through which several threads write parts of rows.
pub(crate) struct InputWriter<'a> {
    n_rows: usize,
    n_in: usize,
    blocks: Chunks<'a, f32>,
}

impl<'a> InputWriter<'a> {
    /// Returns `len` elements of row `row` from `start` on, within one K block.
    ///
    /// # Safety
    /// Parts that are alive together may not overlap.
    #[allow(clippy::mut_from_ref)] // exclusive by the caller's promise
    pub(crate) unsafe fn row_part(&self, row: usize, start: usize, len: usize) -> &'a mut [f32] {
        let block = start / K_BLOCK;
        let width = block_len(self.n_in, block);
        assert!(
            row < self.n_rows && start % K_BLOCK + len <= width,
            "the part lies inside the row and its block"
        );
        let at = block * K_BLOCK * self.n_rows + row * width + start % K_BLOCK;
        // SAFETY: the part is in range by the assertion, and exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.blocks.as_ptr().add(at), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Isa;
    use crate::plain;

    #[test]
    fn rows_come_back_as_they_went_in_at_any_width() {
        let cpu = Cpu::new(Isa::best(), 2);
        let mut input = Input::default();
        for (n_rows, n_in) in [(3, 256), (1, 1), (7, 300), (2, 255), (5, 513), (40, 600)] {
            let x: Vec<f32> = (0..n_rows * n_in).map(|i| i as f32).collect();
            input.fill(&cpu, &x, n_in);
            for row in 0..n_rows {
                assert_eq!(input.row(row), x[row * n_in..][..n_in]);
            }
        }
    }

    #[test]
    fn the_norm_of_a_row_is_one_and_rows_do_not_mix() {
        let cpu = Cpu::new(Isa::best(), 2);
        let x: Vec<f32> = (0..64).map(|i| i as f32 - 20.0).collect();
        let mut input = Input::default();
        input.fill_rms_norm(&cpu, &x, &[1.0; 32], 0.0);
        for row in 0..2 {
            let mean: f32 = input.row(row).iter().map(|x| x * x).sum::<f32>() / 32.0;
            assert!((mean - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn the_layer_norm_of_rows_of_any_width_equals_its_plain_twin() {
        let cpu = Cpu::new(Isa::best(), 2);
        let mut input = Input::default();
        for n in [1, 7, 32, 257, 600] {
            let wave = |step: f32| (0..n).map(|i| (i as f32 * step).sin() + 0.5).collect::<Vec<f32>>();
            let (weight, bias) = (wave(0.7), wave(1.3));
            let x: Vec<f32> = (0..3 * n).map(|i| 5.0 * (i as f32).cos() + 2.0).collect();
            input.fill_layer_norm(&cpu, &x, &weight, &bias, 1e-5);
            for (row, x) in x.chunks(n).enumerate() {
                let want = plain::layer_norm(x, &weight, &bias, 1e-5);
                for (got, want) in input.row(row).iter().zip(want) {
                    assert!((got - want).abs() < 2e-6, "width {n}: {got} {want}");
                }
            }
        }
    }

    #[test]
    fn gathered_rows_equal_the_rows_they_came_from() {
        let cpu = Cpu::new(Isa::best(), 2);
        let (mut from, mut to) = (Input::default(), Input::default());
        for n_in in [1, 255, 256, 513] {
            let x: Vec<f32> = (0..5 * n_in).map(|i| i as f32).collect();
            from.fill(&cpu, &x, n_in);
            to.fill_gathered(&from, [4, 0, 4].into_iter());
            assert_eq!([to.row(0), to.row(1), to.row(2)], [from.row(4), from.row(0), from.row(4)]);
        }
    }
}
