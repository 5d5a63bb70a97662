//! What a run takes, in memory of its process, against what the outline says. Each run has a process of its own: what
//! an allocator keeps of one would not be counted for the next.
#![cfg(target_os = "linux")]

use safetensors::{Dtype, tensor::TensorView};
use std::path::Path;
use std::process::Command;
use whipstaff_engine::{Batch, Cpu, Isa, Model, NoTap, Outline, ROW_BUDGET, Session};

/// A field of `/proc/self/status`, in bytes.
fn status(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

/// A checkpoint of 49 MB whose numbers are all 0: a Llama, or a Mixtral whose experts are together as wide.
fn checkpoint(dir: &Path, n_experts: usize) {
    let (d, ff, q, vocab, n_layers) = (512, 1536 / n_experts, 512, 8000, 6);
    let routed = n_experts > 1;
    let mut config = serde_json::json!({
        "model_type": if routed { "mixtral" } else { "llama" }, "hidden_size": d, "intermediate_size": ff,
        "num_hidden_layers": n_layers, "num_attention_heads": 8, "num_key_value_heads": 8, "vocab_size": vocab,
        "tie_word_embeddings": true, "max_position_embeddings": 4096,
    });
    if routed {
        config["num_local_experts"] = n_experts.into();
        config["num_experts_per_tok"] = 2.into();
    }
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
        let parts = [("gate_proj", "w1", [ff, d]), ("up_proj", "w3", [ff, d]), ("down_proj", "w2", [d, ff])];
        for (dense, expert, shape) in parts {
            match routed {
                true => (0..n_experts)
                    .for_each(|i| add(&format!("block_sparse_moe.experts.{i}.{expert}"), &shape)),
                false => add(&format!("mlp.{dense}"), &shape),
            }
        }
        if routed {
            add("block_sparse_moe.gate", &[n_experts, d]);
        }
    }
    let views = tensors.into_iter().map(|(name, shape)| {
        let n_bytes = 2 * shape.iter().product::<usize>();
        (format!("{name}.weight"), TensorView::new(Dtype::BF16, shape, &zeros[..n_bytes]).unwrap())
    });
    std::fs::write(dir.join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
}

/// The estimate is an upper bound, and no more than a quarter above: what the allocator keeps and how often
/// a buffer is used again depends on sizes in ways that no one should have to know.
fn check_taken(n_experts: usize) {
    let dir = tempfile::tempdir().unwrap();
    checkpoint(dir.path(), n_experts);
    let outline = Outline::open(dir.path()).unwrap();
    let n = 4 * ROW_BUDGET;
    let estimate = outline.weight_bytes() + outline.kv_bytes(n) + outline.activation_bytes(ROW_BUDGET);

    let before = status("RssAnon");
    let model = Model::load(dir.path(), Cpu::new(Isa::best(), 2)).unwrap();
    assert_eq!(outline.weight_bytes(), model.weights().n_packed_bytes() as u64);
    let mut session = Session::new();
    for _ in 0..4 {
        let mut batch = Batch::new();
        // All rows alike, so that all go to the same experts: the worst that can be.
        batch.push(&mut session, &[1; ROW_BUDGET]);
        model.forward(&mut batch, &mut NoTap).unwrap();
    }
    let taken = status("RssAnon") - before;
    let ratio = estimate as f64 / taken as f64;
    assert!((1.0..=1.25).contains(&ratio), "estimated {estimate}, taken {taken}: {ratio:.3}");
}

/// How the child is told which model to run.
const EXPERTS: &str = "WHIPSTAFF_TEST_EXPERTS";

fn check_in_its_own_process(n_experts: usize) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "child"])
        .env(EXPERTS, n_experts.to_string())
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
}

#[test]
#[ignore = "is run by the others, in a process of its own"]
fn child() {
    if let Ok(n_experts) = std::env::var(EXPERTS) {
        check_taken(n_experts.parse().unwrap());
    }
}

#[test]
fn a_run_takes_what_the_outline_says() {
    check_in_its_own_process(1);
}

#[test]
fn a_run_of_experts_does_too() {
    check_in_its_own_process(4);
}
