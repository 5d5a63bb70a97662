//! Generation: requests that join and leave between steps, and the events of their answers.

mod beginning;
mod request;
mod schedule;
mod task;

use super::decide::look;
use crate::error::Error;
use crate::forward::{Batch, Model, NoTap, ROW_BUDGET, Session};
use crate::text::Tokenizer;
use beginning::Beginnings;
pub use request::{Event, Finish, Request, RequestError, RequestId};
use schedule::share;
use std::borrow::Borrow;
use std::collections::VecDeque;
use task::{Stage, Task};

/// Runs requests side by side: each step reads the weights once for all of them.
///
/// Requests may be admitted and cancelled between any two steps. What a request is answered, bit for bit, depends
/// on the request alone: not on the others, on when it was admitted, or on how its prompt was cut into pieces.
///
/// The generator borrows or owns its model and tokenizer: `Generator<&Model, &Tokenizer>` serves a function, and
/// `Generator<Arc<Model>, Arc<Tokenizer>>` can be sent to a thread and kept there.
///
/// It is an iterator over events. The iterator ends when no request is left, and goes on once another is admitted.
/// An error belongs to the requests that it names, and the others go on. A loop that serves calls
/// [`step`](Generator::step) instead.
///
/// ```
/// use std::{path::Path, sync::Arc};
/// use whipstaff_engine::{Finish, Generator, Isa, Model, Request, Tokenizer};
///
/// let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/llama-gqa-tied-bf16");
/// let model = Arc::new(Model::load(&folder, Isa::best())?);
/// let tokenizer = Arc::new(Tokenizer::load(&folder)?);
/// let request = |text: &str| {
///     Ok::<_, whipstaff_engine::Error>(Request {
///         prompt: tokenizer.encode(text)?,
///         max_tokens: 4,
///         ..Request::default()
///     })
/// };
///
/// let mut generator = Generator::new(model.clone(), tokenizer.clone());
/// let printer = generator.admit(request("Where is the printer?")?)?;
/// for event in generator.step() {
///     assert_eq!(event?.request, printer);
/// }
/// // Another request joins, and the first one is no longer wanted.
/// let stairs = generator.admit(request("Where are the stairs?")?)?;
/// generator.cancel(printer);
/// let events = generator.collect::<Result<Vec<_>, _>>()?;
/// assert!(events.iter().all(|event| event.request == stairs));
/// assert!(events.last().is_some_and(|event| event.finish == Some(Finish::Length)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Generator<M, T> {
    model: M,
    tokenizer: T,
    chunk: usize,
    n_admitted: u64,
    n_steps: u64,
    /// In order of admission.
    tasks: Vec<Task>,
    beginnings: Beginnings,
    /// The request that decodes first in the next step.
    turn: RequestId,
    events: VecDeque<Result<Event, RequestError>>,
}

impl<M: Borrow<Model>, T: Borrow<Tokenizer>> Generator<M, T> {
    /// Returns a generator without requests.
    pub fn new(model: M, tokenizer: T) -> Generator<M, T> {
        Generator {
            model,
            tokenizer,
            chunk: ROW_BUDGET,
            n_admitted: 0,
            n_steps: 0,
            tasks: Vec::new(),
            beginnings: Beginnings::default(),
            turn: RequestId(0),
            events: VecDeque::new(),
        }
    }

    /// Limits how many tokens of prompts run in one step beside requests that are being answered: that is how long
    /// these ever wait. Less makes them steadier and prompts slower. It is [`ROW_BUDGET`] unless it is set, and
    /// at least 1.
    #[must_use]
    pub fn with_chunk(self, n_tokens: usize) -> Generator<M, T> {
        Generator { chunk: n_tokens.max(1), ..self }
    }

    /// Admits several requests, whose [indices](RequestId::index) are those of their order.
    ///
    /// # Errors
    /// As for [`Generator::admit`].
    pub fn with_requests(
        mut self,
        requests: impl IntoIterator<Item = Request>,
    ) -> Result<Generator<M, T>, Error> {
        for request in requests {
            self.admit(request)?;
        }
        Ok(self)
    }

    /// Admits a request, which takes part from the next step on. Prompts that are admitted before the same step run
    /// what they have in common once, as far as no steering changes it.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::TooLong`] or [`Error::UnknownToken`] for a prompt that cannot run, and
    /// [`Error::SteeringMismatch`] for a steering that does not fit the model. Other requests are not affected.
    pub fn admit(&mut self, request: Request) -> Result<RequestId, Error> {
        check(self.model.borrow(), &request)?;
        let id = RequestId(self.n_admitted);
        self.n_admitted += 1;
        if request.max_tokens == 0 {
            let (text, finish) = (String::new(), Some(Finish::Length));
            self.events.push_back(Ok(Event { request: id, token: None, log_prob: None, text, finish }));
        } else {
            self.tasks.push(Task::new(id, self.n_steps, request));
        }
        Ok(id)
    }

    /// Ends a request: it takes part in no further step, and no event of it follows. Returns false if it had ended
    /// before.
    pub fn cancel(&mut self, id: RequestId) -> bool {
        let n_before = (self.tasks.len(), self.events.len());
        self.tasks.retain(|task| task.id != id);
        self.beginnings.retain_awaited(&self.tasks);
        self.events.retain(|event| match event {
            Ok(event) => event.request != id,
            Err(failed) => failed.requests != [id],
        });
        n_before != (self.tasks.len(), self.events.len())
    }

    /// Returns how many requests will take part in the next step.
    pub fn n_running(&self) -> usize {
        self.tasks.len()
    }

    /// Returns true if there is nothing to do and no event to take before another request is admitted.
    pub fn is_idle(&self) -> bool {
        self.tasks.is_empty() && self.events.is_empty()
    }

    /// Runs one step and returns its events, after those that were not taken before: at most one for each request,
    /// and none for those whose prompts have not run to the end.
    ///
    /// A step is one pass over at most [`ROW_BUDGET`] tokens, of which answers come first and prompts share the
    /// rest; and before it, while gates are undecided, a pass as far as the gates look, over a part of that rest.
    pub fn step(&mut self) -> impl Iterator<Item = Result<Event, RequestError>> {
        self.advance();
        std::iter::from_fn(|| self.events.pop_front())
    }

    /// Lets requests join, plans rows, runs them, chooses tokens and makes the events.
    fn advance(&mut self) {
        self.join();
        self.plan();
        if let Err(error) = self.decide().and_then(|()| self.run()) {
            let requests = self.tasks.drain(..).map(|task| task.id).collect();
            self.beginnings.clear();
            self.events.push_back(Err(RequestError { requests, error }));
        }
        self.n_steps += 1;
    }

    /// Lets each group run whose gates are all decided.
    fn join(&mut self) {
        for group in self.tasks.chunk_by_mut(|a, b| a.group == b.group) {
            if group.iter().all(|task| matches!(task.stage, Stage::Decided)) {
                self.beginnings.join(group, self.model.borrow());
            }
        }
    }

    /// Plans how many tokens of each request and each shared beginning run in this step: single tokens of answers
    /// first, so that a long prompt never holds up an answer, then pieces of prompts.
    fn plan(&mut self) {
        self.tasks.iter_mut().for_each(|task| task.n_rows = 0);
        let mut free = ROW_BUDGET;
        let first = self.tasks.partition_point(|task| task.id < self.turn);
        let (before, after) = self.tasks.split_at_mut(first);
        for task in after.iter_mut().chain(before).filter(|task| task.is_decoding()) {
            if free == 0 {
                self.turn = task.id;
                break;
            }
            task.n_rows = 1;
            free -= 1;
        }
        let is_answering = free < ROW_BUDGET;
        if is_answering {
            free = free.min(self.chunk);
        }
        let beginnings = self.beginnings.ready().map(|it| (it.pending.len(), &mut it.n_rows));
        let prompts = self.tasks.iter_mut().map(|task| (task.n_prompt_left(), &mut task.n_rows));
        let mut prompts: Vec<_> = beginnings.chain(prompts.filter(|(n_left, _)| *n_left > 0)).collect();
        share(&mut prompts, free);
    }

    /// Shows the planned pieces of prompts to the gates that are undecided.
    fn decide(&mut self) -> Result<(), Error> {
        let mut looking = Vec::new();
        for task in self.tasks.iter_mut().filter(|task| task.n_rows > 0) {
            if let Stage::Deciding(decision) = &mut task.stage {
                let tokens = &task.pending[decision.n_run()..][..task.n_rows];
                looking.push((&mut **decision, tokens));
            }
        }
        if !looking.is_empty() {
            look(self.model.borrow(), looking)?;
            self.tasks.iter_mut().for_each(Task::settle);
        }
        Ok(())
    }

    /// Runs the planned rows, and goes on with each request whose pending tokens are done.
    fn run(&mut self) -> Result<(), Error> {
        let (model, tokenizer): (&Model, &Tokenizer) = (self.model.borrow(), self.tokenizer.borrow());
        let mut batch = Batch::new();
        let mut last_rows = Vec::new();
        for beginning in self.beginnings.ready() {
            push(&mut batch, &mut beginning.session, &mut beginning.pending, beginning.n_rows);
        }
        for task in self.tasks.iter_mut().filter(|task| matches!(task.stage, Stage::Running)) {
            push(&mut batch, &mut task.session, &mut task.pending, task.n_rows);
            if task.pending.is_empty() {
                last_rows.push(batch.rows().len() - 1);
            }
        }
        if batch.rows().is_empty() {
            return Ok(());
        }
        let resid = model.forward(&mut batch, &mut NoTap)?;
        drop(batch);
        let logits = model.logits(&resid, &last_rows);
        let logits = model.host(&logits);
        // For many small sequences, choosing and putting into words takes as long as the blocks do.
        let waiting = self.tasks.iter_mut().filter(|task| task.pending.is_empty());
        let mut chosen: Vec<_> = waiting.map(|task| (task, None)).collect();
        model.cpu().for_each_mut(&mut chosen, |row, (task, event)| {
            *event = Some(task.choose(logits.row(row), model, tokenizer));
        });
        for (task, event) in chosen {
            let failed = |error| RequestError { requests: vec![task.id], error };
            self.events.extend(event.map(|event| event.map_err(failed)));
        }
        self.tasks.retain(|task| !task.has_ended);
        self.beginnings.hand_on(&mut self.tasks);
        Ok(())
    }
}

/// Refuses a request that cannot run on a model.
fn check(model: &Model, request: &Request) -> Result<(), Error> {
    let (config, prompt) = (model.config(), &request.prompt);
    let (vocab_size, max) = (config.vocab_size, config.max_positions);
    if prompt.is_empty() {
        return Err(Error::Empty);
    }
    if prompt.len() > max {
        return Err(Error::TooLong { tokens: prompt.len(), max });
    }
    if let Some(id) = prompt.iter().find(|id| **id as usize >= vocab_size) {
        return Err(Error::UnknownToken { id: *id, vocab_size });
    }
    request.steering.check(config)
}

/// Makes the next `n` pending tokens of a session rows of a batch.
fn push<'a>(batch: &mut Batch<'a>, session: &'a mut Session, pending: &mut Vec<u32>, n: usize) {
    if n > 0 {
        batch.push(session, &pending[..n]);
        pending.drain(..n);
    }
}

impl<M: Borrow<Model>, T: Borrow<Tokenizer>> Iterator for Generator<M, T> {
    type Item = Result<Event, RequestError>;

    fn next(&mut self) -> Option<Result<Event, RequestError>> {
        while self.events.is_empty() && !self.tasks.is_empty() {
            self.advance();
        }
        self.events.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steering::{Edit, Scope, Site, Span, Steering};
    use std::path::Path;
    use std::sync::Arc;
    use whipstaff_kernels::Isa;

    type Owned = Generator<Arc<Model>, Arc<Tokenizer>>;

    fn generator() -> Owned {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/llama-gqa-tied-bf16");
        let model = Model::load(&dir, Isa::best()).unwrap();
        Generator::new(Arc::new(model), Arc::new(Tokenizer::load(&dir).unwrap()))
    }

    fn request(n_prompt: u32, span: Option<Span>, max_tokens: usize) -> Request {
        let edit = Edit::add(1, Site::ResidPost, vec![1.0; 64]);
        let scope = |span| Scope { span, ..Scope::default() };
        let steering = Steering::new(span.map(|span| Edit { scope: scope(span), ..edit }));
        Request { prompt: (0..n_prompt).collect(), steering, max_tokens, ..Request::default() }
    }

    /// How many tokens of its prompt each request has left to run by itself, under steering with these spans.
    #[track_caller]
    fn check(spans: &[Option<Span>], want: &[usize]) {
        let requests = spans.iter().map(|span| request(70, *span, 1));
        let mut generator = generator().with_requests(requests).unwrap();
        generator.join();
        let left: Vec<usize> = generator.tasks.iter().map(|task| task.pending.len()).collect();
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

    #[test]
    fn a_beginning_is_dropped_with_the_last_request_that_waits_for_it() {
        let requests = [request(70, None, 1), request(70, None, 1), request(10, None, 1)];
        let mut generator = generator().with_requests(requests).unwrap();
        generator.join();
        assert_eq!(generator.beginnings.len(), 1);
        for (id, n_beginnings) in [(0, 1), (2, 1), (1, 0)] {
            assert!(generator.cancel(RequestId(id)));
            assert_eq!(generator.beginnings.len(), n_beginnings);
        }
        assert!(generator.is_idle());
    }

    #[test]
    fn answers_take_turns_when_there_are_more_of_them_than_rows() {
        let requests = (0..ROW_BUDGET + 100).map(|_| request(1, None, 3));
        let mut generator = generator().with_requests(requests).unwrap();
        let mut n_tokens = vec![0; ROW_BUDGET + 100];
        for _ in 0..2 {
            generator.step().for_each(|event| n_tokens[event.unwrap().request.index()] += 1);
        }
        assert!(n_tokens.iter().all(|n| [1, 2].contains(n)), "{n_tokens:?}");
    }

    #[test]
    fn a_generator_that_owns_its_model_can_be_sent_to_a_thread() {
        fn is_send<T: Send + 'static>(_: &T) {}
        is_send(&generator());
    }
}
