//! Plain twins: the definitions, in `f64` and in the order of the formula. Tests hold the fast
//! kernels against them; nothing else should call them.

use crate::{Attention, Matrix};

/// `y[r, o] = Σᵢ x[r, i] · w[o, i] + bias[o]`.
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

/// Attention of row `r` over the first `seen[r]` positions of `keys` and `values`, which are
/// `[n_positions, n_kv_heads * head_dim]`.
pub fn attention(shape: Attention, q: &[f32], keys: &[f32], values: &[f32], seen: &[usize]) -> Vec<f32> {
    let Attention { n_heads, n_kv_heads, head_dim, scale } = shape;
    let kv_width = n_kv_heads * head_dim;
    let mut out = Vec::new();
    for (q, seen) in q.chunks_exact(n_heads * head_dim).zip(seen) {
        for (head, q) in q.chunks_exact(head_dim).enumerate() {
            let at = head / (n_heads / n_kv_heads) * head_dim;
            let score = |p: usize| {
                let key = &keys[p * kv_width + at..][..head_dim];
                let dot: f64 = q.iter().zip(key).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
                (dot * f64::from(scale)).exp()
            };
            let weights: Vec<f64> = (0..*seen).map(score).collect();
            let total: f64 = weights.iter().sum();
            for i in 0..head_dim {
                let value = |p: usize| f64::from(values[p * kv_width + at + i]);
                let sum: f64 = weights.iter().enumerate().map(|(p, w)| w * value(p)).sum();
                out.push((sum / total) as f32);
            }
        }
    }
    out
}

/// `x / (1 + e⁻ˣ)`.
pub fn silu(x: f32) -> f32 {
    (f64::from(x) / (1.0 + (-f64::from(x)).exp())) as f32
}
