//! A dose of a vector with all that may be said about it: which operator, at which positions, under what condition.

use super::dose::Dose;
use crate::error::Error;
use crate::vector::{PersonaVector, Unit, no_statistic};
use regex::Regex;
use std::sync::Arc;
use whipstaff_engine::{
    Edit, Fires, Gate, Operator, Pool, Schedule, Scope, Score, Site, Span, Steering, TokenSet, Tokenizer,
};

/// A dose, and how it is given. What alpha means depends on the operator ([`Op`]).
#[derive(Clone, Debug)]
pub struct Instruction<'v> {
    /// The vector, alpha, its unit, the layers.
    pub dose: Dose<'v>,
    /// All the rest.
    pub how: Application,
    /// The vector that the gate of `how` reads, if it has one.
    pub condition: Option<&'v PersonaVector>,
    /// What [`TokenFilter::resolve`] makes of the filter of `how`.
    pub tokens: Option<Arc<TokenSet>>,
}

/// How a dose is given. The default is to add it at every position.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Application {
    /// What is done.
    pub op: Op,
    /// Does every row get its old norm back?
    pub keeps_norm: bool,
    /// Which positions.
    pub span: Span,
    /// Which tokens.
    pub tokens: TokenFilter,
    /// How alpha changes while an answer is written.
    pub schedule: Schedule,
    /// The site, if it is another one than that which the vector was read at.
    pub site: Option<Site>,
    /// Under what condition.
    pub gate: Option<GateSpec>,
}

/// What is done. Targets are counted in the unit of the dose, per layer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Op {
    /// alpha · u · d is added.
    #[default]
    Add,
    /// alpha · u · d is added, or as much of it as is needed to reach this projection.
    AddUntil(f64),
    /// The share alpha of the component is removed.
    Project,
    /// The projection is held between two values; alpha is the share of the way.
    Cap {
        /// The lower, if there is one.
        low: Option<f64>,
        /// The upper, if there is one.
        high: Option<f64>,
    },
    /// The projection is raised to this value where it is below; alpha is the share of the way.
    Push(f64),
    /// The row is turned by alpha degrees towards the direction.
    Rotate,
    /// The projection becomes this value; alpha is the share of the way.
    Set(f64),
}

/// Which tokens are edited.
#[derive(Clone, Debug, Default)]
pub struct TokenFilter {
    /// Are special tokens left alone?
    pub skips_special: bool,
    /// Only tokens whose text it finds something in.
    pub matching: Option<Regex>,
}

impl PartialEq for TokenFilter {
    fn eq(&self, other: &TokenFilter) -> bool {
        let text = |it: &TokenFilter| it.matching.as_ref().map(|regex| regex.as_str().to_owned());
        self.skips_special == other.skips_special && text(self) == text(other)
    }
}

/// A condition: what the unsteered prompt scores on a vector.
#[derive(Clone, Debug, PartialEq)]
pub struct GateSpec {
    /// The layer that is looked at.
    pub layer: usize,
    /// How it is scored.
    pub score: Score,
    /// Which activation of the prompt.
    pub pool: Pool,
    /// The threshold, and its side; of a projection in units of `unit`.
    pub fires: Fires,
    /// What a projection is counted in.
    pub unit: Unit,
}

impl Op {
    /// The names, as they are written.
    pub const NAMES: [&'static str; 6] = ["add", "project", "cap", "push", "rotate", "set"];

    /// As it is written.
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

    /// Is there an other way, −alpha? A target lies on one side only.
    pub fn has_opposite(self) -> bool {
        matches!(self, Op::Add | Op::Project | Op::Rotate)
    }

    /// Is −alpha the same towards the opposite of what the direction stands for? Removing a component has an
    /// opposite too, to strengthen it, but neither of them is a side.
    pub fn leans_either_way(self) -> bool {
        matches!(self, Op::Add | Op::Rotate)
    }

    /// The values that alpha may have, in words, and whether this is one.
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

    /// The engine's operator at a layer whose unit is `u`.
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

    /// Does it count anything in the unit of the dose?
    fn counts(self) -> bool {
        !matches!(self, Op::Project | Op::Rotate)
    }
}

impl TokenFilter {
    fn is_all(&self) -> bool {
        *self == TokenFilter::default()
    }

    /// The tokens of a vocabulary that it lets through; `None` is all. It looks at every token once.
    pub fn resolve(&self, tokenizer: &Tokenizer) -> Option<Arc<TokenSet>> {
        let wanted = |text: &str, special: bool| {
            !(self.skips_special && special) && self.matching.as_ref().is_none_or(|it| it.is_match(text))
        };
        (!self.is_all()).then(|| Arc::new(tokenizer.tokens_where(wanted)))
    }
}

impl Instruction<'_> {
    /// The edits at all layers, alpha multiplied with `factor`.
    ///
    /// # Errors
    /// [`Error::Setting`] for an alpha that the operator does not take or a filter without its tokens,
    /// [`Error::Vector`] for a layer without direction or a unit that is not known.
    pub fn edits(&self, factor: f64) -> Result<Vec<Edit>, Error> {
        if self.tokens.is_none() && !self.how.tokens.is_all() {
            return Err(Error::Setting("the token filter was not held against a vocabulary".into()));
        }
        self.edits_on(factor, self.tokens.clone())
    }

    /// Could it run? Everything but the vocabulary is looked at.
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
        // Of `add`, the direction with alpha and the unit multiplied in; of the others, the direction alone.
        let unit = if op.counts() { self.dose.unit } else { Unit::Unit };
        let scaled = if op == Op::Add { (alpha, unit) } else { (1.0, Unit::Unit) };
        let directions = Dose { alpha: scaled.0, unit: scaled.1, ..self.dose.clone() }.edits()?;
        let edit = |edit: Edit| {
            let u = self.dose.vector.layers[&edit.layer].factor(unit).ok_or_else(|| Error::Vector {
                vector: self.dose.vector.name.clone(),
                reason: no_statistic(unit),
            })?;
            let (site, gate) = (self.how.site.unwrap_or(edit.site), gate.clone());
            let (operator, keeps_norm, scope) = (op.at(alpha, u), self.how.keeps_norm, scope.clone());
            Ok(Edit { site, operator, keeps_norm, scope, gate, ..edit })
        };
        directions.into_iter().map(edit).collect()
    }

    fn gate(&self) -> Result<Option<Gate>, Error> {
        let (Some(spec), Some(vector)) = (&self.how.gate, self.condition) else { return Ok(None) };
        let missing = |reason| Error::Vector { vector: vector.name.clone(), reason };
        let layer = spec.layer;
        let it = vector.layers.get(&layer).ok_or_else(|| {
            missing(format!(
                "has no direction for layer {layer}, at which the gate looks (it has {})",
                vector.layers_text()
            ))
        })?;
        let u = match spec.score {
            Score::Projection => it.factor(spec.unit).ok_or_else(|| missing(no_statistic(spec.unit)))?,
            Score::Cosine | Score::Cast => 1.0,
        };
        let fires = match spec.fires {
            Fires::Above(threshold) => Fires::Above(threshold * u),
            Fires::Below(threshold) => Fires::Below(threshold * u),
        };
        let (site, condition) = (vector.provenance.site, it.direction.clone());
        Ok(Some(Gate { layer, site, condition, score: spec.score, pool: spec.pool, fires }))
    }
}

/// The steering of several instructions, alpha of each multiplied by `factor`: 1 as asked for, −1 the other way,
/// 0 not at all.
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
