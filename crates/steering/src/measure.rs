//! Texts run under steerings, and the numbers that are read off: margins, divergences, cosines, answers, choices,
//! projections.

mod answers;
mod branches;
mod choices;
mod classify;
mod cosine;
mod divergence;
mod judge;
mod lens;
mod margin;
mod neutral;
mod replay;
mod watch;

pub use answers::{Answer, Asking, ask, ask_under_each, asked_together, perplexities, repetition};
pub(crate) use answers::{asking_to_measure, continuations, mean_repetition};
pub use choices::{Choice, ChoiceScore, ChoiceSet, Choosing};
pub use classify::{Classifier, Leaning};
pub use cosine::{CosineTable, measure_cosine};
pub use divergence::{Divergence, divergences};
pub use judge::{Judge, JudgeReply, LocalJudge, Rating, Rubric, Verdicts, judge_all};
pub use lens::{Lens, Pushed, lens};
pub(crate) use margin::Margins;
pub use neutral::neutral_texts;
pub use replay::Text;
pub use watch::{Ruler, Watched, midpoints, rulers, watch};
