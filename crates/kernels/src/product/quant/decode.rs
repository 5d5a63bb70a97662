//! The decoding of a packed unit to integers or floats, sixteen rows at a time.

use super::format::{Format, Layout, Mins, with_format};
use crate::layout::{K_BLOCK, LANES, PANEL};
use crate::sets::{IntLanes, Lanes};
use crate::weights::Dtype;

/// A decoded K block, small enough to stay in the first-level cache while rows pass over it.
#[repr(C, align(64))]
pub(crate) struct DecodeScratch {
    /// The codes, `[quad][row]`: four consecutive codes, as products read them.
    pub(crate) quads: [[u32; LANES]; K_BLOCK / 4],
    /// The integer scales, `[sixteen][row]`, each in both halves; one where a type has none.
    pub(crate) scales: [[u32; LANES]; K_BLOCK / 16],
    /// The factors `-offset · scale`, `[pair of sixteens][row]`, of the sums of activations that are added to
    /// the sum of codes. Only types with an offset have them.
    pub(crate) offsets: [[u32; LANES]; K_BLOCK / 32],
    /// The integer minimums, `[pair of sixteens][row]`, of types that have some.
    pub(crate) mins: [[u32; LANES]; K_BLOCK / 32],
    /// The factors of the scales, `[unit][row]`.
    pub(crate) d: [[f32; LANES]; K_BLOCK / 32],
    /// The factors of the minimums, `[unit][row]`, of types that have some.
    pub(crate) dmin: [[f32; LANES]; K_BLOCK / 32],
}

impl DecodeScratch {
    /// Makes a scratch of zeros.
    pub(crate) const fn new() -> DecodeScratch {
        DecodeScratch {
            quads: [[0; LANES]; K_BLOCK / 4],
            scales: [[0; LANES]; K_BLOCK / 16],
            offsets: [[0; LANES]; K_BLOCK / 32],
            mins: [[0; LANES]; K_BLOCK / 32],
            d: [[0.0; LANES]; K_BLOCK / 32],
            dmin: [[0.0; LANES]; K_BLOCK / 32],
        }
    }
}

/// Decodes the `n_units` units of a K block to integers.
///
/// # Safety
/// The caller runs with the features that `L` needs, and `block` is `n_units` whole units of together at most
/// 256 inputs.
#[inline(always)]
pub(crate) unsafe fn decode<F: Format, L: Lanes>(block: *const u8, n_units: usize, out: &mut DecodeScratch) {
    let layout = F::LAYOUT;
    let groups = layout.unit / 32;
    // SAFETY: the caller's promise, and the scratch has room for 256 inputs.
    unsafe {
        for u in 0..n_units {
            let unit = block.add(u * layout.bytes());
            let (d, dmin) = factors::<F, L>(unit);
            d.store(out.d[u].as_mut_ptr());
            dmin.store(out.dmin[u].as_mut_ptr());
            for g in 0..groups {
                prefetch::<F, L>(unit, g, groups);
                let at = u * groups + g;
                let quads = out.quads[8 * at..].as_mut_ptr().cast::<u32>();
                for t in 0..8 {
                    code_quad::<F, L::Ints>(unit, g, t).store(quads.add(t * LANES));
                }
                let [first, second] = scales::<F, L::Ints>(unit, g);
                first.store(out.scales[2 * at].as_mut_ptr());
                second.store(out.scales[2 * at + 1].as_mut_ptr());
                if layout.offset != 0 {
                    offsets::<F, L::Ints>([first, second]).store(out.offsets[at].as_mut_ptr());
                }
                if layout.mins != Mins::None {
                    mins::<F, L::Ints>(unit, g).store(out.mins[at].as_mut_ptr());
                }
            }
        }
    }
}

/// Dequantises a K block of a panel of `dtype` to `out`, `[input][row]`: exactly the values that the type
/// defines.
///
/// # Safety
/// The caller runs with the features that `L` needs.
///
/// # Panics
/// Panics if the block is not whole units, or longer than 256 inputs.
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

/// Dequantises one unit.
///
/// # Safety
/// The caller runs with the features that `L` needs, `unit` is a whole unit, and `out` has room for its
/// inputs.
#[inline(always)]
unsafe fn unit_to_f32<F: Format, L: Lanes>(unit: *const u8, out: *mut f32) {
    let layout = F::LAYOUT;
    // SAFETY: the caller's promise.
    unsafe {
        let (d, dmin) = factors::<F, L>(unit);
        for g in 0..layout.unit / 32 {
            prefetch::<F, L>(unit, g, layout.unit / 32);
            let scales = scales::<F, L::Ints>(unit, g);
            let mins = mins::<F, L::Ints>(unit, g);
            for (half, scale) in scales.into_iter().enumerate() {
                let scale = d.mul(scale.sra(16).to_f32());
                let min = dmin.mul(mins.shr(16 * half).and(L::Ints::splat(0xffff)).to_f32());
                for t in 4 * half..4 * half + 4 {
                    let quad = quad::<F, L::Ints>(unit, g, t);
                    for byte in 0..4 {
                        let code = if layout.is_signed() {
                            quad.shl(24 - 8 * byte).sra(24)
                        } else {
                            quad.shr(8 * byte).and(L::Ints::splat(0xff)).add(L::Ints::splat(-layout.offset))
                        };
                        let mut weight = scale.mul(code.to_f32());
                        if layout.mins != Mins::None {
                            weight = weight.sub(min);
                        }
                        weight.store(out.add((32 * g + 4 * t + byte) * LANES));
                    }
                }
            }
        }
    }
}

/// Returns quad `t` of group `g` of 32 codes of a unit: the codes `4 t … 4 t + 3`.
///
/// # Safety
/// The caller runs with the features that `I` needs, and `unit` is a whole unit.
#[inline(always)]
pub(crate) unsafe fn quad<F: Format, I: IntLanes>(unit: *const u8, g: usize, t: usize) -> I {
    let Layout { low, high, .. } = F::LAYOUT;
    let in_all_bytes = |x: i32| x * 0x0101_0101;
    // SAFETY: the vectors lie within the unit, by its layout.
    unsafe {
        // A group of 32 codes is `bits` vectors, each of which holds `8 / bits` quads.
        let vector =
            |at: usize, bits: usize| unit.add(at + 4 * PANEL * (g * bits + t * bits / 8)).cast::<u32>();
        let lower = I::load(vector(0, low));
        if low == 8 {
            return lower;
        }
        let lower = lower.shr(t * low % 8).and(I::splat(in_all_bytes((1 << low) - 1)));
        if let Some(table) = F::LAYOUT.table {
            return lower.look_up(table);
        }
        if high == 0 {
            return lower;
        }
        let upper = I::load(vector(F::LAYOUT.high_at(), high));
        let shift = t * high % 8;
        let upper = if shift + low < 8 { upper.shr(shift) } else { upper.shl(8 - shift) };
        lower.or(upper.and(I::splat(in_all_bytes(((1 << high) - 1) << low))))
    }
}

/// Returns [`quad`] as products read it; see [`IntLanes::signed_codes`].
///
/// # Safety
/// The promises of [`quad`] hold.
#[inline(always)]
pub(crate) unsafe fn code_quad<F: Format, I: IntLanes>(unit: *const u8, g: usize, t: usize) -> I {
    // SAFETY: the caller's promise.
    unsafe {
        let quad = quad::<F, I>(unit, g, t);
        if F::LAYOUT.is_signed() { quad.signed_codes() } else { quad }
    }
}

/// Returns the integer scales of group `g` of 32 codes, of the first sixteen and of the second, each in both
/// halves of its lanes. The scale is one where the type has none.
///
/// # Safety
/// The promises of [`quad`] hold.
#[inline(always)]
pub(crate) unsafe fn scales<F: Format, I: IntLanes>(unit: *const u8, g: usize) -> [I; 2] {
    // SAFETY: the caller's promise.
    unsafe {
        match F::LAYOUT.group {
            0 => [I::splat(0x0001_0001); 2],
            16 => [pair(scale::<F, I>(unit, 2 * g)), pair(scale::<F, I>(unit, 2 * g + 1))],
            _ => [pair(scale::<F, I>(unit, g)); 2],
        }
    }
}

/// Returns integer scale `i` of a unit.
#[inline(always)]
unsafe fn scale<F: Format, I: IntLanes>(unit: *const u8, i: usize) -> I {
    // SAFETY: the vector lies within the unit, by its layout.
    unsafe {
        let bytes = I::load_i8(unit.add(F::LAYOUT.scales_at() + PANEL * i).cast());
        if matches!(F::LAYOUT.mins, Mins::InScales) { bytes.and(I::splat(15)) } else { bytes }
    }
}

/// Returns `x`, which fits 16 bits, in both halves.
#[inline(always)]
unsafe fn pair<I: IntLanes>(x: I) -> I {
    // SAFETY: the caller's features.
    unsafe { x.and(I::splat(0xffff)).or(x.shl(16)) }
}

/// Returns the factors by which the sums of activations of two sixteens with these scales are multiplied,
/// because codes are read with their offset.
///
/// # Safety
/// The caller runs with the features that `I` needs.
#[inline(always)]
pub(crate) unsafe fn offsets<F: Format, I: IntLanes>([first, second]: [I; 2]) -> I {
    // SAFETY: the caller's features.
    unsafe {
        let scales = first.and(I::splat(0xffff)).or(second.shl(16));
        scales.mul16(I::splat((-F::LAYOUT.offset & 0xffff) * 0x0001_0001))
    }
}

/// Returns the minimums of group `g` of 32 codes, of the first sixteen and of the second, in the halves.
///
/// # Safety
/// The promises of [`quad`] hold.
#[inline(always)]
pub(crate) unsafe fn mins<F: Format, I: IntLanes>(unit: *const u8, g: usize) -> I {
    // SAFETY: the vectors lie within the unit, by its layout.
    unsafe {
        match F::LAYOUT.mins {
            Mins::None => I::splat(0),
            Mins::One => I::splat(0x0001_0001),
            Mins::InScales => {
                let bytes = unit.add(F::LAYOUT.scales_at() + PANEL * 2 * g).cast::<i8>();
                let (first, second) = (I::load_i8(bytes), I::load_i8(bytes.add(PANEL)));
                let upper = I::splat(15);
                first.shr(4).and(upper).or(second.shr(4).and(upper).shl(16))
            }
            Mins::Own => pair(I::load_i8(unit.add(F::LAYOUT.mins_at() + PANEL * g).cast())),
        }
    }
}

/// Returns the factors `d` and `dmin` of a unit. The second is zero where the type has none.
///
/// # Safety
/// The promises of [`quad`] hold.
#[inline(always)]
pub(crate) unsafe fn factors<F: Format, L: Lanes>(unit: *const u8) -> (L, L) {
    // SAFETY: the vectors lie within the unit, by its layout.
    unsafe {
        let d = unit.add(F::LAYOUT.d_at());
        let d = if F::LAYOUT.table.is_some() { L::load(d.cast()) } else { L::load_f16(d.cast()) };
        if matches!(F::LAYOUT.mins, Mins::None) {
            return (d, L::splat(0.0));
        }
        (d, L::load_f16(unit.add(F::LAYOUT.dmin_at()).cast()))
    }
}

/// The distance in bytes at which weights are prefetched before they are decoded. In alternating runs on Zen
/// 4, 3 KB read Q4_K_M six per cent faster than 2 KB, and Q8_0 as fast or up to six per cent faster; 4 KB are
/// like 3 KB.
const AHEAD: usize = 3072;

/// Prefetches part `i` of `n` of what lies [`AHEAD`] of a unit.
///
/// # Safety
/// The caller runs with the features that `L` needs.
#[inline(always)]
pub(crate) unsafe fn prefetch<F: Format, L: Lanes>(unit: *const u8, i: usize, n: usize) {
    let lines = F::LAYOUT.bytes().div_ceil(64);
    for line in i * lines / n..(i + 1) * lines / n {
        // SAFETY: any address may be prefetched.
        unsafe { L::prefetch(unit.wrapping_add(AHEAD + 64 * line)) }
    }
}
