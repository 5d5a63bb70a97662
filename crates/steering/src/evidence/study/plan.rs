//! The plan of a study, read from its file: models and personas, methods and layers, and the cost of every dose.

use crate::contrasts::TokenRule;
use crate::error::Error;
use crate::fit::Method;
use crate::steer::{FieldError, field, from_toml, typed};
use crate::vector::LayerSpec;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The plan of a study.
#[derive(Clone, Debug, PartialEq)]
pub struct StudyPlan {
    /// The models, each `embedded`, a folder, a file, or a model of the hub.
    pub models: Vec<String>,
    /// The personas, each measured on every model.
    pub personas: Vec<PersonaPlan>,
    /// The methods that fit directions.
    pub methods: Vec<Method>,
    /// The layers, each injected alone.
    pub layers: LayerSpec,
    /// The sets of layers that are injected together.
    pub together: Vec<LayerSpec>,
    /// The cost of every dose: the mean KL(unsteered ‖ steered) on neutral texts, in nats per token.
    pub kl: f64,
    /// The number of held-out contrasts that are used at most.
    pub max_contrasts: usize,
    /// The file of neutral texts, if they are given.
    pub neutral: Option<PathBuf>,
    /// The rule that says which tokens are averaged.
    pub tokens: TokenRule,
    /// The frame around prompts, as `--frame` takes it; the model's own if there is none.
    pub frame: Option<String>,
    /// The seed of everything random.
    pub seed: u64,
}

/// A persona of a study.
#[derive(Clone, Debug, PartialEq)]
pub struct PersonaPlan {
    /// The name in figures, tables and files.
    pub name: String,
    /// The contrasts that directions are fitted on.
    pub contrasts: PathBuf,
    /// The contrasts that are measured on, if they are given.
    pub heldout: Option<PathBuf>,
    /// The persona and its opposite in words, for prompting; without them two answers are shown.
    pub words: Option<[String; 2]>,
}

/// The name of the embedded model in a plan.
pub const EMBEDDED: &str = "embedded";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    models: Vec<String>,
    personas: Vec<WirePersona>,
    #[serde(default = "methods")]
    methods: Vec<String>,
    #[serde(default = "all")]
    layers: String,
    #[serde(default)]
    together: Vec<String>,
    kl: f64,
    #[serde(default = "max_contrasts")]
    max_contrasts: usize,
    neutral: Option<PathBuf>,
    #[serde(default = "answer")]
    tokens: String,
    frame: Option<String>,
    #[serde(default)]
    seed: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WirePersona {
    name: Option<String>,
    contrasts: PathBuf,
    heldout: Option<PathBuf>,
    persona: Option<String>,
    opposite: Option<String>,
}

fn methods() -> Vec<String> {
    [Method::Mean, Method::Pca, Method::Logistic].map(|it| it.name().to_owned()).to_vec()
}

fn all() -> String {
    "all".into()
}

fn answer() -> String {
    TokenRule::Answer.to_string()
}

fn max_contrasts() -> usize {
    24
}

/// The fewest contrasts of a study: a dose is chosen on half of them and judged on the others, and an interval needs
/// four.
const LEAST_CONTRASTS: usize = 8;

impl StudyPlan {
    /// Reads the file of a study. Paths in it are relative to its folder.
    ///
    /// # Errors
    /// [`Error::Read`], or [`Error::File`], which names the field and what is allowed.
    pub fn read(path: &Path) -> Result<StudyPlan, Error> {
        let text =
            std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let wrong = |reason: String| Error::File { path: path.to_owned(), reason };
        let mut plan = StudyPlan::parse(&text).map_err(wrong)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for model in plan.models.iter_mut().filter(|it| *it != EMBEDDED) {
            // A name that is no file here may be a model of the hub.
            let beside = folder.join(&model);
            if beside.exists() {
                *model = beside.display().to_string();
            }
        }
        for persona in &mut plan.personas {
            persona.contrasts = folder.join(&persona.contrasts);
            persona.heldout = persona.heldout.as_ref().map(|path| folder.join(path));
        }
        plan.neutral = plan.neutral.map(|path| folder.join(path));
        Ok(plan)
    }

    /// Reads the text of such a file, paths as they are; fails with the field that is wrong and what is allowed.
    pub fn parse(text: &str) -> Result<StudyPlan, String> {
        typed(from_toml(text)?).and_then(StudyPlan::new).map_err(|it| it.to_string())
    }

    fn new(wire: Wire) -> Result<StudyPlan, FieldError> {
        let plan = StudyPlan {
            personas: wire
                .personas
                .into_iter()
                .enumerate()
                .map(|(i, it)| PersonaPlan::new(it, i))
                .collect::<Result<_, _>>()?,
            methods: each("methods", &wire.methods)?,
            layers: one("layers", &wire.layers)?,
            together: each("together", &wire.together)?,
            kl: wire.kl,
            max_contrasts: wire.max_contrasts,
            neutral: wire.neutral,
            tokens: one("tokens", &wire.tokens)?,
            frame: wire.frame,
            seed: wire.seed,
            models: wire.models,
        };
        plan.check()?;
        Ok(plan)
    }

    fn check(&self) -> Result<(), FieldError> {
        if self.models.is_empty() {
            return Err(field(
                "models",
                "names no model: \"embedded\", a folder, a file or a model of the hub",
            ));
        }
        if self.personas.is_empty() {
            return Err(field("personas", "is empty: give a [[personas]] with `contrasts`"));
        }
        if self.methods.is_empty() {
            return Err(field("methods", "names no method"));
        }
        if self.kl.is_nan() || self.kl <= 0.0 {
            return Err(field("kl", "must be a positive number of nats per token, such as 0.1"));
        }
        if self.max_contrasts < LEAST_CONTRASTS {
            return Err(field("max_contrasts", format!("must be at least {LEAST_CONTRASTS}")));
        }
        if let Some(LayerSpec::Auto) =
            [&self.layers].into_iter().chain(&self.together).find(|it| **it == LayerSpec::Auto)
        {
            return Err(field("layers", "`auto` is what a vector recommends; a study looks at all"));
        }
        twice("models", self.models.iter().map(String::as_str))?;
        twice("methods", self.methods.iter().map(|it| it.name()))?;
        twice("personas", self.personas.iter().map(|it| it.name.as_str()))
    }
}

impl PersonaPlan {
    fn new(wire: WirePersona, i: usize) -> Result<PersonaPlan, FieldError> {
        let at = |name: &str| format!("personas[{i}].{name}");
        let stem = || wire.contrasts.file_stem().map(|it| it.to_string_lossy().into_owned());
        let name = wire.name.clone().or_else(stem).unwrap_or_default();
        if name.trim().is_empty() {
            return Err(field(&at("name"), "is empty"));
        }
        let words = match (wire.persona, wire.opposite) {
            (Some(persona), Some(opposite)) => Some([persona, opposite]),
            (None, None) => None,
            (None, _) => {
                return Err(field(&at("persona"), "is missing: prompting needs it beside `opposite`"));
            }
            (_, None) => {
                return Err(field(&at("opposite"), "is missing: prompting needs it beside `persona`"));
            }
        };
        Ok(PersonaPlan { name, contrasts: wire.contrasts, heldout: wire.heldout, words })
    }
}

fn one<T: FromStr<Err: std::fmt::Display>>(name: &str, text: &str) -> Result<T, FieldError> {
    text.parse().map_err(|error: T::Err| field(name, error.to_string()))
}

fn each<T: FromStr<Err: std::fmt::Display>>(name: &str, texts: &[String]) -> Result<Vec<T>, FieldError> {
    texts.iter().enumerate().map(|(i, text)| one(&format!("{name}[{i}]"), text)).collect()
}

/// Fails if a name occurs twice. Names become files, so they must differ in more than the marks that files cannot have.
fn twice<'a>(name: &str, values: impl Iterator<Item = &'a str>) -> Result<(), FieldError> {
    let mut seen = BTreeSet::new();
    for value in values {
        if !seen.insert(file_name(value)) {
            return Err(field(name, format!("has `{value}` twice")));
        }
    }
    Ok(())
}

/// Returns a name as it can be part of a file's name.
pub fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || "._-".contains(c) { c } else { '-' };
    name.chars().map(plain).collect::<String>().trim_matches(['.', '-']).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "models = [\"embedded\"]\nkl = 0.1\n[[personas]]\ncontrasts = \"a/formal.jsonl\"\n";

    #[test]
    fn what_is_left_out_has_a_default() {
        let plan = StudyPlan::parse(LEAST).unwrap();
        assert_eq!(plan.methods, [Method::Mean, Method::Pca, Method::Logistic]);
        assert_eq!((plan.layers, plan.tokens, plan.max_contrasts), (LayerSpec::All, TokenRule::Answer, 24));
        assert_eq!((plan.personas[0].name.as_str(), &plan.personas[0].words), ("formal", &None));
    }

    #[test]
    fn errors_name_the_field_and_say_what_is_allowed() {
        let check = |change: (&str, &str), want: &str| {
            let error = StudyPlan::parse(&LEAST.replace(change.0, change.1)).unwrap_err();
            assert!(error.contains(want), "{error}");
        };
        check(("kl = 0.1", ""), "missing field `kl`");
        check(("kl = 0.1", "kl = 0"), "kl: must be a positive number");
        check(("kl = 0.1", "kl = nan"), "kl: must be a finite number");
        check(("kl = 0.1", "kl = 1\nspeed = 3"), "unknown field `speed`");
        check(
            ("kl = 0.1", "kl = 1\nmethods = [\"mean\", \"average\"]"),
            "methods[1]: `average` is not a method",
        );
        check(("kl = 0.1", "kl = 1\nmethods = [\"mean\", \"mean\"]"), "methods: has `mean` twice");
        check(("kl = 0.1", "kl = 1\nlayers = \"x\""), "layers: `x` does not name layers");
        check(("kl = 0.1", "kl = 1\ntogether = [\"auto\"]"), "layers: `auto`");
        check(("kl = 0.1", "kl = 1\nmax_contrasts = 7"), "max_contrasts: must be at least 8");
        check(("[\"embedded\"]", "[]"), "models: names no model");
        check(("contrasts = ", "contrast = "), "personas[0].contrast: unknown field `contrast`");
        check(("contrasts = ", "persona = \"You help.\"\ncontrasts = "), "personas[0].opposite: is missing");
        check(("contrasts = ", "name = \" \"\ncontrasts = "), "personas[0].name: is empty");
        check(("[[", "[[personas]]\ncontrasts = \"b/Formal.jsonl\"\n[["), "personas: has `formal` twice");
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("here")).unwrap();
        let path = dir.path().join("study.toml");
        std::fs::write(&path, LEAST.replace("\"embedded\"", "\"embedded\", \"here\", \"org/name\"")).unwrap();
        let plan = StudyPlan::read(&path).unwrap();
        assert_eq!(plan.models, ["embedded", &dir.path().join("here").display().to_string(), "org/name"]);
        assert_eq!(plan.personas[0].contrasts, dir.path().join("a/formal.jsonl"));
        let absent = StudyPlan::read(&dir.path().join("no.toml")).unwrap_err().to_string();
        assert!(absent.starts_with("cannot read "), "{absent}");
    }

    #[test]
    fn names_become_file_names() {
        let check = |name: &str, want: &str| assert_eq!(file_name(name), want);
        check("meta-llama/Llama-3.2-1B", "meta-llama-llama-3.2-1b");
        check("../x y", "x-y");
        check("司書", "司書");
    }
}
