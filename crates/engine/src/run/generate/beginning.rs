//! Beginnings that several prompts share.

use super::task::{Stage, Task};
use crate::forward::{Model, Session};
use crate::run::prefix::PrefixTree;

/// The beginnings that have not run to their end.
#[derive(Default)]
pub(super) struct Beginnings {
    /// A beginning stands after the one that it continues.
    list: Vec<Beginning>,
    n_made: usize,
}

/// Tokens that several prompts begin with and that no steering of theirs changes: they run once, unsteered.
pub(super) struct Beginning {
    id: usize,
    /// The beginning that it continues, until that one has run.
    after: Option<usize>,
    pub(super) session: Session,
    /// Tokens that have not run.
    pub(super) pending: Vec<u32>,
    /// How many of them run in this step.
    pub(super) n_rows: usize,
}

impl Beginnings {
    /// Lets the prompts of a group run: what they have in common, as far as no steering changes it, becomes
    /// beginnings that they wait for.
    pub(super) fn join(&mut self, group: &mut [Task], model: &Model) {
        group.iter_mut().for_each(|task| task.stage = Stage::Running);
        let mut plain: Vec<&mut Task> = group.iter_mut().filter(|task| task.is_prompt_unsteered()).collect();
        let texts: Vec<&[u32]> = plain.iter().map(|task| &task.pending[..]).collect();
        let tree = PrefixTree::new(model, &texts);
        let first = self.n_made;
        for (i, run) in tree.runs.iter().enumerate() {
            let (id, after) = (first + i, run.parent.map(|parent| first + parent));
            let pending = texts[run.text][run.range.clone()].to_vec();
            self.list.push(Beginning { id, after, session: Session::new(), pending, n_rows: 0 });
        }
        self.n_made += tree.runs.len();
        for (text, task) in plain.iter_mut().enumerate() {
            if let Some(run) = tree.last_run(text) {
                task.stage = Stage::Behind(first + run);
                task.pending.drain(..tree.shared_len(text));
            }
        }
    }

    /// Returns those that can run.
    pub(super) fn ready(&mut self) -> impl Iterator<Item = &mut Beginning> {
        self.list.iter_mut().filter(|beginning| beginning.after.is_none())
    }

    /// Forks the sessions of beginnings that have run to their end for those who wait for them.
    pub(super) fn hand_on(&mut self, tasks: &mut [Task]) {
        while let Some(at) = self.list.iter().position(|beginning| beginning.pending.is_empty()) {
            let done = self.list.remove(at);
            for next in self.list.iter_mut().filter(|next| next.after == Some(done.id)) {
                next.session = done.session.fork();
                next.after = None;
            }
            for task in tasks.iter_mut().filter(|task| task.is_behind(done.id)) {
                task.go_on_from(&done.session);
            }
        }
    }

    /// Drops those that nobody waits for any more.
    pub(super) fn retain_awaited(&mut self, tasks: &[Task]) {
        for at in (0..self.list.len()).rev() {
            let id = self.list[at].id;
            let is_continued = self.list.iter().any(|beginning| beginning.after == Some(id));
            if !is_continued && !tasks.iter().any(|task| task.is_behind(id)) {
                self.list.remove(at);
            }
        }
    }

    /// Drops all.
    pub(super) fn clear(&mut self) {
        self.list.clear();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }
}
