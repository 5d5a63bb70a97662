//! The statistics of evidence: separability, intervals, correlation. docs/REFERENCE.md has the formulas.

use super::linalg::dot;
use super::random::Random;

/// Returns the area under the ROC curve: the chance that a positive scores above a negative, ties half.
pub(crate) fn auc(positives: &[f64], negatives: &[f64]) -> f64 {
    let mut wins = 0.0;
    for p in positives {
        for n in negatives {
            wins += if p > n {
                1.0
            } else if p == n {
                0.5
            } else {
                0.0
            };
        }
    }
    wins / (positives.len() * negatives.len()) as f64
}

/// Returns the AUC of a direction on contrasts that it was not fitted on, the mean over up to five folds.
/// `positives` and `negatives` have one row per contrast. Returns `None` for a single contrast, which leaves nothing
/// to test on.
pub(crate) fn cross_validated_auc(
    positives: &[Vec<f64>],
    negatives: &[Vec<f64>],
    fit: impl Fn(&[Vec<f64>], &[Vec<f64>]) -> Vec<f64>,
) -> Option<f64> {
    let n_folds = positives.len().min(5);
    if n_folds < 2 {
        return None;
    }
    let fold_auc = |fold: usize| {
        let (test, train): (Vec<usize>, Vec<usize>) = (0..positives.len()).partition(|i| i % n_folds == fold);
        let rows = |of: &'_ [Vec<f64>], which: &[usize]| -> Vec<Vec<f64>> {
            which.iter().map(|i| of[*i].clone()).collect()
        };
        let direction = fit(&rows(positives, &train), &rows(negatives, &train));
        let project = |of| rows(of, &test).iter().map(|row| dot(row, &direction)).collect::<Vec<_>>();
        auc(&project(positives), &project(negatives))
    };
    Some((0..n_folds).map(fold_auc).sum::<f64>() / n_folds as f64)
}

/// Returns the mean.
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Returns the standard deviation, over `n − 1`.
pub(crate) fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    (values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (values.len() - 1) as f64).sqrt()
}

/// Returns Pearson's correlation, or `None` where one side does not vary.
pub(crate) fn correlation(a: &[f64], b: &[f64]) -> Option<f64> {
    let (mean_a, mean_b) = (mean(a), mean(b));
    let sum = |f: fn(f64, f64) -> f64| a.iter().zip(b).map(|(a, b)| f(a - mean_a, b - mean_b)).sum::<f64>();
    let (aa, ab, bb) = (sum(|a, _| a * a), sum(|a, b| a * b), sum(|_, b| b * b));
    let scale = (aa * bb).sqrt();
    (scale > 0.0).then(|| ab / scale)
}

/// The resamples of a bootstrap: enough for the second digit of an interval's ends.
pub(crate) const RESAMPLES: usize = 2000;

/// Returns a 95 % interval of the mean by the bias-corrected and accelerated bootstrap (Efron 1987), or `None` for
/// fewer than four values, which say too little about their spread.
pub(crate) fn interval_of_mean(values: &[f64], resamples: usize, mut random: Random) -> Option<[f64; 2]> {
    let n = values.len();
    if n < 4 {
        return None;
    }
    let estimate = mean(values);
    let mut means: Vec<f64> =
        (0..resamples).map(|_| (0..n).map(|_| values[random.below(n)]).sum::<f64>() / n as f64).collect();
    means.sort_by(f64::total_cmp);
    if means[0] == means[resamples - 1] {
        return Some([estimate, estimate]);
    }
    // How far the resampled means lie to one side of the mean, ties half.
    let below = means.partition_point(|it| *it < estimate) as f64;
    let not_above = means.partition_point(|it| *it <= estimate) as f64;
    let share = ((below + not_above) / 2.0).clamp(0.5, resamples as f64 - 0.5) / resamples as f64;
    let bias = normal_quantile(share);
    // How the mean's error changes with the mean: from leaving one value out at a time.
    let total = estimate * n as f64;
    let left_out: Vec<f64> = values.iter().map(|x| (total - x) / (n - 1) as f64).collect();
    let middle = mean(&left_out);
    let moment = |power: i32| left_out.iter().map(|it| (middle - it).powi(power)).sum::<f64>();
    let acceleration = moment(3) / (6.0 * moment(2).powf(1.5));
    let end = |z: f64| {
        let shifted = bias + (bias + z) / (1.0 - acceleration * (bias + z));
        percentile(&means, normal_share(shifted))
    };
    Some([end(-Z_975), end(Z_975)])
}

/// Where a 95 % interval of the normal distribution ends.
const Z_975: f64 = 1.959_963_984_540_054;

/// Returns the value below which a share `p` of sorted values lies, linear between the two nearest.
pub(crate) fn percentile(sorted: &[f64], p: f64) -> f64 {
    let at = p * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

/// Returns the share of the normal distribution below `z`.
fn normal_share(z: f64) -> f64 {
    0.5 * libm::erfc(-z / std::f64::consts::SQRT_2)
}

/// Returns the inverse of [`normal_share`], by Newton's method from the middle: the slope is the density.
fn normal_quantile(share: f64) -> f64 {
    let mut z = 0.0_f64;
    for _ in 0..60 {
        let density = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let step = (normal_share(z) - share) / density.max(1e-300);
        // Far out the density is so small that a whole step would leap over the target.
        z -= step.clamp(-1.0, 1.0);
        if step.abs() < 1e-13 {
            break;
        }
    }
    z
}

/// Returns the range in which the next value of the same distribution lies with 95 % confidence:
/// `mean ± t · s · √(1 + 1/n)`. There are at least three values.
pub(crate) fn prediction_interval(values: &[f64]) -> [f64; 2] {
    // The quantile 0.975 of Student's t for 2, 3, … degrees of freedom.
    const T_975: [f64; 19] = [
        4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
        2.120, 2.110, 2.101, 2.093, 2.086,
    ];
    let n = values.len();
    let t = T_975[(n - 3).min(T_975.len() - 1)];
    let reach = t * deviation(values) * (1.0 + 1.0 / n as f64).sqrt();
    [mean(values) - reach, mean(values) + reach]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::mean_row;

    #[test]
    fn auc_counts_wins_and_half_of_ties() {
        assert_eq!(auc(&[3.0, 4.0], &[1.0, 2.0]), 1.0);
        assert_eq!(auc(&[1.0], &[1.0]), 0.5);
        assert_eq!(auc(&[0.0, 2.0], &[1.0]), 0.5);
        assert_eq!(auc(&[0.0], &[1.0]), 0.0);
    }

    #[test]
    fn cross_validation_tests_on_what_it_did_not_fit() {
        // One coordinate per contrast: a fit that memorises is worthless on the others.
        let n = 10;
        let row = |i: usize, x: f64| (0..n).map(|j| if i == j { x } else { 0.0 }).collect::<Vec<_>>();
        let positives: Vec<_> = (0..n).map(|i| row(i, 1.0)).collect();
        let negatives: Vec<_> = (0..n).map(|i| row(i, -1.0)).collect();
        let fit = |p: &[Vec<f64>], n: &[Vec<f64>]| -> Vec<f64> {
            mean_row(p).iter().zip(mean_row(n)).map(|(p, n)| p - n).collect()
        };
        assert_eq!(cross_validated_auc(&positives, &negatives, fit), Some(0.5));
        assert_eq!(cross_validated_auc(&positives[..1], &negatives[..1], fit), None);
    }

    /// See tools/golden/statistics.py.
    #[derive(serde::Deserialize)]
    struct Golden {
        values: Vec<f64>,
        other: Vec<f64>,
        interval: [f64; 2],
        correlation: f64,
        prediction: [f64; 2],
    }

    #[test]
    fn intervals_and_correlations_are_those_of_scipy() {
        let cases: Vec<Golden> =
            serde_json::from_str(include_str!("../../../../tests/golden/statistics.json")).unwrap();
        for case in cases {
            // Both draw 100 000 resamples, so an end is known to about a hundredth of the interval.
            let got = interval_of_mean(&case.values, 100_000, Random::new(1)).unwrap();
            let width = case.interval[1] - case.interval[0];
            let near = |a: f64, b: f64, by: f64| assert!((a - b).abs() <= by, "{a} {b}");
            near(got[0], case.interval[0], 0.015 * width);
            near(got[1], case.interval[1], 0.015 * width);
            near(correlation(&case.values, &case.other).unwrap(), case.correlation, 1e-12);
            // The table of t has four digits.
            let got = prediction_interval(&case.values);
            let width = case.prediction[1] - case.prediction[0];
            near(got[0], case.prediction[0], 3e-4 * width);
            near(got[1], case.prediction[1], 3e-4 * width);
        }
    }

    #[test]
    fn an_interval_holds_the_true_mean_as_often_as_it_says() {
        // Of 400 intervals at 95 %, a share within 3.3 standard errors, less what small samples are known to
        // cost: about two in a hundred for normal values, four for skewed ones.
        let check = |name: &str, n: usize, least: f64, draw: fn(&mut Random) -> f64, truth: f64| {
            let mut random = Random::new(n as u64);
            let holds = (0..400).filter(|trial| {
                let values: Vec<f64> = (0..n).map(|_| draw(&mut random)).collect();
                let [low, high] = interval_of_mean(&values, 500, Random::new(*trial)).unwrap();
                low <= truth && truth <= high
            });
            let share = holds.count() as f64 / 400.0;
            assert!((least..=0.985).contains(&share), "{name}, {n} values: {share}");
        };
        check("normal", 12, 0.89, Random::normal, 0.0);
        check("normal", 40, 0.91, Random::normal, 0.0);
        check("exponential", 40, 0.88, |random| -(1.0 - random.uniform()).ln(), 1.0);
    }

    #[test]
    fn the_normal_quantile_is_the_inverse_of_the_share() {
        for z in [-4.0, -1.0, 0.0, 0.3, 2.5, 4.0] {
            assert!((normal_quantile(normal_share(z)) - z).abs() < 1e-9, "{z}");
        }
        assert!((normal_share(Z_975) - 0.975).abs() < 1e-15);
    }

    #[test]
    fn values_that_are_all_the_same_have_an_interval_of_no_width() {
        assert_eq!(interval_of_mean(&[2.0; 5], 50, Random::new(0)), Some([2.0, 2.0]));
        assert_eq!(interval_of_mean(&[2.0; 3], 50, Random::new(0)), None);
        assert_eq!(correlation(&[1.0, 1.0], &[1.0, 2.0]), None);
    }
}
