//! Keys and values of a sequence, in blocks that sequences share.

use std::sync::Arc;
use whipstaff_kernels::KvView;

/// Positions per block. Small enough that a short answer wastes little, large enough that the
/// attention kernel rarely changes blocks.
pub(crate) const BLOCK_LEN: usize = 32;

/// What a model needs stored per position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KvShape {
    pub(crate) n_layers: usize,
    /// `n_kv_heads * head_dim`.
    pub(crate) width: usize,
}

/// The cache of one sequence. A clone shares all blocks; writing to a shared block copies that
/// block first, so a fork costs what it adds.
#[derive(Clone, Default)]
pub(crate) struct KvCache {
    blocks: Vec<Arc<Block>>,
}

/// Keys and values of [`BLOCK_LEN`] positions for every layer, each `[n_layers, BLOCK_LEN, width]`.
#[derive(Clone)]
struct Block {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl KvCache {
    /// Stores keys and values, each `[n, width]`, for the positions from `start` on.
    pub(crate) fn write(&mut self, shape: KvShape, layer: usize, start: usize, keys: &[f32], values: &[f32]) {
        let width = shape.width;
        for (i, (key, value)) in keys.chunks_exact(width).zip(values.chunks_exact(width)).enumerate() {
            let (block, offset) = ((start + i) / BLOCK_LEN, (start + i) % BLOCK_LEN);
            while self.blocks.len() <= block {
                let zeros = vec![0.0; shape.n_layers * BLOCK_LEN * width];
                self.blocks.push(Arc::new(Block { keys: zeros.clone(), values: zeros }));
            }
            let at = (layer * BLOCK_LEN + offset) * width;
            let block = Arc::make_mut(&mut self.blocks[block]);
            block.keys[at..at + width].copy_from_slice(key);
            block.values[at..at + width].copy_from_slice(value);
        }
    }

    /// What a row at position `len - 1` sees of `layer`.
    pub(crate) fn view(&self, shape: KvShape, layer: usize, len: usize) -> KvView<'_> {
        let size = BLOCK_LEN * shape.width;
        let blocks = &self.blocks[..len.div_ceil(BLOCK_LEN)];
        KvView {
            keys: blocks.iter().map(|block| &block.keys[layer * size..][..size]).collect(),
            values: blocks.iter().map(|block| &block.values[layer * size..][..size]).collect(),
            block_len: BLOCK_LEN,
            len,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_shares_what_it_does_not_change() {
        let shape = KvShape { n_layers: 2, width: 3 };
        let rows = |n: usize, x: f32| vec![x; n * 3];
        let mut cache = KvCache::default();
        cache.write(shape, 1, 0, &rows(40, 1.0), &rows(40, 2.0));
        let mut fork = cache.clone();
        fork.write(shape, 1, 40, &rows(1, 5.0), &rows(1, 6.0));
        assert!(Arc::ptr_eq(&cache.blocks[0], &fork.blocks[0]));
        assert!(!Arc::ptr_eq(&cache.blocks[1], &fork.blocks[1]));
        assert_eq!(cache.view(shape, 1, 41).keys[1][8 * 3], 0.0);
        assert_eq!(fork.view(shape, 1, 41).keys[1][8 * 3], 5.0);
        assert_eq!(fork.view(shape, 1, 41).values[1][7 * 3], 2.0);
    }
}
