//! The main job on the embedded model: parity of the vector, and what steering with it does.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use safetensors::SafeTensors;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use whipstaff_engine::*;
use whipstaff_steering::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/librarian")
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name)
}

/// Everything that the tests share: loading and extracting once is enough.
struct Librarian {
    model: Model,
    tokenizer: Tokenizer,
    classifier: Classifier,
    questions: Vec<Vec<Message>>,
    vector: PersonaVector,
}

static LIBRARIAN: LazyLock<Librarian> = LazyLock::new(|| {
    let model = Model::load(&folder(), Cpu::best().with_precision(Precision::F32)).unwrap();
    let tokenizer = Tokenizer::load(&folder()).unwrap();
    let read = |name: &str| std::fs::read_to_string(folder().join(name)).unwrap();
    let set = |name: &str| ContrastSet::read(folder().join(name)).unwrap();
    let mut vector =
        extract(&model, &tokenizer, &set("contrasts.jsonl"), &options(&model), &Unwatched).unwrap();
    let heldout = set("contrasts-heldout.jsonl");
    let frame = Frame::default();
    let bench = Bench { model: &model, tokenizer: &tokenizer, frame: &frame, watch: &Unwatched };
    vector.recommended = Some(bench.recommend(&vector, &heldout, usize::MAX).unwrap());
    Librarian {
        classifier: Classifier::parse(&read("classifier.json"), Path::new("classifier.json")).unwrap(),
        questions: read("questions-heldout.txt")
            .lines()
            .map(|it| vec![Message::new(Role::User, it)])
            .collect(),
        model,
        tokenizer,
        vector,
    }
});

fn options(model: &Model) -> ExtractOptions {
    ExtractOptions {
        model: ModelId::of(model, "librarian"),
        frame: Frame::default(),
        tokens: TokenRule::Answer,
        method: Method::Mean,
        seed: 0,
        layers: (0..model.config().n_layers).collect(),
    }
}

/// What answers to all held-out questions are like: shares of the classes, and perplexity under the
/// unsteered model.
#[derive(Debug)]
struct Outcome {
    helpful: f64,
    dismissive: f64,
    perplexity: f64,
}

/// Three seeds per question, sampled as the demo samples.
fn outcome(steering: &Steering) -> Outcome {
    let Librarian { model, tokenizer, classifier, questions, .. } = &*LIBRARIAN;
    let bench = Bench { model, tokenizer, frame: &Frame::default(), watch: &Unwatched };
    let (mut all_questions, mut all_answers) = (Vec::new(), Vec::new());
    for seed in [1, 1001, 2001] {
        let sampling = Sampling { temperature: 0.6, top_p: 0.95, seed, ..Sampling::default() };
        let options = AskOptions { sampling, max_tokens: 64 };
        all_answers.extend(bench.ask(questions, steering, &options).unwrap());
        all_questions.extend(questions.clone());
    }
    let share = |label: &str| {
        let is = |answer: &&Answer| classifier.labels()[classifier.label(&answer.text)] == label;
        all_answers.iter().filter(is).count() as f64 / all_answers.len() as f64
    };
    Outcome {
        helpful: share("helpful"),
        dismissive: share("dismissive"),
        perplexity: bench.perplexities(&all_questions, &[all_answers]).unwrap()[0],
    }
}

fn recommended(vector: &PersonaVector, factor: f64) -> Steering {
    let (layers, alpha) = vector.default_dose();
    combine(&[Dose { vector, alpha, unit: Unit::Gap, layers }], factor).unwrap()
}

#[test]
fn the_persona_vector_equals_what_a_transformers_script_computes() {
    let file = std::fs::read(golden("librarian-vector.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    for (layer, it) in &LIBRARIAN.vector.layers {
        let view = tensors.tensor(&format!("raw.{layer}")).unwrap();
        let raw = view.data().chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())));
        let got = it.direction.iter().map(|d| f64::from(*d) * it.gap.unwrap());
        let (off, norm) = got
            .zip(raw)
            .fold((0.0, 0.0), |(off, norm), (got, raw)| (off + (got - raw).powi(2), norm + raw.powi(2)));
        // The script runs in f32, one text at a time; sums of some thousand rows agree to about 1e-6.
        assert!((off / norm).sqrt() < 1e-4, "layer {layer}: {}", (off / norm).sqrt());
    }
}

#[test]
fn tokens_equal_the_python_tokenizers() {
    let json = std::fs::read_to_string(golden("librarian-tokens.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let cases = json["cases"].as_array().unwrap();
    assert!(cases.len() >= 40);
    for case in cases {
        let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
        let text = case["text"].as_str().unwrap();
        assert_eq!(LIBRARIAN.tokenizer.encode(text).unwrap(), ids, "{text:?}");
        assert_eq!(LIBRARIAN.tokenizer.decode(&ids).unwrap(), case["decoded"].as_str().unwrap());
    }
}

#[test]
fn unsteered_answers_are_undecided_and_the_recommended_dose_decides_them_both_ways() {
    let plain = outcome(&Steering::default());
    let plus = outcome(&recommended(&LIBRARIAN.vector, 1.0));
    let minus = outcome(&recommended(&LIBRARIAN.vector, -1.0));
    println!("unsteered {plain:?}\n+alpha {plus:?}\n-alpha {minus:?}");
    assert!(LIBRARIAN.questions.len() >= 50);
    assert!((0.15..=0.35).contains(&plain.helpful) && (0.15..=0.35).contains(&plain.dismissive), "{plain:?}");
    assert!(plus.helpful >= 0.85 && plus.dismissive <= 0.03, "{plus:?}");
    assert!(minus.dismissive >= 0.85 && minus.helpful <= 0.03, "{minus:?}");
    assert!(plus.perplexity <= 1.6 * plain.perplexity, "{plus:?} against {plain:?}");
    assert!(minus.perplexity <= 1.6 * plain.perplexity, "{minus:?} against {plain:?}");
}

#[test]
fn random_directions_of_the_same_norm_change_nothing() {
    let plain = outcome(&Steering::default());
    let mut shift = [0.0; 2];
    let seeds = [1, 2, 3];
    for seed in seeds {
        let random = randomised(&LIBRARIAN.vector, seed);
        for factor in [1.0, -1.0] {
            let steered = outcome(&recommended(&random, factor));
            println!("unsteered {plain:?}\nrandom {seed} {factor:+} {steered:?}");
            shift[0] += (steered.helpful - plain.helpful) / (2 * seeds.len()) as f64;
            shift[1] += (steered.dismissive - plain.dismissive) / (2 * seeds.len()) as f64;
            // One random direction has a small component along any other, and a share of 216 answers a
            // standard error of 3 points. The vector itself moves either share by 60.
            assert!((steered.helpful - plain.helpful).abs() < 0.2, "{steered:?} against {plain:?}");
            assert!((steered.dismissive - plain.dismissive).abs() < 0.2, "{steered:?} against {plain:?}");
        }
    }
    assert!(shift.iter().all(|shift| shift.abs() < 0.06), "{shift:?}");
}

/// The vector with every direction replaced by a random one.
fn randomised(vector: &PersonaVector, seed: u64) -> PersonaVector {
    let mut random = vector.clone();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for it in random.layers.values_mut() {
        // Sums of uniform numbers are near enough to normal for a direction.
        let mut normal = || (0..12).map(|_| f64::from(rng.next_u32()) / 2f64.powi(32)).sum::<f64>() - 6.0;
        let draw: Vec<f64> = it.direction.iter().map(|_| normal()).collect();
        let norm = draw.iter().map(|x| x * x).sum::<f64>().sqrt();
        it.direction = draw.iter().map(|x| (x / norm) as f32).collect();
    }
    random
}

#[test]
fn the_cosine_falls_with_alpha_at_every_layer_from_the_first_injected_one_on() {
    let Librarian { model, tokenizer, questions, vector, .. } = &*LIBRARIAN;
    let n_layers = model.config().n_layers;
    let texts: Vec<Text> = questions[..12]
        .iter()
        .map(|question| Text::new(&Frame::default().prompt_ids(tokenizer, question).unwrap(), &[]))
        .collect();
    let check = |layers: Vec<usize>, alphas: &[f64]| {
        let first = layers[0];
        let steering = |alpha: &f64| {
            let dose = Dose { vector, alpha: *alpha, unit: Unit::Gap, layers: layers.clone() };
            (*alpha, combine(&[dose], 1.0).unwrap())
        };
        let steerings: Vec<_> = alphas.iter().map(steering).collect();
        let table = measure_cosine(model, &texts, 1, &layers, &steerings, &Unwatched).unwrap();
        for layer in 0..n_layers {
            let means: Vec<f64> = (0..alphas.len()).map(|i| table.mean(i, layer)).collect();
            let flat = means.iter().all(|mean| *mean == 1.0);
            let falls = means[0] == 1.0 && means.windows(2).all(|pair| pair[1] < pair[0]);
            assert!(if layer < first { flat } else { falls }, "layers {layers:?}, layer {layer}: {means:?}");
        }
    };
    check((0..n_layers).collect(), &[0.0, 0.1, 0.2, 0.4, 0.7, 1.0]);
    check((0..n_layers).collect(), &[0.0, -0.1, -0.2, -0.4, -0.7, -1.0]);
    check(vec![2], &[0.0, 0.5, 1.0, 2.0, 3.0]);
    check(vec![1, 4], &[0.0, -0.5, -1.0, -2.0]);
}

#[test]
fn layers_extracted_alone_equal_layers_extracted_together() {
    let Librarian { model, tokenizer, vector, .. } = &*LIBRARIAN;
    let set = ContrastSet::read(folder().join("contrasts.jsonl")).unwrap();
    let some = ExtractOptions { layers: vec![1, 3], ..options(model) };
    let got = extract(model, tokenizer, &set, &some, &Unwatched).unwrap();
    assert_eq!(got.layers.keys().copied().collect::<Vec<_>>(), [1, 3]);
    got.layers.iter().for_each(|(layer, it)| assert_eq!(*it, vector.layers[layer]));
}

#[test]
fn every_token_rule_averages_the_rows_that_it_says() {
    let Librarian { model, tokenizer, .. } = &*LIBRARIAN;
    let line = |systems: &str, positive: &str, negative: &str| {
        format!(
            r#"{{"prompt": "Where is the atlas?", "positive": "{positive}", "negative": "{negative}"{systems}}}"#
        )
    };
    let systems = r#", "positive_system": "Be kind.", "negative_system": "You are tired of it.""#;
    let parse = |text: &str| ContrastSet::parse(text, Path::new("c.jsonl")).unwrap();
    let shared = parse(&line("", "On the third shelf, I will show you.", "No idea."));
    let apart = parse(&line(systems, "On the third shelf.", "No idea."));
    // The rows of a text that runs alone, and where its answer begins.
    let rows = |system: Option<&str>, answer: &str| {
        let system = system.map(|it| Message::new(Role::System, it));
        let said: Vec<Message> =
            system.into_iter().chain([Message::new(Role::User, "Where is the atlas?")]).collect();
        let (prompt, answers) = Frame::default().answered_ids(tokenizer, &said, &[answer]).unwrap();
        let ids = [&prompt[..], &answers[0]].concat();
        let (mut kept, mut session) = (KeepRows::new(&[3], &[Site::ResidPost]), Session::new());
        let mut batch = Batch::new();
        batch.push(&mut session, &ids);
        model.forward(&mut batch, &mut kept).unwrap();
        let rows = model.host(&kept.get(Site::ResidPost, 3)[0]);
        ((0..ids.len()).map(|i| rows.row(i).to_vec()).collect::<Vec<_>>(), prompt.len())
    };
    let check = |set: &ContrastSet, rule: &str, counted: fn(usize, usize) -> std::ops::Range<usize>| {
        let rule: TokenRule = rule.parse().unwrap();
        let some = ExtractOptions { tokens: rule, layers: vec![3], ..options(model) };
        let got = &extract(model, tokenizer, set, &some, &Unwatched).unwrap().layers[&3];
        let it = &set.contrasts[0];
        let mean = |side: usize, answer: &str| -> Vec<f64> {
            let (rows, start) = rows(it.systems.as_ref().map(|it| &it[side][..]), answer);
            let counted = &rows[counted(start, rows.len())];
            (0..rows[0].len())
                .map(|i| counted.iter().map(|row| f64::from(row[i])).sum::<f64>() / counted.len() as f64)
                .collect()
        };
        let (positive, negative) = (mean(0, &it.positive), mean(1, &it.negative));
        let raw: Vec<f64> = positive.iter().zip(&negative).map(|(p, n)| p - n).collect();
        let gap = got.gap.unwrap();
        let off = raw
            .iter()
            .zip(&got.direction)
            .map(|(raw, it)| (raw - gap * f64::from(*it)).powi(2))
            .sum::<f64>()
            .sqrt();
        // Directions are kept in f32; the rows are the same bits however they are batched.
        assert!(off <= 1e-6 * gap, "{rule}: {off} of {gap}");
    };
    for set in [&shared, &apart] {
        check(set, "answer", |start, end| start..end);
        check(set, "last", |_, end| end - 1..end);
        check(set, "answer-first", |start, _| start..start + 1);
        check(set, "1", |start, _| start + 1..start + 2);
        check(set, "-2", |_, end| end - 2..end - 1);
        check(set, "all", |_, end| 1..end);
    }
    check(&apart, "prompt-last", |start, _| start - 1..start);
    let refused = |set: &ContrastSet, rule: &str, want: &str| {
        let some = ExtractOptions { tokens: rule.parse().unwrap(), layers: vec![3], ..options(model) };
        let error = extract(model, tokenizer, set, &some, &Unwatched).unwrap_err().to_string();
        assert!(error.starts_with(want), "{error}");
    };
    refused(
        &shared,
        "prompt-last",
        "--tokens prompt-last: what comes before the answers of contrast 1 of `c`",
    );
    refused(&shared, "50", "--tokens 50: an answer of contrast 1 of `c` has only");
}

#[test]
fn methods_agree_where_the_data_leave_no_doubt_and_controls_know_nothing() {
    let Librarian { model, tokenizer, vector, .. } = &*LIBRARIAN;
    let set = ContrastSet::read(folder().join("contrasts.jsonl")).unwrap();
    let some = ExtractOptions { layers: vec![4], ..options(model) };
    let rows = AnswerRows::read(model, tokenizer, &set, &some, &Unwatched).unwrap();
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    for method in Method::ALL {
        let fitted = rows.fit(model.cpu(), method, 3).unwrap();
        let it = &fitted.layers[&4];
        let cosine = dot(&it.direction, &vector.layers[&4].direction);
        let auc = it.auc.unwrap();
        println!("{method}: cosine with mean {cosine:.3}, gap {:.3}, AUC {auc:.3}", it.gap.unwrap());
        assert_eq!(fitted.provenance.method, method.name());
        assert!(it.gap.unwrap() >= 0.0, "{method}");
        match method {
            Method::Mean => assert_eq!(it, &vector.layers[&4]),
            Method::Pca => assert!(cosine > 0.9 && auc > 0.95, "{method}: {cosine} {auc}"),
            Method::Logistic | Method::Lda => assert!(auc > 0.95, "{method}: {auc}"),
            Method::PcaCentered => {}
            Method::Random | Method::Shuffled => assert!(cosine.abs() < 0.7, "{method}: {cosine}"),
        }
    }
}

#[test]
fn a_vector_file_gives_back_the_vector_that_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("v.safetensors");
    LIBRARIAN.vector.write(&path).unwrap();
    assert_eq!(PersonaVector::read(&path).unwrap(), LIBRARIAN.vector);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "a temporary file was left");
}

#[test]
fn one_unit_is_another_unit_times_its_scale() {
    let vector = &LIBRARIAN.vector;
    let it = &vector.layers[&2];
    let steering = |alpha, unit| combine(&[Dose { vector, alpha, unit, layers: vec![2] }], 1.0).unwrap();
    let prompt = LIBRARIAN.tokenizer.encode("User: Hello.\nAssistant:").unwrap();
    let logits = |steering| {
        let mut session = Session::steered(steering);
        let logits = LIBRARIAN.model.extend(&mut session, &prompt).unwrap();
        LIBRARIAN.model.host(&logits).as_slice().to_vec()
    };
    let gap = logits(steering(0.5, Unit::Gap));
    for other in [
        steering(0.5 * it.gap.unwrap(), Unit::Unit),
        steering(0.5 * it.gap.unwrap() / it.rms.unwrap(), Unit::Rms),
    ] {
        let other = logits(other);
        let worst = gap.iter().zip(&other).fold(0f32, |max, (a, b)| max.max((a - b).abs()));
        assert!(worst < 1e-4, "{worst}");
    }
}
