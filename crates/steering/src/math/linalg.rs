//! The linear algebra that fitting needs, in `f64`: rows are few (contrasts) and wide (`d_model`), so
//! everything goes through products of rows with each other.

/// Rows of the same width.
pub(crate) type Matrix = Vec<Vec<f64>>;

/// Returns `a · b`, as eight sums side by side: as fast as the processor allows, and in one fixed order.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a_eights, b_eights) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a_eights.remainder().iter().zip(b_eights.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_eights.zip(b_eights) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + b) + (c + d)) + ((e + f) + (g + h)) + rest
}

/// Returns the Euclidean norm.
pub(crate) fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

/// Returns the vector of norm 1 along `a`, or `None` for a zero vector or one that is not finite.
pub(crate) fn unit(mut a: Vec<f64>) -> Option<Vec<f64>> {
    let norm = norm(&a);
    a.iter_mut().for_each(|x| *x /= norm);
    (norm > 0.0 && norm.is_finite()).then_some(a)
}

/// Adds `factor · x` to `y`.
pub(crate) fn add_scaled(y: &mut [f64], factor: f64, x: &[f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += factor * x);
}

/// Returns `a − b`.
pub(crate) fn minus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// Returns the mean of at least one row.
pub(crate) fn mean_row(rows: &[Vec<f64>]) -> Vec<f64> {
    let mut mean = vec![0.0; rows[0].len()];
    rows.iter().for_each(|row| add_scaled(&mut mean, 1.0, row));
    mean.iter_mut().for_each(|x| *x /= rows.len() as f64);
    mean
}

/// Returns `Σ weights[i] · rows[i]`.
pub(crate) fn combination(weights: &[f64], rows: &[Vec<f64>]) -> Vec<f64> {
    let mut sum = vec![0.0; rows[0].len()];
    weights.iter().zip(rows).for_each(|(weight, row)| add_scaled(&mut sum, *weight, row));
    sum
}

/// Returns the products of all rows with each other, `[n, n]`.
pub(crate) fn gram(rows: &[Vec<f64>]) -> Matrix {
    let mut products: Matrix = rows.iter().map(|_| vec![0.0; rows.len()]).collect();
    for i in 0..rows.len() {
        for j in 0..=i {
            let product = dot(&rows[i], &rows[j]);
            products[i][j] = product;
            products[j][i] = product;
        }
    }
    products
}

/// Returns `matrix · x`.
pub(crate) fn times(matrix: &[Vec<f64>], x: &[f64]) -> Vec<f64> {
    matrix.iter().map(|row| dot(row, x)).collect()
}

/// Solves `matrix · x = b` by Cholesky's decomposition. Returns `None` if the matrix is not symmetric positive
/// definite.
pub(crate) fn solve(mut matrix: Matrix, b: &[f64]) -> Option<Vec<f64>> {
    let n = b.len();
    // The lower triangle becomes L with L Lᵀ = matrix.
    for j in 0..n {
        let pivot = matrix[j][j] - dot(&matrix[j][..j], &matrix[j][..j]);
        if pivot.is_nan() || pivot <= 0.0 {
            return None;
        }
        matrix[j][j] = pivot.sqrt();
        let (above, below) = matrix.split_at_mut(j + 1);
        let row = &above[j];
        below.iter_mut().for_each(|lower| lower[j] = (lower[j] - dot(&lower[..j], &row[..j])) / row[j]);
    }
    let mut x = b.to_vec();
    for i in 0..n {
        x[i] = (x[i] - dot(&matrix[i][..i], &x[..i])) / matrix[i][i];
    }
    for i in (0..n).rev() {
        x[i] /= matrix[i][i];
        let (head, tail) = x.split_at_mut(i);
        add_scaled(head, -tail[0], &matrix[i][..i]);
    }
    Some(x)
}

/// Steps of Lanczos' iteration: beyond some dozens the leading eigenvector no longer moves.
const LANCZOS_STEPS: usize = 96;

/// Returns the eigenvector of the largest eigenvalue of a symmetric matrix, of norm 1, or `None` for a matrix of
/// zeros. Lanczos' iteration with full reorthogonalisation is exact for up to 96 rows.
pub(crate) fn leading_eigenvector(matrix: &[Vec<f64>]) -> Option<Vec<f64>> {
    let n = matrix.len();
    // The row with the largest diagonal is far from orthogonal to the leading vector of a Gram matrix; the
    // ripple keeps a start that is orthogonal to it by symmetry from staying so.
    let start = (0..n).max_by(|a, b| matrix[*a][*a].total_cmp(&matrix[*b][*b]))?;
    let scale = norm(&matrix[start]);
    let ripple = |(i, x): (usize, &f64)| x + 1e-3 * scale * (1.0 + i as f64).sin();
    let mut basis = vec![unit(matrix[start].iter().enumerate().map(ripple).collect())?];
    let (mut diagonal, mut beside) = (Vec::new(), Vec::new());
    loop {
        let last = &basis[basis.len() - 1];
        let mut next = times(matrix, last);
        diagonal.push(dot(&next, last));
        if basis.len() == LANCZOS_STEPS.min(n) {
            break;
        }
        // Twice is enough (Kahan): what the first pass leaves behind by rounding, the second removes.
        for _ in 0..2 {
            for kept in &basis {
                let along = dot(&next, kept);
                add_scaled(&mut next, -along, kept);
            }
        }
        let length = norm(&next);
        if length <= 1e-13 * scale {
            break;
        }
        beside.push(length);
        basis.push(unit(next)?);
    }
    let m = diagonal.len();
    let mut small: Matrix = vec![vec![0.0; m]; m];
    for i in 0..m {
        small[i][i] = diagonal[i];
        if i + 1 < m {
            small[i][i + 1] = beside[i];
            small[i + 1][i] = beside[i];
        }
    }
    let (values, vectors) = jacobi(small);
    let largest = (0..m).fold(0, |best, i| if values[i] > values[best] { i } else { best });
    unit(combination(&vectors[largest], &basis))
}

/// Returns `matrix^(−1/2)` of a small symmetric matrix, or `None` if an eigenvalue is not above `least`.
pub(crate) fn inverse_root(matrix: Matrix, least: f64) -> Option<Matrix> {
    let n = matrix.len();
    let (values, vectors) = jacobi(matrix);
    let mut root: Matrix = vec![vec![0.0; n]; n];
    for (value, vector) in values.iter().zip(&vectors) {
        if value.is_nan() || *value <= least {
            return None;
        }
        for (row, x) in root.iter_mut().zip(vector) {
            add_scaled(row, x / value.sqrt(), vector);
        }
    }
    Some(root)
}

/// Returns the eigenvalues of a small symmetric matrix and, as rows, their vectors of norm 1, by Jacobi's rotations.
fn jacobi(mut matrix: Matrix) -> (Vec<f64>, Matrix) {
    let n = matrix.len();
    let mut vectors: Matrix = (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    let size: f64 = matrix.iter().map(|row| dot(row, row)).sum::<f64>().sqrt();
    for _sweep in 0..64 {
        let off: f64 = (0..n).map(|i| dot(&matrix[i][..i], &matrix[i][..i])).sum::<f64>().sqrt();
        if off <= 1e-15 * size {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                if matrix[p][q].abs() > 1e-18 * size {
                    rotate(&mut matrix, &mut vectors, p, q);
                }
            }
        }
    }
    let columns = (0..n).map(|j| vectors.iter().map(|row| row[j]).collect());
    ((0..n).map(|i| matrix[i][i]).collect(), columns.collect())
}

/// Makes `matrix[p][q]` zero by a rotation in the plane of `p` and `q` (Golub and Van Loan, 8.5.2).
fn rotate(matrix: &mut Matrix, vectors: &mut Matrix, p: usize, q: usize) {
    let theta = (matrix[q][q] - matrix[p][p]) / (2.0 * matrix[p][q]);
    let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let t = if theta == 0.0 { 1.0 } else { t };
    let cos = 1.0 / (t * t + 1.0).sqrt();
    let sin = t * cos;
    let turn = |a: &mut f64, b: &mut f64| (*a, *b) = (cos * *a - sin * *b, sin * *a + cos * *b);
    for row in matrix.iter_mut().chain(vectors) {
        let (head, tail) = row.split_at_mut(q);
        turn(&mut head[p], &mut tail[0]);
    }
    let (head, tail) = matrix.split_at_mut(q);
    head[p].iter_mut().zip(&mut tail[0]).for_each(|(a, b)| turn(a, b));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::Random;

    fn rows(n: usize, d: usize, seed: u64) -> Matrix {
        let mut random = Random::new(seed);
        (0..n).map(|_| (0..d).map(|_| random.normal()).collect()).collect()
    }

    #[test]
    fn a_dot_product_takes_every_element_once() {
        for n in [0, 1, 7, 8, 9, 31] {
            let a: Vec<f64> = (0..n).map(f64::from).collect();
            assert_eq!(dot(&a, &a), (0..n).map(|x| f64::from(x * x)).sum::<f64>(), "{n}");
        }
    }

    #[test]
    fn a_solution_solves() {
        for n in [1, 2, 5, 40] {
            let mut matrix = gram(&rows(n, n + 3, 1));
            (0..n).for_each(|i| matrix[i][i] += 0.1);
            let b = rows(1, n, 2).remove(0);
            let x = solve(matrix.clone(), &b).unwrap();
            let left = minus(&times(&matrix, &x), &b);
            assert!(norm(&left) <= 1e-10 * norm(&b), "{n}: {}", norm(&left));
        }
        assert!(solve(vec![vec![1.0, 2.0], vec![2.0, 1.0]], &[1.0, 1.0]).is_none(), "not positive definite");
    }

    #[test]
    fn an_inverse_root_times_itself_and_the_matrix_is_one() {
        for n in [1, 2, 3, 7] {
            let matrix = gram(&rows(n, n + 4, 5));
            let root = inverse_root(matrix.clone(), 0.0).unwrap();
            for (i, row) in matrix.iter().enumerate() {
                let column = times(&root, &times(&root, row));
                for (j, x) in column.iter().enumerate() {
                    assert!((x - f64::from(u8::from(i == j))).abs() < 1e-9, "{n}: {i} {j} {x}");
                }
            }
        }
        assert!(inverse_root(vec![vec![1.0; 2]; 2], 1e-10).is_none(), "of rank one");
    }

    #[test]
    fn the_leading_eigenvector_is_one_and_leads() {
        for (n, d) in [(1, 4), (2, 9), (6, 3), (50, 80), (150, 30)] {
            let rows = rows(n, d, 3);
            let matrix = gram(&rows);
            let v = leading_eigenvector(&matrix).unwrap();
            let image = times(&matrix, &v);
            let value = dot(&image, &v);
            let mut off = image.clone();
            add_scaled(&mut off, -value, &v);
            assert!(norm(&off) <= 1e-9 * value, "{n} × {d}: {}", norm(&off) / value);
            // No other direction has a larger quotient.
            let mut random = Random::new(9);
            for _ in 0..20 {
                let other = unit((0..n).map(|_| random.normal()).collect()).unwrap();
                assert!(dot(&times(&matrix, &other), &other) <= value * (1.0 + 1e-12));
            }
        }
        assert!(leading_eigenvector(&[vec![0.0; 2], vec![0.0; 2]]).is_none());
    }
}
