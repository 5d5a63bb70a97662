//! What is asked of a generator, and what it answers.

use crate::error::Error;
use crate::run::sample::Sampling;
use crate::steering::Steering;
use std::fmt;

/// A prompt to be continued.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The tokens to continue, at least one.
    pub prompt: Vec<u32>,
    /// The steering that the request runs under; what follows the prompt is its answer.
    pub steering: Steering,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// The most new tokens.
    pub max_tokens: usize,
    /// Texts that end the answer; they are not part of it.
    pub stop: Vec<String>,
    /// Tokens that end the answer, besides the model's own.
    pub stop_tokens: Vec<u32>,
    /// Whether events carry log-probabilities.
    pub log_probs: bool,
}

/// Tells a request from all others that its generator has admitted or will admit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(super) u64);

impl RequestId {
    /// Returns how many requests the generator had admitted before this one.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model produced a stop token.
    Eos,
    /// A stop string was reached.
    Stop,
    /// `max_tokens` were generated.
    Length,
    /// The model's context is full.
    Context,
}

/// One token of one request, or its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The request.
    pub request: RequestId,
    /// The token, a stop token included.
    pub token: Option<u32>,
    /// The token's log-probability under the steered model, in nats, before penalties, temperature and filters; if
    /// the request asked for it.
    pub log_prob: Option<f64>,
    /// The text that became certain with the token.
    pub text: String,
    /// Set on the last event of a request.
    pub finish: Option<Finish>,
}

/// An error that ended requests in the middle of their answers; no event of theirs follows.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct RequestError {
    /// The requests that ended: the one whose error it is, or, if a whole step failed, all.
    pub requests: Vec<RequestId>,
    /// What went wrong.
    pub error: Error,
}

impl From<RequestError> for Error {
    fn from(failed: RequestError) -> Error {
        failed.error
    }
}
