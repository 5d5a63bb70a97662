//! Cosines and sines for the rows of a pass.

use super::rows::Rows;

/// Cosines and sines for the positions of the rows of a batch, each `[n_rows, n_pairs]`.
pub(crate) struct RopeTable {
    pub(crate) cos: Rows,
    pub(crate) sin: Rows,
}

impl RopeTable {
    /// Fills in one row.
    pub(crate) fn set(&mut self, row: usize, position: usize, angles: &[f32], scale: f32) {
        let (cos, sin) = (self.cos.row_mut(row), self.sin.row_mut(row));
        for ((cos, sin), angle) in cos.iter_mut().zip(sin).zip(angles) {
            let (s, c) = (position as f32 * angle).sin_cos();
            (*sin, *cos) = (s * scale, c * scale);
        }
    }
}
