//! Tiles of bytes by `smmla`, on 64-bit Arm with `i8mm`.
//!
//! One instruction multiplies two rows with two outputs over eight inputs. That is 32 products, where `sdot`
//! makes sixteen:
//!
//! ```text
//! activations  two rows, eight inputs of each, as they lie     A: [2 rows][8 inputs] i8
//! weights      two quads of two outputs, side by side          B: [2 outputs][8 inputs] i8
//! products                                                     C: [2 rows][2 outputs] i32
//! ```
//!
//! A decoded block lies by quads, so it is rearranged once for all rows. Then four rows against sixteen
//! outputs are sixteen registers of sums, beside two registers of activations and one of weights. Unsigned
//! codes are below 128, so they read the same as signed ones.

use crate::layout::LANES;
use crate::sets::tiles::{ByteSums, ByteTiles};
use std::arch::{aarch64::*, asm};

/// The number of rows that are multiplied together.
const ROWS: usize = 4;

/// The proof that the processor has `i8mm`, by which tiles are multiplied.
pub(crate) struct Smmla(());

impl Smmla {
    /// Makes the unit.
    ///
    /// # Safety
    /// The processor has `neon` and `i8mm`.
    pub(crate) unsafe fn new() -> Smmla {
        Smmla(())
    }
}

impl ByteTiles for Smmla {
    #[inline]
    fn arrange(&mut self, quads: &mut [[u32; LANES]]) {
        // SAFETY: a unit exists only where the processor has the features.
        unsafe { arrange(quads) }
    }

    #[inline]
    unsafe fn multiply(
        &mut self,
        codes: *const i8,
        stride: usize,
        n_rows: usize,
        quads: *const [u32; LANES],
        depth: usize,
        _: bool,
        sums: &mut [ByteSums],
    ) {
        // SAFETY: as above, and the caller's promise.
        unsafe {
            match depth {
                4 => multiply::<4>(codes, stride, n_rows, quads, sums),
                8 => multiply::<8>(codes, stride, n_rows, quads, sums),
                _ => panic!("a tile of {depth} quads is neither 16 nor 32 inputs deep"),
            }
        }
    }
}

/// Rearranges each two quads in their place to `[8 pairs of outputs][2 outputs][8 inputs]`.
#[target_feature(enable = "neon")]
fn arrange(quads: &mut [[u32; LANES]]) {
    for pair in quads.as_chunks_mut::<2>().0 {
        let [first, second] = *pair;
        for (i, out) in pair.as_flattened_mut().as_chunks_mut::<8>().0.iter_mut().enumerate() {
            // SAFETY: four of sixteen elements are read, and eight are written.
            unsafe {
                let (first, second) =
                    (vld1q_u32(first[4 * i..].as_ptr()), vld1q_u32(second[4 * i..].as_ptr()));
                vst1q_u32(out.as_mut_ptr(), vzip1q_u32(first, second));
                vst1q_u32(out[4..].as_mut_ptr(), vzip2q_u32(first, second));
            }
        }
    }
}

/// Does the work of [`ByteTiles::multiply`] for tiles of `DEPTH` quads.
///
/// # Safety
/// The promises of [`ByteTiles::multiply`] hold, and the processor has the features.
#[target_feature(enable = "neon,i8mm")]
unsafe fn multiply<const DEPTH: usize>(
    codes: *const i8,
    stride: usize,
    n_rows: usize,
    quads: *const [u32; LANES],
    sums: &mut [ByteSums],
) {
    for (tile, sums) in sums.iter_mut().enumerate() {
        for (strip, sums) in
            sums.0[..n_rows.next_multiple_of(ROWS)].as_chunks_mut::<ROWS>().0.iter_mut().enumerate()
        {
            // SAFETY: the caller's promise.
            unsafe {
                let codes = codes.add(strip * ROWS * stride + 4 * DEPTH * tile);
                four_rows::<DEPTH>(codes, stride, quads.add(DEPTH * tile).cast(), sums);
            }
        }
    }
}

/// Multiplies four rows with a tile.
///
/// # Safety
/// The promises of [`multiply`] hold.
#[target_feature(enable = "neon,i8mm")]
#[inline]
unsafe fn four_rows<const DEPTH: usize>(
    codes: *const i8,
    stride: usize,
    quads: *const i8,
    out: &mut [[u32; LANES]; ROWS],
) {
    // SAFETY: the caller promises four rows, and quads arranged in sixteen bytes for each pair of outputs.
    unsafe {
        let mut sums = [[vdupq_n_s32(0); LANES / 2]; ROWS / 2];
        // A register has room for sixteen inputs of a row.
        for at in 0..DEPTH / 4 {
            let row = |r: usize| vreinterpretq_s64_s8(vld1q_s8(codes.add(r * stride + 16 * at)));
            let [a, b] = [[row(0), row(1)], [row(2), row(3)]];
            let halves = [
                [vzip1q_s64(a[0], a[1]), vzip1q_s64(b[0], b[1])],
                [vzip2q_s64(a[0], a[1]), vzip2q_s64(b[0], b[1])],
            ];
            for (half, x) in halves.into_iter().enumerate() {
                for pair in 0..LANES / 2 {
                    let w = vld1q_s8(quads.add(16 * (LANES / 2 * (2 * at + half) + pair)));
                    for (sums, x) in sums.iter_mut().zip(x) {
                        sums[pair] = add_products(sums[pair], vreinterpretq_s8_s64(x), w);
                    }
                }
            }
        }
        for (rows, sums) in out.as_chunks_mut::<2>().0.iter_mut().zip(sums) {
            for (i, pairs) in sums.as_chunks::<2>().0.iter().enumerate() {
                let [a, b] = pairs.map(|sums| vreinterpretq_u64_s32(sums));
                vst1q_u32(rows[0][4 * i..].as_mut_ptr(), vreinterpretq_u32_u64(vzip1q_u64(a, b)));
                vst1q_u32(rows[1][4 * i..].as_mut_ptr(), vreinterpretq_u32_u64(vzip2q_u64(a, b)));
            }
        }
    }
}

/// Adds the products of two rows with two outputs over eight inputs to sums `[2 rows][2 outputs]`.
#[target_feature(enable = "neon,i8mm")]
#[inline]
fn add_products(mut sums: int32x4_t, rows: int8x16_t, outputs: int8x16_t) -> int32x4_t {
    // SAFETY: registers only; the feature is enabled on this function.
    unsafe {
        asm!(
            "smmla {sums:v}.4s, {rows:v}.16b, {outputs:v}.16b",
            sums = inlateout(vreg) sums, rows = in(vreg) rows, outputs = in(vreg) outputs,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}
