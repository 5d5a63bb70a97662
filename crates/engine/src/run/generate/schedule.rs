//! How the rows of a step are shared among prompts.

use whipstaff_kernels::BLOCK_LEN;

/// A piece that is cut from a long prompt is at least a block of the cache, so that a pass over many prompts does
/// not crumble them.
const SMALLEST_PIECE: usize = BLOCK_LEN;

/// Shares at most `free` rows among prompts. Each prompt comes with the number of tokens that it has left, and is
/// given its rows in place.
///
/// Every prompt, in order, gets a smallest piece as long as there are rows. Those that got one share all rows
/// equally; what a short prompt leaves goes to the longer ones.
pub(super) fn share(prompts: &mut [(usize, &mut usize)], free: usize) {
    prompts.iter_mut().for_each(|(_, n_rows)| **n_rows = 0);
    let mut promised = 0;
    let mut fits = |(n_left, _): &(usize, &mut usize)| {
        promised += SMALLEST_PIECE.min(*n_left);
        promised <= free
    };
    // The first prompt gets what there is, even if that is less than a piece.
    let n = prompts.iter().take_while(|prompt| fits(prompt)).count().max(1).min(prompts.len());
    let prompts = &mut prompts[..n];
    let mut free = free;
    let level = level(prompts, free);
    for (n_left, n_rows) in prompts.iter_mut() {
        **n_rows = level.min(*n_left);
        free -= **n_rows;
    }
    // Fewer rows than prompts are over.
    for (n_left, n_rows) in prompts.iter_mut().filter(|(n_left, _)| *n_left > level).take(free) {
        **n_rows = (level + 1).min(*n_left);
    }
}

/// Returns the most rows that every prompt may have, if it has so many tokens left, so that all fit in `free` rows.
fn level(prompts: &[(usize, &mut usize)], free: usize) -> usize {
    let fits = |level: usize| prompts.iter().map(|(n_left, _)| level.min(*n_left)).sum::<usize>() <= free;
    let (mut fitting, mut above) = (0, free + 1);
    while above - fitting > 1 {
        let middle = fitting.midpoint(above);
        if fits(middle) { fitting = middle } else { above = middle }
    }
    fitting
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(left: &[usize], free: usize, want: &[usize]) {
        let mut rows = vec![0; left.len()];
        let mut prompts: Vec<_> = left.iter().copied().zip(&mut rows).collect();
        share(&mut prompts, free);
        assert_eq!(rows, want, "{left:?} in {free} rows");
    }

    #[test]
    fn long_prompts_share_equally_and_short_ones_take_what_they_need() {
        check(&[], 512, &[]);
        check(&[100], 512, &[100]);
        check(&[1000], 512, &[512]);
        check(&[1000, 2000], 512, &[256, 256]);
        check(&[2000, 10, 1000], 512, &[251, 10, 251]);
        check(&[2000, 10, 1000], 513, &[252, 10, 251]);
        check(&[40, 50, 60], 512, &[40, 50, 60]);
    }

    #[test]
    fn the_first_prompts_go_first_when_there_are_too_few_rows_for_all() {
        check(&[500, 500, 500], 64, &[32, 32, 0]);
        check(&[500, 500, 500], 40, &[40, 0, 0]);
        check(&[500, 500], 5, &[5, 0]);
        check(&[10, 10, 10], 25, &[10, 10, 0]);
        check(&[10, 500, 500], 45, &[10, 35, 0]);
        check(&[500], 0, &[0]);
    }
}
