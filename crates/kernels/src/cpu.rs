//! What kernels run on: an instruction set and threads.

use crate::isa::Isa;
use crate::pool::{Pool, available};
use std::sync::Arc;

/// An instruction set, and the threads that share the work. Cloning shares the threads. Results do
/// not depend on how many there are.
#[derive(Clone)]
pub struct Cpu {
    isa: Isa,
    pool: Arc<Pool>,
}

impl Cpu {
    /// `isa` on `n_threads` threads.
    ///
    /// # Panics
    /// If `n_threads` is 0.
    pub fn new(isa: Isa, n_threads: usize) -> Cpu {
        Cpu { isa, pool: Arc::new(Pool::new(n_threads)) }
    }

    /// The best instruction set on every processor that this process may use.
    pub fn best() -> Cpu {
        Cpu::from(Isa::best())
    }

    /// The instruction set.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The number of threads.
    pub fn n_threads(&self) -> usize {
        self.pool.n_threads()
    }

    /// The threads.
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }
}

impl From<Isa> for Cpu {
    fn from(isa: Isa) -> Cpu {
        Cpu::new(isa, available())
    }
}
