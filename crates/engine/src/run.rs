//! A model at work: generating, scoring, sharing what texts begin with, and deciding gates.

mod decide;
mod generate;
mod prefix;
mod sample;
mod score;

pub use decide::decide;
pub use generate::{Event, Finish, Generator, Request, RequestError, RequestId};
pub use prefix::{PrefixTree, Prefixes};
pub use sample::{Sampler, Sampling};
pub use score::{Continuation, log_probs, log_probs_among, score};
