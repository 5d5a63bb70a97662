//! The inner loops of products, which take strips of rows against panels of weights.

use super::input::{Activations, Input};
use super::packed::Packed;
use super::quant::{
    DecodeScratch, Layout, PanelProduct, Quantised, TILES_FROM, add_tiled_products, decode_f32, few_rows_of,
    few_rows_product, rows_product,
};
use super::rounded::{RoundedProduct, multiply_rounded};
use crate::layout::{AHEAD, GROUP, K_BLOCK, LANES, PANEL, block_len};
use crate::machine::Isa;
use crate::sets::{Kernel, Lanes};
use crate::weights::Dtype;
use half::f16;
use std::ops::Range;

/// The sums of a task: adds the products of the rows `rows` with the panels `panels` (at most [`GROUP`]) to
/// `totals`, which is `[panel][row][lane]` with as many rows per panel as fit. Panels and rows exist.
pub(crate) struct AddPanels<'a> {
    pub(crate) isa: Isa,
    pub(crate) weight: &'a Packed,
    pub(crate) panels: Range<usize>,
    pub(crate) x: &'a Activations<'a>,
    pub(crate) rows: Range<usize>,
    pub(crate) totals: &'a mut [[f32; LANES]],
}

impl Kernel for AddPanels<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let AddPanels { isa, weight, panels, x, rows, totals } = self;
        assert!(panels.len() <= GROUP && rows.len() * GROUP <= totals.len(), "the totals hold the task");
        // SAFETY: the features are the caller's promise.
        unsafe {
            match (x, weight.dtype()) {
                (Activations::Rounded(x), _) => {
                    multiply_rounded(isa, RoundedProduct { weight, panels, x, rows, totals })
                }
                (Activations::Quantised(x), _) => {
                    add_quantised_panels::<L>(isa, weight, panels, x, rows, totals)
                }
                (Activations::Floats(x), Dtype::F32) => {
                    add_float_panels::<L, F32Pair>(weight, panels, x, rows, totals)
                }
                (Activations::Floats(x), Dtype::Bf16) => {
                    add_float_panels::<L, Bf16Pair>(weight, panels, x, rows, totals)
                }
                (Activations::Floats(x), Dtype::F16) => {
                    add_float_panels::<L, F16Pair>(weight, panels, x, rows, totals)
                }
                (Activations::Floats(x), _) => add_exact_panels::<L>(weight, panels, x, rows, totals),
            }
        }
    }
}

/// Adds products of quantised weights with quantised activations, in integers.
#[inline(always)]
unsafe fn add_quantised_panels<L: Lanes>(
    isa: Isa,
    weight: &Packed,
    panels: Range<usize>,
    x: &Quantised,
    rows: Range<usize>,
    totals: &mut [[f32; LANES]],
) {
    let (dtype, per_panel) = (weight.dtype(), totals.len() / GROUP);
    let (n_rows, panels) = (rows.len(), panels.zip(totals.chunks_exact_mut(per_panel)));
    let products = panels.map(|(panel, totals)| PanelProduct {
        dtype,
        panel: weight.panel(panel),
        x,
        rows: rows.clone(),
        totals: &mut totals[..n_rows],
    });
    // SAFETY: the features are the caller's promise.
    unsafe {
        if n_rows >= TILES_FROM && isa.has_byte_tiles() {
            add_tiled_products::<L>(isa, products);
        } else if n_rows <= few_rows_of(Layout::of(dtype)) {
            for product in products {
                few_rows_product::<L>(product);
            }
        } else {
            let mut scratch = DecodeScratch::new();
            for product in products {
                rows_product::<L>(product, &mut scratch);
            }
        }
    }
}

/// Adds products of quantised weights with exact activations: each block is dequantised and then multiplied
/// as a block of `f32`.
#[inline(always)]
unsafe fn add_exact_panels<L: Lanes>(
    weight: &Packed,
    panels: Range<usize>,
    x: &Input,
    rows: Range<usize>,
    totals: &mut [[f32; LANES]],
) {
    let per_panel = totals.len() / GROUP;
    let block_bytes = Layout::of(weight.dtype()).panel_bytes(K_BLOCK);
    let mut values = [[0.0; LANES]; K_BLOCK];
    for (at, panel) in panels.enumerate() {
        for (block, bytes) in weight.panel(panel).chunks(block_bytes).enumerate() {
            let len = block_len(x.n_in(), block);
            let strips = Strips::<'_, L, F32Pair> {
                x: &x.block(block)[rows.start * len..rows.end * len],
                len,
                totals: totals.as_mut_ptr(),
                per_panel,
                of: std::marker::PhantomData,
            };
            // SAFETY: the caller promises the features, and `values` is the block as `f32`.
            unsafe {
                decode_f32::<L>(weight.dtype(), bytes, &mut values);
                strips.all(values.as_ptr().cast(), at);
            }
        }
    }
}

/// A type in which a pair of inputs is stored in a panel.
trait Pair {
    /// The bytes of a pair for all sixteen rows.
    const BYTES: usize;
    /// Loads the weights of the pair's first and second input.
    ///
    /// # Safety
    /// The caller runs with the features that `L` needs, and `p` is valid for `BYTES` bytes.
    unsafe fn load<L: Lanes>(p: *const u8) -> (L, L);
}

struct Bf16Pair;
impl Pair for Bf16Pair {
    const BYTES: usize = 4 * PANEL;
    #[inline(always)]
    unsafe fn load<L: Lanes>(p: *const u8) -> (L, L) {
        // SAFETY: the caller's promise.
        unsafe { L::load_bf16_pairs(p.cast()) }
    }
}

struct F16Pair;
impl Pair for F16Pair {
    const BYTES: usize = 4 * PANEL;
    #[inline(always)]
    unsafe fn load<L: Lanes>(p: *const u8) -> (L, L) {
        // SAFETY: the caller's promise.
        unsafe { (L::load_f16(p.cast()), L::load_f16(p.cast::<f16>().add(PANEL))) }
    }
}

struct F32Pair;
impl Pair for F32Pair {
    const BYTES: usize = 8 * PANEL;
    #[inline(always)]
    unsafe fn load<L: Lanes>(p: *const u8) -> (L, L) {
        // SAFETY: the caller's promise.
        unsafe { (L::load(p.cast()), L::load(p.cast::<f32>().add(PANEL))) }
    }
}

/// Adds products of float weights with exact activations.
#[inline(always)]
unsafe fn add_float_panels<L: Lanes, P: Pair>(
    weight: &Packed,
    panels: Range<usize>,
    x: &Input,
    rows: Range<usize>,
    totals: &mut [[f32; LANES]],
) {
    let per_panel = totals.len() / GROUP;
    let mut starts = [std::ptr::null(); GROUP];
    for (start, panel) in starts.iter_mut().zip(panels.clone()) {
        *start = weight.panel(panel).as_ptr();
    }
    for block in 0..x.n_blocks() {
        let len = block_len(x.n_in(), block);
        let strips = Strips::<'_, L, P> {
            x: &x.block(block)[rows.start * len..rows.end * len],
            len,
            totals: totals.as_mut_ptr(),
            per_panel,
            of: std::marker::PhantomData,
        };
        // SAFETY: the blocks of a panel follow each other, and the caller promises the rest.
        unsafe {
            for (panel, start) in starts.iter_mut().enumerate().take(panels.len()) {
                strips.all(*start, panel);
                *start = start.add(len / 2 * P::BYTES);
            }
        }
    }
}

/// The rows of a task in one K block.
struct Strips<'a, L, P> {
    /// The rows of the block, `[n_rows][len]`.
    x: &'a [f32],
    len: usize,
    totals: *mut [f32; LANES],
    per_panel: usize,
    of: std::marker::PhantomData<(L, P)>,
}

impl<L: Lanes, P: Pair> Strips<'_, L, P> {
    /// Takes all rows against one panel: whole strips first, then the rows that are left.
    #[inline(always)]
    unsafe fn all(&self, w: *const u8, panel: usize) {
        let n_rows = self.x.len() / self.len;
        let mut row = 0;
        // SAFETY: the caller's promise; strips end at the last row.
        unsafe {
            while row < n_rows {
                let left = (n_rows - row).min(L::STRIP);
                // There are only a few heights, because each is a copy of the inner loop for every kind of
                // weights.
                let n = match left {
                    12.. => self.height::<12>(row, w, panel),
                    6.. => self.height::<6>(row, w, panel),
                    4.. => self.height::<4>(row, w, panel),
                    3 => self.height::<3>(row, w, panel),
                    2.. => self.height::<2>(row, w, panel),
                    _ => self.height::<1>(row, w, panel),
                };
                row += n;
            }
        }
    }

    /// Takes one strip, and returns its height.
    #[inline(always)]
    unsafe fn height<const R: usize>(&self, row: usize, w: *const u8, panel: usize) -> usize {
        // SAFETY: the caller's promise.
        unsafe { self.tile::<R, 1>(row, [w], panel) };
        R
    }

    /// Takes `R` rows from `row` on against `C` panels. Each sum is one chain over the block, which is then
    /// added to its total.
    #[allow(clippy::needless_range_loop)] // indices make the shape of the tile visible
    #[inline(always)]
    unsafe fn tile<const R: usize, const C: usize>(&self, row: usize, w: [*const u8; C], panel: usize) {
        // All loops are plain, because a closure handed to the standard library is compiled without the
        // features of this function, and calls a function for every vector.
        // SAFETY: the blocks of rows have `len` elements, and the blocks of panels `len / 2` pairs.
        unsafe {
            let x = self.x.as_ptr().add(row * self.len);
            let mut sums = [[L::splat(0.0); C]; R];
            for pair in 0..self.len / 2 {
                for c in 0..C {
                    let p = w[c].add(pair * P::BYTES);
                    L::prefetch(p.wrapping_add(AHEAD));
                    let (first, second) = P::load::<L>(p);
                    for r in 0..R {
                        let x = x.add(r * self.len + 2 * pair);
                        sums[r][c] = sums[r][c].add_product(L::splat(*x), first);
                        sums[r][c] = sums[r][c].add_product(L::splat(*x.add(1)), second);
                    }
                }
            }
            for r in 0..R {
                for c in 0..C {
                    let total = self.totals.add((panel + c) * self.per_panel + row + r).cast::<f32>();
                    L::load(total).add(sums[r][c]).store(total);
                }
            }
        }
    }
}
