//! The inner loops of attention, which take strips of queries against one block after another.

use super::kv::{BLOCK_LEN, padded};
use super::shape::{Attention, Context, QUERIES, SCRATCH};
use crate::layout::LANES;
use crate::machine::Chunks;
use crate::rows::capped;
use crate::sets::{Kernel, Lanes};
use std::mem::MaybeUninit;
use std::ops::Range;

/// The highest strip that prefetches the next block line by line. Higher strips have enough to compute
/// meanwhile, and would be slowed down by a third.
const FETCHING: usize = 4;

/// The attention of the queries `queries` of one key and value head. Query `i` belongs to row `i / group` and
/// to the head's `i % group`-th query head. `out` is cut into heads, and no other task has the heads of these
/// queries.
pub(crate) struct Attend<'a, C> {
    pub(crate) shape: Attention,
    pub(crate) layer: usize,
    pub(crate) kv_head: usize,
    pub(crate) queries: Range<usize>,
    pub(crate) q: &'a [f32],
    pub(crate) context: &'a C,
    pub(crate) out: &'a Chunks<'a, f32>,
}

impl<C: Context> Kernel for Attend<'_, C> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Attend { shape, layer, kv_head, queries, q, context, out } = self;
        let Attention { n_heads, n_kv_heads, head_dim, scale, window, soft_cap } = shape;
        let (group, n, width) = (n_heads / n_kv_heads, queries.len(), padded(head_dim));
        assert!(n <= QUERIES && n * width <= SCRATCH, "the task holds its queries");
        // The index of a query's head in `q` and `out`.
        let place = |query: usize| query / group * n_heads + kv_head * group + query % group;

        let mut scaled = MaybeUninit::<[f32; SCRATCH]>::uninit();
        let mut mixed = MaybeUninit::<[f32; SCRATCH]>::uninit();
        let mut task = Task {
            head_dim,
            width,
            q: scaled.as_mut_ptr().cast(),
            mixed: mixed.as_mut_ptr().cast(),
            head: std::ptr::null(),
            ahead: std::ptr::null(),
            soft_cap,
            rows: [0; QUERIES],
            hidden: [0; QUERIES],
            seen: [0; QUERIES],
            max: [f32::NEG_INFINITY; QUERIES],
            sums: [[0.0; LANES]; QUERIES],
        };
        let (mut earliest, mut longest) = (usize::MAX, 0);
        for (i, query) in queries.clone().enumerate() {
            task.rows[i] = query / group;
            task.seen[i] = context.seen(query / group);
            assert!(task.seen[i] > 0, "a row sees itself");
            task.hidden[i] = window.map_or(0, |window| task.seen[i].saturating_sub(window));
            earliest = earliest.min(task.hidden[i]);
            longest = longest.max(task.seen[i]);
            let q = &q[place(query) * head_dim..][..head_dim];
            // SAFETY: there is room for `n` queries, each `width` or less.
            unsafe {
                for (d, q) in q.iter().enumerate() {
                    task.q.add(i * head_dim + d).write(q * scale);
                }
                task.mixed.add(i * width).write_bytes(0, width);
            }
        }
        for index in earliest / BLOCK_LEN..longest.div_ceil(BLOCK_LEN) {
            let start = index * BLOCK_LEN;
            let mut first = 0;
            while first < n {
                if !task.can_see(first, start) {
                    first += 1;
                    continue;
                }
                // Neighbours see the same block if they are rows of one sequence, or of several sequences
                // that share the block.
                let block = context.block(task.rows[first], index);
                let same = |i: usize| {
                    task.can_see(i, start)
                        && (task.rows[i] == task.rows[i - 1]
                            || std::ptr::eq(context.block(task.rows[i], index), block))
                };
                let mut end = first + 1;
                while end < n && same(end) {
                    end += 1;
                }
                let head = block.head(layer, kv_head);
                assert_eq!(head.len(), BLOCK_LEN * (head_dim + width), "blocks have this head_dim");
                task.head = head.as_ptr();
                let next = if start + BLOCK_LEN < task.seen[end - 1] {
                    context.block(task.rows[end - 1], index + 1).head(layer, kv_head).as_ptr()
                } else {
                    task.head
                };
                // SAFETY: the head has keys and values of this shape, the queries are filled in, and the
                // caller promises the features.
                unsafe { task.all::<L>(start, first..end, next) };
                first = end;
            }
        }
        for (i, query) in queries.enumerate() {
            // SAFETY: the sums of query `i` are `width` elements, all written, and no other task has this
            // query's part of `out`.
            unsafe {
                let total = L::splat(task.sums[i].iter().sum());
                let mixed = task.mixed.add(i * width);
                for column in (0..width).step_by(LANES) {
                    L::load(mixed.add(column)).div(total).store(mixed.add(column));
                }
                out.get(place(query)).copy_from_slice(std::slice::from_raw_parts(mixed, head_dim));
            }
        }
    }
}

/// Queries on their way along the blocks.
struct Task {
    head_dim: usize,
    /// The width of a head, padded to whole lanes.
    width: usize,
    /// The queries, multiplied by the scale: `[n][head_dim]`.
    q: *mut f32,
    /// The sums of the values seen so far, each multiplied by its `exp(score - max)`: `[n][width]`.
    mixed: *mut f32,
    /// The keys and then the values of the block that is being read.
    head: *const f32,
    /// The head to prefetch meanwhile from its beginning to its end, as long as `head`.
    ahead: *const f32,
    soft_cap: Option<f32>,
    rows: [usize; QUERIES],
    /// The number of positions at the beginning that a window hides from each query.
    hidden: [usize; QUERIES],
    /// The end of the positions that each query sees.
    seen: [usize; QUERIES],
    /// The largest score of each query so far.
    max: [f32; QUERIES],
    /// The sums of `exp(score - max)` of each query so far, by position modulo sixteen.
    sums: [[f32; LANES]; QUERIES],
}

// SAFETY of every block below: the caller keeps the promises of `Task::all`.
#[allow(clippy::undocumented_unsafe_blocks, clippy::needless_range_loop)]
impl Task {
    /// Returns true if query `i` sees any position of the block that begins at `start`.
    #[inline(always)]
    fn can_see(&self, i: usize, start: usize) -> bool {
        self.seen[i] > start && self.hidden[i] < start + BLOCK_LEN
    }

    /// Takes the queries `run` against the block whose first position is `start`: whole strips first, then
    /// the queries that are left.
    ///
    /// # Safety
    /// The caller runs with the features that `L` needs. `head` is a head of the block. The queries and their
    /// sums are filled in, and the queries see something of the block.
    #[inline(always)]
    unsafe fn all<L: Lanes>(&mut self, start: usize, run: Range<usize>, next: *const f32) {
        let mut first = run.start;
        while first < run.end {
            let left = (run.end - first).min(L::STRIP);
            // The next block is prefetched while the last strip passes over this block.
            self.ahead = if first + left == run.end { next } else { self.head };
            unsafe {
                first += match left {
                    12.. => self.strip::<L, 12>(start, first),
                    6.. => self.strip::<L, 6>(start, first),
                    4.. => self.strip::<L, 4>(start, first),
                    3 => self.strip::<L, 3>(start, first),
                    2 => self.strip::<L, 2>(start, first),
                    _ => self.strip::<L, 1>(start, first),
                };
            }
        }
    }

    /// Takes `R` queries against a block, and returns `R`.
    #[inline(always)]
    unsafe fn strip<L: Lanes, const R: usize>(&mut self, start: usize, first: usize) -> usize {
        unsafe {
            let mut weights = [[0.0f32; BLOCK_LEN]; R];
            if R > 2 {
                self.scores::<L, R, 1>(first, 0, &mut weights);
                self.scores::<L, R, 1>(first, 1, &mut weights);
            } else {
                self.scores::<L, R, 2>(first, 0, &mut weights);
            }
            if let Some(cap) = self.soft_cap {
                soft_cap::<L>(weights.as_flattened_mut(), cap);
            }
            let (mut hidden, mut seen) = ([0; R], [BLOCK_LEN; R]);
            let (mut windowed, mut shared) = (false, BLOCK_LEN);
            for r in 0..R {
                hidden[r] = self.hidden[first + r].saturating_sub(start);
                seen[r] = BLOCK_LEN.min(self.seen[first + r] - start);
                windowed |= hidden[r] > 0;
                shared = shared.min(seen[r]);
                // These positions may hold anything, even NaN.
                for unseen in &mut weights[r][seen[r]..] {
                    *unseen = f32::NEG_INFINITY;
                }
                for unseen in &mut weights[r][..hidden[r]] {
                    *unseen = f32::NEG_INFINITY;
                }
            }
            let factors = self.exponentiate::<L, R>(first, &mut weights);
            let weights = weights.as_flattened().as_ptr();
            let factors = factors.as_ptr();
            if windowed {
                // A window begins in this block: each query is taken alone, in the same order as together.
                for r in 0..R {
                    let weights = weights.add(r * BLOCK_LEN);
                    self.mix_all::<L, 1>(weights, factors.add(r), first + r, hidden[r]..seen[r]);
                }
                return R;
            }
            self.mix_all::<L, R>(weights, factors, first, 0..shared);
            // No value that a query does not see is multiplied by a weight of zero, because it may be
            // anything.
            for r in 0..R {
                if seen[r] > shared {
                    let weights = weights.add(r * BLOCK_LEN);
                    self.mix_all::<L, 1>(weights, &1.0, first + r, shared..seen[r]);
                }
            }
        }
        R
    }

    /// Computes the scores of `R` queries with `C` lane groups of positions from lane group `group` on. Each
    /// score is one chain of multiply-adds over the head.
    #[inline(always)]
    unsafe fn scores<L: Lanes, const R: usize, const C: usize>(
        &self,
        first: usize,
        group: usize,
        scores: &mut [[f32; BLOCK_LEN]; R],
    ) {
        unsafe {
            let head_dim = self.head_dim;
            let next = self.ahead.wrapping_add(group * head_dim * LANES);
            let q = self.q.add(first * head_dim);
            let keys = self.head.add(group * LANES);
            let mut sums = [[L::splat(0.0); C]; R];
            for d in 0..head_dim {
                for c in 0..C {
                    if R <= FETCHING {
                        L::prefetch(next.wrapping_add((d * C + c) * LANES).cast());
                    }
                    let key = L::load(keys.add(d * BLOCK_LEN + c * LANES));
                    for r in 0..R {
                        let q = L::splat(*q.add(r * head_dim + d));
                        sums[r][c] = sums[r][c].add_product(q, key);
                    }
                }
            }
            for r in 0..R {
                for c in 0..C {
                    // Scores stay finite, because the difference of two infinite scores would be NaN.
                    let score = L::splat(f32::MAX).min(L::splat(f32::MIN).max(sums[r][c]));
                    score.store(scores[r].as_mut_ptr().add((group + c) * LANES));
                }
            }
        }
    }

    /// Replaces scores by `exp(score - max)`. Returns the factors by which everything before must be
    /// multiplied, because the largest score may have grown.
    ///
    /// A position that is not seen has the score -∞ and the weight 1e-38, which vanishes in a sum of at least
    /// one.
    #[inline(always)]
    unsafe fn exponentiate<L: Lanes, const R: usize>(
        &mut self,
        first: usize,
        weights: &mut [[f32; BLOCK_LEN]; R],
    ) -> [f32; LANES] {
        unsafe {
            let mut factors = [0.0f32; LANES];
            for r in 0..R {
                let scores = weights[r].as_ptr();
                let largest = L::load(scores).max(L::load(scores.add(LANES))).largest();
                let before = self.max[first + r];
                let max = if largest > before { largest } else { before };
                self.max[first + r] = max;
                factors[r] = before - max;
            }
            L::load(factors.as_ptr()).exp().store(factors.as_mut_ptr());
            for r in 0..R {
                let max = L::splat(self.max[first + r]);
                let weights = weights[r].as_mut_ptr();
                let low = L::load(weights).sub(max).exp();
                let high = L::load(weights.add(LANES)).sub(max).exp();
                low.store(weights);
                high.store(weights.add(LANES));
                let sums = self.sums[first + r].as_mut_ptr();
                L::load(sums).mul(L::splat(factors[r])).add(low.add(high)).store(sums);
            }
            factors
        }
    }

    /// Multiplies the sums of `R` queries by their factors and adds the values of the positions `positions`,
    /// each multiplied by its weight.
    #[inline(always)]
    unsafe fn mix_all<L: Lanes, const R: usize>(
        &self,
        weights: *const f32,
        factors: *const f32,
        first: usize,
        positions: Range<usize>,
    ) {
        let n = self.width / LANES;
        let mut group = 0;
        unsafe {
            // With few queries, more sums run side by side to hide the latency.
            while R == 1 && group + 4 <= n {
                self.mix::<L, R, 4>(weights, factors, first, positions.clone(), group);
                group += 4;
            }
            while R <= 2 && group + 2 <= n {
                self.mix::<L, R, 2>(weights, factors, first, positions.clone(), group);
                group += 2;
            }
            while group < n {
                self.mix::<L, R, 1>(weights, factors, first, positions.clone(), group);
                group += 1;
            }
        }
    }

    /// Does the work of [`Task::mix_all`] for the `C` lane groups of the head from `group` on. Each sum is
    /// one chain of multiply-adds over the positions.
    #[inline(always)]
    unsafe fn mix<L: Lanes, const R: usize, const C: usize>(
        &self,
        weights: *const f32,
        factors: *const f32,
        first: usize,
        positions: Range<usize>,
        group: usize,
    ) {
        unsafe {
            let Task { head_dim, width, .. } = *self;
            let next = self.ahead.wrapping_add(BLOCK_LEN * (head_dim + group * LANES));
            let values = self.head.add(BLOCK_LEN * head_dim + group * LANES);
            let mixed = self.mixed.add(first * width + group * LANES);
            let mut sums = [[L::splat(0.0); C]; R];
            for r in 0..R {
                for c in 0..C {
                    let before = L::load(mixed.add(r * width + c * LANES));
                    sums[r][c] = before.mul(L::splat(*factors.add(r)));
                }
            }
            for position in positions {
                for c in 0..C {
                    if R <= FETCHING {
                        L::prefetch(next.wrapping_add((position * C + c) * LANES).cast());
                    }
                    let value = L::load(values.add(position * width + c * LANES));
                    for r in 0..R {
                        let weight = L::splat(*weights.add(r * BLOCK_LEN + position));
                        sums[r][c] = sums[r][c].add_product(weight, value);
                    }
                }
            }
            for r in 0..R {
                for c in 0..C {
                    sums[r][c].store(mixed.add(r * width + c * LANES));
                }
            }
        }
    }
}

/// Replaces scores by `cap · tanh(score / cap)`.
///
/// # Safety
/// The caller runs with the features that `L` needs.
#[inline(always)]
unsafe fn soft_cap<L: Lanes>(scores: &mut [f32], cap: f32) {
    for scores in scores.chunks_exact_mut(LANES) {
        // SAFETY: sixteen elements; the features are the caller's promise.
        unsafe {
            capped(L::load(scores.as_ptr()), cap).store(scores.as_mut_ptr());
        }
    }
}
