//! Measures the speed of attention: `cargo run --release -p whipstaff-kernels --example attention_speed
//! [THREADS]`
//!
//! Prints GFLOP/s of prefill and GB/s of cache read in decoding at the shapes of a 1B model, per kernel set,
//! and a matrix product of `f32` as a yardstick of what the processor gives. Each number is the best of
//! several runs, since on a shared machine the other runs say more about the neighbours.

use std::time::Instant;
use whipstaff_kernels::{
    Attention, BLOCK_LEN, Context, Cpu, Input, Isa, KvBlock, KvShape, Matrix, Packed, Product, attention,
    available, linear,
};

/// Sequences of equal length, of which the rows are the last positions.
struct Rows {
    blocks: Vec<Vec<KvBlock>>,
    len: usize,
    rows_each: usize,
}

impl Context for Rows {
    fn seen(&self, row: usize) -> usize {
        self.len - self.rows_each + row % self.rows_each + 1
    }

    fn block(&self, row: usize, index: usize) -> &KvBlock {
        &self.blocks[row / self.rows_each][index]
    }
}

fn main() {
    let n_threads = std::env::args().nth(1).map_or(available(), |n| n.parse().expect("a number of threads"));
    for isa in Isa::available() {
        if isa.name() == "plain" {
            continue; // it takes minutes
        }
        let cpu = Cpu::new(isa, n_threads);
        product(&cpu);
        prefill(&cpu, 32, 8, 64, 512);
        prefill(&cpu, 32, 32, 64, 512);
        prefill(&cpu, 24, 8, 128, 512);
        prefill(&cpu, 32, 8, 64, 64);
        prefill(&cpu, 32, 8, 64, 2048);
        decode(&cpu, 32, 8, 64, 64, 1);
        decode(&cpu, 32, 8, 64, 4096, 1);
        decode(&cpu, 32, 32, 64, 4096, 1);
        decode(&cpu, 32, 1, 128, 4096, 1);
        decode(&cpu, 32, 8, 64, 256, 16);
    }
}

fn product(cpu: &Cpu) {
    let (n_rows, n) = (96, 1024);
    let weight = Packed::new(cpu, &Matrix::from_f32(&vec![0.5; n * n], n, n));
    let (mut x, mut out) = (Input::default(), vec![0.0; n_rows * n]);
    x.fill(cpu, &vec![0.5; n_rows * n], n);
    let best = best(|| linear(cpu, &x, [Product { weight: &weight, bias: None, out: &mut out }]));
    let gflops = 2.0 * (n_rows * n * n) as f64 / best / 1e9;
    println!("{:7} product {gflops:46.1} GFLOP/s", cpu.isa().name());
}

fn prefill(cpu: &Cpu, n_heads: usize, n_kv_heads: usize, head_dim: usize, len: usize) {
    let batch = Batch { len, rows_each: len, n_sequences: 1 };
    let seconds = time(cpu, n_heads, n_kv_heads, head_dim, batch);
    let gflops = 4.0 * (len * (len + 1) / 2 * n_heads * head_dim) as f64 / seconds / 1e9;
    let name = cpu.isa().name();
    println!(
        "{name:7} prefill {n_heads:2}/{n_kv_heads:2} x {head_dim:3}, {len:4} rows {gflops:26.1} GFLOP/s"
    );
}

fn decode(cpu: &Cpu, n_heads: usize, n_kv_heads: usize, head_dim: usize, len: usize, n_sequences: usize) {
    let batch = Batch { len, rows_each: 1, n_sequences };
    let seconds = time(cpu, n_heads, n_kv_heads, head_dim, batch);
    let gbs = 8.0 * (n_sequences * len * n_kv_heads * head_dim) as f64 / seconds / 1e9;
    let (name, micros) = (cpu.isa().name(), seconds * 1e6);
    println!(
        "{name:7} decode  {n_heads:2}/{n_kv_heads:2} x {head_dim:3}, {len:4} seen by {n_sequences:2} {micros:9.1} µs {gbs:6.1} GB/s"
    );
}

/// The size of a batch: `n_sequences` of `len` positions, of each of which the last `rows_each` are rows.
struct Batch {
    len: usize,
    rows_each: usize,
    n_sequences: usize,
}

/// Returns the seconds of one call. The layers take turns, so that no cache holds what a call reads.
fn time(cpu: &Cpu, n_heads: usize, n_kv_heads: usize, head_dim: usize, batch: Batch) -> f64 {
    let Batch { len, rows_each, n_sequences } = batch;
    let kv = KvShape { n_layers: 8, n_kv_heads, head_dim };
    let scale = 1.0 / (head_dim as f32).sqrt();
    let shape = Attention { n_heads, n_kv_heads, head_dim, scale, window: None, soft_cap: None };
    let block = filled_block(kv);
    let sequence = || (0..len.div_ceil(BLOCK_LEN)).map(|_| block.clone()).collect();
    let rows = Rows { blocks: (0..n_sequences).map(|_| sequence()).collect(), len, rows_each };
    let n = n_sequences * rows_each * n_heads * head_dim;
    let q: Vec<f32> = (0..n).map(|i| (i as f32 * 0.1).cos()).collect();
    let mut out = vec![0.0; n];
    let mut layer = 0;
    best(|| {
        layer = (layer + 1) % kv.n_layers;
        attention(cpu, shape, layer, &q, &rows, &mut out);
    })
}

/// Returns a block whose every key and value is a wave.
fn filled_block(kv: KvShape) -> KvBlock {
    let mut block = KvBlock::new(kv);
    for layer in 0..kv.n_layers {
        for position in 0..BLOCK_LEN {
            let wave = |step: f32| (0..kv.width()).map(move |i| ((i + position) as f32 * step).sin());
            let (key, value): (Vec<f32>, Vec<f32>) = (wave(0.3).collect(), wave(0.7).collect());
            block.write(layer, position, &key, &value);
        }
    }
    block
}

/// Returns the seconds of the fastest run within a quarter of a second.
fn best(mut run: impl FnMut()) -> f64 {
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    while begin.elapsed().as_millis() < 250 {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}
