//! What specs mean for one model: vectors read, layers and dose filled in, token filter and gate looked up.
//!
//! Nothing here needs a model, only [`ModelFacts`] about one.

use super::dose::Dose;
use super::instruction::{Application, GateSpec, Instruction, TokenFilter, steering_of};
use super::spec::{Amount, GateRequest, SteerSpec};
use super::vector_dose::VectorDose;
use crate::contrasts::FrameId;
use crate::error::{Error, SteerError};
use crate::progress::{Remark, RemarkKind};
use crate::vector::{Convention, LayerSpec, ModelId, PersonaVector, Unit};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use whipstaff_engine::{Model, Score, Steering, TokenSet, Tokenizer, Weights};

/// What [`resolve`] needs to know about a model.
#[derive(Clone, Copy)]
pub struct ModelFacts<'m> {
    /// The model's name in vectors.
    pub name: &'m str,
    /// Width of its residual stream.
    pub d_model: usize,
    /// Its number of blocks.
    pub n_layers: usize,
    /// The identity of its weights.
    pub weights: WeightsDigest<'m>,
    /// Its tokenizer, which only token filters need.
    pub tokenizer: Option<&'m Tokenizer>,
}

/// How the weights of a model are told from other weights.
#[derive(Clone, Copy)]
pub enum WeightsDigest<'m> {
    /// By their SHA-256 in hex.
    Known(&'m str),
    /// By their SHA-256, which is computed when a vector asks for it.
    Computed(&'m Weights),
    /// Not at all, since hashing would take seconds at every use: the model's name has to do.
    TooLarge,
}

impl<'m> ModelFacts<'m> {
    /// Returns the facts about a loaded model.
    pub fn of(model: &'m Model, name: &'m str, tokenizer: Option<&'m Tokenizer>) -> ModelFacts<'m> {
        const QUICKLY_HASHED: usize = 100 << 20;
        let weights = match model.weights() {
            weights if weights.n_bytes() > QUICKLY_HASHED => WeightsDigest::TooLarge,
            weights => WeightsDigest::Computed(weights),
        };
        let (d_model, n_layers) = (model.config().d_model, model.config().n_layers);
        ModelFacts { name, d_model, n_layers, weights, tokenizer }
    }

    /// Returns true if this is the model that `id` names.
    pub fn is_model(&self, id: &ModelId) -> bool {
        match self.weights {
            WeightsDigest::Known(sha256) => sha256 == id.weights_sha256,
            WeightsDigest::Computed(weights) => weights.sha256() == id.weights_sha256,
            WeightsDigest::TooLarge => self.name == id.name,
        }
    }

    /// Checks that the vector of `file` fits the model, and returns a remark if it was made on other weights.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Vector`] for a vector of another shape.
    pub fn check_vector(&self, vector: &PersonaVector, file: &Path) -> Result<Option<Remark>, Error> {
        let (file, made_on) = (file.display(), &vector.provenance.model);
        vector.check_fits(&file.to_string(), self.d_model, self.n_layers)?;
        if made_on.weights_sha256.is_empty() || self.is_model(made_on) {
            return Ok(None);
        }
        let text = format!(
            "{file} was made on other weights (of `{}`) than these (of `{}`): only the same weights are sure to work",
            made_on.name, self.name
        );
        Ok(Some(Remark::new(RemarkKind::OtherWeights, text)))
    }
}

/// Specs, resolved: everything that their steering needs.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    vectors: Vec<ResolvedVector>,
    remarks: Vec<Remark>,
}

/// A vector of a request with its dose, and how the dose is given.
#[derive(Clone, Debug)]
pub struct ResolvedVector {
    /// The vector's file.
    pub file: PathBuf,
    /// The vector.
    pub vector: PersonaVector,
    /// The dial.
    pub alpha: f64,
    /// What alpha is counted in.
    pub unit: Unit,
    /// The layers to act at.
    pub layers: Vec<usize>,
    /// How the dose is applied, with its gate.
    pub how: Application,
    /// The vector that the gate reads, if there is a gate.
    pub condition: Option<PersonaVector>,
    /// The tokens that the filter lets through; `None` is all.
    pub tokens: Option<Arc<TokenSet>>,
}

/// Reads the vectors that specs name and fills in what the specs leave out: layers and alpha from a vector's
/// recommendation, or, for a vector of another tool, as that tool would.
///
/// ```
/// use whipstaff_steering::{ModelFacts, SteerSpec, WeightsDigest, resolve};
///
/// let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/control/repeng.gguf");
/// let spec: SteerSpec = format!("{file}:0.5@1,op=project").parse()?;
/// let facts = ModelFacts {
///     name: "tiny",
///     d_model: 32,
///     n_layers: 3,
///     weights: WeightsDigest::TooLarge,
///     tokenizer: None,
/// };
/// let resolved = resolve(&[spec], &facts)?;
/// assert_eq!(resolved.vectors()[0].layers, [1]);
/// assert!(resolved.steering(0.0)?.is_empty());
/// assert!(!resolved.steering(1.0)?.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Returns whatever is wrong with a file, [`Error::Vector`] for a vector that does not fit the model,
/// [`Error::Setting`] for a layer that the model does not have, and [`Error::Request`] for what cannot be filled in.
pub fn resolve(specs: &[SteerSpec], facts: &ModelFacts<'_>) -> Result<Resolved, Error> {
    resolve_all(specs, Some(facts))
}

/// Resolves specs to be described or composed, without a model: layers are those of the model that each vector was made
/// on, and token filters are not looked up, so that [`Resolved::steering`] refuses them.
///
/// # Errors
///
/// Returns the same errors as [`resolve`].
pub fn resolve_without_model(specs: &[SteerSpec]) -> Result<Resolved, Error> {
    resolve_all(specs, None)
}

/// Fills in what requests about vectors in memory leave out, as [`resolve`] does for files.
///
/// # Errors
///
/// Returns the same errors as [`resolve`].
pub fn resolve_doses(doses: &[VectorDose], facts: &ModelFacts<'_>) -> Result<Resolved, Error> {
    let mut resolved = Resolved::default();
    for dose in doses {
        let gate = match &dose.spec.gate {
            Some(request) => Some(read_gate(request)?),
            None => dose.gate.clone(),
        };
        let vector = dose.vector.clone();
        let unit = if vector.is_foreign() { Unit::Unit } else { Unit::Gap };
        let filled = fill(&dose.spec, (vector, unit), gate, Some(facts), &mut resolved.remarks)?;
        resolved.vectors.push(filled);
    }
    Ok(resolved)
}

impl SteerSpec {
    /// Takes the budget in nats out of a request: alpha becomes 1, or −1 for negative nats, and the budget without its sign
    /// is returned. `solve_kl` finds the factor of the alphas that spends it.
    ///
    /// # Errors
    ///
    /// Returns [`SteerError::SharedBudget`] if there are several vectors, whose budgets cannot be told apart.
    pub fn take_budget(specs: &mut [SteerSpec]) -> Result<Option<f64>, SteerError> {
        let is_alone = specs.len() == 1;
        for spec in specs {
            if let Some(amount @ Amount::Nats(nats)) = spec.amount {
                let nats = nats.abs();
                if !is_alone {
                    return Err(SteerError::SharedBudget { vector: spec.vector.clone(), nats });
                }
                spec.amount = Some(Amount::Alpha(amount.alpha()));
                return Ok(Some(nats));
            }
        }
        Ok(None)
    }
}

impl Resolved {
    /// Returns the steering at `factor` times the alphas: 1 as asked for, −1 the other way, 0 the plain model.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Instruction::edits`].
    pub fn steering(&self, factor: f64) -> Result<Steering, Error> {
        let instructions: Vec<Instruction> = self.vectors.iter().map(ResolvedVector::instruction).collect();
        steering_of(&instructions, factor)
    }

    /// Checks that everything but the token filters could run.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Instruction::check`].
    pub fn check(&self) -> Result<(), Error> {
        self.vectors.iter().try_for_each(|vector| vector.instruction().check())
    }

    /// Returns what a person should know: which vectors were made on other weights, and which dose was filled in.
    pub fn remarks(&self) -> &[Remark] {
        &self.remarks
    }

    /// Returns the vectors in the order of the specs.
    pub fn vectors(&self) -> &[ResolvedVector] {
        &self.vectors
    }

    /// Returns the vectors in the order of the specs, without the remarks.
    pub fn into_vectors(self) -> Vec<ResolvedVector> {
        self.vectors
    }

    /// Returns the frame that the first vector was made in of which that is known.
    pub fn frame(&self) -> Option<&FrameId> {
        self.vectors.iter().find_map(ResolvedVector::frame)
    }
}

impl ResolvedVector {
    /// Returns the vector with its alpha and layers.
    pub fn dose(&self) -> Dose<'_> {
        Dose { vector: &self.vector, alpha: self.alpha, unit: self.unit, layers: self.layers.clone() }
    }

    /// Returns the dose and how it is given.
    pub fn instruction(&self) -> Instruction<'_> {
        Instruction {
            dose: self.dose(),
            how: self.how.clone(),
            condition: self.condition.as_ref(),
            tokens: self.tokens.clone(),
        }
    }

    /// Returns the steering of this vector alone at another alpha.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Instruction::edits`].
    pub fn steering_at(&self, alpha: f64) -> Result<Steering, Error> {
        let mut instruction = self.instruction();
        instruction.dose.alpha = alpha;
        steering_of(&[instruction], 1.0)
    }

    /// Returns the frame that the vector was made in, if it is known.
    pub fn frame(&self) -> Option<&FrameId> {
        Some(&self.vector.provenance.frame).filter(|frame| !frame.is_unknown())
    }

    /// Returns the layers that `spec` means in a model of `n_layers`: `auto` are those of the dose, `all` are those that the
    /// vector has.
    ///
    /// # Errors
    ///
    /// Returns [`SteerError::NoDirection`] for a layer that the vector lacks, and [`Error::Setting`] for one that the
    /// model lacks.
    pub fn layers_of(&self, spec: &LayerSpec, n_layers: usize) -> Result<Vec<usize>, Error> {
        let layers = layers_in(&self.vector, spec, n_layers, &self.layers)?;
        match layers.iter().find(|layer| !self.vector.layers.contains_key(layer)) {
            Some(layer) => Err(SteerError::NoDirection {
                vector: self.file.clone(),
                layer: *layer,
                layers: self.vector.layers_text(),
            })?,
            None => Ok(layers),
        }
    }
}

fn resolve_all(specs: &[SteerSpec], facts: Option<&ModelFacts<'_>>) -> Result<Resolved, Error> {
    let mut resolved = Resolved::default();
    for spec in specs {
        let vector = resolve_one(spec, facts, &mut resolved.remarks)?;
        resolved.vectors.push(vector);
    }
    Ok(resolved)
}

fn resolve_one(
    spec: &SteerSpec,
    facts: Option<&ModelFacts<'_>>,
    remarks: &mut Vec<Remark>,
) -> Result<ResolvedVector, Error> {
    // What the request itself lacks is said before any file is read.
    given_alpha(spec)?;
    let read = PersonaVector::read_from(&spec.vector, Convention::default())?;
    let gate = spec.gate.as_ref().map(read_gate).transpose()?;
    fill(spec, read, gate, facts, remarks)
}

/// Fills in what a spec leaves out. The vector comes with the unit of its own coefficients.
fn fill(
    spec: &SteerSpec,
    (vector, unit_of_file): (PersonaVector, Unit),
    gate: Option<(GateSpec, PersonaVector)>,
    facts: Option<&ModelFacts<'_>>,
    remarks: &mut Vec<Remark>,
) -> Result<ResolvedVector, Error> {
    let (file, alpha) = (&spec.vector, given_alpha(spec)?);
    let n_layers = match facts {
        Some(facts) => {
            remarks.extend(facts.check_vector(&vector, file)?);
            facts.n_layers
        }
        None => n_layers_of(&vector),
    };
    let (own_layers, own_alpha) = vector.default_dose();
    let unit = unit_of(spec, alpha, &vector, unit_of_file)?;
    let layers = layers_in(&vector, spec.layers.as_ref().unwrap_or(&LayerSpec::Auto), n_layers, &own_layers)?;
    if let (Some((_, condition)), Some(facts)) = (&gate, facts) {
        let name =
            spec.gate.as_ref().map_or(condition.name.clone(), |gate| gate.vector.display().to_string());
        condition.check_fits(&name, facts.d_model, facts.n_layers)?;
    }
    let (gate, condition) = gate.unzip();
    let tokens = facts.map(|facts| tokens_of(spec, facts)).transpose()?.flatten();
    let resolved = ResolvedVector {
        file: file.clone(),
        alpha: alpha.unwrap_or(own_alpha),
        how: Application { gate, ..spec.how.clone() },
        vector,
        unit,
        layers,
        condition,
        tokens,
    };
    let has_own_layers = matches!(spec.layers, None | Some(LayerSpec::Auto));
    remarks.extend(remark_on_own_dose(&resolved, alpha.is_none(), has_own_layers));
    Ok(resolved)
}

/// The alpha that a spec gives, or that its operator has of itself.
fn given_alpha(spec: &SteerSpec) -> Result<Option<f64>, SteerError> {
    match spec.amount {
        Some(Amount::Alpha(alpha)) => Ok(Some(alpha)),
        Some(Amount::Nats(nats)) => {
            Err(SteerError::UnmeasuredBudget { vector: spec.vector.clone(), nats: nats.abs() })
        }
        None => spec
            .default_alpha()
            .map_err(|_| SteerError::AlphaMissing { vector: spec.vector.clone(), op: spec.how.op.name() }),
    }
}

/// The unit to count in. A vector's own alpha has a unit of its own, whatever the file's coefficients count.
fn unit_of(
    spec: &SteerSpec,
    alpha: Option<f64>,
    vector: &PersonaVector,
    unit_of_file: Unit,
) -> Result<Unit, SteerError> {
    let own = match alpha {
        Some(_) => unit_of_file,
        None if vector.is_foreign() => Unit::Unit,
        None => Unit::Gap,
    };
    match spec.unit {
        Some(unit) if unit != own && alpha.is_none() => Err(SteerError::UnitWithoutAlpha {
            vector: spec.vector.clone(),
            unit: unit.name(),
            own: own.name(),
        }),
        unit => Ok(unit.unwrap_or(own)),
    }
}

/// The layers of a spec; `all` are those that the vector has.
fn layers_in(
    vector: &PersonaVector,
    spec: &LayerSpec,
    n_layers: usize,
    auto: &[usize],
) -> Result<Vec<usize>, Error> {
    match spec {
        LayerSpec::All => Ok(vector.layers.keys().copied().collect()),
        spec => spec.resolve(n_layers, auto),
    }
}

/// The number of blocks of the model that a vector was made on, as far as the vector tells.
fn n_layers_of(vector: &PersonaVector) -> usize {
    let past_last = vector.layers.keys().next_back().map_or(0, |last| last + 1);
    vector.provenance.model.n_layers.max(past_last)
}

/// Reads the vector of a gate, and fills in what the gate leaves out.
fn read_gate(request: &GateRequest) -> Result<(GateSpec, PersonaVector), Error> {
    let file = &request.vector;
    let (vector, unit_of_file) = PersonaVector::read_from(file, Convention::default())?;
    let best_layer = vector.recommended.as_ref().map(|it| it.best_layer);
    let missing = || SteerError::GateLayerMissing { vector: file.clone() };
    let layer = request.layer.or(best_layer).ok_or_else(missing)?;
    if !vector.layers.contains_key(&layer) {
        let reason = format!(
            "has no direction for layer {layer}, at which the gate looks (it has {})",
            vector.layers_text()
        );
        return Err(Error::Vector { vector: file.display().to_string(), reason });
    }
    let unit = match request.score {
        Score::Projection => request.unit.unwrap_or(unit_of_file),
        Score::Cosine | Score::Cast => Unit::Unit,
    };
    let GateRequest { score, pool, fires, .. } = *request;
    Ok((GateSpec { layer, score, pool, fires, unit }, vector))
}

/// Looks the token filter up in the model's vocabulary.
fn tokens_of(spec: &SteerSpec, facts: &ModelFacts<'_>) -> Result<Option<Arc<TokenSet>>, SteerError> {
    match facts.tokenizer {
        Some(tokenizer) => Ok(spec.how.tokens.resolve(tokenizer)),
        None if spec.how.tokens == TokenFilter::default() => Ok(None),
        None => Err(SteerError::TokenizerMissing { vector: spec.vector.clone() }),
    }
}

/// Says what a dose became of which a part was left out.
fn remark_on_own_dose(
    resolved: &ResolvedVector,
    has_own_alpha: bool,
    has_own_layers: bool,
) -> Option<Remark> {
    let own = match (has_own_alpha, has_own_layers) {
        (true, true) => "alpha and layers are",
        (true, false) => "alpha is",
        (false, true) => "layers are",
        (false, false) => return None,
    };
    let (file, words) = (resolved.file.display(), resolved.instruction().in_words());
    Some(Remark::new(RemarkKind::Dose, format!("{file}: the {own} the vector's own: it {words}")))
}

#[cfg(test)]
mod tests;
