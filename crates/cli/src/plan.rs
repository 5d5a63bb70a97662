//! What the command line means: arguments turned into domain values, with every cross-check.

use crate::args::{FrameArgs, SamplingArgs};
use crate::terminal::{Failure, note};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use whipstaff::LanguageModel;
use whipstaff_engine::{Message, Role, Sampling};
use whipstaff_steering::{ContrastSet, Convention, Dose, Frame, LayerSpec, PersonaVector, Unit};

/// `V[:ALPHA][@LAYERS]`, taken apart.
#[derive(Debug, PartialEq)]
pub struct SteerArg {
    pub path: PathBuf,
    pub alpha: Option<f64>,
    pub layers: Option<LayerSpec>,
}

impl SteerArg {
    /// Takes a `--steer` apart from the right, so that a path may hold colons and at signs.
    pub fn parse(text: &str) -> Result<SteerArg, Failure> {
        SteerArg::parse_as("--steer", text)
    }

    /// The same of another argument, which `what` names in errors.
    pub fn parse_as(what: &str, text: &str) -> Result<SteerArg, Failure> {
        if Path::new(text).exists() {
            return Ok(SteerArg { path: text.into(), alpha: None, layers: None });
        }
        let before_alpha = text.rsplit_once(':').map_or(text, |(path, _)| path);
        let (rest, layers) = match text.rsplit_once('@') {
            Some((rest, layers)) if !layers.contains('/') => match layers.parse::<LayerSpec>() {
                Ok(layers) => (rest, Some(layers)),
                Err(_) if Path::new(before_alpha).exists() && before_alpha.len() > rest.len() => (text, None),
                Err(error) => return Err(Failure::Usage(format!("{what} {text}: {error}"))),
            },
            _ => (text, None),
        };
        let (path, alpha) = match rest.rsplit_once(':') {
            Some((path, alpha)) => match alpha.parse::<f64>() {
                Ok(alpha) if alpha.is_finite() => (path, Some(alpha)),
                Ok(alpha) => {
                    return Err(Failure::Usage(format!("{what} {text}: alpha {alpha} is not finite")));
                }
                Err(_) if Path::new(rest).exists() => (rest, None),
                Err(_) if alpha.ends_with("nat") || alpha.ends_with("nats") => {
                    return Err(Failure::Usage(format!(
                        "{what} {text}: nats are measured on a prompt, which only `generate --steer` has: give alpha"
                    )));
                }
                Err(_) => {
                    return Err(Failure::Usage(format!(
                        "{what} {text}: `{alpha}` is not a number for alpha"
                    )));
                }
            },
            None => (rest, None),
        };
        Ok(SteerArg { path: path.into(), alpha, layers })
    }
}

/// A vector from a file that fits the model, with the dose asked for.
pub struct PlannedVector {
    pub vector: PersonaVector,
    pub alpha: f64,
    pub unit: Unit,
    pub layers: Vec<usize>,
}

impl PlannedVector {
    /// Reads the file and fills in what was left out: from the vector's recommendation or, for a control
    /// vector of another tool, as that tool would.
    pub fn new(arg: &SteerArg, unit: Option<Unit>, loaded: &LanguageModel) -> Result<PlannedVector, Failure> {
        let read = PersonaVector::read_from(&arg.path, Convention::default())?;
        check_model(&read.0, &arg.path, loaded)?;
        PlannedVector::filled(arg, unit, read, loaded.model.config().n_layers)
    }

    /// The same without a model to hold it against: its layers are those of the one it was made on.
    pub fn without_model(arg: &SteerArg, unit: Option<Unit>) -> Result<PlannedVector, Failure> {
        let read = PersonaVector::read_from(&arg.path, Convention::default())?;
        let past_last = read.0.layers.keys().next_back().map_or(0, |last| last + 1);
        let n_layers = read.0.provenance.model.n_layers.max(past_last);
        PlannedVector::filled(arg, unit, read, n_layers)
    }

    fn filled(
        arg: &SteerArg,
        unit: Option<Unit>,
        (vector, unit_of_file): (PersonaVector, Unit),
        n_layers: usize,
    ) -> Result<PlannedVector, Failure> {
        let (auto_layers, auto_alpha) = vector.default_dose();
        let unit_of_dose = match (arg.alpha, vector.is_foreign()) {
            (Some(_), _) => unit_of_file,
            // The recommendation is in units of the gap, whatever the file's own coefficients count.
            (None, foreign) => {
                if foreign {
                    Unit::Unit
                } else {
                    Unit::Gap
                }
            }
        };
        let unit = unit.unwrap_or(unit_of_dose);
        if unit != unit_of_dose && arg.alpha.is_none() {
            return Err(Failure::Usage(format!(
                "--unit {unit} needs an alpha: the vector's own is in the unit `{unit_of_dose}` (write {}:0.5)",
                arg.path.display()
            )));
        }
        let spec = arg.layers.as_ref().unwrap_or(&LayerSpec::Auto);
        let layers = match spec {
            // `all` means all that the vector has directions for.
            LayerSpec::All => vector.layers.keys().copied().collect(),
            spec => {
                spec.resolve(n_layers, &auto_layers).map_err(|error| Failure::from(error).about("--steer"))?
            }
        };
        Ok(PlannedVector { alpha: arg.alpha.unwrap_or(auto_alpha), unit, vector, layers })
    }

    /// The layers that `--layers` asks for, each of which the vector must have; `auto` are those of the dose.
    pub fn layers_of(
        &self,
        spec: &LayerSpec,
        path: &Path,
        loaded: &LanguageModel,
    ) -> Result<Vec<usize>, Failure> {
        let layers = match spec {
            LayerSpec::All => self.vector.layers.keys().copied().collect(),
            spec => {
                let resolved = spec.resolve(loaded.model.config().n_layers, &self.layers);
                resolved.map_err(|error| Failure::from(error).about("--layers"))?
            }
        };
        match layers.iter().find(|layer| !self.vector.layers.contains_key(layer)) {
            Some(layer) => Err(Failure::Usage(format!(
                "--layers: {} has no direction at layer {layer}; it has them at {}",
                path.display(),
                self.vector.layers_text()
            ))),
            None => Ok(layers),
        }
    }

    pub fn dose(&self) -> Dose<'_> {
        Dose { vector: &self.vector, alpha: self.alpha, unit: self.unit, layers: self.layers.clone() }
    }
}

/// Fails for a vector that does not fit a model, and remarks on one that was made on other weights.
pub fn check_model(vector: &PersonaVector, path: &Path, loaded: &LanguageModel) -> Result<(), Failure> {
    let (config, made_on) = (loaded.model.config(), &vector.provenance.model);
    vector.check_fits(&path.display().to_string(), config.d_model, config.n_layers)?;
    if !made_on.weights_sha256.is_empty() && !loaded.matches(made_on) {
        note(&format!(
            "{} was made on other weights (of `{}`) than these (of `{}`): only the same weights are sure to work",
            path.display(),
            made_on.name,
            loaded.name
        ));
    }
    Ok(())
}

/// Returns the frame asked for, else the first vector's, else the model's own.
pub fn frame<'v>(
    args: &FrameArgs,
    loaded: &LanguageModel,
    vectors: impl IntoIterator<Item = &'v PlannedVector>,
) -> Result<Frame, Failure> {
    let made_in = vectors.into_iter().map(|it| &it.vector.provenance.frame).find(|id| !id.is_unknown());
    Ok(loaded.frame(&args.choice(), made_in)?)
}

/// The sampling settings, each within its range.
pub fn sampling(args: &SamplingArgs) -> Result<Sampling, Failure> {
    let within = |flag: &str, x: f32, low: f32, high: f32| {
        if x >= low && x <= high {
            return Ok(x);
        }
        Err(Failure::Usage(format!("--{flag} {x} is outside {low} to {high}")))
    };
    Ok(Sampling {
        repetition_penalty: within("repetition-penalty", args.repetition_penalty, 0.1, 10.0)?,
        temperature: within("temperature", args.temperature, 0.0, 100.0)?,
        top_k: args.top_k,
        top_p: within("top-p", args.top_p, 0.0, 1.0)?,
        min_p: within("min-p", args.min_p, 0.0, 1.0)?,
        seed: args.seed,
    })
}

/// The held-out contrasts that lie beside `F.jsonl` as `F-heldout.jsonl`.
pub fn heldout_beside(contrasts: &Path) -> Option<PathBuf> {
    let stem = contrasts.file_stem().unwrap_or_default().to_string_lossy();
    let beside = contrasts.parent().unwrap_or(Path::new("")).join(format!("{stem}-heldout.jsonl"));
    beside.exists().then_some(beside)
}

/// Contrasts to fit on, and every fourth to measure on; `None` for too few.
pub fn split(set: &ContrastSet) -> Option<(ContrastSet, ContrastSet)> {
    let (most, rest) = set.split();
    let rest = ContrastSet { name: format!("{} (every fourth)", set.name), ..rest };
    (!rest.contrasts.is_empty()).then_some((most, rest))
}

/// A list of alphas, each finite.
pub fn alphas(text: &str) -> Result<Vec<f64>, Failure> {
    let alpha = |part: &str| match part.trim().parse::<f64>() {
        Ok(alpha) if alpha.is_finite() => Ok(alpha),
        Ok(alpha) => Err(Failure::Usage(format!("--alphas {text}: alpha {alpha} is not finite"))),
        Err(_) => Err(Failure::Usage(format!("--alphas {text}: `{part}` is not a number"))),
    };
    text.split(',').map(alpha).collect()
}

/// What a user says, as a conversation.
pub fn said(prompt: &str) -> Vec<Message> {
    vec![Message::new(Role::User, prompt)]
}

/// A text to measure on: what the user says and, perhaps, an answer.
#[derive(Deserialize)]
pub struct PromptLine {
    pub prompt: String,
    pub answer: Option<String>,
}

/// Reads prompts: one a line, or JSON objects with `prompt` and `answer` for a `.jsonl` file.
pub fn prompts(path: &Path) -> Result<Vec<PromptLine>, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::BadInput(format!("cannot read {}: {error}", path.display())))?;
    let json = path.extension().is_some_and(|extension| extension == "jsonl");
    let mut prompts = Vec::new();
    for (i, line) in
        text.trim_start_matches('\u{feff}').lines().enumerate().filter(|(_, line)| !line.trim().is_empty())
    {
        prompts.push(if json {
            serde_json::from_str(line).map_err(|error| {
                Failure::BadInput(format!("{}:{}: is not a prompt: {error}", path.display(), i + 1))
            })?
        } else {
            PromptLine { prompt: line.to_owned(), answer: None }
        });
    }
    if prompts.is_empty() {
        return Err(Failure::BadInput(format!("{}: holds no prompt", path.display())));
    }
    Ok(prompts)
}

/// Makes the folder for outputs before any work is done for it.
pub fn output_folder(dir: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(dir)
        .map_err(|error| Failure::Failed(format!("cannot make the folder {}: {error}", dir.display())))?;
    writable(dir)
}

/// Fails now rather than after minutes of work if the folder of an output file cannot be written to.
pub fn output_file(path: &Path) -> Result<(), Failure> {
    let fail = |reason: &str| Err(Failure::Failed(format!("cannot write {}: {reason}", path.display())));
    if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return fail("it is a folder");
    }
    // Files are written by renaming, which would put a file in the place of a device such as /dev/null.
    if path.exists() && !path.is_file() {
        return fail("it is not an ordinary file");
    }
    writable(path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

fn writable(dir: &Path) -> Result<(), Failure> {
    tempfile::Builder::new()
        .prefix(".whipstaff-")
        .tempfile_in(dir)
        .map(drop)
        .map_err(|error| Failure::Failed(format!("cannot write to {}: {error}", dir.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steer_arguments_are_taken_apart_from_the_right() {
        let check = |text: &str, path: &str, alpha: Option<f64>, layers: Option<&str>| {
            let want = SteerArg { path: path.into(), alpha, layers: layers.map(|it| it.parse().unwrap()) };
            assert_eq!(SteerArg::parse(text).unwrap(), want, "{text}");
        };
        check("v.safetensors", "v.safetensors", None, None);
        check("v.safetensors:0.3", "v.safetensors", Some(0.3), None);
        check("v.safetensors:-0.5@8-11", "v.safetensors", Some(-0.5), Some("8-11"));
        check("v.safetensors@-1", "v.safetensors", None, Some("-1"));
        check("a:b/v.safetensors:1", "a:b/v.safetensors", Some(1.0), None);
        check("a@b/v.safetensors", "a@b/v.safetensors", None, None);
    }

    #[test]
    fn what_cannot_be_a_dose_is_wrong_usage() {
        for text in ["v:nan", "v:inf", "v:-inf", "v:x", "v:1@y", "v@"] {
            assert!(matches!(SteerArg::parse(text), Err(Failure::Usage(_))), "{text}");
        }
        assert!(alphas("0,0.5,-1").is_ok());
        assert!(alphas("0,nan").is_err() && alphas("").is_err());
    }
}
