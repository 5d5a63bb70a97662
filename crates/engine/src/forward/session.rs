//! One mutable timeline of tokens.

use super::ops::KvCache;
use crate::steering::Steering;

/// A sequence of tokens, the keys and values computed for them, and the steering they were (and
/// will be) computed under. The steering belongs to the session because its cache is valid under
/// no other; it cannot be changed, only a new session can be begun.
#[derive(Clone, Default)]
pub struct Session {
    pub(crate) tokens: Vec<u32>,
    pub(crate) cache: KvCache,
    pub(crate) steering: Steering,
    /// How long its first text is, once it has one.
    reach: usize,
    /// Tokens of the prompt, if it was told.
    n_prompt: Option<usize>,
}

impl Session {
    /// Begins an empty session, unsteered.
    pub fn new() -> Session {
        Session::default()
    }

    /// Begins an empty session under `steering`.
    pub fn steered(steering: Steering) -> Session {
        Session { steering, ..Session::default() }
    }

    /// Begins a second timeline with this one's tokens. The pages of the cache are shared until one of the two
    /// writes to them.
    pub fn fork(&self) -> Session {
        self.clone()
    }

    /// Begins a second timeline over the same tokens under another steering, whose blocks above `layer` are still
    /// to be run (again). What the cache holds up to block `layer` stays valid because neither steering acts before
    /// the end of that block.
    ///
    /// # Panics
    /// If one of the two steerings acts earlier.
    pub fn fork_above(&self, layer: usize, steering: Steering) -> Session {
        for steering in [&self.steering, &steering] {
            assert!(
                steering.first_layer().is_none_or(|first| first >= layer),
                "steering acts before block {layer}"
            );
        }
        Session { steering, ..self.clone() }
    }

    /// Begins a second timeline over the same tokens under a steering that leaves them alone: what follows is
    /// steered. The cache stays valid because neither steering changes a position that it holds.
    ///
    /// # Panics
    /// If one of the two does.
    pub fn fork_before(&self, steering: Steering) -> Session {
        for steering in [&self.steering, &steering] {
            let n_prompt = self.n_prompt.unwrap_or(0);
            assert!(
                steering.first_position(n_prompt) >= self.tokens.len(),
                "steering changes what is in the cache"
            );
        }
        Session { steering, ..self.clone() }
    }

    /// Says that the first `n_prompt` tokens are the prompt and what follows is the answer, for steering that
    /// tells them apart.
    #[must_use]
    pub fn with_prompt(self, n_prompt: usize) -> Session {
        Session { n_prompt: Some(n_prompt), ..self }
    }

    /// Returns how many of its tokens are the prompt, if it was told.
    pub fn n_prompt(&self) -> Option<usize> {
        self.n_prompt
    }

    /// Says, before the first pass, how many tokens the first text has that will run in several passes.
    /// Some kinds of rope (dynamic, longrope) have other angles for longer texts; a session keeps those
    /// that it began with.
    pub fn expect(&mut self, n_tokens: usize) {
        if self.tokens.is_empty() {
            self.reach = self.reach.max(n_tokens);
        }
    }

    /// Returns how long its first text is.
    pub(crate) fn reach(&self) -> usize {
        self.reach
    }

    /// Returns the tokens so far.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Returns the steering that the session runs under.
    pub fn steering(&self) -> &Steering {
        &self.steering
    }
}
