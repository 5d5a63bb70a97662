//! Keys and values of a sequence, in pages that sequences share.

use std::sync::Arc;
use whipstaff_kernels::{BLOCK_LEN, KvBlock, KvShape};

/// The cache of one sequence. A clone shares all pages; writing to a shared page copies that page first, so a fork
/// costs what it adds.
#[derive(Clone, Default)]
pub(crate) struct KvCache {
    pages: Vec<Arc<Page>>,
}

/// Keys and values of [`BLOCK_LEN`] positions, of all layers.
#[derive(Clone)]
enum Page {
    Cpu(KvBlock),
}

impl KvCache {
    /// Stores keys and values of one layer, each `[n, n_kv_heads * head_dim]`, for the positions
    /// from `start` on. Memory is taken only when a position is the first of a new page.
    pub(super) fn write(&mut self, shape: KvShape, layer: usize, start: usize, keys: &[f32], values: &[f32]) {
        let (keys, values) = (keys.chunks_exact(shape.width()), values.chunks_exact(shape.width()));
        for (position, (key, value)) in (start..).zip(keys.zip(values)) {
            while self.pages.len() <= position / BLOCK_LEN {
                self.pages.push(Arc::new(Page::Cpu(KvBlock::new(shape))));
            }
            let Page::Cpu(block) = Arc::make_mut(&mut self.pages[position / BLOCK_LEN]);
            block.write(layer, position % BLOCK_LEN, key, value);
        }
    }

    /// Returns page `index`: the positions from `index * BLOCK_LEN` on.
    pub(super) fn block(&self, index: usize) -> &KvBlock {
        let Page::Cpu(block) = &*self.pages[index];
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: KvShape = KvShape { n_layers: 2, n_kv_heads: 3, head_dim: 2 };

    fn rows(n: usize, x: f32) -> Vec<f32> {
        vec![x; n * SHAPE.width()]
    }

    #[test]
    fn a_fork_shares_what_it_does_not_change() {
        let mut cache = KvCache::default();
        cache.write(SHAPE, 1, 0, &rows(40, 1.0), &rows(40, 2.0));
        let mut fork = cache.clone();
        fork.write(SHAPE, 1, 40, &rows(1, 5.0), &rows(1, 6.0));
        assert!(Arc::ptr_eq(&cache.pages[0], &fork.pages[0]));
        assert!(!Arc::ptr_eq(&cache.pages[1], &fork.pages[1]));
        assert_eq!(cache.block(1).read(1, 8), (rows(1, 0.0), rows(1, 0.0)));
        assert_eq!(fork.block(1).read(1, 8), (rows(1, 5.0), rows(1, 6.0)));
        assert_eq!(fork.block(1).read(1, 7), (rows(1, 1.0), rows(1, 2.0)));
    }

    #[test]
    fn a_pass_may_begin_and_end_inside_a_block() {
        let mut cache = KvCache::default();
        let mut start = 0;
        for n in [5, 30, 1, 60] {
            for layer in 0..2 {
                let numbered = (start..start + n).flat_map(|p| rows(1, (100 * layer + p) as f32));
                let keys: Vec<f32> = numbered.collect();
                cache.write(SHAPE, layer, start, &keys, &rows(n, 7.0));
            }
            start += n;
        }
        assert_eq!(cache.pages.len(), 3);
        for (layer, p) in (0..2).flat_map(|layer| (0..start).map(move |p| (layer, p))) {
            let want = (rows(1, (100 * layer + p) as f32), rows(1, 7.0));
            assert_eq!(cache.block(p / BLOCK_LEN).read(layer, p % BLOCK_LEN), want);
        }
    }

    #[test]
    fn positions_of_a_block_that_is_not_shared_are_written_in_place() {
        let mut cache = KvCache::default();
        cache.write(SHAPE, 0, 0, &rows(1, 1.0), &rows(1, 1.0));
        let before = Arc::as_ptr(&cache.pages[0]);
        cache.write(SHAPE, 0, 1, &rows(31, 1.0), &rows(31, 1.0));
        assert_eq!(Arc::as_ptr(&cache.pages[0]), before);
    }
}
