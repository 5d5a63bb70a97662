//! The means and factors of norms.

/// Returns `1 / sqrt(mean(x²) + eps)`. Eight sums run side by side, so that no addition waits for the one
/// before.
pub(crate) fn rms_scale(x: &[f32], eps: f32) -> f32 {
    let mut sums = [0.0f64; 8];
    let mut groups = x.chunks_exact(8);
    for group in groups.by_ref() {
        for (sum, x) in sums.iter_mut().zip(group) {
            *sum += f64::from(*x) * f64::from(*x);
        }
    }
    let rest: f64 = groups.remainder().iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    let sum = sums.iter().sum::<f64>() + rest;
    (1.0 / (sum / x.len() as f64 + f64::from(eps)).sqrt()) as f32
}

/// Returns the mean and `1 / sqrt(variance + eps)`.
pub(crate) fn mean_and_scale(x: &[f32], eps: f32) -> (f32, f32) {
    let n = x.len() as f64;
    let sum = |f: &dyn Fn(f64) -> f64| {
        let mut sums = [0.0f64; 8];
        for group in x.chunks(8) {
            for (sum, x) in sums.iter_mut().zip(group) {
                *sum += f(f64::from(*x));
            }
        }
        sums.iter().sum::<f64>()
    };
    let mean = sum(&|x| x) / n;
    let variance = sum(&|x| (x - mean) * (x - mean)) / n;
    (mean as f32, (1.0 / (variance + f64::from(eps)).sqrt()) as f32)
}
