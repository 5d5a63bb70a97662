//! From logits to a token: a chain of filters, then a draw.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

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
    /// The same seed gives the same draws.
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
    /// A sampler at the start of its seed's sequence.
    pub fn new(settings: Sampling) -> Sampler {
        Sampler { settings, rng: ChaCha8Rng::seed_from_u64(settings.seed) }
    }

    /// Chooses the token that follows `seen`. Ties go to the smaller id.
    pub fn choose(&mut self, logits: &[f32], seen: &[u32]) -> u32 {
        let s = self.settings;
        let mut logits = logits.to_vec();
        penalise(&mut logits, seen, s.repetition_penalty);
        if s.temperature <= 0.0 {
            return argmax(&logits);
        }
        self.draw(&s.filter(probabilities(&logits, s.temperature)))
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

fn penalise(logits: &mut [f32], seen: &[u32], penalty: f32) {
    if penalty == 1.0 {
        return;
    }
    let mut seen = seen.to_vec();
    seen.sort_unstable();
    seen.dedup();
    for token in seen {
        let logit = &mut logits[token as usize];
        *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
    }
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

/// Tokens with their probabilities, in order of id.
fn probabilities(logits: &[f32], temperature: f32) -> Vec<(u32, f32)> {
    let max = logits.iter().fold(f32::NEG_INFINITY, |max, x| max.max(*x));
    let mut all: Vec<(u32, f32)> =
        (0u32..).zip(logits.iter().map(|x| ((x - max) / temperature).exp())).collect();
    let total: f32 = all.iter().map(|(_, p)| p).sum();
    all.iter_mut().for_each(|(_, p)| *p /= total);
    all
}

impl Sampling {
    /// The tokens that the filters keep, most likely first; without any filter, all as they are.
    fn filter(&self, mut all: Vec<(u32, f32)>) -> Vec<(u32, f32)> {
        if self.top_k == 0 && self.top_p >= 1.0 && self.min_p <= 0.0 {
            return all;
        }
        // Filters rarely keep more than a few tokens: sorting a whole vocabulary would cost more
        // than computing its logits. So sort the likeliest, and more of them only if need be.
        let mut sorted = 64;
        loop {
            sorted = sorted.min(all.len());
            sort_likeliest(&mut all, sorted);
            if let Some(n) = self.keep(&all[..sorted], sorted == all.len()) {
                all.truncate(n);
                return all;
            }
            sorted *= 8;
        }
    }

    /// How many of the likeliest tokens the filters keep; `None` if more must be seen to tell.
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

    const LOGITS: [f32; 5] = [1.0, 3.0, 2.0, 3.0, -1.0];

    /// The distinct tokens that 500 draws give.
    fn drawn(settings: Sampling) -> Vec<u32> {
        let mut sampler = Sampler::new(settings);
        let mut tokens: Vec<u32> = (0..500).map(|_| sampler.choose(&LOGITS, &[])).collect();
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
        // Probabilities fall so slowly that every filter cuts far behind the first 64 tokens.
        let logits: Vec<f32> = (0..5000).map(|i| -(((i * 7919) % 5000) as f32) / 1000.0).collect();
        let check = |settings: Sampling| {
            let mut all = probabilities(&logits, 1.0);
            sort_likeliest(&mut all, 5000);
            let want = settings.keep(&all, true).unwrap();
            let kept = settings.filter(probabilities(&logits, 1.0));
            assert!(want > 64 && want < 5000);
            assert_eq!(kept, all[..want]);
        };
        let off = Sampling::default();
        check(Sampling { top_k: 700, ..off });
        check(Sampling { top_p: 0.9, ..off });
        check(Sampling { min_p: 0.3, ..off });
        check(Sampling { top_k: 700, top_p: 0.9, min_p: 0.6, ..off });
    }

    #[test]
    fn a_seed_fixes_the_draws() {
        let draws = |seed| {
            let mut sampler = Sampler::new(Sampling { temperature: 1.0, seed, ..Sampling::default() });
            (0..50).map(|_| sampler.choose(&LOGITS, &[])).collect::<Vec<_>>()
        };
        assert_eq!(draws(1), draws(1));
        assert_ne!(draws(1), draws(2));
    }

    #[test]
    fn the_repetition_penalty_lowers_what_has_occurred_once() {
        let mut sampler = Sampler::new(Sampling { repetition_penalty: 2.0, ..Sampling::default() });
        assert_eq!(sampler.choose(&LOGITS, &[1, 1, 1]), 3);
        assert_eq!(sampler.choose(&LOGITS, &[1, 3]), 2);
        assert_eq!(sampler.choose(&[-1.0, -1.5], &[0]), 1);
    }
}
