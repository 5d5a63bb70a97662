//! Threads that wait for work by spinning first and by sleeping later.
//!
//! A decoded token passes some sixty parallel regions of tens of microseconds each, so waking a sleeping
//! thread for each of them (5–10 µs) would cost too much. Workers spin for a short while after each region,
//! and sleep only when nothing more comes.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// A fixed number of threads, one of which is the caller of a parallel region. Regions never nest: a region
/// that is begun while another runs, from inside it or from another thread, runs on its caller alone, with
/// the same results.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// The lock that the running region holds.
    region: Mutex<()>,
}

struct Shared {
    /// The count of regions; a worker runs when it changes.
    epoch: AtomicUsize,
    /// The work of the current region.
    work: UnsafeCell<Option<Work>>,
    /// The number of workers that have not finished the current region.
    running: AtomicUsize,
    /// The next item of each thread's part of the current region.
    cursors: Vec<Cursor>,
    sleepers: AtomicUsize,
    asleep: Mutex<()>,
    wake: Condvar,
    stop: AtomicBool,
    panicked: AtomicBool,
    /// The turns that a worker spins before it sleeps; zero if there are more threads than processors.
    spins: u32,
}

/// A counter on a cache line of its own, so that threads do not share lines.
#[repr(align(64))]
struct Cursor(AtomicUsize);

/// The body of a region, its lifetime erased: the body lives until the region ends.
#[derive(Clone, Copy)]
struct Work {
    body: *const (dyn Fn(usize) + Sync),
    n_items: usize,
}

// SAFETY: the holder of `region` writes `work`, and only between regions. Workers read it only after they
// have seen the epoch that was published after the write.
unsafe impl Sync for Shared {}
// SAFETY: the pointer in `work` is to a `Sync` closure.
unsafe impl Send for Shared {}

impl Pool {
    /// Starts a pool of `n_threads` threads, one of which is the caller of a region.
    ///
    /// # Panics
    /// Panics if `n_threads` is 0.
    pub(crate) fn new(n_threads: usize) -> Pool {
        assert!(n_threads > 0, "a pool has at least one thread");
        let crowded = n_threads > available();
        let shared = Arc::new(Shared {
            epoch: AtomicUsize::new(0),
            work: UnsafeCell::new(None),
            running: AtomicUsize::new(0),
            cursors: (0..n_threads).map(|_| Cursor(AtomicUsize::new(0))).collect(),
            sleepers: AtomicUsize::new(0),
            asleep: Mutex::new(()),
            wake: Condvar::new(),
            stop: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            spins: if crowded { 0 } else { SPINS },
        });
        let worker = |thread: usize| {
            let shared = shared.clone();
            let body = move || shared.serve(thread);
            let name = format!("kernels-{thread}");
            std::thread::Builder::new().name(name).spawn(body).expect("a thread can be started")
        };
        Pool { workers: (1..n_threads).map(worker).collect(), shared, region: Mutex::new(()) }
    }

    /// Returns the number of threads, the caller included.
    pub(crate) fn n_threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `body(i)` once for every `i` below `n_items`, on all threads, and returns when all calls have
    /// returned. Each thread begins with a contiguous part of its own and then helps the others. The part is
    /// the same every time, so that memory first touched by a thread stays its own.
    ///
    /// # Panics
    /// Panics if a call panicked.
    pub(crate) fn for_each(&self, n_items: usize, body: impl Fn(usize) + Sync) {
        let region = if n_items < 2 || self.workers.is_empty() { None } else { self.enter() };
        let Some(_region) = region else { return (0..n_items).for_each(body) };
        let shared = &*self.shared;
        let body: *const (dyn Fn(usize) + Sync + '_) = &body;
        // SAFETY: the closure outlives the region. This function returns only when every worker has counted
        // itself out, even if the caller's own part panics.
        let body = unsafe {
            std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), *const (dyn Fn(usize) + Sync + 'static)>(
                body,
            )
        };
        let work = Work { body, n_items };
        for (thread, cursor) in shared.cursors.iter().enumerate() {
            cursor.0.store(shared.part(thread, n_items), Relaxed);
        }
        shared.running.store(self.workers.len(), Relaxed);
        // SAFETY: no region runs, so no worker reads the work.
        unsafe { *shared.work.get() = Some(work) };
        shared.epoch.fetch_add(1, SeqCst);
        if shared.sleepers.load(SeqCst) > 0 {
            drop(lock(&shared.asleep));
            shared.wake.notify_all();
        }
        let mine = catch_unwind(AssertUnwindSafe(|| shared.run(work, 0)));
        let mut turns = 0u32;
        while shared.running.load(Acquire) > 0 {
            turns += 1;
            if turns < shared.spins { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
        let panicked = shared.panicked.swap(false, Relaxed);
        match mine {
            Err(panic) => resume_unwind(panic),
            Ok(()) => assert!(!panicked, "a kernel thread panicked; its message is printed above"),
        }
    }

    /// Takes the lock of the running region, or returns nothing if a region runs already.
    fn enter(&self) -> Option<MutexGuard<'_, ()>> {
        match self.region.try_lock() {
            Ok(guard) => Some(guard),
            Err(std::sync::TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => None,
        }
    }
}

/// The turns of about 100 µs: longer than the gap between two regions of a forward pass, and too short for a
/// person or an energy bill to notice.
const SPINS: u32 = 20_000;

/// Returns the number of processors that this process may use, by its affinity mask and its cgroup's limit.
pub fn available() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

impl Shared {
    /// Returns the first item of a thread's part.
    fn part(&self, thread: usize, n_items: usize) -> usize {
        thread * n_items / self.cursors.len()
    }

    /// Runs the items of `thread`'s part, then the items that are left of the parts after it.
    fn run(&self, work: Work, thread: usize) {
        let n_threads = self.cursors.len();
        for owner in (thread..n_threads).chain(0..thread) {
            let end = self.part(owner + 1, work.n_items);
            loop {
                let item = self.cursors[owner].0.fetch_add(1, Relaxed);
                if item >= end {
                    break;
                }
                // SAFETY: the body lives until the region ends; `for_each` says why.
                unsafe { (*work.body)(item) };
            }
        }
    }

    /// Runs one region after another until the pool stops; a worker does nothing else.
    fn serve(&self, thread: usize) {
        let mut seen = 0;
        loop {
            seen = self.wait_for_change(seen);
            if self.stop.load(Acquire) {
                return;
            }
            // SAFETY: the epoch was read after the work was written, and no new region begins before this
            // worker counts itself out.
            let work = unsafe { (*self.work.get()).expect("a region has work") };
            if catch_unwind(AssertUnwindSafe(|| self.run(work, thread))).is_err() {
                self.panicked.store(true, Relaxed);
            }
            self.running.fetch_sub(1, Release);
        }
    }

    /// Waits until the epoch is no longer `seen`, and returns it.
    fn wait_for_change(&self, seen: usize) -> usize {
        for _ in 0..self.spins {
            let epoch = self.epoch.load(Acquire);
            if epoch != seen {
                return epoch;
            }
            std::hint::spin_loop();
        }
        // A sleeper announces itself before it looks at the epoch again, and the epoch changes before anyone
        // looks for sleepers. So one of the two sides always sees the other.
        let mut guard = lock(&self.asleep);
        self.sleepers.fetch_add(1, SeqCst);
        let epoch = loop {
            let epoch = self.epoch.load(SeqCst);
            if epoch != seen {
                break epoch;
            }
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        };
        self.sleepers.fetch_sub(1, SeqCst);
        epoch
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Release);
        self.shared.epoch.fetch_add(1, SeqCst);
        drop(lock(&self.shared.asleep));
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker cannot panic, because it catches the panics of its work.
            let _ = worker.join();
        }
    }
}

/// Locks a mutex, poisoned or not.
fn lock(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Returns how often each of `n` items ran.
    fn counts(pool: &Pool, n: usize) -> Vec<usize> {
        let counts: Vec<AtomicUsize> = (0..n).map(|_| AtomicUsize::new(0)).collect();
        pool.for_each(n, |i| {
            counts[i].fetch_add(1, Relaxed);
        });
        counts.into_iter().map(AtomicUsize::into_inner).collect()
    }

    #[test]
    fn every_item_runs_once_on_any_number_of_threads() {
        for n_threads in [1, 2, 4, 16, 64] {
            let pool = Pool::new(n_threads);
            for n in [0, 1, 2, 3, 63, 1000] {
                assert_eq!(counts(&pool, n), vec![1; n], "{n_threads} threads, {n} items");
            }
        }
    }

    #[test]
    fn workers_that_fell_asleep_wake_up() {
        let pool = Pool::new(3);
        for _ in 0..5 {
            std::thread::sleep(Duration::from_millis(20));
            assert_eq!(counts(&pool, 50), vec![1; 50]);
        }
    }

    #[test]
    fn many_short_regions_lose_nothing() {
        let pool = Pool::new(2);
        let total = AtomicUsize::new(0);
        for _ in 0..20_000 {
            pool.for_each(3, |i| {
                total.fetch_add(i + 1, Relaxed);
            });
        }
        assert_eq!(total.into_inner(), 6 * 20_000);
    }

    #[test]
    fn a_region_inside_a_region_and_one_from_another_thread_run_too() {
        let pool = Pool::new(2);
        let total = AtomicUsize::new(0);
        pool.for_each(4, |_| {
            pool.for_each(5, |_| {
                total.fetch_add(1, Relaxed);
            });
        });
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!(counts(&pool, 100), vec![1; 100]));
            }
        });
        assert_eq!(total.into_inner(), 20);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(2);
        for bad in [0, 99] {
            let result = catch_unwind(AssertUnwindSafe(|| pool.for_each(100, |i| assert!(i != bad))));
            assert!(result.is_err());
            assert_eq!(counts(&pool, 10), vec![1; 10]);
        }
    }
}
