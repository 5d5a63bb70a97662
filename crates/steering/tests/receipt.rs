//! The receipt on the embedded model: what works is said to work, and what cannot work is not.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use whipstaff_engine::*;
use whipstaff_steering::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/librarian")
}

struct Scene {
    model: Model,
    tokenizer: Tokenizer,
    train: ContrastSet,
    heldout: ContrastSet,
}

static SCENE: LazyLock<Scene> = LazyLock::new(|| {
    let set = |name: &str| ContrastSet::read(folder().join(name)).unwrap();
    Scene {
        model: Model::load(&folder(), Cpu::best()).unwrap(),
        tokenizer: Tokenizer::load(&folder()).unwrap(),
        train: set("contrasts.jsonl"),
        heldout: set("contrasts-heldout.jsonl"),
    }
});

const LAYERS: [usize; 3] = [3, 4, 5];

/// A receipt of a vector fitted to `train`, at a dose of `alpha` lengths of the mean difference.
fn receipt_of(train: &ContrastSet, heldout: &ContrastSet, method: Method, seed: u64, alpha: f64) -> Receipt {
    let given = Given { method, seed, alpha, how: Application::default() };
    receipt_given(train, heldout, given)
}

/// What is measured.
struct Given {
    method: Method,
    seed: u64,
    /// Of `add`, in lengths of the mean difference.
    alpha: f64,
    how: Application,
}

fn receipt_given(train: &ContrastSet, heldout: &ContrastSet, given: Given) -> Receipt {
    let Given { method, seed, alpha, how } = given;
    let Scene { model, tokenizer, .. } = &*SCENE;
    let options = ExtractOptions {
        model: ModelId::of(model, "librarian"),
        frame: Frame::default(),
        tokens: TokenRule::Answer,
        layers: (0..model.config().n_layers).collect(),
        method,
        seed,
    };
    let rows = AnswerRows::read(model, tokenizer, train, &options, &Unwatched).unwrap();
    let vector = rows.fit(model.cpu(), method, seed).unwrap();
    let mean = rows.fit(model.cpu(), Method::Mean, 0).unwrap();
    // The same length whatever the method: a random direction's own gap would be a dose of nothing.
    let (alpha, unit) = match how.op {
        Op::Add => (alpha * mean.layers[&4].gap.unwrap(), Unit::Unit),
        _ => (alpha, Unit::Gap),
    };
    let dose = Dose { vector: &vector, alpha, unit, layers: LAYERS.to_vec() };
    let instruction = Instruction { dose, how, condition: None, tokens: None };
    let bench = Bench { model, tokenizer, frame: &Frame::default(), watch: &Unwatched };
    let controls = Controls { max_contrasts: 40, ..Controls::default() };
    bench.receipt(&instruction, &rows, train, heldout, &controls).unwrap()
}

fn print(name: &str, it: &Receipt) {
    println!("{name}: {}", it.in_words());
    for arm in &it.arms {
        println!("  {:10} {:?} {:?}", arm.kind.name(), arm.effect, arm.seeds);
    }
    println!("  {:?} {} AUC {} {:?}", it.cost, it.unsteered_repetition, it.auc, it.nuisance);
}

#[test]
fn the_librarian_works() {
    let Scene { train, heldout, .. } = &*SCENE;
    for method in [Method::Mean, Method::Pca] {
        let it = receipt_of(train, heldout, method, 0, 1.2);
        print(method.name(), &it);
        assert_eq!(it.verdict(), Verdict::Works, "{}", it.in_words());
        assert!(it.auc > 0.95 && it.arms[0].effect.wrong_way < 0.2);
        assert!(it.arms[0].effect.plus > 0.0 && it.arms[0].effect.minus.unwrap() < 0.0);
        assert!(it.in_words().starts_with("works: "));
    }
}

#[test]
fn controls_do_not_work() {
    let Scene { train, heldout, .. } = &*SCENE;
    for method in [Method::Random, Method::Shuffled] {
        for seed in [11, 12] {
            let it = receipt_of(train, heldout, method, seed, 1.2);
            print(&format!("{method} {seed}"), &it);
            assert_eq!(it.verdict(), Verdict::NotWorking, "{method} {seed}: {}", it.in_words());
        }
    }
}

#[test]
fn a_vector_between_two_sides_that_are_the_same_does_not_work() {
    let Scene { train, heldout, .. } = &*SCENE;
    // Both answers are positive answers to other questions: sides differ by nothing but chance.
    let same = |set: &ContrastSet| {
        let mut same = set.clone();
        let n = set.contrasts.len();
        for (i, it) in same.contrasts.iter_mut().enumerate() {
            it.positive = set.contrasts[(i + 1) % n].positive.clone();
            it.negative = set.contrasts[(i + 2) % n].positive.clone();
        }
        same.contrasts.retain(|it| it.positive != it.negative);
        same
    };
    for heldout in [heldout, &same(heldout)] {
        let it = receipt_of(&same(train), heldout, Method::Mean, 0, 8.0);
        print("same", &it);
        assert_eq!(it.verdict(), Verdict::NotWorking, "{}", it.in_words());
    }
}

#[test]
fn the_same_seed_gives_the_same_receipt() {
    let Scene { train, heldout, .. } = &*SCENE;
    let few = heldout.first(6);
    let receipt = || receipt_of(train, &few, Method::Mean, 0, 0.5);
    assert_eq!(receipt(), receipt());
}

/// Operators with one direction move the margin to the side of their target, beyond what they do to other directions.
#[test]
fn other_operators_are_judged_by_how_far_they_move_the_margin() {
    let Scene { train, heldout, .. } = &*SCENE;
    let check = |method: Method, op: Op, alpha: f64, want: Verdict| {
        let how = Application { op, ..Application::default() };
        let it = receipt_given(train, heldout, Given { method, seed: 5, alpha, how });
        print(&format!("{method} {op:?}"), &it);
        assert_eq!(it.verdict(), want, "{op:?}: {}", it.in_words());
        assert_eq!((it.cost.len() == 1, it.has_one_way()), (!op.leans_either_way(), !op.leans_either_way()));
        assert_eq!(it.arms.len(), 4, "random, shuffled and examples are measured under the same operator");
        assert!(it.what.as_ref().is_some_and(|it| it.contains("at layers 3")), "{:?}", it.what);
    };
    check(Method::Mean, Op::Push(2.0), 1.0, Verdict::Works);
    check(Method::Mean, Op::Cap { low: None, high: Some(-2.5) }, 1.0, Verdict::WrongWay);
    check(Method::Mean, Op::Project, 1.0, Verdict::NotWorking);
    check(Method::Mean, Op::Rotate, 15.0, Verdict::WorksAtACost);
    check(Method::Shuffled, Op::Push(0.4), 1.0, Verdict::NotWorking);
}
