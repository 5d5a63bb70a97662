//! The sizes on which all modules agree: the widths of vectors, panels, blocks and tiles.

/// The number of floats in a vector of the one shape in which every kernel computes.
pub(crate) const LANES: usize = 16;

/// The number of rows of a panel, which are the outputs that are computed side by side.
pub(crate) const PANEL: usize = 16;

/// The number of inputs of a K block, whose products are summed before they are added to the total.
pub(crate) const K_BLOCK: usize = 256;

/// The number of panels of a task: four streams of weights, so that the memory always has requests to answer.
pub(crate) const GROUP: usize = 4;

/// The number of rows of a tile.
pub(crate) const TILE_ROWS: usize = 16;

/// The number of inputs of a tile of `bf16`.
pub(crate) const STEP: usize = 32;

/// The distance ahead of its use at which a stream of weights is prefetched, in bytes. One stream per thread
/// at this distance reads at 92 % of what the memory gives on the machine where it was tried (Zen 3). Four
/// streams a panel apart, which an Intel machine liked, read at 64 % there.
pub(crate) const AHEAD: usize = 2048;

/// Returns the number of inputs of K block `block`, rounded up to whole pairs.
pub(crate) fn block_len(n_in: usize, block: usize) -> usize {
    (n_in - block * K_BLOCK).min(K_BLOCK).next_multiple_of(2)
}
