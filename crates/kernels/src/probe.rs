//! What the processor could do at most: the yardstick for everything else.

use crate::cpu::Cpu;
use crate::isa::Kernel;
use crate::lanes::{LANES, Lanes};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

/// The rate of `f32` multiply-adds that all threads of `cpu` reach together from registers, in
/// GFLOP/s: the best of five tries of about ten milliseconds.
pub fn fma_peak(cpu: &Cpu) -> f64 {
    const ROUNDS: usize = 1 << 21;
    let one_try = |_| {
        let flop = AtomicUsize::new(0);
        let start = Instant::now();
        cpu.pool().for_each(cpu.n_threads(), |_| {
            let (mut sum, mut done) = (0.0, 0);
            cpu.isa().run(Chains { rounds: ROUNDS, sum: &mut sum, flop: &mut done });
            black_box(sum);
            flop.fetch_add(done, Relaxed);
        });
        (flop.load(Relaxed) as f64) / start.elapsed().as_secs_f64() / 1e9
    };
    (0..5).map(one_try).fold(0.0, f64::max)
}

/// As many independent chains of multiply-adds as a tile has sums.
struct Chains<'a> {
    rounds: usize,
    sum: &'a mut f32,
    flop: &'a mut usize,
}

impl Kernel for Chains<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: the features are the caller's promise.
        let (sum, n) = unsafe {
            match L::STRIP {
                12 => (chains::<L, 12>(self.rounds), 12),
                6 => (chains::<L, 6>(self.rounds), 6),
                _ => (chains::<L, 4>(self.rounds), 4),
            }
        };
        *self.sum = sum;
        *self.flop = self.rounds * n * LANES * 2;
    }
}

#[inline(always)]
unsafe fn chains<L: Lanes, const N: usize>(rounds: usize) -> f32 {
    // SAFETY: the caller's promise.
    unsafe {
        let (a, b) = (L::splat(black_box(0.999)), L::splat(black_box(1e-3)));
        let mut sums = [b; N];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = sum.add_product(a, b);
            }
        }
        let mut total = [0.0f32; LANES];
        for sum in sums {
            sum.add(L::load(total.as_ptr())).store(total.as_mut_ptr());
        }
        total[0]
    }
}
