//! What a set of texts has in common at its beginning, so that it is run once.

use crate::error::Error;
use crate::forward::{Batch, Model, NoTap, ROW_BUDGET, Session, pack};
use std::ops::Range;

/// A tree over the beginnings of texts. Inner runs of tokens are shared by several texts; what
/// follows the last one is a text's own.
pub struct PrefixTree {
    /// Shared runs; a run stands after the one that it continues.
    pub(crate) runs: Vec<Run>,
    /// For every text, the run that it continues, and how many of its tokens that covers.
    texts: Vec<(Option<usize>, usize)>,
}

/// Tokens `range` of text `text`, after the tokens of `parent`.
pub(crate) struct Run {
    pub(crate) parent: Option<usize>,
    pub(crate) text: usize,
    pub(crate) range: Range<usize>,
}

/// Sharing a run means one more pass over the weights before what follows it can run, which costs
/// about as much as computing this many rows beside others.
const WORTHWHILE: usize = 32;

impl PrefixTree {
    /// Finds the common beginnings of `texts` that are worth sharing. At least one token of every
    /// text stays its own. Texts share nothing on a model whose arithmetic depends on their length.
    pub fn new(model: &Model, texts: &[&[u32]]) -> PrefixTree {
        if model.depends_on_length() { PrefixTree::unshared(texts.len()) } else { PrefixTree::shared(texts) }
    }

    fn unshared(n_texts: usize) -> PrefixTree {
        PrefixTree { runs: Vec::new(), texts: vec![(None, 0); n_texts] }
    }

    fn shared(texts: &[&[u32]]) -> PrefixTree {
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|i| texts[*i]);
        let mut tree = PrefixTree::unshared(texts.len());
        tree.share(texts, &order, None, 0);
        tree
    }

    /// Returns how many tokens run once and stand for the tokens of several texts.
    pub fn n_shared(&self) -> usize {
        self.runs.iter().map(|run| run.range.len()).sum()
    }

    /// Returns the last of the shared runs that text `text` begins with, if it shares any.
    pub(crate) fn last_run(&self, text: usize) -> Option<usize> {
        self.texts[text].0
    }

    /// Returns how many tokens at the beginning of text `text` are shared.
    pub fn shared_len(&self, text: usize) -> usize {
        self.texts[text].1
    }

    /// Runs the shared tokens through the blocks `0..n_layers` of a model, and returns a function
    /// that gives each text its session: a fork of what it shares, or an empty one.
    ///
    /// # Errors
    /// As for [`Model::forward`].
    pub fn run(&self, model: &Model, texts: &[&[u32]], n_layers: usize) -> Result<Prefixes<'_>, Error> {
        let mut sessions: Vec<Session> = vec![Session::new(); self.runs.len()];
        // A wave is all runs whose parents have run.
        let mut depths: Vec<usize> = Vec::new();
        for run in &self.runs {
            depths.push(run.parent.map_or(0, |parent| depths[parent] + 1));
        }
        for depth in 0..=depths.iter().copied().max().unwrap_or(0) {
            let wave: Vec<usize> = (0..self.runs.len()).filter(|i| depths[*i] == depth).collect();
            let fork =
                |i: &usize| self.runs[*i].parent.map_or_else(Session::new, |parent| sessions[parent].fork());
            let mut forks: Vec<Session> = wave.iter().map(fork).collect();
            let tokens = |i: &usize| &texts[self.runs[*i].text][self.runs[*i].range.clone()];
            let ids: Vec<&[u32]> = wave.iter().map(tokens).collect();
            for pass in pack(ids.iter().map(|ids| ids.len()), ROW_BUDGET) {
                let mut batch = Batch::of_pass(&mut forks, &ids, &pass);
                let entering = model.embed(&batch)?;
                model.run_blocks(&mut batch, entering, 0..n_layers, &mut NoTap);
            }
            wave.iter().zip(forks).for_each(|(i, session)| sessions[*i] = session);
        }
        Ok(Prefixes { tree: self, sessions })
    }

    /// Finds the runs of a group of texts. `order` is sorted, and all of its texts agree on their first `from`
    /// tokens and more.
    fn share(&mut self, texts: &[&[u32]], order: &[usize], parent: Option<usize>, from: usize) {
        let (Some(first), Some(last)) = (order.first(), order.last()) else { return };
        let agree = common_len(texts[*first], texts[*last]);
        let common = agree.min(texts[*first].len().saturating_sub(1));
        let (parent, from) = if common.saturating_sub(from) * (order.len() - 1) >= WORTHWHILE {
            self.runs.push(Run { parent, text: *first, range: from..common });
            (Some(self.runs.len() - 1), common)
        } else {
            (parent, from)
        };
        if agree == texts[*last].len() {
            order.iter().for_each(|text| self.texts[*text] = (parent, from));
            return;
        }
        for group in order.chunk_by(|a, b| texts[*a].get(agree) == texts[*b].get(agree)) {
            self.share(texts, group, parent, from);
        }
    }
}

/// The sessions of what texts share.
pub struct Prefixes<'t> {
    tree: &'t PrefixTree,
    sessions: Vec<Session>,
}

impl Prefixes<'_> {
    /// Begins a session for text `text` that holds its first [`PrefixTree::shared_len`] tokens.
    pub fn session(&self, text: usize) -> Session {
        self.tree.texts[text].0.map_or_else(Session::new, |run| self.sessions[run].fork())
    }
}

fn common_len(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a text of `shared` common tokens, then tokens of its own.
    fn text(shared: usize, own: &[u32]) -> Vec<u32> {
        (1000..1000 + shared as u32).chain(own.iter().copied()).collect()
    }

    fn check(texts: &[Vec<u32>], n_shared: usize, shared_lens: &[usize]) {
        let texts: Vec<&[u32]> = texts.iter().map(|text| &text[..]).collect();
        let tree = PrefixTree::shared(&texts);
        assert_eq!(tree.n_shared(), n_shared);
        let lens: Vec<usize> = (0..texts.len()).map(|i| tree.shared_len(i)).collect();
        assert_eq!(lens, shared_lens);
    }

    #[test]
    fn a_long_common_beginning_is_shared_and_a_short_one_is_not() {
        check(&[text(50, &[1]), text(50, &[2]), text(50, &[3])], 50, &[50, 50, 50]);
        check(&[text(5, &[1]), text(5, &[2])], 0, &[0, 0]);
        check(&[text(5, &[1]); 1], 0, &[0]);
        check(&[], 0, &[]);
    }

    #[test]
    fn every_text_keeps_a_token_of_its_own() {
        check(&[text(50, &[]), text(50, &[]), text(50, &[7])], 49, &[49, 49, 49]);
    }

    #[test]
    fn groups_share_what_they_have_beyond_the_common_beginning() {
        let two = |own: u32| [text(40, &[7; 40]), vec![own]].concat();
        check(&[text(40, &[1]), two(2), two(3), text(40, &[4])], 80, &[40, 80, 80, 40]);
        let a = |own: u32| [vec![1; 60], vec![own]].concat();
        let b = |own: u32| [vec![2; 60], vec![own]].concat();
        check(&[a(8), b(8), a(9), b(9)], 120, &[60; 4]);
    }
}
