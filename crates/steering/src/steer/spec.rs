//! The steering of a request as people and programs write it: one shape for flags, TOML and JSON.
//!
//! `Wire` and `WireGate` are that shape; [`SteerSpec`] is what it means. docs/FORMATS.md describes every field.

mod values;

use super::instruction::{Application, Op, TokenFilter};
use crate::error::Error;
use crate::vector::{LayerSpec, Unit};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use values::{Of, parse};
use whipstaff_engine::{Fires, Pool, Score};

/// One vector of a request, before anything is read.
#[derive(Clone, Debug, PartialEq)]
pub struct SteerSpec {
    /// Its file.
    pub vector: PathBuf,
    /// The dial, if it is given.
    pub alpha: Option<f64>,
    /// What alpha and targets are counted in.
    pub unit: Option<Unit>,
    /// The layers; those that the vector recommends, if they are not given.
    pub layers: Option<LayerSpec>,
    /// How it is given; its gate is `gate` still.
    pub how: Application,
    /// Under what condition.
    pub gate: Option<GateRequest>,
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

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Its name, with the way to it: `gate.above`.
    pub field: String,
    /// What is wrong, and what is allowed.
    pub reason: String,
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.field.as_str() {
            "" | "." => f.write_str(&self.reason),
            field => write!(f, "{field}: {}", self.reason),
        }
    }
}

/// `{"steer": […]}`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    steer: Vec<Wire>,
}

/// An entry of `steer`.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wire {
    vector: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    alpha: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    layers: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<String>,
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
    #[serde(skip_serializing_if = "is_false")]
    keep_norm: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    skip_special: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gate: Option<WireGate>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WireGate {
    vector: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    layer: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    above: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    below: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
}

fn is_false(x: &bool) -> bool {
    !x
}

/// Fields that a flag gives as numbers, and as yes or no. All others are text.
const NUMBERS: [&str; 8] = ["alpha", "to", "lo", "hi", "until", "gate.above", "gate.below", "gate.layer"];
const SWITCHES: [&str; 2] = ["keep_norm", "skip_special"];

impl SteerSpec {
    /// Reads a steering file: TOML or JSON by its extension. Paths in it are relative to its folder.
    ///
    /// # Errors
    /// [`Error::Read`], or [`Error::File`] naming the field and what is allowed.
    pub fn read(path: &Path) -> Result<Vec<SteerSpec>, Error> {
        let wrong = |reason: String| Error::File { path: path.to_owned(), reason };
        let extension = path.extension().and_then(|it| it.to_str()).unwrap_or_default();
        if !["toml", "json"].contains(&extension) {
            return Err(wrong("a steering file ends in .toml or .json".into()));
        }
        let text =
            std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let value = match extension {
            "toml" => from_toml(&text).map_err(wrong)?,
            _ => serde_json::from_str(&text).map_err(|it| wrong(format!("is not JSON: {it}")))?,
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut specs = SteerSpec::from_json(value).map_err(|it| wrong(it.to_string()))?;
        for spec in &mut specs {
            spec.vector = folder.join(&spec.vector);
            if let Some(gate) = &mut spec.gate {
                gate.vector = folder.join(&gate.vector);
            }
        }
        Ok(specs)
    }

    /// The entries of `{"steer": […]}`, paths as they are.
    ///
    /// # Errors
    /// Which field is wrong, and what is allowed.
    pub fn from_json(value: Value) -> Result<Vec<SteerSpec>, FieldError> {
        let file: File = typed(value)?;
        let entry = |(i, wire): (usize, Wire)| {
            SteerSpec::new(wire).map_err(|it| FieldError { field: format!("steer[{i}].{}", it.field), ..it })
        };
        file.steer.into_iter().enumerate().map(entry).collect()
    }

    /// An entry given as `key=value` pairs, those of the gate as `gate.key`; `gate=FILE` is its vector.
    ///
    /// # Errors
    /// Which field is wrong, and what is allowed.
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<SteerSpec, FieldError> {
        let (mut entry, mut gate) = (Map::new(), Map::new());
        for (key, text) in pairs {
            let value = value_of(key, text)?;
            let twice = match (key, key.strip_prefix("gate.")) {
                ("gate", _) => gate.insert("vector".into(), value),
                (_, Some(key)) => gate.insert(key.into(), value),
                _ => entry.insert(key.into(), value),
            };
            if twice.is_some() {
                return Err(FieldError { field: key.into(), reason: "is given twice".into() });
            }
        }
        if !gate.is_empty() {
            entry.insert("gate".into(), gate.into());
        }
        SteerSpec::new(typed(entry.into())?)
    }

    /// The same as JSON again, as short as it can be.
    pub fn to_json(specs: &[SteerSpec]) -> String {
        let file = File { steer: specs.iter().map(Wire::from).collect() };
        serde_json::to_string_pretty(&file).expect("plain data")
    }

    /// The alpha to use for one that is not given: 1 for a share; `None` is what the vector recommends.
    ///
    /// # Errors
    /// An angle has no default.
    pub fn default_alpha(&self) -> Result<Option<f64>, FieldError> {
        match self.how.op {
            Op::Add | Op::AddUntil(_) => Ok(None),
            Op::Project | Op::Cap { .. } | Op::Push(_) | Op::Set(_) => Ok(Some(1.0)),
            Op::Rotate => Err(field("alpha", "is missing: rotate needs an angle in degrees")),
        }
    }

    fn new(wire: Wire) -> Result<SteerSpec, FieldError> {
        if wire.vector.is_empty() {
            return Err(field("vector", "is missing: the file of the vector"));
        }
        let (op, alpha) = (op(&wire)?, wire.alpha);
        let (allowed, fits) = op.takes(alpha.unwrap_or(0.0));
        if !fits {
            return Err(field("alpha", format!("of `{}` must be {allowed}", op.name())));
        }
        let how = Application {
            op,
            keeps_norm: wire.keep_norm,
            span: parse("scope", wire.scope.as_deref())?.unwrap_or_default(),
            tokens: TokenFilter {
                skips_special: wire.skip_special,
                matching: parse("tokens", wire.tokens.as_deref())?,
            },
            schedule: parse("schedule", wire.schedule.as_deref())?.unwrap_or_default(),
            site: parse("site", wire.site.as_deref())?,
            gate: None,
        };
        Ok(SteerSpec {
            alpha,
            unit: parse("unit", wire.unit.as_deref())?,
            layers: wire.layers.map(|it| values::layers(&it)).transpose()?,
            gate: wire.gate.map(gate).transpose()?,
            vector: wire.vector.into(),
            how,
        })
    }
}

/// The operator with its numbers; numbers of other operators are refused.
fn op(wire: &Wire) -> Result<Op, FieldError> {
    let name = wire.op.as_deref().unwrap_or("add");
    let numbers = [("to", wire.to), ("lo", wire.lo), ("hi", wire.hi), ("until", wire.until)];
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
        || wire.to.ok_or_else(|| field("to", format!("is missing: {name} needs a projection to aim at")));
    Ok(match name {
        "project" => Op::Project,
        "rotate" => Op::Rotate,
        "push" => Op::Push(to()?),
        "set" => Op::Set(to()?),
        "cap" => match (wire.lo, wire.hi) {
            (None, None) => return Err(field("lo", "is missing: cap needs lo, hi or both")),
            (Some(low), Some(high)) if low > high => return Err(field("lo", "is greater than hi")),
            (low, high) => Op::Cap { low, high },
        },
        _ => wire.until.map_or(Op::Add, Op::AddUntil),
    })
}

fn gate(wire: WireGate) -> Result<GateRequest, FieldError> {
    if wire.vector.is_empty() {
        return Err(field("gate.vector", "is missing: the file of the condition vector"));
    }
    let fires = match (wire.above, wire.below) {
        (Some(it), None) if it.is_finite() => Fires::Above(it),
        (None, Some(it)) if it.is_finite() => Fires::Below(it),
        (None, None) => {
            return Err(field("gate.above", "is missing: a gate needs a threshold, above or below"));
        }
        (Some(_), Some(_)) => return Err(field("gate.below", "a gate is either above or below a threshold")),
        _ => return Err(field("gate.above", "must be a finite number")),
    };
    let score = parse("gate.score", wire.score.as_deref())?.unwrap_or(Score::Cosine);
    let unit = parse("gate.unit", wire.unit.as_deref())?;
    if unit.is_some() && score != Score::Projection {
        return Err(field("gate.unit", "belongs to score = projection: a cosine has no unit"));
    }
    let pool = parse("gate.pool", wire.pool.as_deref())?.unwrap_or(Pool::Mean);
    Ok(GateRequest { vector: wire.vector.into(), layer: wire.layer, score, pool, fires, unit })
}

impl From<&SteerSpec> for Wire {
    fn from(it: &SteerSpec) -> Wire {
        let (op, how) = (it.how.op, &it.how);
        let mut wire = Wire {
            vector: it.vector.display().to_string(),
            alpha: it.alpha,
            unit: it.unit.map(|it| it.to_string()),
            layers: it.layers.as_ref().map(|it| Value::from(it.to_string())),
            site: how.site.map(|it| it.to_string()),
            op: (op.name() != "add").then(|| op.name().into()),
            keep_norm: how.keeps_norm,
            scope: how.span.written(),
            skip_special: how.tokens.skips_special,
            tokens: how.tokens.matching.as_ref().map(|it| it.as_str().to_owned()),
            schedule: how.schedule.written(),
            gate: it.gate.as_ref().map(WireGate::from),
            ..Wire::default()
        };
        match op {
            Op::AddUntil(target) => wire.until = Some(target),
            Op::Cap { low, high } => (wire.lo, wire.hi) = (low, high),
            Op::Push(target) | Op::Set(target) => wire.to = Some(target),
            Op::Add | Op::Project | Op::Rotate => {}
        }
        wire
    }
}

impl From<&GateRequest> for WireGate {
    fn from(it: &GateRequest) -> WireGate {
        let (above, below) = match it.fires {
            Fires::Above(threshold) => (Some(threshold), None),
            Fires::Below(threshold) => (None, Some(threshold)),
        };
        WireGate {
            vector: it.vector.display().to_string(),
            layer: it.layer,
            score: it.score.written(),
            pool: it.pool.written(),
            unit: it.unit.map(|it| it.to_string()),
            above,
            below,
        }
    }
}

pub(crate) fn field(name: &str, reason: impl Into<String>) -> FieldError {
    FieldError { field: name.into(), reason: reason.into() }
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

/// A flag's text as the value that its field takes.
fn value_of(key: &str, text: &str) -> Result<Value, FieldError> {
    let number = |text: &str| text.parse::<f64>().ok().filter(|x| x.is_finite());
    if key == "gate.layer" {
        return text
            .parse::<usize>()
            .map(Value::from)
            .map_err(|_| field(key, format!("`{text}` is not a layer")));
    }
    if NUMBERS.contains(&key) {
        return number(text)
            .map(Value::from)
            .ok_or_else(|| field(key, format!("`{text}` is not a finite number")));
    }
    if SWITCHES.contains(&key) {
        return text
            .parse::<bool>()
            .map(Value::from)
            .map_err(|_| field(key, format!("`{text}` is neither true nor false")));
    }
    Ok(Value::from(text))
}

#[cfg(test)]
mod tests;
