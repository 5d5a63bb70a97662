//! Fisher's linear discriminant where elements outnumber rows.

use super::logistic::deviations;
use crate::math::{add_scaled, combination, dot, gram, mean_row, minus, solve};

/// Returns `Σ⁻¹ (mean of positives − mean of negatives)`.
///
/// `Σ` is the mean of the two sides' covariances, each of standardised elements, shrunk towards a multiple of the
/// identity by as much as Ledoit and Wolf (2004) say, and scaled back. scikit-learn's
/// LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto") does the same.
///
/// Such a `Σ` is a diagonal plus a product of rows, `D + Uᵀ U`, so its inverse needs no matrix larger than
/// the number of rows: `Σ⁻¹ x = D⁻¹ x − D⁻¹ Uᵀ (I + U D⁻¹ Uᵀ)⁻¹ U D⁻¹ x` (Woodbury).
pub(super) fn fit(positives: &[Vec<f64>], negatives: &[Vec<f64>]) -> Option<Vec<f64>> {
    let d = positives[0].len();
    let (mut diagonal, mut low) = (vec![0.0; d], Vec::new());
    for rows in [positives, negatives] {
        let mean = mean_row(rows);
        let mut rows: Vec<Vec<f64>> = rows.iter().map(|row| minus(row, &mean)).collect();
        let scale = deviations(&rows);
        rows.iter_mut().for_each(|row| row.iter_mut().zip(&scale).for_each(|(x, scale)| *x /= scale));
        let (share, level) = shrinkage(&rows);
        let prior = 0.5; // both sides have the same number of rows
        diagonal
            .iter_mut()
            .zip(&scale)
            .for_each(|(sum, scale)| *sum += prior * share * level * scale * scale);
        let weight = (prior * (1.0 - share) / rows.len() as f64).sqrt();
        for row in &mut rows {
            row.iter_mut().zip(&scale).for_each(|(x, scale)| *x *= scale * weight);
        }
        low.extend(rows);
    }
    if diagonal.iter().any(|x| *x <= 0.0) {
        return None; // too few rows to know a covariance
    }
    let over = |x: &[f64]| -> Vec<f64> { x.iter().zip(&diagonal).map(|(x, d)| x / d).collect() };
    let apart = minus(&mean_row(positives), &mean_row(negatives));
    let mut direction = over(&apart);
    // U D⁻¹ Uᵀ = (U D^-½)(U D^-½)ᵀ
    let halves = |row: &Vec<f64>| row.iter().zip(&diagonal).map(|(x, d)| x / d.sqrt()).collect();
    let mut inner = gram(&low.iter().map(halves).collect::<Vec<Vec<f64>>>());
    (0..inner.len()).for_each(|i| inner[i][i] += 1.0);
    let right: Vec<f64> = low.iter().map(|row| dot(row, &direction)).collect();
    let correction = over(&combination(&solve(inner, &right)?, &low));
    add_scaled(&mut direction, -1.0, &correction);
    Some(direction)
}

/// Returns how far a covariance of centred rows is to be shrunk, 0 to 1, and the variance that it is shrunk to
/// (Ledoit and Wolf 2004, lemma 3.2 and following).
fn shrinkage(rows: &[Vec<f64>]) -> (f64, f64) {
    let (n, d) = (rows.len() as f64, rows[0].len() as f64);
    let squares: Vec<f64> = rows.iter().map(|row| dot(row, row)).collect();
    let level = squares.iter().sum::<f64>() / (n * d);
    // Σ over elements of the squared covariances, by way of the products of rows.
    let covariances = gram(rows).iter().map(|row| dot(row, row)).sum::<f64>() / (n * n);
    let fourth: f64 = dot(&squares, &squares);
    let noise = (fourth / n - covariances) / (d * n);
    let spread = (covariances - d * level * level) / d;
    let share = if spread > 0.0 { noise.min(spread).max(0.0) / spread } else { 1.0 };
    (share, level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::norm;

    #[test]
    fn rows_that_do_not_vary_determine_nothing() {
        let same = vec![vec![1.0, 2.0]; 3];
        assert!(fit(&same, &same).is_none_or(|it| norm(&it) == 0.0));
    }
}
