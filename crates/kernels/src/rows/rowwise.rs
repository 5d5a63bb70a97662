//! Rope, norms, caps and the residual sum, one row at a time.

use super::activation::capped;
use super::norm::rms_scale;
use crate::layout::LANES;
use crate::machine::{Chunks, Cpu, Work};
use crate::sets::{Kernel, Lanes};

/// Rotates every head of every row by the row's position (Su et al. 2021), in the half-split layout of
/// Hugging Face checkpoints: element `i` pairs with element `i + rotary_dim / 2`. Elements of a head beyond
/// the first `rotary_dim` stay as they are.
///
/// `x` is `[n_rows, n_heads * head_dim]`; `cos` and `sin` are `[n_rows, rotary_dim / 2]`.
///
/// # Panics
/// Panics if the lengths do not fit.
pub fn rope(cpu: &Cpu, x: &mut [f32], head_dim: usize, rotary_dim: usize, cos: &[f32], sin: &[f32]) {
    let half = rotary_dim / 2;
    assert!(half > 0 && 2 * half <= head_dim, "a head of {head_dim} has {rotary_dim} elements to rotate");
    assert_eq!(cos.len(), sin.len(), "cos and sin are [n_rows, rotary_dim / 2]");
    assert_eq!(cos.len() % half, 0, "cos and sin are [n_rows, rotary_dim / 2]");
    let n_rows = cos.len() / half;
    assert_eq!(x.len() % (n_rows * head_dim).max(1), 0, "x is [n_rows, n_heads * head_dim]");
    let len = x.len();
    let rows = Chunks::new(x, (len / n_rows.max(1)).max(1));
    let _timing = cpu.timing(|| Work { kernel: "rope".into(), flops: 3 * len, bytes: 0 });
    let row = |row: usize| {
        // SAFETY: each row is taken by the one call that has its number.
        let x = unsafe { rows.get(row) };
        let (cos, sin) = (&cos[row * half..][..half], &sin[row * half..][..half]);
        cpu.isa().run(Rotate { x, head_dim, cos, sin });
    };
    if len < SERIAL_BELOW {
        (0..n_rows).for_each(row);
    } else {
        cpu.pool().for_each(n_rows, row);
    }
}

/// The rotation of the heads of one row.
struct Rotate<'a> {
    x: &'a mut [f32],
    head_dim: usize,
    cos: &'a [f32],
    sin: &'a [f32],
}

impl Kernel for Rotate<'_> {
    /// Rotates in a loop that the compiler vectorises for each instruction set.
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let half = self.cos.len();
        let sin = &self.sin[..half];
        for head in self.x.chunks_exact_mut(self.head_dim) {
            let (low, high) = head[..2 * half].split_at_mut(half);
            for i in 0..half {
                let (a, b) = (low[i], high[i]);
                low[i] = a * self.cos[i] - b * sin[i];
                high[i] = b * self.cos[i] + a * sin[i];
            }
        }
    }
}

/// Replaces `x` by `x / sqrt(mean(x²) + eps) · weight` in every stretch of `weight.len()` elements, which are
/// whole rows or the heads of rows.
///
/// # Panics
/// Panics if `x` is not whole stretches.
pub fn rms_norm(cpu: &Cpu, x: &mut [f32], weight: &[f32], eps: f32) {
    assert_eq!(x.len() % weight.len(), 0, "x is [n, weight.len()]");
    each_part(cpu, x, weight.len(), |_, x| {
        for x in x.chunks_exact_mut(weight.len()) {
            let scale = rms_scale(x, eps);
            for (x, weight) in x.iter_mut().zip(weight) {
                *x = *x * scale * weight;
            }
        }
    });
}

/// Replaces `x` by `cap · tanh(x / cap)`.
pub fn soft_cap(cpu: &Cpu, x: &mut [f32], cap: f32) {
    each_part(cpu, x, LANES, |_, x| cpu.isa().run(SoftCap { x, cap }));
}

/// The cap of a part of `x`.
struct SoftCap<'a> {
    x: &'a mut [f32],
    cap: f32,
}

impl Kernel for SoftCap<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        for x in self.x.chunks_mut(LANES) {
            let mut lanes = [0.0; LANES];
            lanes[..x.len()].copy_from_slice(x);
            // SAFETY: sixteen elements; the features are the caller's promise.
            unsafe {
                capped(L::load(lanes.as_ptr()), self.cap).store(lanes.as_mut_ptr());
            }
            x.copy_from_slice(&lanes[..x.len()]);
        }
    }
}

/// Adds `y` to `x`, rows of `width`, and calls `edit` with the index of each row and the row while the row is
/// still in the cache.
///
/// # Panics
/// Panics if the lengths differ or are not whole rows.
pub fn add_assign(
    cpu: &Cpu,
    x: &mut [f32],
    y: &[f32],
    width: usize,
    edit: impl Fn(usize, &mut [f32]) + Sync,
) {
    assert_eq!(x.len(), y.len(), "x and y have one shape");
    let _timing = cpu.timing(|| Work { kernel: "residual sum".into(), flops: x.len(), bytes: 0 });
    each_row(cpu, x, width, |row, x| {
        for (x, y) in x.iter_mut().zip(&y[row * width..]) {
            *x += y;
        }
        edit(row, x);
    });
}

/// Calls `edit` with the index of each row of `width` and the row, on all threads.
///
/// # Panics
/// Panics if `x` is not whole rows.
pub fn edit_rows(cpu: &Cpu, x: &mut [f32], width: usize, edit: impl Fn(usize, &mut [f32]) + Sync) {
    let _timing = cpu.timing(|| Work { kernel: "edit".into(), flops: x.len(), bytes: 0 });
    each_row(cpu, x, width, edit);
}

/// Calls `f` with the index of each row and the row.
fn each_row(cpu: &Cpu, x: &mut [f32], width: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    assert!(x.len().is_multiple_of(width), "x is [n_rows, width]");
    each_part(cpu, x, width, |start, x| {
        for (i, x) in x.chunks_exact_mut(width).enumerate() {
            f(start / width + i, x);
        }
    });
}

/// Calls `f` with the start of each part of `x` and the part, which is whole stretches of `stretch` elements.
fn each_part(cpu: &Cpu, x: &mut [f32], stretch: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    let (len, size) = (x.len(), PART.next_multiple_of(stretch));
    let parts = Chunks::new(x, size);
    let part = |part: usize| {
        // SAFETY: each part is taken by the one call that has its number.
        f(part * size, unsafe { parts.get(part) });
    };
    if len < 2 * SERIAL_BELOW {
        (0..len.div_ceil(size)).for_each(part);
    } else {
        cpu.pool().for_each(len.div_ceil(size), part);
    }
}

/// The number of elements below which a pass over rows runs on the calling thread.
pub(crate) const SERIAL_BELOW: usize = 1 << 14;

/// The number of elements that a thread takes in one go.
const PART: usize = 1 << 13;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Isa;
    use crate::plain;

    fn wave(n: usize) -> Vec<f32> {
        (0..n).map(|i| (i as f32).sin()).collect()
    }

    #[test]
    fn rope_at_position_zero_is_the_identity_and_keeps_the_norm_elsewhere() {
        let cpu = Cpu::new(Isa::best(), 2);
        let before = wave(16);
        let mut row = before.clone();
        rope(&cpu, &mut row, 8, 8, &[1.0; 4], &[0.0; 4]);
        assert_eq!(row, before);
        let angles = [0.3f32, 1.1, 2.0, 0.7];
        rope(&cpu, &mut row, 8, 8, &angles.map(f32::cos), &angles.map(f32::sin));
        let norm = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>();
        assert!((norm(&row) - norm(&before)).abs() < 1e-5);
    }

    /// Compares many rows at once with the formula, bit for bit, on every kernel set.
    #[test]
    fn rope_of_many_rows_is_the_formula_for_each() {
        for (n_rows, n_heads, head_dim, rotary_dim) in [
            (0, 2, 8, 8),
            (1, 1, 2, 2),
            (3, 2, 20, 20),
            (3, 2, 20, 6),
            (5, 4, 64, 64),
            (70, 8, 64, 64),
            (70, 8, 64, 48),
        ] {
            let half = rotary_dim / 2;
            let before = wave(n_rows * n_heads * head_dim);
            let angles: Vec<f32> = (0..n_rows * half).map(|i| i as f32 * 0.37).collect();
            let cos: Vec<f32> = angles.iter().map(|x| x.cos()).collect();
            let sin: Vec<f32> = angles.iter().map(|x| x.sin()).collect();
            for isa in Isa::available() {
                let mut x = before.clone();
                rope(&Cpu::new(isa, 2), &mut x, head_dim, rotary_dim, &cos, &sin);
                for (i, got) in x.iter().enumerate() {
                    let (row, in_head) = (i / (n_heads * head_dim), i % head_dim);
                    let at = row * half + in_head % half;
                    let want = if in_head >= rotary_dim {
                        before[i]
                    } else if in_head < half {
                        before[i] * cos[at] - before[i + half] * sin[at]
                    } else {
                        before[i] * cos[at] + before[i - half] * sin[at]
                    };
                    assert_eq!(*got, want, "{isa:?}, {n_rows} rows, element {i}");
                }
            }
        }
    }

    #[test]
    fn every_row_is_summed_up_exactly_and_edited_once_afterwards() {
        let cpu = Cpu::new(Isa::best(), 2);
        for (n_rows, width) in [(0, 8), (1, 1), (1, 2048), (3, 100), (7, PART), (7, PART + 1), (500, 300)] {
            let n = n_rows * width;
            let mut x = wave(n);
            let y: Vec<f32> = (0..n).map(|i| i as f32).collect();
            let double = |row: usize, x: &mut [f32]| x.iter_mut().for_each(|x| *x = 2.0 * *x + row as f32);
            add_assign(&cpu, &mut x, &y, width, double);
            edit_rows(&cpu, &mut x, width, double);
            for (i, x) in x.iter().enumerate() {
                let row = (i / width) as f32;
                assert_eq!(*x, 2.0 * (2.0 * ((i as f32).sin() + y[i]) + row) + row, "{n_rows} x {width}");
            }
        }
    }

    #[test]
    fn norms_of_rows_and_of_heads_equal_their_plain_twin() {
        let cpu = Cpu::new(Isa::best(), 2);
        for (n, width) in [(0, 4), (1, 1), (3, 20), (9, 64), (700, 96)] {
            let weight: Vec<f32> = (0..width).map(|i| (i as f32 * 0.3).cos()).collect();
            let before = wave(n * width);
            let mut x = before.clone();
            rms_norm(&cpu, &mut x, &weight, 1e-6);
            for (got, before) in x.chunks(width).zip(before.chunks(width)) {
                for (got, want) in got.iter().zip(plain::rms_norm(before, &weight, 1e-6)) {
                    assert!((got - want).abs() < 1e-6, "{n} x {width}: {got} {want}");
                }
            }
        }
    }

    #[test]
    fn a_soft_cap_bends_large_numbers_and_keeps_small_ones() {
        let cpu = Cpu::new(Isa::best(), 2);
        for n in [1, 15, 100, 50_000] {
            let before: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin() * 90.0).collect();
            let mut x = before.clone();
            soft_cap(&cpu, &mut x, 30.0);
            for (got, before) in x.iter().zip(before) {
                let want = 30.0 * (f64::from(before) / 30.0).tanh();
                assert!(
                    (f64::from(*got) - want).abs() < 1e-6 * want.abs().max(1.0),
                    "{before}: {got} {want}"
                );
            }
        }
    }
}
