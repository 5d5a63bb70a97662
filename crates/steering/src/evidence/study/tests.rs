//! Plans, findings and journals of made-up numbers.

use super::*;
use crate::error::Error;
use crate::fit::Method;
use crate::measure::Divergence;
use crate::vector::{Arm, ArmKind, Cost, Effect, ModelId, Nuisance, Receipt, Unit};
use std::path::Path;

const METHODS: [Method; 2] = [Method::Mean, Method::Pca];

fn plan(persona: &str, n_layers: usize) -> PairPlan {
    PairPlan {
        model: ModelId { name: "m".into(), weights_sha256: "aa".into(), d_model: 4, n_layers },
        persona: persona.into(),
        contrasts_sha256: "bb".into(),
        heldout_sha256: "cc".into(),
        n_heldout: 8,
        words: None,
        frame: "plain".into(),
        tokens: "answer".into(),
        kl: 0.1,
        neutral_sha256: String::new(),
        seed: 3,
        tool: "whipstaff test".into(),
    }
}

/// A cell whose effect is `picking` on the half that doses are picked on, and about `judging` on the other.
fn cell(method: Method, layer: usize, picking: f64, judging: f64) -> StudyCell {
    let spread = if method == Method::Mean { [-0.02, 0.01, 0.03, -0.02] } else { [0.01, -0.02, -0.02, 0.03] };
    let effects = (0..8).map(|i| if i % 2 == 0 { picking } else { judging + spread[i / 2] }).collect();
    let cost = [0.1, 0.11].map(|kl| Divergence { kl, perplexity_ratio: 1.0 + kl });
    let dose = Some(DoseOutcome { alpha: 1.0 + layer as f64 / 3.0, effects, cost });
    StudyCell { method, layers: vec![layer], halves: Some(0.9), dose }
}

fn receipt(best: &StudyCell, steering: [f64; 2], prompting: Option<[f64; 2]>) -> Receipt {
    let effect = |[low, high]: [f64; 2]| {
        let mean = (low + high) / 2.0;
        Effect { plus: mean, minus: Some(-mean), mean, interval: Some([low, high]), wrong_way: 0.0 }
    };
    let arm = |kind, interval| Arm { kind, effect: effect(interval), seeds: Vec::new() };
    let mut arms = vec![arm(ArmKind::Vector, steering), arm(ArmKind::Random, [-0.02, 0.02])];
    arms.extend(prompting.map(|it| arm(ArmKind::Shown, it)));
    let cost = Cost { kl: 0.1, neutral_perplexity: 1.1, answer_perplexity: 1.2, repetition: 0.0 };
    Receipt {
        layers: best.layers.clone(),
        alpha: best.dose.as_ref().unwrap().alpha,
        unit: Unit::Gap,
        what: None,
        best_layer: best.layers[0],
        measured_on: "set".into(),
        n_contrasts: 4,
        seed: 3,
        margin: 0.0,
        arms,
        cost: vec![cost; 2],
        unsteered_repetition: 0.0,
        auc: 0.9,
        nuisance: Nuisance { longer: 0.0, length: None, first_token: 0.5 },
    }
}

/// Mean and PCA with these effects by layer, alike on both halves.
fn pair(persona: &str, mean: &[f64], pca: &[f64], steering: [f64; 2], prompting: Option<[f64; 2]>) -> Pair {
    let of = |method: Method, effects: &[f64]| {
        effects.iter().enumerate().map(|(i, x)| cell(method, i, *x, *x)).collect::<Vec<_>>()
    };
    let cells = [of(Method::Mean, mean), of(Method::Pca, pca)].concat();
    let mut pair = Pair { plan: plan(persona, mean.len()), cells, receipt: None };
    pair.receipt = Some(receipt(pair.best(None).unwrap(), steering, prompting));
    pair
}

fn pairs() -> Vec<Pair> {
    vec![
        pair("formal", &[0.1, 0.2, 0.6, 0.3], &[0.05, 0.1, 0.2, 0.1], [0.5, 0.7], Some([0.2, 0.4])),
        pair("verbose", &[0.0, 0.1, 0.3, 0.4], &[0.0, 0.1, 0.3, 0.39], [0.3, 0.5], Some([0.6, 1.0])),
    ]
}

fn findings(pairs: &[Pair]) -> Findings {
    Findings::new(pairs, &METHODS, 0.1, 3)
}

#[test]
fn what_is_best_is_picked_on_one_half_and_judged_on_the_other() {
    let cells = vec![
        cell(Method::Mean, 0, 0.9, 0.1),
        cell(Method::Mean, 1, 0.2, 5.0),
        StudyCell { dose: None, ..cell(Method::Mean, 2, 9.0, 9.0) },
    ];
    let pair = Pair { plan: plan("formal", 3), cells, receipt: None };
    let best = pair.best(None).unwrap();
    assert_eq!((best.layers[0], best.picked_on()), (0, Some(0.9)));
    let judged = best.judged(0).unwrap();
    assert!((judged.effect - 0.1).abs() < 1e-12 && judged.right_way == 1.0, "{judged:?}");
    assert!(judged.interval.is_some_and(|[low, high]| low < 0.1 && high > 0.1));
    assert!(pair.best(Some(Method::Pca)).is_none());
}

#[test]
fn methods_are_compared_with_the_first_contrast_by_contrast() {
    let it = findings(&pairs());
    assert_eq!(it.rows.len(), 4);
    assert_eq!(it.against_first(Method::Pca), [0, 1, 1], "0.01 less is no telling");
    assert!(it.of(Method::Mean).all(|row| row.beyond_first.is_none()));
    let row = it.of(Method::Pca).next().unwrap();
    assert!((row.beyond_first.unwrap().0 + 0.4).abs() < 1e-12, "{row:?}");
}

#[test]
fn one_depth_is_sought_that_serves_all_curves() {
    // The best layers of four curves over four layers are 2, 2, 3, 3; at layer 2, three have at least three quarters.
    let it = findings(&pairs()).depth.unwrap();
    assert_eq!(it.own, [0.5, 0.75]);
    assert!(it.common > 0.375 && it.common < 0.625, "{it:?}");
    let want = (0.6 + 0.2 + 0.3 + 0.3) / (0.6 + 0.2 + 0.4 + 0.39);
    assert!((it.share - want).abs() < 1e-9, "{it:?}");
}

#[test]
fn models_of_any_depth_share_one_axis() {
    let deep: Vec<f64> = (0..20).map(|i| if i == 10 { 1.0 } else { 0.0 }).collect();
    let two =
        [pair("a", &[0.0, 1.0], &[0.0, 1.0], [0.1, 0.2], None), pair("b", &deep, &deep, [0.1, 0.2], None)];
    let it = Findings::new(&two, &METHODS, 0.1, 3).depth.unwrap();
    assert_eq!(it.own, [0.5, 0.5]);
    assert!((it.common - 0.5).abs() < 0.03 && (it.share - 1.0).abs() < 1e-9, "{it:?}");
}

#[test]
fn without_an_effect_there_is_no_depth() {
    let flat = [pair("a", &[0.0, -0.1], &[-0.2, -0.1], [0.0, 0.1], None)];
    assert_eq!(Findings::new(&flat, &METHODS, 0.1, 3).depth, None);
}

#[test]
fn steering_is_more_or_less_than_prompting_only_where_intervals_do_not_meet() {
    let check = |steering, prompting, want: Compared, share: Option<f64>| {
        let it = findings(&[pair("a", &[0.1, 0.2], &[0.0, 0.1], steering, prompting)]);
        let row = &it.prompting[0];
        assert_eq!(row.compared(), want, "{row:?}");
        assert!(row.share().zip(share).is_none_or(|(a, b)| (a - b).abs() < 1e-9), "{row:?}");
        assert_eq!(row.share().is_some(), share.is_some());
    };
    check([0.5, 0.7], Some([0.2, 0.4]), Compared::More, Some(2.0));
    check([0.1, 0.2], Some([0.3, 0.5]), Compared::Less, Some(0.375));
    check([0.1, 0.4], Some([0.3, 0.5]), Compared::Alike, Some(0.625));
    check([0.1, 0.4], Some([-0.5, -0.3]), Compared::More, None);
    check([0.1, 0.4], Some([-0.1, 0.2]), Compared::Alike, None);
    check([0.1, 0.4], None, Compared::Alike, None);
}

#[test]
fn data_hold_what_figures_show() {
    let json = findings(&pairs()).to_json(&pairs(), &[("What?", "That.".to_owned())]);
    assert_eq!(json["answers"], serde_json::json!([{ "question": "What?", "answer": "That." }]));
    assert_eq!(json["methods"].as_array().unwrap().len(), 4);
    assert_eq!(json["curves"][0]["layers"], serde_json::json!([0, 1, 2, 3]));
    assert_eq!(json["prompting"][1]["steering_does"], "less");
    assert_eq!(json["receipts"][0]["receipt"]["arms"][0]["arm"], "vector");
    let csv = Findings::to_csv(&pairs());
    let n_fields = |line: &str| line.split(',').count();
    assert_eq!(csv.lines().count(), 1 + 16);
    assert!(csv.lines().all(|line| n_fields(line) == n_fields(csv.lines().next().unwrap())), "{csv}");
    let mut odd = pairs();
    odd[0].plan.persona = "a, \"b\"".into();
    assert!(Findings::to_csv(&odd).contains("\nm,\"a, \"\"b\"\"\",mean,0,0,"));
}

/// Measures what is missing; says how much that was.
fn run(path: &Path, methods: &[Method], n_layers: usize) -> Result<usize, Error> {
    let layers: Vec<Vec<usize>> = (0..n_layers).map(|layer| vec![layer]).collect();
    let mut journal = Journal::open(path, &plan("formal", 4))?;
    let missing = journal.missing(methods, &layers);
    for (method, layers) in &missing {
        let x = 0.1 + layers[0] as f64 / 7.0 + if *method == Method::Pca { 0.3 } else { 0.0 };
        journal.append(cell(*method, layers[0], x, x / 3.0))?;
    }
    let lacked = journal.lacks_receipt(methods, &layers);
    if lacked {
        let best = journal.pair(methods, &layers).best(None).cloned().unwrap();
        journal.set_receipt(best.method, receipt(&best, [0.1, 0.3], Some([0.2, 0.5])))?;
    }
    let pair = journal.pair(methods, &layers);
    assert!(pair.cells.len() == methods.len() * n_layers && pair.receipt.is_some());
    Ok(missing.len() + usize::from(lacked))
}

#[test]
fn only_what_is_missing_or_damaged_is_measured_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.formal.jsonl");
    assert_eq!(run(&path, &METHODS, 3).unwrap(), 7);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let check = |name: &str, damaged: String, want: usize| {
        std::fs::write(&path, damaged).unwrap();
        assert_eq!(run(&path, &METHODS, 3).unwrap(), want, "{name}");
        let mut found: Vec<String> =
            std::fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
        found.sort();
        let mut wanted = lines.clone();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "{name}");
    };
    check("nothing", text.clone(), 0);
    check("a cut receipt", text[..text.len() - 20].to_owned(), 1);
    check("an edited cell", text.replacen("\"alpha\":1", "\"alpha\":2", 1), 1);
    check("cut after three", lines[..4].join("\n"), 4);
    check("noise", format!("{text}\u{0}garbage\n"), 0);
}

#[test]
fn a_study_that_is_given_more_keeps_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.formal.jsonl");
    assert_eq!(run(&path, &METHODS[..1], 2).unwrap(), 3);
    // Another method is better: the receipt is of another best.
    assert_eq!(run(&path, &METHODS, 2).unwrap(), 3);
    assert_eq!(run(&path, &METHODS, 3).unwrap(), 3);
    assert_eq!(run(&path, &METHODS, 3).unwrap(), 0);
}

#[test]
fn the_file_of_another_study_is_refused_by_what_differs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.formal.jsonl");
    run(&path, &METHODS, 3).unwrap();
    let before = std::fs::read(&path).unwrap();
    let check = |change: fn(&mut PairPlan), want: &str| {
        let mut other = plan("formal", 4);
        change(&mut other);
        let error = Journal::open(&path, &other).err().unwrap().to_string();
        assert!(error.contains(want), "{error}");
        assert!(std::fs::read(&path).unwrap() == before, "the file was touched");
    };
    check(|it| it.kl = 0.2, "its `kl` is 0.1, this one's is 0.2");
    check(|it| it.model.weights_sha256 = "zz".into(), "its `weights_sha256` is");
    check(|it| it.words = Some(["a".into(), "b".into()]), "its `words` is null");
    std::fs::write(&path, "{}\n").unwrap();
    assert!(Journal::open(&path, &plan("formal", 4)).err().unwrap().to_string().contains("move it away"));
}
