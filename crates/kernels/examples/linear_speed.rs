//! Measures the speed of the matrix product: `cargo run --release -p whipstaff-kernels --example
//! linear_speed`
//!
//! Prints GFLOP/s and GB/s of weights at a shape of a 1B model, per kernel set, with 256 MB of weights so
//! that no cache holds them. Each number is the best of several runs, since on a shared machine the other
//! runs say more about the neighbours.

use std::time::Instant;
use whipstaff_kernels::{Bytes, Cpu, Dtype, Input, Isa, Matrix, Packed, Product, available, linear};

fn main() {
    let (n_out, n_in) = (65536, 2048);
    let bytes = Bytes::from(vec![0x3cu8; n_out * n_in * 2]);
    let matrix = Matrix::new(&bytes, 0..bytes.len(), Dtype::Bf16, n_out, n_in).expect("sizes fit");
    for isa in Isa::available() {
        if isa.name() == "plain" {
            continue; // it takes minutes
        }
        let cpu = Cpu::new(isa, available());
        let weight = Packed::new(&cpu, &matrix);
        for n_rows in [1, 2, 3, 4, 6, 12, 16, 512] {
            let mut x = Input::default();
            x.fill(&cpu, &vec![0.5f32; n_rows * n_in], n_in);
            let mut out = vec![0.0f32; n_rows * n_out];
            let best = (0..if n_rows > 100 { 3 } else { 10 })
                .map(|_| {
                    let start = Instant::now();
                    linear(&cpu, &x, [Product { weight: &weight, bias: None, out: &mut out }]);
                    start.elapsed().as_secs_f64()
                })
                .fold(f64::INFINITY, f64::min);
            let flop = 2.0 * (n_rows * n_out * n_in) as f64;
            println!(
                "{:7} {n_rows:4} rows {:8.1} GFLOP/s {:6.1} GB/s",
                isa.name(),
                flop / best / 1e9,
                weight.n_bytes() as f64 / best / 1e9
            );
        }
    }
}
