//! What headers say a model will take, against what it takes.

use safetensors::{Dtype, tensor::TensorView};
use std::path::{Path, PathBuf};
use whipstaff_engine::{Batch, Cpu, Isa, Model, NoTap, Outline, ROW_BUDGET, Session};

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

/// A field of `/proc/self/status`, in bytes.
#[cfg(target_os = "linux")]
fn status(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

/// A checkpoint of 49 MB whose numbers are all 0.
fn checkpoint(dir: &Path) {
    let (d, ff, q, vocab, n_layers) = (512, 1536, 512, 8000, 6);
    let config = serde_json::json!({
        "model_type": "llama", "hidden_size": d, "intermediate_size": ff, "num_hidden_layers": n_layers,
        "num_attention_heads": 8, "vocab_size": vocab, "tie_word_embeddings": true,
        "max_position_embeddings": 4096,
    });
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let zeros = vec![0u8; 2 * vocab * d];
    let mut tensors =
        vec![("model.embed_tokens".to_owned(), vec![vocab, d]), ("model.norm".to_owned(), vec![d])];
    for layer in 0..n_layers {
        let mut add = |name: &str, shape: &[usize]| {
            tensors.push((format!("model.layers.{layer}.{name}"), shape.to_vec()));
        };
        add("input_layernorm", &[d]);
        add("post_attention_layernorm", &[d]);
        for name in ["q_proj", "k_proj", "v_proj", "o_proj"] {
            add(&format!("self_attn.{name}"), &[q, d]);
        }
        add("mlp.gate_proj", &[ff, d]);
        add("mlp.up_proj", &[ff, d]);
        add("mlp.down_proj", &[d, ff]);
    }
    let views = tensors.into_iter().map(|(name, shape)| {
        let n_bytes = 2 * shape.iter().product::<usize>();
        (format!("{name}.weight"), TensorView::new(Dtype::BF16, shape, &zeros[..n_bytes]).unwrap())
    });
    std::fs::write(dir.join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
}

/// The estimate is an upper bound, and no more than a quarter above: what the allocator keeps and how often
/// a buffer is used again depends on sizes in ways that no one should have to know.
#[cfg(target_os = "linux")]
#[test]
fn a_run_takes_what_the_outline_says() {
    let dir = tempfile::tempdir().unwrap();
    checkpoint(dir.path());
    let outline = Outline::open(dir.path()).unwrap();
    let n = 4 * ROW_BUDGET;
    let estimate = outline.weight_bytes() + outline.kv_bytes(n) + outline.activation_bytes(ROW_BUDGET);

    let before = status("RssAnon");
    let model = Model::load(dir.path(), Cpu::new(Isa::best(), 2)).unwrap();
    let mut session = Session::new();
    for _ in 0..4 {
        let mut batch = Batch::new();
        batch.push(&mut session, &[1; ROW_BUDGET]);
        model.forward(&mut batch, &mut NoTap).unwrap();
    }
    let taken = status("RssAnon") - before;
    let ratio = estimate as f64 / taken as f64;
    assert!((1.0..=1.25).contains(&ratio), "estimated {estimate}, taken {taken}: {ratio:.3}");
}
