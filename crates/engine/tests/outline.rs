//! What headers say a model will take, against what it takes.

use std::path::{Path, PathBuf};
use whipstaff_engine::{Isa, Model, Outline};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name)
}

#[test]
fn weights_take_exactly_what_the_outline_says() {
    let check = |name: &str| {
        let (outline, model) =
            (Outline::open(&golden(name)).unwrap(), Model::load(&golden(name), Isa::best()));
        let model = model.unwrap();
        assert_eq!(outline.weight_bytes(), model.weights().n_packed_bytes() as u64, "{name}");
        assert_eq!(outline.config(), model.config(), "{name}");
    };
    for case in ["gqa-tied-bf16", "untied-bias-f32", "mha-sharded-f16", "new-llama3-f32"] {
        check(&format!("llama-{case}"));
        check(&format!("gguf/{case}.gguf"));
    }
    for case in ["mixed", "q4_0", "q4_k_m", "q8_0"] {
        check(&format!("gguf/{case}.gguf"));
    }
    // Experts, and several matrices in one tensor.
    for case in ["mixtral-top-1", "qwen2-moe-shared", "qwen3-moe-norm", "olmoe-plain", "phi3-window"] {
        check(&format!("families/{case}"));
        check(&format!("gguf-families/{case}.gguf"));
    }
}

#[test]
fn tokenizers_and_templates_are_seen() {
    let check = |name: &str, tokenizer: bool, template: bool| {
        let outline = Outline::open(&golden(name)).unwrap();
        assert_eq!((outline.has_tokenizer, outline.has_chat_template), (tokenizer, template), "{name}");
    };
    check("llama-gqa-tied-bf16", true, false);
    check("gguf/gqa-tied-bf16.gguf", true, false);
    let dir = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(golden("llama-gqa-tied-bf16").join(file), dir.path().join(file)).unwrap();
    }
    let check = |name: &str, content: &str, want: bool| {
        std::fs::write(dir.path().join(name), content).unwrap();
        let outline = Outline::open(dir.path()).unwrap();
        assert_eq!((outline.has_tokenizer, outline.has_chat_template), (false, want), "{name}: {content}");
    };
    check("tokenizer_config.json", "{}", false);
    check("tokenizer_config.json", r#"{"chat_template": null}"#, false);
    check("tokenizer_config.json", r#"{"chat_template": "{{ messages }}"}"#, true);
    check("tokenizer_config.json", "{}", false);
    check("chat_template.json", r#"{"chat_template": "{{ messages }}"}"#, true);
    check("chat_template.json", r#"{"chat_template": null}"#, false);
    check("chat_template.jinja", "{{ messages }}", true);
}
