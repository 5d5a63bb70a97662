//! What kernels run on: an instruction set and threads.

use super::isa::Isa;
use super::pool::{Pool, available};
use super::profile::{Profile, Profiled, Timing, Work};
use super::shared_mut::Chunks;
use std::sync::Arc;

/// How exactly products are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// As exactly as is fast: inputs of quantised weights are rounded to 8 bits per block, and where
    /// there are matrix units, inputs of `bf16` weights to `bf16`. Sums are `f32` or exact integers.
    #[default]
    Fast,
    /// Inputs stay `f32` and weights count as what they stand for: for research, and slower.
    F32,
}

/// An instruction set, and the threads that share the work. Cloning shares the threads. Results do
/// not depend on how many there are.
#[derive(Clone)]
pub struct Cpu {
    isa: Isa,
    precision: Precision,
    pool: Arc<Pool>,
    profile: Option<Arc<Profile>>,
}

impl Cpu {
    /// `isa` on `n_threads` threads.
    ///
    /// # Panics
    /// If `n_threads` is 0.
    pub fn new(isa: Isa, n_threads: usize) -> Cpu {
        Cpu { isa, precision: Precision::Fast, pool: Arc::new(Pool::new(n_threads)), profile: None }
    }

    /// The best instruction set on every processor that this process may use.
    pub fn best() -> Cpu {
        Cpu::from(Isa::best())
    }

    /// The same, for weights that are packed from here on to be multiplied at `precision`.
    pub fn with_precision(self, precision: Precision) -> Cpu {
        Cpu { precision, ..self }
    }

    /// The same, keeping account of the time that kernels take.
    pub fn with_profile(self) -> Cpu {
        Cpu { profile: Some(Arc::default()), ..self }
    }

    /// What kernels have done since this was last asked, the most time first; nothing without
    /// [`Cpu::with_profile`].
    pub fn take_profile(&self) -> Vec<Profiled> {
        self.profile.as_ref().map_or_else(Vec::new, |profile| profile.take())
    }

    /// Counts the time until what it gives is dropped, if anybody wants to know.
    pub(crate) fn timing(&self, work: impl FnOnce() -> Work) -> Option<Timing<'_>> {
        self.profile.as_ref().map(|profile| Timing::new(profile, work()))
    }

    /// How exactly products are taken.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The instruction set.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The number of threads.
    pub fn n_threads(&self) -> usize {
        self.pool.n_threads()
    }

    /// Calls `each` with every item and its number, on all threads: for work that is worth a few
    /// microseconds an item.
    pub fn for_each_mut<T: Send>(&self, items: &mut [T], each: impl Fn(usize, &mut T) + Sync) {
        let n = items.len();
        let items = Chunks::new(items, 1);
        // SAFETY: each item is taken by the one call that has its number.
        let call = |i: usize| unsafe { items.get(i) }.iter_mut().for_each(|item| each(i, item));
        if n < 2 { (0..n).for_each(call) } else { self.pool.for_each(n, call) }
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
