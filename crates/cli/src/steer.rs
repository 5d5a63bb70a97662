//! The steering that a command line asks for: `--steer`, `--steering`, `--unit`, read and held against a model.

use crate::args::SteerArgs;
use crate::plan::{PlannedVector, SteerArg};
use crate::terminal::Failure;
use std::path::Path;
use std::sync::Arc;
use whipstaff::LanguageModel;
use whipstaff_engine::{Score, Steering, TokenSet};
use whipstaff_steering::{
    Convention, GateRequest, GateSpec, How, Instruction, PersonaVector, SteerSpec, Unit, steering_of,
};

impl SteerArgs {
    /// All vectors asked for, those of `--steer` first.
    pub fn specs(&self) -> Result<Vec<SteerSpec>, Failure> {
        let mut specs = self.steer.iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;
        if let Some(path) = &self.steering {
            specs.extend(SteerSpec::read(path)?);
        }
        for spec in &mut specs {
            spec.unit = spec.unit.or(self.unit);
        }
        Ok(specs)
    }
}

impl SteerArgs {
    /// The one vector asked for, by a command that takes no more (`who`, such as "a figure draws"), and the flag that
    /// names it; none if none is.
    pub fn only(&self, who: &str) -> Result<Option<(SteerSpec, String)>, Failure> {
        let flag = match (&self.steer[..], &self.steering) {
            ([text], None) => format!("--steer {text}"),
            ([], Some(path)) => format!("--steering {}", path.display()),
            ([], None) => return Ok(None),
            _ => "--steer".into(),
        };
        match <[SteerSpec; 1]>::try_from(self.specs()?) {
            Ok([spec]) => Ok(Some((spec, flag))),
            Err(specs) => Err(Failure::Usage(format!("{flag}: {who} one vector, not {}", specs.len()))),
        }
    }
}

impl SteerArgs {
    /// The nats of a lone `--steer V:NATSnat`, whose alpha becomes 1, or -1 for negative ones; none if there is no such.
    pub fn take_nats(&mut self) -> Result<Option<f64>, Failure> {
        let Some((at, alone, nats)) = self.steer.iter().enumerate().find_map(|(at, text)| {
            let (alone, nats) = in_nats(text)?;
            Some((at, alone, nats))
        }) else {
            return Ok(None);
        };
        if self.steer.len() > 1 || self.steering.is_some() {
            return Err(Failure::Usage(format!(
                "--steer {}: nats are of all vectors together: give alphas, and --kl {nats}",
                self.steer[at]
            )));
        }
        self.steer[at] = alone;
        Ok(Some(nats))
    }
}

/// `V:0.1nat@8,op=cap` as `V:1@8,op=cap` and 0.1.
fn in_nats(text: &str) -> Option<(String, f64)> {
    if Path::new(text).exists() {
        return None;
    }
    let (head, _) = split(text);
    let options = &text[head.len()..];
    let (dose, layers) = match head.rsplit_once('@') {
        Some((dose, layers)) if !layers.contains('/') => (dose, format!("@{layers}")),
        _ => (head, String::new()),
    };
    let (path, alpha) = dose.rsplit_once(':')?;
    let nats: f64 = alpha.strip_suffix("nats").or_else(|| alpha.strip_suffix("nat"))?.parse().ok()?;
    Some((format!("{path}:{}{layers}{options}", nats.signum()), nats.abs()))
}

/// `V[:ALPHA][@LAYERS][,KEY=VALUE…]`.
pub fn parse(text: &str) -> Result<SteerSpec, Failure> {
    let (head, options) = if Path::new(text).exists() { (text, Vec::new()) } else { split(text) };
    let arg = SteerArg::parse(head)?;
    let vector = arg.path.to_string_lossy().into_owned();
    let (alpha, layers) = (arg.alpha.map(|it| it.to_string()), arg.layers.map(|it| it.to_string()));
    let given = [("vector", Some(&vector)), ("alpha", alpha.as_ref()), ("layers", layers.as_ref())];
    let given = given.into_iter().filter_map(|(key, value)| Some((key, value?.as_str())));
    SteerSpec::from_pairs(given.chain(options))
        .map_err(|error| Failure::Usage(format!("--steer {text}: {error}")))
}

/// What comes before the first `,KEY=`, and the pairs from there on. Other commas are part of a value.
fn split(text: &str) -> (&str, Vec<(&str, &str)>) {
    let is_key =
        |key: &str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b"_.".contains(&b));
    let starts: Vec<usize> = text
        .match_indices(',')
        .map(|(at, _)| at)
        .filter(|at| text[at + 1..].split_once('=').is_some_and(|(key, _)| is_key(key)))
        .collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let pair =
        |(start, end): (&usize, usize)| text[start + 1..end].split_once('=').expect("found with its sign");
    let head = starts.first().map_or(text, |at| &text[..*at]);
    (head, starts.iter().zip(ends).map(pair).collect())
}

/// A vector with all that is to be done with it, held against a model.
pub struct PlannedSteer {
    pub planned: PlannedVector,
    pub how: How,
    condition: Option<PersonaVector>,
    pub tokens: Option<Arc<TokenSet>>,
}

impl PlannedSteer {
    /// Reads the files of a spec and fills in what it leaves out. `alpha` goes before its own.
    pub fn new(
        spec: &SteerSpec,
        alpha: Option<f64>,
        loaded: &LanguageModel,
    ) -> Result<PlannedSteer, Failure> {
        let arg = arg(spec, alpha)?;
        let config = loaded.model.config();
        let planned = PlannedVector::new(&arg, spec.unit, loaded)?;
        let condition = spec.gate.as_ref().map(Condition::read).transpose()?;
        if let (Some(it), Some(request)) = (&condition, &spec.gate) {
            it.vector.check_fits(&request.vector.display().to_string(), config.d_model, config.n_layers)?;
        }
        let tokens = spec.how.tokens.resolve(loaded.tokenizer()?);
        let (gate, condition) = condition.map(|it| (it.gate, it.vector)).unzip();
        Ok(PlannedSteer { planned, how: How { gate, ..spec.how.clone() }, condition, tokens })
    }

    /// The same without a model, to be talked about: layers are those of the vector's own.
    pub fn without_model(spec: &SteerSpec) -> Result<PlannedSteer, Failure> {
        let planned = PlannedVector::without_model(&arg(spec, None)?, spec.unit)?;
        let condition = spec.gate.as_ref().map(Condition::read).transpose()?;
        let (gate, condition) = condition.map(|it| (it.gate, it.vector)).unzip();
        Ok(PlannedSteer { planned, how: How { gate, ..spec.how.clone() }, condition, tokens: None })
    }

    pub fn instruction(&self) -> Instruction<'_> {
        Instruction {
            dose: self.planned.dose(),
            how: self.how.clone(),
            condition: self.condition.as_ref(),
            tokens: self.tokens.clone(),
        }
    }
}

/// The part that is about the dose.
fn arg(spec: &SteerSpec, alpha: Option<f64>) -> Result<SteerArg, Failure> {
    let alpha = match alpha.or(spec.alpha) {
        Some(alpha) => Some(alpha),
        None => spec
            .default_alpha()
            .map_err(|error| Failure::Usage(format!("{}: {error} (write {0}:20)", spec.vector.display())))?,
    };
    Ok(SteerArg { path: spec.vector.clone(), alpha, layers: spec.layers.clone() })
}

/// The vector of a gate, and the gate with what was left out.
struct Condition {
    vector: PersonaVector,
    gate: GateSpec,
}

impl Condition {
    fn read(request: &GateRequest) -> Result<Condition, Failure> {
        let (vector, of_file) = PersonaVector::read_from(&request.vector, Convention::default())?;
        let best = vector.recommended.as_ref().map(|it| it.best_layer);
        let layer = request.layer.or(best).ok_or_else(|| {
            Failure::Usage(format!(
                "{}: the vector does not know its best layer: say gate.layer",
                request.vector.display()
            ))
        })?;
        if !vector.layers.contains_key(&layer) {
            return Err(Failure::BadInput(format!(
                "{}: has no direction for layer {layer}, at which the gate looks (it has {})",
                request.vector.display(),
                vector.layers_text()
            )));
        }
        let unit = match request.score {
            Score::Projection => request.unit.unwrap_or(of_file),
            Score::Cosine | Score::Cast => Unit::Unit,
        };
        let GateRequest { score, pool, fires, .. } = *request;
        Ok(Condition { vector, gate: GateSpec { layer, score, pool, fires, unit } })
    }
}

/// The steering of all of them, every alpha times `factor`.
pub fn steering(steers: &[PlannedSteer], factor: f64) -> Result<Steering, Failure> {
    let instructions: Vec<Instruction> = steers.iter().map(PlannedSteer::instruction).collect();
    Ok(steering_of(&instructions, factor)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_begin_at_the_first_key() {
        let check = |text: &str, head: &str, pairs: &[(&str, &str)]| {
            assert_eq!(split(text), (head, pairs.to_vec()), "{text}");
        };
        check("v:0.5@8,10", "v:0.5@8,10", &[]);
        check("v:0.5@8,10,op=cap,lo=-1", "v:0.5@8,10", &[("op", "cap"), ("lo", "-1")]);
        check("v,tokens=a,b|c=d,scope=answer", "v", &[("tokens", "a,b|c=d"), ("scope", "answer")]);
        check("a,b/v,gate=c,gate.above=1", "a,b/v", &[("gate", "c"), ("gate.above", "1")]);
    }

    #[test]
    fn nats_are_told_from_alphas() {
        let check = |text: &str, want: Option<(&str, f64)>| {
            assert_eq!(in_nats(text), want.map(|(text, nats)| (text.to_owned(), nats)), "{text}");
        };
        check("v.safetensors:0.1nat", Some(("v.safetensors:1", 0.1)));
        check("v:-2nats@8-11", Some(("v:-1@8-11", 2.0)));
        check("a:b@c/v:1nat@8,op=cap,lo=-1", Some(("a:b@c/v:1@8,op=cap,lo=-1", 1.0)));
        check("v:0.1", None);
        check("v:nat", None);
        check("v@8", None);
        check("nat", None);
    }

    #[test]
    fn the_short_form_and_the_keys_are_one_thing() {
        let same = |a: &str, b: &str| assert_eq!(parse(a).unwrap(), parse(b).unwrap(), "{a}");
        same("v:0.5@8-11", "v,alpha=0.5,layers=8-11");
        same("v@8,10,op=project", "v,op=project,layers=8,10");
        for (text, part) in
            [("v:1,alpha=2", "given twice"), ("v,op=x", "operators:"), ("v:x,op=cap", "not a number")]
        {
            let Err(Failure::Usage(message)) = parse(text) else { panic!("{text}") };
            assert!(
                message.starts_with(&format!("--steer {}", text.split(',').next().unwrap())),
                "{message}"
            );
            assert!(message.contains(part), "{message}");
        }
    }
}
