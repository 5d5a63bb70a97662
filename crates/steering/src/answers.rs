//! Asking a model questions under a steering, and how natural its answers are to it unsteered.

use crate::{Error, Frame, Watch};
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
        log_probs: false,
    };
    let requests =
        steerings.iter().flat_map(|steering| (0..questions.len()).map(move |i| request(steering, i)));
    let generator = Generator::new(model, tokenizer);
    let mut answers = run(generator, requests, together(model, longest), watch)?.into_iter();
    Ok(steerings.iter().map(|_| answers.by_ref().take(questions.len()).collect()).collect())
}

/// Returns the answers to `requests`, of which at most `n_together` run at a time.
fn run(
    mut generator: Generator<&Model, &Tokenizer>,
    mut requests: impl Iterator<Item = Request>,
    n_together: usize,
    watch: &dyn Watch,
) -> Result<Vec<Answer>, Error> {
    let empty = Answer { text: String::new(), tokens: Vec::new(), finish: Finish::Length };
    let mut answers: Vec<Answer> = Vec::new();
    // Requests follow several at a time, since those that are admitted together share what their prompts share.
    let n_following = n_together.div_ceil(4);
    loop {
        let n_free = n_together.saturating_sub(generator.n_running());
        if n_free >= n_following {
            for request in requests.by_ref().take(n_free) {
                generator.admit(request)?;
                answers.push(empty.clone());
            }
        }
        if generator.is_idle() {
            break;
        }
        let mut n_ended = 0;
        for event in generator.step() {
            let event = event.map_err(whipstaff_engine::Error::from)?;
            let answer = &mut answers[event.request.index()];
            answer.text += &event.text;
            answer.tokens.extend(event.token);
            answer.finish = event.finish.unwrap_or(answer.finish);
            n_ended += usize::from(event.finish.is_some());
        }
        watch.advance(n_ended)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use whipstaff_engine::Isa;

    /// Counts what is reported as done.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Watch for Count {
        fn advance(&self, n: usize) -> Result<(), Error> {
            self.0.fetch_add(n, Ordering::Relaxed);
            Ok(())
        }
    }

    #[test]
    fn answers_do_not_depend_on_how_many_requests_run_together() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/llama-gqa-tied-bf16");
        let (model, tokenizer) = (Model::load(&dir, Isa::best()).unwrap(), Tokenizer::load(&dir).unwrap());
        let request = |i: u32| Request {
            prompt: (0..40 + i % 4).collect(),
            sampling: Sampling { temperature: 1.0, seed: i.into(), ..Sampling::default() },
            max_tokens: [0, 9, 2, 30, 5][i as usize % 5],
            ..Request::default()
        };
        let answers = |n_together| {
            let count = Count::default();
            let generator = Generator::new(&model, &tokenizer);
            let answers = run(generator, (0..20).map(request), n_together, &count).unwrap();
            assert_eq!(count.0.into_inner(), answers.len());
            answers
        };
        let alone = answers(1);
        assert_eq!(alone.len(), 20);
        [2, 5, 256].into_iter().for_each(|n_together| assert_eq!(answers(n_together), alone, "{n_together}"));
    }
}
