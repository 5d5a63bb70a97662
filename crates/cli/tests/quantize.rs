//! `quantize` at the command line, and vectors of quantised models beside those of the original.

mod support;

use serde_json::Value;
use std::time::Duration;
use support::{Place, changes};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_model_becomes_a_file_that_runs_and_says_what_it_saved() {
    let place = Place::new();
    let ran = place.run("quantize --model model --type q8_0").succeeds();
    assert!(ran.stdout.starts_with("Q8_0 written to model-Q8_0.gguf: 159.5 kB before, "), "{}", ran.stdout);
    let shown = json(&place.run("model show model-Q8_0.gguf --json").succeeds().stdout);
    assert_eq!(shown["dtypes"], serde_json::json!(["Q8_0", "F32"]));
    for key in
        ["d_model", "n_layers", "n_heads", "n_kv_heads", "head_dim", "d_ff", "vocab_size", "max_positions"]
    {
        let original = json(&place.run("model show model --json").succeeds().stdout);
        assert_eq!(shown[key], original[key], "{key}");
    }
    place.run("generate --model model-Q8_0.gguf --prompt Ahoy --max-tokens 4").succeeds();
    place.run("quantize --model model --type q4_k -o other.gguf").succeeds();
}

#[test]
fn what_is_there_is_kept_and_what_is_quantised_is_refused() {
    let place = Place::new();
    place.write("out.gguf", "mine");
    place.run("quantize --model model --type q8_0 -o out.gguf").fails(2, "--force");
    place.run("quantize --model model --type q8_0 -o out.gguf --force").succeeds();
    assert!(place.read("out.gguf").starts_with(b"GGUF"));
    place
        .run("quantize --model out.gguf --type q8_0 -o again.gguf")
        .fails(3, "not a folder with safetensors");
    place.run("quantize --model nowhere --type q8_0").fails(3, "no such directory");
    place.run("quantize --model model --type q8_0 -o no/such/folder.gguf").fails(1, "cannot write");
    let config = place.text("model/config.json").replacen('{', r#"{"quantization_config": {"bits": 4},"#, 1);
    place.write("model/config.json", config);
    place.run("quantize --model model --type q8_0 -o x.gguf").fails(3, "quantization_config");
}

#[test]
fn every_family_is_written_and_what_a_file_cannot_say_is_refused() {
    let place = Place::new();
    let tokenizer = std::fs::read(support::golden("letters/tokenizer.json")).unwrap();
    let family = |case: &str| {
        place.model(case, &format!("families/{case}"));
        place.write(&format!("{case}/tokenizer.json"), &tokenizer);
    };
    for (case, kind) in
        [("gemma3-head-scale", "f16"), ("phi3-longrope-beyond", "q8_0"), ("mixtral-top-1", "bf16")]
    {
        family(case);
        place.run(&format!("quantize --model {case} --type {kind} -o {case}.gguf")).succeeds();
        let shown = |model: &str| json(&place.run(&format!("model show {model} --json")).succeeds().stdout);
        assert_eq!(shown(&format!("{case}.gguf"))["n_layers"], shown(case)["n_layers"], "{case}");
    }
    let original = place.text("model/tokenizer.json");
    place.write("model/tokenizer.json", original.replacen(r#""rstrip":false"#, r#""rstrip":true"#, 1));
    let ran = place.run("quantize --model model --type q8_0 -o strips.gguf").succeeds();
    assert!(ran.stderr.contains("`rstrip` of the added token"), "{}", ran.stderr);
    family("llama-gelu");
    place.run("quantize --model llama-gelu --type f32").fails(3, "no key for hidden_act");
}

/// A model of 25 M weights, so that there is time to stop the program while it writes.
fn slow(place: &Place) {
    let (d, ff, n_layers) = (256, 4096, 8);
    place.model("slow", "llama-mha-sharded-f16");
    let mut tensors =
        vec![("model.embed_tokens".to_owned(), vec![296, d]), ("model.norm".to_owned(), vec![d])];
    for layer in 0..n_layers {
        let name = |part: &str| format!("model.layers.{layer}.{part}");
        tensors.extend(["q", "k", "v", "o"].map(|it| (name(&format!("self_attn.{it}_proj")), vec![d, d])));
        tensors.extend(["gate", "up"].map(|it| (name(&format!("mlp.{it}_proj")), vec![ff, d])));
        tensors.push((name("mlp.down_proj"), vec![d, ff]));
        tensors.extend(["input_layernorm", "post_attention_layernorm"].map(|it| (name(it), vec![d])));
    }
    let most: Vec<u8> = (0..ff * d).flat_map(|i| (0x3c00 + (i * 7919 % 1000) as u16).to_le_bytes()).collect();
    let views = tensors.iter().map(|(name, shape)| {
        let n = 2 * shape.iter().product::<usize>();
        let kind = safetensors::Dtype::F16;
        (
            format!("{name}.weight"),
            safetensors::tensor::TensorView::new(kind, shape.clone(), &most[..n]).unwrap(),
        )
    });
    let bytes = safetensors::serialize(views, None).unwrap();
    for old in [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
    ] {
        let _ = std::fs::remove_file(place.path("slow").join(old));
    }
    place.write("slow/model.safetensors", bytes);
    let config = format!(
        r#"{{"model_type": "llama", "hidden_size": {d}, "intermediate_size": {ff}, "num_hidden_layers": {n_layers},
        "num_attention_heads": 4, "vocab_size": 296, "tie_word_embeddings": true}}"#
    );
    place.write("slow/config.json", config);
}

#[test]
fn a_killed_program_leaves_no_part_of_a_file() {
    let place = Place::new();
    slow(&place);
    let before = place.snapshot();
    let mut killed = 0;
    for milliseconds in [20, 80, 200, 400] {
        let mut child = place.command("quantize --model slow --type q4_k -o out.gguf").spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            // It was faster: then all of it is there.
            place.run("model show out.gguf").succeeds();
            std::fs::remove_file(place.path("out.gguf")).unwrap();
            continue;
        }
        killed += 1;
        let names =
            |it: &std::path::PathBuf| !it.file_name().unwrap().to_string_lossy().starts_with(".whipstaff-");
        let left = changes(&before, &place.snapshot());
        // Where the system has no files without a name, a temporary one may be left, never one that looks whole.
        assert!(!left.iter().any(names), "{left:?}");
        if cfg!(target_os = "linux") {
            assert!(left.is_empty(), "{left:?}");
        }
    }
    assert!(killed > 0, "every run was over before it could be stopped");
}

#[test]
fn a_vector_is_held_against_that_of_the_reference() {
    let place = Place::new();
    place.run("quantize --model model --type q8_0 -o q.gguf").succeeds();
    let line = "extract --contrasts contrasts.jsonl --recommend 0 --receipt 0 -o v.safetensors";
    let ran = place.run(&format!("{line} --model q.gguf --reference model --json")).succeeds();
    let compared = json(&ran.stdout)["reference"].clone();
    assert_eq!(compared["model"], "model");
    let layers = compared["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 3);
    for it in layers {
        let (cosine, ratio) = (it["cosine"].as_f64().unwrap(), it["gap_ratio"].as_f64().unwrap());
        assert!(cosine > 0.9 && cosine < 1.0, "{it}");
        assert!((0.8..1.25).contains(&ratio) && ratio != 1.0, "{it}");
    }
    let text = place.run(&format!("{line} --model q.gguf --reference model")).succeeds().stdout;
    assert!(
        text.contains("layer   cosine  gap ratio") && text.contains("direction at every layer: cosine 0.9"),
        "{text}"
    );
    // A model beside itself.
    let same = place.run(&format!("{line} --model model --reference model --json")).succeeds().stdout;
    for it in json(&same)["reference"]["layers"].as_array().unwrap() {
        assert!((it["cosine"].as_f64().unwrap() - 1.0).abs() < 1e-9 && it["gap_ratio"] == 1.0, "{it}");
    }
}

#[test]
fn a_reference_that_is_another_model_is_refused_in_words() {
    let place = Place::new();
    let line = "extract --model model --contrasts contrasts.jsonl --recommend 0 --receipt 0 -o v.safetensors";
    place.model("narrow", "llama-untied-bias-f32");
    place
        .run(&format!("{line} --reference narrow"))
        .fails(3, "its width (d_model) is 32, that of model is 64");
    place.model("foreign", support::TINY);
    let tokenizer = std::fs::read(support::golden("llama-untied-bias-f32").join("tokenizer.json")).unwrap();
    place.write("foreign/tokenizer.json", tokenizer);
    place.run(&format!("{line} --reference foreign")).fails(3, "its tokenizer is not that of model");
    place.run(&format!("{line} --reference nowhere")).fails(3, "--reference");
}
