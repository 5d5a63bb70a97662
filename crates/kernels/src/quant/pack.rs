//! Packing quantised rows into a panel, once at load.

use super::{Format, Layout, Mins, PANEL, with_format};
use crate::Dtype;
use crate::blocks::{Block, MAX_BLOCK};

/// Packs up to sixteen rows of blocks into a panel. Rows that are missing become rows of zeros;
/// `out` is zero before.
///
/// # Panics
/// If there are more rows, or they are not as long as `out` asks for.
pub(crate) fn pack_panel<'a>(dtype: Dtype, rows: impl Iterator<Item = &'a [u8]>, out: &mut [u8]) {
    with_format!(dtype, F => pack_rows::<F>(dtype, rows, out))
}

fn pack_rows<'a, F: Format>(dtype: Dtype, rows: impl Iterator<Item = &'a [u8]>, out: &mut [u8]) {
    let n_units = out.len() / F::LAYOUT.bytes();
    let mut block = Block::new();
    for (lane, row) in rows.enumerate() {
        assert!(lane < PANEL, "a panel has sixteen rows");
        assert_eq!(row.len(), n_units * dtype.block_bytes(), "a row fills its lane");
        let units = out.chunks_exact_mut(F::LAYOUT.bytes());
        for (bytes, unit) in row.chunks_exact(dtype.block_bytes()).zip(units) {
            block.read(dtype, bytes);
            pack_block::<F>(&block, lane, unit);
        }
    }
}

/// Writes lane `lane` of a unit.
#[inline]
fn pack_block<F: Format>(block: &Block, lane: usize, unit: &mut [u8]) {
    let layout: Layout = F::LAYOUT;
    let Layout { low, high, .. } = layout;
    let mut codes = [0; MAX_BLOCK];
    for (code, q) in codes.iter_mut().zip(&block.q) {
        *code = (*q as u8).wrapping_add(layout.offset as u8);
    }
    let mut quads = [0; MAX_BLOCK / 4];
    for (quad, codes) in quads.iter_mut().zip(codes.as_chunks().0) {
        *quad = u32::from_le_bytes(*codes);
    }
    let quads = &quads[..layout.unit / 4];
    for (word, quads) in quads.chunks_exact(8 / low).enumerate() {
        let mut lower = 0;
        for (slot, quad) in quads.iter().enumerate() {
            lower |= (quad & in_all_bytes(low)) << (low * slot);
        }
        put(unit, 0, word, lane, lower);
    }
    if let Some(per_word) = 8usize.checked_div(high) {
        for (word, quads) in quads.chunks_exact(per_word).enumerate() {
            let mut upper = 0;
            for (slot, quad) in quads.iter().enumerate() {
                // Rotated within its byte, so that a shift leaves it above the lower bits.
                upper |= (quad >> low & in_all_bytes(high)) << ((high * slot + low) % 8);
            }
            put(unit, layout.high_at(), word, lane, upper);
        }
    }
    for i in 0..layout.n_scales() {
        let from = i * layout.group / 16;
        let (scale, min) = (block.scales[from] as u8, block.mins[from]);
        let joined = if layout.mins == Mins::InScales { scale | min << 4 } else { scale };
        unit[layout.scales_at() + PANEL * i + lane] = joined;
        if layout.mins == Mins::Own {
            unit[layout.mins_at() + PANEL * i + lane] = min;
        }
    }
    unit[layout.d_at() + 2 * lane..][..2].copy_from_slice(&block.d.to_le_bytes());
    if layout.mins != Mins::None {
        unit[layout.dmin_at() + 2 * lane..][..2].copy_from_slice(&block.dmin.to_le_bytes());
    }
}

/// The lowest `bits` of each byte.
fn in_all_bytes(bits: usize) -> u32 {
    0x0101_0101 * ((1 << bits) - 1)
}

/// Puts a lane into vector `word` of those that begin at `at`.
#[inline(always)]
fn put(unit: &mut [u8], at: usize, word: usize, lane: usize, value: u32) {
    unit[at + 4 * (PANEL * word + lane)..][..4].copy_from_slice(&value.to_le_bytes());
}
