//! The steering that a command line asks for: `--steer`, `--steering` and `--unit`, read and resolved for a model.

use super::SteerArgs;
use crate::terminal::Failure;
use whipstaff::LanguageModel;
use whipstaff_steering::{Amount, Resolved, ResolvedVector, SteerError, SteerSpec, Unit};

impl SteerArgs {
    /// All vectors asked for, those of `--steer` first. Budgets in nats are refused.
    pub fn specs(&self) -> Result<Vec<SteerSpec>, Failure> {
        let specs = self.read()?;
        specs.iter().try_for_each(|spec| refuse_nats("--steer", spec))?;
        Ok(specs)
    }

    /// The same for the one command that can measure a budget, and the nats of a lone vector that is given in them.
    pub fn specs_and_nats(&self) -> Result<(Vec<SteerSpec>, Option<f64>), Failure> {
        let mut specs = self.read()?;
        match SteerSpec::take_budget(&mut specs) {
            Ok(nats) => Ok((specs, nats)),
            Err(error @ SteerError::SharedBudget { nats, .. }) => {
                Err(Failure::Usage(format!("--steer: {error}, by --kl {nats}")))
            }
            Err(error) => Err(Failure::from(whipstaff_steering::Error::from(error)).about("--steer")),
        }
    }

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

    fn read(&self) -> Result<Vec<SteerSpec>, Failure> {
        let mut specs =
            self.steer.iter().map(|text| parse("--steer", text)).collect::<Result<Vec<_>, _>>()?;
        if let Some(path) = &self.steering {
            specs.extend(SteerSpec::read(path)?);
        }
        specs.iter_mut().for_each(|spec| spec.unit = spec.unit.or(self.unit));
        Ok(specs)
    }
}

/// Reads the vector of an argument that takes one, which `what` names in errors, in a unit if it names none.
pub fn steer_spec(what: &str, text: &str, unit: Option<Unit>) -> Result<SteerSpec, Failure> {
    let spec = parse(what, text)?;
    refuse_nats(&format!("{what} {text}"), &spec)?;
    Ok(SteerSpec { unit: spec.unit.or(unit), ..spec })
}

/// Resolves specs for a model, with remarks on standard error.
pub fn resolved(specs: &[SteerSpec], loaded: &LanguageModel) -> Result<Resolved, Failure> {
    loaded.tokenizer()?;
    loaded.resolve(specs).map_err(|error| Failure::from(error).about("--steer"))
}

/// Resolves one spec.
pub fn resolved_one(spec: SteerSpec, loaded: &LanguageModel) -> Result<ResolvedVector, Failure> {
    Ok(resolved(&[spec], loaded)?.into_vectors().remove(0))
}

fn parse(what: &str, text: &str) -> Result<SteerSpec, Failure> {
    text.parse().map_err(|error| Failure::Usage(format!("{what} {text}: {error}")))
}

fn refuse_nats(what: &str, spec: &SteerSpec) -> Result<(), Failure> {
    match spec.amount {
        Some(Amount::Nats(_)) => Err(Failure::Usage(format!(
            "{what}: nats are measured on a prompt, which only `generate --steer` has: give alpha"
        ))),
        _ => Ok(()),
    }
}
