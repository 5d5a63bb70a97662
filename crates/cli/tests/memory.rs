//! Memory, known before it is spent: what is refused, and in what words.

mod support;

use serde_json::{Value, json};
use support::{Place, golden};

const COMMANDS: [&str; 6] = [
    "demo -o out",
    "demo --model model -o out",
    "extract --model model --contrasts contrasts.jsonl -o v.safetensors",
    "generate --model model --prompt hi",
    "figure --model model --steer v.safetensors --prompts prompts.txt -o out",
    "capture --model model --ids 1,2 -o a.safetensors",
];

#[test]
fn every_command_refuses_what_would_take_too_much() {
    let place = Place::new();
    place.write("v.safetensors", "not looked at");
    for line in COMMANDS {
        let ran = place.run(&format!("{line} --max-memory 16M")).fails(5, "would take up to");
        ran.says("more than --max-memory allows: 16.8 MB (as asked for)").says("or raise --max-memory");
    }
}

#[test]
fn what_fits_runs() {
    let place = Place::new();
    for limit in ["1G", "80%", "4000000000", "100%"] {
        place
            .run(&format!("generate --model model --prompt hi --max-tokens 2 --max-memory {limit}"))
            .succeeds();
    }
}

#[test]
fn a_limit_that_is_none_is_wrong_usage() {
    let place = Place::new();
    for limit in ["much", "0", "200%", "-1G"] {
        let ran = place.run(&format!("generate --model model --prompt hi --max-memory={limit}"));
        assert_eq!(ran.code, Some(2), "{ran}");
        assert!(ran.stderr.contains("write 8") || ran.stderr.contains("write 80%"), "{ran}");
    }
}

#[test]
fn a_refusal_suggests_what_would_fit() {
    let place = Place::new();
    // A context that no cache could hold, of a model that would fit.
    let config = place.text("model/config.json").replace(": 256", ": 100000000");
    place.write("model/config.json", config);
    let long = "generate --model model --prompt hi --max-tokens 99999999 --max-memory 100M";
    place.run(long).fails(5, "Give fewer --max-tokens");
    let ids = vec!["1"; 4000].join(",");
    let capture = format!("capture --model model --logits --ids {ids} -o a.safetensors --max-memory 40M");
    place.run(&capture).fails(5, "Ask for fewer --layers or --sites");
    // Full-precision weights that do not fit: a quantised file would.
    place.run("generate --model model --prompt hi --max-memory 1M").fails(5, "Q4_K_M file of this model");
    place.write("q.gguf", std::fs::read(golden("gguf/q4_k_m.gguf")).unwrap());
    place.run("generate --model q.gguf --prompt hi --max-memory 1M").fails(5, "Use a smaller model");
}

#[test]
fn a_model_shows_what_it_will_take() {
    let place = Place::new();
    let shown = |flags: &str| -> Value {
        let ran = place.run(&format!("model show model --json {flags}")).succeeds();
        serde_json::from_str(&ran.stdout).unwrap()
    };
    let memory = &shown("--max-memory 1G")["memory"];
    let field = |name: &str| memory[name].as_u64().unwrap();
    // All matrices in bf16, the head a copy of the tied embedding; sizes are whole panels already.
    let matrices = 304 * 64 + 3 * (2 * 64 * 64 + 2 * 16 * 64 + 3 * 48 * 64);
    assert_eq!(field("weights"), 2 * matrices, "{memory}");
    // 3 layers, 2 heads of 8 for keys, padded to 16 for values, f32; 256 tokens, and 1000 in whole blocks.
    assert_eq!((field("kv"), field("kv_per_1k_tokens")), (3 * 2 * 24 * 4 * 256, 3 * 2 * 24 * 4 * 1024));
    assert_eq!(field("context"), 256);
    assert_eq!(field("limit"), 1 << 30);
    assert_eq!(field("total"), field("weights") + field("kv") + field("activations") + field("program"));
    assert_eq!(shown("--context 1000")["memory"]["context"], json!(1000));
    let text = place.run("model show model --max-memory 1M").succeeds().stdout;
    assert!(text.contains("1.0 MB: too little") && text.contains("at 256 tokens"), "{text}");
}

/// A checkpoint of 236 GB, all of it a hole.
fn giant(dir: &std::path::Path) {
    let (d, ff, vocab, n_layers) = (16384u64, 53248, 1000, 32);
    let config = json!({
        "model_type": "llama", "hidden_size": d, "intermediate_size": ff, "num_hidden_layers": n_layers,
        "num_attention_heads": 128, "vocab_size": vocab, "tie_word_embeddings": true,
    });
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let (mut header, mut end) = (serde_json::Map::new(), 0);
    let mut add = |name: String, shape: &[u64]| {
        let start = end;
        end += 2 * shape.iter().product::<u64>();
        let entry = json!({"dtype": "BF16", "shape": shape, "data_offsets": [start, end]});
        header.insert(format!("model.{name}.weight"), entry);
    };
    add("embed_tokens".into(), &[vocab, d]);
    add("norm".into(), &[d]);
    for layer in 0..n_layers {
        for (name, shape) in [
            ("input_layernorm", &[d][..]),
            ("post_attention_layernorm", &[d]),
            ("self_attn.q_proj", &[d, d]),
            ("self_attn.k_proj", &[d, d]),
            ("self_attn.v_proj", &[d, d]),
            ("self_attn.o_proj", &[d, d]),
            ("mlp.gate_proj", &[ff, d]),
            ("mlp.up_proj", &[ff, d]),
            ("mlp.down_proj", &[d, ff]),
        ] {
            add(format!("layers.{layer}.{name}"), shape);
        }
    }
    // As writers do it: numbers begin at multiples of 8, else they would have to be copied to be read.
    let mut header = Value::from(header).to_string();
    header += &" ".repeat(header.len().next_multiple_of(8) - header.len());
    let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
    std::fs::write(dir.join("model.safetensors"), &bytes).unwrap();
    let file = std::fs::File::options().write(true).open(dir.join("model.safetensors")).unwrap();
    file.set_len(bytes.len() as u64 + end).unwrap();
}

#[test]
fn a_model_is_looked_at_and_refused_without_being_read() {
    let (place, dir) = (Place::new(), tempfile::tempdir().unwrap());
    giant(dir.path());
    let model = dir.path().display();
    let shown = place.run(&format!("model show {model} --json --max-memory 8G")).succeeds().stdout;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert!(shown["memory"]["weights"].as_u64().unwrap() > 230_000_000_000, "{shown}");
    place.run(&format!("generate --model {model} --prompt hi --max-memory 64G")).fails(5, "A Q4_K_M file");
}
