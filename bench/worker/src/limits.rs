//! What the machine could do at most: the yardstick beside the peers.

use serde_json::{Value, json};
use std::hint::black_box;
use std::time::Instant;
use whipstaff_engine::{Cpu, Isa, fma_peak};

/// Far beyond any cache, so that every pass comes from memory: 1 GiB of `u64`.
const WORDS: usize = 1 << 27;

/// Places that each thread reads from at once. One stream leaves the memory bus idle between pages.
const STREAMS: usize = 4;

const PASSES: usize = 7;

/// Read bandwidth in GB/s and the peak of `f32` multiply-adds in GFLOP/s.
pub(crate) fn measure(threads: usize) -> Value {
    json!({ "read_gb_s": read_bandwidth(threads), "fma_gflop_s": fma_peak(&Cpu::new(Isa::best(), threads)), "threads": threads })
}

/// The median over passes of reading the buffer by plain loads, all threads side by side.
fn read_bandwidth(threads: usize) -> f64 {
    let words = vec![1u64; WORDS];
    let share = WORDS / threads.max(1);
    let mut rates: Vec<f64> = (0..PASSES)
        .map(|_| {
            let start = Instant::now();
            std::thread::scope(|scope| {
                for part in words.chunks_exact(share) {
                    scope.spawn(|| black_box(sum(black_box(part))));
                }
            });
            (share * threads * size_of::<u64>()) as f64 / start.elapsed().as_secs_f64() / 1e9
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    rates[PASSES / 2]
}

/// The sum of all words, read in [`STREAMS`] places at once, a cache line from each in turn.
fn sum(words: &[u64]) -> u64 {
    const LINE: usize = 8;
    let stream = words.len() / STREAMS / LINE * LINE;
    let streams: [&[u64]; STREAMS] = std::array::from_fn(|i| &words[i * stream..][..stream]);
    let mut sums = [[0u64; LINE]; STREAMS];
    for at in (0..stream).step_by(LINE) {
        for (sums, stream) in sums.iter_mut().zip(streams) {
            for (sum, word) in sums.iter_mut().zip(&stream[at..at + LINE]) {
                *sum = sum.wrapping_add(*word);
            }
        }
    }
    sums.iter().flatten().fold(0, |total, sum| total.wrapping_add(*sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_every_stream_is_read_once() {
        let words: Vec<u64> = (0..4096).collect();
        assert_eq!(sum(&words), 4095 * 4096 / 2);
    }
}
