//! The logarithm of a sum of exponentials, which turns logits into log-probabilities.

use crate::layout::LANES;
use crate::machine::{Cpu, Work};
use crate::sets::{Kernel, Lanes};

/// The number of exponentials that are added up in `f32`, lane by lane, before `f64` takes the sums.
const PART: usize = 16 * LANES;

/// Returns `ln Σᵢ exp(x[r, i])` of every row of `x`, `[n_rows, width]`. A row's result depends on the row
/// alone, and is NaN where the row holds one.
///
/// # Panics
/// Panics if `x` is not whole rows, or if a row is empty.
pub fn log_sum_exp(cpu: &Cpu, x: &[f32], width: usize) -> Vec<f64> {
    assert!(width > 0 && x.len().is_multiple_of(width), "x is [n_rows, width]");
    let mut out = vec![0.0; x.len() / width];
    let _timing =
        cpu.timing(|| Work { kernel: "log sum of exponentials".into(), flops: 20 * x.len(), bytes: 0 });
    cpu.for_each_mut(&mut out, |row, out| {
        cpu.isa().run(LogSumExp { x: &x[row * width..][..width], out });
    });
    out
}

/// The logarithm of the sum of exponentials of one row.
struct LogSumExp<'a> {
    x: &'a [f32],
    out: &'a mut f64,
}

impl Kernel for LogSumExp<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let (groups, rest) = self.x.as_chunks::<LANES>();
        let mut last = [f32::NEG_INFINITY; LANES];
        last[..rest.len()].copy_from_slice(rest);
        // SAFETY: the caller's promise.
        unsafe {
            let max = largest::<L>(groups, &last);
            let mut total = 0.0;
            for part in groups.chunks(PART / LANES) {
                total += sum_exp::<L>(part, max);
            }
            if !rest.is_empty() {
                total += sum_exp::<L>(&[last], max);
            }
            *self.out = f64::from(max) + total.ln();
        }
    }
}

/// Returns the largest number, passing over NaN.
///
/// # Safety
/// The caller runs with the features that `L` needs.
#[inline(always)]
unsafe fn largest<L: Lanes>(groups: &[[f32; LANES]], last: &[f32; LANES]) -> f32 {
    // SAFETY: the caller's promise; every group is sixteen floats.
    unsafe {
        // `max` takes the second of two where one is NaN.
        let mut max = L::load(last.as_ptr()).max(L::splat(f32::NEG_INFINITY));
        for group in groups {
            max = L::load(group.as_ptr()).max(max);
        }
        max.largest()
    }
}

/// Returns `Σ exp(x - max)` of at most [`PART`] elements.
///
/// # Safety
/// The caller runs with the features that `L` needs.
#[inline(always)]
unsafe fn sum_exp<L: Lanes>(groups: &[[f32; LANES]], max: f32) -> f64 {
    let mut sums = [0.0f32; LANES];
    // SAFETY: the caller's promise; every group is sixteen floats.
    unsafe {
        let mut sum = L::splat(0.0);
        for group in groups {
            sum = sum.add(L::load(group.as_ptr()).sub(L::splat(max)).exp());
        }
        sum.store(sums.as_mut_ptr());
    }
    let mut total = 0.0;
    for sum in sums {
        total += f64::from(sum);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Isa;

    /// Returns the definition in `f64`.
    fn plain(x: &[f32]) -> f64 {
        let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        f64::from(max) + x.iter().map(|x| (f64::from(*x) - f64::from(max)).exp()).sum::<f64>().ln()
    }

    /// The exponentials are right to 2.4e-7, and so is their sum.
    #[test]
    fn log_sums_equal_the_definition_and_have_the_same_bits_on_every_set() {
        for width in [1, 5, 16, 17, 255, 256, 3072, 5001] {
            let x: Vec<f32> = (0..3 * width).map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.3).collect();
            let all: Vec<Vec<f64>> =
                Isa::available().into_iter().map(|isa| log_sum_exp(&Cpu::new(isa, 2), &x, width)).collect();
            for (row, got) in x.chunks(width).zip(&all[0]) {
                assert!((got - plain(row)).abs() < 1e-6, "{width}: {got}, wanted {}", plain(row));
            }
            assert!(all.iter().all(|other| *other == all[0]), "{width}");
        }
    }

    #[test]
    fn extremes_are_what_they_should_be() {
        let check = |x: &[f32], want: f64| {
            let got = log_sum_exp(&Cpu::new(Isa::best(), 1), x, x.len())[0];
            assert!((got - want).abs() < 1e-6, "{x:?}: {got}");
        };
        check(&[0.0], 0.0);
        check(&[1e30, 0.0], 1e30f32.into());
        check(&[f32::NEG_INFINITY, 2.0], 2.0);
        check(&[-1000.0, -1000.0], -1000.0 + 2f64.ln());
        assert!(log_sum_exp(&Cpu::new(Isa::best(), 1), &[f32::NAN, 1.0], 2)[0].is_nan());
    }
}
