//! The steering of a request as people and programs write it: one shape for flags, TOML and JSON.
//!
//! [`Entry`] and [`GateEntry`] are that shape, [`SteerSpec`] is what it means. `steer::short` fills an entry from the
//! command line's short form. docs/FORMATS.md describes every field.

mod field;
mod values;

use super::instruction::{Application, Op, TokenFilter};
use crate::error::Error;
use crate::vector::{LayerSpec, Unit};
pub use field::FieldError;
pub(crate) use field::field;
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};
use values::fill;
use whipstaff_engine::{Fires, Pool, Schedule, Score, Site, Span};

/// One vector of a request, before anything is read.
///
/// A spec is written in three ways that mean the same: the command line's short form, TOML and JSON.
///
/// ```
/// use whipstaff_steering::{Amount, SteerSpec};
///
/// let spec: SteerSpec = "kind.safetensors:0.5rms@8-11,scope=answer".parse()?;
/// assert_eq!(spec.amount, Some(Amount::Alpha(0.5)));
///
/// let toml = r#"
///     [[steer]]
///     vector = "kind.safetensors"
///     alpha = 0.5
///     unit = "rms"
///     layers = "8-11"
///     scope = "answer"
/// "#;
/// assert_eq!(SteerSpec::from_toml(toml)?, [spec]);
/// # Ok::<(), whipstaff_steering::FieldError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SteerSpec {
    /// The vector's file.
    pub vector: PathBuf,
    /// How much of it, if that is given.
    pub amount: Option<Amount>,
    /// What alpha and targets are counted in.
    pub unit: Option<Unit>,
    /// The layers; those that the vector recommends, if they are not given.
    pub layers: Option<LayerSpec>,
    /// How the dose is applied. Its gate is `None` here; the gate asked for is `gate`.
    pub how: Application,
    /// Under what condition.
    pub gate: Option<GateRequest>,
}

/// How much of a vector a request asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// An alpha, counted in the unit of the spec.
    Alpha(f64),
    /// A budget: as much as moves the model's answer to a prompt by so many nats per token. Negative nats lean away from
    /// the persona. [`SteerSpec::take_budget`] says how a budget becomes an alpha.
    Nats(f64),
}

/// A gate, before its vector is read.
#[derive(Clone, Debug, PartialEq)]
pub struct GateRequest {
    /// The condition vector's file.
    pub vector: PathBuf,
    /// The layer to look at; the best one that the vector knows, if it is not given.
    pub layer: Option<usize>,
    /// How the prompt is scored.
    pub score: Score,
    /// Which of its activations.
    pub pool: Pool,
    /// The threshold.
    pub fires: Fires,
    /// What the threshold of a projection is counted in.
    pub unit: Option<Unit>,
}

/// `{"steer": […]}`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    steer: Vec<Entry>,
}

/// An entry of `steer`: the fields as they are written, each with its type.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Entry {
    #[serde(skip_serializing_if = "Option::is_none")]
    vector: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alpha: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nats: Option<f64>,
    #[serde(with = "values::text", skip_serializing_if = "values::is_unwritten")]
    unit: Option<Unit>,
    #[serde(
        serialize_with = "values::text::serialize",
        deserialize_with = "values::layers",
        skip_serializing_if = "values::is_unwritten"
    )]
    layers: Option<LayerSpec>,
    #[serde(with = "values::text", skip_serializing_if = "values::is_unwritten")]
    site: Option<Site>,
    #[serde(skip_serializing_if = "Option::is_none")]
    op: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lo: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hi: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_norm: Option<bool>,
    #[serde(with = "values::text", skip_serializing_if = "values::is_unwritten")]
    scope: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skip_special: Option<bool>,
    #[serde(with = "values::text", skip_serializing_if = "values::is_unwritten")]
    tokens: Option<Regex>,
    #[serde(with = "values::text", skip_serializing_if = "values::is_unwritten")]
    schedule: Option<Schedule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gate: Option<GateEntry>,
}

/// The gate of an entry.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct GateEntry {
    #[serde(skip_serializing_if = "Option::is_none")]
    vector: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    layer: Option<usize>,
    #[serde(with = "values::text", skip_serializing_if = "values::is_unwritten")]
    score: Option<Score>,
    #[serde(with = "values::text", skip_serializing_if = "values::is_unwritten")]
    pool: Option<Pool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    above: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    below: Option<f64>,
    #[serde(with = "values::text", skip_serializing_if = "values::is_unwritten")]
    unit: Option<Unit>,
}

/// The fields of an entry and of its gate, as the short form writes them.
const KEYS: &str = "`vector`, `alpha`, `nats`, `unit`, `layers`, `site`, `op`, `to`, `lo`, `hi`, `until`, `keep_norm`, \
                    `scope`, `skip_special`, `tokens`, `schedule`, `gate`, `gate.layer`, `gate.score`, `gate.pool`, \
                    `gate.above`, `gate.below`, `gate.unit`";

impl Entry {
    /// Makes an entry of what stands before the options of the short form.
    pub(crate) fn new(
        vector: &str,
        amount: Option<(Amount, Option<Unit>)>,
        layers: Option<LayerSpec>,
    ) -> Entry {
        let mut entry = Entry { vector: Some(vector.into()), layers, ..Entry::default() };
        if let Some((amount, unit)) = amount {
            entry.set_amount(amount);
            entry.unit = unit;
        }
        entry
    }

    fn set_amount(&mut self, amount: Amount) {
        match amount {
            Amount::Alpha(alpha) => self.alpha = Some(alpha),
            Amount::Nats(nats) => self.nats = Some(nats),
        }
    }

    /// Fills the field `key` from text. The fields of the gate are `gate.key`; `gate` is the file of its vector.
    pub(crate) fn set(&mut self, key: &str, text: &str) -> Result<(), FieldError> {
        match key {
            "vector" => fill(key, &mut self.vector, text),
            "alpha" => fill(key, &mut self.alpha, text),
            "nats" => fill(key, &mut self.nats, text),
            "unit" => fill(key, &mut self.unit, text),
            "layers" => fill(key, &mut self.layers, text),
            "site" => fill(key, &mut self.site, text),
            "op" => fill(key, &mut self.op, text),
            "to" => fill(key, &mut self.to, text),
            "lo" => fill(key, &mut self.lo, text),
            "hi" => fill(key, &mut self.hi, text),
            "until" => fill(key, &mut self.until, text),
            "keep_norm" => fill(key, &mut self.keep_norm, text),
            "scope" => fill(key, &mut self.scope, text),
            "skip_special" => fill(key, &mut self.skip_special, text),
            "tokens" => fill(key, &mut self.tokens, text),
            "schedule" => fill(key, &mut self.schedule, text),
            _ => match key.strip_prefix("gate") {
                Some(rest) => self.gate.get_or_insert_default().set(key, rest, text),
                None => Err(unknown(key)),
            },
        }
    }
}

impl GateEntry {
    /// Fills a field; `rest` is what follows `gate` in `key`.
    fn set(&mut self, key: &str, rest: &str, text: &str) -> Result<(), FieldError> {
        match rest {
            "" | ".vector" => fill(key, &mut self.vector, text),
            ".layer" => fill(key, &mut self.layer, text),
            ".score" => fill(key, &mut self.score, text),
            ".pool" => fill(key, &mut self.pool, text),
            ".above" => fill(key, &mut self.above, text),
            ".below" => fill(key, &mut self.below, text),
            ".unit" => fill(key, &mut self.unit, text),
            _ => Err(unknown(key)),
        }
    }
}

fn unknown(key: &str) -> FieldError {
    field(key, format!("unknown field `{key}`, expected one of {KEYS}"))
}

impl SteerSpec {
    /// Makes a spec of a vector file that leaves everything else out: the dose is the vector's own.
    pub fn new(vector: impl Into<PathBuf>) -> SteerSpec {
        SteerSpec {
            vector: vector.into(),
            amount: None,
            unit: None,
            layers: None,
            how: Application::default(),
            gate: None,
        }
    }

    /// Returns the alpha, if one is given.
    pub fn alpha(&self) -> Option<f64> {
        match self.amount {
            Some(Amount::Alpha(alpha)) => Some(alpha),
            Some(Amount::Nats(_)) | None => None,
        }
    }

    /// Reads a steering file: TOML or JSON by its extension. Paths in it are relative to its folder.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Read`], or [`Error::File`] naming the field and what is allowed.
    pub fn read(path: &Path) -> Result<Vec<SteerSpec>, Error> {
        let wrong = |reason: String| Error::File { path: path.to_owned(), reason };
        let extension = path.extension().and_then(|it| it.to_str()).unwrap_or_default();
        if !["toml", "json"].contains(&extension) {
            return Err(wrong("a steering file ends in .toml or .json".into()));
        }
        let text =
            std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let specs = match extension {
            "toml" => SteerSpec::from_toml(&text),
            _ => match serde_json::from_str(&text) {
                Ok(value) => SteerSpec::from_json(value),
                Err(error) => Err(field("", format!("is not JSON: {error}"))),
            },
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut specs = specs.map_err(|error| wrong(error.to_string()))?;
        for spec in &mut specs {
            spec.vector = folder.join(&spec.vector);
            if let Some(gate) = &mut spec.gate {
                gate.vector = folder.join(&gate.vector);
            }
        }
        Ok(specs)
    }

    /// Reads the `[[steer]]` tables of a TOML text; paths stay as they are.
    ///
    /// # Errors
    ///
    /// Returns which field is wrong, and what is allowed.
    pub fn from_toml(text: &str) -> Result<Vec<SteerSpec>, FieldError> {
        SteerSpec::from_json(from_toml(text).map_err(|reason| field("", reason))?)
    }

    /// Reads the entries of `{"steer": […]}`; paths stay as they are.
    ///
    /// # Errors
    ///
    /// Returns which field is wrong, and what is allowed.
    pub fn from_json(value: Value) -> Result<Vec<SteerSpec>, FieldError> {
        let file: File = typed(value)?;
        let spec = |(i, entry): (usize, Entry)| {
            let within =
                |error: FieldError| FieldError { field: format!("steer[{i}].{}", error.field), ..error };
            SteerSpec::from_entry(entry).map_err(within)
        };
        file.steer.into_iter().enumerate().map(spec).collect()
    }

    /// Returns specs as JSON, as short as it can be.
    pub fn to_json(specs: &[SteerSpec]) -> String {
        let file = File { steer: specs.iter().map(Entry::from).collect() };
        serde_json::to_string_pretty(&file).expect("plain data")
    }

    /// Returns the alpha to use for one that is not given: 1 for a share, `None` for what the vector recommends.
    ///
    /// # Errors
    ///
    /// Returns a [`FieldError`] for an angle, which has no default.
    pub fn default_alpha(&self) -> Result<Option<f64>, FieldError> {
        match self.how.op {
            Op::Add | Op::AddUntil(_) => Ok(None),
            Op::Project | Op::Cap { .. } | Op::Push(_) | Op::Set(_) => Ok(Some(1.0)),
            Op::Rotate => Err(field("alpha", "is missing: rotate needs an angle in degrees")),
        }
    }

    /// Checks the fields of an entry against each other.
    pub(crate) fn from_entry(entry: Entry) -> Result<SteerSpec, FieldError> {
        let op = op(&entry)?;
        let amount = match (entry.alpha, entry.nats) {
            (Some(_), Some(_)) => return Err(field("nats", "is given beside alpha: give one of them")),
            (alpha, nats) => alpha.map(Amount::Alpha).or(nats.map(Amount::Nats)),
        };
        let alpha = amount.map_or(0.0, Amount::alpha);
        let (allowed, fits) = op.takes(alpha);
        if !fits {
            return Err(field("alpha", format!("of `{}` must be {allowed}", op.name())));
        }
        let how = Application {
            op,
            keeps_norm: entry.keep_norm.unwrap_or(false),
            span: entry.scope.unwrap_or_default(),
            tokens: TokenFilter {
                skips_special: entry.skip_special.unwrap_or(false),
                matching: entry.tokens,
            },
            schedule: entry.schedule.unwrap_or_default(),
            site: entry.site,
            gate: None,
        };
        let vector = file_of(entry.vector);
        Ok(SteerSpec {
            vector: vector.ok_or_else(|| field("vector", "is missing: the file of the vector"))?,
            amount,
            unit: entry.unit,
            layers: entry.layers,
            how,
            gate: entry.gate.map(gate).transpose()?,
        })
    }
}

impl Amount {
    /// Returns the alpha that a search for the budget begins with: 1 or −1. An alpha is itself.
    pub(crate) fn alpha(self) -> f64 {
        match self {
            Amount::Alpha(alpha) => alpha,
            Amount::Nats(nats) => nats.signum(),
        }
    }
}

/// The file of a vector, if it is given.
fn file_of(text: Option<String>) -> Option<PathBuf> {
    text.filter(|text| !text.is_empty()).map(PathBuf::from)
}

/// The operator with its numbers; numbers of other operators are refused.
fn op(entry: &Entry) -> Result<Op, FieldError> {
    let name = entry.op.as_deref().unwrap_or("add");
    let numbers = [("to", entry.to), ("lo", entry.lo), ("hi", entry.hi), ("until", entry.until)];
    let takes: &[&str] = match name {
        "add" => &["until"],
        "cap" => &["lo", "hi"],
        "push" | "set" => &["to"],
        "project" | "rotate" => &[],
        other => {
            let names = Op::NAMES.join(", ");
            return Err(field("op", format!("`{other}` is not an operator (operators: {names})")));
        }
    };
    for (key, number) in numbers {
        match number {
            Some(_) if !takes.contains(&key) => {
                let of = [("to", "push and set"), ("lo", "cap"), ("hi", "cap"), ("until", "add")];
                let of = of.iter().find(|it| it.0 == key).map_or("", |it| it.1);
                return Err(field(key, format!("is a number of {of}, not of {name}")));
            }
            Some(x) if !x.is_finite() => return Err(field(key, "must be a finite number")),
            _ => {}
        }
    }
    let to =
        || entry.to.ok_or_else(|| field("to", format!("is missing: {name} needs a projection to aim at")));
    Ok(match name {
        "project" => Op::Project,
        "rotate" => Op::Rotate,
        "push" => Op::Push(to()?),
        "set" => Op::Set(to()?),
        "cap" => match (entry.lo, entry.hi) {
            (None, None) => return Err(field("lo", "is missing: cap needs lo, hi or both")),
            (Some(low), Some(high)) if low > high => return Err(field("lo", "is greater than hi")),
            (low, high) => Op::Cap { low, high },
        },
        _ => entry.until.map_or(Op::Add, Op::AddUntil),
    })
}

fn gate(entry: GateEntry) -> Result<GateRequest, FieldError> {
    let vector = file_of(entry.vector)
        .ok_or_else(|| field("gate.vector", "is missing: the file of the condition vector"))?;
    let fires = match (entry.above, entry.below) {
        (Some(above), None) if above.is_finite() => Fires::Above(above),
        (None, Some(below)) if below.is_finite() => Fires::Below(below),
        (None, None) => {
            return Err(field("gate.above", "is missing: a gate needs a threshold, above or below"));
        }
        (Some(_), Some(_)) => return Err(field("gate.below", "a gate is either above or below a threshold")),
        _ => return Err(field("gate.above", "must be a finite number")),
    };
    let score = entry.score.unwrap_or(Score::Cosine);
    if entry.unit.is_some() && score != Score::Projection {
        return Err(field("gate.unit", "belongs to score = projection: a cosine has no unit"));
    }
    let pool = entry.pool.unwrap_or(Pool::Mean);
    Ok(GateRequest { vector, layer: entry.layer, score, pool, fires, unit: entry.unit })
}

impl From<&SteerSpec> for Entry {
    fn from(spec: &SteerSpec) -> Entry {
        let (op, how) = (spec.how.op, &spec.how);
        let mut entry = Entry {
            vector: Some(spec.vector.display().to_string()),
            unit: spec.unit,
            layers: spec.layers.clone(),
            site: how.site,
            op: (op.name() != "add").then(|| op.name().into()),
            keep_norm: how.keeps_norm.then_some(true),
            scope: Some(how.span),
            skip_special: how.tokens.skips_special.then_some(true),
            tokens: how.tokens.matching.clone(),
            schedule: Some(how.schedule),
            gate: spec.gate.as_ref().map(GateEntry::from),
            ..Entry::default()
        };
        spec.amount.into_iter().for_each(|amount| entry.set_amount(amount));
        match op {
            Op::AddUntil(target) => entry.until = Some(target),
            Op::Cap { low, high } => (entry.lo, entry.hi) = (low, high),
            Op::Push(target) | Op::Set(target) => entry.to = Some(target),
            Op::Add | Op::Project | Op::Rotate => {}
        }
        entry
    }
}

impl From<&GateRequest> for GateEntry {
    fn from(request: &GateRequest) -> GateEntry {
        let (above, below) = match request.fires {
            Fires::Above(threshold) => (Some(threshold), None),
            Fires::Below(threshold) => (None, Some(threshold)),
        };
        GateEntry {
            vector: Some(request.vector.display().to_string()),
            layer: request.layer,
            score: Some(request.score),
            pool: Some(request.pool),
            unit: request.unit,
            above,
            below,
        }
    }
}

/// The text of a TOML file as JSON; fails with what is wrong.
pub(crate) fn from_toml(text: &str) -> Result<Value, String> {
    let value = toml::from_str(text).map_err(|error| format!("is not TOML: {error}"))?;
    // TOML knows nan and inf, which JSON makes null of, and null is a field that is not there.
    match null_in(&value, "") {
        Some(name) => Err(format!("{name}: must be a finite number")),
        None => Ok(value),
    }
}

/// Types and names of fields.
pub(crate) fn typed<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, FieldError> {
    serde_path_to_error::deserialize(value).map_err(|error| FieldError {
        field: error.path().to_string(),
        reason: error.into_inner().to_string(),
    })
}

/// The way to the first null in a value.
fn null_in(value: &Value, at: &str) -> Option<String> {
    match value {
        Value::Null => Some(at.trim_start_matches('.').to_owned()),
        Value::Object(map) => map.iter().find_map(|(key, it)| null_in(it, &format!("{at}.{key}"))),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(i, it)| null_in(it, &format!("{at}[{i}]")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
