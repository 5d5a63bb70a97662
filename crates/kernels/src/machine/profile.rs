//! The account of where the time goes, per kernel and shape. A [`Cpu`](super::cpu::Cpu) keeps one only if it
//! is asked to.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The account of one kernel on one shape since the profile was last taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Profiled {
    /// The kernel and its shape: `product 2048x8192 BF16`.
    pub kernel: String,
    /// The number of calls.
    pub calls: usize,
    /// The seconds that all calls took together.
    pub seconds: f64,
    /// The floating-point operations; a multiply-add counts as two.
    pub flops: f64,
    /// The bytes of weights, or of keys and values, that the kernel read.
    pub bytes: f64,
}

/// Tallies by kernel.
#[derive(Default)]
pub(crate) struct Profile(Mutex<BTreeMap<String, Profiled>>);

impl Profile {
    /// Returns all tallies, the longest first, and begins again at nothing.
    pub(crate) fn take(&self) -> Vec<Profiled> {
        let tallies = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut all: Vec<Profiled> = tallies.into_values().collect();
        all.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        all
    }

    /// Adds one call to the tally of `kernel`.
    fn add(&self, kernel: String, seconds: f64, flops: f64, bytes: f64) {
        let mut tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = Profiled { kernel: kernel.clone(), calls: 0, seconds: 0.0, flops: 0.0, bytes: 0.0 };
        let tally = tallies.entry(kernel).or_insert(new);
        tally.calls += 1;
        tally.seconds += seconds;
        tally.flops += flops;
        tally.bytes += bytes;
    }
}

/// The work that a kernel is about to do.
pub(crate) struct Work {
    pub(crate) kernel: String,
    pub(crate) flops: usize,
    pub(crate) bytes: usize,
}

/// A running kernel, whose time counts until this value is dropped.
pub(crate) struct Timing<'a> {
    profile: &'a Profile,
    work: Work,
    start: Instant,
}

impl<'a> Timing<'a> {
    /// Starts the clock.
    pub(crate) fn new(profile: &'a Profile, work: Work) -> Timing<'a> {
        Timing { profile, work, start: Instant::now() }
    }
}

impl Drop for Timing<'_> {
    fn drop(&mut self) {
        let Work { kernel, flops, bytes } = &mut self.work;
        let seconds = self.start.elapsed().as_secs_f64();
        self.profile.add(std::mem::take(kernel), seconds, *flops as f64, *bytes as f64);
    }
}

#[cfg(test)]
mod tests {
    use crate::machine::{Cpu, Isa};
    use crate::product::{Input, Packed, Product, linear};
    use crate::weights::Matrix;

    #[test]
    fn a_product_counts_its_operations_and_the_bytes_of_its_weights() {
        let run = |cpu: &Cpu| {
            let weight = Packed::new(cpu, &Matrix::from_f32(&[0.5; 40 * 70], 40, 70));
            let mut x = Input::default();
            x.fill(cpu, &[1.0; 3 * 70], 70);
            linear(cpu, &x, [Product { weight: &weight, bias: None, out: &mut [0.0; 3 * 40] }]);
        };
        let plain = Cpu::new(Isa::best(), 2);
        run(&plain);
        assert!(plain.take_profile().is_empty(), "nobody asked for a profile");

        let profiled = plain.with_profile();
        run(&profiled);
        run(&profiled);
        let all = profiled.take_profile();
        let product = all.iter().find(|it| it.kernel == "product 70x40 F32").expect("the product ran");
        assert_eq!((product.calls, product.flops), (2, 2.0 * 2.0 * 3.0 * 70.0 * 40.0));
        // Forty outputs are three panels of sixteen.
        assert_eq!(product.bytes, 2.0 * 48.0 * 70.0 * 4.0);
        assert!(product.seconds > 0.0);
        assert!(profiled.take_profile().is_empty(), "the profile begins again");
    }
}
