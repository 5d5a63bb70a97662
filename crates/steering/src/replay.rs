//! Texts run once unsteered, then again from any block up, under any number of steerings at once.

use crate::Error;
use std::ops::Range;
use whipstaff_engine::{
    Batch, Continuation, Model, NoTap, ROW_BUDGET, Rows, Session, Site, Steering, Tap, decide,
};

/// A text to be read: a prompt and, perhaps, an answer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Prompt and answer.
    pub ids: Vec<u32>,
    /// Tokens of the prompt; what comes after it is the answer to a steering that tells them apart.
    pub n_prompt: usize,
}

impl Text {
    /// A prompt and an answer.
    pub fn new(prompt: &[u32], answer: &[u32]) -> Text {
        Text { ids: [prompt, answer].concat(), n_prompt: prompt.len() }
    }
}

impl From<&Continuation> for Text {
    fn from(it: &Continuation) -> Text {
        Text::new(&it.prompt, &it.tokens)
    }
}

/// A few texts that have run unsteered, with what entered every block kept.
pub(crate) struct Replay<'m> {
    model: &'m Model,
    sessions: Vec<Session>,
    spans: Vec<Range<usize>>,
    /// What entered block ℓ, `[n_rows, d_model]`; the last is what left the last block.
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
        let mut entering = vec![model.embed(&batch)?];
        for layer in 0..model.config().n_layers {
            let x = entering[layer].clone();
            entering.push(model.run_blocks(&mut batch, x, layer..layer + 1, &mut NoTap));
        }
        let spans = (0..texts.len()).map(|i| batch.rows().span(i)).collect();
        drop(batch);
        Ok(Replay { model, sessions, spans, entering })
    }

    /// The rows of a text.
    pub(crate) fn span(&self, text: usize) -> Range<usize> {
        self.spans[text].clone()
    }

    /// The unsteered `resid_post` of a layer, rows of all texts.
    pub(crate) fn resid_post(&self, layer: usize) -> &Rows {
        &self.entering[layer + 1]
    }

    /// Runs `(text, steering)` copies in one batch, from the first place that any of them changes;
    /// what lies below has run already. Returns what leaves the last block, copies in order.
    ///
    /// # Errors
    /// [`Error::Engine`] for a steering that does not fit the model.
    pub(crate) fn run<T: Tap>(&self, copies: &[(usize, Steering)], tap: &mut T) -> Result<Rows, Error> {
        let copies = &self.decide(copies)?[..];
        let n_layers = self.model.config().n_layers;
        let first = copies.iter().filter_map(|(_, steering)| steering.first_place()).min();
        let (first, site) = first.unwrap_or((n_layers, Site::ResidPre));
        let fork =
            |(text, steering): &(usize, Steering)| self.sessions[*text].fork_above(first, steering.clone());
        let mut sessions: Vec<Session> = copies.iter().map(fork).collect();
        let mut batch = Batch::new();
        for session in &mut sessions {
            batch.again(session, 0);
        }
        let rows: Vec<usize> = copies.iter().flat_map(|(text, _)| self.span(*text)).collect();
        Ok(if site == Site::ResidPost {
            let leaving = self.resid_post(first).select(&rows);
            self.model.run_blocks_above(&mut batch, leaving, first, tap)
        } else {
            self.model.run_blocks(&mut batch, self.entering[first].select(&rows), first..n_layers, tap)
        })
    }

    /// The copies with their gates decided.
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

/// Cuts copies into batches of at most the row budget whose members begin at the same place, so that
/// none runs blocks that it does not change. `lens[text]` is the length of a text.
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

/// Cuts texts of these lengths into passes that fit the row budget, one text at least in each.
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
