//! What `Quantised` writes of every family, read back: the logits of the checkpoint that it was made from. The
//! checkpoints are those of `tests/golden/families/`, with a tokenizer of sixty letters beside them.
//! `tools/golden/quantized_families.py` asks llama.cpp about the same files.

mod expectations;

use expectations::{expectations, kl, worst};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use whipstaff_engine::*;

/// No log-probability of a file in F32 further off than this fraction of the largest: the bound of `golden.rs`.
const SAME: f64 = 2e-5;

/// Nats per token by which rounding weights may move what one of these models expects. Their weights are random and
/// rows 32 wide, so that little of it averages out: Q8_0 came to 0.0002 to 0.008, and to 0.02 where
/// `longrope` sharpens attention.
const KL: f64 = 3e-2;

fn families_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/families")
}

/// A fixture as a model that can be written.
fn model(case: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(families_root().join(case).join(file), folder.path().join(file)).unwrap();
    }
    let tokenizer = families_root().join("../letters/tokenizer.json");
    std::fs::copy(tokenizer, folder.path().join("tokenizer.json")).unwrap();
    folder
}

fn written(dir: &Path, dtype: Dtype) -> Result<PathBuf, Error> {
    let file = Quantised::plan(dir, "m", dtype)?;
    let bytes: Vec<u8> = file.pieces(&Cpu::new(Isa::best(), 2)).flat_map(Result::unwrap).collect();
    assert_eq!(bytes.len() as u64, file.n_bytes());
    let path = dir.join(format!("{}.gguf", dtype.name()));
    std::fs::write(&path, bytes).unwrap();
    Ok(path)
}

/// For 48 tokens, which is beyond every window and every original context of the fixtures.
fn run(path: &Path) -> Vec<Vec<f64>> {
    let ids: Vec<u32> = (0..48).map(|i| i * 29 % 67).collect();
    expectations(path, Precision::F32, &ids)
}

fn check_written(case: &str) {
    let folder = model(case);
    let want = run(folder.path());
    let got = run(&written(folder.path(), Dtype::F32).unwrap_or_else(|error| panic!("{case}: {error}")));
    let off = worst(&got, &want);
    assert!(off <= SAME, "{case} in F32: off by {off}");
    for dtype in [Dtype::F16, Dtype::Bf16, Dtype::Q8_0] {
        let nats = kl(&want, &run(&written(folder.path(), dtype).unwrap()));
        println!("{case} in {}: {nats:.1e} nats", dtype.name());
        assert!(nats < KL, "{case} in {}: {nats} nats", dtype.name());
    }
}

fn check_refused(case: &str, part: &str) {
    let folder = model(case);
    let error = written(folder.path(), Dtype::Q8_0).err().unwrap_or_else(|| panic!("{case} was written"));
    let error = error.to_string();
    assert!(error.contains(part), "{case}: {error}");
}

#[test]
fn llama_and_its_kin_are_written() {
    check_written("llama-yarn");
    check_written("mistral-tied");
    check_written("granite-multipliers");
    check_written("granite-bias");
    check_written("smollm3-interval");
}

#[test]
fn qwen_is_written() {
    check_written("qwen2-tied");
    check_written("qwen3-one-kv-head");
}

#[test]
fn gemma_is_written_with_the_one_in_its_norms() {
    check_written("gemma-one-kv-head");
    check_written("gemma-untied");
    check_written("gemma2-head-scale");
    check_written("gemma3-head-scale");
}

#[test]
fn fused_projections_are_written_as_one() {
    check_written("phi3-window");
    check_written("phi3-longrope-within");
    check_written("phi3-longrope-beyond");
    check_written("gpt-neox-parallel");
    check_written("gpt-neox-whole");
    check_written("gpt2-defaults");
}

#[test]
fn experts_are_written_one_after_the_other() {
    check_written("mixtral-top-1");
    check_written("qwen2-moe-shared");
    check_written("qwen3-moe-norm");
    check_written("olmoe-plain");
    check_written("olmoe-all-heads");
}

#[test]
fn norms_of_whole_rows_are_written() {
    check_written("olmo2-one-kv-head");
    check_written("olmo2-bias");
}

#[test]
fn what_the_files_of_an_architecture_have_no_key_for_is_refused_by_name() {
    check_refused("llama-gelu", "hidden_act");
    check_refused("llama-dynamic-within", "dynamic");
    check_refused("llama-yarn-mscale", "rope_scaling");
    check_refused("mistral-window", "sliding_window");
    check_refused("mixtral-window", "sliding_window");
    check_refused("qwen2-window", "sliding_window");
    check_refused("gemma2-caps", "query_pre_attn_scalar");
    check_refused("gemma2-types", "hidden_act");
    check_refused("gemma3-pattern", "sliding_window");
    check_refused("gpt2-inverse", "hidden_act");
    check_refused("gpt-neox-serial", "hidden_act");
    check_refused("qwen3-bias", "sliding_window");
    check_refused("qwen2-moe-some-layers", "mlp_only_layers");
    check_refused("olmoe-norm", "norm_topk_prob");
    check_refused("smollm3-list", "sliding_window");
}

#[test]
fn every_family_is_written() {
    let mut left: Vec<&str> = families();
    for case in std::fs::read_dir(families_root()).unwrap() {
        let folder = model(case.unwrap().file_name().to_str().unwrap());
        if Quantised::plan(folder.path(), "m", Dtype::Q8_0).is_ok() {
            let config = std::fs::read_to_string(folder.path().join("config.json")).unwrap();
            let family = Config::parse(&config, None, folder.path()).unwrap().family;
            left.retain(|it| *it != family);
        }
    }
    assert!(left.is_empty(), "no file of {}", left.join(", "));
}
