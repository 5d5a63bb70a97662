//! Texts run once unsteered, then again from any block up, under any number of steerings at once.

use crate::error::Error;
use std::ops::Range;
use whipstaff_engine::{
    Batch, Continuation, Model, NoTap, ROW_BUDGET, Rows, Session, Site, Steering, Tap, decide,
};

/// A text for the model to read: a prompt and, perhaps, an answer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The tokens of prompt and answer.
    pub ids: Vec<u32>,
    /// The number of tokens of the prompt; the rest is the answer, to a steering that tells them apart.
    pub n_prompt: usize,
}

impl Text {
    /// Joins a prompt and an answer.
    pub fn new(prompt: &[u32], answer: &[u32]) -> Text {
        Text { ids: [prompt, answer].concat(), n_prompt: prompt.len() }
    }
}

impl From<&Continuation> for Text {
    fn from(continuation: &Continuation) -> Text {
        Text::new(&continuation.prompt, &continuation.tokens)
    }
}

/// A few texts that have run unsteered, with what entered every block kept.
pub(crate) struct Replay<'m> {
    model: &'m Model,
    sessions: Vec<Session>,
    spans: Vec<Range<usize>>,
    /// The rows that entered block ℓ, `[n_rows, d_model]`; the last are those that left the last block.
    entering: Vec<Rows>,
}

impl<'m> Replay<'m> {
    /// Runs the texts unsteered.
    pub(crate) fn new(model: &'m Model, texts: &[Text]) -> Result<Replay<'m>, Error> {
        let session = |text: &Text| Session::new().with_prompt(text.n_prompt);
        let mut sessions: Vec<Session> = texts.iter().map(session).collect();
        let mut batch = Batch::new();
        for (session, text) in sessions.iter_mut().zip(texts) {
            batch.push(session, &text.ids);
        }
        let entering = run_keeping(model, &mut batch)?;
        let spans = (0..texts.len()).map(|i| batch.rows().span(i)).collect();
        drop(batch);
        Ok(Replay { model, sessions, spans, entering })
    }

    /// Returns the model that the texts have run through.
    pub(crate) fn model(&self) -> &'m Model {
        self.model
    }

    /// Returns the rows of a text.
    pub(crate) fn span(&self, text: usize) -> Range<usize> {
        self.spans[text].clone()
    }

    /// Returns the unsteered `resid_post` of a layer, rows of all texts.
    pub(crate) fn resid_post(&self, layer: usize) -> &Rows {
        &self.entering[layer + 1]
    }

    /// Returns the unsteered sessions of the texts.
    pub(crate) fn sessions(&self) -> &[Session] {
        &self.sessions
    }

    /// Runs `(text, steering)` copies in one batch, from the first place that any of them changes; the blocks below have
    /// run already. Returns the rows that leave the last block, copies in order.
    ///
    /// # Errors
    /// [`Error::Engine`] for a steering that does not fit the model.
    pub(crate) fn run<T: Tap>(&self, copies: &[(usize, Steering)], tap: &mut T) -> Result<Rows, Error> {
        Ok(self.run_sessions(copies, tap)?.leaving)
    }

    /// Runs copies as [`Replay::run`] does, and returns their sessions too, for texts that continue them.
    ///
    /// # Errors
    /// As for [`Replay::run`].
    pub(crate) fn run_sessions<T: Tap>(
        &self,
        copies: &[(usize, Steering)],
        tap: &mut T,
    ) -> Result<Copies, Error> {
        let copies = &self.decide(copies)?[..];
        let start = Start::of(copies, self.model);
        let fork = |(text, steering): &(usize, Steering)| {
            self.sessions[*text].fork_above(start.layer, steering.clone())
        };
        let mut sessions: Vec<Session> = copies.iter().map(fork).collect();
        let mut batch = Batch::new();
        for session in &mut sessions {
            batch.again(session, 0);
        }
        let rows: Vec<usize> = copies.iter().flat_map(|(text, _)| self.span(*text)).collect();
        let leaving = start.run(self.model, &mut batch, |level| self.entering[level].select(&rows), tap);
        drop(batch);
        Ok(Copies { sessions, leaving, start })
    }

    /// Returns the copies with their gates decided.
    fn decide(&self, copies: &[(usize, Steering)]) -> Result<Vec<(usize, Steering)>, Error> {
        let prompt = |text: usize| {
            let session = &self.sessions[text];
            &session.tokens()[..session.n_prompt().expect("told when it began")]
        };
        let prompts: Vec<&[u32]> = copies.iter().map(|(text, _)| prompt(*text)).collect();
        let steerings: Vec<Steering> = copies.iter().map(|(_, steering)| steering.clone()).collect();
        let decided = decide(self.model, &prompts, &steerings)?;
        Ok(copies.iter().zip(decided).map(|((text, _), steering)| (*text, steering)).collect())
    }
}

/// Copies of texts that have run under steering.
pub(crate) struct Copies {
    pub(crate) sessions: Vec<Session>,
    /// The rows that left the last block, `[n_rows, d_model]`, copies in order.
    pub(crate) leaving: Rows,
    pub(crate) start: Start,
}

/// Runs a batch unsteered. Returns the rows that entered every block, `[n_rows, d_model]` each, and those that left the
/// last.
///
/// # Errors
/// As for [`Model::embed`].
pub(crate) fn run_keeping(model: &Model, batch: &mut Batch) -> Result<Vec<Rows>, Error> {
    let mut entering = vec![model.embed(batch)?];
    for layer in 0..model.config().n_layers {
        let x = entering[layer].clone();
        entering.push(model.run_blocks(batch, x, layer..layer + 1, &mut NoTap));
    }
    Ok(entering)
}

/// The first place that steering changes.
#[derive(Clone, Copy)]
pub(crate) struct Start {
    /// The layer; the number of layers if nothing is changed.
    layer: usize,
    site: Site,
}

impl Start {
    /// Returns the earliest place that any of the copies changes.
    fn of(copies: &[(usize, Steering)], model: &Model) -> Start {
        let first = copies.iter().filter_map(|(_, steering)| steering.first_place()).min();
        let (layer, site) = first.unwrap_or((model.config().n_layers, Site::ResidPre));
        Start { layer, site }
    }

    /// Runs a batch from here on. `entering` returns the unsteered rows that entered a block, or left the one below.
    /// Returns the rows that leave the last block.
    pub(crate) fn run<T: Tap>(
        self,
        model: &Model,
        batch: &mut Batch,
        entering: impl FnOnce(usize) -> Rows,
        tap: &mut T,
    ) -> Rows {
        let Start { layer, site } = self;
        if site == Site::ResidPost {
            model.run_blocks_above(batch, entering(layer + 1), layer, tap)
        } else {
            model.run_blocks(batch, entering(layer), layer..model.config().n_layers, tap)
        }
    }
}

/// Cuts copies into batches of at most the row budget whose members begin at the same place, so that no copy runs blocks
/// that it does not change. A copy is `(steering, text)`; `lens[text]` is the length of a text.
pub(crate) fn batches<'c>(
    copies: impl IntoIterator<Item = (usize, usize, &'c Steering)>,
    lens: &[usize],
) -> Vec<Vec<(usize, usize)>> {
    let mut copies: Vec<(usize, usize, &Steering)> = copies.into_iter().collect();
    copies.sort_by_key(|(_, _, steering)| steering.first_place());
    let mut batches: Vec<Vec<(usize, usize)>> = Vec::new();
    let (mut rows, mut place) = (0, None);
    for (s, text, steering) in copies {
        rows += lens[text];
        match batches.last_mut() {
            Some(batch) if place == steering.first_place() && rows <= ROW_BUDGET => batch.push((s, text)),
            _ => {
                batches.push(vec![(s, text)]);
                (rows, place) = (lens[text], steering.first_place());
            }
        }
    }
    batches
}
