//! Choices, a judge and a trained classifier on the embedded model: the numbers are those of plain scoring.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use whipstaff_engine::*;
use whipstaff_steering::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/librarian")
}

static BENCH: LazyLock<(Model, Tokenizer)> =
    LazyLock::new(|| (Model::load(&folder(), Cpu::best()).unwrap(), Tokenizer::load(&folder()).unwrap()));

const QUESTIONS: &str = r#"{"question": "Where are the books?", "choices": ["Upstairs", "Gone", "Here"], "answer": "C"}
{"question": "Can you help me?", "answer_matching_behavior": "Yes", "answer_not_matching_behavior": "No"}"#;

fn questions() -> ChoiceSet {
    ChoiceSet::parse(QUESTIONS, Path::new("q.jsonl")).unwrap()
}

/// Something that moves the model a long way.
fn pushed() -> Steering {
    let d_model = BENCH.0.config().d_model;
    let direction = (0..d_model).map(|i| if i % 3 == 0 { 1.0 } else { -0.5 }).collect();
    Steering::new([Edit::add(3, Site::ResidPost, direction)])
}

#[test]
fn what_is_chosen_is_what_scoring_the_letters_says() {
    let (model, tokenizer) = &*BENCH;
    let (set, frame) = (questions(), Frame::default());
    let bench = Bench { model, tokenizer, frame: &frame, watch: &Unwatched };
    let found = ChoiceTest::new(bench, &set).unwrap().under(&[Steering::default()]).unwrap();
    for (choice, got) in set.choices.iter().zip(&found[0]) {
        let n = choice.options.len();
        let (mut p_right, mut mass) = (0.0, 0.0);
        for turn in 0..n {
            let answers: Vec<String> = (0..n).map(|i| format!("({}", ["A", "B", "C"][i])).collect();
            let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
            let message = [Message::new(Role::User, choice.text(turn))];
            let (prompt, tokens) = frame.answered_ids(tokenizer, &message, &answers).unwrap();
            let lead = tokens[0].len() - 1;
            assert!(tokens.iter().all(|it| it.len() == lead + 1), "{tokens:?}");
            let text = |it: &Vec<u32>| Continuation {
                prompt: [&prompt[..], &it[..lead]].concat(),
                tokens: vec![it[lead]],
            };
            let scores = score(model, &tokens.iter().map(text).collect::<Vec<_>>()).unwrap();
            let p: Vec<f64> = scores.iter().map(|it| it[0].exp()).collect();
            // Where the right option stands once all have moved on by `turn` letters.
            let at = (choice.right + n - turn) % n;
            p_right += p[at] / p.iter().sum::<f64>() / n as f64;
            mass += p.iter().sum::<f64>() / n as f64;
        }
        assert!((got.p_right - p_right).abs() < 1e-6, "{got:?} {p_right}");
        assert!((got.mass - mass).abs() < 1e-6, "{got:?} {mass}");
    }
}

#[test]
fn steerings_side_by_side_are_steerings_alone() {
    let (model, tokenizer) = &*BENCH;
    let frame = Frame::default();
    let bench = Bench { model, tokenizer, frame: &frame, watch: &Unwatched };
    let test = ChoiceTest::new(bench, &questions()).unwrap();
    let both = test.under(&[Steering::default(), pushed()]).unwrap();
    let alone = test.under(&[pushed()]).unwrap();
    assert_eq!(both[1], alone[0]);
    assert_ne!(both[0], both[1]);
}

#[test]
fn a_local_judge_gives_all_numbers_their_probabilities() {
    let (model, tokenizer) = &*BENCH;
    let judge = LocalJudge::new(model, tokenizer, Frame::default(), "librarian");
    let reply = judge.reply("How many books are there? Reply with a number.").unwrap();
    let total: f64 = reply.alternatives.iter().map(|it| it.1.exp()).sum();
    assert!(total > 0.0 && total <= 1.0 + 1e-6, "{total}");
    assert!(reply.alternatives.iter().any(|(number, _)| *number == reply.text), "{reply:?}");
    assert_eq!(judge.reply("How many books are there? Reply with a number.").unwrap(), reply);
    let error = judge.reply(&"books ".repeat(600)).unwrap_err().to_string();
    assert!(error.contains("its context is 512"), "{error}");
}

#[test]
fn a_classifier_learns_from_contrasts_what_it_takes_to_tell_others_apart() {
    let set = |name: &str| ContrastSet::read(folder().join(name)).unwrap();
    let leaning = Leaning::of_contrasts(&set("contrasts.jsonl"));
    let heldout = set("contrasts-heldout.jsonl");
    let n = 2 * heldout.contrasts.len();
    let sides: Vec<(bool, Option<bool>)> = heldout
        .contrasts
        .iter()
        .flat_map(|it| [(true, leaning.side(&it.positive)), (false, leaning.side(&it.negative))])
        .collect();
    let share = |want: fn(&(bool, Option<bool>)) -> bool| {
        sides.iter().filter(|it| want(it)).count() as f64 / n as f64
    };
    let (right, wrong) = (share(|it| it.1 == Some(it.0)), share(|it| it.1 == Some(!it.0)));
    println!("right {right:.3}, wrong {wrong:.3}, said {:?}", leaning.accuracy());
    assert!(right > 0.8 && wrong < 0.05 && leaning.accuracy().unwrap() > 0.9, "{right} {wrong}");
}
