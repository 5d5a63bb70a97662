//! What the program does with input that it cannot use: exit code, message, and no trace left behind.

mod support;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Value, json};
use std::collections::HashMap;
use support::{CONTRASTS, Place, golden};

// Models.

/// A model folder that has been damaged: every command that loads it fails with code 3 and says `part`.
fn check_model(damage: impl Fn(&Place), part: &str) {
    let place = Place::new();
    place.write("v.safetensors", "an older file");
    damage(&place);
    place.run("model show model").fails(3, part);
    place.run("extract --model model --contrasts contrasts.jsonl -o v.safetensors").fails(3, part);
    place.run("capture --model model --ids 1,2 -o a.safetensors").fails(3, part);
}

fn remove(place: &Place, name: &str) {
    std::fs::remove_file(place.path(name)).unwrap();
}

/// Puts a value into the config; `Null` takes the field out.
fn set_config(place: &Place, field: &str, value: Value) {
    let mut config: Value = serde_json::from_str(&place.text("model/config.json")).unwrap();
    match value {
        Value::Null => drop(config.as_object_mut().unwrap().remove(field)),
        value => config[field] = value,
    }
    place.write("model/config.json", config.to_string());
}

/// Writes the weights again with other names, types or shapes; what `change` returns `None` for is left out.
fn change_weights(place: &Place, change: impl Fn(&str, Dtype, &[usize]) -> Option<(Dtype, Vec<usize>)>) {
    let bytes = place.read("model/model.safetensors");
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let changed = tensors.iter().filter_map(|(name, view)| {
        let (dtype, shape) = change(name, view.dtype(), view.shape())?;
        Some((name.to_owned(), TensorView::new(dtype, shape, view.data()).unwrap()))
    });
    place.write("model/model.safetensors", safetensors::serialize(changed, None).unwrap());
}

#[test]
fn a_model_that_is_not_there_is_named() {
    let place = Place::new();
    let check = |model: &str, code, part: &str| {
        place.run(&format!("model show {model}")).fails(code, part).says(model);
        place.run(&format!("generate --model {model} --prompt hi")).fails(code, part).says("--model");
        let extract = format!("extract --model {model} --contrasts contrasts.jsonl -o v.safetensors");
        place.run(&extract).fails(code, part);
        place.run(&format!("demo --model {model} -o out")).fails(code, part);
    };
    check("nowhere", 3, "there is no such directory or file");
    check("/nowhere/at/all", 3, "there is no such directory or file");
    check("org/name", 4, "HF_HUB_OFFLINE forbids downloading it");
    check("org/name:Q8_0", 4, "org/name:Q8_0 is not in the local hub cache");
}

#[test]
fn a_file_that_is_no_model_is_told_what_is() {
    let place = Place::new();
    for file in ["contrasts.jsonl", "model/model.safetensors", "model/config.json"] {
        let part = "is not a GGUF file: a model is a .gguf file or a Hugging Face directory";
        place.run(&format!("model show {file}")).fails(3, part).says(file);
        place.run(&format!("generate --model {file} --prompt hi")).fails(3, part).says(file);
    }
}

#[test]
fn a_model_in_the_local_hub_cache_is_found_by_its_name() {
    let place = Place::new();
    place.write("hf/hub/models--org--name/refs/main", "0123abcd\n");
    place.run("model show org/name").fails(4, "is not in the local hub cache");
    place.model("hf/hub/models--org--name/snapshots/0123abcd", "llama-untied-bias-f32");
    let shown = place.run("model show org/name --json").succeeds();
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!((&shown["name"], &shown["d_model"]), (&json!("org/name"), &json!(32)));

    // A folder of that name here goes before the cache.
    place.model("org/name", "llama-gqa-tied-bf16");
    assert!(place.run("model show org/name --json").succeeds().stdout.contains("\"d_model\":64"));
}

#[test]
fn a_missing_file_of_a_model_is_named() {
    check_model(|place| remove(place, "model/config.json"), "cannot read model/config.json");
    check_model(|place| remove(place, "model/model.safetensors"), "cannot read model/model.safetensors");
}

#[test]
fn a_model_without_a_tokenizer_runs_ids_but_no_text() {
    let place = Place::new();
    remove(&place, "model/tokenizer.json");
    let part = "cannot read model/tokenizer.json";
    place.run("generate --model model --prompt hi").fails(3, part);
    place.run("capture --model model --text hi -o a.safetensors").fails(3, part);
    place.run("extract --model model --contrasts contrasts.jsonl -o v.safetensors").fails(3, part);
    place.run("demo --model model -o out").fails(3, part);
    place.run("capture --model model --ids 1,2 -o a.safetensors").succeeds();

    place.write("model/tokenizer.json", "{}");
    place.run("generate --model model --prompt hi").fails(3, "model/tokenizer.json: is not a tokenizer");
}

#[test]
fn a_checkpoint_that_was_cut_off_is_refused_wherever_the_cut_is() {
    let whole = std::fs::read(golden(support::TINY).join("model.safetensors")).unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    for len in [0, 1, 4, 8, header / 2, header - 1, header, header + 1, whole.len() / 2, whole.len() - 1] {
        let cut = |place: &Place| place.write("model/model.safetensors", &whole[..len]);
        check_model(cut, "model/model.safetensors: is ");
        check_model(cut, "cut off");
    }
}

#[test]
fn a_checkpoint_that_is_something_else_is_refused() {
    let check = |content: &[u8]| {
        let replace = |place: &Place| place.write("model/model.safetensors", content);
        check_model(replace, "model/model.safetensors: is not a whole safetensors file");
    };
    check(b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 12345\n");
    check(&[0xff; 4096]);
    check(&[0; 4096]);
    check(&[&2u64.to_le_bytes()[..], b"[]"].concat());
}

#[test]
fn a_shard_index_must_name_files_of_its_own_folder() {
    let check = |shard: &str| {
        let index = json!({"weight_map": {"model.norm.weight": shard}});
        let damage = |place: &Place| {
            place.write("outside.safetensors", place.read("model/model.safetensors"));
            place.write("model/sub/inside.safetensors", place.read("model/model.safetensors"));
            remove(place, "model/model.safetensors");
            place.write("model/model.safetensors.index.json", index.to_string());
        };
        let want =
            format!("`weight_map` sends `model.norm.weight` to `{shard}`, which is not a file of its folder");
        check_model(damage, &want);
    };
    check("../outside.safetensors");
    check("/etc/passwd");
    check("sub/inside.safetensors");
    check("sub/../../outside.safetensors");
    check("..");
    check("");
}

#[test]
fn a_shard_index_that_is_damaged_says_how() {
    let check = |index: &str, part: &str| {
        let damage = |place: &Place| {
            remove(place, "model/model.safetensors");
            place.write("model/model.safetensors.index.json", index);
        };
        check_model(damage, &format!("model/model.safetensors.index.json: {part}"));
    };
    check("not json", "is not JSON");
    check("", "is not JSON");
    check("{}", "`weight_map` is missing");
    check(r#"{"weight_map": []}"#, "`weight_map` is missing or not an object");
    check(r#"{"weight_map": {}}"#, "`weight_map` names no shard");
    check(r#"{"weight_map": {"a": 1}}"#, "`weight_map` sends `a` to ``");
    check(
        r#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#,
        "names shards that are not there: model-1.safetensors, model-2.safetensors",
    );
}

#[test]
fn a_missing_shard_is_named() {
    let place = Place::new();
    place.model("shards", "llama-mha-sharded-f16");
    remove(&place, "shards/model-00002-of-00003.safetensors");
    let part = "names shards that are not there: model-00002-of-00003.safetensors";
    place.run("capture --model shards --ids 1 -o a.safetensors").fails(3, part);
}

#[test]
fn a_config_that_cannot_be_used_names_the_field() {
    let check = |field: &str, value: Value, part: &str| {
        let want = format!("model/config.json: {part}");
        check_model(|place| set_config(place, field, value.clone()), &want);
    };
    check("model_type", json!("mamba"), "models of the family `mamba` are not supported (supported: llama");
    check("model_type", Value::Null, "`model_type` is missing");
    check("hidden_size", Value::Null, "`hidden_size` is missing");
    check("num_hidden_layers", Value::Null, "`num_hidden_layers` is missing");
    check("num_hidden_layers", json!(0), "`num_hidden_layers` is not a positive whole number");
    check("vocab_size", json!(-5), "`vocab_size` is not a positive whole number");
    check("intermediate_size", json!("48"), "`intermediate_size` is not a positive whole number");
    check("num_key_value_heads", json!(3), "`num_key_value_heads` does not divide");
    check("tie_word_embeddings", json!("yes"), "`tie_word_embeddings` is neither true nor false");
    check("hidden_act", json!("mish"), "`hidden_act` is \"mish\", which is not supported");
    check(
        "attention_twist",
        json!(0.5),
        "`attention_twist` changes the arithmetic in a way that is not supported",
    );
    check("quantization_config", json!({"bits": 4}), "`quantization_config` changes the arithmetic");
    check("rope_scaling", json!({"rope_type": "warp", "factor": 2.0}), "`rope_scaling.rope_type` is `warp`");
    check("rope_scaling", json!({"type": "llama3"}), "`rope_scaling.factor` is missing");
    check("rope_parameters", json!({"rope_type": "dynamic"}), "`rope_parameters.factor` is missing");
    check("rope_theta", json!(0), "`rope_theta` is not a positive number");
}

#[test]
fn a_config_that_is_not_json_is_named() {
    let check = |file: &str, content: &str| {
        check_model(|place| place.write(file, content), &format!("{file}: is not "));
    };
    check("model/config.json", "not json");
    check("model/config.json", "");
    check("model/config.json", "{\"model_type\": \"llama\"");
    check("model/config.json", "[1, 2]");
    check("model/generation_config.json", "not json");
    check_model(|place| place.write("model/config.json", [0xff, 0xfe]), "cannot read model/config.json");
}

#[test]
fn every_missing_tensor_is_listed() {
    let without = |missing: &'static [&'static str]| {
        move |place: &Place| {
            change_weights(place, |name, dtype, shape| {
                (!missing.iter().any(|it| name.contains(it))).then(|| (dtype, shape.to_vec()))
            });
        }
    };
    let check = |missing: &'static [&'static str], part: &str| check_model(without(missing), part);
    check(&["model.norm.weight"], "lacks 1 of the tensors that the config asks for: model.norm.weight");
    check(
        &["layers.1.mlp.up_proj", "layers.2.input_layernorm"],
        "lacks 2 of the tensors that the config asks for: model.layers.1.mlp.up_proj.weight, \
         model.layers.2.input_layernorm.weight",
    );
    check(&["layers."], "and 19 more");
}

#[test]
fn a_tensor_of_another_shape_is_named_with_both_shapes() {
    let reshape = |place: &Place| {
        change_weights(place, |name, dtype, shape| {
            let turned: Vec<usize> = shape.iter().rev().copied().collect();
            Some((dtype, if name.ends_with("1.mlp.up_proj.weight") { turned } else { shape.to_vec() }))
        });
    };
    let part = "tensor `model.layers.1.mlp.up_proj.weight` is [64, 48], the config asks for [48, 64]";
    check_model(reshape, part);
    check_model(
        |place| set_config(place, "vocab_size", json!(303)),
        "`model.embed_tokens.weight` is [304, 64]",
    );
}

// GGUF files.

/// Writes a golden file, spoilt.
fn check_gguf(spoil: impl Fn(&mut Vec<u8>), part: &str) {
    let place = Place::new();
    let mut bytes = std::fs::read(golden("gguf/gqa-tied-bf16.gguf")).unwrap();
    spoil(&mut bytes);
    place.write("tiny.gguf", bytes);
    place.run("model show tiny.gguf").fails(3, part).says("tiny.gguf");
    place.run("generate --model tiny.gguf --prompt hi").fails(3, part);
}

/// Replaces the first `from` by `to`, which is as long.
fn replace(bytes: &mut [u8], from: &str, to: &str) {
    let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
}

#[test]
fn a_gguf_file_that_is_damaged_or_not_supported_is_named_with_the_field() {
    check_gguf(|bytes| bytes.truncate(3), "is not a GGUF file");
    check_gguf(|bytes| bytes.truncate(4500), "the rest of the file has room for");
    check_gguf(|bytes| bytes.truncate(bytes.len() - 40), "it may be cut off");
    check_gguf(|bytes| bytes[4] = 1, "the version is 1, which is too old");
    check_gguf(|bytes| bytes[8..16].fill(0xff), "tensor_count is 18446744073709551615");
    check_gguf(|bytes| replace(bytes, "\x05\0\0\0\0\0\0\0llama", "\x05\0\0\0\0\0\0\0mamba"), "`mamba`");
    let key = |from: &'static str, to: &'static str| move |bytes: &mut Vec<u8>| replace(bytes, from, to);
    check_gguf(key("llama.block_count", "llama.block_c0unt"), "`llama.block_c0unt` is not known");
    check_gguf(
        key("blk.1.ffn_up.weight", "blk.1.ffn_xp.weight"),
        "tensor `blk.1.ffn_xp.weight` has no place",
    );
}

#[test]
fn a_gguf_file_with_a_tokenizer_that_is_not_supported_can_be_shown_but_not_prompted() {
    let place = Place::new();
    let mut bytes = std::fs::read(golden("gguf/gqa-tied-bf16.gguf")).unwrap();
    replace(&mut bytes, "llama-bpe", "llama-bpf");
    place.write("tiny.gguf", bytes);
    place.run("model show tiny.gguf").succeeds();
    place.run("generate --model tiny.gguf --prompt hi").fails(3, "`tokenizer.ggml.pre` is `llama-bpf`");
}

#[test]
fn a_model_in_parts_is_shown_whole_and_refused_without_one_of_them() {
    let place = Place::new();
    for n in 1..=3 {
        let name = format!("m-0000{n}-of-00003.gguf");
        place.write(&name, std::fs::read(golden("gguf-parts").join(&name)).unwrap());
    }
    place.run("generate --model m-00001-of-00003.gguf --prompt hi --max-tokens 2").succeeds();
    place.run("model show m-00003-of-00003.gguf").succeeds();
    remove(&place, "m-00002-of-00003.gguf");
    let missing = "`m-00002-of-00003.gguf` is missing: put all parts into one folder";
    place.run("model show m-00001-of-00003.gguf").fails(3, missing);
    place.run("generate --model m-00003-of-00003.gguf --prompt hi").fails(3, missing);
}

// Vectors.

/// The parts of a vector file, to be spoilt one at a time.
struct VectorFile {
    json: Value,
    tensors: Vec<Tensor>,
}

struct Tensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl VectorFile {
    /// One that fits a model of this shape: at every layer the first axis.
    fn new(d_model: usize, n_layers: usize) -> VectorFile {
        let mut direction = vec![0.0f32; d_model];
        direction[0] = 1.0;
        let tensor = |layer| Tensor {
            name: format!("direction.{layer}"),
            dtype: Dtype::F32,
            shape: vec![d_model],
            bytes: bytes(&direction),
        };
        let statistics = json!({"gap": 2.0, "rms": 10.0, "auc": 1.0});
        let layers: HashMap<String, Value> =
            (0..n_layers).map(|layer| (layer.to_string(), statistics.clone())).collect();
        VectorFile {
            json: json!({
                "format_version": 1, "name": "test", "site": "resid_post", "method": "mean",
                "tokens": "answer", "frame": "plain", "layers": layers, "tool": "a test",
                "model": {"name": "model", "weights_sha256": "0", "d_model": d_model, "n_layers": n_layers},
                "contrasts": {"name": "test", "sha256": "0", "n": 1}, "recommended": null,
            }),
            tensors: (0..n_layers).map(tensor).collect(),
        }
    }

    /// With other numbers at layer 1.
    fn numbers(mut self, change: impl Fn(&mut Vec<f32>)) -> VectorFile {
        let mut numbers = vec![0.0; 64];
        numbers[0] = 1.0;
        change(&mut numbers);
        self.tensors[1].bytes = bytes(&numbers);
        self
    }

    /// With another value somewhere in the metadata.
    fn metadata(mut self, pointer: &str, value: Value) -> VectorFile {
        *self.json.pointer_mut(pointer).unwrap() = value;
        self
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.to_bytes_under("whipstaff")
    }

    fn to_bytes_under(&self, key: &str) -> Vec<u8> {
        let views = self
            .tensors
            .iter()
            .map(|it| (it.name.as_str(), TensorView::new(it.dtype, it.shape.clone(), &it.bytes).unwrap()));
        let metadata = HashMap::from([(key.to_owned(), self.json.to_string())]);
        safetensors::serialize(views, Some(metadata)).unwrap()
    }
}

fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn tiny() -> VectorFile {
    VectorFile::new(64, 3)
}

/// A vector file that is bad in itself: every command that reads one fails with code 3 and names it.
fn check_vector(content: Vec<u8>, part: &str) {
    let place = Place::new();
    place.write("v.safetensors", content);
    let part = format!("v.safetensors: {part}");
    place.run("vector show v.safetensors").fails(3, &part);
    place.run("vector show v.safetensors --json").fails(3, &part);
    check_unfit(&place, &part);
}

/// A vector file that may be good, but not for this model.
fn check_unfit(place: &Place, part: &str) {
    place.run("generate --model model --prompt hi --steer v.safetensors:0.5@1").fails(3, part);
    place.run("generate --model model --prompt hi --steer v.safetensors --compare --json").fails(3, part);
    place.run("figure --model model --steer v.safetensors --prompts prompts.txt -o out").fails(3, part);
}

#[test]
fn the_vector_that_the_bad_ones_are_made_from_is_good() {
    let place = Place::new();
    place.write("v.safetensors", tiny().to_bytes());
    place.run("vector show v.safetensors").succeeds();
    place.run("generate --model model --prompt hi --max-tokens 2 --steer v.safetensors").succeeds();
}

#[test]
fn a_missing_vector_is_named() {
    let place = Place::new();
    place.run("vector show v.safetensors").fails(3, "cannot read v.safetensors");
    check_unfit(&place, "cannot read v.safetensors");
    place.run("vector show model").fails(3, "cannot read model");
}

#[test]
fn a_vector_of_another_model_says_which_model_it_is_for() {
    let check = |d_model, n_layers, part: &str| {
        let place = Place::new();
        place.write("v.safetensors", VectorFile::new(d_model, n_layers).to_bytes());
        place.run("vector show v.safetensors").succeeds();
        check_unfit(&place, &format!("`v.safetensors`: {part}"));
    };
    check(32, 3, "was made for a model with d_model 32 (model), this model has 64");
    check(64, 4, "has a direction for layer 3, this model has layers 0-2");
}

#[test]
fn a_direction_must_be_a_unit_vector_of_finite_floats() {
    let check = |file: VectorFile, part: &str| check_vector(file.to_bytes(), part);
    check(tiny().numbers(|it| it[7] = f32::NAN), "`direction.1` holds NaN, which is not a finite number");
    check(tiny().numbers(|it| it[7] = f32::INFINITY), "`direction.1` holds inf");
    check(tiny().numbers(|it| it[7] = f32::NEG_INFINITY), "`direction.1` holds -inf");
    check(tiny().numbers(|it| it[0] = 2.0), "`direction.1` has norm 2.0000, but a direction has norm 1");
    check(tiny().numbers(|it| it[0] = 0.0), "`direction.1` has norm 0.0000");

    let with_tensor = |change: fn(&mut Tensor)| {
        let mut file = tiny();
        change(&mut file.tensors[1]);
        file
    };
    check(with_tensor(|it| it.dtype = Dtype::I32), "`direction.1` is I32 [64], expected F32 [64]");
    check(with_tensor(|it| it.shape = vec![8, 8]), "`direction.1` is F32 [8, 8], expected F32 [64]");
    check(
        with_tensor(|it| (it.shape, it.bytes) = (vec![0], Vec::new())),
        "`direction.1` is F32 [0], expected F32 [64]",
    );
    check(with_tensor(|it| it.name = "other".into()), "lacks the tensor `direction.1`");
}

#[test]
fn metadata_that_cannot_be_right_is_refused() {
    let check = |pointer: &str, value: Value, part: &str| {
        check_vector(tiny().metadata(pointer, value).to_bytes(), part);
    };
    check("/format_version", json!(3), "has format version 3, this program reads up to 2: update it");
    check("/format_version", json!(0), "has format version 0, which there never was");
    check("/format_version", json!("1"), "its `whipstaff` metadata: ");
    check("/frame", json!("no placeholder"), "its frame `no placeholder` has no {prompt}");
    check("/layers/1/gap", json!(-3.0), "the gap of layer 1 cannot be");
    check("/layers/1/auc", json!(7.0), "the AUC of layer 1 cannot be");
    check("/layers", json!({}), "holds no direction");
    check("/layers", json!({"7": {"gap": 1.0, "rms": 1.0, "auc": null}}), "lacks the tensor `direction.7`");
    check("/layers/1", json!({"gap": 1.0}), "the rms of layer 1 cannot be");
    check("/layers/1/gap", json!(null), "the gap of layer 1 cannot be");
    check("/model/d_model", json!(32), "`direction.0` is F32 [64], expected F32 [32]");
    check("/model/n_layers", json!(2), "`direction.2` is past the 2 layers of its model");
    check("/site", json!("nowhere"), "`nowhere` is not a site");
    let recommended = json!({
        "layers": [9], "alpha": 1.0, "unit": "gap", "best_layer": 1, "measured_on": "x", "n_contrasts": 1,
        "margin": [0.0, 0.0, 0.0], "perplexity_ratio": 1.0,
    });
    check("/recommended", recommended, "its recommendation names layers, a unit or an alpha that cannot be");
}

#[test]
fn a_file_that_is_no_vector_of_ours_says_how_to_make_one() {
    let part = "is not a Whipstaff vector: `whipstaff extract` makes them";
    let weights = std::fs::read(golden(support::TINY).join("model.safetensors")).unwrap();
    check_vector(weights, part);
    check_vector(tiny().to_bytes_under("repeng"), part);
    check_vector(CONTRASTS.into(), part);
    check_vector(Vec::new(), part);
    check_vector(tiny().to_bytes()[..100].into(), part);
}

#[test]
fn a_vector_file_that_was_cut_off_is_refused() {
    let whole = tiny().to_bytes();
    check_vector(whole[..whole.len() - 1].into(), "");
    check_vector(whole[..whole.len() / 2].into(), "");
}

// Texts.

/// A contrast file for `extract`.
fn check_contrasts(content: impl AsRef<[u8]>, part: &str) {
    let place = Place::new();
    place.write("v.safetensors", "an older file");
    place.write("c.jsonl", content);
    place.run("extract --model model --contrasts c.jsonl -o v.safetensors").fails(3, part);
    let heldout = "extract --model model --contrasts contrasts.jsonl --heldout c.jsonl -o v.safetensors";
    place.run(heldout).fails(3, part);
}

#[test]
fn a_contrast_that_cannot_be_used_is_named_by_file_and_line() {
    let good = r#"{"prompt": "p", "positive": "a", "negative": "b"}"#;
    check_contrasts("", "c.jsonl: holds no contrast: one JSON object a line is expected");
    check_contrasts("\n\n", "c.jsonl: holds no contrast");
    check_contrasts(format!("{good}\nnot json\n"), "c.jsonl:2: is not a contrast");
    check_contrasts(format!("{good}\n\n[1]\n"), "c.jsonl:3: is not a contrast");
    check_contrasts(r#"{"positive": "a", "negative": "b"}"#, "c.jsonl:1: `prompt` is missing");
    check_contrasts(r#"{"prompt": "p", "negative": "b"}"#, "c.jsonl:1: `positive` is missing");
    check_contrasts(r#"{"prompt": "p", "positive": "a"}"#, "c.jsonl:1: `negative` is missing");
    check_contrasts(r#"{"prompt": "p", "positive": "", "negative": "b"}"#, "c.jsonl:1: `positive` is empty");
    check_contrasts(
        r#"{"prompt": "p", "positive": "a", "negative": "a"}"#,
        "c.jsonl:1: `positive` and `negative`",
    );
    check_contrasts([good.as_bytes(), b"\n\xff\xfe\n"].concat(), "c.jsonl: is not UTF-8 text");
}

#[test]
fn a_missing_contrast_file_is_named() {
    let place = Place::new();
    let check = |files: &str, missing: &str| {
        let line = format!("extract --model model {files} -o v.safetensors");
        place.run(&line).fails(3, &format!("cannot read {missing}"));
    };
    check("--contrasts c.jsonl", "c.jsonl");
    check("--contrasts model", "model");
    check("--contrasts contrasts.jsonl --heldout h.jsonl", "h.jsonl");
}

#[test]
fn contrasts_that_are_the_same_to_the_model_give_no_direction() {
    let place = Place::new();
    let swapped = r#"{"prompt": "p", "positive": "a", "negative": "b"}
{"prompt": "p", "positive": "b", "negative": "a"}"#;
    place.write("c.jsonl", swapped);
    let part = "the contrasts of `c` give a zero direction at layer 0";
    place.run("extract --model model --contrasts c.jsonl -o v.safetensors").fails(3, part);
}

#[test]
fn prompts_that_cannot_be_used_are_named_by_file_and_line() {
    let place = Place::with_vector();
    let check = |file: &str, content: &[u8], part: &str| {
        place.write(file, content);
        let line = format!("figure --model model --steer v.safetensors --prompts {file} -o out");
        place.run(&line).fails(3, part).says(file);
    };
    check("p.txt", b"", "p.txt: holds no prompt");
    check("p.txt", b"\n \n", "p.txt: holds no prompt");
    check("p.txt", b"\xff", "cannot read p.txt");
    check("p.jsonl", b"", "p.jsonl: holds no prompt");
    check("p.jsonl", b"{\"prompt\": \"a\"}\nb\n", "p.jsonl:2: is not a prompt");
    check("p.jsonl", b"{\"answer\": \"a\"}\n", "p.jsonl:1: is not a prompt: missing field `prompt`");
    let figure = "figure --model model --steer v.safetensors --prompts nowhere.txt -o out";
    place.run(figure).fails(3, "cannot read nowhere.txt");
}

#[test]
fn a_text_longer_than_the_context_is_refused_with_both_lengths() {
    let place = Place::with_vector();
    let long = "hello ".repeat(300);
    place.write("long.txt", format!("short\n{long}\n"));
    place.write("long.jsonl", json!({"prompt": long, "positive": "a", "negative": "b"}).to_string());
    let check = |line: &str, code, part: &str| {
        place.run(line).fails(code, part).says("256");
    };
    let part = "tokens do not fit the model's context of 256; shorten the text";
    check(&format!("generate --model model --prompt '{long}'"), 2, part);
    check(&format!("capture --model model --text '{long}' -o a.safetensors"), 2, part);
    check(&format!("capture --model model --ids {}1 -o a.safetensors", "1,".repeat(256)), 2, part);
    let extract = "extract --model model --contrasts long.jsonl -o w.safetensors";
    check(extract, 3, "contrast 1 of `long` has ");
    let figure = "figure --model model --steer v.safetensors --prompts long.txt -o out";
    check(figure, 3, "long.txt: prompt 2 has ");

    // What just fits is run.
    place.run(&format!("capture --model model --ids {}1 -o a.safetensors", "1,".repeat(255))).succeeds();
}

#[test]
fn ids_must_be_in_the_vocabulary() {
    let place = Place::new();
    let check = |ids: &str, part: &str| {
        place.run(&format!("capture --model model --ids {ids} -o a.safetensors")).fails(2, part);
    };
    check("304", "token id 304 is outside the vocabulary of 304 entries");
    check("1,2,4000000000", "token id 4000000000 is outside the vocabulary");
    check("1,x", "'x' for '--ids");
    check("1,,2", "'' for '--ids");
    check("-1", "unexpected argument '-1'");
    check("''", "--ids");
}

#[test]
fn an_empty_text_is_just_what_the_tokenizer_puts_in_front() {
    let place = Place::new();
    // This tokenizer begins every text with bos, so there is something to run.
    let captured = place.run("capture --model model --raw --text '' -o a.safetensors").succeeds();
    assert_eq!(captured.stdout, "4 tensors of 1 tokens written to a.safetensors\n");

    // One that adds nothing leaves nothing to run.
    let mut tokenizer: Value = serde_json::from_str(&place.text("model/tokenizer.json")).unwrap();
    tokenizer["post_processor"] = Value::Null;
    place.write("model/tokenizer.json", tokenizer.to_string());
    let part = "the text is empty: nothing to run";
    place.run("capture --model model --raw --text '' -o b.safetensors").fails(2, part);
    place.run("generate --model model --raw --prompt ''").fails(2, part);
}

// Flags.

#[test]
fn alphas_and_layers_that_cannot_be_are_wrong_usage() {
    let place = Place::with_vector();
    let check = |steer: &str, part: &str| {
        place.run(&format!("generate --model model --prompt hi --steer {steer}")).fails(2, part);
        place
            .run(&format!("figure --model model --prompts prompts.txt --steer {steer} -o out"))
            .fails(2, part);
    };
    check("v.safetensors:nan", "--steer v.safetensors:nan: alpha: `nan` is not a finite number");
    check("v.safetensors:inf", "alpha: `inf` is not a finite number");
    check("v.safetensors:-inf@1", "alpha: `-inf` is not a finite number");
    check("v.safetensors:", "alpha: `` is not a finite number");
    check("v.safetensors:much", "alpha: `much` is not a finite number");
    check("v.safetensors@", "`` does not name layers");
    check("v.safetensors@x", "layers: `x` does not name layers: write 8 or 8,10 or 8-11");
    check("v.safetensors@3", "layer 3 does not exist: the layers are 0-2");
    check("v.safetensors@-4", "layer -4 does not exist: the layers are 0-2");
    check("v.safetensors@2-1", "a range must ascend");
    check("v.safetensors@101%", "`101%` does not name layers");
}

#[test]
fn a_layer_that_the_vector_lacks_is_named() {
    let place = Place::new();
    place.run("extract --model model --contrasts contrasts.jsonl --layers 1 -o v.safetensors").succeeds();
    let part = "has no direction for layer 2 (it has 1)";
    place.run("generate --model model --prompt hi --steer v.safetensors:1@2").fails(3, part);
    place.run("figure --model model --prompts prompts.txt --steer v.safetensors@2 -o out").fails(3, part);
}

#[test]
fn alphas_of_a_figure_are_finite_and_leave_the_activations_finite() {
    let place = Place::with_vector();
    std::fs::create_dir(place.path("out")).unwrap();
    let check = |alphas: &str, part: &str| {
        let line = format!(
            "figure --model model --prompts prompts.txt --steer v.safetensors --alphas {alphas} -o out"
        );
        place.run(&line).fails(2, part).says("--alphas");
    };
    check("nan", "alpha NaN is not finite");
    check("0,inf", "alpha inf is not finite");
    check("0,0.1,x", "`x` is not a number");
    check("0,,1", "`` is not a number");
    check("0,1e300", "alpha 1e300 is too large to compute with");
    let figure = "figure --model model --prompts prompts.txt --steer v.safetensors:0.5 -o out";
    place.run(figure).fails(2, "the alphas of a figure are given by --alphas");
}

#[test]
fn layers_that_cannot_be_are_wrong_usage_for_extract_and_capture() {
    let place = Place::new();
    let check = |layers: &str, part: &str| {
        let extract =
            format!("extract --model model --contrasts contrasts.jsonl --layers {layers} -o v.safetensors");
        place.run(&extract).fails(2, part);
        place
            .run(&format!("capture --model model --ids 1 --layers {layers} -o a.safetensors"))
            .fails(2, part);
    };
    check("3", "layer 3 does not exist: the layers are 0-2");
    check("-4", "layer -4 does not exist");
    check("0-99999999999", "layer 99999999999 does not exist");
    check("2-0", "a range must ascend");
    check("x", "`x` does not name layers");
    check("1;2", "`1;2` does not name layers");
}

#[test]
fn names_that_do_not_exist_are_answered_with_those_that_do() {
    let place = Place::with_vector();
    let check = |line: &str, name: &str, there_are: &str| {
        place.run(line).fails(2, name).says(there_are);
    };
    let generate = "generate --model model --prompt hi --steer v.safetensors:1";
    check(&format!("{generate} --unit furlong"), "`furlong` is not a unit", "gap, rms, unit");
    let extract = "extract --model model --contrasts contrasts.jsonl -o w.safetensors";
    check(&format!("{extract} --tokens first"), "`first` is not a token rule", "answer, last, answer-first");
    check(&format!("{extract} --method median"), "'median' for '--method", "pca-centered");
    check(&format!("{extract} --frame talk"), "`talk` is neither plain, chat nor none", "{prompt}");
    let capture = "capture --model model --ids 1 -o a.safetensors";
    check(&format!("{capture} --sites resid"), "`resid` is not a site", "resid_pre, attn_out, resid_mid");
    check("completions tcsh", "'tcsh'", "bash");
    check("steer", "unrecognized subcommand 'steer'", "--help");
}

#[test]
fn flags_that_need_or_exclude_each_other_say_so() {
    let place = Place::with_vector();
    let check = |line: &str, part: &str| {
        place.run(line).fails(2, part);
    };
    let generate = "generate --model model --prompt hi";
    check(&format!("{generate} --compare"), "--compare needs a --steer to compare with");
    check(&format!("{generate} --raw --frame plain"), "'--raw' cannot be used with '--frame");
    check(&format!("{generate} --steer v.safetensors --unit rms"), "--steer: unit rms needs an alpha");
    check(&format!("{generate} --temperature nan"), "--temperature NaN is outside 0 to 100");
    check(&format!("{generate} --temperature=-1"), "--temperature -1 is outside 0 to 100");
    check(&format!("{generate} --top-p 1.5"), "--top-p 1.5 is outside 0 to 1");
    check(&format!("{generate} --repetition-penalty 0"), "--repetition-penalty 0 is outside");
    check(&format!("{generate} --max-tokens=-1"), "--max-tokens");
    check(&format!("{generate} --threads 0"), "--threads");
    check("generate --model model", "--prompt");
    check("extract --model model -o v.safetensors", "--contrasts");
    check("extract --model model --contrasts contrasts.jsonl", "--output");
    check("capture --model model -o a.safetensors", "--text");
    check("capture --model model --text a --ids 1 -o a.safetensors", "cannot be used with");
    check("figure --model model --prompts prompts.txt -o out", "--steer");
}

#[test]
fn an_unknown_kernel_set_is_answered_with_those_that_this_processor_offers() {
    let place = Place::new().env("WHIPSTAFF_KERNELS", "bogus");
    let part = "WHIPSTAFF_KERNELS=bogus: this processor offers ";
    place.run("model show model").fails(2, part).says("plain");
    place.run("capture --model model --ids 1 -o a.safetensors").fails(2, part);
}

// Outputs.

#[test]
fn an_output_that_cannot_be_written_is_refused_before_the_work() {
    let place = Place::with_vector();
    place.write("file", "a regular file");
    std::fs::create_dir(place.path("folder")).unwrap();
    let check = |output: &str, part: &str| {
        let part = format!("cannot write {part}");
        let extract = format!("extract --model model --contrasts contrasts.jsonl -o {output}");
        place.run(&extract).fails(1, &part);
        place.run(&format!("capture --model model --ids 1 -o {output}")).fails(1, &part);
    };
    check("file/v.safetensors", "to file: Not a directory");
    check("nowhere/v.safetensors", "to nowhere: No such file or directory");
    check("folder", "folder: it is a folder");
    check("folder/", "folder/: it is a folder");
    check("new/", "new/: it is a folder");
    check(".", ".: it is a folder");
}

#[test]
fn an_output_folder_that_cannot_be_made_is_named() {
    let place = Place::with_vector();
    place.write("file", "a regular file");
    let check = |output: &str| {
        let part = format!("cannot make the folder {output}: ");
        let figure = format!("figure --model model --steer v.safetensors --prompts prompts.txt -o {output}");
        place.run(&figure).fails(1, &part);
        place.run(&format!("demo --model model -o {output}")).fails(1, &part);
    };
    check("file");
    check("file/out");
}

#[cfg(unix)]
#[test]
fn a_device_or_pipe_is_never_replaced_by_a_file() {
    let place = Place::new();
    let made = std::process::Command::new("mkfifo").arg(place.path("pipe")).status();
    assert!(made.unwrap().success());
    let part = "cannot write pipe: it is not an ordinary file";
    place.run("capture --model model --ids 1 -o pipe").fails(1, part);
    place.run("extract --model model --contrasts contrasts.jsonl -o pipe").fails(1, part);
}

#[cfg(unix)]
mod interrupt {
    use super::*;
    use std::process::{Child, Command, ExitStatus, Stdio};
    use std::time::{Duration, Instant};

    /// Waits until the program handles SIGINT itself.
    fn wait_until_it_listens(child: &mut Child) {
        let status = format!("/proc/{}/status", child.id());
        let listens = || {
            let text = std::fs::read_to_string(&status).ok()?;
            let caught = text.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
            let sigint = 1 << (2 - 1);
            Some(u64::from_str_radix(caught.trim(), 16).ok()? & sigint != 0)
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        // Where there is no /proc, a while has to do.
        let without_proc = Instant::now() + Duration::from_secs(5);
        while !listens().unwrap_or(Instant::now() > without_proc) {
            assert!(child.try_wait().unwrap().is_none(), "it ended before it could be interrupted");
            assert!(Instant::now() < deadline, "it never listened");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn wait(child: &mut Child) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > deadline {
                child.kill().unwrap();
                panic!("it went on after ctrl-C");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Presses ctrl-C while the program works: it ends with 130, and the folder is as it was.
    fn check(place: &Place, line: &str) {
        let before = place.snapshot();
        let mut child = place.command(line).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        wait_until_it_listens(&mut child);
        let sent = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status();
        assert!(sent.unwrap().success());
        let code = wait(&mut child).code();
        let mut stderr = String::new();
        std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut stderr).unwrap();
        assert_eq!(code, Some(130), "{stderr}");
        assert_eq!(stderr, "interrupted: nothing half-written was left behind\n");
        assert_eq!(support::changes(&before, &place.snapshot()), [] as [&std::path::Path; 0]);
    }

    #[test]
    fn ctrl_c_ends_the_work_with_130_and_leaves_every_file_as_it_was() {
        let place = Place::new();
        // Minutes of work on the embedded model, so that it cannot be done before the key is pressed.
        place.write("many.jsonl", CONTRASTS.repeat(2000));
        place.write("v.safetensors", "an older file");
        check(&place, "extract --contrasts many.jsonl -o v.safetensors");
        check(&place, "extract --contrasts many.jsonl -o new.safetensors");

        place.run("extract --contrasts contrasts.jsonl --recommend 0 -o v.safetensors").succeeds();
        place.write("many.txt", "Where are the books about gardening?\n".repeat(20_000));
        std::fs::create_dir(place.path("out")).unwrap();
        check(&place, "figure --steer v.safetensors@all --prompts many.txt -o out");
        check(&place, "demo -o out");
    }
}
