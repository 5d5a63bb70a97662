//! Asking a model, steered or not: as a stream, as one answer, or side by side.

use crate::compare::{SideBySide, compare};
use crate::error::Error;
use crate::frames::FrameChoice;
use crate::model::LanguageModel;
use crate::steer::SteeredBy;
use crate::stream::Stream;
use std::sync::Arc;
use whipstaff_engine::{
    Continuation, Error as EngineError, Generator, Message, Model, Request, Sampling, Tokenizer,
};
use whipstaff_steering::{Answer, Frame, RemarkKind, said, solve_kl};

/// A generator that owns its model: it can be sent to a thread, and kept there.
pub type OwnedGenerator = Generator<Arc<Model>, Arc<Tokenizer>>;

/// New tokens of an answer, if nobody says how many.
const MAX_TOKENS: usize = 128;

/// How much of the unsteered answer a budget is measured on.
const BUDGETED_TOKENS: usize = 48;

impl LanguageModel {
    /// Asks what a user says.
    ///
    /// ```
    /// # let model = whipstaff::embedded()?;
    /// for piece in model.ask("Where is the printer?").max_tokens(6).stream()? {
    ///     print!("{}", piece?);
    /// }
    /// # Ok::<(), whipstaff::Error>(())
    /// ```
    pub fn ask(&self, prompt: &str) -> Ask {
        self.chat(said(prompt))
    }

    /// Continues a conversation.
    ///
    /// ```
    /// use whipstaff::prelude::*;
    ///
    /// let model = whipstaff::embedded()?;
    /// let messages = vec![Message::new(Role::User, "Where is the printer?")];
    /// let answer = model.chat(messages).max_tokens(6).answer()?;
    /// assert_eq!(answer.tokens.len(), 6);
    /// # Ok::<(), whipstaff::Error>(())
    /// ```
    pub fn chat(&self, messages: Vec<Message>) -> Ask {
        Ask {
            model: self.clone(),
            messages,
            steered: SteeredBy::default(),
            scale: 1.0,
            frame: FrameChoice::default(),
            found_frame: None,
            sampling: Sampling::default(),
            max_tokens: MAX_TOKENS,
            stop: Vec::new(),
            log_probs: false,
        }
    }

    /// Asks a prompt unsteered, as asked for, and (where that means something) the other way, all in one batch.
    ///
    /// # Errors
    ///
    /// Those of [`Ask::compare`].
    ///
    /// ```
    /// # let model = whipstaff::embedded()?;
    /// # let vector = model.extractor().recommend(0).receipt(0).run(&whipstaff::embedded::contrasts()?.first(8))?;
    /// let steering = model.steering(&[vector.at(1.0).layers("3")?])?;
    /// let sides = model.compare("Where is the printer?", &steering)?;
    /// assert_eq!(sides.iter().map(|side| side.factor).collect::<Vec<_>>(), [0.0, 1.0, -1.0]);
    /// # Ok::<(), whipstaff::Error>(())
    /// ```
    pub fn compare(&self, prompt: &str, steered: impl Into<SteeredBy>) -> Result<SideBySide, Error> {
        self.ask(prompt).steered(steered).compare()
    }

    /// Returns a generator without requests, for a loop that admits and cancels them: see [`Ask::request`].
    ///
    /// # Errors
    ///
    /// Returns [`Error::Tokenizer`] for a model without one.
    pub fn generator(&self) -> Result<OwnedGenerator, Error> {
        Ok(Generator::new(self.engine().clone(), self.tokenizer()?.clone()))
    }
}

/// A conversation to be continued, and how. Nothing runs until [`Ask::stream`], [`Ask::answer`] or [`Ask::compare`].
#[derive(Clone)]
pub struct Ask {
    model: LanguageModel,
    messages: Vec<Message>,
    steered: SteeredBy,
    /// What every alpha is multiplied with.
    scale: f64,
    frame: FrameChoice,
    /// The frame that the choice has come to, once a budget needed it: remarks about it are made once.
    found_frame: Option<Frame>,
    sampling: Sampling,
    max_tokens: usize,
    stop: Vec<String>,
    log_probs: bool,
}

impl Ask {
    /// Steers the answer.
    pub fn steered(mut self, by: impl Into<SteeredBy>) -> Ask {
        (self.steered, self.found_frame) = (by.into(), None);
        self
    }

    /// Chooses the frame and the system message.
    pub fn frame(mut self, frame: FrameChoice) -> Ask {
        (self.frame, self.found_frame) = (frame, None);
        self
    }

    /// Gives the conversation a system message, if it has none.
    pub fn system(mut self, text: impl Into<String>) -> Ask {
        self.frame.system = Some(text.into());
        self.found_frame = None;
        self
    }

    /// Chooses how tokens are chosen; the default takes the most likely token each time.
    pub fn sampling(mut self, sampling: Sampling) -> Ask {
        self.sampling = sampling;
        self
    }

    /// Limits the number of new tokens; the default is 128.
    pub fn max_tokens(mut self, n: usize) -> Ask {
        self.max_tokens = n;
        self
    }

    /// Ends the answer at a text, which is not part of it; may be called several times.
    pub fn stop(mut self, text: impl Into<String>) -> Ask {
        self.stop.push(text.into());
        self
    }

    /// Measures the log-probability of every token.
    pub fn log_probs(mut self) -> Ask {
        self.log_probs = true;
        self
    }

    /// Scales all alphas by one factor, so that the answer's tokens are moved by so many nats on average: the KL from
    /// the unsteered model, measured on what it would answer unsteered. What that comes to is remarked.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Steering`] if no factor spends the budget.
    pub fn budget(mut self, nats: f64) -> Result<Ask, Error> {
        let frame = self.resolved_frame()?;
        let prompt = self.prompt_in(&frame)?;
        let unsteered = Request {
            prompt: prompt.clone(),
            max_tokens: BUDGETED_TOKENS,
            stop: frame.stops(),
            stop_tokens: frame.stop_tokens(),
            ..Request::default()
        };
        let mut tokens = Vec::new();
        for event in self.model.generator()?.with_requests([unsteered])? {
            tokens.extend(event.map_err(EngineError::from)?.token);
            self.model.watch().advance(0)?;
        }
        let texts = [Continuation { prompt, tokens }];
        let steering = |factor| match &self.steered {
            SteeredBy::Request(resolved) => resolved.steering(factor),
            SteeredBy::Edits(steering) => Ok(steering.clone()),
        };
        let solved = solve_kl(self.model.engine(), &texts, nats, 1.0, steering)?;
        self.scale = solved.factor;
        let text = format!(
            "{:.3} nats per token at {:.3} times the alphas: the first is {:.3}",
            solved.kl,
            solved.factor,
            self.alpha()
        );
        self.model.remark(RemarkKind::Budget, text);
        self.found_frame = Some(frame);
        Ok(self)
    }

    /// Returns the prompt in tokens.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Tokenizer`] for a model without a tokenizer, and those of [`LanguageModel::frame`].
    pub fn prompt_ids(&self) -> Result<Vec<u32>, Error> {
        self.prompt_in(&self.resolved_frame()?)
    }

    /// Returns the request for the engine, for a loop that drives [`LanguageModel::generator`] itself.
    ///
    /// # Errors
    ///
    /// Those of [`Ask::prompt_ids`], and [`Error::Steering`] for an alpha that is too large to compute with.
    pub fn request(&self) -> Result<Request, Error> {
        let frame = self.resolved_frame()?;
        self.request_at(1.0, &frame, self.prompt_in(&frame)?)
    }

    /// Runs the request, and yields the answer piece by piece. Dropping the stream ends the answer.
    ///
    /// # Errors
    ///
    /// Those of [`Ask::request`].
    pub fn stream(&self) -> Result<Stream, Error> {
        let frame = self.resolved_frame()?;
        let request = self.request_at(1.0, &frame, self.prompt_in(&frame)?)?;
        let generator = self.model.generator()?.with_requests([request])?;
        Ok(Stream::new(generator, self.model.watch().clone(), is_raw(&frame)))
    }

    /// Runs the request to its end.
    ///
    /// # Errors
    ///
    /// Those of [`Ask::stream`], and [`Error::Steering`] if the watcher asks to stop.
    pub fn answer(&self) -> Result<Answer, Error> {
        self.stream()?.answer()
    }

    /// Runs the request unsteered, as asked for, and (where each operator has an opposite) the other way, in one batch.
    ///
    /// # Errors
    ///
    /// Those of [`Ask::answer`].
    pub fn compare(&self) -> Result<SideBySide, Error> {
        let has_opposite = match &self.steered {
            SteeredBy::Request(resolved) => {
                resolved.vectors().iter().all(|vector| vector.how.op.has_opposite())
            }
            SteeredBy::Edits(_) => false,
        };
        self.compare_at(if has_opposite { &[0.0, 1.0, -1.0] } else { &[0.0, 1.0] })
    }

    /// Runs the request at several factors of its alphas, in one batch: 0 is the plain model, 1 as asked for, −1 the
    /// other way.
    ///
    /// # Errors
    ///
    /// Those of [`Ask::answer`].
    pub fn compare_at(&self, factors: &[f64]) -> Result<SideBySide, Error> {
        let frame = self.resolved_frame()?;
        let prompt = self.prompt_in(&frame)?;
        let request = |factor: &f64| self.request_at(*factor, &frame, prompt.clone());
        let requests = factors.iter().map(request).collect::<Result<Vec<_>, _>>()?;
        let generator = self.model.generator()?.with_requests(requests)?;
        let vectors = match &self.steered {
            SteeredBy::Request(resolved) => resolved.vectors(),
            SteeredBy::Edits(_) => &[],
        };
        compare(generator, self.model.watch(), is_raw(&frame), vectors, factors, self.scale)
    }

    /// Returns the alpha of the first vector; 0 without one.
    fn alpha(&self) -> f64 {
        match &self.steered {
            SteeredBy::Request(resolved) => {
                resolved.vectors().first().map_or(0.0, |first| first.alpha * self.scale)
            }
            SteeredBy::Edits(_) => 0.0,
        }
    }

    fn resolved_frame(&self) -> Result<Frame, Error> {
        match &self.found_frame {
            Some(frame) => Ok(frame.clone()),
            None => self.model.frame(&self.frame, self.steered.frame()),
        }
    }

    fn prompt_in(&self, frame: &Frame) -> Result<Vec<u32>, Error> {
        Ok(frame.prompt_ids(self.model.tokenizer()?, &self.messages)?)
    }

    fn request_at(&self, factor: f64, frame: &Frame, prompt: Vec<u32>) -> Result<Request, Error> {
        Ok(Request {
            prompt,
            steering: self.steered.at(factor * self.scale)?,
            sampling: self.sampling,
            max_tokens: self.max_tokens,
            stop: frame.stops().into_iter().chain(self.stop.iter().cloned()).collect(),
            stop_tokens: frame.stop_tokens(),
            log_probs: self.log_probs,
        })
    }
}

/// A framed answer begins with the space that joins it to the frame; a raw one is kept as it is.
fn is_raw(frame: &Frame) -> bool {
    frame.name() == "none"
}
