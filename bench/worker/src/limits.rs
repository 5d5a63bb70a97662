//! What the machine could do at most: the yardstick beside the peers.

use serde_json::{Value, json};
use whipstaff_engine::{Cpu, Isa, fma_peak, read_bandwidth};

/// Read bandwidth in GB/s and the peak of `f32` multiply-adds in GFLOP/s.
pub(crate) fn measure(threads: usize) -> Value {
    let cpu = Cpu::new(Isa::best(), threads);
    json!({ "read_gb_s": read_bandwidth(&cpu), "fma_gflop_s": fma_peak(&cpu), "threads": threads })
}
