//! The shape of an attention layer, and the context that its rows see.

use super::kv::KvBlock;

/// The largest number of queries in a task: whole strips of every height.
pub(crate) const QUERIES: usize = 48;

/// The number of elements of queries, and of sums, that a task has room for.
pub(crate) const SCRATCH: usize = QUERIES * 128;

/// The shape of an attention layer.
#[derive(Clone, Copy, Debug)]
pub struct Attention {
    /// The number of query heads.
    pub n_heads: usize,
    /// The number of key and value heads. It divides `n_heads`, and consecutive query heads share one.
    pub n_kv_heads: usize,
    /// The width of a head, at most [`Attention::MAX_HEAD_DIM`].
    pub head_dim: usize,
    /// The factor on the scores, usually `1 / sqrt(head_dim)`.
    pub scale: f32,
    /// The largest number of positions that a row sees, counted back from itself; without a window it sees
    /// all.
    pub window: Option<usize>,
    /// The cap of scores: scaled scores `s` become `cap · tanh(s / cap)`.
    pub soft_cap: Option<f32>,
}

impl Attention {
    /// The widest head whose sums fit a task's own memory.
    pub const MAX_HEAD_DIM: usize = SCRATCH;
}

/// The positions that the rows of a batch see.
pub trait Context: Sync {
    /// Returns the number of positions that row `row` sees, from the first of its sequence to itself. A
    /// window hides positions at the beginning.
    fn seen(&self, row: usize) -> usize;

    /// Returns block `index` of the sequence of row `row`: positions from `index * BLOCK_LEN` on. Attention
    /// asks only for blocks that begin before `seen(row)`. Rows that return the same block read it together.
    fn block(&self, row: usize, index: usize) -> &KvBlock;
}
