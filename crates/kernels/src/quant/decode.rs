//! From a packed unit back to integers or floats, sixteen rows at a time.

use super::{Format, K_BLOCK, Layout, Mins, PANEL, with_format};
use crate::Dtype;
use crate::ints::IntLanes;
use crate::lanes::{LANES, Lanes};

/// A decoded K block, small enough for the first-level cache: what a strip of rows is multiplied
/// with.
#[repr(C, align(64))]
pub(crate) struct DecodeScratch {
    /// `[pair][row]`: two consecutive codes, times their integer scale.
    pub(crate) pairs: [[u32; LANES]; K_BLOCK / 2],
    /// `[pair][row]`: the minimums of two consecutive sixteens; one pair per unit if a unit has but
    /// one minimum.
    pub(crate) mins: [[u32; LANES]; K_BLOCK / 32],
    /// `[unit][row]`.
    pub(crate) d: [[f32; LANES]; K_BLOCK / 32],
    /// `[unit][row]`.
    pub(crate) dmin: [[f32; LANES]; K_BLOCK / 32],
}

impl DecodeScratch {
    pub(crate) const fn new() -> DecodeScratch {
        DecodeScratch {
            pairs: [[0; LANES]; K_BLOCK / 2],
            mins: [[0; LANES]; K_BLOCK / 32],
            d: [[0.0; LANES]; K_BLOCK / 32],
            dmin: [[0.0; LANES]; K_BLOCK / 32],
        }
    }
}

/// Weights are asked for this many bytes before they are decoded.
const AHEAD: usize = 2048;

/// Asks for the unit that lies [`AHEAD`] of `unit`, a part of it at a time: part `i` of `n`.
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn prefetch<F: Format, L: Lanes>(unit: *const u8, i: usize, n: usize) {
    let lines = F::LAYOUT.bytes().div_ceil(64);
    for line in i * lines / n..(i + 1) * lines / n {
        // SAFETY: any address may be asked for.
        unsafe { L::prefetch(unit.wrapping_add(AHEAD + 64 * line)) }
    }
}

/// The codes `8 j … 8 j + 7` of the 32 codes number `g` of a unit, as pairs, offset taken off.
///
/// # Safety
/// As for [`IntLanes`]; `unit` is a whole unit.
#[inline(always)]
pub(crate) unsafe fn octet<F: Format, I: IntLanes>(unit: *const u8, g: usize, j: usize) -> [I; 4] {
    let Layout { low, high, offset, .. } = F::LAYOUT;
    let both = |x: i32| x | x << 16;
    // SAFETY: the vectors lie within the unit, by its layout.
    unsafe {
        let mut q = [I::splat(0); 4];
        if low == 8 {
            for half in 0..2 {
                let word = I::load(unit.cast::<u32>().add(PANEL * (8 * g + 2 * j + half)));
                q[2 * half] = word.shl(8).sra16(8);
                q[2 * half + 1] = word.sra16(8);
            }
        } else {
            let (word, from) = (8 * j * low / 32, 4 * j * low % 16);
            let word = I::load(unit.cast::<u32>().add(PANEL * (g * low + word)));
            for i in 0..4 {
                q[i] = word.shr(from + low * i).and(I::splat(both((1 << low) - 1)));
            }
        }
        if high > 0 {
            let (word, from) = (8 * j * high / 32, 4 * j * high % 16);
            let word = I::load(unit.add(F::LAYOUT.high_at()).cast::<u32>().add(PANEL * (g * high + word)));
            for i in 0..4 {
                let shift = from + high * i;
                let bits = if shift + low < 16 { word.shr(shift) } else { word.shl(16 - shift) };
                q[i] = q[i].or(bits.and(I::splat(both(((1 << high) - 1) << low))));
            }
        }
        if offset > 0 {
            for i in 0..4 {
                q[i] = q[i].sub16(I::splat(both(offset)));
            }
        }
        q
    }
}

/// Integer scale `i` of a unit.
///
/// # Safety
/// As for [`octet`].
#[inline(always)]
pub(crate) unsafe fn scale<F: Format, I: IntLanes>(unit: *const u8, i: usize) -> I {
    // SAFETY: the vector lies within the unit, by its layout.
    unsafe {
        let bytes = I::load_i8(unit.add(F::LAYOUT.scales_at() + PANEL * i).cast());
        if matches!(F::LAYOUT.mins, Mins::InScales) { bytes.and(I::splat(15)) } else { bytes }
    }
}

/// Pairs of minimums in a unit.
pub(crate) const fn min_pairs(layout: Layout) -> usize {
    match layout.mins {
        Mins::None => 0,
        Mins::One => 1,
        Mins::InScales | Mins::Own => layout.unit / 32,
    }
}

/// The minimums of the 32 codes number `g`: of the first sixteen, and of the second.
///
/// # Safety
/// As for [`octet`]; the type has minimums.
#[inline(always)]
pub(crate) unsafe fn mins<F: Format, I: IntLanes>(unit: *const u8, g: usize) -> I {
    // SAFETY: the vectors lie within the unit, by its layout.
    unsafe {
        let (first, second) = match F::LAYOUT.mins {
            Mins::None | Mins::One => (I::splat(1), I::splat(1)),
            Mins::InScales => {
                let bytes = unit.add(F::LAYOUT.scales_at() + PANEL * 2 * g).cast::<i8>();
                let upper = I::splat(15);
                (I::load_i8(bytes).shr(4).and(upper), I::load_i8(bytes.add(PANEL)).shr(4).and(upper))
            }
            Mins::Own => {
                let both = I::load_i8(unit.add(F::LAYOUT.mins_at() + PANEL * g).cast());
                (both, both)
            }
        };
        first.or(second.shl(16))
    }
}

/// The factors `d` and `dmin` of a unit; the second is of no meaning where there is none.
///
/// # Safety
/// As for [`octet`].
#[inline(always)]
pub(crate) unsafe fn factors<F: Format, L: Lanes>(unit: *const u8) -> (L, L) {
    // SAFETY: the vectors lie within the unit, by its layout.
    unsafe {
        let d = L::load_f16(unit.add(F::LAYOUT.d_at()).cast());
        if matches!(F::LAYOUT.mins, Mins::None) {
            return (d, L::splat(0.0));
        }
        (d, L::load_f16(unit.add(F::LAYOUT.dmin_at()).cast()))
    }
}

/// Decodes the `n_units` units of a K block to integers.
///
/// # Safety
/// As for [`Lanes`]; `block` is so many whole units, together at most 256 inputs.
#[inline(always)]
pub(crate) unsafe fn decode<F: Format, L: Lanes>(block: *const u8, n_units: usize, out: &mut DecodeScratch) {
    let layout = F::LAYOUT;
    let groups = layout.unit / 32;
    // SAFETY: the caller's promise; the scratch has room for 256 inputs.
    unsafe {
        for u in 0..n_units {
            let unit = block.add(u * layout.bytes());
            let (d, dmin) = factors::<F, L>(unit);
            d.store(out.d[u].as_mut_ptr());
            if min_pairs(layout) > 0 {
                dmin.store(out.dmin[u].as_mut_ptr());
            }
            for g in 0..groups {
                prefetch::<F, L>(unit, g, groups);
                let pairs = out.pairs[(u * groups + g) * 16..].as_mut_ptr().cast::<u32>();
                let mut scales = [L::Ints::splat(0); 2];
                if layout.group == 32 {
                    scales = [in_both_halves(scale::<F, L::Ints>(unit, g)); 2];
                } else if layout.group == 16 {
                    for i in 0..2 {
                        scales[i] = in_both_halves(scale::<F, L::Ints>(unit, 2 * g + i));
                    }
                }
                for j in 0..4 {
                    let q = octet::<F, L::Ints>(unit, g, j);
                    for i in 0..4 {
                        let q = if layout.group == 0 { q[i] } else { q[i].mul16(scales[j / 2]) };
                        q.store(pairs.add((4 * j + i) * LANES));
                    }
                }
                if g < min_pairs(layout) {
                    mins::<F, L::Ints>(unit, g).store(out.mins[u * groups + g].as_mut_ptr());
                }
            }
        }
    }
}

/// `x`, which fits 16 bits, in both halves.
#[inline(always)]
unsafe fn in_both_halves<I: IntLanes>(x: I) -> I {
    // SAFETY: the caller's features.
    unsafe { x.and(I::splat(0xffff)).or(x.shl(16)) }
}

/// Dequantises a K block of a panel of `dtype`, `n_units` units, to `out`, `[input][row]`: exactly the
/// values that the type defines.
///
/// # Safety
/// The caller runs with the features that `L` needs.
///
/// # Panics
/// If the block is not so many units, or longer than 256 inputs.
#[inline(always)]
pub(crate) unsafe fn decode_f32<L: Lanes>(dtype: Dtype, block: &[u8], out: &mut [[f32; LANES]; K_BLOCK]) {
    with_format!(dtype, F => {
        let n_units = block.len() / F::LAYOUT.bytes();
        assert!(block.len() == n_units * F::LAYOUT.bytes() && n_units * F::LAYOUT.unit <= K_BLOCK);
        for u in 0..n_units {
            // SAFETY: the unit is within the block, its inputs within `out`.
            unsafe {
                let unit = block.as_ptr().add(u * F::LAYOUT.bytes());
                unit_to_f32::<F, L>(unit, out[u * F::LAYOUT.unit..].as_mut_ptr().cast());
            }
        }
    })
}

#[inline(always)]
unsafe fn unit_to_f32<F: Format, L: Lanes>(unit: *const u8, out: *mut f32) {
    let layout = F::LAYOUT;
    // SAFETY: the caller's promise.
    unsafe {
        let (d, dmin) = factors::<F, L>(unit);
        for g in 0..layout.unit / 32 {
            prefetch::<F, L>(unit, g, layout.unit / 32);
            for half in 0..2 {
                let d = match layout.group {
                    0 => d,
                    16 => d.mul(scale::<F, L::Ints>(unit, 2 * g + half).to_f32()),
                    _ => d.mul(scale::<F, L::Ints>(unit, g).to_f32()),
                };
                let mut min = L::splat(0.0);
                if min_pairs(layout) > 0 {
                    let pair = mins::<F, L::Ints>(unit, g);
                    min = dmin.mul(pair.shr(16 * half).and(L::Ints::splat(0xffff)).to_f32());
                }
                for j in 2 * half..2 * half + 2 {
                    let q = octet::<F, L::Ints>(unit, g, j);
                    for i in 0..4 {
                        let p = out.add((32 * g + 8 * j + 2 * i) * LANES);
                        d.mul(q[i].shl(16).sra(16).to_f32()).sub(min).store(p);
                        d.mul(q[i].sra(16).to_f32()).sub(min).store(p.add(LANES));
                    }
                }
            }
        }
    }
}
