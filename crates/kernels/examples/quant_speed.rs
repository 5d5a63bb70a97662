//! How fast are products with quantised weights?
//! `cargo run --release -p whipstaff-kernels --example quant_speed [TYPE…]`
//!
//! Prints GB/s of packed weights and GOP/s (two per weight and row) per type and number of rows, on
//! one thread, with 96 MB of weights so that no cache holds them; quantising the activations is part
//! of it. The best of several runs: on a shared machine the others say more about the neighbours.

use std::time::Instant;
use whipstaff_kernels::{Bytes, Cpu, Dtype, Input, Isa, Matrix, Packed, Product, linear};

const N_IN: usize = 2048;

fn main() {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let cpu = Cpu::new(Isa::best(), 1);
    println!("{}, one thread", cpu.isa().name());
    for dtype in
        Dtype::BLOCKS.into_iter().filter(|it| names.is_empty() || names.iter().any(|name| name == it.name()))
    {
        let row_bytes = dtype.row_bytes(N_IN).expect("whole blocks");
        let n_out = (96 << 20) / row_bytes;
        // Small bytes: as factors of blocks they are small numbers.
        let bytes =
            Bytes::from((0..n_out * row_bytes).map(|i| (i * 7 + i / 509) as u8 & 0x3f).collect::<Vec<_>>());
        let matrix = Matrix::new(&bytes, 0..bytes.len(), dtype, n_out, N_IN).expect("sizes fit");
        let start = Instant::now();
        let weight = Packed::new(&cpu, &matrix);
        let packing = start.elapsed().as_secs_f64();
        let size = weight.n_bytes() as f64 / 1e9;
        print!("{:5} packed {:4.1} GB/s", dtype.name(), size / packing);
        for n_rows in [1, 2, 3, 4, 6, 16, 64] {
            let mut out = vec![0.0; n_rows * n_out];
            let mut input = Input::default();
            let x = vec![0.5; n_rows * N_IN];
            let best = (0..if n_rows < 16 { 10 } else { 3 })
                .map(|_| {
                    input.fill(&cpu, &x, N_IN);
                    let start = Instant::now();
                    linear(&cpu, &input, [Product { weight: &weight, bias: None, out: &mut out }]);
                    start.elapsed().as_secs_f64()
                })
                .fold(f64::INFINITY, f64::min);
            let gop = 2.0 * (n_rows * n_out * N_IN) as f64 / 1e9;
            print!(" | {n_rows}: {:4.1} GB/s {:3.0} GOP/s", size / best, gop / best);
        }
        println!();
    }
}
