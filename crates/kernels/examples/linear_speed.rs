//! How fast is the matrix product? `cargo run --release -p whipstaff-kernels --example linear_speed`
//!
//! Prints GFLOP/s, and for one row GB/s of weights, at the shapes of a 1B model, per kernel set.
//! The best of several runs: on a shared machine the others say more about the neighbours.

use std::time::Instant;
use whipstaff_kernels::{Bytes, Dtype, Isa, Matrix, linear};

fn main() {
    let (n_out, n_in) = (8192, 2048);
    let bytes = Bytes::from(vec![0x3cu8; n_out * n_in * 2]);
    let weights = Matrix::new(&bytes, 0..bytes.len(), Dtype::Bf16, n_out, n_in).expect("sizes fit");
    for isa in Isa::available() {
        for n_rows in [1, 3, 4, 16, 64, 256] {
            let x = vec![0.5f32; n_rows * n_in];
            let mut out = vec![0.0f32; n_rows * n_out];
            let n_runs = if isa.name() == "plain" { 1 } else { 5 };
            let best = (0..n_runs)
                .map(|_| {
                    let start = Instant::now();
                    linear(isa, &x, &weights, None, &mut out);
                    start.elapsed().as_secs_f64()
                })
                .fold(f64::INFINITY, f64::min);
            let flop = 2.0 * (n_rows * n_out * n_in) as f64;
            let read = (n_out * n_in * 2) as f64;
            println!(
                "{:7} {n_rows:4} rows {:8.1} GFLOP/s {:6.1} GB/s",
                isa.name(),
                flop / best / 1e9,
                read / best / 1e9
            );
        }
    }
}
