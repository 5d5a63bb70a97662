//! A request at work.

use super::request::{Event, Finish, Request, RequestId};
use crate::error::Error;
use crate::forward::{Model, Session};
use crate::run::decide::Decision;
use crate::run::sample::Sampler;
use crate::text::{TextStream, Tokenizer};

/// A request that was admitted and has not ended.
pub(super) struct Task {
    pub(super) id: RequestId,
    /// Requests that were admitted before the same step have the same number.
    pub(super) group: u64,
    pub(super) stage: Stage,
    pub(super) session: Session,
    /// Tokens of the prompt or the answer that have not run.
    pub(super) pending: Vec<u32>,
    /// How many tokens run in this step.
    pub(super) n_rows: usize,
    /// Whether its last event has been made.
    pub(super) has_ended: bool,
    sampler: Sampler,
    text: TextStream,
    stop_tokens: Vec<u32>,
    max_tokens: usize,
    n_generated: usize,
    has_log_probs: bool,
}

/// How far a request has come.
pub(super) enum Stage {
    /// Its gates look at the prompt.
    Deciding(Box<Decision>),
    /// It has no gates left, and waits for those who came with it.
    Decided,
    /// It waits for the beginning with this number.
    Behind(usize),
    /// Its own tokens run.
    Running,
}

impl Task {
    pub(super) fn new(id: RequestId, group: u64, request: Request) -> Task {
        let n_prompt = request.prompt.len();
        let stage = if request.steering.is_gated() {
            Stage::Deciding(Box::new(Decision::new(request.steering.clone(), n_prompt)))
        } else {
            Stage::Decided
        };
        let mut session = Session::steered(request.steering).with_prompt(n_prompt);
        session.expect(n_prompt);
        Task {
            id,
            group,
            stage,
            session,
            pending: request.prompt,
            n_rows: 0,
            has_ended: false,
            sampler: Sampler::new(request.sampling),
            text: TextStream::new(&request.stop),
            stop_tokens: request.stop_tokens,
            max_tokens: request.max_tokens,
            n_generated: 0,
            has_log_probs: request.log_probs,
        }
    }

    /// Returns true if one row is all that it waits for.
    pub(super) fn is_decoding(&self) -> bool {
        matches!(self.stage, Stage::Running) && self.pending.len() == 1
    }

    /// Returns how many tokens of its prompt could run now.
    pub(super) fn n_prompt_left(&self) -> usize {
        match &self.stage {
            Stage::Deciding(decision) => self.pending.len() - decision.n_run(),
            Stage::Running if self.pending.len() > 1 => self.pending.len(),
            _ => 0,
        }
    }

    /// Returns true if it waits for beginning `id`.
    pub(super) fn is_behind(&self, id: usize) -> bool {
        matches!(self.stage, Stage::Behind(beginning) if beginning == id)
    }

    /// Returns true if the prompt runs as if there were no steering.
    pub(super) fn is_prompt_unsteered(&self) -> bool {
        self.session.steering().first_position(self.pending.len()) >= self.pending.len()
    }

    /// Takes its decided steering once its gates have seen the whole prompt.
    pub(super) fn settle(&mut self) {
        if let Stage::Deciding(decision) = &self.stage
            && decision.n_run() == self.pending.len()
        {
            self.session.steering = decision.steering();
            self.stage = Stage::Decided;
        }
    }

    /// Goes on from a beginning that has run.
    pub(super) fn go_on_from(&mut self, beginning: &Session) {
        let shared = beginning.fork().with_prompt(self.session.n_prompt().unwrap_or_default());
        self.session = shared.fork_before(self.session.steering().clone());
        self.stage = Stage::Running;
    }

    /// Chooses the next token from its logits, `[vocab_size]`, and makes the event of it.
    ///
    /// # Errors
    /// [`Error::NotANumber`] for logits that hold a NaN; [`Error::Tokenize`].
    pub(super) fn choose(
        &mut self,
        logits: &[f32],
        model: &Model,
        tokenizer: &Tokenizer,
    ) -> Result<Event, Error> {
        // Set for the case that one of the following fails.
        self.has_ended = true;
        if logits.iter().any(|x| x.is_nan()) {
            return Err(Error::NotANumber);
        }
        let token = self.sampler.choose(model, logits, self.session.tokens());
        let log_prob = || f64::from(logits[token as usize]) - model.log_sum(logits);
        let log_prob = self.has_log_probs.then(log_prob);
        self.n_generated += 1;
        self.pending.push(token);
        let config = model.config();
        let is_eos = config.eos_tokens.contains(&token) || self.stop_tokens.contains(&token);
        let mut text = if is_eos { String::new() } else { self.text.push(token, tokenizer)? };
        let finish = if is_eos {
            Some(Finish::Eos)
        } else if self.text.stopped() {
            Some(Finish::Stop)
        } else if self.n_generated >= self.max_tokens {
            Some(Finish::Length)
        } else if self.session.tokens().len() + 1 > config.max_positions {
            Some(Finish::Context)
        } else {
            None
        };
        if finish.is_some() {
            text += &self.text.finish(tokenizer)?;
        }
        self.has_ended = finish.is_some();
        Ok(Event { request: self.id, token: Some(token), log_prob, text, finish })
    }
}
