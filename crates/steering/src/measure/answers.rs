//! Asking a model questions under a steering, and how natural its answers are to it unsteered.

use super::bench::Bench;
use crate::error::Error;
use crate::math::mean;
use whipstaff_engine::{Continuation, Finish, Generator, Message, Model, Request, Sampling, Steering, score};

/// The settings that questions are asked with.
#[derive(Clone)]
pub struct AskOptions {
    /// How tokens are chosen; question `i` uses the seed plus `i`.
    pub sampling: Sampling,
    /// The number of new tokens at most.
    pub max_tokens: usize,
}

impl AskOptions {
    /// Returns the settings for answers that something is measured on: likely ones, and no longer than it takes.
    pub(crate) fn to_measure(seed: u64) -> AskOptions {
        let sampling = Sampling { temperature: 0.6, top_p: 0.95, seed, ..Sampling::default() };
        AskOptions { sampling, max_tokens: 40 }
    }
}

/// An answer of the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The text, without the space that joins it to the prompt.
    pub text: String,
    /// The tokens, a stop token included.
    pub tokens: Vec<u32>,
    /// Why the answer ended.
    pub finish: Finish,
}

impl Answer {
    /// Returns the answer that nothing has been added to yet.
    pub fn empty() -> Answer {
        Answer { text: String::new(), tokens: Vec::new(), finish: Finish::Length }
    }

    /// Adds what one event of a generator tells of the answer.
    pub fn add(&mut self, text: &str, token: Option<u32>, finish: Option<Finish>) {
        self.text.push_str(text);
        self.tokens.extend(token);
        self.finish = finish.unwrap_or(self.finish);
    }
}

/// Bytes of keys and values that requests may hold which decode together. A larger budget would share the weights
/// among more rows.
const CACHE_BUDGET: usize = 192 << 20;

/// Returns how many requests decode together, if each keeps `bytes_each` bytes of keys and values.
pub fn asked_together(bytes_each: usize) -> usize {
    (CACHE_BUDGET / bytes_each.max(1)).clamp(8, 256)
}

/// Returns how many requests of `len` tokens decode together.
fn together(model: &Model, len: usize) -> usize {
    let config = model.config();
    let per_token = 2 * config.n_layers * config.n_kv_heads * config.head_dim * size_of::<f32>();
    asked_together(per_token * len.next_multiple_of(32))
}

impl Bench<'_> {
    /// Asks every question under `steering`.
    ///
    /// # Errors
    /// [`Error::Engine`] for questions that the model cannot run; [`Error::Interrupted`].
    pub fn ask(
        &self,
        questions: &[Vec<Message>],
        steering: &Steering,
        options: &AskOptions,
    ) -> Result<Vec<Answer>, Error> {
        Ok(self.ask_under_each(questions, std::slice::from_ref(steering), options)?.concat())
    }

    /// Asks every question under every steering, and returns the answers per steering, each the same as
    /// [`Bench::ask`] gives. They decode side by side, as many as memory allows.
    ///
    /// # Errors
    /// As for [`Bench::ask`].
    pub fn ask_under_each(
        &self,
        questions: &[Vec<Message>],
        steerings: &[Steering],
        options: &AskOptions,
    ) -> Result<Vec<Vec<Answer>>, Error> {
        let prompts = self.prompts(questions)?;
        let longest = prompts.iter().map(Vec::len).max().unwrap_or(0) + options.max_tokens;
        let requests = steerings.iter().flat_map(|steering| {
            let request = |(i, prompt): (usize, &Vec<u32>)| self.request(prompt, i as u64, steering, options);
            prompts.iter().enumerate().map(request)
        });
        let answers = self.run(requests, together(self.model, longest))?;
        let mut answers = answers.into_iter();
        Ok(steerings.iter().map(|_| answers.by_ref().take(questions.len()).collect()).collect())
    }

    /// Returns the request for question `i`, whose prompt is given in tokens.
    fn request(&self, prompt: &[u32], i: u64, steering: &Steering, options: &AskOptions) -> Request {
        Request {
            prompt: prompt.to_vec(),
            steering: steering.clone(),
            sampling: Sampling { seed: options.sampling.seed.wrapping_add(i), ..options.sampling },
            max_tokens: options.max_tokens,
            stop: self.frame.stops(),
            stop_tokens: self.frame.stop_tokens(),
            log_probs: false,
        }
    }

    /// Returns the answers to `requests`, of which at most `n_together` run at a time.
    fn run(
        &self,
        mut requests: impl Iterator<Item = Request>,
        n_together: usize,
    ) -> Result<Vec<Answer>, Error> {
        let mut generator = Generator::new(self.model, self.tokenizer);
        let mut answers: Vec<Answer> = Vec::new();
        // Requests follow several at a time, since those that are admitted together share what their prompts share.
        let n_following = n_together.div_ceil(4);
        loop {
            let n_free = n_together.saturating_sub(generator.n_running());
            if n_free >= n_following {
                for request in requests.by_ref().take(n_free) {
                    generator.admit(request)?;
                    answers.push(Answer::empty());
                }
            }
            if generator.is_idle() {
                break;
            }
            let mut n_ended = 0;
            for event in generator.step() {
                let event = event.map_err(whipstaff_engine::Error::from)?;
                answers[event.request.index()].add(&event.text, event.token, event.finish);
                n_ended += usize::from(event.finish.is_some());
            }
            self.watch.advance(n_ended)?;
        }
        answers.iter_mut().for_each(|answer| answer.text = answer.text.trim().to_owned());
        Ok(answers)
    }

    /// Returns the perplexity of each set of answers to the same questions under the unsteered model: the
    /// exponential of the mean negative log-probability over all tokens of the set.
    ///
    /// # Errors
    /// As for [`Bench::ask`].
    pub fn perplexities(&self, questions: &[Vec<Message>], sets: &[Vec<Answer>]) -> Result<Vec<f64>, Error> {
        let (mut owners, mut texts) = (Vec::new(), Vec::new());
        for (set, answers) in sets.iter().enumerate() {
            texts.extend(self.continuations(questions, answers)?);
            owners.resize(texts.len(), set);
        }
        let mut sums = vec![(0.0, 0); sets.len()];
        for (set, scores) in owners.into_iter().zip(score(self.model, &texts)?) {
            sums[set].0 -= scores.iter().sum::<f64>();
            sums[set].1 += scores.len();
        }
        Ok(sums.into_iter().map(|(sum, n)| (sum / n as f64).exp()).collect())
    }

    /// Returns the answers behind their questions, without those that have no token.
    pub(crate) fn continuations(
        &self,
        questions: &[Vec<Message>],
        answers: &[Answer],
    ) -> Result<Vec<Continuation>, Error> {
        let mut texts = Vec::new();
        for (question, answer) in questions.iter().zip(answers).filter(|(_, it)| !it.tokens.is_empty()) {
            let prompt = self.frame.prompt_ids(self.tokenizer, question)?;
            texts.push(Continuation { prompt, tokens: answer.tokens.clone() });
        }
        Ok(texts)
    }

    /// Returns the questions in tokens, each up to where the model speaks.
    pub(crate) fn prompts(&self, questions: &[Vec<Message>]) -> Result<Vec<Vec<u32>>, Error> {
        questions.iter().map(|question| self.frame.prompt_ids(self.tokenizer, question)).collect()
    }
}

/// Returns the mean of [`repetition`] over answers.
pub(crate) fn mean_repetition(answers: &[Answer]) -> f64 {
    mean(&answers.iter().map(|it| repetition(&it.tokens)).collect::<Vec<_>>())
}

/// Returns the share of runs of four tokens that have occurred before in the same text.
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
    use crate::contrasts::Frame;
    use crate::progress::Watch;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use whipstaff_engine::{Isa, Tokenizer};

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
        let frame = Frame::default();
        let request = |i: u32| Request {
            prompt: (0..40 + i % 4).collect(),
            sampling: Sampling { temperature: 1.0, seed: i.into(), ..Sampling::default() },
            max_tokens: [0, 9, 2, 30, 5][i as usize % 5],
            ..Request::default()
        };
        let answers = |n_together| {
            let count = Count::default();
            let bench = Bench { model: &model, tokenizer: &tokenizer, frame: &frame, watch: &count };
            let answers = bench.run((0..20).map(request), n_together).unwrap();
            assert_eq!(count.0.into_inner(), answers.len());
            answers
        };
        let alone = answers(1);
        assert_eq!(alone.len(), 20);
        [2, 5, 256].into_iter().for_each(|n_together| assert_eq!(answers(n_together), alone, "{n_together}"));
    }

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
