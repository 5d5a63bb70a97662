//! Headers that are whole, and every way in which one can lie.

use super::file::{Gguf, MAGIC, TensorInfo};
use crate::checkpoint::weights::Weights;
use crate::config::Config;
use crate::config::Rope;
use crate::config::RopeScaling;
use crate::error::Error;
use std::path::Path;
use whipstaff_kernels::{Bytes, Dtype};

/// A GGUF file in the making.
#[derive(Clone)]
struct File {
    magic: Vec<u8>,
    version: u32,
    n_entries: Option<u64>,
    n_tensors: Option<u64>,
    entries: Vec<Vec<u8>>,
    tensors: Vec<Vec<u8>>,
    alignment: usize,
    data: Vec<u8>,
}

fn string(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text].concat()
}

fn entry(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [string(key.as_bytes()), kind.to_le_bytes().to_vec(), value.to_vec()].concat()
}

fn whole(key: &str, n: u32) -> Vec<u8> {
    entry(key, 4, &n.to_le_bytes())
}

fn number(key: &str, x: f32) -> Vec<u8> {
    entry(key, 6, &x.to_le_bytes())
}

fn text(key: &str, value: &str) -> Vec<u8> {
    entry(key, 8, &string(value.as_bytes()))
}

fn list(key: &str, kind: u32, len: u64, values: &[u8]) -> Vec<u8> {
    let header = [kind.to_le_bytes().to_vec(), len.to_le_bytes().to_vec()].concat();
    entry(key, 9, &[&header, values].concat())
}

fn texts(key: &str, values: &[&str]) -> Vec<u8> {
    let strings: Vec<u8> = values.iter().flat_map(|value| string(value.as_bytes())).collect();
    list(key, 8, values.len() as u64, &strings)
}

/// Encodes a tensor entry; `shape` is in the file's order, innermost first.
fn tensor(name: &str, shape: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let shape_bytes: Vec<u8> = shape.iter().flat_map(|n| n.to_le_bytes()).collect();
    let n_dimensions = (shape.len() as u32).to_le_bytes().to_vec();
    let parts = [string(name.as_bytes()), n_dimensions, shape_bytes, kind.to_le_bytes().to_vec()];
    [parts.concat(), offset.to_le_bytes().to_vec()].concat()
}

impl File {
    fn new(entries: Vec<Vec<u8>>, tensors: Vec<Vec<u8>>, data: usize) -> File {
        let (n_entries, n_tensors) = (None, None);
        let data = (0..data).map(|i| i as u8).collect();
        File {
            magic: MAGIC.to_vec(),
            version: 3,
            n_entries,
            n_tensors,
            entries,
            tensors,
            alignment: 32,
            data,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.magic.clone();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.n_tensors.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        bytes.extend(self.n_entries.unwrap_or(self.entries.len() as u64).to_le_bytes());
        bytes.extend(self.entries.concat());
        bytes.extend(self.tensors.concat());
        bytes.resize(bytes.len().next_multiple_of(self.alignment), 0);
        bytes.extend(&self.data);
        bytes
    }

    fn parse(&self) -> Result<Gguf, Error> {
        Gguf::parse(Bytes::from(self.bytes()), Path::new("m.gguf"))
    }
}

#[track_caller]
fn check_error(result: Result<impl Sized, Error>, parts: &[&str]) {
    let error = result.map(|_| ()).unwrap_err();
    let message = error.to_string();
    for part in parts.iter().chain(&["m.gguf"]) {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    assert!(!matches!(error, Error::Read { .. }), "{message}");
}

/// Checks that a file with these entries and tensors is refused for the reason that `parts` say.
#[track_caller]
fn check(entries: Vec<Vec<u8>>, tensors: Vec<Vec<u8>>, data: usize, parts: &[&str]) {
    check_error(File::new(entries, tensors, data).parse(), parts);
}

#[test]
fn values_of_every_type_are_read_where_they_lie() {
    let file = File::new(
        vec![
            entry("u8", 0, &[200]),
            entry("i8", 1, &[0xff]),
            entry("u16", 2, &0xfedcu16.to_le_bytes()),
            entry("i16", 3, &5i16.to_le_bytes()),
            whole("u32", u32::MAX),
            entry("i32", 5, &7i32.to_le_bytes()),
            number("f32", 1.5),
            entry("yes", 7, &[1]),
            entry("maybe", 7, &[2]),
            text("text", "héllo"),
            entry("bytes", 8, &string(&[0xff])),
            entry("u64", 10, &u64::MAX.to_le_bytes()),
            entry("i64", 11, &(-3i64).to_le_bytes()),
            entry("f64", 12, &0.1f64.to_le_bytes()),
            texts("texts", &["a", "", "bc"]),
            list("wholes", 5, 2, &[1, 0, 0, 0, 2, 0, 0, 0]),
            list("none", 4, 0, &[]),
        ],
        vec![],
        0,
    );
    let metadata = file.parse().unwrap().metadata;
    assert_eq!(metadata.whole("u8").unwrap(), Some(200));
    assert_eq!(metadata.number("i8").unwrap(), Some(-1.0));
    assert_eq!(metadata.whole("u16").unwrap(), Some(0xfedc));
    assert_eq!(metadata.whole("i16").unwrap(), Some(5));
    assert_eq!(metadata.whole("u32").unwrap(), Some(u64::from(u32::MAX)));
    assert_eq!(metadata.whole("i32").unwrap(), Some(7));
    assert_eq!(metadata.number("f32").unwrap(), Some(1.5));
    assert_eq!(metadata.flag("yes").unwrap(), Some(true));
    assert_eq!(metadata.text("text").unwrap(), Some("héllo"));
    assert_eq!(metadata.whole("u64").unwrap(), Some(u64::MAX));
    assert_eq!(metadata.number("i64").unwrap(), Some(-3.0));
    assert_eq!(metadata.number("f64").unwrap(), Some(0.1));
    assert_eq!(metadata.texts("texts").unwrap(), Some(vec!["a", "", "bc"]));
    assert_eq!(metadata.wholes("wholes").unwrap(), Some(vec![1, 2]));
    assert_eq!(metadata.wholes("u8").unwrap(), Some(vec![200]));
    assert_eq!(metadata.wholes("none").unwrap(), Some(vec![]));
    assert_eq!(metadata.text("absent").unwrap(), None);

    check_error(metadata.whole("i64"), &["`i64` is not a whole number"]);
    check_error(metadata.whole("f32"), &["`f32` is not a whole number"]);
    check_error(metadata.whole("wholes"), &["`wholes` is not a whole number"]);
    check_error(metadata.flag("maybe"), &["`maybe` is neither true nor false"]);
    check_error(metadata.flag("u8"), &["`u8` is neither true nor false"]);
    check_error(metadata.text("bytes"), &["`bytes` is not text in UTF-8"]);
    check_error(metadata.texts("wholes"), &["`wholes` is not a list of texts"]);
    check_error(metadata.texts("text"), &["`text` is not a list of texts"]);
    check_error(metadata.number("text"), &["`text` is not a number"]);
}

#[test]
fn tensors_are_found_where_the_header_says() {
    for version in [2, 3] {
        let tensors = vec![tensor("a", &[2, 3], 0, 0), tensor("b", &[32], 8, 32), tensor("c", &[5], 99, 0)];
        let file = File { version, ..File::new(vec![], tensors, 32 + 34) };
        let gguf = file.parse().unwrap();
        let data = file.bytes().len() - 66;
        let (a, b, c) = (&gguf.tensors["a"], &gguf.tensors["b"], &gguf.tensors["c"]);
        assert_eq!(
            (&a.dtype, &a.shape[..], a.range.clone()),
            (&Ok(Dtype::F32), &[3, 2][..], data..data + 24)
        );
        assert_eq!((&b.dtype, b.range.clone()), (&Ok(Dtype::Q8_0), data + 32..data + 66));
        assert_eq!(c.dtype, Err("ggml type 99".into()));
    }
}

#[test]
fn an_alignment_of_its_own_moves_the_tensors() {
    let file = File {
        alignment: 64,
        ..File::new(vec![whole("general.alignment", 64)], vec![tensor("a", &[2], 0, 64)], 72)
    };
    assert_eq!(file.parse().unwrap().tensors["a"].range.len(), 8);
    let alignment = |n| File::new(vec![whole("general.alignment", n)], vec![], 0).parse();
    check_error(alignment(0), &["`general.alignment` is 0, which is not a power of two"]);
    check_error(alignment(48), &["`general.alignment` is 48"]);
    let huge = entry("general.alignment", 10, &(1u64 << 63).to_le_bytes());
    check(vec![huge], vec![tensor("a", &[2], 0, 0)], 8, &["tensor `a`"]);
    check(vec![text("general.alignment", "32")], vec![], 0, &["`general.alignment` is not a whole number"]);
}

#[test]
fn what_is_no_gguf_file_is_told_so() {
    let file = File::new(vec![], vec![], 0);
    let parse = |bytes: &[u8]| Gguf::parse(Bytes::from(bytes.to_vec()), Path::new("m.gguf"));
    check_error(parse(b""), &["is not a GGUF file"]);
    check_error(parse(b"GGU"), &["is not a GGUF file"]);
    check_error(parse(b"PK\x03\x04 something else"), &["is not a GGUF file"]);
    check_error(File { magic: b"GGML".to_vec(), ..file.clone() }.parse(), &["is not a GGUF file"]);
    check_error(File { version: 1, ..file.clone() }.parse(), &["the version is 1, which is too old"]);
    check_error(File { version: 4, ..file.clone() }.parse(), &["the version is 4"]);
    check_error(File { version: 3 << 24, ..file.clone() }.parse(), &["big-endian"]);
    check_error(parse(b"GGUF\x03\0\0\0"), &["tensor_count"]);
}

#[test]
fn a_header_that_is_cut_off_anywhere_is_refused() {
    let entries = vec![text("key", "value"), texts("list", &["a", "b"])];
    let file = File::new(entries, vec![tensor("a", &[2], 0, 0)], 8);
    let bytes = file.bytes();
    for end in 0..bytes.len() {
        check_error(Gguf::parse(Bytes::from(bytes[..end].to_vec()), Path::new("m.gguf")), &[]);
    }
    file.parse().unwrap();
}

#[test]
fn counts_and_lengths_beyond_the_file_are_refused_before_anything_is_sized_by_them() {
    let file = File::new(vec![whole("a", 1)], vec![], 0);
    for n in [u64::MAX, 1 << 40, 1000] {
        check_error(
            File { n_entries: Some(n), ..file.clone() }.parse(),
            &["metadata_kv_count", &n.to_string()],
        );
        check_error(File { n_tensors: Some(n), ..file.clone() }.parse(), &["tensor_count", &n.to_string()]);
        let n_bytes = n.to_le_bytes();
        check(vec![n_bytes.to_vec()], vec![], 64, &["the key of metadata entry 0"]);
        check(vec![entry("long", 8, &n_bytes)], vec![], 64, &["`long`"]);
        check(vec![list("long", 8, n, &[])], vec![], 64, &["the length of `long`"]);
        check(vec![list("long", 10, n, &[])], vec![], 64, &["the length of `long`"]);
        check(vec![list("long", 7, n, &[])], vec![], 64, &["the length of `long`"]);
        check(vec![list("long", 8, 1, &n_bytes)], vec![], 64, &["`long`"]);
        check(vec![], vec![n_bytes.to_vec(), vec![0; 16]], 64, &["tensor 0"]);
    }
}

#[test]
fn keys_that_cannot_be_read_are_refused() {
    check(vec![whole("a", 1), whole("a", 1)], vec![], 0, &["metadata key `a` is there twice"]);
    check(vec![entry("a", 13, &[0; 8])], vec![], 0, &["`a` has values of the unknown type 13"]);
    check(vec![list("a", 13, 0, &[])], vec![], 0, &["`a` has values of the unknown type 13"]);
    check(vec![list("a", 9, 1, &[0; 12])], vec![], 0, &["`a` is a list of lists"]);
    let not_text = [string(&[0xff, 0xfe]), vec![4, 0, 0, 0, 1, 0, 0, 0]].concat();
    check(vec![not_text], vec![], 0, &["the key of metadata entry 0 is not UTF-8"]);
}

#[test]
fn tensors_that_cannot_be_right_are_refused() {
    let one = |tensor: Vec<u8>, parts: &[&str]| check(vec![], vec![tensor], 64, parts);
    one(tensor("a", &[1, 1, 1, 1, 1], 0, 0), &["tensor `a` has 5 dimensions"]);
    one(tensor("a", &[0, 2], 0, 0), &["tensor `a` has a dimension of 0"]);
    one(tensor("a", &[1 << 32, 1 << 32], 0, 0), &["tensor `a`", "more elements than can be counted"]);
    one(tensor("a", &[u64::MAX, 2], 0, 0), &["tensor `a`"]);
    one(tensor("a", &[1 << 62], 0, 0), &["tensor `a`"]);
    one(tensor("a", &[2], 0, 8), &["tensor `a` has the offset 8, which is not a multiple of 32"]);
    one(tensor("a", &[2], 0, 64), &["tensor `a` ends at byte", "cut off"]);
    one(tensor("a", &[17], 0, 0), &["tensor `a` ends at byte"]);
    one(tensor("a", &[2], 0, u64::MAX - 31), &["tensor `a` has the offset"]);
    one(tensor("a", &[2], 99, 1 << 40), &["tensor `a` ends at byte"]);
    one(tensor("a", &[33], 8, 0), &["tensor `a` is Q8_0 with rows of 33, not whole blocks of 32"]);
    one(tensor("a", &[128, 2], 12, 0), &["tensor `a` is Q4_K with rows of 128"]);
    let twice = vec![tensor("a", &[2], 0, 0), tensor("a", &[2], 0, 32)];
    check(vec![], twice, 64, &["tensor `a` is there twice"]);
    let overlap = vec![tensor("a", &[9], 0, 0), tensor("b", &[2], 0, 32)];
    check(vec![], overlap, 64, &["tensor `b` overlaps tensor `a`"]);
    let not_text = [string(&[0xff]), vec![0; 16]].concat();
    check(vec![], vec![not_text], 64, &["the name of tensor 0 is not UTF-8"]);
}

#[test]
fn a_part_of_a_model_is_told_to_be_merged() {
    let parts = entry("split.count", 2, &3u16.to_le_bytes());
    check(vec![parts], vec![], 0, &["`split.count` is 3", "merge"]);
    File::new(vec![entry("split.count", 2, &1u16.to_le_bytes())], vec![], 0).parse().unwrap();
}

// The blueprint.

/// Parses the metadata of a small Llama, with `more` on top; a key in `more` replaces the small Llama's.
fn llama(more: Vec<Vec<u8>>) -> Result<Gguf, Error> {
    let ours = [
        text("general.architecture", "llama"),
        whole("llama.block_count", 1),
        whole("llama.context_length", 64),
        whole("llama.embedding_length", 8),
        whole("llama.feed_forward_length", 6),
        whole("llama.attention.head_count", 2),
        number("llama.attention.layer_norm_rms_epsilon", 1e-5),
        texts("tokenizer.ggml.tokens", &["a", "<|eot_id|>", "b", "<|eom_id|>"]),
        list("tokenizer.ggml.token_type", 5, 4, &[1, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0]),
    ];
    let key = |entry: &[u8]| entry[8..8 + entry[0] as usize].to_vec();
    let replaced: Vec<_> = more.iter().map(|entry| key(entry)).collect();
    let kept = ours.into_iter().filter(|entry| !replaced.contains(&key(entry)));
    let tensors = vec![
        tensor("token_embd.weight", &[8, 5], 0, 0),
        tensor("rope_freqs.weight", &[2], 0, 160),
        tensor("blk.0.attn_q.weight", &[8, 8], 26, 192),
    ];
    File::new(kept.chain(more).collect(), tensors, 192 + 256).parse()
}

fn config(more: Vec<Vec<u8>>) -> Result<Config, Error> {
    let mut gguf = llama(more)?;
    gguf.tensors.remove("rope_freqs.weight");
    gguf.config()
}

#[test]
fn what_the_metadata_leaves_out_takes_its_default() {
    let config = config(vec![]).unwrap();
    assert_eq!((config.n_heads, config.n_kv_heads, config.head_dim), (2, 2, 4));
    assert_eq!((config.d_model, config.d_ff, config.vocab_size, config.max_positions), (8, 6, 5, 64));
    assert_eq!(config.ropes, [Rope { theta: 10_000.0, dim: 4, scaling: RopeScaling::Default }]);
    assert!(config.tied_embeddings && !config.qkv_bias && !config.o_bias && !config.mlp_bias);
    assert_eq!(config.norm_eps, 1e-5);
    assert_eq!(config.bos_token, None);
}

#[test]
fn a_turn_ends_at_every_token_that_says_so() {
    let eos = |more| config(more).unwrap().eos_tokens;
    assert_eq!(eos(vec![]), [1, 3]);
    assert_eq!(eos(vec![whole("tokenizer.ggml.eos_token_id", 3)]), [3, 1]);
    assert_eq!(
        eos(vec![whole("tokenizer.ggml.eos_token_id", 0), whole("tokenizer.ggml.eot_token_id", 1)]),
        [0, 1, 3]
    );
}

#[test]
fn rope_is_scaled_as_the_file_says() {
    let scaling = |more| config(more).unwrap().ropes[0].scaling.clone();
    let (kind, factor) =
        (|it| text("llama.rope.scaling.type", it), |x| number("llama.rope.scaling.factor", x));
    assert_eq!(scaling(vec![kind("linear"), factor(4.0)]), RopeScaling::Linear { factor: 4.0 });
    assert_eq!(scaling(vec![factor(4.0)]), RopeScaling::Linear { factor: 4.0 });
    assert_eq!(scaling(vec![number("llama.rope.scale_linear", 2.0)]), RopeScaling::Linear { factor: 2.0 });
    assert_eq!(scaling(vec![kind("none"), factor(4.0)]), RopeScaling::Default);
    assert_eq!(scaling(vec![kind("linear")]), RopeScaling::Default);
    let RopeScaling::Yarn { factor: 4.0, original_max_positions: 16.0, .. } =
        scaling(vec![kind("yarn"), factor(4.0), whole("llama.rope.scaling.original_context_length", 16)])
    else {
        panic!("yarn")
    };
    check_error(config(vec![kind("martian"), factor(4.0)]), &["`llama.rope.scaling.type` is `martian`"]);
    check_error(config(vec![factor(-4.0)]), &["`llama.rope.scaling.factor` is -4"]);

    let mut gguf = llama(vec![factor(2.0)]).unwrap();
    let range = gguf.tensors["rope_freqs.weight"].range.clone();
    let mut bytes = gguf.parts[0].1.to_vec();
    bytes[range.clone()].copy_from_slice(&[1f32.to_le_bytes(), 8f32.to_le_bytes()].concat());
    gguf.parts[0].1 = Bytes::from(bytes.clone());
    assert_eq!(gguf.config().unwrap().ropes[0].scaling, RopeScaling::PerPair { factors: vec![2.0, 16.0] });
    bytes[range].copy_from_slice(&[1f32.to_le_bytes(), 0f32.to_le_bytes()].concat());
    gguf.parts[0].1 = Bytes::from(bytes);
    check_error(gguf.config(), &["rope_freqs.weight", "not positive"]);
}

#[test]
fn wrong_keys_are_named() {
    let check = |entry: Vec<u8>, parts: &[&str]| check_error(config(vec![entry]), parts);
    check(text("general.architecture", "mamba"), &["`mamba`", "supported: llama, qwen2"]);
    check(text("general.architecture", "qwen2"), &["`qwen2.block_count` is missing"]);
    check(whole("llama.block_count", 0), &["`llama.block_count` is 0"]);
    check(whole("llama.block_count", u32::MAX), &["`llama.block_count`"]);
    check(whole("llama.block_count", 20_000), &["`llama.block_count` is 20000, more than 10000"]);
    check(number("llama.embedding_length", 8.0), &["`llama.embedding_length`"]);
    check(whole("llama.attention.head_count", 3), &["`llama.embedding_length` is not a multiple"]);
    check(whole("llama.attention.head_count_kv", 3), &["`llama.attention.head_count_kv`"]);
    check(whole("llama.attention.key_length", 6), &["`llama.attention.value_length`"]);
    let wide = ["key", "value"].map(|it| whole(&format!("llama.attention.{it}_length"), 1 << 20));
    check_error(config(wide.to_vec()), &["`llama.attention.key_length` is 1048576, more than"]);
    check(whole("llama.rope.dimension_count", 2), &["`llama.rope.dimension_count`"]);
    check(number("llama.rope.freq_base", 0.0), &["`llama.rope.freq_base` is 0"]);
    check(number("llama.attention.layer_norm_rms_epsilon", f32::NAN), &["layer_norm_rms_epsilon"]);
    check(whole("tokenizer.ggml.bos_token_id", 5), &["`tokenizer.ggml.bos_token_id` is 5"]);
    check(
        texts("tokenizer.ggml.tokens", &["a", "b", "c", "d", "e", "f"]),
        &["`tokenizer.ggml.tokens` has 6 tokens", "only 5 rows"],
    );
    let layers = list("llama.attention.head_count_kv", 4, 2, &[2, 0, 0, 0, 1, 0, 0, 0]);
    check(layers, &["`llama.attention.head_count_kv` differs between layers"]);
    check(list("llama.attention.head_count_kv", 4, 0, &[]), &["`llama.attention.head_count_kv` is empty"]);
    check(whole("general.quantization_version", 1), &["`general.quantization_version` is 1"]);
}

#[test]
fn a_size_given_layer_by_layer_may_be_the_same_for_all() {
    let layers = list("llama.attention.head_count_kv", 4, 2, &[1, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(config(vec![layers]).unwrap().n_kv_heads, 1);
}

#[test]
fn keys_that_change_the_arithmetic_are_refused_and_neutral_ones_are_not() {
    let refused = |entry: Vec<u8>, part: &str| check_error(config(vec![entry]), &[part, "arithmetic"]);
    refused(whole("llama.expert_group_count", 4), "`llama.expert_group_count` is 4");
    refused(entry("llama.expert_weights_norm", 7, &[0]), "`llama.expert_weights_norm` is 0");
    refused(whole("llama.attention.sliding_window", 4096), "`llama.attention.sliding_window`");
    refused(number("llama.logit_scale", 0.5), "`llama.logit_scale` is 0.5");
    refused(number("llama.residual_scale", 0.22), "`llama.residual_scale`");
    refused(entry("llama.attention.causal", 7, &[0]), "`llama.attention.causal`");
    refused(number("llama.final_logit_softcapping", 30.0), "`llama.final_logit_softcapping`");
    refused(number("llama.rope.scaling.attn_factor", 1.2), "`llama.rope.scaling.attn_factor`");
    refused(whole("llama.something_new", 0), "`llama.something_new` is not known");
    for neutral in [
        whole("llama.expert_count", 0),
        number("llama.logit_scale", 1.0),
        entry("llama.attention.causal", 7, &[1]),
        whole("llama.vocab_size", 5),
        text("general.name", "a llama"),
        whole("qwen2.expert_count", 8),
    ] {
        config(vec![neutral]).unwrap();
    }
}

#[test]
fn experts_are_described_whole() {
    let (n, used) = (|n| whole("llama.expert_count", n), |n| whole("llama.expert_used_count", n));
    let experts = config(vec![n(8), used(2)]).unwrap();
    assert_eq!(experts.family, "mixtral");
    assert!(experts.layers.iter().all(|layer| layer.routed));
    let described = experts.experts.unwrap();
    assert_eq!((described.n, described.per_token, described.d_ff, described.normalise), (8, 2, 6, true));
    check_error(config(vec![n(8)]), &["`llama.expert_used_count` is missing"]);
    check_error(config(vec![n(2), used(3)]), &["`llama.expert_used_count` is 3, of 2 experts"]);
    check_error(config(vec![n(1 << 20), used(3)]), &["`llama.expert_count` is 1048576; all layers together"]);
}

#[test]
fn a_tensor_that_the_model_has_no_place_for_is_refused() {
    let weights = |name: &str| -> Result<Weights, Error> {
        let mut gguf = llama(vec![])?;
        let info = TensorInfo { part: 0, dtype: Ok(Dtype::F32), shape: vec![1], range: 0..4 };
        gguf.tensors.remove("rope_freqs.weight");
        gguf.tensors.insert(name.to_owned(), info);
        let config = gguf.config()?;
        gguf.into_weights(&config)
    };
    check_error(weights("blk.0.attn_q_norm.weight"), &["tensor `blk.0.attn_q_norm.weight` has no place"]);
    check_error(weights("blk.0.ffn_gate_exps.weight"), &["tensor `blk.0.ffn_gate_exps.weight`"]);
    check_error(weights("blk.1.attn_v.weight"), &["tensor `blk.1.attn_v.weight`"]);
    weights("blk.0.attn_rot_embd.weight").unwrap();
    weights("blk.0.attn_v.weight").unwrap();
}

#[test]
fn a_type_that_cannot_be_computed_with_is_named_when_the_tensor_is_needed() {
    let mut gguf = llama(vec![]).unwrap();
    gguf.tensors.remove("rope_freqs.weight");
    let config = gguf.config().unwrap();
    let weights = gguf.into_weights(&config).unwrap();
    let parts = ["tensor `blk.0.attn_q.weight` is stored as I32", "supported: F32, F16, BF16, Q8_0"];
    check_error(weights.require(&config), &parts);
    let mut without = weights;
    without.unusable.clear();
    check_error(without.require(&config), &["lacks", "blk.0.attn_k.weight", "blk.0.attn_q.weight"]);
}

// The tokenizer.

fn tokenizer(more: Vec<Vec<u8>>) -> Result<tokenizers::Tokenizer, Error> {
    let ours = [
        text("tokenizer.ggml.model", "gpt2"),
        text("tokenizer.ggml.pre", "gpt-2"),
        texts("tokenizer.ggml.tokens", &["a", "b", "ab", "<s>"]),
        list("tokenizer.ggml.token_type", 5, 4, &[1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0]),
        texts("tokenizer.ggml.merges", &["a b"]),
    ];
    let key = |entry: &[u8]| entry[8..8 + entry[0] as usize].to_vec();
    let replaced: Vec<_> = more.iter().map(|entry| key(entry)).collect();
    let kept = ours.into_iter().filter(|entry| !replaced.contains(&key(entry)));
    File::new(kept.chain(more).collect(), vec![], 0).parse()?.tokenizer()
}

#[test]
fn bos_and_eos_frame_a_text_where_the_file_says_so() {
    let ids =
        |more: Vec<Vec<u8>>| tokenizer(more).unwrap().encode("ab<s>a", true).unwrap().get_ids().to_vec();
    let (bos, eos) = (whole("tokenizer.ggml.bos_token_id", 3), whole("tokenizer.ggml.eos_token_id", 1));
    let add = |what: &str, yes: u8| entry(&format!("tokenizer.ggml.add_{what}_token"), 7, &[yes]);
    assert_eq!(ids(vec![]), [2, 3, 0]);
    assert_eq!(ids(vec![bos.clone()]), [2, 3, 0]);
    assert_eq!(ids(vec![bos.clone(), add("bos", 1)]), [3, 2, 3, 0]);
    assert_eq!(ids(vec![bos.clone(), add("bos", 1), eos.clone(), add("eos", 1)]), [3, 2, 3, 0, 1]);
    let llama3 = text("tokenizer.ggml.pre", "llama-bpe");
    assert_eq!(ids(vec![llama3.clone(), bos.clone()]), [3, 2, 3, 0]);
    assert_eq!(ids(vec![llama3.clone()]), [2, 3, 0]);
    assert_eq!(ids(vec![llama3, bos, add("bos", 0)]), [2, 3, 0]);
}

#[test]
fn tokenizers_that_are_not_known_or_not_whole_are_refused() {
    let check = |entry: Vec<u8>, parts: &[&str]| check_error(tokenizer(vec![entry]), parts);
    check(
        text("tokenizer.ggml.model", "bert"),
        &["`tokenizer.ggml.model` is `bert`", "supported: gpt2, llama, t5"],
    );
    let original = |vocab: &str| {
        let json = format!(r#"{{"model": {{"type": "BPE", "vocab": {{{vocab}}}, "merges": []}}}}"#);
        text("tokenizer.huggingface.json", &json)
    };
    tokenizer(vec![original(r#""b": 1, "a": 0"#)]).unwrap();
    check(
        original(r#""b": 0"#),
        &["`tokenizer.huggingface.json` has `b` as 0", "unlike tokenizer.ggml.tokens"],
    );
    check(original(r#""z": 9"#), &["`tokenizer.huggingface.json` has `z` as 9"]);
    check(text("tokenizer.huggingface.json", "{"), &["`tokenizer.huggingface.json` makes no tokenizer"]);
    check(text("tokenizer.ggml.pre", "martian"), &["`tokenizer.ggml.pre` is `martian`", "llama-bpe"]);
    check(texts("tokenizer.ggml.tokens", &["a", "b"]), &["`tokenizer.ggml.token_type` has 4 entries"]);
    check(texts("tokenizer.ggml.tokens", &["a", "b", "ab", "a"]), &["`tokenizer.ggml.tokens` has `a` twice"]);
    check(texts("tokenizer.ggml.merges", &["ab"]), &["`tokenizer.ggml.merges` has `ab`"]);
    check(texts("tokenizer.ggml.merges", &[""]), &["`tokenizer.ggml.merges` has ``"]);
    check(texts("tokenizer.ggml.merges", &["b a"]), &["`tokenizer.ggml.merges` merges `b` and `a`"]);
    check(texts("tokenizer.ggml.merges", &["x y"]), &["`tokenizer.ggml.merges` merges `x` and `y`"]);
    check(list("tokenizer.ggml.token_type", 5, 4, &[9; 16]), &["`tokenizer.ggml.token_type`"]);
    check(entry("tokenizer.ggml.add_bos_token", 7, &[1]), &["`tokenizer.ggml.bos_token_id` is missing"]);
    for model in ["llama", "t5"] {
        check(text("tokenizer.ggml.model", model), &["`tokenizer.ggml.scores` is missing"]);
    }
    let unigram = |score: f32, more: Vec<Vec<u8>>| {
        let scores = [0.0, -1.0, -2.0, score].map(f32::to_le_bytes).concat();
        let ours = vec![text("tokenizer.ggml.model", "t5"), list("tokenizer.ggml.scores", 6, 4, &scores)];
        tokenizer(ours.into_iter().chain(more).collect())
    };
    check_error(unigram(f32::NAN, vec![]), &["`tokenizer.ggml.scores` has NaN for token 3"]);
    check_error(unigram(0.0, vec![]), &["`tokenizer.ggml.unknown_token_id` is missing"]);
    let unknown = |id| whole("tokenizer.ggml.unknown_token_id", id);
    check_error(
        unigram(0.0, vec![unknown(4)]),
        &["`tokenizer.ggml.unknown_token_id` is 4, which is no token"],
    );
    let table = list("tokenizer.ggml.precompiled_charsmap", 0, 6, &[0xff, 0xff, 0xff, 0x7f, 0, 0]);
    let cut_off = unigram(0.0, vec![unknown(3), table]);
    check_error(cut_off, &["`tokenizer.ggml.precompiled_charsmap` is cut off"]);
    let broken = File::new(vec![], vec![], 0).parse().unwrap().tokenizer();
    check_error(broken, &["`tokenizer.ggml.tokens` is missing"]);
    let far = vec![whole("tokenizer.ggml.bos_token_id", 9), entry("tokenizer.ggml.add_bos_token", 7, &[1])];
    check_error(tokenizer(far), &["`tokenizer.ggml.bos_token_id` is 9, which is no token"]);
}
