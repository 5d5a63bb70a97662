//! Contrasts to persona vectors, vectors to steering, steering to evidence.
//!
//! A [`ContrastSet`] holds user questions, each with two answers. [`extract`] runs a model over
//! them and fits a [`PersonaVector`]: one unit direction per layer, with its statistics and where
//! it came from. A vector with an alpha, a [`Unit`] and layers is a [`Dose`], with an operator, a scope and a gate an
//! [`Instruction`]; both become the engine's `Steering`. [`SteerSpec`] is an instruction as it is written down.
//! [`measure_cosine`] and [`recommend`] say what that does to the model.
//!
//! The crate has never heard of HTTP, command lines or terminals.
//!
//! Reading order: `contrasts`, `frame`, `tokens`, `extract`, `methods`, `vector`, `file`, `control`, `dial`, `layers`,
//! `instruction`, `schema`, `words`, `replay`, `recommend`, `answers`, `classify`, `cosine`,
//! `watch`, `compose`, `interference`, `lens`.

#![forbid(unsafe_code)]

mod answers;
mod branches;
mod budget;
mod choices;
mod classify;
mod compose;
mod contrasts;
mod control;
mod cosine;
mod dial;
mod divergence;
mod error;
mod extract;
mod file;
mod frame;
mod instruction;
mod interference;
mod judge;
mod layers;
mod lens;
mod linalg;
mod margin;
mod measured;
mod methods;
mod progress;
mod random;
mod receipt;
mod recommend;
mod replay;
mod schema;
mod stats;
pub mod study;
pub mod sweep;
mod tokens;
mod vector;
mod watch;
mod words;

pub use answers::{Answer, Asking, ask, ask_under_each, asked_together, perplexities};
pub use budget::{Solved, solve_kl};
pub use choices::{Choice, ChoiceScore, ChoiceSet, Choosing};
pub use classify::{Classifier, Leaning};
pub use compose::{Cosines, Mix, Orthogonal, Part, Recipe, RecipePart, compose, same_gaps, shared_layers};
pub use contrasts::{Contrast, ContrastSet};
pub use control::Convention;
pub use cosine::{CosineCell, CosineTable, measure_cosine};
pub use dial::{Dose, Unit, combine};
pub use divergence::{Divergence, divergences};
pub use error::Error;
pub use extract::{AnswerRows, ExtractOptions, extract};
pub use file::FORMAT_VERSION;
pub use frame::{Frame, FrameId};
pub use instruction::{GateSpec, How, Instruction, Op, TokenFilter, steering_of};
pub use interference::{Interference, Moved, interference};
pub use judge::{Judge, JudgeReply, LocalJudge, Rating, Rubric, Verdicts, judge_all};
pub use layers::{LayerSpec, layers_text};
pub use lens::{Lens, Pushed, lens};
pub use measured::{Measured, measured};
pub use methods::Method;
pub use progress::{Remark, RemarkKind, Unwatched, Watch};
pub use receipt::{
    Arm, ArmKind, Cost, Effect, Nuisance, Receipt, ReceiptOptions, Verdict, receipt, repetition,
};
pub use recommend::{PERPLEXITY_BUDGET, recommend};
pub use replay::{Text, passes};
pub use schema::{FieldError, GateRequest, SteerSpec};
pub use tokens::TokenRule;
pub use vector::{LayerDirection, ModelId, PersonaVector, Provenance, Recommendation};
pub use watch::{Ruler, Watched, midpoints, rulers, watch};
