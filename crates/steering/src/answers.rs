//! Asking a model questions under a steering, and how natural its answers are to it unsteered.

use crate::{Error, Frame, Progress};
use whipstaff_engine::{
    Continuation, Finish, Generator, Model, Request, Sampling, Steering, Tokenizer, score,
};

/// How questions are asked.
#[derive(Clone, Debug)]
pub struct Asking {
    /// The frame around each question.
    pub frame: Frame,
    /// How tokens are chosen; question `i` uses the seed plus `i`.
    pub sampling: Sampling,
    /// New tokens at most.
    pub max_tokens: usize,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Its text, without the space that joins it to the prompt.
    pub text: String,
    /// Its tokens, a stop token included.
    pub tokens: Vec<u32>,
    /// Why it ended.
    pub finish: Finish,
}

/// Requests that decode together. More would share the weights among more rows, but their keys and
/// values add up: with the 1B shape, 32 answers of 100 tokens take 200 MB.
const TOGETHER: usize = 32;

/// Asks every question under `steering`.
///
/// # Errors
/// [`Error::Engine`] for questions that the model cannot run; [`Error::Interrupted`].
pub fn ask(
    model: &Model,
    tokenizer: &Tokenizer,
    questions: &[String],
    steering: &Steering,
    asking: &Asking,
    progress: &dyn Progress,
) -> Result<Vec<Answer>, Error> {
    let mut answers = Vec::new();
    for questions in questions.chunks(TOGETHER) {
        let request = |(i, question): (usize, &String)| {
            let seed = asking.sampling.seed.wrapping_add((answers.len() + i) as u64);
            Ok(Request {
                prompt: asking.frame.prompt_ids(tokenizer, None, question)?,
                steering: steering.clone(),
                sampling: Sampling { seed, ..asking.sampling },
                max_tokens: asking.max_tokens,
                stop: asking.frame.stops(),
            })
        };
        let requests = questions.iter().enumerate().map(request).collect::<Result<Vec<_>, Error>>()?;
        answers.extend(run(model, tokenizer, requests)?);
        progress.advance(questions.len())?;
    }
    Ok(answers)
}

fn run(model: &Model, tokenizer: &Tokenizer, requests: Vec<Request>) -> Result<Vec<Answer>, Error> {
    let empty = Answer { text: String::new(), tokens: Vec::new(), finish: Finish::Length };
    let mut answers = vec![empty; requests.len()];
    for event in Generator::new(model, tokenizer, requests)? {
        let event = event?;
        let answer = &mut answers[event.request];
        answer.text += &event.text;
        answer.tokens.extend(event.token);
        answer.finish = event.finish.unwrap_or(answer.finish);
    }
    answers.iter_mut().for_each(|answer| answer.text = answer.text.trim().to_owned());
    Ok(answers)
}

/// The perplexity of answers under the unsteered model: the exponential of the mean negative
/// log-probability over all their tokens.
///
/// # Errors
/// As for [`ask`].
pub fn perplexity(
    model: &Model,
    tokenizer: &Tokenizer,
    frame: &Frame,
    questions: &[String],
    answers: &[Answer],
) -> Result<f64, Error> {
    let mut texts = Vec::new();
    for (question, answer) in questions.iter().zip(answers).filter(|(_, answer)| !answer.tokens.is_empty()) {
        let prompt = frame.prompt_ids(tokenizer, None, question)?;
        texts.push(Continuation { prompt, tokens: answer.tokens.clone() });
    }
    let scores = score(model, &texts)?.concat();
    Ok((-scores.iter().sum::<f64>() / scores.len() as f64).exp())
}
