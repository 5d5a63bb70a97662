//! Causal attention of rows over keys and values that lie in blocks.
//!
//! The queries that share a key and value head (those of one row, and those of its neighbours) are
//! cut into tasks, which any thread may take. A task walks along the blocks (`flash.rs`), so a block
//! is fetched once for all its queries, and no row of scores is ever written down whole.

use crate::cpu::Cpu;
use crate::flash::{Attend, QUERIES, SCRATCH};
use crate::kv::{KvBlock, padded};
use crate::shared_mut::Chunks;

/// The shape of an attention layer.
#[derive(Clone, Copy, Debug)]
pub struct Attention {
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; divides `n_heads`, consecutive query heads share one.
    pub n_kv_heads: usize,
    /// Width of a head, at most [`Attention::MAX_HEAD_DIM`].
    pub head_dim: usize,
    /// Factor on the scores, usually `1 / sqrt(head_dim)`.
    pub scale: f32,
}

impl Attention {
    /// The widest head whose sums fit a task's own memory.
    pub const MAX_HEAD_DIM: usize = SCRATCH;
}

/// What the rows of a batch see.
pub trait Context: Sync {
    /// How many positions row `row` sees, from the first of its sequence to itself.
    fn seen(&self, row: usize) -> usize;

    /// Block `index` of what row `row` sees: positions from `index * BLOCK_LEN` on. Asked only for
    /// blocks that begin before `seen(row)`. Rows that return the same block read it together.
    fn block(&self, row: usize, index: usize) -> &KvBlock;
}

/// `out[r, h] = softmax(scale · q[r, h] · Kᵀ) V` for every row and head, over layer `layer` of the
/// blocks.
///
/// `q` and `out` are `[n_rows, n_heads * head_dim]`. The softmax is taken online (Milakov &
/// Gimelshein 2018; Dao et al. 2022), block after block in ascending order. A row's arithmetic
/// depends on its query and on what it sees alone: not on its neighbours, on threads, on the
/// instruction set, or on what lies beyond what it sees.
///
/// # Panics
/// If the slices or blocks do not have these shapes, or a row sees nothing.
pub fn attention(
    cpu: &Cpu,
    shape: Attention,
    layer: usize,
    q: &[f32],
    context: &impl Context,
    out: &mut [f32],
) {
    let Attention { n_heads, n_kv_heads, head_dim, .. } = shape;
    assert!(head_dim <= Attention::MAX_HEAD_DIM, "head_dim is {head_dim}");
    assert_eq!(n_heads % n_kv_heads, 0, "every key and value head serves as many query heads");
    assert_eq!(q.len(), out.len(), "q and out are [n_rows, n_heads * head_dim]");
    assert_eq!(q.len() % (n_heads * head_dim), 0, "q is [n_rows, n_heads * head_dim]");
    let n_rows = q.len() / (n_heads * head_dim);
    let n_queries = n_rows * (n_heads / n_kv_heads);
    let per_task = queries_per_task(cpu, shape, n_queries);
    let n_chunks = n_queries.div_ceil(per_task);
    let out = Chunks::new(out, head_dim);
    let task = |task: usize| {
        let (kv_head, chunk) = (task / n_chunks, task % n_chunks);
        let queries = chunk * per_task..n_queries.min((chunk + 1) * per_task);
        cpu.isa().run(Attend { shape, layer, kv_head, queries, q, context, out: &out });
    };
    let seen: usize = (0..n_rows).map(|row| context.seen(row)).sum();
    if 2 * seen * n_heads * head_dim < SERIAL_BELOW {
        (0..n_kv_heads * n_chunks).for_each(task);
    } else {
        cpu.pool().for_each(n_kv_heads * n_chunks, task);
    }
}

/// Below this many multiply-adds (a few µs) attention runs on the calling thread.
const SERIAL_BELOW: usize = 1 << 17;

/// As many as a task holds, if that leaves some tasks for every thread; else fewer, in steps of a
/// whole strip.
fn queries_per_task(cpu: &Cpu, shape: Attention, n_queries: usize) -> usize {
    let chunks = (4 * cpu.n_threads()).div_ceil(shape.n_kv_heads);
    let most = QUERIES.min(SCRATCH / padded(shape.head_dim));
    n_queries.div_ceil(chunks).next_multiple_of(6).clamp(1, most)
}
