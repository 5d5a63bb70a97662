//! Generation as an iterator over events, any number of requests at once.

use super::decide::decide;
use super::prefix::PrefixTree;
use super::sample::{Sampler, Sampling};
use crate::error::Error;
use crate::forward::{Batch, Model, NoTap, ROW_BUDGET, Session};
use crate::steering::Steering;
use crate::text::{TextStream, Tokenizer};
use std::collections::VecDeque;

/// Something to be continued.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The tokens to continue, at least one.
    pub prompt: Vec<u32>,
    /// The steering it runs under; what follows the prompt is its answer.
    pub steering: Steering,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// At most this many new tokens.
    pub max_tokens: usize,
    /// Texts that end the answer; they are not part of it.
    pub stop: Vec<String>,
    /// Tokens that end the answer, beside the model's own.
    pub stop_tokens: Vec<u32>,
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
    /// Index of the request, in the order given.
    pub request: usize,
    /// The token, a stop token included.
    pub token: Option<u32>,
    /// The text that became certain with it.
    pub text: String,
    /// Set on the last event of a request.
    pub finish: Option<Finish>,
}

/// Runs requests side by side: the weights are read once per step for all of them. A request's
/// tokens do not depend on the others.
pub struct Generator<'m> {
    model: &'m Model,
    tokenizer: &'m Tokenizer,
    running: Vec<Running>,
    prepared: bool,
    events: VecDeque<Event>,
}

struct Running {
    request: usize,
    session: Session,
    /// Tokens chosen or given, but not run yet.
    pending: Vec<u32>,
    sampler: Sampler,
    text: TextStream,
    stop_tokens: Vec<u32>,
    max_tokens: usize,
    n_generated: usize,
}

impl<'m> Generator<'m> {
    /// Prepares the requests; nothing runs until the first event is asked for.
    ///
    /// # Errors
    /// [`Error::Empty`] or [`Error::TooLong`] for a prompt that cannot run.
    pub fn new(
        model: &'m Model,
        tokenizer: &'m Tokenizer,
        requests: impl IntoIterator<Item = Request>,
    ) -> Result<Generator<'m>, Error> {
        let max = model.config().max_positions;
        let mut running = Vec::new();
        for (request, it) in requests.into_iter().enumerate() {
            if it.prompt.is_empty() {
                return Err(Error::Empty);
            }
            if it.prompt.len() > max {
                return Err(Error::TooLong { tokens: it.prompt.len(), max });
            }
            it.steering.check(model.config())?;
            let mut session = Session::steered(it.steering).with_prompt(it.prompt.len());
            session.expect(it.prompt.len());
            running.push(Running {
                request,
                session,
                pending: it.prompt,
                sampler: Sampler::new(it.sampling),
                text: TextStream::new(&it.stop),
                stop_tokens: it.stop_tokens,
                max_tokens: it.max_tokens,
                n_generated: 0,
            });
        }
        let mut generator = Generator { model, tokenizer, running, prepared: false, events: VecDeque::new() };
        generator.running.retain(|it| {
            let nothing_to_do = it.max_tokens == 0;
            if nothing_to_do {
                let finish = Some(Finish::Length);
                generator.events.push_back(Event {
                    request: it.request,
                    token: None,
                    text: String::new(),
                    finish,
                });
            }
            !nothing_to_do
        });
        Ok(generator)
    }

    /// Before the first step: gates are decided, and what prompts have in common runs once as far as no steering
    /// changes it.
    fn prepare(&mut self) -> Result<(), Error> {
        let prompts: Vec<Vec<u32>> = self.running.iter().map(|it| it.pending.clone()).collect();
        let prompts: Vec<&[u32]> = prompts.iter().map(|ids| &ids[..]).collect();
        let steerings: Vec<Steering> = self.running.iter().map(|it| it.session.steering().clone()).collect();
        let steerings = decide(self.model, &prompts, &steerings)?;
        let plain = |i: &usize| steerings[*i].first_position(prompts[*i].len()) >= prompts[*i].len();
        let (plain, steered): (Vec<usize>, Vec<usize>) = (0..prompts.len()).partition(plain);
        for i in steered {
            self.running[i].session.steering = steerings[i].clone();
        }
        let texts: Vec<&[u32]> = plain.iter().map(|i| prompts[*i]).collect();
        let tree = PrefixTree::new(self.model, &texts);
        let prefixes = tree.run(self.model, &texts, self.model.config().n_layers)?;
        for (text, i) in plain.into_iter().enumerate() {
            let shared = prefixes.session(text).with_prompt(prompts[i].len());
            let it = &mut self.running[i];
            it.session = shared.fork_before(steerings[i].clone());
            it.session.expect(prompts[i].len());
            it.pending.drain(..tree.shared_len(text));
        }
        Ok(())
    }

    /// Plan rows, run them, sample, emit.
    fn step(&mut self) -> Result<(), Error> {
        if !std::mem::replace(&mut self.prepared, true) {
            self.prepare()?;
        }
        let plan = self.plan();
        for event in self.run(&plan)? {
            self.events.push_back(event?);
        }
        let events = &self.events;
        let finished = |it: &Running| events.iter().any(|e| e.request == it.request && e.finish.is_some());
        self.running.retain(|it| !finished(it));
        Ok(())
    }

    /// How many pending tokens of each request run in this step: single tokens of answers first,
    /// so that a long prompt never holds up a running answer, then pieces of prompts.
    fn plan(&self) -> Vec<usize> {
        let mut free = ROW_BUDGET;
        let mut plan = vec![0; self.running.len()];
        let decoding_first = [true, false];
        for decoding in decoding_first {
            for (n, it) in plan.iter_mut().zip(&self.running) {
                if (it.pending.len() == 1) == decoding {
                    *n = it.pending.len().min(free);
                    free -= *n;
                }
            }
        }
        plan
    }

    /// Runs the planned rows, and goes on with each request whose pending tokens are done.
    fn run(&mut self, plan: &[usize]) -> Result<Vec<Result<Event, Error>>, Error> {
        let mut batch = Batch::new();
        let mut last_rows = Vec::new();
        for (it, n) in self.running.iter_mut().zip(plan) {
            if *n == 0 {
                continue;
            }
            let tokens: Vec<u32> = it.pending.drain(..n).collect();
            batch.push(&mut it.session, &tokens);
            if it.pending.is_empty() {
                last_rows.push(batch.rows().len() - 1);
            }
        }
        let resid = self.model.forward(&mut batch, &mut NoTap)?;
        drop(batch);
        let logits = self.model.logits(&resid, &last_rows);
        let logits = self.model.host(&logits);
        if logits.as_slice().iter().any(|x| x.is_nan()) {
            return Err(Error::NotANumber);
        }
        // For many small sequences, choosing and putting into words takes as long as the blocks do.
        let waiting = self.running.iter_mut().filter(|it| it.pending.is_empty());
        let mut taken: Vec<_> = waiting.map(|it| (it, None)).collect();
        self.model.cpu().for_each_mut(&mut taken, |row, (it, event)| {
            let token = it.sampler.choose(self.model, logits.row(row), it.session.tokens());
            *event = Some(it.take(token, self.model, self.tokenizer));
        });
        Ok(taken.into_iter().filter_map(|(_, event)| event).collect())
    }
}

impl Running {
    /// Takes a chosen token: text, and whether the answer ends with it.
    fn take(&mut self, token: u32, model: &Model, tokenizer: &Tokenizer) -> Result<Event, Error> {
        self.n_generated += 1;
        self.pending.push(token);
        let eos = model.config().eos_tokens.contains(&token) || self.stop_tokens.contains(&token);
        let mut text = if eos { String::new() } else { self.text.push(token, tokenizer)? };
        let finish = if eos {
            Some(Finish::Eos)
        } else if self.text.stopped() {
            Some(Finish::Stop)
        } else if self.n_generated >= self.max_tokens {
            Some(Finish::Length)
        } else if self.session.tokens().len() + 1 > model.config().max_positions {
            Some(Finish::Context)
        } else {
            None
        };
        if finish.is_some() {
            text += &self.text.finish(tokenizer)?;
        }
        Ok(Event { request: self.request, token: Some(token), text, finish })
    }
}

impl Iterator for Generator<'_> {
    type Item = Result<Event, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.events.is_empty() && !self.running.is_empty() {
            if let Err(error) = self.step() {
                self.running.clear();
                return Some(Err(error));
            }
        }
        self.events.pop_front().map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steering::{Edit, Scope, Site, Span};
    use std::path::Path;
    use whipstaff_kernels::Isa;

    /// How many tokens of its prompt each request has left to run by itself, under steering with these spans.
    #[track_caller]
    fn check(spans: &[Option<Span>], want: &[usize]) {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/llama-gqa-tied-bf16");
        let (model, tokenizer) = (Model::load(&dir, Isa::best()).unwrap(), Tokenizer::load(&dir).unwrap());
        let steering = |span: &Option<Span>| {
            let edit = Edit::add(1, Site::ResidPost, vec![1.0; 64]);
            let scope = |span| Scope { span, ..Scope::default() };
            Steering::new(span.map(|span| Edit { scope: scope(span), ..edit }))
        };
        let request = |span| Request {
            prompt: (0..70).collect(),
            steering: steering(span),
            max_tokens: 1,
            ..Request::default()
        };
        let mut generator = Generator::new(&model, &tokenizer, spans.iter().map(request)).unwrap();
        generator.prepare().unwrap();
        let left: Vec<usize> = generator.running.iter().map(|it| it.pending.len()).collect();
        assert_eq!(left, want, "{spans:?}");
    }

    #[test]
    fn prompts_are_shared_as_far_as_no_steering_changes_them() {
        let (all, answer) = (Some(Span::All), Some(Span::Answer));
        check(&[None, answer, answer], &[1, 1, 1]);
        check(&[None, all, answer], &[1, 70, 1]);
        check(&[all, all, Some(Span::Prompt)], &[70, 70, 70]);
        check(&[answer], &[70]);
    }
}
