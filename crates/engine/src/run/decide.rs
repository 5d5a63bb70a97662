//! Decides gates: a steering with gates becomes one without, before anything runs under it.
//!
//! A gate is decided from the unsteered prompt, for every sequence by itself. So there is nothing left to decide
//! while a sequence runs, and what is said about batches, chunks and caches holds for gated steering as well.

use crate::error::Error;
use crate::forward::{Batch, Hook, Model, ROW_BUDGET, Rows, Session, Tap, pack};
use crate::steering::{Gate, Pool, Site, Steering};

/// Runs prompts unsteered as far as the gates of their steerings look, and returns the steerings decided: those
/// without gates as they are.
///
/// # Errors
/// As for [`Model::forward`].
pub fn decide(model: &Model, prompts: &[&[u32]], steerings: &[Steering]) -> Result<Vec<Steering>, Error> {
    steerings.iter().try_for_each(|steering| steering.check(model.config()))?;
    let gated: Vec<usize> = (0..prompts.len()).filter(|i| steerings[*i].is_gated()).collect();
    let mut decided = steerings.to_vec();
    let gates = |i: usize| steerings[i].edits().filter_map(|edit| edit.gate.as_deref());
    let n_layers = gated.iter().flat_map(|i| gates(*i)).map(|gate| gate.layer + 1).max().unwrap_or(0);
    let ids: Vec<&[u32]> = gated.iter().map(|i| prompts[*i]).collect();
    let mut sessions = vec![Session::new(); ids.len()];
    // The edits of an instruction, one a layer, have one gate.
    let seen = |i: &usize| {
        let mut distinct: Vec<&Gate> = Vec::new();
        gates(*i).for_each(|gate| {
            if !distinct.contains(&gate) {
                distinct.push(gate)
            }
        });
        distinct.into_iter().map(Seen::new).collect()
    };
    let mut look = Look { seen: gated.iter().map(seen).collect(), pass: Vec::new() };
    for pass in pack(ids.iter().map(|ids| ids.len()), ROW_BUDGET) {
        look.pass = pass.iter().map(|(i, _)| (*i, ids[*i].len())).collect();
        let mut batch = Batch::of_pass(&mut sessions, &ids, &pass);
        let entering = model.embed(&batch)?;
        model.run_blocks(&mut batch, entering, 0..n_layers, &mut look);
    }
    for (i, seen) in gated.into_iter().zip(&look.seen) {
        let fires = |gate: &Gate| seen.iter().find(|it| it.gate == gate).is_some_and(Seen::fires);
        decided[i] = steerings[i].decided(fires);
    }
    Ok(decided)
}

/// What a gate sees of one prompt.
struct Seen<'g> {
    gate: &'g Gate,
    sum: Vec<f64>,
    n: usize,
}

impl<'g> Seen<'g> {
    fn new(gate: &'g Gate) -> Seen<'g> {
        Seen { gate, sum: vec![0.0; gate.condition.len()], n: 0 }
    }

    fn fires(&self) -> bool {
        let mean: Vec<f64> = self.sum.iter().map(|x| x / self.n.max(1) as f64).collect();
        self.gate.fires_on(&mean)
    }
}

/// The tap that gates look through.
struct Look<'g> {
    /// For every prompt.
    seen: Vec<Vec<Seen<'g>>>,
    /// For every sequence of the pass, its prompt and that one's length.
    pass: Vec<(usize, usize)>,
}

impl Tap for Look<'_> {
    fn reads(&self, layer: usize, site: Site) -> bool {
        self.seen.iter().flatten().any(|seen| (seen.gate.layer, seen.gate.site) == (layer, site))
    }

    fn at(&mut self, hook: Hook<'_>, x: Rows) -> Rows {
        let read = hook.host(&x);
        for (i, row) in hook.rows.iter().enumerate() {
            let (prompt, n_prompt) = self.pass[row.sequence];
            for seen in &mut self.seen[prompt] {
                let counts = seen.gate.pool == Pool::Mean || row.position + 1 == n_prompt;
                if counts && seen.gate.layer == hook.layer && seen.gate.site == hook.site {
                    seen.sum.iter_mut().zip(read.row(i)).for_each(|(sum, x)| *sum += f64::from(*x));
                    seen.n += 1;
                }
            }
        }
        x
    }
}
