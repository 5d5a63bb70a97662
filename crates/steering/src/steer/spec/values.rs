//! The values of fields: how each is written, and what it means. Every way to write a spec ends here.

use super::field::{FieldError, field};
use crate::vector::{LayerMark, LayerSpec, Unit};
use regex::{Regex, RegexBuilder};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use whipstaff_engine::{Pool, Position, Schedule, Score, Site, Span};

/// A value that can be read from text.
pub(super) trait Of: Sized {
    /// Returns what the text means; else what is allowed, as the rest of a sentence.
    fn of(text: &str) -> Result<Self, String>;
}

/// A value that files hold as text.
pub(super) trait Written {
    /// Returns the value as it is written; `None` for what a field means when it is not given.
    fn written(&self) -> Option<String>;
}

/// Fills a field from text, once.
pub(super) fn fill<T: Of>(name: &str, value: &mut Option<T>, text: &str) -> Result<(), FieldError> {
    if value.is_some() {
        return Err(field(name, "is given twice"));
    }
    *value = Some(T::of(text).map_err(|reason| field(name, reason))?);
    Ok(())
}

/// Returns true for a value that a file need not hold.
pub(super) fn is_unwritten<T: Written>(value: &Option<T>) -> bool {
    value.as_ref().and_then(T::written).is_none()
}

/// Text fields of TOML and JSON.
pub(super) mod text {
    use super::{Of, Written};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(crate) fn serialize<T: Written, S: Serializer>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
        value.as_ref().and_then(T::written).serialize(to)
    }

    pub(crate) fn deserialize<'de, T: Of, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| T::of(&text).map_err(D::Error::custom)).transpose()
    }
}

/// Reads the layers of TOML and JSON: text, one number, or an array of numbers.
pub(super) fn layers<'de, D: Deserializer<'de>>(from: D) -> Result<Option<LayerSpec>, D::Error> {
    let one = |number: &Value| {
        let index = LayerMark::Index(number.as_i64()?);
        Some((index, index))
    };
    let ranges = match Option::<Value>::deserialize(from)? {
        None => return Ok(None),
        Some(Value::String(text)) => return LayerSpec::of(&text).map(Some).map_err(D::Error::custom),
        Some(Value::Array(numbers)) if !numbers.is_empty() => numbers.iter().map(one).collect(),
        Some(number) => one(&number).map(|range| vec![range]),
    };
    let wrong = || D::Error::custom("must be text such as \"8-11\", a number, or an array of numbers");
    ranges.map(|ranges| Some(LayerSpec::List(ranges))).ok_or_else(wrong)
}

impl Of for String {
    fn of(text: &str) -> Result<String, String> {
        Ok(text.to_owned())
    }
}

impl Of for f64 {
    fn of(text: &str) -> Result<f64, String> {
        let number = text.parse().ok().filter(|x: &f64| x.is_finite());
        number.ok_or_else(|| format!("`{text}` is not a finite number"))
    }
}

/// The index of a layer: the only whole number that a field holds.
impl Of for usize {
    fn of(text: &str) -> Result<usize, String> {
        text.parse().map_err(|_| format!("`{text}` is not a layer"))
    }
}

impl Of for bool {
    fn of(text: &str) -> Result<bool, String> {
        text.parse().map_err(|_| format!("`{text}` is neither true nor false"))
    }
}

impl Of for LayerSpec {
    fn of(text: &str) -> Result<LayerSpec, String> {
        text.parse().map_err(|error: crate::error::Error| error.to_string())
    }
}

impl Written for LayerSpec {
    fn written(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Of for Unit {
    fn of(text: &str) -> Result<Unit, String> {
        text.parse()
    }
}

impl Written for Unit {
    fn written(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Of for Site {
    fn of(text: &str) -> Result<Site, String> {
        text.parse()
    }
}

impl Written for Site {
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
}

impl Written for Score {
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
}

impl Written for Pool {
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
}

impl Written for Regex {
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
}

impl Written for Span {
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
}

impl Written for Schedule {
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
