//! Measurements of what the machine could do at most, as a yardstick for everything else.

use super::buffer::Buffer;
use super::cpu::Cpu;
use super::shared_mut::Chunks;
use crate::layout::LANES;
use crate::sets::{Kernel, Lanes};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

/// Measures the rate of `f32` multiply-adds that all threads of `cpu` reach together from registers, in
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

/// Measures the rate at which all threads of `cpu` together read memory that no cache holds, in GB/s: the
/// best of three walks through 512 MB of huge pages, with prefetch and four streams per thread.
pub fn read_bandwidth(cpu: &Cpu) -> f64 {
    const LEN: usize = 512 << 20;
    let mut buffer = Buffer::zeroed(LEN);
    let n_threads = cpu.n_threads();
    let part = (LEN / n_threads).next_multiple_of(4 * 64).min(LEN);
    let parts = Chunks::new(&mut buffer, part);
    // SAFETY: each part is written by the one call that has its number.
    cpu.pool().for_each(LEN.div_ceil(part), |i| unsafe { parts.get(i) }.fill(1));
    let one_walk = |_| {
        let start = Instant::now();
        cpu.pool().for_each(n_threads, |i| {
            let bytes = &buffer[(i * part).min(LEN)..((i + 1) * part).min(LEN)];
            let mut sum = 0.0;
            cpu.isa().run(Streams { bytes, sum: &mut sum });
            black_box(sum);
        });
        LEN as f64 / start.elapsed().as_secs_f64() / 1e9
    };
    (0..3).map(one_walk).fold(0.0, f64::max)
}

/// A reading of a slice in four places at once, as products read weights.
struct Streams<'a> {
    bytes: &'a [u8],
    sum: &'a mut f32,
}

impl Kernel for Streams<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        const LINE: usize = 64;
        let stream = self.bytes.len() / 4 / LINE * LINE;
        // SAFETY: the features are the caller's promise; lines lie within the slice.
        unsafe {
            let mut sums = [L::splat(0.0); 4];
            for at in (0..stream).step_by(LINE) {
                for (i, sum) in sums.iter_mut().enumerate() {
                    let p = self.bytes.as_ptr().add(i * stream + at);
                    L::prefetch(p.wrapping_add(1024));
                    *sum = sum.add(L::load(p.cast()));
                }
            }
            let mut total = [0.0f32; LANES];
            for sum in sums {
                sum.add(L::load(total.as_ptr())).store(total.as_mut_ptr());
            }
            *self.sum = total.iter().sum();
        }
    }
}

/// As many independent chains of multiply-adds as a strip has sums.
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

/// Runs `N` chains of multiply-adds and returns the sum of all lanes.
///
/// # Safety
/// The caller runs with the features that `L` needs.
#[inline(always)]
unsafe fn chains<L: Lanes, const N: usize>(rounds: usize) -> f32 {
    // SAFETY: the caller's promise.
    unsafe {
        let (a, b) = (L::splat(black_box(0.999)), L::splat(black_box(1e-3)));
        // A clever compiler would compute lanes that begin alike only once.
        let starts: [[f32; LANES]; N] = black_box(std::array::from_fn(|i| [i as f32; LANES]));
        let mut sums = [b; N];
        for (sum, start) in sums.iter_mut().zip(&starts) {
            *sum = L::load(start.as_ptr());
        }
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = sum.add_product(a, b);
            }
        }
        let mut total = [0.0f32; LANES];
        for sum in sums {
            sum.add(L::load(total.as_ptr())).store(total.as_mut_ptr());
        }
        // Every lane counts, because the compiler leaves out lanes whose sums nobody reads.
        total.iter().sum()
    }
}
