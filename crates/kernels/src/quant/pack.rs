//! Packing quantised rows into a panel, once at load.

use super::{Format, Layout, Mins, PANEL, with_format};
use crate::Dtype;
use crate::blocks::Block;

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
    const { assert!(F::LAYOUT.unit <= crate::blocks::MAX_BLOCK) };
    let layout: Layout = F::LAYOUT;
    let Layout { low, high, .. } = layout;
    let code = |k: usize| (i32::from(block.q[k]) + layout.offset) as u32 & ((1 << (low + high)) - 1);
    let per_word = 32 / low;
    for word in 0..layout.unit / per_word {
        let mut lower = 0;
        for k in 0..per_word {
            lower |= (code(word * per_word + k) & ((1 << low) - 1)) << Layout::shift(low, k);
        }
        put(unit, 0, word, lane, lower);
    }
    if let Some(per_word) = 32usize.checked_div(high) {
        for word in 0..layout.unit / per_word {
            let mut upper = 0;
            for k in 0..per_word {
                // Rotated within its byte, so that a shift leaves it above the lower bits.
                let at = 8 * (k % 4) + (high * (k / 4) + low) % 8;
                upper |= (code(word * per_word + k) >> low) << at;
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

/// Puts a lane into vector `word` of those that begin at `at`.
#[inline(always)]
fn put(unit: &mut [u8], at: usize, word: usize, lane: usize, value: u32) {
    unit[at + 4 * (PANEL * word + lane)..][..4].copy_from_slice(&value.to_le_bytes());
}
