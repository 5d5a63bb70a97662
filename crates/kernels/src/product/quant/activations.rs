//! Activations quantised for products with quantised weights: integers of eight bits with a scale.
//!
//! ```text
//! amax = max |x|      x ≈ dx · a,   a = round(x · (127 / amax)),   dx = amax / 127
//! ```
//!
//! over each 32 or 256 inputs, which is the unit of the weights. Ties are rounded to even. Beside the
//! integers lies the exact sum of each sixteen, with which minimums and offsets of weights are multiplied.

use crate::layout::{K_BLOCK, LANES, TILE_ROWS};
use crate::sets::{IntLanes, Lanes};

/// Quantised rows of activations, `[n_rows, n_in]`, cut into K blocks. The memory is kept when the rows are
/// filled again.
#[derive(Clone, Default)]
pub(crate) struct Quantised {
    n_rows: usize,
    n_in: usize,
    /// The number of inputs that share a scale: 32 or 256.
    unit: usize,
    /// The codes, `[n_blocks][n_rows][inputs of the block]`, with room for fifteen more rows of a block
    /// behind them, because a tile of sixteen rows may begin at the last row.
    codes: Vec<i8>,
    /// The sums of sixteen codes, `[n_blocks][n_rows][sixteens of the block]`.
    sums: Vec<i16>,
    /// The scales, `[n_blocks][n_rows][units of the block]`.
    scales: Vec<f32>,
}

/// The rows of a K block.
#[derive(Clone, Copy)]
pub(crate) struct QuantisedBlock<'a> {
    /// The number of inputs of the block.
    pub(crate) len: usize,
    /// The codes, `[n_rows][len]`.
    pub(crate) codes: &'a [i8],
    /// The sums of sixteen codes, `[n_rows][len / 16]`.
    pub(crate) sums: &'a [i16],
    /// The scales, `[n_rows][len / unit]`.
    pub(crate) scales: &'a [f32],
}

impl Quantised {
    /// Makes room for `[n_rows, n_in]`, with one scale for each `unit` inputs: 32 or 256. The content has no
    /// meaning until it is filled.
    ///
    /// # Panics
    /// Panics if rows are not whole units.
    pub(crate) fn reset(&mut self, unit: usize, n_rows: usize, n_in: usize) {
        assert!((unit == 32 || unit == K_BLOCK) && n_in.is_multiple_of(unit), "a row is whole units");
        (self.n_rows, self.n_in, self.unit) = (n_rows, n_in, unit);
        self.codes.resize(n_rows * n_in + (TILE_ROWS - 1) * K_BLOCK, 0);
        self.sums.resize(n_rows * n_in / 16, 0);
        self.scales.resize(n_rows * n_in / unit, 0.0);
    }

    /// Forgets the rows, but keeps their memory.
    pub(crate) fn clear(&mut self) {
        self.n_rows = 0;
    }

    /// Returns the number of inputs that share a scale, which is the unit of the weights.
    pub(crate) fn unit(&self) -> usize {
        self.unit
    }

    /// Returns the number of rows.
    pub(crate) fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Returns the number of inputs per row.
    pub(crate) fn n_in(&self) -> usize {
        self.n_in
    }

    /// Returns the rows of K block `block`.
    pub(crate) fn block(&self, block: usize) -> QuantisedBlock<'_> {
        let len = (self.n_in - block * K_BLOCK).min(K_BLOCK);
        let range = |per: usize| {
            let start = block * self.n_rows * (K_BLOCK / per);
            start..start + self.n_rows * (len / per)
        };
        QuantisedBlock {
            len,
            codes: &self.codes[range(1)],
            sums: &self.sums[range(16)],
            scales: &self.scales[range(self.unit)],
        }
    }

    /// Returns a writer through which several threads fill the rows.
    pub(crate) fn writer(&mut self) -> QuantisedWriter<'_> {
        QuantisedWriter {
            n_rows: self.n_rows,
            n_in: self.n_in,
            unit: self.unit,
            codes: self.codes.as_mut_ptr(),
            sums: self.sums.as_mut_ptr(),
            scales: self.scales.as_mut_ptr(),
            of: std::marker::PhantomData,
        }
    }
}

/// A writer through which several threads write rows.
pub(crate) struct QuantisedWriter<'a> {
    n_rows: usize,
    n_in: usize,
    unit: usize,
    codes: *mut i8,
    sums: *mut i16,
    scales: *mut f32,
    of: std::marker::PhantomData<&'a mut Quantised>,
}

// SAFETY: users promise that no two threads write the same row.
unsafe impl Sync for QuantisedWriter<'_> {}

impl QuantisedWriter<'_> {
    /// Quantises row `row` of K block `block` from its inputs.
    ///
    /// # Safety
    /// The caller runs with the features that `L` needs, and no other call writes this row of this block at
    /// the same time.
    ///
    /// # Panics
    /// Panics if there is no such row, or if `x` does not have its length.
    #[inline(always)]
    pub(crate) unsafe fn fill<L: Lanes>(&self, row: usize, block: usize, x: &[f32]) {
        let len = (self.n_in - block * K_BLOCK).min(K_BLOCK);
        assert!(row < self.n_rows && x.len() == len, "a row of a block");
        let at = |per: usize| (block * self.n_rows * K_BLOCK + row * len) / per;
        // SAFETY: the row and its parts are there, and nobody else has them.
        unsafe {
            let codes = std::slice::from_raw_parts_mut(self.codes.add(at(1)), len);
            let sums = std::slice::from_raw_parts_mut(self.sums.add(at(16)), len / 16);
            let scales = std::slice::from_raw_parts_mut(self.scales.add(at(self.unit)), len / self.unit);
            for (u, scale) in scales.iter_mut().enumerate() {
                let x = &x[u * self.unit..][..self.unit];
                let sums = &mut sums[u * self.unit / 16..][..self.unit / 16];
                *scale = quantise::<L>(x, &mut codes[u * self.unit..][..self.unit], sums);
            }
        }
    }
}

/// Quantises one unit and returns its scale. If an input is not finite, neither is the scale, and all codes
/// are zero, so that every product with the unit is NaN.
///
/// Sixteens are read as lanes, because the compiler turns plain loops, for AVX-512, into loops over sixteens
/// of sixteens that gather each of their elements.
///
/// # Safety
/// The caller runs with the features that `L` needs.
#[inline(always)]
unsafe fn quantise<L: Lanes>(x: &[f32], codes: &mut [i8], sums: &mut [i16]) -> f32 {
    // Magnitudes of floats are ordered as their bits are, and NaN comes last.
    let mut lanes = [0u32; LANES];
    // SAFETY: each chunk has sixteen elements, and the caller promises the features.
    unsafe {
        let mut largest = L::Ints::splat(0);
        for x in x.as_chunks::<LANES>().0 {
            largest = largest.max(L::Ints::load(x.as_ptr().cast()).and(L::Ints::splat(0x7fff_ffff)));
        }
        largest.store(lanes.as_mut_ptr());
    }
    let mut largest = 0;
    for bits in lanes {
        largest = largest.max(bits);
    }
    let amax = f32::from_bits(largest);
    let inverse = 127.0 / amax;
    // Magnitudes below 4e-37, whose inverse is too large, become zero too.
    if !(inverse.is_finite() && amax.is_finite()) {
        codes.fill(0);
        sums.fill(0);
        return amax / 127.0;
    }
    // Adding 1.5 · 2²³ rounds to an integer, ties to even, and leaves the integer in the lower bits.
    const ROUND: f32 = 12_582_912.0;
    let groups = x.as_chunks::<LANES>().0.iter().zip(codes.as_chunks_mut::<LANES>().0);
    for ((x, codes), sum) in groups.zip(sums) {
        let mut rounded = [0.0f32; LANES];
        // SAFETY: as above.
        unsafe {
            let x = L::load(x.as_ptr()).mul(L::splat(inverse));
            x.add(L::splat(ROUND)).store(rounded.as_mut_ptr());
        }
        let mut total = 0;
        for i in 0..LANES {
            let code = rounded[i].to_bits() as i16;
            codes[i] = code as i8;
            total += code;
        }
        *sum = total;
    }
    amax / 127.0
}
