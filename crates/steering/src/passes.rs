//! How texts are cut into passes through the model.

use std::ops::Range;
use whipstaff_engine::ROW_BUDGET;

/// Cuts texts of these lengths into passes that fit the row budget, with at least one text in each.
pub fn passes(lens: &[usize]) -> Vec<Range<usize>> {
    let mut passes: Vec<Range<usize>> = Vec::new();
    let mut rows = 0;
    for (i, len) in lens.iter().enumerate() {
        match passes.last_mut() {
            Some(pass) if rows + len <= ROW_BUDGET => pass.end = i + 1,
            _ => {
                passes.push(i..i + 1);
                rows = 0;
            }
        }
        rows += len;
    }
    passes
}
