//! The values of text fields: how each is written, and what it means.

use crate::error::Error;
use crate::steer::spec::{FieldError, field};
use crate::vector::{LayerSpec, Unit};
use regex::{Regex, RegexBuilder};
use serde_json::Value;
use whipstaff_engine::{Pool, Position, Schedule, Score, Site, Span};

/// A value that a text field may have.
pub(super) trait Of: Sized {
    /// What it means; else what is allowed, as the rest of a sentence.
    fn of(text: &str) -> Result<Self, String>;

    /// How it is written; `None` for what a field means when it is not given.
    fn written(&self) -> Option<String>;
}

/// The value of a field, if it is given.
pub(super) fn parse<T: Of>(name: &str, text: Option<&str>) -> Result<Option<T>, FieldError> {
    text.map(|text| T::of(text).map_err(|reason| field(name, reason))).transpose()
}

/// Layers: text, one number, or an array of numbers.
pub(super) fn layers(value: &Value) -> Result<LayerSpec, FieldError> {
    let wrong = || field("layers", "must be text such as \"8-11\", a number, or an array of numbers");
    let number = |it: &Value| it.as_i64().map(|it| it.to_string()).ok_or_else(wrong);
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(number).collect::<Result<Vec<_>, _>>()?.join(","),
        other => number(other)?,
    };
    text.parse().map_err(|it: Error| field("layers", it.to_string()))
}

impl Of for Unit {
    fn of(text: &str) -> Result<Unit, String> {
        text.parse()
    }

    fn written(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Of for Site {
    fn of(text: &str) -> Result<Site, String> {
        text.parse()
    }

    fn written(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Of for Score {
    fn of(text: &str) -> Result<Score, String> {
        match text {
            "cosine" => Ok(Score::Cosine),
            "projection" => Ok(Score::Projection),
            "cast" => Ok(Score::Cast),
            _ => Err(format!("`{text}` is not a score (scores: cosine, projection, cast)")),
        }
    }

    fn written(&self) -> Option<String> {
        match self {
            Score::Cosine => None,
            Score::Projection => Some("projection".into()),
            Score::Cast => Some("cast".into()),
        }
    }
}

impl Of for Pool {
    fn of(text: &str) -> Result<Pool, String> {
        match text {
            "mean" => Ok(Pool::Mean),
            "last" => Ok(Pool::Last),
            _ => Err(format!("`{text}` is neither mean nor last")),
        }
    }

    fn written(&self) -> Option<String> {
        (*self == Pool::Last).then(|| "last".into())
    }
}

/// What a regex may take to compile: a pattern comes with a request.
const REGEX_BYTES: usize = 1 << 20;

impl Of for Regex {
    fn of(text: &str) -> Result<Regex, String> {
        let built = RegexBuilder::new(text).size_limit(REGEX_BYTES).build();
        built.map_err(|error| format!("`{text}` is not a regular expression: {error}"))
    }

    fn written(&self) -> Option<String> {
        Some(self.as_str().to_owned())
    }
}

const SPANS: &str = "all, prompt, answer, or positions A..B with either end left out, negative ones counted from \
                     the end of the prompt";

impl Of for Span {
    fn of(text: &str) -> Result<Span, String> {
        let wrong = || format!("`{text}` is no scope (scopes: {SPANS})");
        match text {
            "all" => return Ok(Span::All),
            "prompt" => return Ok(Span::Prompt),
            "answer" => return Ok(Span::Answer),
            _ => {}
        }
        let (from, to) = text.split_once("..").ok_or_else(wrong)?;
        let ends = [position(from), position(to)];
        let [Ok(from), Ok(to)] = ends else { return Err(wrong()) };
        let is_empty = match (from, to) {
            (Some(Position::At(a)), Some(Position::At(b))) => a >= b,
            (Some(Position::BeforeAnswer(a)), Some(Position::BeforeAnswer(b))) => a <= b,
            _ => false,
        };
        if is_empty { Err(format!("`{text}` holds no position")) } else { Ok(Span::Window(from, to)) }
    }

    fn written(&self) -> Option<String> {
        let end = |it: Option<Position>| match it {
            None => String::new(),
            Some(Position::At(at)) => at.to_string(),
            Some(Position::BeforeAnswer(n)) => format!("-{n}"),
        };
        match self {
            Span::All => None,
            Span::Prompt => Some("prompt".into()),
            Span::Answer => Some("answer".into()),
            Span::Window(from, to) => Some(format!("{}..{}", end(*from), end(*to))),
        }
    }
}

/// An end of a window, if there is one.
fn position(text: &str) -> Result<Option<Position>, ()> {
    let number = |text: &str| text.parse::<usize>().map_err(|_| ());
    match text.trim().strip_prefix('-') {
        _ if text.trim().is_empty() => Ok(None),
        Some(before) => {
            number(before).and_then(|n| if n == 0 { Err(()) } else { Ok(Some(Position::BeforeAnswer(n))) })
        }
        None => number(text.trim()).map(|at| Some(Position::At(at))),
    }
}

const SCHEDULES: &str = "constant, decay:HALF_LIFE, ramp:TOKENS or window:A..B, counted in generated tokens";

impl Of for Schedule {
    fn of(text: &str) -> Result<Schedule, String> {
        let wrong = || format!("`{text}` is no schedule (schedules: {SCHEDULES})");
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        let tokens = || rest.parse::<f64>().ok().filter(|x| x.is_finite() && *x > 0.0).ok_or_else(wrong);
        match name {
            "constant" if rest.is_empty() => Ok(Schedule::Constant),
            "decay" => Ok(Schedule::Decay { half_life: tokens()? }),
            "ramp" => Ok(Schedule::Ramp { tokens: tokens()? }),
            "window" => {
                let (from, to) = rest.split_once("..").ok_or_else(wrong)?;
                let end = |text: &str| match text {
                    "" => Ok(None),
                    text => text.parse::<usize>().map(Some).map_err(|_| wrong()),
                };
                let (from, to) = (end(from)?.unwrap_or(0), end(to)?);
                if to.is_some_and(|to| to <= from) {
                    return Err(format!("`{text}` holds no token"));
                }
                Ok(Schedule::Window { from, to })
            }
            _ => Err(wrong()),
        }
    }

    fn written(&self) -> Option<String> {
        match self {
            Schedule::Constant => None,
            Schedule::Decay { half_life } => Some(format!("decay:{half_life}")),
            Schedule::Ramp { tokens } => Some(format!("ramp:{tokens}")),
            Schedule::Window { from, to } => {
                Some(format!("window:{from}..{}", to.map_or(String::new(), |it| it.to_string())))
            }
        }
    }
}
