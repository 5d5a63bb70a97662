//! Means of values over items, with their intervals.

use super::random::Random;
use super::stats::{RESAMPLES, interval_of_mean, mean};

/// A mean over items.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Its 95 % interval over items; `None` for fewer than four.
    pub interval: Option<[f64; 2]>,
}

impl Estimate {
    /// Estimates the mean of values. The same seed gives the same interval.
    pub(crate) fn of(values: &[f64], seed: u64) -> Estimate {
        Estimate { mean: mean(values), interval: interval_of_mean(values, RESAMPLES, Random::new(seed)) }
    }
}

/// A mean over items at a dose, beside how far each item is from its own unsteered value.
#[derive(Clone, Debug, PartialEq)]
pub struct ShiftEstimate {
    /// The number of items that have a value.
    pub n: usize,
    /// The mean of the values at the dose.
    pub mean: f64,
    /// The 95 % interval of the mean over items; `None` for fewer than four.
    pub interval: Option<[f64; 2]>,
    /// The mean over items of how far each is from its own baseline.
    pub shift: f64,
    /// The 95 % interval of the shift; `None` for fewer than four items.
    pub shift_interval: Option<[f64; 2]>,
}

/// Estimates what a dose does to the values of the same items, unsteered and steered; `None` is an item without a
/// value.
///
/// The shift is over items that have both. Returns `None` if no item has a value, or none has both. The same seed
/// gives the same intervals.
pub fn estimate_shift(
    unsteered: &[Option<f64>],
    steered: &[Option<f64>],
    seed: u64,
) -> Option<ShiftEstimate> {
    let values: Vec<f64> = steered.iter().copied().flatten().collect();
    let shifts: Vec<f64> = unsteered.iter().zip(steered).filter_map(|(a, b)| Some((*b)? - (*a)?)).collect();
    if values.is_empty() || shifts.is_empty() {
        return None;
    }
    let (value, shift) = (Estimate::of(&values, seed), Estimate::of(&shifts, seed));
    Some(ShiftEstimate {
        n: values.len(),
        mean: value.mean,
        interval: value.interval,
        shift: shift.mean,
        shift_interval: shift.interval,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_compared_with_themselves() {
        let check = |a: &[Option<f64>], b: &[Option<f64>], want: Option<(usize, f64, f64)>| {
            let got = estimate_shift(a, b, 0).map(|it| (it.n, it.mean, it.shift));
            assert_eq!(got, want, "{a:?} {b:?}");
        };
        check(&[Some(1.0), Some(2.0)], &[Some(2.0), Some(4.0)], Some((2, 3.0, 1.5)));
        check(&[Some(1.0), None], &[Some(2.0), Some(4.0)], Some((2, 3.0, 1.0)));
        check(&[Some(1.0), Some(2.0)], &[None, Some(4.0)], Some((1, 4.0, 2.0)));
        check(&[None, Some(2.0)], &[Some(4.0), None], None);
        check(&[], &[], None);
    }

    #[test]
    fn a_shift_that_all_items_share_is_known_well_however_far_they_are_apart() {
        let unsteered: Vec<_> = (0..40).map(|i| Some(f64::from(i * i))).collect();
        let steered: Vec<_> = unsteered.iter().map(|it| it.map(|x| x + 1.0)).collect();
        let got = estimate_shift(&unsteered, &steered, 0).unwrap();
        let [low, high] = got.interval.unwrap();
        assert!(high - low > 100.0 && got.shift_interval == Some([1.0, 1.0]), "{got:?}");
    }
}
