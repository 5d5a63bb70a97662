//! Keys and values of a stretch of positions, laid out as attention reads them.
//!
//! Both products of attention have one operand that is broadcast and one that is read sixteen lanes at a
//! time, and neither adds up across lanes. The lanes of scores are positions, so keys lie transposed. The
//! lanes of the mixture of values are the elements of a head, so values lie as they are.

use crate::layout::LANES;
use crate::machine::Buffer;

/// The number of positions per block. It is so small that a short answer wastes little, and that the keys and
/// values of a head of 64 (16 KB) fit the first-level cache.
pub const BLOCK_LEN: usize = 32;

/// The shape of what is stored per position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvShape {
    /// The number of layers, each with keys and values of its own.
    pub n_layers: usize,
    /// The number of key and value heads.
    pub n_kv_heads: usize,
    /// The width of a head.
    pub head_dim: usize,
}

impl KvShape {
    /// Returns the number of elements of the keys (or the values) of one position in one layer.
    pub fn width(self) -> usize {
        self.n_kv_heads * self.head_dim
    }

    /// Returns the number of elements of one head in one layer of a block.
    fn head_len(self) -> usize {
        BLOCK_LEN * (self.head_dim + padded(self.head_dim))
    }
}

/// Returns the width with which a head's values are stored, in whole lanes.
pub(crate) fn padded(head_dim: usize) -> usize {
    head_dim.next_multiple_of(LANES)
}

/// Keys and values of [`BLOCK_LEN`] positions in every layer, in one piece of memory:
/// `[n_layers][n_kv_heads]` times keys `[head_dim][BLOCK_LEN]` and then values `[BLOCK_LEN][head_dim, padded
/// to whole lanes]`.
pub struct KvBlock {
    shape: KvShape,
    data: Buffer,
}

impl KvBlock {
    /// Makes a block of zeros.
    pub fn new(shape: KvShape) -> KvBlock {
        let len = shape.n_layers * shape.n_kv_heads * shape.head_len();
        KvBlock { shape, data: Buffer::zeroed(len * size_of::<f32>()) }
    }

    /// Stores the key and the value, each `[n_kv_heads * head_dim]`, of position `position` of the block.
    ///
    /// # Panics
    /// Panics if there is no such layer or position, or if the lengths do not fit.
    pub fn write(&mut self, layer: usize, position: usize, key: &[f32], value: &[f32]) {
        let KvShape { n_kv_heads, head_dim, .. } = self.shape;
        assert!(position < BLOCK_LEN, "position {position} lies outside the block");
        let width = self.shape.width();
        assert_eq!((key.len(), value.len()), (width, width), "key and value are [n_kv_heads * head_dim]");
        for head in 0..n_kv_heads {
            let (start, len) = self.range(layer, head);
            let all: &mut [f32] = bytemuck::cast_slice_mut(&mut self.data);
            let (keys, values) = all[start..][..len].split_at_mut(BLOCK_LEN * head_dim);
            let (key, value) = (&key[head * head_dim..][..head_dim], &value[head * head_dim..][..head_dim]);
            for (at, key) in keys[position..].iter_mut().step_by(BLOCK_LEN).zip(key) {
                *at = *key;
            }
            values[position * padded(head_dim)..][..head_dim].copy_from_slice(value);
        }
    }

    /// Returns the key and the value, each `[n_kv_heads * head_dim]`, of a position, for inspection.
    ///
    /// # Panics
    /// Panics if there is no such layer or position.
    pub fn read(&self, layer: usize, position: usize) -> (Vec<f32>, Vec<f32>) {
        let KvShape { n_kv_heads, head_dim, .. } = self.shape;
        assert!(position < BLOCK_LEN, "position {position} lies outside the block");
        let (mut key, mut value) = (Vec::new(), Vec::new());
        for head in 0..n_kv_heads {
            let (keys, values) = self.head(layer, head).split_at(BLOCK_LEN * head_dim);
            key.extend(keys[position..].iter().step_by(BLOCK_LEN));
            value.extend(&values[position * padded(head_dim)..][..head_dim]);
        }
        (key, value)
    }

    /// Returns the shape of what is stored per position.
    pub fn shape(&self) -> KvShape {
        self.shape
    }

    /// Returns the keys and then the values of one head.
    pub(crate) fn head(&self, layer: usize, head: usize) -> &[f32] {
        let (start, len) = self.range(layer, head);
        &bytemuck::cast_slice(&self.data)[start..][..len]
    }

    /// Returns the start and the length of a head.
    fn range(&self, layer: usize, head: usize) -> (usize, usize) {
        let KvShape { n_layers, n_kv_heads, .. } = self.shape;
        assert!(layer < n_layers && head < n_kv_heads, "layer {layer}, head {head} of {:?}", self.shape);
        ((layer * n_kv_heads + head) * self.shape.head_len(), self.shape.head_len())
    }
}

impl Clone for KvBlock {
    fn clone(&self) -> KvBlock {
        let mut data = Buffer::zeroed(self.data.len());
        data.copy_from_slice(&self.data);
        KvBlock { shape: self.shape, data }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_position_is_read_back_and_no_other_changes() {
        for (n_kv_heads, head_dim) in [(1, 16), (3, 20), (2, 7), (8, 64)] {
            let shape = KvShape { n_layers: 3, n_kv_heads, head_dim };
            let row = |seed: usize| (0..shape.width()).map(|i| (seed * 1000 + i) as f32).collect::<Vec<_>>();
            let mut block = KvBlock::new(shape);
            let places: Vec<(usize, usize)> =
                (0..3).flat_map(|l| (0..BLOCK_LEN).map(move |p| (l, p))).collect();
            for &(layer, position) in &places {
                let seed = 1 + layer * 100 + position;
                block.write(layer, position, &row(seed), &row(seed + 500));
            }
            let copy = block.clone();
            block.write(1, 4, &row(0), &row(0));
            for &(layer, position) in &places {
                let seed = 1 + layer * 100 + position;
                assert_eq!(copy.read(layer, position), (row(seed), row(seed + 500)));
                if (layer, position) != (1, 4) {
                    assert_eq!(block.read(layer, position), copy.read(layer, position));
                }
            }
        }
    }
}
