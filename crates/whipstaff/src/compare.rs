//! Answers side by side: the same prompt at several factors of its alphas.

use crate::error::Error;
use crate::stream::piece;
use crate::watch::Watcher;
use std::sync::Arc;
use whipstaff_engine::{Error as EngineError, Generator, Model, Tokenizer};
use whipstaff_steering::{Answer, Op, ResolvedVector};

/// Answers to one prompt, in the order of the factors asked for.
pub type SideBySide = Vec<Side>;

/// One of several answers to a prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Side {
    /// What every alpha is multiplied with: 0 for the plain model, 1 as asked for, −1 the other way.
    pub factor: f64,
    /// The alpha of the first vector; 0 for the plain model.
    pub alpha: f64,
    /// What the side is called: `baseline`, `+0.5 gap`, `-20 degrees`.
    pub label: String,
    /// The answer.
    pub answer: Answer,
}

/// Runs a generator whose requests are those of `factors`, and gathers the answers.
pub(crate) fn compare(
    generator: Generator<Arc<Model>, Arc<Tokenizer>>,
    watch: &Watcher,
    is_raw: bool,
    vectors: &[ResolvedVector],
    factors: &[f64],
    scale: f64,
) -> Result<SideBySide, Error> {
    let alpha = vectors.first().map_or(0.0, |first| first.alpha) * scale;
    let side = |factor: &f64| {
        let alpha = alpha * factor + 0.0;
        Side { factor: *factor, alpha, label: label(vectors, *factor, alpha), answer: Answer::empty() }
    };
    let mut sides: Vec<Side> = factors.iter().map(side).collect();
    let mut trims = vec![!is_raw; sides.len()];
    for event in generator {
        let event = event.map_err(EngineError::from)?;
        watch.advance(0)?;
        let i = event.request.index();
        let piece = piece(event, &mut trims[i]);
        sides[i].answer.add(&piece.text, piece.token, piece.finish);
    }
    Ok(sides)
}

/// What a side is called.
fn label(vectors: &[ResolvedVector], factor: f64, alpha: f64) -> String {
    let Some(first) = vectors.first().filter(|_| factor != 0.0) else { return "baseline".into() };
    let label = match first.how.op {
        Op::Add | Op::AddUntil(_) if alpha == 0.0 => "baseline".into(),
        Op::Add | Op::AddUntil(_) => format!("{:+} {}", rounded(alpha), first.unit),
        Op::Rotate => format!("{alpha:+} degrees"),
        op if alpha == 1.0 => op.name().into(),
        op => format!("{} {alpha}", op.name()),
    };
    match vectors.len() {
        1 => label,
        n => format!("{label}, {} more", n - 1),
    }
}

/// Rounds to as many digits as a person would write.
fn rounded(alpha: f64) -> f64 {
    (alpha * 1e4).round() / 1e4
}
