//! Cosines and sines for the rows of a pass.

use super::rows::Rows;

/// Cosines and sines for the positions of the rows of a batch, each `[n_rows, n_pairs]`.
pub(crate) struct RopeTable {
    pub(super) cos: Rows,
    pub(super) sin: Rows,
}

/// Computes the cosines and sines of one row, each `[n_pairs]`. Every device gets them from the host: what a device
/// calls a sine may be off by far more than a rounding.
pub(super) fn fill(cos: &mut [f32], sin: &mut [f32], position: usize, angles: &[f32], scale: f32) {
    for ((cos, sin), angle) in cos.iter_mut().zip(sin).zip(angles) {
        let (s, c) = (position as f32 * angle).sin_cos();
        (*sin, *cos) = (s * scale, c * scale);
    }
}
