//! Plain twins: the definitions, in `f64` and in the order of the formula. Tests compare the fast kernels
//! with the twins; nothing else should call them.

use crate::attention::Attention;
use crate::rows::Activation;
use crate::weights::Matrix;

/// Returns `y[r, o] = Σᵢ x[r, i] · w[o, i] + bias[o]`.
pub fn linear(x: &[f32], w: &Matrix, bias: Option<&[f32]>) -> Vec<f32> {
    let weights = w.to_f32();
    let mut out = Vec::new();
    for x in x.chunks_exact(w.n_in) {
        for (o, w) in weights.chunks_exact(w.n_in).enumerate() {
            let sum: f64 = x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
            out.push((sum + bias.map_or(0.0, |b| f64::from(b[o]))) as f32);
        }
    }
    out
}

/// Returns the attention of row `r` over the first `seen[r]` positions of `keys` and `values`,
/// `[n_positions, n_kv_heads * head_dim]`, or over the last of these that fit the window.
pub fn attention(shape: Attention, q: &[f32], keys: &[f32], values: &[f32], seen: &[usize]) -> Vec<f32> {
    let Attention { n_heads, n_kv_heads, head_dim, scale, window, soft_cap } = shape;
    let kv_width = n_kv_heads * head_dim;
    let mut out = Vec::new();
    for (q, seen) in q.chunks_exact(n_heads * head_dim).zip(seen) {
        for (head, q) in q.chunks_exact(head_dim).enumerate() {
            let at = head / (n_heads / n_kv_heads) * head_dim;
            let score = |p: usize| {
                let key = &keys[p * kv_width + at..][..head_dim];
                let dot: f64 = q.iter().zip(key).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
                let score = dot * f64::from(scale);
                soft_cap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh()).exp()
            };
            let first = window.map_or(0, |window| seen.saturating_sub(window));
            let weights: Vec<f64> = (first..*seen).map(score).collect();
            let total: f64 = weights.iter().sum();
            for i in 0..head_dim {
                let value = |p: usize| f64::from(values[(first + p) * kv_width + at + i]);
                let sum: f64 = weights.iter().enumerate().map(|(p, w)| w * value(p)).sum();
                out.push((sum / total) as f32);
            }
        }
    }
    out
}

/// Returns `(x - mean(x)) / sqrt(variance(x) + eps) · weight + bias`.
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32) -> Vec<f32> {
    let n = x.len() as f64;
    let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
    let variance = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n;
    let scale = 1.0 / (variance + f64::from(eps)).sqrt();
    let normed = x.iter().map(|x| (f64::from(*x) - mean) * scale);
    normed.zip(weight).zip(bias).map(|((x, w), b)| (x * f64::from(*w) + f64::from(*b)) as f32).collect()
}

/// Returns `x / sqrt(mean(x²) + eps) · weight`.
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32) -> Vec<f32> {
    let square = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / x.len() as f64;
    let scale = 1.0 / (square + f64::from(eps)).sqrt();
    x.iter().zip(weight).map(|(x, weight)| (f64::from(*x) * scale * f64::from(*weight)) as f32).collect()
}

/// Returns the value of an activation function. `Gelu` integrates the bell curve by Simpson's rule.
pub fn activation(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Gelu => x * normal_distribution(x),
        Activation::GeluTanh => {
            let y = std::f64::consts::FRAC_2_PI.sqrt() * (x + 0.044715 * x.powi(3));
            0.5 * x * (1.0 + y.tanh())
        }
        Activation::Relu => x.max(0.0),
    }
}

/// Returns `Φ(x)`.
fn normal_distribution(x: f64) -> f64 {
    const STEPS: u32 = 400;
    let end = x.abs().min(12.0);
    let bell = |t: f64| (-0.5 * t * t).exp();
    let step = end / f64::from(STEPS);
    let inner = (1..STEPS).map(|i| bell(f64::from(i) * step) * if i % 2 == 1 { 4.0 } else { 2.0 });
    let half = (bell(0.0) + inner.sum::<f64>() + bell(end)) * step / 3.0 / std::f64::consts::TAU.sqrt();
    if x < 0.0 { 0.5 - half } else { 0.5 + half }
}
