//! A quantity over the items of a set, beside what it is unsteered.

use super::random::Random;
use super::stats::{RESAMPLES, interval_of_mean, mean};

/// What a quantity is at one dose.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Items that have a value.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// 95 % of it over items; `None` for too few.
    pub interval: Option<[f64; 2]>,
    /// The mean over items of how far each is from its own baseline.
    pub shift: f64,
    /// 95 % of that; `None` for too few.
    pub shift_interval: Option<[f64; 2]>,
}

/// The values of the same items at a dose and unsteered; `None` is an item without a value. The shift is over
/// items that have both. `None` if no item has a value, or none has both. The same seed gives the same
/// intervals (percentiles of the means of resampled items, as everywhere).
pub fn measured(unsteered: &[Option<f64>], steered: &[Option<f64>], seed: u64) -> Option<Measured> {
    let values: Vec<f64> = steered.iter().copied().flatten().collect();
    let shifts: Vec<f64> = unsteered.iter().zip(steered).filter_map(|(a, b)| Some((*b)? - (*a)?)).collect();
    if values.is_empty() || shifts.is_empty() {
        return None;
    }
    let interval = |values: &[f64]| interval_of_mean(values, RESAMPLES, Random::new(seed));
    Some(Measured {
        n: values.len(),
        mean: mean(&values),
        interval: interval(&values),
        shift: mean(&shifts),
        shift_interval: interval(&shifts),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_compared_with_themselves() {
        let check = |a: &[Option<f64>], b: &[Option<f64>], want: Option<(usize, f64, f64)>| {
            let got = measured(a, b, 0).map(|it| (it.n, it.mean, it.shift));
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
        let got = measured(&unsteered, &steered, 0).unwrap();
        let [low, high] = got.interval.unwrap();
        assert!(high - low > 100.0 && got.shift_interval == Some([1.0, 1.0]), "{got:?}");
    }
}
