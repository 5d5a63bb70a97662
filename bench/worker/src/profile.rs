//! Where the time goes: per kernel, its share and how near it is to what the machine can do.

use crate::Failure;
use crate::engine::Loaded;
use std::time::Instant;
use whipstaff_engine::{fma_peak, read_bandwidth};

/// Prints the profiles of a prefill of 512 tokens and of decoding one sequence and sixteen.
pub(crate) fn print(loaded: &Loaded) -> Result<(), Failure> {
    let limits = (fma_peak(loaded.cpu()), read_bandwidth(loaded.cpu()));
    println!("limits: {:.0} GFLOP/s of f32 multiply-adds, {:.1} GB/s read\n", limits.0, limits.1);
    let ids: Vec<u32> = (300..812).collect();
    loaded.prefill(&ids)?; // the first run grows the buffers
    table(loaded, limits, "prefill of 512 tokens", || loaded.prefill(&ids).map(drop))?;
    for n in [1, 16] {
        let decode = || loaded.decode(&ids[..4], 24, &[], &vec![Vec::new(); n]).map(drop);
        decode()?;
        table(loaded, limits, &format!("24 tokens of {n} sequences"), decode)?;
    }
    Ok(())
}

fn table(
    loaded: &Loaded,
    (gflops, gbs): (f64, f64),
    what: &str,
    run: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    loaded.cpu().take_profile();
    let start = Instant::now();
    run()?;
    let all = start.elapsed().as_secs_f64();
    println!("{what}: {all:.3} s");
    println!(
        "  {:32} {:>6} {:>7} {:>9} {:>7} {:>8} {:>7}",
        "kernel", "calls", "time", "GFLOP/s", "", "GB/s", ""
    );
    let mut rest = all;
    for it in loaded.cpu().take_profile() {
        rest -= it.seconds;
        let (flops, bytes) = (it.flops / 1e9 / it.seconds, it.bytes / 1e9 / it.seconds);
        println!(
            "  {:32} {:>6} {:>6.1}% {flops:>9.1} {:>6.0}% {bytes:>8.1} {:>6.0}%",
            it.kernel,
            it.calls,
            100.0 * it.seconds / all,
            100.0 * flops / gflops,
            100.0 * bytes / gbs
        );
    }
    println!("  {:32} {:>6} {:>6.1}%\n", "everything else", "", 100.0 * rest / all);
    Ok(())
}
