//! What happens to one row at a time between the products: rope and residual sum.

use crate::cpu::Cpu;
use crate::input::SERIAL_BELOW;
use crate::isa::Kernel;
use crate::lanes::Lanes;
use crate::profile::Work;
use crate::shared_mut::Chunks;

/// Rotates every head of every row by the row's position (Su et al. 2021), in the half-split layout
/// of Hugging Face checkpoints: element `i` pairs with element `i + head_dim / 2`.
///
/// `x` is `[n_rows, n_heads * head_dim]`; `cos` and `sin` are `[n_rows, head_dim / 2]`.
///
/// # Panics
/// If the lengths do not fit.
pub fn rope(cpu: &Cpu, x: &mut [f32], head_dim: usize, cos: &[f32], sin: &[f32]) {
    let half = head_dim / 2;
    assert_eq!(cos.len(), sin.len(), "cos and sin are [n_rows, head_dim / 2]");
    assert_eq!(cos.len() % half, 0, "cos and sin are [n_rows, head_dim / 2]");
    let n_rows = cos.len() / half;
    assert_eq!(x.len() % (n_rows * head_dim).max(1), 0, "x is [n_rows, n_heads * head_dim]");
    let len = x.len();
    let rows = Chunks::new(x, (len / n_rows.max(1)).max(1));
    let _timing = cpu.timing(|| Work { kernel: "rope".into(), flops: 3 * len, bytes: 0 });
    let row = |row: usize| {
        // SAFETY: each row is taken by the one call that has its number.
        let x = unsafe { rows.get(row) };
        let (cos, sin) = (&cos[row * half..][..half], &sin[row * half..][..half]);
        cpu.isa().run(Rotate { x, cos, sin });
    };
    if len < SERIAL_BELOW {
        (0..n_rows).for_each(row);
    } else {
        cpu.pool().for_each(n_rows, row);
    }
}

/// Rotates the heads of one row.
struct Rotate<'a> {
    x: &'a mut [f32],
    cos: &'a [f32],
    sin: &'a [f32],
}

impl Kernel for Rotate<'_> {
    /// A loop that the compiler vectorises for each instruction set.
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let half = self.cos.len();
        let sin = &self.sin[..half];
        for head in self.x.chunks_exact_mut(2 * half) {
            let (low, high) = head.split_at_mut(half);
            for i in 0..half {
                let (a, b) = (low[i], high[i]);
                low[i] = a * self.cos[i] - b * sin[i];
                high[i] = b * self.cos[i] + a * sin[i];
            }
        }
    }
}

/// `x ← x + y`.
///
/// # Panics
/// If the lengths differ.
pub fn add_assign(cpu: &Cpu, x: &mut [f32], y: &[f32]) {
    assert_eq!(x.len(), y.len(), "x and y have one shape");
    let _timing = cpu.timing(|| Work { kernel: "residual sum".into(), flops: x.len(), bytes: 0 });
    let n = x.len().div_ceil(PART);
    let parts = Chunks::new(x, PART);
    let part = |part: usize| {
        // SAFETY: each part is taken by the one call that has its number.
        let x = unsafe { parts.get(part) };
        for (x, y) in x.iter_mut().zip(&y[part * PART..]) {
            *x += y;
        }
    };
    if y.len() < 2 * SERIAL_BELOW {
        (0..n).for_each(part);
    } else {
        cpu.pool().for_each(n, part);
    }
}

/// Elements that a thread adds in one go.
const PART: usize = 1 << 13;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    fn wave(n: usize) -> Vec<f32> {
        (0..n).map(|i| (i as f32).sin()).collect()
    }

    #[test]
    fn rope_at_position_zero_is_the_identity_and_keeps_the_norm_elsewhere() {
        let cpu = Cpu::new(Isa::best(), 2);
        let before = wave(16);
        let mut row = before.clone();
        rope(&cpu, &mut row, 8, &[1.0; 4], &[0.0; 4]);
        assert_eq!(row, before);
        let angles = [0.3f32, 1.1, 2.0, 0.7];
        rope(&cpu, &mut row, 8, &angles.map(f32::cos), &angles.map(f32::sin));
        let norm = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>();
        assert!((norm(&row) - norm(&before)).abs() < 1e-5);
    }

    /// Many rows at once against the formula, bit for bit, on every kernel set.
    #[test]
    fn rope_of_many_rows_is_the_formula_for_each() {
        for (n_rows, n_heads, head_dim) in [(0, 2, 8), (1, 1, 2), (3, 2, 20), (5, 4, 64), (70, 8, 64)] {
            let half = head_dim / 2;
            let before = wave(n_rows * n_heads * head_dim);
            let angles: Vec<f32> = (0..n_rows * half).map(|i| i as f32 * 0.37).collect();
            let cos: Vec<f32> = angles.iter().map(|x| x.cos()).collect();
            let sin: Vec<f32> = angles.iter().map(|x| x.sin()).collect();
            for isa in Isa::available() {
                let mut x = before.clone();
                rope(&Cpu::new(isa, 2), &mut x, head_dim, &cos, &sin);
                for (i, got) in x.iter().enumerate() {
                    let (row, in_head) = (i / (n_heads * head_dim), i % head_dim);
                    let at = row * half + in_head % half;
                    let want = if in_head < half {
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
    fn sums_of_any_length_are_exact() {
        let cpu = Cpu::new(Isa::best(), 2);
        for n in [0, 1, 100, PART, PART + 1, 5 * PART + 3] {
            let mut x = wave(n);
            let y: Vec<f32> = (0..n).map(|i| i as f32).collect();
            add_assign(&cpu, &mut x, &y);
            assert!(x.iter().zip(&y).enumerate().all(|(i, (x, y))| *x == (i as f32).sin() + y));
        }
    }
}
