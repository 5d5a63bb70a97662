//! What an attention layer is, and what its rows see.

use super::kv::KvBlock;

/// Queries of a task at most: whole strips of every height.
pub(crate) const QUERIES: usize = 48;

/// Elements of the queries, and of the sums, that a task has room for.
pub(crate) const SCRATCH: usize = QUERIES * 128;

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
    /// How many positions a row sees at most, counted back from itself; all, if there is no window.
    pub window: Option<usize>,
    /// Scaled scores `s` become `cap · tanh(s / cap)`.
    pub soft_cap: Option<f32>,
}

impl Attention {
    /// The widest head whose sums fit a task's own memory.
    pub const MAX_HEAD_DIM: usize = SCRATCH;
}

/// What the rows of a batch see.
pub trait Context: Sync {
    /// How many positions row `row` sees, from the first of its sequence to itself. A window hides
    /// those at the beginning.
    fn seen(&self, row: usize) -> usize;

    /// Block `index` of what row `row` sees: positions from `index * BLOCK_LEN` on. Asked only for
    /// blocks that begin before `seen(row)`. Rows that return the same block read it together.
    fn block(&self, row: usize, index: usize) -> &KvBlock;
}
