//! The ragged batch: rows of many sequences, packed without padding.

use super::session::Session;
use crate::steering::Steering;
use smallvec::SmallVec;
use std::ops::Range;
use whipstaff_kernels::BLOCK_LEN;

/// Sequences that a batch holds without allocating: decoding a few costs nothing but arithmetic.
const INLINE: usize = 8;

/// Rows per forward pass that keep the weights' cost shared and the activations small: with the
/// 1B shape, 512 rows of the widest activation are 32 MB.
pub const ROW_BUDGET: usize = 512;

/// The rows of a pass, and the sessions that they extend.
#[derive(Default)]
pub struct Batch<'a> {
    pub(crate) plan: RowPlan,
    pub(crate) sessions: SmallVec<[&'a mut Session; INLINE]>,
}

/// What each row of a batch is. Rows of one sequence are consecutive and ascend in position.
#[derive(Clone, Default)]
pub struct RowPlan {
    rows: SmallVec<[Row; INLINE]>,
    spans: SmallVec<[Range<usize>; INLINE]>,
    steered: SmallVec<[Steered; INLINE]>,
}

/// What a sequence is steered by, and where its prompt ends: all that an edit may depend on beside the row.
#[derive(Clone)]
pub(crate) struct Steered {
    pub(crate) steering: Steering,
    pub(crate) n_prompt: usize,
}

/// One row: one token of one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Index of the sequence in the batch, in order of [`Batch::push`].
    pub sequence: usize,
    /// 0-based position in its sequence.
    pub position: usize,
    /// Token id.
    pub token: u32,
}

impl<'a> Batch<'a> {
    /// Makes an empty batch.
    pub fn new() -> Batch<'a> {
        Batch::default()
    }

    /// Appends `tokens` to a session and makes them rows of the batch. Returns the index of the
    /// sequence in the batch.
    pub fn push(&mut self, session: &'a mut Session, tokens: &[u32]) -> usize {
        let start = session.tokens.len();
        session.expect(tokens.len());
        // Room for a whole block of the cache, so that both grow in the same step.
        session.tokens.reserve(tokens.len().next_multiple_of(BLOCK_LEN));
        session.tokens.extend_from_slice(tokens);
        self.again(session, start)
    }

    /// Makes the batch of one of the passes that [`pack`] planned: session `i` runs its part of `ids[i]`.
    pub fn of_pass(
        sessions: &'a mut [Session],
        ids: &[impl AsRef<[u32]>],
        pass: &[(usize, Range<usize>)],
    ) -> Batch<'a> {
        let mut batch = Batch::new();
        let mut parts = pass.iter().peekable();
        for (i, session) in sessions.iter_mut().enumerate() {
            if let Some((_, range)) = parts.next_if(|(sequence, _)| *sequence == i) {
                let ids = ids[i].as_ref();
                session.expect(ids.len());
                batch.push(session, &ids[range.clone()]);
            }
        }
        batch
    }

    /// Makes the tokens that a session already has, from position `start` on, rows of the batch
    /// again: for running upper blocks once more on what the lower ones gave.
    pub fn again(&mut self, session: &'a mut Session, start: usize) -> usize {
        let sequence = self.sessions.len();
        let first = self.plan.rows.len();
        let tokens = session.tokens.iter().copied().enumerate().skip(start);
        self.plan.rows.extend(tokens.map(|(position, token)| Row { sequence, position, token }));
        self.plan.spans.push(first..self.plan.rows.len());
        // Steering that asks for it is refused where it is not known (`Model::check`).
        let n_prompt = session.n_prompt().unwrap_or(0);
        self.plan.steered.push(Steered { steering: session.steering.clone(), n_prompt });
        self.sessions.push(session);
        sequence
    }

    /// Returns what each row is.
    pub fn rows(&self) -> &RowPlan {
        &self.plan
    }
}

impl RowPlan {
    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns true if there is nothing to run.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns the rows in order.
    pub fn iter(&self) -> impl Iterator<Item = Row> + '_ {
        self.rows.iter().copied()
    }

    /// Returns the rows of sequence `sequence`.
    pub fn span(&self, sequence: usize) -> Range<usize> {
        self.spans[sequence].clone()
    }

    /// Returns the number of sequences.
    pub fn n_sequences(&self) -> usize {
        self.spans.len()
    }

    pub(crate) fn row(&self, row: usize) -> Row {
        self.rows[row]
    }

    /// Returns what each sequence is steered by.
    pub(crate) fn steered(&self) -> &[Steered] {
        &self.steered
    }
}

/// Cuts sequences of the given lengths into passes of at most `budget` rows: each pass lists
/// sequences with the range of their tokens that it runs. A long sequence spans several passes,
/// in order; no pass is empty.
pub fn pack(lens: impl IntoIterator<Item = usize>, budget: usize) -> Vec<Vec<(usize, Range<usize>)>> {
    let mut passes: Vec<Vec<(usize, Range<usize>)>> = Vec::new();
    let mut free = 0;
    for (sequence, len) in lens.into_iter().enumerate() {
        let mut start = 0;
        while start < len {
            // A sequence that fits a pass is not cut merely because the current one is half full.
            if free == 0 || (free < len - start && len - start <= budget) {
                passes.push(Vec::new());
                free = budget;
            }
            let n = free.min(len - start);
            passes.last_mut().expect("just pushed").push((sequence, start..start + n));
            start += n;
            free -= n;
        }
    }
    passes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_keeps_order_and_budget_and_loses_nothing() {
        let check = |lens: &[usize], budget, want: &[&[(usize, Range<usize>)]]| {
            assert_eq!(pack(lens.iter().copied(), budget), want);
        };
        check(&[], 4, &[]);
        check(&[2, 2, 1], 4, &[&[(0, 0..2), (1, 0..2)], &[(2, 0..1)]]);
        check(&[3, 2], 4, &[&[(0, 0..3)], &[(1, 0..2)]]);
        check(&[9], 4, &[&[(0, 0..4)], &[(0, 4..8)], &[(0, 8..9)]]);
        check(&[0, 1], 4, &[&[(1, 0..1)]]);
    }
}
