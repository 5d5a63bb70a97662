//! What `Quantised` writes of every family, read back: the logits of the checkpoint that it was made from. The
//! checkpoints are those of `tests/golden/families/`, with a tokenizer of sixty letters beside them.
//! `tools/golden/quantized_families.py` asks llama.cpp about the same files.

use std::path::{Path, PathBuf};
use tempfile::TempDir;
use whipstaff_engine::*;

/// No logit of a file in F32 further off than this fraction of the largest: the bound of `golden.rs`.
const SAME: f32 = 2e-5;

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
fn logits(path: &Path) -> Vec<Vec<f32>> {
    let model = Model::load(path, Cpu::new(Isa::best(), 2).with_precision(Precision::F32)).unwrap();
    let ids: Vec<u32> = (0..48).map(|i| i * 29 % 67).collect();
    let (mut session, mut batch) = (Session::new(), Batch::new());
    batch.push(&mut session, &ids);
    let resid = model.forward(&mut batch, &mut NoTap).unwrap();
    let logits = model.logits(&resid, &(0..ids.len()).collect::<Vec<_>>());
    (0..ids.len()).map(|i| logits.row(i).to_vec()).collect()
}

/// Mean nats from what one model expects to what the other does.
fn kl(original: &[Vec<f32>], other: &[Vec<f32>]) -> f64 {
    let expected = |row: &[f32]| {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total: f64 = row.iter().map(|x| f64::from(x - max).exp()).sum();
        row.iter().map(|x| f64::from(x - max) - total.ln()).collect::<Vec<f64>>()
    };
    let nats = |(p, q): (&Vec<f32>, &Vec<f32>)| {
        let pairs = expected(p).into_iter().zip(expected(q));
        pairs.map(|(p, q)| p.exp() * (p - q)).sum::<f64>()
    };
    original.iter().zip(other).map(nats).sum::<f64>() / original.len() as f64
}

fn check_written(case: &str) {
    let folder = model(case);
    let want = logits(folder.path());
    let got = logits(&written(folder.path(), Dtype::F32).unwrap_or_else(|error| panic!("{case}: {error}")));
    let scale = want.iter().flatten().fold(0.0f32, |max, x| max.max(x.abs()));
    let pairs = got.iter().flatten().zip(want.iter().flatten());
    let worst = pairs.fold(0.0f32, |max, (a, b)| max.max((a - b).abs()));
    assert!(worst <= SAME * scale, "{case} in F32: off by {worst} of {scale}");
    for (dtype, most) in [(Dtype::F16, KL), (Dtype::Bf16, KL), (Dtype::Q8_0, KL)] {
        let nats = kl(&want, &logits(&written(folder.path(), dtype).unwrap()));
        println!("{case} in {}: {nats:.1e} nats", dtype.name());
        assert!(nats < most, "{case} in {}: {nats} nats", dtype.name());
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
