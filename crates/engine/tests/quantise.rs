//! What `Quantised` writes: the rows of `quantise_row`, readable as the model that they were made from.

mod expectations;

use expectations::{expectations, kl, worst};
use std::path::{Path, PathBuf};
use whipstaff_engine::*;
use whipstaff_kernels::{Bytes as Stored, Matrix, quantise_row};

/// No log-probability of Q8_0 weights further off than this fraction of the largest. Q8_0 rounds a weight by at most
/// 1/254 of the largest of 32; on these models of random weights, 8 to 64 wide, that came to 0.03 to 0.05.
const TOLERANCE: f64 = 0.1;

/// Where nothing is quantised, only the order of factors in the rope is left.
const SAME: f64 = 2e-5;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name)
}

fn bytes(dir: &Path, dtype: Dtype, threads: usize) -> Vec<u8> {
    let file = Quantised::plan(dir, "m", dtype).unwrap();
    let cpu = Cpu::new(Isa::best(), threads);
    let bytes: Vec<u8> = file.pieces(&cpu).flat_map(Result::unwrap).collect();
    assert_eq!(bytes.len() as u64, file.n_bytes());
    bytes
}

/// The same in a file.
fn written(folder: &tempfile::TempDir, dir: &Path, dtype: Dtype) -> PathBuf {
    let path = folder.path().join("m.gguf");
    std::fs::write(&path, bytes(dir, dtype, 2)).unwrap();
    path
}

fn check_logits(name: &str, tolerance: f64) {
    let folder = tempfile::tempdir().unwrap();
    let path = written(&folder, &golden(name), Dtype::Q8_0);
    let ids: Vec<u32> = (2..40).map(|i| i * 7 % 290).collect();
    let run = |path: &Path| expectations(path, Precision::F32, &ids);
    let off = worst(&run(&path), &run(&golden(name)));
    println!("{name}: off by {off:.1e}");
    assert!(off <= tolerance, "{name}: off by {off}");
}

#[test]
fn logits_are_the_originals_but_for_the_rounding_of_weights() {
    check_logits("llama-gqa-tied-bf16", TOLERANCE);
    check_logits("llama-untied-bias-f32", TOLERANCE);
    // Their rows are no multiple of 32, so nothing is rounded.
    check_logits("llama-mha-sharded-f16", SAME);
    check_logits("llama-new-llama3-f32", SAME);
}

#[test]
fn the_tokenizer_and_the_stop_tokens_are_the_originals() {
    for name in ["llama-gqa-tied-bf16", "llama-mha-sharded-f16", "llama-new-llama3-f32"] {
        let folder = tempfile::tempdir().unwrap();
        let path = written(&folder, &golden(name), Dtype::Q4K);
        let (got, want) = (Tokenizer::load(&path).unwrap(), Tokenizer::load(&golden(name)).unwrap());
        for text in ["The well, 1234!", "", "<|eos|> two\n\n three", "Zażółć 🙂"] {
            assert_eq!(got.encode(text).unwrap(), want.encode(text).unwrap(), "{name} {text:?}");
        }
        let read = Model::load(&path, Isa::best()).unwrap();
        let original = Model::load(&golden(name), Isa::best()).unwrap();
        assert_eq!(read.config().eos_tokens, original.config().eos_tokens, "{name}");
        assert_eq!(read.config().bos_token, original.config().bos_token, "{name}");
    }
}

#[test]
fn equal_models_give_equal_bytes_whatever_the_threads() {
    for dtype in [Dtype::Q8_0, Dtype::Q4K] {
        let dir = golden("llama-gqa-tied-bf16");
        assert!(bytes(&dir, dtype, 1) == bytes(&dir, dtype, 3), "{dtype:?}");
    }
}

/// A Llama with rows of 256 and an MLP of `ff`, and the weights that it was written with, those of
/// its matrices at most `most`.
fn wide(folder: &Path, n_layers: usize, ff: usize, most: f32) -> Vec<(String, Vec<f32>, [usize; 2])> {
    let (d, vocab) = (256, 296);
    let mut tensors =
        vec![("model.embed_tokens.weight".to_owned(), [vocab, d]), ("model.norm.weight".to_owned(), [1, d])];
    for layer in 0..n_layers {
        let parts = [
            ("self_attn.q_proj", [d, d]),
            ("self_attn.k_proj", [d, d]),
            ("self_attn.v_proj", [d, d]),
            ("self_attn.o_proj", [d, d]),
            ("mlp.gate_proj", [ff, d]),
            ("mlp.up_proj", [ff, d]),
            ("mlp.down_proj", [d, ff]),
            ("input_layernorm", [1, d]),
            ("post_attention_layernorm", [1, d]),
        ];
        tensors.extend(parts.map(|(part, shape)| (format!("model.layers.{layer}.{part}.weight"), shape)));
    }
    let mut state = 7u64;
    let mut number = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut numbers = |[n_out, n_in]: [usize; 2]| {
        let most = if n_out == 1 { 1.0 } else { most };
        (0..n_out * n_in).map(|_| number() * most).collect::<Vec<f32>>()
    };
    let made: Vec<_> = tensors.into_iter().map(|(name, shape)| (name, numbers(shape), shape)).collect();
    let raw: Vec<Vec<u8>> =
        made.iter().map(|(_, it, _)| it.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
    let views = made.iter().zip(&raw).map(|((name, _, shape), raw)| {
        let shape = if shape[0] == 1 { vec![shape[1]] } else { shape.to_vec() };
        (name, safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, raw).unwrap())
    });
    safetensors::serialize_to_file(views, None, &folder.join("model.safetensors")).unwrap();
    let config = format!(
        r#"{{"model_type": "llama", "hidden_size": {d}, "intermediate_size": {ff}, "num_hidden_layers": {n_layers},
        "num_attention_heads": 4, "vocab_size": {vocab}, "tie_word_embeddings": true}}"#
    );
    std::fs::write(folder.join("config.json"), config).unwrap();
    let tokenizer = golden("llama-mha-sharded-f16/tokenizer.json");
    std::fs::copy(tokenizer, folder.join("tokenizer.json")).unwrap();
    made
}

#[test]
fn rows_are_those_of_quantise_row_in_the_order_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let made = wide(folder.path(), 1, 96, 1.0);
    let file = bytes(folder.path(), Dtype::Q4K, 2);
    let rows = |name: &str, dtype: Dtype, order: &dyn Fn(usize) -> usize| {
        let (_, weights, [n_out, n_in]) = made.iter().find(|it| it.0 == name).unwrap();
        let mut want = Vec::new();
        for row in 0..*n_out {
            quantise_row(dtype, &weights[order(row) * n_in..][..*n_in], &mut want);
        }
        want
    };
    let check = |name: &str, dtype: Dtype, order: &dyn Fn(usize) -> usize| {
        let want = rows(name, dtype, order);
        assert!(file.windows(want.len()).any(|it| it == want), "{name} {}", dtype.name());
    };
    let same = |row: usize| row;
    // Heads of 64: elements 0 and 32 of each lie beside each other, then 1 and 33.
    let pairs = |row: usize| row / 64 * 64 + row % 64 / 2 + row % 2 * 32;
    check("model.embed_tokens.weight", Dtype::Q8_0, &same);
    check("model.layers.0.self_attn.q_proj.weight", Dtype::Q4K, &pairs);
    check("model.layers.0.self_attn.k_proj.weight", Dtype::Q4K, &pairs);
    check("model.layers.0.self_attn.v_proj.weight", Dtype::Q4K, &same);
    check("model.layers.0.mlp.gate_proj.weight", Dtype::Q4K, &same);
    // 96 is no multiple of 256, but of 32.
    check("model.layers.0.mlp.down_proj.weight", Dtype::Q8_0, &same);

    // The file is its weights dequantised, and no other model.
    let path = folder.path().join("m.gguf");
    std::fs::write(&path, &file).unwrap();
    let stored = Stored::from(rows("model.embed_tokens.weight", Dtype::Q8_0, &same));
    let range = 0..stored.len();
    let embedding = Matrix::new(&stored, range, Dtype::Q8_0, 296, 256).unwrap();
    let model = Model::load(&path, Isa::best()).unwrap();
    let (mut session, mut batch) = (Session::new(), Batch::new());
    batch.push(&mut session, &[5]);
    let mut tap = KeepRows::new(&[0], &[Site::ResidPre]);
    model.forward(&mut batch, &mut tap).unwrap();
    let mut want = vec![0.0; 256];
    embedding.row_to_f32(5, &mut want);
    assert_eq!(model.host(&tap.get(Site::ResidPre, 0)[0]).row(0), want);
}

/// What the fast arithmetic may cost, and the rounding of weights to `dtype`, in nats per token.
fn check_cost(dtype: Dtype, of_rounding: f64) {
    let folder = tempfile::tempdir().unwrap();
    wide(folder.path(), 4, 512, 0.1);
    let path = written(&folder, folder.path(), dtype);
    let ids: Vec<u32> = (0..48).map(|i| i * 37 % 296).collect();
    let run = |path: &Path, precision| expectations(path, precision, &ids);
    let (exact, fast) = (run(&path, Precision::F32), run(&path, Precision::Fast));
    let original = run(folder.path(), Precision::F32);
    let (arithmetic, rounding) = (kl(&exact, &fast), kl(&original, &exact));
    println!("{}: {arithmetic:.1e} nats of arithmetic, {rounding:.1e} of rounding", dtype.name());
    assert!(arithmetic > 0.0 && arithmetic < 1e-3, "{}: {arithmetic}", dtype.name());
    assert!(rounding > 0.0 && rounding < of_rounding, "{}: {rounding}", dtype.name());
}

#[test]
fn a_whole_model_expects_what_its_dequantised_weights_do() {
    check_cost(Dtype::Q8_0, 1e-4);
    check_cost(Dtype::Q4K, 1e-2);
}

fn check_refused(name: &str, change: impl Fn(&Path), part: &str) {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(golden(name)).unwrap().map(Result::unwrap) {
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    change(folder.path());
    let error = Quantised::plan(folder.path(), "m", Dtype::Q8_0).err().expect(part).to_string();
    assert!(error.contains(part), "{error}");
}

#[test]
fn what_a_file_cannot_say_is_refused_by_name() {
    let edit = |file: &'static str, from: &'static str, to: &'static str| {
        move |dir: &Path| {
            let text = std::fs::read_to_string(dir.join(file)).unwrap();
            assert!(text.contains(from), "{from} in {file}");
            std::fs::write(dir.join(file), text.replace(from, to)).unwrap();
        }
    };
    let tiny = "llama-mha-sharded-f16";
    let tokenizer = "tokenizer.json";
    check_refused(tiny, edit(tokenizer, r#""use_regex":true"#, r#""use_regex":false"#), "`pre_tokenizer`");
    check_refused(
        tiny,
        edit(
            "config.json",
            r#""rope_scaling": null"#,
            r#""rope_scaling": {"type": "dynamic", "factor": 2.0}"#,
        ),
        "dynamic",
    );
    check_refused(tiny, |dir| std::fs::remove_file(dir.join(tokenizer)).unwrap(), "tokenizer.json");
    let error = Quantised::plan(&golden("gguf/q8_0.gguf"), "m", Dtype::Q8_0).err().unwrap().to_string();
    assert!(error.contains("not a folder"), "{error}");
}
