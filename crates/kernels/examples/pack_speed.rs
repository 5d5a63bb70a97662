//! Measures how fast weights are packed, and how fast a product of one row reads them:
//! `cargo run --release -p whipstaff-kernels --example pack_speed`
//!
//! The product reads weights from memory of their own and weights mapped from a file, in alternation.

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::time::Instant;
use whipstaff_kernels::{Bytes, Cpu, Dtype, Input, Matrix, Packed, Packer, Product, linear};

const N_OUT: usize = 131_072;
const N_IN: usize = 2_048;

fn main() {
    let cpu = Cpu::best();
    println!(
        "{N_OUT} x {N_IN}, {} threads: GB/s packed, read from memory, read from a mapped file",
        cpu.n_threads()
    );
    for dtype in [Dtype::Bf16, Dtype::Q8_0, Dtype::Q4K, Dtype::Q6K] {
        let bytes = Bytes::from(vec![1; N_OUT * dtype.row_bytes(N_IN).expect("whole blocks")]);
        let matrix = Matrix::new(&bytes, 0..bytes.len(), dtype, N_OUT, N_IN).expect("it fits");
        let packing = median(5, || drop(black_box(Packed::new(&cpu, &matrix))));

        let owned = Packed::new(&cpu, &matrix);
        let path = std::env::temp_dir().join("pack-speed");
        let mut file =
            File::options().read(true).write(true).create(true).truncate(true).open(&path).expect("a file");
        Packer::new().pack(&cpu, &matrix, |piece| file.write_all(piece)).expect("room");
        let mapped = Bytes::map_part(&file, 0, owned.n_bytes()).expect("a mapping");
        let mapped = Packed::from_bytes(&cpu, mapped, dtype, N_OUT, N_IN).expect("as packed");
        std::fs::remove_file(path).expect("it is there");

        let mut x = Input::default();
        x.fill(&cpu, &[0.5; N_IN], N_IN);
        let mut out = vec![0.0; N_OUT];
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..20 {
            for (weight, times) in [&owned, &mapped].into_iter().zip(&mut times) {
                times.push(seconds(|| linear(&cpu, &x, [Product { weight, bias: None, out: &mut out }])));
            }
        }
        let rate = |seconds: f64| owned.n_bytes() as f64 / 1e9 / seconds;
        let [memory, file] = times.map(|times| rate(middle(times)));
        println!("{:6} {:6.2} {memory:6.2} {file:6.2}", dtype.name(), rate(packing));
    }
}

/// Returns the seconds of one run.
fn seconds(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_secs_f64()
}

/// Returns the median seconds of `n` runs.
fn median(n: usize, mut run: impl FnMut()) -> f64 {
    middle((0..n).map(|_| seconds(&mut run)).collect())
}

/// Returns the middle one of some times.
fn middle(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
