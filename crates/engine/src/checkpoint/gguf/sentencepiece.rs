//! The merges of a SentencePiece model, which the file only implies by the pieces' scores.

use std::collections::HashMap;

/// What SentencePiece writes for a space.
pub(super) const SPACE: &str = "\u{2581}";

/// Lists every way to make a piece of two others, in the order in which SentencePiece would choose: the best score
/// first. `pieces` may be made by merging and have scores; `vocab` holds the ids of all.
///
/// Two ways to make the same piece have the same score. SentencePiece takes the leftmost in the
/// text, which no fixed order can say; that with the longest left part comes closest, since it is
/// what a run of one character is made of from the left.
pub(super) fn merges(pieces: &[(&str, f64)], vocab: &HashMap<&str, u32>) -> Vec<(String, String)> {
    let mut merges = Vec::new();
    for (piece, score) in pieces {
        for (at, _) in piece.char_indices().skip(1) {
            let (left, right) = piece.split_at(at);
            if vocab.contains_key(left) && vocab.contains_key(right) {
                merges.push((left, right, *score));
            }
        }
    }
    let n_chars = |part: &str| part.chars().count();
    merges.sort_by(|a, b| {
        let longest_left = || n_chars(b.0).cmp(&n_chars(a.0));
        let longest_right = || n_chars(b.1).cmp(&n_chars(a.1));
        b.2.total_cmp(&a.2).then_with(longest_left).then_with(longest_right)
    });
    merges.into_iter().map(|(left, right, _)| (left.to_owned(), right.to_owned())).collect()
}
