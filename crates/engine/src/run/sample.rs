//! From logits to a token: a chain of filters, then a draw.

use crate::forward::{Model, Ops};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use std::borrow::Cow;

/// How to choose the next token. The filters act in the order of the fields, as in transformers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Divides (if positive, else multiplies) the logits of tokens that have occurred; 1 is off.
    pub repetition_penalty: f32,
    /// 0 takes the most likely token; else the logits are divided by it.
    pub temperature: f32,
    /// Keeps the k most likely tokens; 0 is off.
    pub top_k: usize,
    /// Keeps the smallest set of most likely tokens whose probabilities reach p; 1 is off.
    pub top_p: f32,
    /// Keeps tokens at least this fraction as likely as the most likely one; 0 is off.
    pub min_p: f32,
    /// The seed. Equal seeds give equal draws.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Sampling {
        Sampling { repetition_penalty: 1.0, temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, seed: 0 }
    }
}

/// A sampler in use: the settings and the state of its generator.
pub struct Sampler {
    settings: Sampling,
    rng: ChaCha8Rng,
}

impl Sampler {
    /// Makes a sampler at the start of its seed's sequence.
    pub fn new(settings: Sampling) -> Sampler {
        Sampler { settings, rng: ChaCha8Rng::seed_from_u64(settings.seed) }
    }

    /// Chooses the token that follows `seen`, given its logits as the host has read them. Ties go to the smaller id.
    pub fn choose(&mut self, model: &Model, logits: &[f32], seen: &[u32]) -> u32 {
        self.choose_by(&model.ops, logits, seen)
    }

    fn choose_by(&mut self, ops: &Ops, logits: &[f32], seen: &[u32]) -> u32 {
        let s = self.settings;
        let logits = penalised(logits, seen, s.repetition_penalty);
        if s.temperature <= 0.0 {
            return argmax(&logits);
        }
        self.draw(&s.candidates(&Scaled::new(ops, &logits, s.temperature)))
    }

    fn draw(&mut self, candidates: &[(u32, f32)]) -> u32 {
        let total: f32 = candidates.iter().map(|(_, p)| p).sum();
        // 24 random bits: every value in [0, 1) that an f32 can tell apart at this spacing.
        let mut left = (self.rng.next_u32() >> 8) as f32 / (1 << 24) as f32 * total;
        for (token, p) in candidates {
            left -= p;
            if left < 0.0 {
                return *token;
            }
        }
        candidates.last().expect("the most likely token is never filtered").0
    }
}

fn penalised<'a>(logits: &'a [f32], seen: &[u32], penalty: f32) -> Cow<'a, [f32]> {
    if penalty == 1.0 {
        return logits.into();
    }
    let (mut logits, mut seen) = (logits.to_vec(), seen.to_vec());
    seen.sort_unstable();
    seen.dedup();
    for token in seen {
        let logit = &mut logits[token as usize];
        *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
    }
    logits.into()
}

fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (i, x) in logits.iter().enumerate() {
        if *x > logits[best] {
            best = i;
        }
    }
    best as u32
}

/// Logits divided by a temperature, of which the largest is zero, and the sum of their exponentials.
struct Scaled {
    logits: Vec<f32>,
    sum_exp: f32,
}

impl Scaled {
    fn new(ops: &Ops, logits: &[f32], temperature: f32) -> Scaled {
        let max = logits.iter().fold(f32::NEG_INFINITY, |max, x| max.max(*x));
        // Infinite ones are no further from themselves than others.
        let below = |x: &f32| if *x == max { 0.0 } else { (x - max) / temperature };
        let logits: Vec<f32> = logits.iter().map(below).collect();
        let sum_exp = ops.host_log_sum(&logits).exp() as f32;
        Scaled { logits, sum_exp }
    }

    /// Returns the tokens from `floor` on with their probabilities, in order of id.
    fn probabilities(&self, floor: f32) -> Vec<(u32, f32)> {
        let above = (0u32..).zip(&self.logits).filter(|(_, x)| **x >= floor);
        above.map(|(id, x)| (id, x.exp() / self.sum_exp)).collect()
    }
}

/// Filters rarely keep what is e¹⁰ times less likely than the most likely token. Of a whole vocabulary, to take the
/// exponentials and to sort them would cost more than to compute the logits.
const REACH: f32 = 10.0;

impl Sampling {
    /// Returns the tokens that the filters keep, most likely first; without any filter, all in order of id.
    fn candidates(&self, scaled: &Scaled) -> Vec<(u32, f32)> {
        if self.top_k == 0 && self.top_p >= 1.0 && self.min_p <= 0.0 {
            return scaled.probabilities(f32::NEG_INFINITY);
        }
        let near = scaled.probabilities(-REACH);
        let complete = near.len() == scaled.logits.len();
        let kept = self.filter(near, complete);
        kept.or_else(|| self.filter(scaled.probabilities(f32::NEG_INFINITY), true)).expect("all are seen")
    }

    /// Returns what the filters keep of the likeliest tokens, most likely first, or `None` if more must be seen to
    /// tell.
    fn filter(&self, mut likeliest: Vec<(u32, f32)>, complete: bool) -> Option<Vec<(u32, f32)>> {
        // A few usually suffice: so sort those, and more of them only if need be.
        let mut sorted = 64;
        loop {
            sorted = sorted.min(likeliest.len());
            sort_likeliest(&mut likeliest, sorted);
            let all = sorted == likeliest.len();
            if let Some(n) = self.keep(&likeliest[..sorted], all && complete) {
                likeliest.truncate(n);
                return Some(likeliest);
            }
            if all {
                return None;
            }
            sorted *= 8;
        }
    }

    /// Returns how many of the likeliest tokens the filters keep, or `None` if more must be seen to tell.
    fn keep(&self, likeliest: &[(u32, f32)], complete: bool) -> Option<usize> {
        // `ends` says that the cut lies within what is seen: what follows cannot change it.
        let (mut n, mut ends) = (likeliest.len(), complete);
        let mut total = 1.0;
        if self.top_k > 0 && self.top_k <= n {
            (n, ends) = (self.top_k, true);
            total = likeliest[..n].iter().map(|(_, p)| p).sum();
        }
        if self.top_p < 1.0 && (ends || self.top_k == 0) {
            let mut reached = 0.0;
            let last = likeliest[..n].iter().position(|(_, p)| {
                reached += p / total;
                reached >= self.top_p
            });
            if let Some(last) = last {
                (n, ends) = (last + 1, true);
            }
        }
        let floor = likeliest[0].1 * self.min_p;
        let above = likeliest[..n].iter().take_while(|(_, p)| *p >= floor).count();
        (ends || (above < n && self.top_k == 0 && self.top_p >= 1.0)).then_some(above)
    }
}

/// Brings the `n` most likely tokens to the front, in order; ties by id.
fn sort_likeliest(all: &mut [(u32, f32)], n: usize) {
    let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if n < all.len() {
        all.select_nth_unstable_by(n, order);
    }
    all[..n].sort_unstable_by(order);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::Range;
    use whipstaff_kernels::{Cpu, Isa};

    fn ops() -> Ops {
        Ops::new(Cpu::new(Isa::best(), 1))
    }

    const LOGITS: [f32; 5] = [1.0, 3.0, 2.0, 3.0, -1.0];

    /// Returns the distinct tokens that 500 draws give.
    fn drawn(settings: Sampling) -> Vec<u32> {
        let mut sampler = Sampler::new(settings);
        let mut tokens: Vec<u32> = (0..500).map(|_| sampler.choose_by(&ops(), &LOGITS, &[])).collect();
        tokens.sort_unstable();
        tokens.dedup();
        tokens
    }

    #[test]
    fn each_filter_keeps_what_it_says() {
        let warm = Sampling { temperature: 1.0, ..Sampling::default() };
        assert_eq!(drawn(Sampling::default()), [1]);
        assert_eq!(drawn(warm), [0, 1, 2, 3, 4]);
        assert_eq!(drawn(Sampling { top_k: 2, ..warm }), [1, 3]);
        assert_eq!(drawn(Sampling { top_k: 3, ..warm }), [1, 2, 3]);
        assert_eq!(drawn(Sampling { top_p: 0.5, ..warm }), [1, 3]);
        assert_eq!(drawn(Sampling { min_p: 0.3, ..warm }), [1, 2, 3]);
        assert_eq!(drawn(Sampling { min_p: 1.0, ..warm }), [1, 3]);
    }

    #[test]
    fn filters_see_as_much_of_a_large_vocabulary_as_they_need() {
        // Probabilities fall so slowly that every filter cuts far behind the first 64 tokens, or even what
        // is within reach.
        let logits: Vec<f32> = (0..5000).map(|i| -(((i * 7919) % 5000) as f32) / 100.0).collect();
        let check = |temperature, n: Range<usize>, settings: Sampling| {
            let scaled = Scaled::new(&ops(), &logits, temperature);
            let mut all = scaled.probabilities(f32::NEG_INFINITY);
            sort_likeliest(&mut all, 5000);
            let want = settings.keep(&all, true).unwrap();
            assert!(n.contains(&want), "{want} of {settings:?}");
            assert_eq!(settings.candidates(&scaled), all[..want], "{settings:?}");
        };
        let off = Sampling::default();
        for (temperature, n) in [(10.0, 65..1000), (100.0, 1001..5000)] {
            check(temperature, n.clone(), Sampling { top_k: n.end - 1, ..off });
            check(temperature, n.clone(), Sampling { top_p: 0.6, ..off });
            check(temperature, n.clone(), Sampling { min_p: if n.start == 65 { 0.5 } else { 0.8 }, ..off });
            check(temperature, n.clone(), Sampling { top_k: n.end - 1, top_p: 0.95, min_p: 0.01, ..off });
        }
    }

    #[test]
    fn probabilities_are_those_of_the_softmax() {
        let scaled = Scaled::new(&ops(), &LOGITS, 2.0);
        let exp: Vec<f64> = LOGITS.iter().map(|x| (f64::from(*x) / 2.0).exp()).collect();
        for ((_, got), exp_x) in scaled.probabilities(f32::NEG_INFINITY).iter().zip(&exp) {
            let want = exp_x / exp.iter().sum::<f64>();
            assert!((f64::from(*got) - want).abs() < 1e-6, "{got} for {want}");
        }
    }

    #[test]
    fn infinite_logits_are_certain_or_impossible() {
        const INF: f32 = f32::INFINITY;
        let mut sampler = Sampler::new(Sampling { temperature: 1.0, top_p: 0.9, ..Sampling::default() });
        assert_eq!(sampler.choose_by(&ops(), &[1.0, INF, 2.0], &[]), 1);
        assert_eq!(sampler.choose_by(&ops(), &[-INF, 1.0, -INF], &[]), 1);
        assert!(sampler.choose_by(&ops(), &[-INF, -INF], &[]) < 2);
    }

    #[test]
    fn a_seed_fixes_the_draws() {
        let draws = |seed| {
            let mut sampler = Sampler::new(Sampling { temperature: 1.0, seed, ..Sampling::default() });
            (0..50).map(|_| sampler.choose_by(&ops(), &LOGITS, &[])).collect::<Vec<_>>()
        };
        assert_eq!(draws(1), draws(1));
        assert_ne!(draws(1), draws(2));
    }

    #[test]
    fn the_repetition_penalty_lowers_what_has_occurred_once() {
        let mut sampler = Sampler::new(Sampling { repetition_penalty: 2.0, ..Sampling::default() });
        assert_eq!(sampler.choose_by(&ops(), &LOGITS, &[1, 1, 1]), 3);
        assert_eq!(sampler.choose_by(&ops(), &LOGITS, &[1, 3]), 2);
        assert_eq!(sampler.choose_by(&ops(), &[-1.0, -1.5], &[0]), 1);
    }
}
