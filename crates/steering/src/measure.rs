//! Texts run under steerings, and the numbers that are read off: margins, divergences, cosines, answers, choices,
//! projections.

mod answers;
mod bench;
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

pub(crate) use answers::mean_repetition;
pub use answers::{Answer, AskOptions, asked_together, repetition};
pub use bench::Bench;
pub use choices::{Choice, ChoiceScore, ChoiceSet, ChoiceTest};
pub use classify::{Classifier, Leaning};
pub use cosine::{CosineCell, CosineTable, measure_cosine};
pub use divergence::{Divergence, divergences};
pub use judge::{Judge, JudgeReply, LocalJudge, Rating, Replies, Rubric, judge_all};
pub use lens::{Lens, TokenPush, lens};
pub(crate) use margin::Margins;
pub use neutral::neutral_texts;
pub use replay::Text;
pub use watch::{Projections, Ruler, midpoints, rulers, watch};
