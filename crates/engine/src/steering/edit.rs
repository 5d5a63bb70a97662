//! One thing that is done to the stream, at one place.

use super::gate::Gate;
use super::operator::{Operator, dot};
use super::scope::Scope;
use super::site::Site;
use std::sync::Arc;

/// One operator at one place.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// The 0-based block.
    pub layer: usize,
    /// The place in the block.
    pub site: Site,
    /// `[d_model]`. Its length matters to [`Operator::Add`] alone.
    pub direction: Vec<f32>,
    /// The operator that is applied along it.
    pub operator: Operator,
    /// A row gets its old norm back.
    pub keeps_norm: bool,
    /// The positions at which it acts, and how strongly.
    pub scope: Scope,
    /// The condition under which it acts.
    pub gate: Option<Arc<Gate>>,
}

impl Edit {
    /// Makes the edit `h ← h + add` at one place and every position. The direction has its unit and alpha already
    /// multiplied in.
    pub fn add(layer: usize, site: Site, add: Vec<f32>) -> Edit {
        Edit::new(layer, site, add, Operator::Add { alpha: 1.0 })
    }

    /// Makes an edit of one operator at one place and every position.
    pub fn new(layer: usize, site: Site, direction: Vec<f32>, operator: Operator) -> Edit {
        let (keeps_norm, scope, gate) = Default::default();
        Edit { layer, site, direction, operator, keeps_norm, scope, gate }
    }

    /// Returns true for a vector that is only added, as it is.
    fn is_sum(&self) -> bool {
        self.operator == Operator::Add { alpha: 1.0 } && !self.keeps_norm
    }

    /// Returns true if the two can be one edit whose vector is the sum of theirs.
    pub(super) fn adds_up_with(&self, next: &Edit) -> bool {
        self.is_sum() && next.is_sum() && self.scope == next.scope && self.gate == next.gate
    }

    /// Returns true if the edit leaves every row as it is.
    pub(super) fn is_nothing(&self) -> bool {
        let adds_zero =
            matches!(self.operator, Operator::Add { .. }) && self.direction.iter().all(|x| *x == 0.0);
        let no_token = self.scope.tokens.as_ref().is_some_and(|set| set.is_empty());
        self.operator.alpha() == 0.0 || adds_zero || no_token
    }
}

/// An edit, ready to be applied: plain data, which a device may take once for all passes.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) edit: Edit,
    /// The length of its direction.
    pub(crate) length: f64,
    /// The edit is a plain sum at every position.
    pub(crate) everywhere: bool,
}

impl Placed {
    pub(super) fn new(edit: Edit) -> Placed {
        let length = dot(&edit.direction, &edit.direction).sqrt();
        let everywhere = edit.is_sum() && edit.scope.is_everywhere();
        Placed { edit, length, everywhere }
    }
}
