//! Instructions on the embedded model: units, what teacher-forced measurements make of scopes and gates.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use whipstaff_engine::*;
use whipstaff_steering::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/librarian")
}

struct Librarian {
    model: Model,
    tokenizer: Tokenizer,
    vector: PersonaVector,
    classifier: Classifier,
    questions: Vec<Vec<Message>>,
}

static LIBRARIAN: LazyLock<Librarian> = LazyLock::new(|| {
    let model = Model::load(&folder(), Cpu::best().with_precision(Precision::F32)).unwrap();
    let tokenizer = Tokenizer::load(&folder()).unwrap();
    let set = ContrastSet::read(folder().join("contrasts.jsonl")).unwrap();
    let options = ExtractOptions {
        model: ModelId::of(&model, "librarian"),
        frame: Frame::default(),
        tokens: TokenRule::Answer,
        method: Method::Mean,
        seed: 0,
        layers: (0..model.config().n_layers).collect(),
    };
    let vector = extract(&model, &tokenizer, &set, &options, &Unwatched).unwrap();
    let read = |name: &str| std::fs::read_to_string(folder().join(name)).unwrap();
    let questions = read("questions-heldout.txt");
    Librarian {
        classifier: Classifier::parse(&read("classifier.json"), Path::new("classifier.json")).unwrap(),
        questions: questions.lines().map(|it| vec![Message::new(Role::User, it)]).collect(),
        model,
        tokenizer,
        vector,
    }
});

fn instruction(alpha: f64, unit: Unit, how: Application) -> Instruction<'static> {
    let condition = how.gate.is_some().then_some(&LIBRARIAN.vector);
    let dose = Dose { vector: &LIBRARIAN.vector, alpha, unit, layers: vec![2, 3] };
    let tokens = how.tokens.resolve(&LIBRARIAN.tokenizer);
    Instruction { dose, how, condition, tokens }
}

fn steering(alpha: f64, unit: Unit, how: Application) -> Steering {
    steering_of(&[instruction(alpha, unit, how)], 1.0).unwrap()
}

fn op(op: Op) -> Application {
    Application { op, ..Application::default() }
}

#[test]
fn adding_everywhere_is_what_a_dose_is() {
    for (alpha, unit) in [(1.2, Unit::Gap), (-0.3, Unit::Rms), (20.0, Unit::Unit)] {
        let dose = instruction(alpha, unit, Application::default()).dose;
        let want = combine(&[dose], 1.0).unwrap();
        assert!(steering(alpha, unit, Application::default()).edits().eq(want.edits()), "{alpha} {unit}");
    }
}

#[test]
fn targets_are_counted_in_the_unit_of_the_dose() {
    let check = |how: Application, unit: Unit, alpha: f64, want: &dyn Fn(f64) -> Operator| {
        for edit in steering(alpha, unit, how.clone()).edits() {
            let u = LIBRARIAN.vector.layers[&edit.layer].factor(unit).unwrap();
            assert_eq!(edit.operator, want(u), "{how:?} {unit}");
        }
    };
    for unit in [Unit::Gap, Unit::Rms, Unit::Unit] {
        check(op(Op::AddUntil(2.0)), unit, 0.5, &|u| Operator::Reach { alpha: 0.5 * u, target: 2.0 * u });
        check(op(Op::Push(-1.5)), unit, 1.0, &|u| Operator::Push { alpha: 1.0, target: -1.5 * u });
        check(op(Op::Set(0.25)), unit, 0.5, &|u| Operator::Set { alpha: 0.5, target: 0.25 * u });
        check(op(Op::Cap { low: Some(-1.0), high: None }), unit, 1.0, &|u| Operator::Cap {
            alpha: 1.0,
            low: -u,
            high: f64::INFINITY,
        });
        check(op(Op::Project), unit, 0.7, &|_| Operator::Project { alpha: 0.7 });
        check(op(Op::Rotate), unit, 180.0, &|_| Operator::Rotate { alpha: std::f64::consts::PI });
    }
}

#[test]
fn alphas_that_an_operator_does_not_take_are_refused() {
    let check = |how: Application, alpha: f64, part: &str| {
        let error = instruction(alpha, Unit::Gap, how).edits(1.0).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    check(op(Op::Set(1.0)), -0.5, "alpha -0.5 of `set` is not a share from 0 to 1");
    check(op(Op::Project), 3.0, "alpha 3 of `project`");
    check(op(Op::Rotate), f64::NAN, "alpha NaN of `rotate`");
    check(op(Op::Add), f64::INFINITY, "of `add` is not a finite number");
}

/// The divergence of a steering on one text: measured by replaying its blocks.
fn divergence(prompt: &str, answer: &str, steering: &Steering) -> f64 {
    let Librarian { model, tokenizer, .. } = &*LIBRARIAN;
    let prompt = tokenizer.encode(prompt).unwrap();
    let text = Continuation { prompt, tokens: tokenizer.encode_more(answer).unwrap() };
    divergences(model, &[text], std::slice::from_ref(steering)).unwrap()[0].kl
}

/// The same by running the whole text at once in a session of its own.
fn divergence_in_one_pass(prompt: &str, answer: &str, steering: &Steering) -> f64 {
    let Librarian { model, tokenizer, .. } = &*LIBRARIAN;
    let (prompt, answer) = (tokenizer.encode(prompt).unwrap(), tokenizer.encode_more(answer).unwrap());
    let ids = [&prompt[..], &answer].concat();
    let decided = decide(model, &[&prompt], std::slice::from_ref(steering)).unwrap().remove(0);
    let [plain, steered] = [Steering::default(), decided].map(|steering| {
        let mut session = Session::steered(steering).with_prompt(prompt.len());
        let mut batch = Batch::new();
        batch.push(&mut session, &ids);
        let resid = model.forward(&mut batch, &mut NoTap).unwrap();
        let rows: Vec<usize> = (prompt.len() - 1..ids.len() - 1).collect();
        let logits = model.logits(&resid, &rows);
        let logits = model.host(&logits);
        (0..rows.len()).map(|row| log_softmax(logits.row(row))).collect::<Vec<_>>()
    });
    let kl = |(p, q): (&Vec<f64>, &Vec<f64>)| p.iter().zip(q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>();
    plain.iter().zip(&steered).map(kl).sum::<f64>() / plain.len() as f64
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let max = logits.iter().fold(f32::NEG_INFINITY, |max, x| max.max(*x));
    let sum: f64 = logits.iter().map(|x| f64::from(x - max).exp()).sum();
    logits.iter().map(|x| f64::from(x - max) - sum.ln()).collect()
}

const PROMPT: &str = "User: Where are the maps?\nAssistant:";
const ANSWER: &str = " The maps are on the second floor.";

#[test]
fn a_replay_knows_where_the_answer_begins() {
    let spans = [Span::All, Span::Prompt, Span::Answer, Span::Window(Some(Position::BeforeAnswer(1)), None)];
    let mut found = Vec::new();
    for span in spans {
        for operator in [Op::Add, Op::Set(-2.0)] {
            let steering = steering(1.0, Unit::Gap, Application { span, ..op(operator) });
            let kl = divergence(PROMPT, ANSWER, &steering);
            let want = divergence_in_one_pass(PROMPT, ANSWER, &steering);
            // The same logits to the bit; exponentials over the vocabulary are taken in f32 there and in f64 here.
            assert!((kl - want).abs() <= 1e-6 * want.max(1e-3), "{span:?} {operator:?}: {kl} for {want}");
            assert!(kl > 1e-4, "{span:?} {operator:?} changes nothing");
            found.push(kl);
        }
    }
    // All of them are different steerings.
    found.sort_by(f64::total_cmp);
    assert!(found.windows(2).all(|pair| pair[0] < pair[1]));
}

#[test]
fn a_replay_decides_gates_by_the_prompt_of_each_text() {
    let gate = |fires, score| GateSpec { layer: 3, score, pool: Pool::Mean, fires, unit: Unit::Gap };
    let open = steering(1.0, Unit::Gap, Application::default());
    for score in [Score::Cosine, Score::Cast, Score::Projection] {
        let gated = |fires| {
            steering(1.0, Unit::Gap, Application { gate: Some(gate(fires, score)), ..Application::default() })
        };
        let fires = gated(Fires::Above(-50.0));
        assert_eq!(divergence(PROMPT, ANSWER, &fires), divergence(PROMPT, ANSWER, &open));
        assert_eq!(divergence(PROMPT, ANSWER, &gated(Fires::Above(50.0))), 0.0);
    }
}

#[test]
fn a_projection_gate_counts_in_its_unit() {
    let how = |unit| {
        let (score, pool, fires) = (Score::Projection, Pool::Mean, Fires::Above(0.5));
        Application { gate: Some(GateSpec { layer: 3, score, pool, fires, unit }), ..Application::default() }
    };
    for unit in [Unit::Gap, Unit::Rms, Unit::Unit] {
        let steering = steering(1.0, Unit::Gap, how(unit));
        let gate = steering.edits().next().unwrap().gate.clone().unwrap();
        let u = LIBRARIAN.vector.layers[&3].factor(unit).unwrap();
        assert_eq!((gate.fires, gate.site), (Fires::Above(0.5 * u), Site::ResidPost));
    }
}

#[test]
fn token_filters_become_sets_of_the_vocabulary() {
    let tokens = |tokens: TokenFilter| {
        let how = Application { tokens, ..Application::default() };
        steering(1.0, Unit::Gap, how).edits().next().map(|edit| edit.scope.tokens.clone())
    };
    let ids = |text: &str| LIBRARIAN.tokenizer.encode_more(text).unwrap();
    assert_eq!(tokens(TokenFilter::default()), Some(None));
    let library = TokenFilter { matching: Some("^ library$".parse().unwrap()), ..TokenFilter::default() };
    let set: Arc<TokenSet> = tokens(library).flatten().unwrap();
    let [the, library] = ids(" the library")[..] else { panic!("two words of the corpus") };
    assert!(set.contains(library) && !set.contains(the));

    let specials = TokenFilter { skips_special: true, matching: None };
    let set = tokens(specials.clone()).flatten().unwrap();
    let bos = LIBRARIAN.model.config().bos_token.unwrap();
    assert!(set.contains(library) && set.contains(the) && !set.contains(bos));

    let forgotten = Instruction {
        tokens: None,
        ..instruction(1.0, Unit::Gap, Application { tokens: specials.clone(), ..Application::default() })
    };
    let error = forgotten.edits(1.0).unwrap_err().to_string();
    assert!(error.contains("not been resolved against a vocabulary"), "{error}");

    // A filter that no token passes is an edit that does nothing.
    let none = TokenFilter { matching: Some("never ever".parse().unwrap()), ..TokenFilter::default() };
    assert_eq!(tokens(none), None);
}

/// What answers to all held-out questions are like.
#[derive(Debug)]
struct Outcome {
    helpful: f64,
    dismissive: f64,
    /// Under the unsteered model.
    perplexity: f64,
}

/// Sampled as the demo samples, at layers 3 to 5.
fn outcome(alpha: f64, how: Application) -> Outcome {
    let Librarian { model, tokenizer, vector, classifier, questions } = &*LIBRARIAN;
    let sampling = Sampling { temperature: 0.6, top_p: 0.95, seed: 1, ..Sampling::default() };
    let options = AskOptions { sampling, max_tokens: 40 };
    let bench = Bench { model, tokenizer, frame: &Frame::default(), watch: &Unwatched };
    let dose = Dose { vector, alpha, unit: Unit::Gap, layers: vec![3, 4, 5] };
    let steering = steering_of(&[Instruction { dose, how, condition: None, tokens: None }], 1.0).unwrap();
    let answers = bench.ask(questions, &steering, &options).unwrap();
    let share = |label: &str| {
        let is = |it: &&Answer| classifier.labels()[classifier.label(&it.text)] == label;
        answers.iter().filter(is).count() as f64 / answers.len() as f64
    };
    let (helpful, dismissive) = (share("helpful"), share("dismissive"));
    let perplexity = bench.perplexities(questions, &[answers]).unwrap()[0];
    Outcome { helpful, dismissive, perplexity }
}

/// Measured on 72 questions (docs/REFERENCE.md has the table); the margins here are about half of what was found.
#[test]
fn operators_do_what_they_are_for() {
    let plain = outcome(0.0, Application::default());
    let fluent = |it: &Outcome| it.perplexity < 1.15 * plain.perplexity;

    let floor = outcome(1.0, op(Op::Cap { low: Some(0.4), high: None }));
    assert!(floor.helpful > plain.helpful + 0.2 && fluent(&floor), "{plain:?} {floor:?}");
    let ceiling = outcome(1.0, op(Op::Cap { low: None, high: Some(-0.8) }));
    assert!(ceiling.dismissive > plain.dismissive + 0.2 && fluent(&ceiling), "{plain:?} {ceiling:?}");

    // A set-point takes of a ruinous alpha what it needs.
    let ruinous = outcome(-3.0, Application::default());
    let enough = outcome(-3.0, op(Op::AddUntil(-1.0)));
    assert!(ruinous.perplexity > 10.0 * plain.perplexity, "{plain:?} {ruinous:?}");
    assert!(enough.dismissive > plain.dismissive + 0.2 && fluent(&enough), "{plain:?} {enough:?}");

    let answer = outcome(-1.2, Application { span: Span::Answer, ..Application::default() });
    assert!(answer.dismissive > plain.dismissive + 0.3 && fluent(&answer), "{plain:?} {answer:?}");
}
