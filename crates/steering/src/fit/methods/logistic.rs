//! Logistic regression on rows that number fewer than their elements.

use crate::math::{add_scaled, combination, dot, gram, mean_row, minus, times};

/// A regression: `argmin_(w, b) ½ w·w + C Σ ln(1 + exp(−y (w·x + b)))` over positive rows (y = 1) and negative ones
/// (y = −1).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Logistic {
    /// The weight of the misfit; a smaller one is a stronger pull to zero.
    pub(crate) c: f64,
    /// Whether elements are first brought to mean 0 and variance 1; the direction is brought back.
    pub(crate) standardise: bool,
    /// Whether there is a `b`.
    pub(crate) intercept: bool,
    /// Whether the mean of its contrast is taken from each row.
    pub(crate) paired: bool,
}

impl Default for Logistic {
    fn default() -> Logistic {
        Logistic { c: 1.0, standardise: true, intercept: true, paired: false }
    }
}

const NEWTON_STEPS: usize = 100;

impl Logistic {
    /// Returns the weight of each element of the rows as they were given. `w` is a combination of rows, so one number
    /// `a` per row is sought: `w = Σ aᵢ xᵢ`.
    pub(crate) fn fit(&self, positives: &[Vec<f64>], negatives: &[Vec<f64>]) -> Option<Vec<f64>> {
        let (rows, scale) = self.prepare(positives, negatives);
        let y: Vec<f64> = (0..rows.len()).map(|i| if i < positives.len() { 1.0 } else { -1.0 }).collect();
        let products = gram(&rows);
        let (mut a, mut b) = (vec![0.0; rows.len()], 0.0);
        let mut f = vec![0.0; rows.len()];
        let mut loss = self.loss(&a, &f, &y);
        for _ in 0..NEWTON_STEPS {
            // Gradient in terms of `a`: zero where aᵢ = C yᵢ σ(−yᵢ fᵢ).
            let p: Vec<f64> = f.iter().zip(&y).map(|(f, y)| sigmoid(-y * f)).collect();
            let slope: Vec<f64> = p.iter().zip(&y).map(|(p, y)| self.c * y * p).collect();
            let residual = minus(&a, &slope);
            let off_balance: f64 = if self.intercept { slope.iter().sum() } else { 0.0 };
            let size = dot(&residual, &times(&products, &residual)).max(0.0).sqrt();
            if size <= 1e-10 && off_balance.abs() <= 1e-10 {
                break;
            }
            let curvature: Vec<f64> = p.iter().map(|p| self.c * p * (1.0 - p)).collect();
            let (step_a, step_b) = self.newton(&products, &curvature, &residual, off_balance);
            let step_f: Vec<f64> = times(&products, &step_a).iter().map(|x| x + step_b).collect();
            // Half as far until it is an improvement: far from the end the parabola says too much.
            let mut share = 1.0;
            loop {
                let (mut next_a, mut next_f) = (a.clone(), f.clone());
                add_scaled(&mut next_a, share, &step_a);
                add_scaled(&mut next_f, share, &step_f);
                // ½ w·w = ½ a·(f − b)
                let without_b: Vec<f64> = next_f.iter().map(|f| f - (b + share * step_b)).collect();
                let next = self.loss_of(&next_a, &without_b, &next_f, &y);
                if next <= loss || share < 1e-6 {
                    let done = loss - next <= 1e-15 * loss.abs();
                    (a, f, b, loss) = (next_a, next_f, b + share * step_b, next);
                    if done {
                        return self.weights(&a, &rows, &scale);
                    }
                    break;
                }
                share /= 2.0;
            }
        }
        self.weights(&a, &rows, &scale)
    }

    fn weights(&self, a: &[f64], rows: &[Vec<f64>], scale: &[f64]) -> Option<Vec<f64>> {
        let w: Vec<f64> = combination(a, rows).iter().zip(scale).map(|(w, scale)| w / scale).collect();
        w.iter().all(|x| x.is_finite()).then_some(w)
    }

    fn loss(&self, a: &[f64], f: &[f64], y: &[f64]) -> f64 {
        self.loss_of(a, f, f, y)
    }

    fn loss_of(&self, a: &[f64], without_b: &[f64], f: &[f64], y: &[f64]) -> f64 {
        let misfit: f64 = f.iter().zip(y).map(|(f, y)| softplus(-y * f)).sum();
        0.5 * dot(a, without_b) + self.c * misfit
    }

    /// Returns the rows as they are fitted, positives first, and the scale of each element.
    fn prepare(&self, positives: &[Vec<f64>], negatives: &[Vec<f64>]) -> (Vec<Vec<f64>>, Vec<f64>) {
        let mut rows: Vec<Vec<f64>> = positives.iter().chain(negatives).cloned().collect();
        if self.paired {
            let n = positives.len();
            for i in 0..n {
                let middle = mean_row(&[rows[i].clone(), rows[n + i].clone()]);
                add_scaled(&mut rows[i], -1.0, &middle);
                add_scaled(&mut rows[n + i], -1.0, &middle);
            }
        }
        let mut scale = vec![1.0; rows[0].len()];
        if self.standardise {
            let mean = mean_row(&rows);
            rows.iter_mut().for_each(|row| add_scaled(row, -1.0, &mean));
            scale = deviations(&rows);
            rows.iter_mut().for_each(|row| row.iter_mut().zip(&scale).for_each(|(x, scale)| *x /= scale));
        }
        (rows, scale)
    }

    /// Returns the step `(α, β)` to where the gradient of the parabola is zero. With `K` the products of rows and `W` the
    /// curvatures: `(I + W K) α + W 1 β = −residual` and, with an intercept, `Σ W (K α + β) = Σ slope`.
    fn newton(
        &self,
        products: &[Vec<f64>],
        curvature: &[f64],
        residual: &[f64],
        off_balance: f64,
    ) -> (Vec<f64>, f64) {
        let right: Vec<f64> = residual.iter().map(|x| -x).collect();
        let first = conjugate_gradients(products, curvature, &right);
        if !self.intercept {
            return (first, 0.0);
        }
        let second = conjugate_gradients(products, curvature, curvature);
        // α = first − β second, and β as the balance wants it.
        let weigh = |a: &[f64]| dot(curvature, &times(products, a));
        let total: f64 = curvature.iter().sum();
        let denominator = total - weigh(&second);
        let beta = if denominator > 0.0 { (off_balance - weigh(&first)) / denominator } else { 0.0 };
        let mut alpha = first;
        add_scaled(&mut alpha, -beta, &second);
        (alpha, beta)
    }
}

/// Solves `(I + W K) x = right`: with `x = right − W^½ s` that is `(I + W^½ K W^½) s = W^½ K right`, which is
/// symmetric and positive definite.
fn conjugate_gradients(products: &[Vec<f64>], curvature: &[f64], right: &[f64]) -> Vec<f64> {
    let roots: Vec<f64> = curvature.iter().map(|w| w.sqrt()).collect();
    let scaled = |x: &[f64]| -> Vec<f64> { x.iter().zip(&roots).map(|(x, root)| x * root).collect() };
    let apply = |s: &[f64]| {
        let mut out = scaled(&times(products, &scaled(s)));
        add_scaled(&mut out, 1.0, s);
        out
    };
    let b = scaled(&times(products, right));
    let mut s = vec![0.0; b.len()];
    let (mut left, mut along) = (b.clone(), b.clone());
    let mut size = dot(&left, &left);
    let enough = 1e-26 * size;
    for _ in 0..4 * b.len() + 20 {
        if size <= enough {
            break;
        }
        let image = apply(&along);
        let step = size / dot(&along, &image);
        add_scaled(&mut s, step, &along);
        add_scaled(&mut left, -step, &image);
        let next = dot(&left, &left);
        let keep = next / size;
        along.iter_mut().zip(&left).for_each(|(along, left)| *along = left + keep * *along);
        size = next;
    }
    let mut x = right.to_vec();
    add_scaled(&mut x, -1.0, &scaled(&s));
    x
}

/// Returns the standard deviations (over `n`) of the elements of rows with mean zero; 1 for elements that do not vary.
pub(super) fn deviations(centred: &[Vec<f64>]) -> Vec<f64> {
    let mut squares = vec![0.0; centred[0].len()];
    for row in centred {
        squares.iter_mut().zip(row).for_each(|(sum, x)| *sum += x * x);
    }
    let deviation = |sum: f64| (sum / centred.len() as f64).sqrt();
    squares.into_iter().map(deviation).map(|x| if x > 0.0 { x } else { 1.0 }).collect()
}

fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) }
}

/// Returns `ln(1 + exp(x))`, without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}
