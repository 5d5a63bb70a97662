//! GGUF files give what their originals give (see `tests/golden/README.md`).

use safetensors::SafeTensors;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use whipstaff_engine::*;

/// No logit further off than this fraction of the largest: the same bound as for safetensors. With
/// [`Precision::Fast`], what quantised weights are multiplied with is rounded to 8 bits, in the reference
/// as well; what is rounded is the same but for the last bits of `f32`, so the bound is, too.
const TOLERANCE: f32 = 2e-5;

/// What that rounding costs, as a fraction of the largest logit. The reference loses 1.2e-2 (Q8_0) to
/// 1.7e-2 (Q4_K_M) on this model of random weights.
const TOLERANCE_OF_ROUNDING: f32 = 2e-2;

/// The checkpoints that were also written as GGUF files.
const FLOATS: &[&str] = &["gqa-tied-bf16", "untied-bias-f32", "mha-sharded-f16", "new-llama3-f32"];

const QUANTISED: &[&str] = &["q8_0", "q4_0", "q4_k_m", "mixed"];

#[derive(Deserialize)]
struct Golden {
    prompt_ids: Vec<u32>,
    greedy: Vec<u32>,
    cases: Vec<TextCase>,
}

#[derive(Deserialize)]
struct Quantised {
    prompt_ids: Vec<u32>,
    greedy: BTreeMap<String, Vec<u32>>,
}

#[derive(Deserialize)]
struct TextCase {
    text: String,
    ids: Vec<u32>,
    decoded: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

fn file(name: &str) -> PathBuf {
    root().join(format!("gguf/{name}.gguf"))
}

fn json<T: for<'a> Deserialize<'a>>(path: &str) -> T {
    serde_json::from_str(&std::fs::read_to_string(root().join(path)).unwrap()).unwrap()
}

fn tensor(path: &str, name: &str) -> Vec<f32> {
    let bytes = std::fs::read(root().join(path)).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let data = tensors.tensor(name).unwrap().data().to_vec();
    data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// Logits of every token of a prompt, `[n_tokens, vocab_size]`.
fn logits(model: &Model, prompt: &[u32]) -> Vec<f32> {
    let mut session = Session::new();
    let mut batch = Batch::new();
    batch.push(&mut session, prompt);
    let resid = model.forward(&mut batch, &mut NoTap).unwrap();
    let all: Vec<usize> = (0..prompt.len()).collect();
    model.host(&model.logits(&resid, &all)).as_slice().to_vec()
}

fn greedy(model: &Model, tokenizer: &Tokenizer, prompt: Vec<u32>, n: usize) -> Vec<u32> {
    let request = Request { prompt, max_tokens: n, ..Request::default() };
    let events = Generator::new(model, tokenizer).with_requests([request]).unwrap();
    events.filter_map(|event| event.unwrap().token).collect()
}

#[track_caller]
fn check_close(what: &str, got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len(), "{what}");
    let scale = want.iter().fold(0.0f32, |max, x| max.max(x.abs()));
    let worst = got.iter().zip(want).fold(0.0f32, |max, (a, b)| max.max((a - b).abs()));
    assert!(worst <= tolerance * scale, "{what}: off by {worst} of {scale}");
}

fn exact(isa: Isa) -> Cpu {
    Cpu::from(isa).with_precision(Precision::F32)
}

#[test]
fn a_float_model_gives_the_logits_and_tokens_of_its_safetensors() {
    for name in FLOATS {
        let golden: Golden = json(&format!("llama-{name}/golden.json"));
        let tokenizer = Tokenizer::load(&file(name)).unwrap();
        let transformers = tensor(&format!("llama-{name}/golden.safetensors"), "logits");
        for isa in Isa::available() {
            let cpu = exact(isa);
            let model = Model::load(&file(name), cpu.clone()).unwrap();
            let original = Model::load(&root().join(format!("llama-{name}")), cpu).unwrap();
            let (got, what) = (logits(&model, &golden.prompt_ids), format!("{name} {isa:?}"));
            check_close(&what, &got, &logits(&original, &golden.prompt_ids), TOLERANCE);
            check_close(&what, &got, &transformers, TOLERANCE);
            let tokens = greedy(&model, &tokenizer, golden.prompt_ids.clone(), golden.greedy.len());
            assert_eq!(tokens, golden.greedy, "{what}");
        }
    }
}

#[test]
fn a_quantised_model_gives_the_logits_and_tokens_of_its_dequantised_weights() {
    let golden: Quantised = json("gguf/quantised.json");
    for name in QUANTISED {
        let tokenizer = Tokenizer::load(&file(name)).unwrap();
        let reference = |kind: &str| tensor("gguf/quantised.safetensors", &format!("{name}.{kind}"));
        let (plain, rounded) = (reference("logits"), reference("logits_int8"));
        // Matrix units also round what the one bf16 matrix of this file is multiplied with.
        let tolerance = if *name == "mixed" { TOLERANCE_OF_ROUNDING } else { TOLERANCE };
        for isa in Isa::available() {
            let cpu = exact(isa);
            let what = format!("{name} {isa:?}");
            let model = Model::load(&file(name), cpu.clone()).unwrap();
            check_close(&what, &logits(&model, &golden.prompt_ids), &plain, TOLERANCE);

            let model = Model::load(&file(name), cpu.with_precision(Precision::Fast)).unwrap();
            let got = logits(&model, &golden.prompt_ids);
            check_close(&format!("{what}, fast"), &got, &plain, TOLERANCE_OF_ROUNDING);
            check_close(&format!("{what}, 8 bits"), &got, &rounded, tolerance);
            let want = &golden.greedy[*name];
            assert_eq!(&greedy(&model, &tokenizer, golden.prompt_ids.clone(), want.len()), want, "{what}");
        }
    }
}

#[test]
fn the_blueprint_is_that_of_the_safetensors_but_for_how_rope_is_said() {
    for name in FLOATS {
        let model = Model::load(&file(name), Isa::best()).unwrap();
        let original = Model::load(&root().join(format!("llama-{name}")), Isa::best()).unwrap();
        let (config, mut want) = (model.config().clone(), original.config().clone());
        assert_eq!(config.ropes[0].theta, want.ropes[0].theta, "{name}");
        want.ropes = config.ropes.clone();
        // llama.cpp writes the length that the folder says, though rope stretches it.
        want.max_positions = config.max_positions;
        // A file says which tokens end a turn; a folder may say so of fewer.
        want.eos_tokens = config.eos_tokens.clone();
        assert_eq!(config, want, "{name}");
        assert!(original.config().eos_tokens.iter().all(|id| config.eos_tokens.contains(id)), "{name}");
        assert_eq!(n_parameters(&config), n_parameters(&want));
    }
}

#[test]
fn a_file_knows_its_types_its_size_and_its_digest() {
    let types = |name: &str| {
        let model = Model::load(&file(name), Isa::best()).unwrap();
        let mut names: Vec<&str> = model.weights().dtypes().iter().map(|dtype| dtype.name()).collect();
        names.sort_unstable();
        let bytes = std::fs::metadata(file(name)).unwrap().len();
        assert_eq!(model.weights().n_bytes() as u64, bytes);
        assert_eq!(model.weights().sha256().len(), 64);
        names.join(" ")
    };
    assert_eq!(types("new-llama3-f32"), "F32");
    assert_eq!(types("gqa-tied-bf16"), "BF16 F32");
    assert_eq!(types("q4_0"), "F32 Q4_0 Q6_K");
    assert_eq!(types("mixed"), "BF16 F16 F32 Q2_K Q3_K Q4_0 Q4_1 Q4_K Q5_0 Q5_1 Q5_K Q6_K Q8_0");
}

fn check_texts(name: &str, encode: impl Fn(&Tokenizer, &str) -> Vec<u32>, cases: &[TextCase]) {
    let tokenizer = Tokenizer::load(&file(name)).unwrap();
    for TextCase { text, ids, decoded } in cases {
        assert_eq!(&encode(&tokenizer, text), ids, "{name} {text:?}");
        assert_eq!(&tokenizer.decode(ids).unwrap(), decoded, "{name} {text:?}");
    }
}

#[test]
fn the_tokenizer_of_a_model_equals_its_tokenizer_json() {
    for name in FLOATS {
        let golden: Golden = json(&format!("llama-{name}/golden.json"));
        check_texts(name, |tokenizer, text| tokenizer.encode(text).unwrap(), &golden.cases);
    }
}

/// What `gguf_models.py`, `gguf_cuts.py` and `gguf_unigram.py` have asked the originals.
fn tokenizers() -> BTreeMap<String, Vec<TextCase>> {
    let mut all: BTreeMap<String, Vec<TextCase>> = json("gguf/tokenizers.json");
    all.extend(json::<BTreeMap<String, Vec<TextCase>>>("gguf/cuts.json"));
    all.extend(json::<BTreeMap<String, Vec<TextCase>>>("gguf/unigram.json"));
    all
}

#[test]
fn every_way_of_cutting_text_equals_the_original() {
    let golden = tokenizers();
    assert_eq!(golden.len(), 17);
    for (name, cases) in golden {
        let name = format!("tokenizer-{name}");
        check_texts(&name, |tokenizer, text| tokenizer.encode_more(text).unwrap(), &cases);
    }
}

#[test]
fn sentencepiece_models_put_bos_first_and_find_special_tokens_in_a_text() {
    let tokenizer = Tokenizer::load(&file("tokenizer-spm")).unwrap();
    let plain = tokenizer.encode_more("The well").unwrap();
    assert_eq!(tokenizer.encode("The well").unwrap(), [&[1], &plain[..]].concat());
    // What follows a special token begins a text of its own, with the space that goes before.
    assert_eq!(tokenizer.encode_more("The well</s>The well").unwrap(), [&plain[..], &[2], &plain].concat());
    assert_eq!(tokenizer.decode(&tokenizer.encode("The well</s>").unwrap()).unwrap(), "The well");
    let tool = tokenizer.encode_more("The well<tool>").unwrap();
    assert_eq!(tool.len(), plain.len() + 1);
    assert_eq!(tokenizer.decode(&tool).unwrap(), "The well<tool>");
}

#[test]
fn unigram_models_put_eos_last_and_know_their_own_symbols() {
    let tokenizer = Tokenizer::load(&file("tokenizer-t5")).unwrap();
    let plain = tokenizer.encode_more("The well").unwrap();
    assert_eq!(tokenizer.encode("The well").unwrap(), [&plain[..], &[2]].concat());
    let tool = tokenizer.encode_more("The well<tool>").unwrap();
    assert_eq!((tool.len(), &tool[..plain.len()]), (plain.len() + 1, &plain[..]));
    assert_eq!(tokenizer.decode(&tool).unwrap(), "The well<tool>");
}

#[test]
fn streamed_text_of_a_file_equals_the_text_decoded_at_once() {
    for (name, cases) in tokenizers() {
        let tokenizer = Tokenizer::load(&file(&format!("tokenizer-{name}"))).unwrap();
        for TextCase { ids, decoded, .. } in cases {
            let mut stream = TextStream::new(&[]);
            let mut text: String = ids.iter().map(|id| stream.push(*id, &tokenizer).unwrap()).collect();
            text += &stream.finish(&tokenizer).unwrap();
            assert_eq!(text, decoded, "{name}");
        }
    }
}
