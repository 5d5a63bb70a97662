//! Every model family against transformers on the cases of `tests/golden/families/`, and against itself:
//! batches, chunks, forks and zero, bit for bit.

use safetensors::SafeTensors;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use whipstaff_engine::*;

/// No element further off than this fraction of the largest magnitude expected: the bound of `golden.rs`.
const TOLERANCE: f32 = 2e-5;

#[derive(Deserialize)]
struct Golden {
    prompt_ids: Vec<u32>,
    greedy: Vec<u32>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/families")
}

/// The names of all cases.
fn cases() -> Vec<String> {
    let entries = std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

fn golden(case: &str) -> Golden {
    serde_json::from_str(&std::fs::read_to_string(root().join(case).join("golden.json")).unwrap()).unwrap()
}

fn load(case: &str, cpu: Cpu) -> Model {
    Model::load(&root().join(case), cpu).unwrap_or_else(|error| panic!("{case}: {error}"))
}

fn exact(isa: Isa) -> Cpu {
    Cpu::from(isa).with_precision(Precision::F32)
}

fn expected(tensors: &SafeTensors, name: &str) -> Vec<f32> {
    let view = tensors.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// How far off the worst element is, as a fraction of the largest magnitude expected.
fn error(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    let scale = want.iter().fold(0.0f32, |max, x| max.max(x.abs()));
    // A NaN must not pass as small.
    let worst = got.iter().zip(want).map(|(a, b)| (a - b).abs());
    worst.fold(0.0f32, |max, x| if x.is_nan() { f32::INFINITY } else { max.max(x) }) / scale
}

#[test]
fn every_family_has_at_least_two_cases() {
    let of = |case: &str| load(case, exact(Isa::best())).config().family.clone();
    let found: Vec<String> = cases().iter().map(|case| of(case)).collect();
    for family in families() {
        let n = found.iter().filter(|it| **it == family).count();
        assert!(n >= 2, "{family} has {n} cases");
    }
}

#[test]
fn every_site_of_every_layer_and_the_logits_equal_transformers() {
    let mut wrong = Vec::new();
    for case in cases() {
        let file = std::fs::read(root().join(&case).join("golden.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&file).unwrap();
        for isa in Isa::available() {
            let model = load(&case, exact(isa));
            let layers: Vec<usize> = (0..model.config().n_layers).collect();
            let mut keep = KeepRows::new(&layers, &Site::ALL);
            let mut session = Session::new();
            let mut batch = Batch::new();
            batch.push(&mut session, &golden(&case).prompt_ids);
            let resid = model.forward(&mut batch, &mut keep).unwrap();
            let all: Vec<usize> = (0..batch.rows().len()).collect();
            let logits = model.logits(&resid, &all);
            let mut check = |what: String, got: &[f32], want: &[f32]| {
                let error = error(got, want);
                if error > TOLERANCE {
                    wrong.push(format!("{case} {isa:?} {what}: off by {error:e}"));
                }
            };
            for layer in layers {
                for site in Site::ALL {
                    // The stream enters a block as it left the one below.
                    let name = match (site, layer) {
                        (Site::ResidPre, 1..) => format!("{}.{}", Site::ResidPost, layer - 1),
                        _ => format!("{site}.{layer}"),
                    };
                    let got = model.host(&keep.get(site, layer)[0]);
                    check(format!("{site}.{layer}"), got.as_slice(), &expected(&tensors, &name));
                }
            }
            check("logits".to_owned(), model.host(&logits).as_slice(), &expected(&tensors, "logits"));
        }
    }
    assert!(wrong.is_empty(), "{} are off, first:\n{}", wrong.len(), wrong[..wrong.len().min(40)].join("\n"));
}

/// The next tokens of a prompt, each the one with the largest logit. A session whose rope depends on its
/// length keeps the angles that it began with; there each token is chosen by a session of its own.
fn greedy(model: &Model, prompt: &[u32], n: usize) -> Vec<u32> {
    let mut tokens = prompt.to_vec();
    let mut session = Session::new();
    let mut fresh = prompt.to_vec();
    for _ in 0..n {
        if model.depends_on_length() {
            (session, fresh) = (Session::new(), tokens.clone());
        }
        let logits = model.extend(&mut session, &fresh).unwrap();
        let best = model.host(&logits).row(0).iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
        fresh = vec![best as u32];
        tokens.push(best as u32);
    }
    tokens.split_off(prompt.len())
}

#[test]
fn greedy_tokens_equal_transformers() {
    for case in cases() {
        let golden = golden(&case);
        let model = load(&case, exact(Isa::best()));
        assert_eq!(greedy(&model, &golden.prompt_ids, golden.greedy.len()), golden.greedy, "{case}");
    }
}

fn steering(model: &Model, layer: usize, site: Site, scale: f32) -> Steering {
    let add = (0..model.config().d_model).map(|i| scale * (i as f32).cos()).collect();
    Steering::new([Edit::add(layer, site, add)])
}

fn prompt(model: &Model, n: usize, seed: u32) -> Vec<u32> {
    let vocab_size = model.config().vocab_size as u32;
    (0..n as u32).map(|i| (i * 37 + seed * 11) % vocab_size).collect()
}

/// Logits of the last token, run alone in one pass.
fn alone(model: &Model, tokens: &[u32], steering: Steering) -> Vec<f32> {
    model.host(&model.extend(&mut Session::steered(steering), tokens).unwrap()).as_slice().to_vec()
}

#[test]
fn rows_of_a_batch_equal_sequences_run_one_by_one() {
    for case in cases() {
        let model = load(&case, Isa::best().into());
        let texts = [prompt(&model, 7, 1), prompt(&model, 30, 2), prompt(&model, 1, 3)];
        let steerings = [
            Steering::default(),
            steering(&model, 0, Site::ResidPost, 2.0),
            steering(&model, 1, Site::AttnOut, -1.0),
        ];
        let mut sessions: Vec<Session> = steerings.iter().cloned().map(Session::steered).collect();
        let mut batch = Batch::new();
        for (session, text) in sessions.iter_mut().zip(&texts) {
            batch.push(session, text);
        }
        let resid = model.forward(&mut batch, &mut NoTap).unwrap();
        for i in 0..3 {
            let last = batch.rows().span(i).end - 1;
            let logits = model.logits(&resid, &[last]);
            assert_eq!(
                model.host(&logits).as_slice(),
                alone(&model, &texts[i], steerings[i].clone()),
                "{case}, {i}"
            );
        }
    }
}

#[test]
fn a_text_in_chunks_equals_the_text_in_one_pass() {
    for case in cases() {
        let model = load(&case, Isa::best().into());
        let tokens = prompt(&model, 33, 4);
        let whole = alone(&model, &tokens, Steering::default());
        for size in [1, 7, 32] {
            let mut session = Session::new();
            session.expect(tokens.len());
            let mut last = Vec::new();
            for chunk in tokens.chunks(size) {
                last = model.host(&model.extend(&mut session, chunk).unwrap()).as_slice().to_vec();
            }
            assert_eq!(last, whole, "{case}, chunks of {size}");
        }
    }
}

#[test]
fn alpha_zero_is_the_plain_model_and_any_other_is_not() {
    for case in cases() {
        let model = load(&case, Isa::best().into());
        let tokens = prompt(&model, 20, 5);
        let plain = alone(&model, &tokens, Steering::default());
        for site in Site::ALL {
            assert_eq!(plain, alone(&model, &tokens, steering(&model, 1, site, 0.0)), "{case} {site}");
            assert_ne!(plain, alone(&model, &tokens, steering(&model, 1, site, 0.5)), "{case} {site}");
        }
    }
}

#[test]
fn blocks_above_an_injection_run_again_as_if_the_whole_had_run_steered() {
    for case in cases() {
        let model = load(&case, Isa::best().into());
        let (n_layers, first) = (model.config().n_layers, 1);
        let tokens = prompt(&model, 28, 8);
        let mut base = Session::new();
        let mut batch = Batch::new();
        batch.push(&mut base, &tokens);
        let entering = model.embed(&batch).unwrap();
        let leaving = model.run_blocks(&mut batch, entering, 0..first + 1, &mut NoTap);
        let above = model.run_blocks(&mut batch, leaving.clone(), first + 1..n_layers, &mut NoTap);
        let last = model.host(&model.logits(&above, &[27])).as_slice().to_vec();
        drop(batch);
        assert_eq!(last, alone(&model, &tokens, Steering::default()), "{case}");
        for alpha in [1.5, -0.7] {
            let steering = steering(&model, first, Site::ResidPost, alpha);
            let mut session = base.fork_above(first, steering.clone());
            let mut batch = Batch::new();
            batch.again(&mut session, 0);
            let resid = model.run_blocks_above(&mut batch, leaving.clone(), first, &mut NoTap);
            assert_eq!(
                model.host(&model.logits(&resid, &[27])).as_slice(),
                alone(&model, &tokens, steering),
                "{case}"
            );
        }
    }
}

#[test]
fn every_kernel_set_gives_the_same_bits() {
    for case in cases() {
        let run = |isa| {
            let model = load(&case, exact(isa));
            alone(&model, &prompt(&model, 20, 1), Steering::default())
        };
        let want = run(Isa::best());
        Isa::available().into_iter().for_each(|isa| assert_eq!(run(isa), want, "{case} {isa:?}"));
    }
}
