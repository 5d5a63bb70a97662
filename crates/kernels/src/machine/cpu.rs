//! The pair that kernels run on: an instruction set and threads.

use super::isa::Isa;
use super::pool::{Pool, available};
use super::profile::{Profile, Profiled, Timing, Work};
use super::shared_mut::Chunks;
use std::sync::Arc;

/// The exactness of products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Products as exact as is fast. Inputs of quantised weights are rounded to 8 bits per block and, on sets
    /// that multiply `bf16` with `bf16`, inputs of `bf16` weights to `bf16`. Sums are `f32` or exact
    /// integers.
    #[default]
    Fast,
    /// Products of `f32` inputs with the exact values that weights stand for. This is slower, and for
    /// research.
    F32,
}

/// An instruction set, and the threads that share the work. Clones share the threads. Results do not depend
/// on the number of threads.
#[derive(Clone)]
pub struct Cpu {
    isa: Isa,
    precision: Precision,
    pool: Arc<Pool>,
    profile: Option<Arc<Profile>>,
}

impl Cpu {
    /// Makes a `Cpu` of `isa` on `n_threads` threads.
    ///
    /// # Panics
    /// Panics if `n_threads` is 0.
    pub fn new(isa: Isa, n_threads: usize) -> Cpu {
        Cpu { isa, precision: Precision::Fast, pool: Arc::new(Pool::new(n_threads)), profile: None }
    }

    /// Makes a `Cpu` of the best instruction set on every processor that this process may use.
    pub fn best() -> Cpu {
        Cpu::from(Isa::best())
    }

    /// Returns this `Cpu` at `precision`, which weights take on when they are packed.
    pub fn with_precision(self, precision: Precision) -> Cpu {
        Cpu { precision, ..self }
    }

    /// Returns this `Cpu` with an account of the time that kernels take.
    pub fn with_profile(self) -> Cpu {
        Cpu { profile: Some(Arc::default()), ..self }
    }

    /// Returns what kernels have done since the last call, the most time first. Without [`Cpu::with_profile`]
    /// there is nothing to return.
    pub fn take_profile(&self) -> Vec<Profiled> {
        self.profile.as_ref().map_or_else(Vec::new, |profile| profile.take())
    }

    /// Counts the time until the returned value is dropped, if there is a profile.
    pub(crate) fn timing(&self, work: impl FnOnce() -> Work) -> Option<Timing<'_>> {
        self.profile.as_ref().map(|profile| Timing::new(profile, work()))
    }

    /// Returns the exactness of products.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Returns the instruction set.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Returns the number of threads.
    pub fn n_threads(&self) -> usize {
        self.pool.n_threads()
    }

    /// Calls `each` with the index of every item and the item, on all threads. Each item should be worth a
    /// few microseconds of work.
    pub fn for_each_mut<T: Send>(&self, items: &mut [T], each: impl Fn(usize, &mut T) + Sync) {
        let n = items.len();
        let items = Chunks::new(items, 1);
        // SAFETY: each item is taken by the one call that has its number.
        let call = |i: usize| unsafe { items.get(i) }.iter_mut().for_each(|item| each(i, item));
        if n < 2 { (0..n).for_each(call) } else { self.pool.for_each(n, call) }
    }

    /// Returns the threads.
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }
}

impl From<Isa> for Cpu {
    fn from(isa: Isa) -> Cpu {
        Cpu::new(isa, available())
    }
}
