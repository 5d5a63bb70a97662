//! The tokenizers of released families, as small as those of `tests/golden/chat/`, written to GGUF files and read
//! back: the same ids for every text, or a refusal that says why not.

use safetensors::tensor::{Dtype as Stored, TensorView};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use whipstaff_engine::*;

/// Rows of the embedding: more than any of the tokenizers has tokens.
const VOCAB: usize = 640;

fn chat(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/chat").join(name)
}

/// The smallest Llama, with the tokenizer of `name`, changed by `change`.
fn model(name: &str, change: impl Fn(String) -> String) -> TempDir {
    let (folder, d) = (tempfile::tempdir().unwrap(), 4);
    let layer = |part: &str| format!("model.layers.0.{part}.weight");
    let mut tensors = vec![("model.embed_tokens.weight".to_owned(), vec![VOCAB, d])];
    let matrices = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"];
    let mlp = ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"];
    tensors.extend(matrices.iter().chain(&mlp).map(|part| (layer(part), vec![d, d])));
    tensors.extend(["input_layernorm", "post_attention_layernorm"].map(|part| (layer(part), vec![d])));
    tensors.push(("model.norm.weight".to_owned(), vec![d]));
    let zeros = vec![0; VOCAB * d * 2];
    let views = tensors.iter().map(|(name, shape)| {
        let n_bytes = 2 * shape.iter().product::<usize>();
        (name, TensorView::new(Stored::F16, shape.clone(), &zeros[..n_bytes]).unwrap())
    });
    let path = |file: &str| folder.path().join(file);
    std::fs::write(path("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
    let config = format!(
        r#"{{"model_type": "llama", "hidden_size": {d}, "intermediate_size": {d}, "num_hidden_layers": 1,
        "num_attention_heads": 1, "vocab_size": {VOCAB}, "tie_word_embeddings": true}}"#
    );
    std::fs::write(path("config.json"), config).unwrap();
    let tokenizer = std::fs::read_to_string(chat(name).join("tokenizer.json")).unwrap();
    std::fs::write(path("tokenizer.json"), change(tokenizer)).unwrap();
    std::fs::copy(chat(name).join("tokenizer_config.json"), path("tokenizer_config.json")).unwrap();
    folder
}

fn written(folder: &TempDir) -> Result<Tokenizer, Error> {
    let file = Quantised::plan(folder.path(), "m", Dtype::F16)?;
    let bytes: Vec<u8> = file.pieces(&Cpu::new(Isa::best(), 1)).flat_map(Result::unwrap).collect();
    let path = folder.path().join("m.gguf");
    std::fs::write(&path, bytes).unwrap();
    Ok(Tokenizer::load(&path).unwrap())
}

/// Texts that the writer has not tried by itself.
const TEXTS: &[&str] = &[
    "Where the whale road bends, 12 gulls cry: “aye!”",
    "   three spaces, then\n\n\ttabs  and trailing  ",
    "<s>[INST] Who are you? [/INST] A keeper.</s>",
    "<start_of_turn>user\nHallo Wörld<end_of_turn>\n",
    "▁a mark that stands for a space",
    "cafe\u{301} — n\u{303}andu\u{301}, Å vs A\u{30a} vs \u{212b}, \u{212a}elvin",
    "Vie\u{302}\u{323}t Nam, za\u{307}z\u{307}o\u{301}\u{142}c\u{301}, \u{391}\u{313}\u{301}, \u{438}\u{306}",
    "\u{1100}\u{1161}\u{11a8} \u{304b}\u{3099} \u{5e9}\u{5bc}\u{5c1}; a\u{30a}\u{30a}, e\u{327}\u{306}, fi ﬁ",
    "鯨の道 кит 🐋",
];

fn check_written(name: &str, change: impl Fn(String) -> String) {
    let folder = model(name, change);
    let got = written(&folder).unwrap_or_else(|error| panic!("{name}: {error}"));
    let want = Tokenizer::load(folder.path()).unwrap();
    for text in TEXTS {
        assert_eq!(got.encode(text).unwrap(), want.encode(text).unwrap(), "{name}: {text:?}");
        let ids = want.encode(text).unwrap();
        assert_eq!(got.decode(&ids).unwrap(), want.decode(&ids).unwrap(), "{name}: {text:?}");
    }
}

fn check_refused(name: &str, change: impl Fn(String) -> String, part: &str) {
    let error = written(&model(name, change)).err().unwrap_or_else(|| panic!("{name} was written"));
    assert!(error.to_string().contains(part), "{name}: {error}");
}

fn as_it_is(tokenizer: String) -> String {
    tokenizer
}

/// With every `from` as `to`.
fn with(from: &'static str, to: &'static str) -> impl Fn(String) -> String {
    move |tokenizer| {
        let json: serde_json::Value = serde_json::from_str(&tokenizer).unwrap();
        let text = json.to_string();
        assert!(text.contains(from), "no {from}");
        text.replace(from, to)
    }
}

/// With the merges of a SentencePiece model, as they are in released tokenizers: every way to make a piece of two
/// others, the pieces in order, the longest left part first; and where a space is put before a text, it is taken
/// away again.
fn as_sentencepiece(tokenizer: String) -> String {
    let mut json: serde_json::Value = serde_json::from_str(&tokenizer).unwrap();
    let vocab = json["model"]["vocab"].as_object().unwrap().clone();
    let merges = json["model"]["merges"].as_array_mut().unwrap();
    let pieces: Vec<String> =
        merges.iter().map(|pair| [0, 1].map(|i| pair[i].as_str().unwrap()).concat()).collect();
    let ways = pieces.iter().flat_map(|piece| {
        let cuts = piece.char_indices().skip(1).map(|(at, _)| piece.split_at(at)).collect::<Vec<_>>();
        cuts.into_iter().rev().filter(|(left, right)| vocab.contains_key(*left) && vocab.contains_key(*right))
    });
    *merges = ways.map(|(left, right)| serde_json::json!([left, right])).collect();
    if tokenizer.contains("Prepend") || tokenizer.contains("Metaspace") {
        let strip = serde_json::json!({"type": "Strip", "content": " ", "start": 1, "stop": 0});
        json["decoder"]["decoders"].as_array_mut().unwrap().push(strip);
    }
    json.to_string()
}

#[test]
fn sentencepiece_becomes_pieces_with_scores() {
    check_written("llama2", as_sentencepiece);
    check_written("gemma", as_sentencepiece);
}

#[test]
fn byte_level_tokenizers_get_the_name_of_their_cut() {
    check_written("llama3", as_it_is);
    check_written("olmo", as_it_is);
    check_written("granite", as_it_is);
    check_written("smollm", as_it_is);
}

#[test]
fn characters_are_composed_where_the_original_composes_them() {
    let unmerged = with(r#""ignore_merges":true"#, r#""ignore_merges":false"#);
    let digits = with(r"\\p{N}{1,3}", r"\\p{N}");
    check_written("qwen2", |it| digits(unmerged(it)));
    check_written("qwen3", |it| digits(unmerged(it)));
    // GPT-NeoX and OLMo compose, and cut as GPT-2 does.
    check_written("smollm", with(r#""normalizer":null"#, r#""normalizer":{"type":"NFC"}"#));
}

#[test]
fn what_the_vocabulary_only_comes_near_to_is_written_with_the_original() {
    let check = |name: &str, change: &dyn Fn(String) -> String, part: &str| {
        let folder = model(name, change);
        let file = Quantised::plan(folder.path(), "m", Dtype::F16).unwrap();
        let inexact = file.inexact().unwrap_or_else(|| panic!("{name} is said exactly"));
        assert!(inexact.contains(part), "{name}: {inexact}");
        check_written(name, change);
    };
    // Newer Mistral models.
    check("mistral", &as_sentencepiece, "a space goes before a text only where there is none");
    // Phi-3: spaces behind some special tokens belong to them.
    let strips = |it| as_sentencepiece(it).replacen(r#""rstrip":false"#, r#""rstrip":true"#, 3);
    check("llama2", &strips, "`rstrip` of the added token");
    // Neither file cuts texts as they were cut in training.
    let limit = r#""truncation":{"direction":"Right","max_length":8,"strategy":"LongestFirst","stride":0}"#;
    let cut = |it| with(r#""truncation":null"#, limit)(as_sentencepiece(it));
    check("mistral", &cut, "a space goes before a text only where there is none");
    let exact = Quantised::plan(model("llama2", as_sentencepiece).path(), "m", Dtype::F16).unwrap();
    assert_eq!(exact.inexact(), None);
}

#[test]
fn what_a_file_cannot_say_of_a_tokenizer_is_refused_by_name() {
    check_refused("qwen2", as_it_is, "ignore_merges");
    check_refused("smollm", with(r#""normalizer":null"#, r#""normalizer":{"type":"NFKC"}"#), "NFKC");
    check_refused(
        "llama2",
        with(r#""normalizers":["#, r#""normalizers":[{"type":"Lowercase"},"#),
        "Lowercase",
    );
    // A space that goes before a text and stays when it is decoded.
    check_refused("llama2", |it| as_sentencepiece(it).replace(r#""start":1"#, r#""start":0"#), "decodes");
    // Merges that were learnt one by one, as other libraries learn them.
    check_refused("llama2", as_it_is, "are not merged");
}
