//! Causal attention of single rows over keys and values that lie in blocks.

use crate::isa::{Isa, Kernel};
use crate::lanes::{LANES, Lanes};
use crate::linear::dot_tile;
use rayon::prelude::*;

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
    isa: Isa,
    shape: Attention,
    q: &[f32],
    views: impl Fn(usize) -> KvView<'a> + Sync,
    out: &mut [f32],
) {
    let width = shape.n_heads * shape.head_dim;
    assert_eq!(q.len(), out.len(), "q and out are [n_rows, n_heads * head_dim]");
    assert_eq!(q.len() % width, 0, "q is [n_rows, n_heads * head_dim]");
    let row = |(r, (q, out)): (usize, (&[f32], &mut [f32]))| {
        let view = views(r);
        let kv_width = shape.n_kv_heads * shape.head_dim;
        assert!(view.len > 0 && view.len <= view.keys.len() * view.block_len, "row {r} sees {}", view.len);
        assert!(view.keys.iter().chain(&view.values).all(|b| b.len() == view.block_len * kv_width));
        isa.run(Row { shape, q, view: &view, out });
    };
    // One row costs at least a few microseconds; a handful is still less than waking a thread.
    if q.len() / width <= 2 {
        q.chunks_exact(width).zip(out.chunks_exact_mut(width)).enumerate().for_each(row);
    } else {
        q.par_chunks_exact(width).zip(out.par_chunks_exact_mut(width)).enumerate().for_each(row);
    }
}

struct Row<'a> {
    shape: Attention,
    q: &'a [f32],
    view: &'a KvView<'a>,
    out: &'a mut [f32],
}

impl Kernel for Row<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Row { shape, q, view, out } = self;
        let mut scores = vec![0.0f32; view.len];
        for (head, out) in out.chunks_exact_mut(shape.head_dim).enumerate() {
            let q = &q[head * shape.head_dim..][..shape.head_dim];
            let kv_at = head / (shape.n_heads / shape.n_kv_heads) * shape.head_dim;
            let head = Head { view, kv_at, kv_width: shape.n_kv_heads * shape.head_dim };
            // SAFETY: `attention` asserted the shapes; the features are the caller's promise.
            unsafe {
                head.scores::<L>(q, &mut scores);
                softmax(&mut scores, shape.scale);
                head.weighted_values::<L>(&scores, out);
            }
        }
    }
}

/// One head's part of the keys and values: `head_dim` elements from `kv_at` on, per position.
struct Head<'a> {
    view: &'a KvView<'a>,
    kv_at: usize,
    kv_width: usize,
}

impl Head<'_> {
    /// `scores[p] = q · key[p]`, four positions at a time.
    #[inline(always)]
    unsafe fn scores<L: Lanes>(&self, q: &[f32], scores: &mut [f32]) {
        let Head { kv_at, kv_width, .. } = *self;
        let n = q.len();
        for (scores, keys) in scores.chunks_mut(self.view.block_len).zip(&self.view.keys) {
            // SAFETY: a position of this block starts `kv_width` elements after the one before.
            let key = |p: usize| unsafe { keys.as_ptr().add(p * kv_width + kv_at) };
            let mut p = 0;
            // SAFETY: the keys of the block and `q` are valid for `head_dim` elements.
            unsafe {
                while p + 4 <= scores.len() {
                    let keys = [key(p), key(p + 1), key(p + 2), key(p + 3)];
                    let [four] = dot_tile::<L, f32, f32, 1, 4>([q.as_ptr()], keys, n);
                    scores[p..p + 4].copy_from_slice(&four);
                    p += 4;
                }
                while p < scores.len() {
                    scores[p] = dot_tile::<L, f32, f32, 1, 1>([q.as_ptr()], [key(p)], n)[0][0];
                    p += 1;
                }
            }
        }
    }

    /// `out = Σₚ weights[p] · value[p]`, in ascending order of `p`.
    #[inline(always)]
    unsafe fn weighted_values<L: Lanes>(&self, weights: &[f32], out: &mut [f32]) {
        let Head { kv_at, kv_width, .. } = *self;
        let whole = out.len() - out.len() % LANES;
        for at in (0..whole).step_by(LANES) {
            // SAFETY: sixteen elements from `at` on lie within the head.
            unsafe {
                let mut sum = L::splat(0.0);
                for (weights, values) in weights.chunks(self.view.block_len).zip(&self.view.values) {
                    for (p, weight) in weights.iter().enumerate() {
                        let value = L::load(values.as_ptr().add(p * kv_width + kv_at + at));
                        sum = sum.add_product(L::splat(*weight), value);
                    }
                }
                sum.store(out.as_mut_ptr().add(at));
            }
        }
        for (i, out) in out.iter_mut().enumerate().skip(whole) {
            *out = 0.0;
            for (weights, values) in weights.chunks(self.view.block_len).zip(&self.view.values) {
                for (p, weight) in weights.iter().enumerate() {
                    *out = weight.mul_add(values[p * kv_width + kv_at + i], *out);
                }
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
    use crate::plain;

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
            attention(isa, shape, &q, view, &mut got);
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
