//! Parity with Hugging Face transformers on the cases of `tests/golden/` (see the README there).

use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use whipstaff_engine::*;

/// No element further off than this fraction of the largest magnitude expected. The references
/// themselves are within 3e-6 of the same computation in f64 (tests/golden/README.md).
const TOLERANCE: f32 = 2e-5;

const CASES: &[&str] =
    &["llama-gqa-tied-bf16", "llama-untied-bias-f32", "llama-mha-sharded-f16", "llama-new-llama3-f32"];

#[derive(Deserialize)]
struct Golden {
    prompt_ids: Vec<u32>,
    greedy: Vec<u32>,
    cases: Vec<TextCase>,
}

#[derive(Deserialize)]
struct TextCase {
    text: String,
    ids: Vec<u32>,
    decoded: String,
}

fn folder(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(case)
}

fn golden(case: &str) -> Golden {
    serde_json::from_str(&std::fs::read_to_string(folder(case).join("golden.json")).unwrap()).unwrap()
}

fn expected(tensors: &SafeTensors, name: &str) -> Vec<f32> {
    let view = tensors.tensor(name).unwrap();
    assert_eq!(view.dtype(), Dtype::F32);
    view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn check_close(what: &str, got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len(), "{what}");
    let scale = want.iter().fold(0.0f32, |max, x| max.max(x.abs()));
    let worst = got.iter().zip(want).fold(0.0f32, |max, (a, b)| max.max((a - b).abs()));
    assert!(worst <= TOLERANCE * scale, "{what}: off by {worst} of {scale}");
}

/// The bound of fast products: matrix units round what `bf16` weights are multiplied with.
fn check_direction(what: &str, got: &[f32], want: &[f32]) {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let cosine = dot(got, want) / (dot(got, got) * dot(want, want)).sqrt();
    assert!(cosine > 0.9995, "{what}: cosine {cosine}");
}

fn on_every_set() -> impl Iterator<Item = (Isa, Precision)> {
    Isa::available().into_iter().flat_map(|isa| [(isa, Precision::F32), (isa, Precision::Fast)])
}

#[test]
fn every_site_of_every_layer_and_the_logits_equal_transformers_on_every_kernel_set() {
    for case in CASES {
        let file = std::fs::read(folder(case).join("golden.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&file).unwrap();
        for (isa, precision) in on_every_set() {
            let cpu = Cpu::from(isa).with_precision(precision);
            let model = Model::load(&folder(case), cpu).unwrap();
            let check = match precision {
                Precision::F32 => check_close,
                Precision::Fast => check_direction,
            };
            let layers: Vec<usize> = (0..model.config().n_layers).collect();
            let mut keep = KeepRows::new(&layers, &Site::ALL);
            let mut session = Session::new();
            let mut batch = Batch::new();
            batch.push(&mut session, &golden(case).prompt_ids);
            let resid = model.forward(&mut batch, &mut keep).unwrap();
            let what = format!("{case} {isa:?} {precision:?}");
            for site in Site::ALL {
                for layer in &layers {
                    let name = format!("{site}.{layer}");
                    let got = model.host(&keep.get(site, *layer)[0]);
                    check(&format!("{what} {name}"), got.as_slice(), &expected(&tensors, &name));
                }
            }
            let all: Vec<usize> = (0..batch.rows().len()).collect();
            let logits = model.logits(&resid, &all);
            check(&format!("{what} logits"), model.host(&logits).as_slice(), &expected(&tensors, "logits"));
        }
    }
}

#[test]
fn greedy_tokens_equal_transformers() {
    for case in CASES {
        let cpu = Cpu::best().with_precision(Precision::F32);
        let model = Model::load(&folder(case), cpu).unwrap();
        let tokenizer = Tokenizer::load(&folder(case)).unwrap();
        let golden = golden(case);
        let request =
            Request { prompt: golden.prompt_ids, max_tokens: golden.greedy.len(), ..Request::default() };
        let events = Generator::new(&model, &tokenizer).with_requests([request]).unwrap();
        let tokens: Vec<u32> = events.filter_map(|event| event.unwrap().token).collect();
        assert_eq!(tokens, golden.greedy, "{case}");
    }
}

#[test]
fn tokenisation_round_trips_equal_the_python_tokenizers() {
    for case in CASES {
        let tokenizer = Tokenizer::load(&folder(case)).unwrap();
        for TextCase { text, ids, decoded } in golden(case).cases {
            assert_eq!(tokenizer.encode(&text).unwrap(), ids, "{case} {text:?}");
            assert_eq!(tokenizer.decode(&ids).unwrap(), decoded, "{case} {text:?}");
        }
    }
}

#[test]
fn streamed_text_equals_the_text_decoded_at_once_and_never_splits_a_character() {
    for case in CASES {
        let tokenizer = Tokenizer::load(&folder(case)).unwrap();
        for TextCase { ids, decoded, .. } in golden(case).cases {
            let mut stream = TextStream::new(&[]);
            let mut pieces: Vec<String> =
                ids.iter().map(|id| stream.push(*id, &tokenizer).unwrap()).collect();
            pieces.push(stream.finish(&tokenizer).unwrap());
            let broken = |piece: &String| piece.contains('\u{fffd}');
            assert!(decoded.contains('\u{fffd}') || !pieces.iter().any(broken), "{case} {decoded:?}");
            assert_eq!(pieces.concat(), decoded, "{case}");
        }
    }
}

#[test]
fn a_stop_string_ends_the_text_before_it_wherever_tokens_cut_it() {
    let case = CASES[0];
    let tokenizer = Tokenizer::load(&folder(case)).unwrap();
    let check = |text: &str, stop: &str, want: &str| {
        let mut stream = TextStream::new(&[stop.to_owned()]);
        let mut out = String::new();
        for id in tokenizer.encode_more(text).unwrap() {
            if !stream.stopped() {
                out += &stream.push(id, &tokenizer).unwrap();
            }
        }
        out += &stream.finish(&tokenizer).unwrap();
        assert_eq!(out, want);
    };
    check("one\nUser: two", "\nUser:", "one");
    check("one\nUse: two", "\nUser:", "one\nUse: two");
    check("one\nUse", "\nUser:", "one\nUse");
    check("aab", "ab", "a");
    check("no stop here", "", "no stop here");
}

#[test]
fn a_tensor_that_two_shards_hold_is_refused_by_name() {
    let (from, to) = (folder("llama-mha-sharded-f16"), tempfile::tempdir().unwrap());
    for entry in std::fs::read_dir(&from).unwrap().map(Result::unwrap) {
        std::fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
    }
    let (first, extra) = ("model-00001-of-00003.safetensors", "model-extra.safetensors");
    std::fs::copy(from.join(first), to.path().join(extra)).unwrap();
    let index = to.path().join("model.safetensors.index.json");
    let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(&index).unwrap()).unwrap();
    json["weight_map"]["another"] = extra.into();
    std::fs::write(&index, json.to_string()).unwrap();

    let error = Model::load(to.path(), Isa::best()).err().expect("refused").to_string();
    assert!(error.contains(extra) && error.contains("another of the files holds too"), "{error}");
}
