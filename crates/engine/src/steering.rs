//! What is done to the stream, where and when: plain values that travel with a request and have never met a batch.

mod edit;
mod gate;
mod operator;
mod scope;
mod site;

use crate::config::Config;
use crate::error::Error;
pub use edit::Edit;
pub(crate) use edit::Placed;
pub use gate::{Fires, Gate, Pool, Score};
pub use operator::Operator;
pub use scope::{Position, Schedule, Scope, Span, TokenSet};
pub use site::Site;
use std::sync::Arc;

/// Edits of the residual stream of one sequence. Empty steering is the plain model, bit for bit. Cloning shares.
#[derive(Clone, Debug, Default)]
pub struct Steering {
    edits: Arc<Vec<Placed>>,
}

impl Steering {
    /// Gathers edits. Edits at one place act in the order given. Neighbours that only add vectors, at the same
    /// positions and under the same gate, are summed. An edit that does nothing is dropped, so that alpha 0 runs
    /// the very path of the plain model.
    pub fn new(edits: impl IntoIterator<Item = Edit>) -> Steering {
        let mut gathered: Vec<Edit> = Vec::new();
        for edit in edits {
            let last = gathered.iter_mut().rev().find(|e| e.layer == edit.layer && e.site == edit.site);
            match last.filter(|last| last.adds_up_with(&edit)) {
                Some(last) => {
                    last.direction.iter_mut().zip(&edit.direction).for_each(|(sum, x)| *sum += x);
                }
                None => gathered.push(edit),
            }
        }
        gathered.retain(|edit| !edit.is_nothing());
        gathered.sort_by_key(|edit| (edit.layer, edit.site));
        Steering { edits: Arc::new(gathered.into_iter().map(Placed::new).collect()) }
    }

    /// Returns the edits, in the order in which a pass meets them.
    pub fn edits(&self) -> impl Iterator<Item = &Edit> {
        self.edits.iter().map(|it| &it.edit)
    }

    /// Returns true if the steering leaves the model as it is.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Returns the first block that the steering acts in.
    pub fn first_layer(&self) -> Option<usize> {
        self.first_place().map(|(layer, _)| layer)
    }

    /// Returns the first place that the steering acts at.
    pub fn first_place(&self) -> Option<(usize, Site)> {
        self.edits().next().map(|edit| (edit.layer, edit.site))
    }

    /// Returns a position before which nothing is changed in a sequence with a prompt of `n_prompt` tokens: what
    /// the cache holds of those positions is the plain model's.
    pub fn first_position(&self, n_prompt: usize) -> usize {
        self.edits().map(|edit| edit.scope.first_position(n_prompt)).min().unwrap_or(usize::MAX)
    }

    /// Returns true if an edit has a gate. Gates must be decided ([`decide`](crate::run::decide)) before anything
    /// runs under the steering.
    pub fn is_gated(&self) -> bool {
        self.edits().any(|edit| edit.gate.is_some())
    }

    /// Returns the steering that is left when all gates are decided: the edits under a gate that fires, and the
    /// edits without gates.
    pub(crate) fn decided(&self, fires: impl Fn(&Gate) -> bool) -> Steering {
        let passes = |edit: &&Edit| edit.gate.as_ref().is_none_or(|gate| fires(gate));
        Steering::new(self.edits().filter(passes).cloned().map(|edit| Edit { gate: None, ..edit }))
    }

    /// Returns true if an edit tells the prompt from the answer. A session must then be told where its prompt ends.
    pub fn asks_for_prompt(&self) -> bool {
        self.edits().any(|edit| edit.scope.asks_for_prompt())
    }

    /// Checks every edit against the shape of a model.
    ///
    /// # Errors
    /// [`Error::SteeringMismatch`] if a layer or a width does not exist there or a number is not
    /// finite.
    pub fn check(&self, config: &Config) -> Result<(), Error> {
        for Placed { edit, length, .. } in self.edits.iter() {
            let Edit { layer, operator, .. } = edit;
            check_place(config, "steering acts", *layer, &edit.direction)?;
            let wrong = if !operator.is_finite() || !edit.scope.schedule.is_sound() {
                format!(
                    "`{}` at layer {layer} has a number that is not finite or out of range",
                    operator.name()
                )
            } else if *length == 0.0 {
                format!("`{}` at layer {layer} needs a direction, and it is zero", operator.name())
            } else {
                continue;
            };
            return Err(Error::SteeringMismatch(wrong));
        }
        let gates = self.edits().filter_map(|edit| edit.gate.as_ref());
        gates
            .into_iter()
            .try_for_each(|gate| check_place(config, "a gate looks", gate.layer, &gate.condition))
    }

    pub(crate) fn at(&self, layer: usize, site: Site) -> impl Iterator<Item = &Placed> {
        self.edits.iter().filter(move |it| it.edit.layer == layer && it.edit.site == site)
    }
}

fn check_place(config: &Config, who: &str, layer: usize, direction: &[f32]) -> Result<(), Error> {
    let wrong = if layer >= config.n_layers {
        format!(
            "{who} at layer {layer}, which does not exist; the model has layers 0-{}",
            config.n_layers - 1
        )
    } else if direction.len() != config.d_model {
        format!(
            "the steering vector has {} elements, the model's d_model is {}",
            direction.len(),
            config.d_model
        )
    } else if !direction.iter().all(|x| x.is_finite()) {
        format!("the steering vector for layer {layer} has elements that are not finite")
    } else {
        return Ok(());
    };
    Err(Error::SteeringMismatch(wrong))
}
