//! Asking a model questions under a steering, and how natural its answers are to it unsteered.

use crate::contrasts::Frame;
use crate::error::Error;
use crate::math::mean;
use crate::progress::Watch;
use whipstaff_engine::{
    Continuation, Finish, Generator, Message, Model, Request, Sampling, Steering, Tokenizer, score,
};

/// How questions are asked.
#[derive(Clone)]
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

/// Memory for the keys and values of requests that decode together. More of them would share the
/// weights among more rows.
const CACHE_BUDGET: usize = 192 << 20;

/// How many requests decode together that keep so many bytes of keys and values each.
pub fn asked_together(bytes_each: usize) -> usize {
    (CACHE_BUDGET / bytes_each.max(1)).clamp(8, 256)
}

/// How many requests of `len` tokens decode together.
fn together(model: &Model, len: usize) -> usize {
    let config = model.config();
    let per_token = 2 * config.n_layers * config.n_kv_heads * config.head_dim * size_of::<f32>();
    asked_together(per_token * len.next_multiple_of(32))
}

/// Asks every question under `steering`.
///
/// # Errors
/// [`Error::Engine`] for questions that the model cannot run; [`Error::Interrupted`].
pub fn ask(
    model: &Model,
    tokenizer: &Tokenizer,
    questions: &[Vec<Message>],
    steering: &Steering,
    asking: &Asking,
    watch: &dyn Watch,
) -> Result<Vec<Answer>, Error> {
    let steerings = std::slice::from_ref(steering);
    Ok(ask_under_each(model, tokenizer, questions, steerings, asking, watch)?.concat())
}

/// Asks every question under every steering: the answers per steering, the same as [`ask`] gives for
/// each. They decode side by side, as many as memory allows.
///
/// # Errors
/// As for [`ask`].
pub fn ask_under_each(
    model: &Model,
    tokenizer: &Tokenizer,
    questions: &[Vec<Message>],
    steerings: &[Steering],
    asking: &Asking,
    watch: &dyn Watch,
) -> Result<Vec<Vec<Answer>>, Error> {
    let prompt = |question: &Vec<Message>| asking.frame.prompt_ids(tokenizer, question);
    let prompts = questions.iter().map(prompt).collect::<Result<Vec<_>, Error>>()?;
    let longest = prompts.iter().map(Vec::len).max().unwrap_or(0) + asking.max_tokens;
    let stop_tokens = asking.frame.stop_tokens();
    let request = |steering: &Steering, i: usize| Request {
        prompt: prompts[i].clone(),
        steering: steering.clone(),
        sampling: Sampling { seed: asking.sampling.seed.wrapping_add(i as u64), ..asking.sampling },
        max_tokens: asking.max_tokens,
        stop: asking.frame.stops(),
        stop_tokens: stop_tokens.clone(),
    };
    let all: Vec<(&Steering, usize)> =
        steerings.iter().flat_map(|steering| (0..questions.len()).map(move |i| (steering, i))).collect();
    let mut answers = Vec::with_capacity(all.len());
    for some in all.chunks(together(model, longest)) {
        let requests = some.iter().map(|(steering, i)| request(steering, *i)).collect();
        answers.extend(run(model, tokenizer, requests)?);
        watch.advance(some.len())?;
    }
    let mut answers = answers.into_iter();
    Ok(steerings.iter().map(|_| answers.by_ref().take(questions.len()).collect()).collect())
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

/// The perplexity of each set of answers to the same questions under the unsteered model: the
/// exponential of the mean negative log-probability over all their tokens.
///
/// # Errors
/// As for [`ask`].
pub fn perplexities(
    model: &Model,
    tokenizer: &Tokenizer,
    frame: &Frame,
    questions: &[Vec<Message>],
    sets: &[Vec<Answer>],
) -> Result<Vec<f64>, Error> {
    let (mut owners, mut texts) = (Vec::new(), Vec::new());
    for (set, answers) in sets.iter().enumerate() {
        texts.extend(continuations(tokenizer, frame, questions, answers)?);
        owners.resize(texts.len(), set);
    }
    let mut sums = vec![(0.0, 0); sets.len()];
    for (set, scores) in owners.into_iter().zip(score(model, &texts)?) {
        sums[set].0 -= scores.iter().sum::<f64>();
        sums[set].1 += scores.len();
    }
    Ok(sums.into_iter().map(|(sum, n)| (sum / n as f64).exp()).collect())
}

/// How answers are written that something is measured of: likely ones, and no longer than it takes.
pub(crate) fn asking_to_measure(frame: &Frame, seed: u64) -> Asking {
    let sampling = Sampling { temperature: 0.6, top_p: 0.95, seed, ..Sampling::default() };
    Asking { frame: frame.clone(), sampling, max_tokens: 40 }
}

/// Answers behind their questions, those without a token left out.
pub(crate) fn continuations(
    tokenizer: &Tokenizer,
    frame: &Frame,
    questions: &[Vec<Message>],
    answers: &[Answer],
) -> Result<Vec<Continuation>, Error> {
    let said = questions.iter().zip(answers).filter(|(_, answer)| !answer.tokens.is_empty());
    let text = |(question, answer): (&Vec<Message>, &Answer)| {
        Ok(Continuation { prompt: frame.prompt_ids(tokenizer, question)?, tokens: answer.tokens.clone() })
    };
    said.map(text).collect()
}

/// The mean of [`repetition`] over answers.
pub(crate) fn mean_repetition(answers: &[Answer]) -> f64 {
    mean(&answers.iter().map(|it| repetition(&it.tokens)).collect::<Vec<_>>())
}

/// The share of runs of four tokens of a text that have occurred before in it.
pub fn repetition(tokens: &[u32]) -> f64 {
    let mut runs: Vec<&[u32]> = tokens.windows(4).collect();
    let n = runs.len();
    runs.sort_unstable();
    runs.dedup();
    if n == 0 { 0.0 } else { (n - runs.len()) as f64 / n as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetition_counts_runs_of_four_that_have_occurred() {
        let check = |tokens: &[u32], want: f64| assert_eq!(repetition(tokens), want, "{tokens:?}");
        check(&[], 0.0);
        check(&[1, 1, 1], 0.0);
        check(&[1, 2, 3, 4, 5], 0.0);
        check(&[1, 1, 1, 1, 1], 0.5);
        check(&[1, 2, 3, 4, 1, 2, 3, 4], 0.2);
    }
}
