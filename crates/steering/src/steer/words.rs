//! Instructions in words.

use super::instruction::{Application, Instruction, Op};
use crate::vector::{Unit, layers_text};
use whipstaff_engine::{Fires, Pool, Position, Schedule, Score, Span};

impl Instruction<'_> {
    /// Returns what the instruction does and where, as a sentence.
    pub fn in_words(&self) -> String {
        let dose = &self.dose;
        let site = self.how.site.unwrap_or(dose.vector.provenance.site);
        let at = match &dose.layers[..] {
            [one] => format!("layer {one}"),
            many => format!("layers {}", layers_text(many)),
        };
        let mut text = format!("{} at {at} ({site})", self.what());
        self.how.add_when(&mut text);
        if let (Some(gate), Some(condition)) = (&self.how.gate, self.condition) {
            let of = match gate.pool {
                Pool::Mean => "the prompt's mean activation",
                Pool::Last => "the activation of the prompt's last token",
            };
            let score = match gate.score {
                Score::Cosine => "a cosine".into(),
                Score::Projection => format!("a projection (in {})", gate.unit),
                Score::Cast => "a CAST score".to_owned(),
            };
            let side = match gate.fires {
                Fires::Above(threshold) => format!("above {threshold}"),
                Fires::Below(threshold) => format!("below {threshold}"),
            };
            text +=
                &format!(", if {of} at layer {} has {score} {side} with `{}`", gate.layer, condition.name);
        }
        text
    }

    /// Returns what the instruction does, in a few words.
    pub fn what(&self) -> String {
        let (name, unit, alpha) = (&self.dose.vector.name, self.dose.unit, self.dose.alpha);
        let what = match self.how.op {
            Op::Add => format!("adds {alpha} {unit} of `{name}`"),
            Op::AddUntil(target) => format!(
                "adds of `{name}` what is missing to a projection of {target} {unit}, at most {alpha} {unit},"
            ),
            Op::Project if alpha == 1.0 => format!("removes the component along `{name}`"),
            Op::Project => format!("removes {} of the component along `{name}`", percent(alpha)),
            Op::Cap { low, high } => {
                let range = match (low, high) {
                    (Some(low), Some(high)) => format!("between {low} and {high} {unit}"),
                    (Some(low), None) => format!("at {low} {unit} at least"),
                    (None, Some(high)) => format!("at {high} {unit} at most"),
                    (None, None) => "anywhere".into(),
                };
                format!("holds the projection on `{name}` {range}{}", share(alpha))
            }
            Op::Push(target) => {
                format!("raises the projection on `{name}` to {target} {unit} at least{}", share(alpha))
            }
            Op::Rotate if alpha < 0.0 => format!("turns away from `{name}` by {} degrees", -alpha),
            Op::Rotate => format!("turns towards `{name}` by {alpha} degrees"),
            Op::Set(target) => format!("sets the projection on `{name}` to {target} {unit}{}", share(alpha)),
        };
        if self.how.keeps_norm { what + ", norm kept," } else { what }
    }
}

impl Op {
    /// Returns what alpha is, as the rest of a sentence.
    pub fn dial(self, unit: Unit) -> String {
        match self {
            Op::Add | Op::AddUntil(_) => format!("alpha in units of {}", unit.describe()),
            Op::Project => "alpha is the share removed".into(),
            Op::Cap { .. } | Op::Push(_) | Op::Set(_) => "alpha is the share of the way".into(),
            Op::Rotate => "alpha in degrees".into(),
        }
    }
}

impl Application {
    /// Adds the positions, tokens and times at which anything is done.
    fn add_when(&self, text: &mut String) {
        match self.span {
            Span::All => {}
            Span::Prompt => *text += ", in the prompt only",
            Span::Answer => *text += ", in the answer only",
            Span::Window(from, to) => {
                let from = from.map_or("the first".into(), position);
                let to = to.map_or("the end".into(), position);
                *text += &format!(", from {from} position up to {to}");
            }
        }
        if self.tokens.skips_special {
            *text += ", not on special tokens";
        }
        if let Some(regex) = &self.tokens.matching {
            *text += &format!(", on tokens that match /{regex}/");
        }
        match self.schedule {
            Schedule::Constant => {}
            Schedule::Decay { half_life } => {
                *text += &format!(", alpha halved every {half_life} generated tokens");
            }
            Schedule::Ramp { tokens } => {
                *text += &format!(", alpha rising from 0 over {tokens} generated tokens");
            }
            Schedule::Window { from, to: Some(to) } => {
                *text += &format!(", for generated tokens {from} to {} (0 is the first)", to - 1);
            }
            Schedule::Window { from, to: None } => {
                *text += &format!(", from generated token {from} on (0 is the first)");
            }
        }
    }
}

fn position(at: Position) -> String {
    match at {
        Position::At(at) => format!("{at} (0-based)"),
        Position::BeforeAnswer(1) => "the prompt's last".into(),
        Position::BeforeAnswer(n) => format!("the prompt's {n}th last"),
    }
}

fn percent(share: f64) -> String {
    format!("{} %", (share * 1000.0).round() / 10.0)
}

/// Returns the share of the way, unless it is all of it.
fn share(alpha: f64) -> String {
    if alpha == 1.0 { String::new() } else { format!(", {} of the way,", percent(alpha)) }
}
