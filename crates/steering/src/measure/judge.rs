//! How strongly answers show a trait, from 0 to 100, as a model judges it.

mod local;
mod panel;
mod rating;
mod replies;

pub use local::LocalJudge;
pub use panel::judge_all;
pub use rating::{Judge, JudgeReply, Rating, Rubric};
pub use replies::Replies;
