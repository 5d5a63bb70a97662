//! Every architecture of GGUF files: the fixtures of `tests/golden/families/`, converted as llama.cpp's
//! converter does (`tools/golden/gguf_families.py`, which also holds llama.cpp's own logits against them),
//! give the numbers of transformers.

use safetensors::SafeTensors;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use whipstaff_engine::*;

/// No element further off than this fraction of the largest magnitude expected: the bound of `golden.rs`.
const TOLERANCE: f32 = 2e-5;

#[derive(Deserialize)]
struct Golden {
    prompt_ids: Vec<u32>,
    greedy: Vec<u32>,
}

fn golden_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

/// The names of all files, without the ending.
fn cases() -> Vec<String> {
    let entries = std::fs::read_dir(golden_root().join("gguf-families")).unwrap();
    let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let mut names: Vec<String> = entries.map(|entry| stem(entry.unwrap().path())).collect();
    names.sort();
    names
}

fn load(case: &str) -> Model {
    let path = golden_root().join("gguf-families").join(format!("{case}.gguf"));
    let cpu = Cpu::from(Isa::best()).with_precision(Precision::F32);
    Model::load(&path, cpu).unwrap_or_else(|error| panic!("{case}: {error}"))
}

fn golden(case: &str) -> (Golden, Vec<u8>) {
    let folder = golden_root().join("families").join(case);
    let golden = std::fs::read_to_string(folder.join("golden.json")).unwrap();
    let tensors = std::fs::read(folder.join("golden.safetensors")).unwrap();
    (serde_json::from_str(&golden).unwrap(), tensors)
}

/// How far off the worst element is, as a fraction of the largest magnitude expected.
fn error(got: &[f32], tensors: &SafeTensors, name: &str) -> f32 {
    let view = tensors.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    let want = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
    assert_eq!(got.len(), want.len(), "{name}");
    let scale = want.clone().fold(0.0f32, |max, x| max.max(x.abs()));
    // A NaN must not pass as small.
    let worst = got.iter().zip(want).map(|(a, b)| (a - b).abs());
    worst.fold(0.0f32, |max, x| if x.is_nan() { f32::INFINITY } else { max.max(x) }) / scale
}

#[test]
fn every_family_has_a_file() {
    let of = |case: &String| load(case).config().family.clone();
    let mut found: BTreeSet<String> = cases().iter().map(of).collect();
    // Files of Mistral's say that they are Llama's.
    found.insert("mistral".to_owned());
    assert_eq!(found, families().into_iter().map(str::to_owned).collect());
}

#[test]
fn every_site_of_every_layer_and_the_logits_equal_transformers() {
    let mut wrong = Vec::new();
    for case in cases() {
        let (golden, file) = golden(&case);
        let tensors = SafeTensors::deserialize(&file).unwrap();
        let model = load(&case);
        let layers: Vec<usize> = (0..model.config().n_layers).collect();
        let mut keep = KeepRows::new(&layers, &Site::ALL);
        let mut session = Session::new();
        let mut batch = Batch::new();
        batch.push(&mut session, &golden.prompt_ids);
        let resid = model.forward(&mut batch, &mut keep).unwrap();
        let all: Vec<usize> = (0..batch.rows().len()).collect();
        let logits = model.logits(&resid, &all);
        let mut check = |what: String, got: &[f32], name: &str| {
            let error = error(got, &tensors, name);
            if error > TOLERANCE {
                wrong.push(format!("{case} {what}: off by {error:e}"));
            }
        };
        for layer in layers {
            for site in Site::ALL {
                // The stream enters a block as it left the one below.
                let name = match (site, layer) {
                    (Site::ResidPre, 1..) => format!("{}.{}", Site::ResidPost, layer - 1),
                    _ => format!("{site}.{layer}"),
                };
                check(format!("{site}.{layer}"), model.host(&keep.get(site, layer)[0]).as_slice(), &name);
            }
        }
        check("logits".to_owned(), model.host(&logits).as_slice(), "logits");
    }
    assert!(wrong.is_empty(), "{} are off, first:\n{}", wrong.len(), wrong[..wrong.len().min(40)].join("\n"));
}

#[test]
fn greedy_tokens_equal_transformers() {
    for case in cases() {
        let (golden, _) = golden(&case);
        let model = load(&case);
        let mut tokens = golden.prompt_ids.clone();
        for want in golden.greedy {
            // Each from a session of its own: the angles of some ropes depend on a text's length.
            let logits = model.extend(&mut Session::new(), &tokens).unwrap();
            let best =
                model.host(&logits).row(0).iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
            assert_eq!(best as u32, want, "{case}");
            tokens.push(want);
        }
    }
}
