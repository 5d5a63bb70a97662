//! Every operator in every scope: doing nothing is the plain model, neighbours do not matter, and neither does the
//! way a sequence is cut into passes, forked or decoded: all bit for bit.

use std::f64::consts::PI;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use whipstaff_engine::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/llama-gqa-tied-bf16")
}

fn model() -> Model {
    Model::load(&folder(), Isa::best()).unwrap()
}

fn text(n: usize, seed: u32) -> Vec<u32> {
    (0..n as u32).map(|i| (i * 37 + seed * 11) % 290).collect()
}

fn direction() -> Vec<f32> {
    (0..64).map(|i| (i as f32).cos()).collect()
}

/// Every operator with a dial and numbers that change most rows.
fn operators(alpha: f64) -> Vec<Operator> {
    vec![
        Operator::Add { alpha },
        Operator::Reach { alpha, target: 90.0 },
        Operator::Project { alpha },
        Operator::Cap { alpha, low: -0.1, high: 0.1 },
        Operator::Push { alpha, target: 80.0 },
        Operator::Rotate { alpha },
        Operator::Set { alpha, target: -1.0 },
    ]
}

fn scopes() -> Vec<Scope> {
    let span = |span| Scope { span, ..Scope::default() };
    let schedule = |schedule| Scope { schedule, ..Scope::default() };
    let even = TokenSet::from_iter((0..290).filter(|id| id % 2 == 0));
    vec![
        Scope::default(),
        span(Span::Prompt),
        span(Span::Answer),
        span(Span::Window(Some(Position::At(2)), Some(Position::BeforeAnswer(3)))),
        span(Span::Window(Some(Position::BeforeAnswer(1)), None)),
        Scope { tokens: Some(Arc::new(even)), ..Scope::default() },
        schedule(Schedule::Decay { half_life: 3.0 }),
        schedule(Schedule::Ramp { tokens: 4.0 }),
        schedule(Schedule::Window { from: 1, to: Some(5) }),
    ]
}

/// The steering of one edit after block 1, or somewhere inside block 0.
fn steering(operator: Operator, scope: Scope, keeps_norm: bool) -> Steering {
    let site = if keeps_norm { (0, Site::MlpOut) } else { (1, Site::ResidPost) };
    Steering::new([Edit { keeps_norm, scope, ..Edit::new(site.0, site.1, direction(), operator) }])
}

/// All operators in all scopes, with and without keep-norm.
fn all(alpha: f64) -> Vec<Steering> {
    let mut all = Vec::new();
    for operator in operators(alpha) {
        for scope in scopes() {
            all.extend([false, true].map(|keeps_norm| steering(operator, scope.clone(), keeps_norm)));
        }
    }
    all
}

const PROMPT: usize = 20;

fn session(steering: &Steering) -> Session {
    Session::steered(steering.clone()).with_prompt(PROMPT)
}

/// Logits of the last token of a text, after passes of `chunk` tokens.
fn logits(model: &Model, tokens: &[u32], steering: &Steering, chunk: usize) -> Vec<f32> {
    let mut session = session(steering);
    session.expect(tokens.len());
    let mut last = Vec::new();
    for chunk in tokens.chunks(chunk) {
        last = model.host(&model.extend(&mut session, chunk).unwrap()).as_slice().to_vec();
    }
    last
}

#[test]
fn every_operator_at_alpha_zero_is_the_plain_model() {
    for steering in all(0.0) {
        assert!(steering.is_empty(), "{steering:?}");
    }
}

#[test]
fn an_operator_that_finds_nothing_to_do_is_the_plain_model() {
    let model = model();
    let tokens = text(30, 1);
    let plain = logits(&model, &tokens, &Steering::default(), 30);
    let idle = [
        Operator::Reach { alpha: 1.0, target: -1e4 },
        Operator::Cap { alpha: 1.0, low: -1e4, high: 1e4 },
        Operator::Push { alpha: 1.0, target: -1e4 },
    ];
    for (operator, scope) in
        idle.into_iter().flat_map(|it| scopes().into_iter().map(move |scope| (it, scope)))
    {
        for keeps_norm in [false, true] {
            let steering = steering(operator, scope.clone(), keeps_norm);
            assert!(!steering.is_empty());
            assert_eq!(logits(&model, &tokens, &steering, 30), plain, "{steering:?}");
        }
    }
}

#[test]
fn alone_in_a_batch_in_chunks_and_one_by_one_are_the_same() {
    let model = model();
    let (tokens, neighbour) = (text(29, 1), text(11, 2));
    let plain = logits(&model, &tokens, &Steering::default(), 29);
    let plain_neighbour = model.extend(&mut Session::new(), &neighbour).unwrap();
    for steering in all(0.7) {
        let whole = logits(&model, &tokens, &steering, 29);
        assert!(whole != plain, "{steering:?} does nothing");
        for chunk in [1, 8] {
            assert_eq!(logits(&model, &tokens, &steering, chunk), whole, "{steering:?} in chunks of {chunk}");
        }
        let (mut before, mut own, mut after) = (Session::new(), session(&steering), Session::new());
        let mut batch = Batch::new();
        batch.push(&mut before, &neighbour);
        batch.push(&mut own, &tokens);
        batch.push(&mut after, &neighbour);
        let resid = model.forward(&mut batch, &mut NoTap).unwrap();
        let got = |sequence: usize| model.logits(&resid, &[batch.rows().span(sequence).end - 1]);
        assert_eq!(model.host(&got(1)).as_slice(), whole, "{steering:?} in a batch");
        for sequence in [0, 2] {
            assert_eq!(
                model.host(&got(sequence)).as_slice(),
                model.host(&plain_neighbour).as_slice(),
                "{steering:?}: a neighbour"
            );
        }
    }
}

#[test]
fn exactly_the_rows_in_scope_are_changed() {
    let model = model();
    let tokens = text(29, 1);
    let kept = |steering: &Steering| {
        let mut kept = KeepRows::new(&[1], &[Site::ResidPost]);
        let (mut session, mut batch) = (session(steering), Batch::new());
        batch.push(&mut session, &tokens);
        model.forward(&mut batch, &mut kept).unwrap();
        kept.get(Site::ResidPost, 1)[0].clone()
    };
    let plain = kept(&Steering::default());
    let plain = model.host(&plain);
    let check = |scope: Scope, inside: &dyn Fn(usize) -> bool| {
        for operator in [Operator::Add { alpha: 1.0 }, Operator::Set { alpha: 1.0, target: 50.0 }] {
            let steered = kept(&steering(operator, scope.clone(), false));
            let steered = model.host(&steered);
            for at in 0..tokens.len() {
                assert_eq!(steered.row(at) != plain.row(at), inside(at), "{scope:?} at {at}");
            }
        }
    };
    let even = |at: usize| tokens[at].is_multiple_of(2);
    let inside: [&dyn Fn(usize) -> bool; 9] = [
        &|_| true,
        &|at| at < 20,
        &|at| at >= 20,
        &|at| (2..17).contains(&at),
        &|at| at >= 19,
        &even,
        &|_| true,
        &|at| at >= 21,
        &|at| (21..25).contains(&at),
    ];
    scopes().into_iter().zip(inside).for_each(|(scope, inside)| check(scope, inside));
}

#[test]
fn edits_at_one_place_act_in_the_order_given() {
    let model = model();
    let tokens = text(9, 3);
    let edit = |operator| Edit::new(1, Site::ResidPost, direction(), operator);
    let run = |edits: Vec<Edit>| logits(&model, &tokens, &Steering::new(edits), 9);
    let (add, set) = (edit(Operator::Add { alpha: 1.0 }), edit(Operator::Set { alpha: 1.0, target: 2.0 }));
    let only = run(vec![set.clone()]);
    // What is set last is what counts; what is added to it counts as well. Adding first costs a rounding.
    let first = run(vec![add.clone(), set.clone()]);
    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4);
    assert!(close(&first, &only));
    assert!(!close(&run(vec![set, add]), &only));
}

#[test]
fn blocks_above_a_fork_run_again_as_if_the_whole_had_run_steered() {
    let model = model();
    let tokens = text(29, 4);
    let mut base = Session::new().with_prompt(PROMPT);
    let mut batch = Batch::new();
    batch.push(&mut base, &tokens);
    let entering = model.embed(&batch).unwrap();
    let leaving = model.run_blocks(&mut batch, entering, 0..1, &mut NoTap);
    drop(batch);
    for operator in operators(0.7) {
        for scope in scopes() {
            let steering = steering(operator, scope, false);
            let mut session = base.fork_above(1, steering.clone());
            let mut batch = Batch::new();
            batch.again(&mut session, 0);
            let resid = model.run_blocks(&mut batch, leaving.clone(), 1..3, &mut NoTap);
            assert_eq!(
                model.host(&model.logits(&resid, &[28])).as_slice(),
                logits(&model, &tokens, &steering, 29)
            );
        }
    }
}

#[test]
fn a_fork_before_what_is_steered_continues_as_if_all_had_run_steered() {
    let model = model();
    let tokens = text(29, 5);
    let mut base = Session::new().with_prompt(PROMPT);
    model.extend(&mut base, &tokens[..PROMPT]).unwrap();
    let mut n = 0;
    for steering in all(0.7).iter().filter(|it| it.first_position(PROMPT) >= PROMPT) {
        let mut fork = base.fork_before(steering.clone());
        let got = model.extend(&mut fork, &tokens[PROMPT..]).unwrap();
        assert_eq!(model.host(&got).as_slice(), logits(&model, &tokens, steering, 29), "{steering:?}");
        n += 1;
    }
    // Answer, ramp and window of the schedule, for seven operators, with and without keep-norm.
    assert_eq!(n, 3 * 7 * 2);
}

#[test]
#[should_panic(expected = "changes what is in the cache")]
fn a_cache_is_not_used_under_a_steering_that_would_have_changed_it() {
    let model = model();
    let mut base = Session::new().with_prompt(PROMPT);
    model.extend(&mut base, &text(PROMPT, 5)).unwrap();
    base.fork_before(steering(Operator::Project { alpha: 1.0 }, Scope::default(), false));
}

/// The tokens that each request gets.
fn generated(model: &Model, requests: Vec<Request>) -> Vec<Vec<u32>> {
    let tokenizer = Tokenizer::load(&folder()).unwrap();
    let mut tokens = vec![Vec::new(); requests.len()];
    for event in Generator::new(model, &tokenizer).with_requests(requests).unwrap() {
        let event = event.unwrap();
        tokens[event.request.index()].extend(event.token);
    }
    tokens
}

fn request(prompt: Vec<u32>, steering: Steering) -> Request {
    let sampling = Sampling { temperature: 0.9, seed: 3, ..Sampling::default() };
    Request { prompt, steering, sampling, max_tokens: 8, ..Request::default() }
}

#[test]
fn requests_that_share_a_prompt_get_what_each_gets_alone() {
    let model = model();
    // Long enough to be shared by those whose steering leaves it alone.
    let prompt = text(70, 6);
    let requests: Vec<Request> = [Steering::default()]
        .into_iter()
        .chain(all(0.9).into_iter().step_by(5))
        .map(|steering| request(prompt.clone(), steering))
        .collect();
    let together = generated(&model, requests.clone());
    for (request, together) in requests.into_iter().zip(&together) {
        assert_eq!(generated(&model, vec![request.clone()])[0], *together, "{:?}", request.steering);
    }
    assert!(together.iter().any(|tokens| *tokens != together[0]), "no steering had any effect");
}

#[test]
fn the_first_token_of_an_answer_is_chosen_by_the_prompt() {
    let model = model();
    let set = |span| {
        let operator = Operator::Set { alpha: 1.0, target: 80.0 };
        steering(operator, Scope { span, ..Scope::default() }, false)
    };
    let run = |steering| generated(&model, vec![request(text(12, 7), steering)]).remove(0);
    let (plain, answer) = (run(Steering::default()), run(set(Span::Answer)));
    assert_eq!(plain[0], answer[0]);
    assert_ne!(plain, answer);
    assert_ne!(run(set(Span::Window(Some(Position::BeforeAnswer(1)), None)))[0], plain[0]);
}

#[test]
fn steering_that_makes_no_sense_is_refused() {
    let model = model();
    let check = |session: Session, part: &str| {
        let mut session = session;
        let error = model.extend(&mut session, &[1, 2]).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    let edit = |operator| Steering::new([Edit::new(1, Site::ResidPost, direction(), operator)]);
    for operator in [
        Operator::Set { alpha: 1.0, target: f64::NAN },
        Operator::Push { alpha: f64::INFINITY, target: 0.0 },
        Operator::Cap { alpha: 1.0, low: 2.0, high: 1.0 },
    ] {
        check(Session::steered(edit(operator)), "not finite or out of range");
    }
    let zero = Edit::new(1, Site::ResidPost, vec![0.0; 64], Operator::Rotate { alpha: PI });
    check(Session::steered(Steering::new([zero])), "needs a direction");
    for scope in scopes().into_iter().filter(|it| *it != Scope::default() && it.tokens.is_none()) {
        let steering = steering(Operator::Project { alpha: 1.0 }, scope, false);
        check(Session::steered(steering), "not told where the prompt ends");
    }
}
