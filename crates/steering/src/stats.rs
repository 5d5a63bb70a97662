//! The little statistics that extraction needs.

use crate::linalg::dot;

/// Area under the ROC curve: the chance that a positive scores above a negative, ties half.
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

/// AUC of a direction on contrasts it was not fitted on: up to five folds, taken in turn; the mean
/// over folds. `positives` and `negatives` are one row per contrast; `None` for a single contrast,
/// which leaves nothing to test on.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::mean_row;

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
}
