//! The packing of quantised rows into a panel, once at load.

use super::format::{Format, Layout, Mins, with_format};
use crate::layout::PANEL;
use crate::weights::{Block, Dtype, MAX_BLOCK};
use half::f16;

/// Packs up to sixteen rows of blocks into a panel. Missing rows become rows of zeros; `out` is zero before.
///
/// # Panics
/// Panics if there are more rows, or if their length is not what `out` asks for.
pub(crate) fn pack_panel<'a>(dtype: Dtype, rows: impl Iterator<Item = &'a [u8]>, out: &mut [u8]) {
    with_format!(dtype, F => pack_rows::<F>(dtype, rows, out))
}

/// Does the work of [`pack_panel`] for one type.
fn pack_rows<'a, F: Format>(dtype: Dtype, rows: impl Iterator<Item = &'a [u8]>, out: &mut [u8]) {
    let n_units = out.len() / F::LAYOUT.bytes();
    let mut block = Block::new();
    for (lane, row) in rows.enumerate() {
        assert!(lane < PANEL, "a panel has sixteen rows");
        let units_per_block = dtype.block_len() / F::LAYOUT.unit;
        assert_eq!(row.len() * units_per_block, n_units * dtype.block_bytes(), "a row fills its lane");
        let blocks = out.chunks_exact_mut(F::LAYOUT.bytes() * units_per_block);
        for (bytes, units) in row.chunks_exact(dtype.block_bytes()).zip(blocks) {
            block.read(dtype, bytes);
            for (i, unit) in units.chunks_exact_mut(F::LAYOUT.bytes()).enumerate() {
                pack_unit::<F>(&block, i * F::LAYOUT.unit, lane, unit);
            }
        }
    }
}

/// Writes lane `lane` of the unit that begins at code `first` of a block.
#[inline]
fn pack_unit<F: Format>(block: &Block, first: usize, lane: usize, unit: &mut [u8]) {
    let layout: Layout = F::LAYOUT;
    let Layout { low, high, .. } = layout;
    let mut codes = [0; MAX_BLOCK];
    for (code, q) in codes.iter_mut().zip(&block.q[first..]) {
        *code = match layout.table {
            Some(table) => table.iter().position(|value| value == q).unwrap_or(0) as u8,
            None => (*q as u8).wrapping_add(layout.offset as u8),
        };
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
                // The bits are rotated within their byte, so that a shift leaves them above the lower bits.
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
    if layout.table.is_some() {
        let d = block.d * f32::from(block.scales[first / 16]);
        unit[layout.d_at() + 4 * lane..][..4].copy_from_slice(&d.to_le_bytes());
        return;
    }
    let half = |x: f32| f16::from_f32(x).to_le_bytes();
    unit[layout.d_at() + 2 * lane..][..2].copy_from_slice(&half(block.d));
    if layout.mins != Mins::None {
        unit[layout.dmin_at() + 2 * lane..][..2].copy_from_slice(&half(block.dmin));
    }
}

/// Returns the mask of the lowest `bits` of each byte.
fn in_all_bytes(bits: usize) -> u32 {
    0x0101_0101 * ((1 << bits) - 1)
}

/// Writes one lane of vector `word` of the vectors that begin at byte `at`.
#[inline(always)]
fn put(unit: &mut [u8], at: usize, word: usize, lane: usize, value: u32) {
    unit[at + 4 * (PANEL * word + lane)..][..4].copy_from_slice(&value.to_le_bytes());
}
