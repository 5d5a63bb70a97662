//! Decides gates: a steering with conditions on the prompt becomes one without, before anything runs under it.
//!
//! A gate is decided from the unsteered prompt, for every sequence by itself. So there is nothing left to decide
//! while a sequence runs, and what is said about batches, chunks and caches holds for gated steering as well.

use crate::error::Error;
use crate::forward::{Batch, Hook, Model, ROW_BUDGET, Rows, Session, Tap, pack};
use crate::steering::{Gate, Pool, Site, Steering};
use std::sync::Arc;

/// Runs prompts unsteered as far as the gates of their steerings look, and returns the decided steerings: those
/// without gates as they are.
///
/// # Errors
/// As for [`Model::forward`].
pub fn decide(model: &Model, prompts: &[&[u32]], steerings: &[Steering]) -> Result<Vec<Steering>, Error> {
    steerings.iter().try_for_each(|steering| steering.check(model.config()))?;
    let gated: Vec<usize> = (0..prompts.len()).filter(|i| steerings[*i].is_gated()).collect();
    let decision = |i: &usize| Decision::new(steerings[*i].clone(), prompts[*i].len());
    let mut decisions: Vec<Decision> = gated.iter().map(decision).collect();
    for pass in pack(gated.iter().map(|i| prompts[*i].len()), ROW_BUDGET) {
        let mut parts = pass.into_iter().peekable();
        let mut looking = Vec::new();
        for (n, decision) in decisions.iter_mut().enumerate() {
            if let Some((_, range)) = parts.next_if(|(part, _)| *part == n) {
                looking.push((decision, &prompts[gated[n]][range]));
            }
        }
        look(model, looking)?;
    }
    let mut decided = steerings.to_vec();
    gated.iter().zip(&decisions).for_each(|(i, decision)| decided[*i] = decision.steering());
    Ok(decided)
}

/// The gates of one steering while its prompt runs, unsteered, in one piece or several.
pub(crate) struct Decision {
    steering: Steering,
    n_prompt: usize,
    session: Session,
    /// One for each distinct gate.
    seen: Vec<Seen>,
}

impl Decision {
    /// Prepares to decide the gates of `steering` on a prompt of `n_prompt` tokens.
    pub(crate) fn new(steering: Steering, n_prompt: usize) -> Decision {
        let mut session = Session::new();
        session.expect(n_prompt);
        let mut seen: Vec<Seen> = Vec::new();
        // The edits of an instruction, one a layer, have one gate.
        for gate in steering.edits().filter_map(|edit| edit.gate.as_ref()) {
            if seen.iter().all(|seen| seen.gate != *gate) {
                seen.push(Seen::new(gate.clone()));
            }
        }
        Decision { steering, n_prompt, session, seen }
    }

    /// Returns how many tokens of the prompt have run.
    pub(crate) fn n_run(&self) -> usize {
        self.session.tokens().len()
    }

    /// Returns the steering that is left when the whole prompt has run: edits under a gate that fires, and those
    /// without one.
    pub(crate) fn steering(&self) -> Steering {
        self.steering.decided(|gate| self.seen.iter().any(|seen| *seen.gate == *gate && seen.fires()))
    }

    /// Returns how many blocks its gates look at.
    fn n_layers(&self) -> usize {
        self.seen.iter().map(|seen| seen.gate.layer + 1).max().unwrap_or(0)
    }
}

/// Runs the next tokens of several prompts, in one pass, as far as their gates look.
///
/// # Errors
/// As for [`Model::forward`].
pub(crate) fn look<'a>(
    model: &Model,
    prompts: impl IntoIterator<Item = (&'a mut Decision, &'a [u32])>,
) -> Result<(), Error> {
    let (mut batch, mut tap, mut n_layers) = (Batch::new(), Look::default(), 0);
    for (decision, tokens) in prompts {
        n_layers = n_layers.max(decision.n_layers());
        batch.push(&mut decision.session, tokens);
        tap.prompts.push((&mut decision.seen, decision.n_prompt));
    }
    let entering = model.embed(&batch)?;
    model.run_blocks(&mut batch, entering, 0..n_layers, &mut tap);
    Ok(())
}

/// What a gate has seen of one prompt.
struct Seen {
    gate: Arc<Gate>,
    sum: Vec<f64>,
    n: usize,
}

impl Seen {
    fn new(gate: Arc<Gate>) -> Seen {
        Seen { sum: vec![0.0; gate.condition.len()], n: 0, gate }
    }

    fn fires(&self) -> bool {
        let mean: Vec<f64> = self.sum.iter().map(|x| x / self.n.max(1) as f64).collect();
        self.gate.fires_on(&mean)
    }
}

/// The tap that gates look through: for every sequence of a pass, its gates and the length of its prompt.
#[derive(Default)]
struct Look<'a> {
    prompts: Vec<(&'a mut Vec<Seen>, usize)>,
}

impl Tap for Look<'_> {
    fn reads(&self, layer: usize, site: Site) -> bool {
        let mut gates = self.prompts.iter().flat_map(|(gates, _)| gates.iter());
        gates.any(|seen| (seen.gate.layer, seen.gate.site) == (layer, site))
    }

    fn at(&mut self, hook: Hook<'_>, x: Rows) -> Rows {
        let read = hook.host(&x);
        for (i, row) in hook.rows.iter().enumerate() {
            let (gates, n_prompt) = &mut self.prompts[row.sequence];
            for seen in gates.iter_mut() {
                let counts = seen.gate.pool == Pool::Mean || row.position + 1 == *n_prompt;
                if counts && seen.gate.layer == hook.layer && seen.gate.site == hook.site {
                    seen.sum.iter_mut().zip(read.row(i)).for_each(|(sum, x)| *sum += f64::from(*x));
                    seen.n += 1;
                }
            }
        }
        x
    }
}
