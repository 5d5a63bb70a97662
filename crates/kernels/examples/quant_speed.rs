//! Measures the speed of products with quantised weights:
//! `cargo run --release -p whipstaff-kernels --example quant_speed [TYPE…]`
//!
//! Prints GB/s of packed weights and GOP/s (two per weight and row) per type and number of rows, on one
//! thread. The weights are many matrices of 2048 x 2048, together 96 MB, so that no cache holds them. Each
//! number is the best of all matrices: few rows take less than a millisecond, so that on a shared machine
//! some are not disturbed by the neighbours.

use std::time::Instant;
use whipstaff_kernels::{Bytes, Cpu, Dtype, Input, Isa, Matrix, Packed, Product, linear};

const N: usize = 2048;

fn main() {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let cpu = Cpu::new(Isa::best(), 1);
    println!("{}, one thread", cpu.isa().name());
    let is_wanted = |dtype: &Dtype| names.is_empty() || names.iter().any(|name| name == dtype.name());
    for dtype in Dtype::BLOCKS.into_iter().filter(is_wanted) {
        let n_bytes = N * dtype.row_bytes(N).expect("whole blocks");
        // The bytes are small, so that as factors of blocks they are small numbers.
        let bytes = Bytes::from((0..n_bytes).map(|i| (i * 7 + i / 509) as u8 & 0x3f).collect::<Vec<_>>());
        let matrix = Matrix::new(&bytes, 0..bytes.len(), dtype, N, N).expect("sizes fit");
        let (mut weights, mut packing) = (Vec::new(), f64::INFINITY);
        while weights.len() * n_bytes < 96 << 20 {
            let start = Instant::now();
            weights.push(Packed::new(&cpu, &matrix));
            packing = packing.min(start.elapsed().as_secs_f64());
        }
        let size = weights[0].n_bytes() as f64 / 1e9;
        print!("{:5} packing {:4.2} GB/s", dtype.name(), size / packing);
        let mut input = Input::default();
        for n_rows in [1, 2, 3, 4, 6, 16, 64] {
            let (mut out, x) = (vec![0.0; n_rows * N], vec![0.5; n_rows * N]);
            input.fill(&cpu, &x, N);
            let mut best = f64::INFINITY;
            for weight in weights.iter().cycle().take(10.max(200 / n_rows)) {
                let start = Instant::now();
                linear(&cpu, &input, [Product { weight, bias: None, out: &mut out }]);
                best = best.min(start.elapsed().as_secs_f64());
            }
            print!(" | {n_rows}: {:4.1} GB/s {:3.0}", size / best, 2e-9 * (n_rows * N * N) as f64 / best);
        }
        println!(" GOP/s");
    }
}
