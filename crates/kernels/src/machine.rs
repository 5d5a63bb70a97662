//! The machine that kernels run on: its best instruction set, its threads and its memory, and measurements of
//! all three.

mod buffer;
mod cpu;
mod isa;
mod pool;
mod probe;
mod profile;
mod shared_mut;

pub(crate) use buffer::{Buffer, HUGE_PAGE};
pub use cpu::{Cpu, Precision};
pub(crate) use isa::Kind;
pub use isa::{Isa, Surveyed, UnknownIsa};
pub use pool::available;
pub use probe::{fma_peak, read_bandwidth};
pub use profile::Profiled;
pub(crate) use profile::Work;
pub(crate) use shared_mut::Chunks;
