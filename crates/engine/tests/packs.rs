//! A model that is loaded from a pack is the same model.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use whipstaff_engine::*;

fn golden(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name)
}

fn logits(model: &Model) -> Vec<f32> {
    let ids: Vec<u32> = (0..20).map(|i| i * 7 % 200).collect();
    model.host(&model.extend(&mut Session::new(), &ids).unwrap()).as_slice().to_vec()
}

#[test]
fn a_model_from_a_pack_gives_the_same_logits_and_says_nothing_of_packing() {
    let gguf = std::fs::read_dir(golden("gguf")).unwrap().map(|entry| entry.unwrap().path());
    let is_model = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.ends_with(".gguf") && !name.starts_with("tokenizer")
    };
    let gguf = gguf.filter(is_model);
    let dirs = ["llama-gqa-tied-bf16", "llama-mha-sharded-f16", "llama-untied-bias-f32"].map(golden);
    let mut n = 0;
    for path in dirs.into_iter().chain(gguf) {
        for precision in [Precision::Fast, Precision::F32] {
            let folder = tempfile::tempdir().unwrap();
            let cpu = Cpu::best().with_precision(precision);
            let load = || {
                let reports = Arc::new(AtomicUsize::new(0));
                let counted = reports.clone();
                let progress = Box::new(move |_, _| {
                    counted.fetch_add(1, Ordering::SeqCst);
                });
                let packs = PackCache::new(folder.path()).for_models_from(0);
                let options = LoadOptions { packs: Some(packs), progress: Some(progress) };
                let model = Model::load_with(&path, cpu.clone(), options).unwrap();
                (logits(&model), reports.load(Ordering::SeqCst))
            };
            let want = logits(&Model::load(&path, cpu.clone()).unwrap());
            let (first, reports) = load();
            assert!(first == want && reports > 7, "{}", path.display());
            let (second, reports) = load();
            assert!(second == want && reports == 0, "{}", path.display());
        }
        n += 1;
    }
    assert!(n > 6, "there are models to try");
}

/// Loads a model; at the end, what is told to be packed is its matrices, each counted once.
fn check_progress(path: &Path) {
    let said = Arc::new(Mutex::new(Vec::new()));
    let told = said.clone();
    let progress = Box::new(move |done: usize, total: usize| told.lock().unwrap().push((done, total)));
    let options = LoadOptions { packs: None, progress: Some(progress) };
    Model::load_with(path, Cpu::best(), options).unwrap();
    let (said, path) = (said.lock().unwrap(), path.display());
    assert!(said.windows(2).all(|pair| pair[0].0 < pair[1].0), "{path}: it only grows");
    let (done, total) = said[said.len() - 1];
    assert!(done <= total && done * 2 > total, "{path}: {done} of {total}");
}

#[test]
fn progress_ends_near_the_size_of_the_files() {
    check_progress(&golden("llama-untied-bias-f32"));
    // Experts in tensors of their own, and all in one.
    check_progress(&golden("families/mixtral-top-1"));
    check_progress(&golden("gguf-families/mixtral-top-1.gguf"));
    check_progress(&golden("gguf-families/qwen2-moe-shared.gguf"));
    // Several matrices in one, cut and turned.
    check_progress(&golden("gguf-families/phi3-window.gguf"));
    check_progress(&golden("families/phi3-window"));
    check_progress(&golden("families/gpt-neox-whole"));
    check_progress(&golden("families/gpt2-defaults"));
}
