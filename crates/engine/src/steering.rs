//! What is done to the stream, where and when: a plain value that travels with a request.

use crate::batch::Steered;
use crate::operator::dot;
use crate::{Config, Error, Gate, Hook, Operator, Scope, Site};
use std::sync::Arc;

/// Edits of the residual stream of one sequence. Empty steering is the plain model, bit for bit. Cloning shares.
#[derive(Clone, Debug, Default)]
pub struct Steering {
    edits: Arc<Vec<Placed>>,
}

/// One operator at one place.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// The 0-based block.
    pub layer: usize,
    /// The place in the block.
    pub site: Site,
    /// `[d_model]`. Its length matters to [`Operator::Add`] alone.
    pub direction: Vec<f32>,
    /// What is done along it.
    pub operator: Operator,
    /// Does a row get its old norm back?
    pub keeps_norm: bool,
    /// At which positions, and how strongly.
    pub scope: Scope,
    /// Under what condition.
    pub gate: Option<Arc<Gate>>,
}

impl Edit {
    /// `h ← h + add` at one place and every position: a direction with its unit and alpha already multiplied in.
    pub fn add(layer: usize, site: Site, add: Vec<f32>) -> Edit {
        Edit::new(layer, site, add, Operator::Add { alpha: 1.0 })
    }

    /// An operator at one place and every position.
    pub fn new(layer: usize, site: Site, direction: Vec<f32>, operator: Operator) -> Edit {
        let (keeps_norm, scope, gate) = Default::default();
        Edit { layer, site, direction, operator, keeps_norm, scope, gate }
    }

    /// Is it a vector that is only added, as it is?
    fn is_sum(&self) -> bool {
        self.operator == Operator::Add { alpha: 1.0 } && !self.keeps_norm
    }

    /// Can the two be one edit whose vector is the sum of theirs?
    fn adds_up_with(&self, next: &Edit) -> bool {
        self.is_sum() && next.is_sum() && self.scope == next.scope && self.gate == next.gate
    }

    /// Does it leave every row as it is?
    fn is_nothing(&self) -> bool {
        let adds_zero =
            matches!(self.operator, Operator::Add { .. }) && self.direction.iter().all(|x| *x == 0.0);
        let no_token = self.scope.tokens.as_ref().is_some_and(|set| set.is_empty());
        self.operator.alpha() == 0.0 || adds_zero || no_token
    }
}

/// An edit, ready to be applied.
#[derive(Clone, Debug)]
struct Placed {
    edit: Edit,
    /// Of its direction.
    length: f64,
    /// Is it a plain sum at every position?
    everywhere: bool,
}

impl Placed {
    fn new(edit: Edit) -> Placed {
        let length = dot(&edit.direction, &edit.direction).sqrt();
        let everywhere = edit.is_sum() && edit.scope.is_everywhere();
        Placed { edit, length, everywhere }
    }
}

impl Steering {
    /// Gathers edits. Those at one place act in the order given; neighbours that only add vectors, at the same
    /// positions and under the same gate, are summed. One that does nothing is dropped, so that alpha 0 runs the
    /// very path of the plain model.
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

    /// The edits, in the order in which a pass meets them.
    pub fn edits(&self) -> impl Iterator<Item = &Edit> {
        self.edits.iter().map(|it| &it.edit)
    }

    /// Does it leave the model as it is?
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// The first block that it acts in.
    pub fn first_layer(&self) -> Option<usize> {
        self.first_place().map(|(layer, _)| layer)
    }

    /// The first place that it acts at.
    pub fn first_place(&self) -> Option<(usize, Site)> {
        self.edits().next().map(|edit| (edit.layer, edit.site))
    }

    /// No position before this one is changed in a sequence with a prompt of `n_prompt` tokens: what the cache
    /// holds of it is the plain model's.
    pub fn first_position(&self, n_prompt: usize) -> usize {
        self.edits().map(|edit| edit.scope.first_position(n_prompt)).min().unwrap_or(usize::MAX)
    }

    /// Has it gates? They must be decided ([`crate::decide`]) before anything runs under it.
    pub fn is_gated(&self) -> bool {
        self.edits().any(|edit| edit.gate.is_some())
    }

    /// What is left when all gates are decided: edits under a gate that fires, and those without.
    pub(crate) fn decided(&self, fires: impl Fn(&Gate) -> bool) -> Steering {
        let passes = |edit: &&Edit| edit.gate.as_ref().is_none_or(|gate| fires(gate));
        Steering::new(self.edits().filter(passes).cloned().map(|edit| Edit { gate: None, ..edit }))
    }

    /// Does it tell prompt from answer? Then a session must be told where its prompt ends.
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
                format!("the numbers of `{}` at layer {layer} make no sense", operator.name())
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

    fn at(&self, layer: usize, site: Site) -> impl Iterator<Item = &Placed> {
        self.edits.iter().filter(move |it| it.edit.layer == layer && it.edit.site == site)
    }
}

fn check_place(config: &Config, who: &str, layer: usize, direction: &[f32]) -> Result<(), Error> {
    let wrong = if layer >= config.n_layers {
        format!("{who} at layer {layer}, the model has layers 0-{}", config.n_layers - 1)
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

/// Does the steering of any sequence act at this hook?
pub(crate) fn acts(hook: Hook) -> bool {
    hook.rows.steered().iter().any(|it| it.steering.at(hook.layer, hook.site).next().is_some())
}

/// Does to the values of one row, `[d_model]`, what the steering of its sequence does at this hook.
pub(crate) fn steer(hook: Hook, row: usize, values: &mut [f32]) {
    let row = hook.rows.row(row);
    let Steered { steering, n_prompt } = &hook.rows.steered()[row.sequence];
    for Placed { edit, length, everywhere } in steering.at(hook.layer, hook.site) {
        if *everywhere {
            values.iter_mut().zip(&edit.direction).for_each(|(x, add)| *x += add);
            continue;
        }
        let strength = edit.scope.strength(row, *n_prompt);
        if strength != 0.0 {
            edit.operator.apply(values, &edit.direction, *length, strength, edit.keeps_norm);
        }
    }
}
