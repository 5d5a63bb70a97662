//! The logit lens: directions of the stream, read by the final norm and the head as if each were all of it.

use super::model::Model;
use super::ops::Rows;

impl Model {
    /// Returns what directions of the stream, `[n, d_model]`, say to the head: `[n, vocab_size]`.
    ///
    /// `head · (γ ⊙ √d_model · x / |x|) / divisor`, with the final norm's weight γ and the family's divisor of
    /// logits; where the final norm is a LayerNorm, `x` is first taken less its mean. So the length of a direction
    /// makes no difference, and `−x` gives the negative. Left out is what does not depend on `x`, the norm's bias,
    /// and what keeps the order of logits, their soft cap.
    ///
    /// A row of zeros (with LayerNorm, of equal numbers) says nothing: its logits are not finite numbers.
    pub fn unembed(&self, directions: &Rows) -> Rows {
        let norm = self.norm.of_directions();
        let logits = self.ops.linear(&self.ops.norm(directions, &norm), &self.head);
        self.ops.divide(logits, self.config.logit_divisor)
    }
}
