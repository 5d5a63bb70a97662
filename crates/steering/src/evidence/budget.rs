//! Alpha as a budget: how much of a steering moves the model's expectations by so many nats.

use crate::error::Error;
use crate::measure::divergences;
use whipstaff_engine::{Continuation, Model, Steering};

/// The factor of a steering that meets a budget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Solved {
    /// The factor that the steering is multiplied by; never negative.
    pub factor: f64,
    /// The mean per-token KL(unsteered ‖ steered) that was measured there, in nats.
    pub kl: f64,
}

/// The number of factors tried side by side in a step.
const TRIALS: usize = 6;

/// The number of steps at most. Six trials narrow a bracket to a seventh of its logarithm.
const STEPS: usize = 12;

/// The share of the budget by which it may be missed.
const TOLERANCE: f64 = 0.01;

/// Finds the factor at which the mean per-token KL of `steering(factor)` on `texts` is `nats`, within one per cent.
///
/// Factors are tried around `start`, then farther out until the budget lies between two of them, then between those two.
///
/// # Errors
/// [`Error::Setting`] if the budget is not a positive number or no factor meets it; as for [`divergences`].
pub fn solve_kl(
    model: &Model,
    texts: &[Continuation],
    nats: f64,
    start: f64,
    steering: impl Fn(f64) -> Result<Steering, Error>,
) -> Result<Solved, Error> {
    if !(nats > 0.0 && nats.is_finite()) {
        return Err(Error::Setting(format!("a budget of {nats} nats: it must be a positive number")));
    }
    let measure = |factors: &[f64]| -> Result<Vec<Solved>, Error> {
        let steerings = factors.iter().map(|factor| steering(*factor)).collect::<Result<Vec<_>, Error>>()?;
        let kls = divergences(model, texts, &steerings)?;
        Ok(factors.iter().zip(kls).map(|(factor, it)| Solved { factor: *factor, kl: it.kl }).collect())
    };
    solve(nats, start, measure)
}

/// Searches over any measure that grows with its factor.
fn solve(
    nats: f64,
    start: f64,
    measure: impl Fn(&[f64]) -> Result<Vec<Solved>, Error>,
) -> Result<Solved, Error> {
    let (mut below, mut above): (Option<Solved>, Option<Solved>) = (None, None);
    for _ in 0..STEPS {
        for tried in measure(&trials(nats, start, below, above))? {
            // A KL that is no longer a number is beyond any budget.
            if tried.kl <= nats {
                below = below.filter(|best| best.factor >= tried.factor).or(Some(tried));
            } else {
                above = above.filter(|best| best.factor <= tried.factor).or(Some(tried));
            }
        }
        let off = |tried: &Solved| (tried.kl / nats).ln().abs();
        let nearest = [below, above].into_iter().flatten().min_by(|a, b| off(a).total_cmp(&off(b)));
        if let Some(solved) = nearest.filter(|it| (it.kl / nats - 1.0).abs() <= TOLERANCE) {
            return Ok(solved);
        }
    }
    // The curve has a step: the last factor within the budget stands.
    below.filter(|_| above.is_some()).ok_or_else(|| {
        Error::Setting(format!(
            "no alpha moves the model by {nats} nats per token here: the steering acts too weakly, or there is nothing \
             to measure it on"
        ))
    })
}

/// Returns the factors to try next.
fn trials(nats: f64, start: f64, below: Option<Solved>, above: Option<Solved>) -> Vec<f64> {
    let ladder = |from: f64, step: f64| (0..TRIALS).map(|i| from * step.powi(i as i32)).collect();
    match (below, above) {
        (None, None) => ladder(start / 4.0, 2.0),
        (Some(below), None) => ladder(below.factor * 2.0, 4.0),
        (None, Some(above)) => ladder(above.factor / 2.0, 0.25),
        (Some(below), Some(above)) => {
            // KL grows about as the square of alpha: a straight line between logarithms says where to look, and the
            // other trials lie around that guess.
            let (low, high) = (below.factor.ln(), above.factor.ln());
            let share = (nats / below.kl).ln() / (above.kl / below.kl).ln();
            let guess = if share.is_finite() {
                low + (high - low) * share.clamp(0.02, 0.98)
            } else {
                (low + high) / 2.0
            };
            let around = |i: usize| match i {
                0 => guess,
                1 => (guess + low) / 2.0,
                2 => (guess + high) / 2.0,
                3 => guess + (low - guess) / 16.0,
                4 => guess + (high - guess) / 16.0,
                _ => (low + high) / 2.0,
            };
            (0..TRIALS).map(|i| around(i).exp()).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Solves for a curve; says where it ended and in how many steps.
    fn run(nats: f64, curve: impl Fn(f64) -> f64) -> (Result<Solved, Error>, usize) {
        let steps = Cell::new(0);
        let measure = |factors: &[f64]| {
            steps.set(steps.get() + 1);
            Ok(factors.iter().map(|factor| Solved { factor: *factor, kl: curve(*factor) }).collect())
        };
        (solve(nats, 1.0, measure), steps.get())
    }

    #[test]
    fn the_budget_is_met_in_a_few_steps_whatever_the_curve() {
        let check = |name: &str, curve: fn(f64) -> f64| {
            for nats in [0.001, 0.1, 1.0, 3.0] {
                let (found, steps) = run(nats, curve);
                let it = found.unwrap();
                assert!(
                    (it.kl / nats - 1.0).abs() <= TOLERANCE && steps <= 6,
                    "{name} {nats}: {it:?}, {steps}"
                );
                assert_eq!(it.kl, curve(it.factor));
            }
        };
        check("square", |x| x * x);
        check("tiny", |x| 1e-6 * x * x);
        check("steep", |x| (x * x).exp_m1());
        check("flat at the end", |x| 5.0 * (1.0 - (-x * x).exp()));
        check("huge", |x| 1e4 * x.powf(1.5));
    }

    #[test]
    fn a_budget_that_nothing_meets_is_refused_and_a_step_stops_below() {
        assert!(run(1.0, |_| 0.0).0.is_err());
        assert!(run(1.0, |x| 0.5 * x / (1.0 + x)).0.is_err());
        let (found, _) = run(1.0, |x| if x < 1.3 { 0.1 } else { f64::NAN });
        assert!(found.is_ok_and(|it| it.kl == 0.1 && it.factor < 1.3));
    }
}
