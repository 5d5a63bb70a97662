//! Causal attention of single rows over keys and values that lie in blocks.

use crate::cpu::Cpu;
use crate::shared_mut::Chunks;

/// The keys and values that one row sees: consecutive positions, cut into equal blocks.
pub struct KvView<'a> {
    /// Per block, keys `[block_len, n_kv_heads * head_dim]`.
    pub keys: Vec<&'a [f32]>,
    /// Per block, values of the same shape.
    pub values: Vec<&'a [f32]>,
    /// Positions per block.
    pub block_len: usize,
    /// Positions that the row may see, itself included.
    pub len: usize,
}

/// The shape of an attention layer.
#[derive(Clone, Copy, Debug)]
pub struct Attention {
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; divides `n_heads`, consecutive query heads share one.
    pub n_kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Factor on the scores, usually `1 / sqrt(head_dim)`.
    pub scale: f32,
}

/// `out[r, h] = softmax(scale · q[r, h] · Kᵀ) V` for every row and head.
///
/// `q` and `out` are `[n_rows, n_heads * head_dim]`; `views[r]` is what row `r` sees. Positions are
/// summed in ascending order, so the result does not depend on blocks, batch or threads.
///
/// # Panics
/// If the slices do not have these shapes, or a row sees nothing.
pub fn attention<'a>(
    cpu: &Cpu,
    shape: Attention,
    q: &[f32],
    views: impl Fn(usize) -> KvView<'a> + Sync,
    out: &mut [f32],
) {
    let width = shape.n_heads * shape.head_dim;
    assert_eq!(q.len(), out.len(), "q and out are [n_rows, n_heads * head_dim]");
    assert_eq!(q.len() % width, 0, "q is [n_rows, n_heads * head_dim]");
    let out = Chunks::new(out, width);
    cpu.pool().for_each(q.len() / width, |r| {
        // SAFETY: each row is written by the one call that has its number.
        attend_row(shape, &q[r * width..][..width], &views(r), unsafe { out.get(r) });
    });
}

fn attend_row(shape: Attention, q: &[f32], view: &KvView, out: &mut [f32]) {
    let kv_width = shape.n_kv_heads * shape.head_dim;
    let mut scores = vec![0.0f32; view.len];
    for (head, (q, out)) in
        q.chunks_exact(shape.head_dim).zip(out.chunks_exact_mut(shape.head_dim)).enumerate()
    {
        let kv_at = head / (shape.n_heads / shape.n_kv_heads) * shape.head_dim;
        for (p, score) in scores.iter_mut().enumerate() {
            let key = &view.keys[p / view.block_len][p % view.block_len * kv_width + kv_at..][..q.len()];
            *score = q.iter().zip(key).fold(0.0, |sum, (q, k)| q.mul_add(*k, sum));
        }
        softmax(&mut scores, shape.scale);
        out.fill(0.0);
        for (p, weight) in scores.iter().enumerate() {
            let value = &view.values[p / view.block_len][p % view.block_len * kv_width + kv_at..];
            for (out, value) in out.iter_mut().zip(value) {
                *out = weight.mul_add(*value, *out);
            }
        }
    }
}

/// `x ← softmax(scale · x)` in place.
#[inline(always)]
fn softmax(x: &mut [f32], scale: f32) {
    let max = x.iter().fold(f32::NEG_INFINITY, |max, x| max.max(*x));
    let mut sum = 0.0;
    for x in x.iter_mut() {
        *x = ((*x - max) * scale).exp();
        sum += *x;
    }
    for x in x.iter_mut() {
        *x /= sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, plain};

    fn check(n_heads: usize, n_kv_heads: usize, head_dim: usize, len: usize, block_len: usize) {
        let shape = Attention { n_heads, n_kv_heads, head_dim, scale: 1.0 / (head_dim as f32).sqrt() };
        let wave = |n: usize, step: f32| (0..n).map(|i| (i as f32 * step).sin()).collect::<Vec<_>>();
        let kv_width = n_kv_heads * head_dim;
        let n_blocks = len.div_ceil(block_len);
        let q = wave(2 * n_heads * head_dim, 0.37);
        let keys = wave(n_blocks * block_len * kv_width, 0.91);
        let values = wave(n_blocks * block_len * kv_width, 0.53);
        let seen = [len, len.div_ceil(2)];
        let want = plain::attention(shape, &q, &keys, &values, &seen);
        for isa in Isa::available() {
            let mut got = vec![f32::NAN; q.len()];
            let view = |r: usize| KvView {
                keys: keys.chunks(block_len * kv_width).collect(),
                values: values.chunks(block_len * kv_width).collect(),
                block_len,
                len: seen[r],
            };
            attention(&Cpu::new(isa, 2), shape, &q, view, &mut got);
            for (got, want) in got.iter().zip(&want) {
                assert!((got - want).abs() < 2e-6, "{isa:?}: {got} {want}");
            }
        }
    }

    #[test]
    fn every_kernel_set_equals_the_plain_twin_on_every_class_of_shape() {
        check(1, 1, 16, 1, 4);
        check(4, 2, 32, 9, 4);
        check(8, 1, 20, 33, 32);
        check(6, 3, 7, 13, 8);
        check(2, 2, 64, 100, 32);
    }
}
