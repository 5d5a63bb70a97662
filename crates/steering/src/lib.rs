//! Contrasts to persona vectors, vectors to steering, steering to evidence.
//!
//! A [`ContrastSet`] holds user questions, each with two answers. [`extract`] runs a model over them and fits a
//! [`PersonaVector`]: one unit direction per layer, with its statistics and its provenance. A vector with an alpha, a
//! [`Unit`] and layers is a [`Dose`]; with an operator, a scope and a gate it is an [`Instruction`]. Both become the
//! engine's `Steering`. A [`SteerSpec`] is an instruction as it is written down, and [`resolve`] reads it for a model.
//!
//! A [`Bench`] is a model at work. Its methods measure what a steering does: [`Bench::shifts`], [`Bench::ask`],
//! [`Bench::recommend`], [`Bench::receipt`]. An [`Extraction`] does all of it: fit, choose a dose, measure the receipt.
//!
//! The crate has never heard of HTTP, command lines or terminals.
//!
//! Its wings, from the ground up; each uses those above it in the list and no other:
//!
//! - `error`, `progress`, `passes`: the ground;
//! - `math`: numbers only;
//! - `contrasts`: what a model is given to read;
//! - `vector`: what a vector is, and its files;
//! - `fit`: contrasts to directions;
//! - `steer`: a request to a steering;
//! - `measure`: texts under steerings, numbers read off them;
//! - `evidence`: whether a vector works, how much of it is best, and at what cost.

#![forbid(unsafe_code)]

mod error;
mod passes;
mod progress;

mod math;

mod contrasts;

mod vector;

mod fit;

mod steer;

mod measure;

mod evidence;

pub use contrasts::{Contrast, ContrastSet, Frame, FrameId, PromptLine, TokenRule, read_prompts, said};
pub use error::{Error, SteerError};
pub use evidence::{Controls, Extraction, Interference, PERPLEXITY_BUDGET, Solved, solve_kl, study, sweep};
pub use fit::{AnswerRows, ExtractOptions, Method, extract};
pub use math::{Estimate, ShiftEstimate, estimate_shift};
pub use measure::{
    Answer, AskOptions, Bench, Choice, ChoiceScore, ChoiceSet, ChoiceTest, Classifier, CosineCell,
    CosineTable, Divergence, Judge, JudgeReply, Leaning, Lens, LocalJudge, Projections, Rating, Replies,
    Rubric, Ruler, Text, TokenPush, asked_together, divergences, judge_all, lens, measure_cosine, midpoints,
    neutral_texts, repetition, rulers, watch,
};
pub use passes::passes;
pub use progress::{Remark, RemarkKind, Unwatched, Watch};
pub use steer::{
    Amount, Application, Cosines, Dose, FieldError, GateRequest, GateSpec, Instruction, Mix, ModelFacts, Op,
    Part, Resolved, ResolvedVector, SteerSpec, TokenFilter, VectorDose, WeightsDigest, combine, compose,
    resolve, resolve_doses, resolve_without_model, same_gaps, shared_layers, steering_of,
};
pub use vector::{
    Arm, ArmKind, Convention, Cost, Effect, FORMAT_VERSION, LayerDirection, LayerSpec, ModelId, Nuisance,
    Orthogonal, PersonaVector, Provenance, Receipt, Recipe, RecipePart, Recommendation, Unit, Verdict,
    layers_text,
};
