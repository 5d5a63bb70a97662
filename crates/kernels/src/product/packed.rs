//! Weights in the layout that products read: panels of sixteen rows, packed once at load.
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
//! A lane is an output, so a vector of weights times one broadcast input adds to sixteen sums at once, and no
//! sum is ever taken across lanes. One row (decoding) and many rows (prefill) read the same bytes in the same
//! order. A pair of `bf16` inputs shares a 32-bit lane because that is also the shape of a tile of the matrix
//! units.
//!
//! Quantised types have panels of their own (`quant/format.rs`).
//!
//! Packed bytes may also be written to a file and mapped again ([`Packer`], [`Packed::from_bytes`]).

use super::quant::{self, Layout};
use crate::layout::{PANEL, STEP};
use crate::machine::{Buffer, Chunks, Cpu, HUGE_PAGE, Precision};
use crate::weights::{Bytes, Dtype, Matrix};
use std::io;
use std::ops::Range;

/// The number of the layout of packed bytes. It changes whenever the bytes do, so that bytes of another
/// layout are never read. A test ties the number to the bytes.
pub const PACKED_LAYOUT: u32 = 1;

/// A packed weight matrix `[n_out, n_in]`.
pub struct Packed {
    n_out: usize,
    n_in: usize,
    dtype: Dtype,
    panel_bytes: usize,
    data: Data,
    exact_input: bool,
}

/// The memory of the panels.
enum Data {
    Own(Buffer),
    Shared(Bytes),
}

impl Packed {
    /// Packs a matrix in parallel. The matrix is read once, sixteen rows at a time.
    pub fn new(cpu: &Cpu, matrix: &Matrix) -> Packed {
        let (n_out, n_in, dtype) = (matrix.n_out, matrix.n_in, matrix.dtype());
        let mut data = Buffer::zeroed(Packed::bytes_of(dtype, n_out, n_in));
        pack_panels(cpu, matrix, 0, &mut data);
        Packed::of(cpu, Data::Own(data), dtype, n_out, n_in)
    }

    /// Returns the matrix whose bytes a [`Packer`] has packed before. Returns nothing if the number of bytes
    /// is not what the shape asks for, or if they do not begin at a cache line.
    pub fn from_bytes(cpu: &Cpu, bytes: Bytes, dtype: Dtype, n_out: usize, n_in: usize) -> Option<Packed> {
        let fits =
            bytes.len() == Packed::bytes_of(dtype, n_out, n_in) && bytes.as_ptr().addr().is_multiple_of(64);
        fits.then(|| Packed::of(cpu, Data::Shared(bytes), dtype, n_out, n_in))
    }

    /// Makes a matrix over packed panels, with the exactness of `cpu`.
    fn of(cpu: &Cpu, data: Data, dtype: Dtype, n_out: usize, n_in: usize) -> Packed {
        let exact_input = cpu.precision() == Precision::F32;
        Packed { n_out, n_in, dtype, panel_bytes: panel_bytes(dtype, n_in), data, exact_input }
    }

    /// Returns the number of bytes of a packed matrix `[n_out, n_in]` of `dtype`.
    pub fn bytes_of(dtype: Dtype, n_out: usize, n_in: usize) -> usize {
        n_out.div_ceil(PANEL) * panel_bytes(dtype, n_in)
    }

    /// Returns the matrix that [`Packed::new`] would make, without its bytes. It can be looked at but not
    /// multiplied with.
    pub fn outline(dtype: Dtype, n_out: usize, n_in: usize) -> Packed {
        let (panel_bytes, data) = (panel_bytes(dtype, n_in), Data::Own(Buffer::zeroed(0)));
        Packed { n_out, n_in, dtype, panel_bytes, data, exact_input: false }
    }

    /// Returns this matrix with products of exact inputs instead of approximations of inputs.
    ///
    /// Otherwise products with quantised weights quantise their inputs, and products with `bf16` weights
    /// round their inputs to `bf16` on the kernel sets `amx`, `avx512-bf16` and `bf16`. Exact products are
    /// several times slower; with `bf16` weights they are bit-identical to the products of all other sets.
    /// Other weights and sets read exact inputs anyway.
    pub fn with_exact_input(mut self) -> Packed {
        self.exact_input = true;
        self
    }

    /// Returns true if inputs are quantised before they are multiplied.
    pub(crate) fn is_input_quantised(&self) -> bool {
        self.dtype.is_quantised() && !self.exact_input
    }

    /// Returns true if products may round inputs to `bf16`, for which a panel must be whole tiles.
    pub(crate) fn can_round_input(&self) -> bool {
        self.dtype == Dtype::Bf16 && self.n_in.is_multiple_of(STEP) && !self.exact_input
    }

    /// Returns the number of rows, which is the width of the product.
    pub fn n_out(&self) -> usize {
        self.n_out
    }

    /// Returns the number of columns, which is the width of the input.
    pub fn n_in(&self) -> usize {
        self.n_in
    }

    /// Returns the type of the elements.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Returns the number of bytes that the matrix takes in memory.
    pub fn n_bytes(&self) -> usize {
        self.as_bytes().len()
    }

    /// Returns the packed bytes, as a [`Packer`] hands them on.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.data {
            Data::Own(buffer) => buffer,
            Data::Shared(bytes) => bytes,
        }
    }

    /// Returns the number of panels, of which the last is filled up with rows of zeros.
    pub(crate) fn n_panels(&self) -> usize {
        self.n_out.div_ceil(PANEL)
    }

    /// Returns the bytes of a panel.
    pub(crate) fn panel(&self, panel: usize) -> &[u8] {
        &self.as_bytes()[panel * self.panel_bytes..][..self.panel_bytes]
    }
}

/// A packer of matrices piece by piece, for a writer that keeps the bytes.
pub struct Packer {
    window: Buffer,
}

impl Packer {
    /// The bytes of every piece but the last of a matrix: a huge page. A file that is written in whole
    /// aligned huge pages is mapped in huge pages too, where the system can.
    pub const PIECE: usize = HUGE_PAGE;

    /// Makes a packer with room for some pieces.
    pub fn new() -> Packer {
        Packer { window: Buffer::zeroed(16 * Packer::PIECE) }
    }

    /// Packs a matrix and hands its bytes on in order, [`Packed::bytes_of`] in all.
    ///
    /// # Errors
    /// Returns the first error of `write`.
    pub fn pack(
        &mut self,
        cpu: &Cpu,
        matrix: &Matrix,
        mut write: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let panel_bytes = panel_bytes(matrix.dtype(), matrix.n_in);
        let n_panels = matrix.n_out.div_ceil(PANEL);
        let least = (panel_bytes + Packer::PIECE).next_multiple_of(Packer::PIECE);
        if self.window.len() < least {
            self.window = Buffer::zeroed(least);
        }
        // The window holds the panels up to `next`, without the pieces that were handed on.
        let (mut next, mut held) = (0, 0);
        while next < n_panels {
            let n = ((self.window.len() - held) / panel_bytes).min(n_panels - next);
            let panels = &mut self.window[held..][..n * panel_bytes];
            panels.fill(0);
            pack_panels(cpu, matrix, next, panels);
            (next, held) = (next + n, held + n * panel_bytes);
            let whole = if next < n_panels { held / Packer::PIECE * Packer::PIECE } else { held };
            self.window[..whole].chunks(Packer::PIECE).try_for_each(&mut write)?;
            self.window.copy_within(whole..held, 0);
            held -= whole;
        }
        Ok(())
    }
}

impl Default for Packer {
    fn default() -> Packer {
        Packer::new()
    }
}

/// Packs as many panels of a matrix from `first` on as `out` holds. `out` is zero before.
fn pack_panels(cpu: &Cpu, matrix: &Matrix, first: usize, out: &mut [u8]) {
    let panel_bytes = panel_bytes(matrix.dtype(), matrix.n_in);
    let n_panels = out.len().checked_div(panel_bytes).unwrap_or(0);
    let panels = Chunks::new(out, panel_bytes);
    cpu.pool().for_each(n_panels, |i| {
        // SAFETY: each panel is written by the one call that has its number.
        let out = unsafe { panels.get(i) };
        let start = (first + i) * PANEL;
        pack_panel(matrix, start..matrix.n_out.min(start + PANEL), out);
    });
}

/// Returns the number of bytes of a panel whose rows have `n_in` inputs.
fn panel_bytes(dtype: Dtype, n_in: usize) -> usize {
    if dtype.is_quantised() {
        return Layout::of(dtype).panel_bytes(n_in);
    }
    n_in.next_multiple_of(2) * PANEL * dtype.block_bytes()
}

/// Packs the rows `rows` of a matrix. Missing rows stay zero.
fn pack_panel(matrix: &Matrix, rows: Range<usize>, out: &mut [u8]) {
    if matrix.dtype().is_quantised() {
        return quant::pack_panel(matrix.dtype(), rows.map(|row| matrix.row_bytes(row)), out);
    }
    let rows: Vec<&[u8]> = rows.map(|row| matrix.row_bytes(row)).collect();
    match matrix.dtype() {
        Dtype::F16 => interleave::<2>(&rows, out),
        // A lane holds a pair of `bf16` or one `f32`: 4 bytes of the row every 64 bytes of the panel.
        _ => interleave::<4>(&rows, out),
    }
}

/// Puts each `N` bytes of row `i` into lane `i` of the next vector of sixteen, a cache line of every row at a
/// time. Written lane by lane along whole rows, a panel would pass through the cache sixteen times.
fn interleave<const N: usize>(rows: &[&[u8]], out: &mut [u8]) {
    const LINE: usize = 64;
    let per_line = LINE / N;
    for (i, vectors) in out.chunks_mut(per_line * N * PANEL).enumerate() {
        for (lane, row) in rows.iter().enumerate() {
            let line = &row[i * LINE..row.len().min((i + 1) * LINE)];
            let lanes = vectors.chunks_exact_mut(N * PANEL).map(|vector| &mut vector[lane * N..][..N]);
            match <&[u8; LINE]>::try_from(line) {
                Ok(line) => {
                    line.as_chunks::<N>().0.iter().zip(lanes).for_each(|(from, to)| to.copy_from_slice(from))
                }
                Err(_) => {
                    line.chunks(N).zip(lanes).for_each(|(from, to)| to[..from.len()].copy_from_slice(from))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Isa;

    /// Returns a matrix of bytes that all differ from their neighbours.
    fn matrix(dtype: Dtype, n_out: usize, n_in: usize) -> Matrix {
        let n = n_out * dtype.row_bytes(n_in).expect("whole blocks");
        let bytes = Bytes::from((0..n).map(|i| (i * 7 + i / 251) as u8).collect::<Vec<u8>>());
        Matrix::new(&bytes, 0..n, dtype, n_out, n_in).expect("it fits")
    }

    fn all_dtypes() -> impl Iterator<Item = Dtype> {
        [Dtype::F32, Dtype::Bf16, Dtype::F16].into_iter().chain(Dtype::BLOCKS)
    }

    /// Returns the FNV-1a hash, which is enough to tell whether bytes have changed.
    fn digest(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }

    #[test]
    fn a_float_weight_lies_in_the_lane_of_its_row() {
        for dtype in [Dtype::F32, Dtype::Bf16, Dtype::F16] {
            for (n_out, n_in) in [(1, 1), (5, 3), (16, 32), (17, 33), (40, 70)] {
                let m = matrix(dtype, n_out, n_in);
                let packed = Packed::new(&Cpu::new(Isa::best(), 2), &m);
                let size = dtype.block_bytes();
                for (row, k) in (0..n_out).flat_map(|row| (0..n_in).map(move |k| (row, k))) {
                    let want = &m.row_bytes(row)[k * size..][..size];
                    // Pairs of `bf16` share a lane of four bytes.
                    let at = match dtype {
                        Dtype::Bf16 => (k / 2 * PANEL + row % PANEL) * 4 + k % 2 * 2,
                        _ => (k * PANEL + row % PANEL) * size,
                    };
                    assert_eq!(&packed.panel(row / PANEL)[at..][..size], want, "{dtype:?} [{row}, {k}]");
                }
            }
        }
    }

    #[test]
    fn the_pieces_together_are_the_bytes_of_the_whole() {
        let cpu = Cpu::new(Isa::best(), 2);
        let mut packer = Packer::new();
        for dtype in all_dtypes() {
            // The largest matrix takes several windows, and its last panel is not full.
            for (n_out, n_in) in [(3, 256), (40, 512), (if dtype == Dtype::Bf16 { 33_003 } else { 70 }, 768)]
            {
                let m = matrix(dtype, n_out, n_in);
                let mut bytes = Vec::new();
                let pack = packer.pack(&cpu, &m, |piece| {
                    assert!(bytes.len().is_multiple_of(Packer::PIECE), "only the last piece is smaller");
                    bytes.extend_from_slice(piece);
                    Ok(())
                });
                pack.expect("the writer takes everything");
                assert!(bytes == Packed::new(&cpu, &m).as_bytes(), "{dtype:?} {n_out} x {n_in}");
                assert_eq!(bytes.len(), Packed::bytes_of(dtype, n_out, n_in));
            }
        }
    }

    /// If this test fails, packed bytes have changed: raise [`PACKED_LAYOUT`] and update the digest.
    #[test]
    fn the_number_of_the_layout_stands_for_these_bytes() {
        let cpu = Cpu::new(Isa::best(), 1);
        let all = all_dtypes().map(|dtype| digest(Packed::new(&cpu, &matrix(dtype, 21, 512)).as_bytes()));
        let joined = all.fold(0u64, |joined, one| joined.rotate_left(5) ^ one);
        assert_eq!((PACKED_LAYOUT, joined), (1, 0x82b2ac8bbbd807f1), "{joined:#x}");
    }

    #[test]
    fn bytes_of_another_size_are_refused() {
        let cpu = Cpu::new(Isa::best(), 1);
        let bytes = Bytes::from(vec![0; 64]);
        assert!(Packed::from_bytes(&cpu, bytes, Dtype::F32, 16, 2).is_none());
    }
}
