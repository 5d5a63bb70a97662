//! Requests that join and leave while others run: each is answered, bit for bit, as if it were alone.

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use whipstaff_engine::*;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name)
}

const LLAMA: &str = "llama-gqa-tied-bf16";

/// A model, and requests with what each is answered alone.
struct Bench {
    model: Model,
    tokenizer: Tokenizer,
    requests: Vec<(Request, Answer)>,
}

/// All that events say of a request.
#[derive(Clone, Debug, Default, PartialEq)]
struct Answer {
    /// Tokens with the bits of their log-probabilities.
    tokens: Vec<(u32, u64)>,
    text: String,
    finish: Option<Finish>,
}

impl Answer {
    fn take(&mut self, event: Event) {
        assert_eq!(self.finish, None, "an event after the last");
        let log_prob = event.log_prob.map_or(0, f64::to_bits);
        self.tokens.extend(event.token.map(|token| (token, log_prob)));
        self.text += &event.text;
        self.finish = event.finish;
    }
}

impl Bench {
    fn new(name: &str, lens: &[usize]) -> Bench {
        let model = Model::load(&folder(name), Isa::best()).unwrap();
        let tokenizer = Tokenizer::load(&folder(LLAMA)).unwrap();
        let (steerings, longest) = (steerings(model.config()), model.config().max_positions - 2);
        let request = |i: usize| Request {
            prompt: prompt(lens[i % lens.len()].min(longest), i as u32 % 3, model.config().vocab_size),
            steering: steerings[i % steerings.len()].clone(),
            sampling: Sampling { temperature: 0.9, top_p: 0.95, seed: i as u64, ..Sampling::default() },
            max_tokens: [7, 1, 12, 0, 4][i % 5],
            log_probs: true,
            ..Request::default()
        };
        let alone = |request: Request| {
            let mut answer = Answer::default();
            let generator = Generator::new(&model, &tokenizer).with_requests([request.clone()]).unwrap();
            generator.for_each(|event| answer.take(event.unwrap()));
            (request, answer)
        };
        let requests = (0..24).map(|i| alone(request(i))).collect();
        Bench { model, tokenizer, requests }
    }
}

/// A prompt whose beginning other prompts share.
fn prompt(len: usize, own: u32, vocab_size: usize) -> Vec<u32> {
    let token = |i: u32| (i * 37 + if i < 35 { 3 } else { own }) % (vocab_size as u32 - 2) + 1;
    (0..len as u32).map(token).collect()
}

fn wave(config: &Config, shift: f32) -> Vec<f32> {
    (0..config.d_model).map(|i| (i as f32 + shift).cos()).collect()
}

fn steerings(config: &Config) -> Vec<Steering> {
    let add = Edit::add(1, Site::ResidPost, wave(config, 0.0));
    let scoped = |span| Edit { scope: Scope { span, ..Scope::default() }, ..add.clone() };
    let gate = |threshold, pool| {
        let (condition, fires) = (wave(config, 1.0), Fires::Above(threshold));
        Arc::new(Gate { layer: 1, site: Site::ResidMid, condition, score: Score::Cosine, pool, fires })
    };
    let gated = |threshold, pool, span| Edit { gate: Some(gate(threshold, pool)), ..scoped(span) };
    let decay = Scope { span: Span::Answer, schedule: Schedule::Decay { half_life: 3.0 }, tokens: None };
    [
        vec![],
        vec![add.clone()],
        vec![scoped(Span::Answer)],
        vec![Edit::new(0, Site::MlpOut, wave(config, 2.0), Operator::Project { alpha: 1.0 })],
        vec![gated(-2.0, Pool::Mean, Span::All)],
        vec![gated(2.0, Pool::Mean, Span::All)],
        vec![gated(0.0, Pool::Last, Span::Answer), Edit { scope: decay, keeps_norm: true, ..add.clone() }],
    ]
    .into_iter()
    .map(Steering::new)
    .collect()
}

/// Something that happens to a generator.
#[derive(Clone, Debug)]
enum Move {
    Admit(usize),
    /// Cancels one of the requests admitted so far, which may have ended.
    Cancel(usize),
    Step,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        4 => (0..24usize).prop_map(Move::Admit),
        1 => (0..64usize).prop_map(Move::Cancel),
        4 => Just(Move::Step),
    ];
    prop::collection::vec(one, 1..40)
}

/// Makes the moves, runs what is left to its end, and compares each request with what it is answered alone.
fn check(bench: &Bench, chunk: usize, moves: &[Move]) {
    let mut generator = Generator::new(&bench.model, &bench.tokenizer).with_chunk(chunk);
    let (mut kinds, mut answers, mut cancelled) = (Vec::new(), BTreeMap::new(), Vec::new());
    for step in moves {
        match step {
            Move::Admit(kind) => {
                let id = generator.admit(bench.requests[*kind].0.clone()).unwrap();
                assert_eq!(id.index(), kinds.len(), "an id is never given twice");
                kinds.push(*kind);
                answers.insert(id, Answer::default());
            }
            Move::Cancel(which) if !kinds.is_empty() => {
                let id = *answers.keys().nth(which % kinds.len()).unwrap();
                let had_ended = answers[&id].finish.is_some() || cancelled.contains(&id);
                assert_eq!(generator.cancel(id), !had_ended);
                cancelled.push(id);
            }
            Move::Cancel(_) => {}
            Move::Step => {
                for event in generator.step() {
                    let event = event.unwrap();
                    assert!(!cancelled.contains(&event.request));
                    answers.get_mut(&event.request).unwrap().take(event);
                }
            }
        }
    }
    for event in &mut generator {
        let event = event.unwrap();
        assert!(!cancelled.contains(&event.request));
        answers.get_mut(&event.request).unwrap().take(event);
    }
    assert!(generator.is_idle());
    for (id, answer) in &answers {
        let want = &bench.requests[kinds[id.index()]].1;
        if cancelled.contains(id) && answer.finish.is_none() {
            assert_eq!(answer.tokens, want.tokens[..answer.tokens.len()]);
            assert!(want.text.starts_with(&answer.text));
        } else {
            assert_eq!(answer, want);
        }
    }
}

fn check_any(bench: &Bench) {
    let config = ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() };
    let chunk = prop::sample::select(vec![1, 5, 32, ROW_BUDGET]);
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner
        .run(&(chunk, moves()), |(chunk, moves)| {
            check(bench, chunk, &moves);
            Ok(())
        })
        .unwrap();
}

fn llama() -> &'static Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(|| Bench::new(LLAMA, &[36, 5, 90, 200, 1, 70, 253]))
}

#[test]
fn requests_are_answered_as_if_alone_however_they_come_and_go() {
    check_any(llama());
}

#[test]
fn experts_windows_and_ropes_that_depend_on_length_leave_requests_alone_too() {
    for name in ["qwen2-moe-shared", "gemma3-pattern", "llama-dynamic-beyond"] {
        check_any(&Bench::new(&format!("families/{name}"), &[36, 5, 41, 60, 1]));
    }
}

#[test]
fn the_requests_of_these_tests_differ_and_some_end_of_themselves() {
    let answers: Vec<&Answer> = llama().requests.iter().map(|(_, answer)| answer).collect();
    for (i, answer) in answers.iter().enumerate().filter(|(_, answer)| answer.tokens.len() > 1) {
        assert!(answers[..i].iter().all(|before| before != answer), "request {i}");
    }
    for finish in [Finish::Length, Finish::Context] {
        assert!(answers.iter().any(|answer| answer.finish == Some(finish)), "{finish:?}");
    }
}

#[test]
fn log_probs_are_those_that_scoring_gives() {
    let Bench { model, tokenizer, requests } = llama();
    for (request, _) in requests.iter().filter(|(request, _)| request.steering.is_empty()) {
        let mut generator = Generator::new(model, tokenizer);
        generator.admit(request.clone()).unwrap();
        let events: Vec<Event> = generator.collect::<Result<_, _>>().unwrap();
        let tokens: Vec<u32> = events.iter().filter_map(|event| event.token).collect();
        let log_probs: Vec<f64> = events.iter().filter_map(|event| event.log_prob).collect();
        assert_eq!(log_probs.len(), tokens.len());
        if !tokens.is_empty() {
            let text = Continuation { prompt: request.prompt.clone(), tokens };
            assert_eq!(score(model, &[text]).unwrap(), [log_probs]);
        }
    }
}

#[test]
fn a_request_whose_logits_are_no_numbers_ends_alone() {
    for name in [LLAMA, "families/qwen2-moe-shared", "families/gemma3-pattern"] {
        let bench = Bench::new(name, &[36, 5, 41, 1]);
        let d_model = bench.model.config().d_model;
        let far_too_much = |span| {
            let edit = Edit::add(0, Site::ResidPost, vec![f32::MAX; d_model]);
            let scope = Scope { span, ..Scope::default() };
            let twice = Edit { operator: Operator::Add { alpha: 2.0 }, scope, ..edit };
            Request { steering: Steering::new([twice]), ..bench.requests[2].0.clone() }
        };
        let mut generator = Generator::new(&bench.model, &bench.tokenizer);
        let good = [0, 2, 4].map(|kind| (generator.admit(bench.requests[kind].0.clone()).unwrap(), kind));
        let bad = [Span::All, Span::Answer].map(|span| generator.admit(far_too_much(span)).unwrap());
        let (mut answers, mut failed) = (BTreeMap::<RequestId, Answer>::new(), Vec::new());
        for event in &mut generator {
            match event {
                Ok(event) => answers.entry(event.request).or_default().take(event),
                Err(RequestError { requests, error: Error::NotANumber }) => failed.extend(requests),
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(failed, bad, "{name}");
        for (id, kind) in good {
            assert_eq!(answers[&id], bench.requests[kind].1, "{name}");
        }
        // The first fails on its prompt, the second after a token.
        assert_eq!(bad.map(|id| answers.get(&id).map_or(0, |answer| answer.tokens.len())), [0, 1]);
    }
}

#[test]
fn what_cannot_run_is_not_admitted_and_others_go_on() {
    let Bench { model, tokenizer, requests } = llama();
    let mut generator = Generator::new(model, tokenizer);
    let first = generator.admit(requests[0].0.clone()).unwrap();
    generator.step().for_each(drop);
    let mut check = |prompt: Vec<u32>, steering: Steering, part: &str| {
        let request = Request { prompt, steering, max_tokens: 3, ..Request::default() };
        let error = generator.admit(request).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    check(vec![], Steering::default(), "empty");
    check(vec![5000], Steering::default(), "5000");
    check(vec![1; 257], Steering::default(), "context of 256");
    let edit = Edit::add(3, Site::ResidPost, vec![1.0; 64]);
    check(vec![1], Steering::new([edit]), "layer 3");
    let second = generator.admit(requests[1].0.clone()).unwrap();
    assert_eq!((first.index(), second.index()), (0, 1));
    assert_eq!(generator.n_running(), 2);
    assert_eq!(generator.map(|event| event.unwrap().finish.is_some()).filter(|ended| *ended).count(), 2);
}

#[test]
fn an_answer_waits_for_no_more_than_a_chunk_of_a_prompt() {
    let Bench { model, tokenizer, .. } = llama();
    let request = |steering: &Steering, len, max_tokens| Request {
        prompt: prompt(len, 0, 300),
        steering: steering.clone(),
        max_tokens,
        ..Request::default()
    };
    // Plain, shared with another prompt, and with a gate that sees the prompt before it runs.
    let steerings = steerings(model.config());
    for (steering, n_long, n_steps) in [(0, 1, 4), (0, 2, 5), (1, 2, 7), (4, 1, 8)] {
        let mut generator = Generator::new(model, tokenizer).with_chunk(64);
        let short = generator.admit(request(&Steering::default(), 3, 100)).unwrap();
        assert_eq!(generator.step().count(), 1);
        for _ in 0..n_long {
            generator.admit(request(&steerings[steering], 200 + n_long, 1)).unwrap();
        }
        for step in 1..=n_steps {
            let requests: Vec<RequestId> = generator.step().map(|event| event.unwrap().request).collect();
            assert_eq!(requests[0], short);
            assert_eq!(requests.len() > 1, step == n_steps, "steering {steering}, step {step}");
        }
    }
}
