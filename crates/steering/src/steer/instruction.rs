//! A dose of a vector, and how it is applied: by which operator, at which positions, under what condition.

use super::dose::Dose;
use crate::error::Error;
use crate::vector::{PersonaVector, Unit, no_statistic};
use regex::Regex;
use std::sync::Arc;
use whipstaff_engine::{
    Edit, Fires, Gate, Operator, Pool, Schedule, Scope, Score, Site, Span, Steering, TokenSet, Tokenizer,
};

/// A dose, and how it is applied. What alpha means depends on the operator ([`Op`]).
#[derive(Clone, Debug)]
pub struct Instruction<'v> {
    /// The vector, alpha, its unit and the layers.
    pub dose: Dose<'v>,
    /// How the dose is applied.
    pub how: Application,
    /// The vector that the gate of `how` reads, if it has one.
    pub condition: Option<&'v PersonaVector>,
    /// The tokens that the filter of `how` lets through, as [`TokenFilter::resolve`] returns them.
    pub tokens: Option<Arc<TokenSet>>,
}

/// How a dose is applied. The default is to add it at every position.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Application {
    /// The operator.
    pub op: Op,
    /// Whether every row gets its old norm back.
    pub keeps_norm: bool,
    /// The positions that are edited.
    pub span: Span,
    /// The tokens that are edited.
    pub tokens: TokenFilter,
    /// How alpha changes while an answer is written.
    pub schedule: Schedule,
    /// The site, if it is not the one that the vector was read at.
    pub site: Option<Site>,
    /// The condition under which anything is done.
    pub gate: Option<GateSpec>,
}

/// The operators. Targets are counted in the unit of the dose, per layer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Op {
    /// alpha · u · d is added.
    #[default]
    Add,
    /// alpha · u · d is added, or as much of it as is needed to reach this projection.
    AddUntil(f64),
    /// The share alpha of the component along the direction is removed.
    Project,
    /// The projection is held between two values; alpha is the share of the way.
    Cap {
        /// The lower bound, if there is one.
        low: Option<f64>,
        /// The upper bound, if there is one.
        high: Option<f64>,
    },
    /// The projection is raised to this value where it is below; alpha is the share of the way.
    Push(f64),
    /// The row is turned by alpha degrees towards the direction.
    Rotate,
    /// The projection becomes this value; alpha is the share of the way.
    Set(f64),
}

/// A filter that says which tokens are edited.
#[derive(Clone, Debug, Default)]
pub struct TokenFilter {
    /// Whether special tokens are left alone.
    pub skips_special: bool,
    /// The pattern that the text of a token must contain, if there is one.
    pub matching: Option<Regex>,
}

impl PartialEq for TokenFilter {
    fn eq(&self, other: &TokenFilter) -> bool {
        let text = |filter: &TokenFilter| filter.matching.as_ref().map(|regex| regex.as_str().to_owned());
        self.skips_special == other.skips_special && text(self) == text(other)
    }
}

/// A condition on what the unsteered prompt scores on a vector.
#[derive(Clone, Debug, PartialEq)]
pub struct GateSpec {
    /// The layer whose activation is scored.
    pub layer: usize,
    /// How the activation is scored.
    pub score: Score,
    /// The activation of the prompt that is scored.
    pub pool: Pool,
    /// The threshold and its side; the threshold of a projection is counted in `unit`.
    pub fires: Fires,
    /// The unit that a projection is counted in.
    pub unit: Unit,
}

impl Op {
    /// The names of the operators.
    pub const NAMES: [&'static str; 6] = ["add", "project", "cap", "push", "rotate", "set"];

    /// Returns the name of the operator.
    pub fn name(self) -> &'static str {
        match self {
            Op::Add | Op::AddUntil(_) => "add",
            Op::Project => "project",
            Op::Cap { .. } => "cap",
            Op::Push(_) => "push",
            Op::Rotate => "rotate",
            Op::Set(_) => "set",
        }
    }

    /// Returns true if there is another way, −alpha. A target lies on one side only.
    pub fn has_opposite(self) -> bool {
        matches!(self, Op::Add | Op::Project | Op::Rotate)
    }

    /// Returns true if −alpha does the same towards the opposite of what the direction stands for. Removing a component
    /// has an opposite too, which is to strengthen it, but neither of the two is a side.
    pub fn leans_either_way(self) -> bool {
        matches!(self, Op::Add | Op::Rotate)
    }

    /// Returns the values that alpha may have, in words, and whether `alpha` is one of them.
    pub(crate) fn takes(self, alpha: f64) -> (&'static str, bool) {
        match self {
            Op::Add | Op::AddUntil(_) => ("a finite number", alpha.is_finite()),
            Op::Project => ("a share from -2 to 2 (1 removes the component)", alpha.abs() <= 2.0),
            Op::Cap { .. } | Op::Push(_) | Op::Set(_) => {
                ("a share from 0 to 1", (0.0..=1.0).contains(&alpha))
            }
            Op::Rotate => ("an angle from -180 to 180 degrees", alpha.abs() <= 180.0),
        }
    }

    /// Returns the engine's operator at a layer whose unit is `u`.
    fn at(self, alpha: f64, u: f64) -> Operator {
        match self {
            Op::Add => Operator::Add { alpha: 1.0 }, // in the vector already
            Op::AddUntil(target) => Operator::Reach { alpha: alpha * u, target: target * u },
            Op::Project => Operator::Project { alpha },
            Op::Cap { low, high } => Operator::Cap {
                alpha,
                low: low.map_or(f64::NEG_INFINITY, |it| it * u),
                high: high.map_or(f64::INFINITY, |it| it * u),
            },
            Op::Push(target) => Operator::Push { alpha, target: target * u },
            Op::Rotate => Operator::Rotate { alpha: alpha.to_radians() },
            Op::Set(target) => Operator::Set { alpha, target: target * u },
        }
    }

    /// Returns true if the operator counts anything in the unit of the dose.
    fn counts(self) -> bool {
        !matches!(self, Op::Project | Op::Rotate)
    }
}

impl TokenFilter {
    /// Returns true if every token passes.
    fn is_all(&self) -> bool {
        *self == TokenFilter::default()
    }

    /// Returns the tokens of a vocabulary that the filter lets through, or `None` for all. It reads every token once.
    pub fn resolve(&self, tokenizer: &Tokenizer) -> Option<Arc<TokenSet>> {
        let wanted = |text: &str, special: bool| {
            !(self.skips_special && special) && self.matching.as_ref().is_none_or(|it| it.is_match(text))
        };
        (!self.is_all()).then(|| Arc::new(tokenizer.tokens_where(wanted)))
    }
}

impl Instruction<'_> {
    /// Returns the edits at all layers, with alpha multiplied by `factor`.
    ///
    /// # Errors
    /// [`Error::Setting`] for an alpha that the operator does not take or a filter without its tokens,
    /// [`Error::Vector`] for a layer without direction or a unit that is not known.
    pub fn edits(&self, factor: f64) -> Result<Vec<Edit>, Error> {
        if self.tokens.is_none() && !self.how.tokens.is_all() {
            return Err(Error::Setting("the token filter has not been resolved against a vocabulary".into()));
        }
        self.edits_on(factor, self.tokens.clone())
    }

    /// Checks everything but the vocabulary.
    ///
    /// # Errors
    /// As for [`Instruction::edits`].
    pub fn check(&self) -> Result<(), Error> {
        self.edits_on(1.0, None).map(drop)
    }

    fn edits_on(&self, factor: f64, tokens: Option<Arc<TokenSet>>) -> Result<Vec<Edit>, Error> {
        let (op, alpha) = (self.how.op, self.dose.alpha * factor);
        let (allowed, fits) = op.takes(alpha);
        if !fits {
            return Err(Error::Setting(format!("alpha {alpha} of `{}` is not {allowed}", op.name())));
        }
        if alpha == 0.0 {
            return Ok(Vec::new());
        }
        let scope = Scope { span: self.how.span, tokens, schedule: self.how.schedule };
        let gate = self.gate()?.map(Arc::new);
        // `add` takes the direction with alpha and the unit multiplied in, the other operators the direction alone.
        let unit = if op.counts() { self.dose.unit } else { Unit::Unit };
        let scaled = if op == Op::Add { (alpha, unit) } else { (1.0, Unit::Unit) };
        let directions = Dose { alpha: scaled.0, unit: scaled.1, ..self.dose.clone() }.edits()?;
        let of_layer = |edit: Edit| -> Result<Edit, Error> {
            let operator = op.at(alpha, self.unit_at(edit.layer, unit)?);
            let site = self.how.site.unwrap_or(edit.site);
            let (scope, gate) = (scope.clone(), gate.clone());
            Ok(Edit { site, operator, keeps_norm: self.how.keeps_norm, scope, gate, ..edit })
        };
        directions.into_iter().map(of_layer).collect()
    }

    /// Returns what alpha 1 counts at a layer.
    fn unit_at(&self, layer: usize, unit: Unit) -> Result<f64, Error> {
        let vector = self.dose.vector;
        let refuse = || Error::Vector { vector: vector.name.clone(), reason: no_statistic(unit) };
        vector.layers[&layer].factor(unit).ok_or_else(refuse)
    }

    /// Returns the engine's gate, if there is a condition.
    fn gate(&self) -> Result<Option<Gate>, Error> {
        let (Some(spec), Some(vector)) = (&self.how.gate, self.condition) else { return Ok(None) };
        let missing = |reason| Error::Vector { vector: vector.name.clone(), reason };
        let layer = spec.layer;
        let condition = vector.layers.get(&layer).ok_or_else(|| {
            missing(format!(
                "has no direction for layer {layer}, at which the gate looks (it has {})",
                vector.layers_text()
            ))
        })?;
        let u = match spec.score {
            Score::Projection => {
                condition.factor(spec.unit).ok_or_else(|| missing(no_statistic(spec.unit)))?
            }
            Score::Cosine | Score::Cast => 1.0,
        };
        let fires = match spec.fires {
            Fires::Above(threshold) => Fires::Above(threshold * u),
            Fires::Below(threshold) => Fires::Below(threshold * u),
        };
        let (site, condition) = (vector.provenance.site, condition.direction.clone());
        Ok(Some(Gate { layer, site, condition, score: spec.score, pool: spec.pool, fires }))
    }
}

/// Returns the steering of several instructions, the alpha of each multiplied by `factor`: 1 as asked for, −1 the other
/// way, 0 not at all.
///
/// # Errors
/// As for [`Instruction::edits`].
pub fn steering_of(instructions: &[Instruction<'_>], factor: f64) -> Result<Steering, Error> {
    let mut edits = Vec::new();
    for instruction in instructions {
        edits.extend(instruction.edits(factor)?);
    }
    Ok(Steering::new(edits))
}
