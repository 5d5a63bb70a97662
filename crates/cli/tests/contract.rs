//! The command line as promised: every subcommand with its flags, its files and what it prints.

mod support;

use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use support::{Place, Ran, TINY, golden};

const CASES: &[&str] =
    &["llama-gqa-tied-bf16", "llama-untied-bias-f32", "llama-mha-sharded-f16", "llama-new-llama3-f32"];

const SITES: &str = "resid_pre,attn_out,resid_mid,mlp_out,resid_post";

impl Ran {
    fn json(self) -> Value {
        serde_json::from_str(&self.succeeds().stdout).unwrap()
    }
}

fn floats(tensors: &SafeTensors, name: &str) -> Vec<f32> {
    let view = tensors.tensor(name).unwrap();
    assert_eq!(view.dtype(), Dtype::F32, "{name}");
    view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// The tensor's names in a file.
fn names(bytes: &[u8]) -> BTreeSet<String> {
    SafeTensors::deserialize(bytes).unwrap().names().into_iter().map(str::to_owned).collect()
}

// Capture.

/// No element further off than 2e-5 of the largest magnitude (tests/golden/README.md).
fn check_close(what: &str, got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len(), "{what}");
    let scale = want.iter().fold(0.0f32, |max, x| max.max(x.abs()));
    let worst = got.iter().zip(want).fold(0.0f32, |max, (a, b)| max.max((a - b).abs()));
    assert!(worst <= 2e-5 * scale, "{what}: off by {worst} of {scale}");
}

#[test]
fn a_capture_of_everything_equals_the_golden_files() {
    let place = Place::new();
    for case in CASES {
        let want = std::fs::read(golden(case).join("golden.safetensors")).unwrap();
        let want = SafeTensors::deserialize(&want).unwrap();
        let ids = want.tensor("input_ids").unwrap();
        let id = |bytes: &[u8]| i64::from_le_bytes(bytes.try_into().unwrap()).to_string();
        let list = ids.data().chunks_exact(8).map(id).collect::<Vec<_>>().join(",");
        let model = golden(case).display().to_string();
        place
            .run(&format!(
                "capture --model {model} --ids {list} --sites {SITES} --logits --precision f32 -o a.safetensors"
            ))
            .succeeds();

        let got = place.read("a.safetensors");
        let got = SafeTensors::deserialize(&got).unwrap();
        assert_eq!(got.names().len(), want.names().len(), "{case}");
        for (name, view) in want.iter() {
            let captured = got.tensor(name).unwrap();
            assert_eq!((captured.dtype(), captured.shape()), (view.dtype(), view.shape()), "{case} {name}");
            if name == "input_ids" {
                assert_eq!(captured.data(), view.data(), "{case}");
            } else {
                check_close(&format!("{case} {name}"), &floats(&got, name), &floats(&want, name));
            }
        }
    }
}

#[test]
fn a_capture_holds_the_layers_and_sites_asked_for() {
    let place = Place::new();
    let check = |flags: &str, want: &[&str]| {
        place.run(&format!("capture --model model --ids 1,2 {flags} -o a.safetensors")).succeeds();
        let want: BTreeSet<String> = want.iter().chain(&["input_ids"]).map(|it| it.to_string()).collect();
        assert_eq!(names(&place.read("a.safetensors")), want, "{flags}");
    };
    check("", &["resid_post.0", "resid_post.1", "resid_post.2"]);
    check("--layers 1", &["resid_post.1"]);
    check("--layers -1", &["resid_post.2"]);
    check("--layers 2,0", &["resid_post.0", "resid_post.2"]);
    check("--layers 0-1 --logits", &["resid_post.0", "resid_post.1", "logits"]);
    check("--layers 50%", &["resid_post.1"]);
    check("--layers 1 --sites attn_out,mlp_out", &["attn_out.1", "mlp_out.1"]);
    check("--layers 1 --sites mlp_out,mlp_out", &["mlp_out.1"]);
}

#[test]
fn a_capture_that_takes_several_passes_is_that_of_its_beginning_and_more() {
    let place = Place::new();
    let config = place.text("model/config.json").replace(": 256", ": 4096");
    place.write("model/config.json", config);
    let captured = |n: usize, name: &str| {
        let ids: Vec<String> = (0..n).map(|i| (i * 7 % 300).to_string()).collect();
        place.run(&format!("capture --model model --ids {} --logits -o {name}", ids.join(","))).succeeds();
        place.read(name)
    };
    let (long, short) = (captured(1200, "long.safetensors"), captured(500, "short.safetensors"));
    let (long, short) = (SafeTensors::deserialize(&long).unwrap(), SafeTensors::deserialize(&short).unwrap());
    for (name, beginning) in short.iter().filter(|(name, _)| *name != "input_ids") {
        let whole = long.tensor(name).unwrap();
        assert_eq!([whole.shape()[0], beginning.shape()[0]], [1200, 500], "{name}");
        let want = floats(&short, name);
        check_close(name, &floats(&long, name)[..want.len()], &want);
    }
}

#[test]
fn a_capture_of_text_frames_it_unless_it_is_raw() {
    let place = Place::new();
    let check = |framed: &str, raw: &str| {
        place.run(&format!("capture --model model {framed} -o a.safetensors")).succeeds();
        place.run(&format!("capture --model model {raw} -o b.safetensors")).succeeds();
        assert_eq!(place.read("a.safetensors"), place.read("b.safetensors"), "{framed}");
    };
    check("--text 'Ahoy'", "--raw --text 'User: Ahoy\nAssistant:'");
    check("--text '- Ahoy'", "--raw --text 'User: - Ahoy\nAssistant:'");
    check("--raw --text ''", "--ids 301"); // bos
}

// Generate.

/// The runs of a `generate --json`: alpha, text, tokens.
fn runs(place: &Place, flags: &str) -> Vec<(f64, String, Vec<u64>)> {
    let most = if flags.contains("--max-tokens") { "" } else { "--max-tokens 12" };
    let printed = place.run(&format!("generate --model model --prompt Ahoy --json {most} {flags}")).json();
    assert_eq!(printed["prompt"], "Ahoy");
    assert_eq!(printed.as_object().unwrap().len(), 2);
    let run = |run: &Value| {
        assert_eq!(run.as_object().unwrap().len(), 3);
        let tokens = run["tokens"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
        (run["alpha"].as_f64().unwrap(), run["text"].as_str().unwrap().to_owned(), tokens)
    };
    printed["runs"].as_array().unwrap().iter().map(run).collect()
}

fn tokens(place: &Place, flags: &str) -> Vec<u64> {
    let mut runs = runs(place, flags);
    assert_eq!(runs.len(), 1, "{flags}");
    runs.remove(0).2
}

#[test]
fn greedy_tokens_equal_the_golden_ones() {
    let place = Place::new();
    // Where the golden prompt of tools/golden/make_golden.py ends for each case.
    for (case, end) in CASES.iter().zip(["deg", "degrees", "degree", "deg"]) {
        let want: Value =
            serde_json::from_slice(&std::fs::read(golden(case).join("golden.json")).unwrap()).unwrap();
        let model = golden(case).display().to_string();
        let prompt = format!("The helmsman held the whipstaff and said: \"Steer 12 {end}");
        let line = format!("generate --model {model} --raw --max-tokens 24 --json --prompt '{prompt}'");
        assert_eq!(place.run(&line).json()["runs"][0]["tokens"], want["greedy"], "{case}");
    }
}

#[test]
fn alpha_zero_is_the_plain_model() {
    let place = Place::with_vector();
    let plain = runs(&place, "");
    assert_eq!((plain[0].0, plain[0].2.len()), (0.0, 12));
    assert_eq!(runs(&place, "--steer v.safetensors:0"), plain);
    assert_eq!(runs(&place, "--steer v.safetensors:-0@all --unit rms"), plain);
    assert_ne!(tokens(&place, "--steer v.safetensors:2@all"), plain[0].2);
}

#[test]
fn a_comparison_is_the_baseline_then_plus_then_minus() {
    let place = Place::with_vector();
    let compared = runs(&place, "--steer v.safetensors:2@1 --compare");
    let alone = ["", "--steer v.safetensors:2@1", "--steer v.safetensors:-2@1"];
    let alone: Vec<_> = alone.iter().flat_map(|flags| runs(&place, flags)).collect();
    assert_eq!(compared, alone);
    assert_eq!(compared.iter().map(|run| run.0).collect::<Vec<_>>(), [0.0, 2.0, -2.0]);

    // A negative alpha turns the order of the sides around.
    let turned = runs(&place, "--steer v.safetensors:-2@1 --compare");
    assert_eq!(turned, [&alone[0], &alone[2], &alone[1]].map(Clone::clone));
}

#[test]
fn what_is_left_out_of_a_dose_is_what_the_vector_recommends() {
    let place = Place::with_vector();
    let shown = place.run("vector show v.safetensors --json").json();
    let alpha = &shown["recommended"]["alpha"];
    let layers: Vec<String> =
        shown["recommended"]["layers"].as_array().unwrap().iter().map(Value::to_string).collect();
    let layers = layers.join(",");
    let recommended = runs(&place, "--steer v.safetensors");
    assert_eq!(json!(recommended[0].0), *alpha);
    assert_eq!(runs(&place, &format!("--steer v.safetensors:{alpha}@{layers}")), recommended);
    assert_eq!(runs(&place, &format!("--steer v.safetensors@{layers}")), recommended);
    assert_eq!(runs(&place, &format!("--steer v.safetensors:{alpha}@auto")), recommended);

    // Without a recommendation it is one contrast at the middle layer.
    let extract = "extract --model model --contrasts contrasts.jsonl --recommend 0 -o w.safetensors";
    let extracted = place.run(extract).succeeds();
    assert!(extracted.stdout.contains("the middle layer at alpha 1 is used"), "{extracted}");
    assert_eq!(runs(&place, "--steer w.safetensors"), runs(&place, "--steer w.safetensors:1@1"));
}

#[test]
fn several_vectors_add_up() {
    let place = Place::with_vector();
    place.write("other file: v@2.safetensors", place.read("v.safetensors"));
    let v = |dose: &str| format!("--steer v.safetensors{dose}");
    let check = |doses: &[&str], same_as: &str| {
        let flags: Vec<String> = doses.iter().map(|dose| v(dose)).collect();
        assert_eq!(tokens(&place, &flags.join(" ")), tokens(&place, same_as), "{doses:?}");
    };
    check(&[":2@all", ":-2@all"], "");
    check(&[":2@0", ":0@1"], &v(":2@0"));
    check(&[":2@0", ":2@1", ":2@2"], &v(":2@all"));
    check(&[":1@1", ":1@1"], &v(":2@1"));
    check(&[":2@0-1"], &format!("{} {}", v(":2@1"), v(":2@0")));

    // A path may hold what separates the parts of a dose.
    let awkward = "--steer 'other file: v@2.safetensors:2@1'";
    assert_eq!(tokens(&place, awkward), tokens(&place, &v(":2@1")));
    let awkward = "--steer 'other file: v@2.safetensors:2'";
    assert_eq!(tokens(&place, awkward), tokens(&place, &v(":2")));
    assert_eq!(
        runs(&place, "--steer 'other file: v@2.safetensors'"),
        runs(&place, &v("")),
        "nothing but a path"
    );
}

#[test]
fn units_convert_by_the_statistics_of_the_layer() {
    let place = Place::with_vector();
    let layer = &place.run("vector show v.safetensors --json").json()["layers"][1];
    let (gap, rms) = (layer["gap"].as_f64().unwrap(), layer["rms"].as_f64().unwrap());
    assert!(0.0 < gap && gap < rms);
    let check = |unit: &str, alpha: f64, same_unit: &str, same_alpha: f64| {
        let run = |unit: &str, alpha: f64| {
            tokens(&place, &format!("--steer v.safetensors:{alpha}@1 --unit {unit}"))
        };
        assert_eq!(run(unit, alpha), run(same_unit, same_alpha), "{alpha} {unit}");
        let cosines = |unit: &str, alpha: f64| {
            let line = format!(
                "figure --model model --steer v.safetensors@1 --unit {unit} --alphas {alpha} --prompts prompts.txt -o out"
            );
            place.run(&line).succeeds();
            table(&place.text("out/cosine.csv"))
                .into_iter()
                .map(|row| [row.layer, row.cosine])
                .collect::<Vec<_>>()
        };
        let (a, b) = (cosines(unit, alpha), cosines(same_unit, same_alpha));
        let close = a.iter().zip(&b).all(|(a, b)| a[0] == b[0] && (a[1] - b[1]).abs() <= 2e-6);
        assert!(close && a.len() == b.len(), "{alpha} {unit}: {a:?} {b:?}");
    };
    check("gap", 1.0, "unit", gap);
    check("gap", -0.5, "unit", -0.5 * gap);
    check("rms", 0.5, "unit", 0.5 * rms);
    check("rms", gap / rms, "gap", 1.0);
}

#[test]
fn a_seed_fixes_what_is_drawn() {
    let place = Place::with_vector();
    let at = |seed: u32| tokens(&place, &format!("--temperature 1 --seed {seed}"));
    assert_eq!(at(1), at(1));
    assert_ne!(at(1), at(2));
    assert_eq!(at(0), tokens(&place, "--temperature 1"));
    assert_ne!(at(0), tokens(&place, ""));

    // At temperature 0, nothing is drawn; with one candidate, the draw is no choice.
    assert_eq!(tokens(&place, "--seed 1"), tokens(&place, "--seed 2"));
    assert_eq!(tokens(&place, "--temperature 1 --top-k 1"), tokens(&place, ""));
    assert_eq!(tokens(&place, "--temperature 1 --min-p 1"), tokens(&place, ""));
}

#[test]
fn a_prompt_is_framed_unless_it_is_raw() {
    let place = Place::with_vector();
    let generated = |flags: &str| {
        let line = format!("generate --model model --max-tokens 12 --json {flags}");
        place.run(&line).json()["runs"][0]["tokens"].clone()
    };
    let check = |framed: &str, raw: &str| assert_eq!(generated(framed), generated(raw), "{framed}");
    check("--prompt Ahoy", "--raw --prompt 'User: Ahoy\nAssistant:'");
    check("--prompt '-1 + 2'", "--raw --prompt 'User: -1 + 2\nAssistant:'");
    check("--prompt Ahoy --frame plain", "--prompt Ahoy");
    check("--prompt Ahoy --frame none", "--raw --prompt Ahoy");
    check("--prompt Ahoy --frame '<{prompt}>\\n'", "--raw --prompt '<Ahoy>\n'");
    assert_ne!(generated("--prompt Ahoy"), generated("--raw --prompt Ahoy"));
}

#[test]
fn a_vector_brings_its_frame_along() {
    let place = Place::new();
    let extract = "extract --model model --contrasts contrasts.jsonl --frame '<{prompt}>' -o v.safetensors";
    place.run(extract).succeeds();
    let with = |flags: &str| tokens(&place, &format!("--steer v.safetensors:1@1 {flags}"));
    assert_eq!(with(""), with("--frame '<{prompt}>'"));
    assert_ne!(with(""), with("--raw"));
    let other = place.run("generate --model model --prompt hi --raw --steer v.safetensors").succeeds();
    other.says("note: the vector was made with the frame `<{prompt}>`, this run uses `none`");
}

#[test]
fn an_answer_ends_at_a_stop_text_and_after_the_most_tokens() {
    let place = Place::new();
    let whole = runs(&place, "").remove(0);
    let check = |n: usize| assert_eq!(tokens(&place, &format!("--max-tokens {n}")), whole.2[..n]);
    check(0);
    check(1);
    check(5);
    let stop = whole.1.chars().rfind(char::is_ascii_alphabetic).unwrap();
    let cut = runs(&place, &format!("--stop {stop}")).remove(0).1;
    assert_eq!(cut, whole.1[..whole.1.find(stop).unwrap()]);
}

#[test]
fn an_answer_ends_where_the_context_is_full() {
    let place = Place::new();
    let ids = place.run("generate --model model --prompt hi --temperature 2 --max-tokens 1000 --json").json();
    let n = ids["runs"][0]["tokens"].as_array().unwrap().len();
    assert!(n <= 256, "{n}");
}

// Extract.

/// The JSON in a vector file's metadata.
fn metadata(bytes: &[u8]) -> Value {
    let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
    serde_json::from_str(&header.metadata().as_ref().unwrap()["whipstaff"]).unwrap()
}

/// SHA-256 of a file, where the system has a tool for it.
fn sha256(path: &std::path::Path) -> Option<String> {
    let output = Command::new("sha256sum").arg(path).output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.split_whitespace().next()?.to_owned())
}

#[test]
fn a_vector_file_says_what_it_is_and_where_it_came_from() {
    let place = Place::with_vector();
    let file = place.read("v.safetensors");
    let found = metadata(&file);
    let check = |pointer: &str, want: Value| {
        assert_eq!(found.pointer(pointer), Some(&want), "{pointer}");
    };
    check("/format_version", json!(1));
    check("/name", json!("contrasts"));
    check("/site", json!("resid_post"));
    check("/method", json!("mean"));
    check("/tokens", json!("answer"));
    check("/frame", json!("plain"));
    check("/model/name", json!("model"));
    check("/model/d_model", json!(64));
    check("/model/n_layers", json!(3));
    check("/contrasts/name", json!("contrasts"));
    check("/contrasts/n", json!(4));
    check("/recommended/unit", json!("gap"));
    check("/recommended/measured_on", json!("contrasts (every fourth)"));
    check("/recommended/n_contrasts", json!(1));
    check("/tool", json!(concat!("whipstaff ", env!("CARGO_PKG_VERSION"))));
    if let Some(weights) = sha256(&place.path("model/model.safetensors")) {
        check("/model/weights_sha256", json!(weights));
        check("/contrasts/sha256", json!(sha256(&place.path("contrasts.jsonl"))));
    }

    let want = ["direction.0", "direction.1", "direction.2"].map(String::from);
    assert_eq!(names(&file), BTreeSet::from(want));
    let tensors = SafeTensors::deserialize(&file).unwrap();
    for layer in ["0", "1", "2"] {
        let direction = floats(&tensors, &format!("direction.{layer}"));
        let norm = direction.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        assert!(direction.len() == 64 && (norm - 1.0).abs() < 1e-6, "{layer}: {norm}");
        let statistic = |name: &str| found["layers"][layer][name].as_f64().unwrap();
        assert!(statistic("gap") > 0.0 && statistic("rms") > 0.0, "{layer}");
        assert!((0.0..=1.0).contains(&statistic("auc")), "{layer}");
    }
}

#[test]
fn the_direction_times_the_gap_is_the_difference_of_captured_means() {
    let place = Place::new();
    place.write("one.jsonl", r#"{"prompt": "Ahoy", "positive": "yes", "negative": "no"}"#);
    place.run("extract --model model --contrasts one.jsonl --recommend 0 -o v.safetensors").succeeds();
    let prompt = place.run("capture --model model --text Ahoy --layers 1 -o prompt.safetensors").succeeds();
    let n_prompt: usize = prompt.stdout.split_whitespace().nth(3).unwrap().parse().unwrap();
    let mean = |answer: &str| {
        let text = format!("User: Ahoy\nAssistant: {answer}");
        place
            .run(&format!("capture --model model --raw --text '{text}' --layers 1 -o a.safetensors"))
            .succeeds();
        let bytes = place.read("a.safetensors");
        let rows = floats(&SafeTensors::deserialize(&bytes).unwrap(), "resid_post.1");
        let answer = &rows[n_prompt * 64..];
        let n = answer.len() / 64;
        (0..64).map(|i| (0..n).map(|row| answer[row * 64 + i]).sum::<f32>() / n as f32).collect::<Vec<f32>>()
    };
    let want: Vec<f32> = mean("yes").iter().zip(mean("no")).map(|(yes, no)| yes - no).collect();
    let file = place.read("v.safetensors");
    let gap = metadata(&file)["layers"]["1"]["gap"].as_f64().unwrap() as f32;
    let direction = floats(&SafeTensors::deserialize(&file).unwrap(), "direction.1");
    check_close("direction.1", &direction.iter().map(|x| x * gap).collect::<Vec<_>>(), &want);
}

#[test]
fn the_same_extraction_gives_the_same_bytes() {
    let place = Place::with_vector();
    let check = |flags: &str| {
        let line = format!("extract --model model --contrasts contrasts.jsonl {flags} -o w.safetensors");
        place.run(&line).succeeds();
        assert!(place.read("w.safetensors") == place.read("v.safetensors"), "{flags}");
    };
    check("");
    check("--method mean --tokens answer --layers all --frame plain --recommend 12");
    check("--threads 1");
    check("--json");
}

#[test]
fn extract_takes_layers_tokens_and_held_out_contrasts() {
    let place = Place::new();
    let extracted = |flags: &str| {
        let line =
            format!("extract --model model --contrasts contrasts.jsonl {flags} -o v.safetensors --json");
        place.run(&line).json()
    };
    let layers = |shown: &Value| -> Vec<u64> {
        shown["layers"].as_array().unwrap().iter().map(|it| it["layer"].as_u64().unwrap()).collect()
    };
    assert_eq!(layers(&extracted("--layers 0,2")), [0, 2]);
    assert_eq!(layers(&extracted("--layers -1")), [2]);
    assert_eq!(extracted("--tokens last")["tokens"], "last");
    assert_eq!(extracted("--tokens answer-first")["tokens"], "answer-first");
    assert_eq!(extracted("--recommend 0")["recommended"], Value::Null);

    let measured_on = |shown: Value| shown["recommended"]["measured_on"].clone();
    place.write("other.jsonl", support::CONTRASTS);
    assert_eq!(measured_on(extracted("")), "contrasts (every fourth)");
    assert_eq!(measured_on(extracted("--heldout other.jsonl")), "other");
    place.write("contrasts-heldout.jsonl", support::CONTRASTS);
    assert_eq!(measured_on(extracted("")), "contrasts-heldout");
    assert_eq!(extracted("")["recommended"]["n_contrasts"], 4);
    assert_eq!(extracted("--recommend 2")["recommended"]["n_contrasts"], 2);
}

#[test]
fn too_few_contrasts_to_measure_on_give_a_vector_and_a_note() {
    let place = Place::new();
    place.write("one.jsonl", r#"{"prompt": "p", "positive": "a", "negative": "b"}"#);
    let extracted = place.run("extract --model model --contrasts one.jsonl -o v.safetensors").succeeds();
    extracted.says("note: too few contrasts to choose layers and alpha on: give at least four, or --heldout");
}

#[test]
fn what_extract_prints_is_what_vector_show_prints() {
    let place = Place::new();
    let extract = "extract --model model --contrasts contrasts.jsonl -o v.safetensors";
    let printed = place.run(extract).succeeds().stdout;
    let shown = place.run("vector show v.safetensors").succeeds().stdout;
    assert_eq!(printed, format!("{shown}\nwritten to v.safetensors\n"));

    let mut printed = place.run(&format!("{extract} --json")).json();
    assert_eq!(printed.as_object_mut().unwrap().remove("vector"), Some(json!("v.safetensors")));
    assert_eq!(printed, place.run("vector show v.safetensors --json").json());
}

#[test]
fn extract_runs_on_the_embedded_model_when_none_is_named() {
    let place = Place::new();
    let extract = "extract --contrasts contrasts.jsonl --recommend 0 -o v.safetensors --json";
    let printed = place.run(extract).json();
    assert_eq!(printed["model"]["name"], "whipstaff/librarian");
    let weights =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/librarian/model.safetensors");
    if let Some(sha256) = sha256(&weights) {
        assert_eq!(printed["model"]["weights_sha256"], json!(sha256));
    }
    place.run("generate --prompt hi --max-tokens 2 --steer v.safetensors:0.1").succeeds();
}

#[test]
fn a_vector_made_on_other_weights_is_remarked_on_and_a_new_name_is_not() {
    let place = Place::with_vector();
    place.model("renamed", TINY);
    let ran =
        place.run("generate --model renamed --prompt hi --max-tokens 1 --steer v.safetensors").succeeds();
    assert_eq!(ran.stderr, "");

    place.model("changed", TINY);
    let mut weights = place.read("changed/model.safetensors");
    *weights.last_mut().unwrap() ^= 1;
    place.write("changed/model.safetensors", weights);
    let ran =
        place.run("generate --model changed --prompt hi --max-tokens 1 --steer v.safetensors").succeeds();
    ran.says("note: v.safetensors was made on other weights (of `model`) than these (of `changed`)");
}

// Figure.

struct Row {
    layer: f64,
    alpha: f64,
    cosine: f64,
    low: f64,
    high: f64,
}

/// The rows of a cosine.csv.
fn table(csv: &str) -> Vec<Row> {
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("layer,alpha,cosine,low,high"));
    let row = |line: &str| {
        let cells: Vec<f64> = line.split(',').map(|cell| cell.parse().unwrap()).collect();
        let [layer, alpha, cosine, low, high] = cells[..] else { panic!("{line}") };
        Row { layer, alpha, cosine, low, high }
    };
    lines.map(row).collect()
}

/// A folder with `v.safetensors` on the embedded model.
fn librarian() -> Place {
    let place = Place::new();
    place.run("extract --contrasts contrasts.jsonl --recommend 0 -o v.safetensors").succeeds();
    place
}

#[test]
fn a_figure_is_four_files_of_their_kinds() {
    let place = Place::with_vector();
    let figure =
        "figure --model model --steer v.safetensors@all --alphas 0,0.5,-1 --prompts prompts.txt -o out/new";
    let printed = place.run(figure).succeeds().stdout;
    assert_eq!(printed, "cosine.svg, cosine.png, cosine.csv and cosine.json written to out/new\n");
    assert_eq!(files(&place, "out/new"), ["cosine.csv", "cosine.json", "cosine.png", "cosine.svg"]);
    assert!(place.read("out/new/cosine.png").starts_with(b"\x89PNG\r\n\x1a\n"));
    let svg = place.text("out/new/cosine.svg");
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");

    let rows = table(&place.text("out/new/cosine.csv"));
    let json: Value = serde_json::from_str(&place.text("out/new/cosine.json")).unwrap();
    assert_eq!(json["injected"], json!([0, 1, 2]));
    assert_eq!((&json["model"], &json["unit"]), (&json!("model"), &json!("gap")));
    let points = json["curves"].as_array().unwrap().iter().flat_map(|curve| {
        let points = curve["points"].as_array().unwrap().iter();
        points.map(|it| {
            [&it["layer"], &curve["alpha"], &it["cosine"], &it["low"], &it["high"]]
                .map(|x| x.as_f64().unwrap())
        })
    });
    let points: Vec<[f64; 5]> = points.collect();
    assert_eq!((rows.len(), points.len()), (9, 9));
    for (row, point) in rows.iter().zip(points) {
        assert_eq!([row.layer, row.alpha], point[..2]);
        let close = |a: f64, b: f64| (a - b).abs() <= 5.1e-7;
        assert!(close(row.cosine, point[2]) && close(row.low, point[3]) && close(row.high, point[4]));
    }
}

#[test]
fn the_same_figure_has_the_same_bytes() {
    let place = Place::with_vector();
    let figure = "figure --model model --steer v.safetensors@1 --alphas 0,0.5 --prompts prompts.txt";
    place.run(&format!("{figure} -o a")).succeeds();
    place.run(&format!("{figure} -o b --threads 1")).succeeds();
    for name in files(&place, "a") {
        assert!(place.read(&format!("a/{name}")) == place.read(&format!("b/{name}")), "{name}");
    }
}

#[test]
fn similarity_is_one_without_steering_and_falls_with_alpha_from_the_injected_layer_on() {
    let place = librarian();
    let check = |layers: &str, first: f64| {
        let figure = format!(
            "figure --steer v.safetensors@{layers} --alphas 0,0.1,0.2,0.5 --prompts prompts.txt -o out"
        );
        place.run(&figure).succeeds();
        let rows = table(&place.text("out/cosine.csv"));
        assert_eq!(rows.len(), 6 * 4);
        for (i, row) in rows.iter().enumerate() {
            let Row { layer, alpha, cosine, low, high } = *row;
            let what = format!("@{layers} layer {layer} alpha {alpha}: {cosine}");
            assert_eq!([layer, alpha], [(i % 6) as f64, [0.0, 0.1, 0.2, 0.5][i / 6]]);
            assert!(low <= cosine && cosine <= high && high <= 1.0, "{what} in {low} to {high}");
            if alpha == 0.0 || layer < first {
                assert_eq!([cosine, low, high], [1.0; 3], "{what}");
            } else {
                assert!(cosine < rows[i - 6].cosine, "{what} after {}", rows[i - 6].cosine);
            }
        }
    };
    check("all", 0.0);
    check("3", 3.0);
    check("2,4", 2.0);
    check("-1", 5.0);
}

#[test]
fn prompts_of_a_figure_are_lines_or_json_with_answers() {
    let place = Place::with_vector();
    let check = |file: &str, content: &str, flags: &str, same_as: &str, same_flags: &str| {
        place.write(file, content);
        place.write("same.jsonl", same_as);
        let csv = |file: &str, flags: &str| {
            let line =
                format!("figure --model model --steer v.safetensors@0 --prompts {file} {flags} -o out");
            place.run(&line).succeeds();
            place.text("out/cosine.csv")
        };
        assert_eq!(csv(file, flags), csv("same.jsonl", same_flags), "{content}");
    };
    check("p.txt", "a\n\nb", "", "{\"prompt\": \"a\"}\n{\"prompt\": \"b\"}", "");
    check(
        "p.jsonl",
        "{\"prompt\": \"a\", \"answer\": \"b\"}",
        "",
        "{\"prompt\": \"User: a\\nAssistant: b\"}",
        "--raw",
    );
    check("p.txt", "\u{feff}a", "", "{\"prompt\": \"a\"}", "");
    check("p.jsonl", "\u{feff}{\"prompt\": \"a\"}", "", "{\"prompt\": \"a\"}", "");
    check("p.txt", "a", "--raw", "{\"prompt\": \"a\"}", "--raw");
}

/// Names in a folder, sorted.
fn files(place: &Place, folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(place.path(folder)).unwrap();
    let mut names: Vec<String> = entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

// Demo.

#[test]
fn the_demo_writes_what_it_promises_and_nothing_that_loads_from_elsewhere() {
    let place = Place::new();
    let printed = place.run("demo -o out").succeeds().stdout;
    let want = [
        "answers.json",
        "cosine-one-block.csv",
        "cosine.csv",
        "cosine.png",
        "cosine.svg",
        "librarian.safetensors",
        "report.html",
    ];
    assert_eq!(files(&place, "out"), want);
    assert!(printed.contains("open out/report.html"), "{printed}");

    let report = place.text("out/report.html");
    for loads in ["src=\"http", "src='http", "src=\"//", "<script", "<iframe", "url(http", "@import"] {
        assert!(!report.contains(loads), "{loads}");
    }
    let hrefs = report.match_indices("href=\"").map(|(at, it)| &report[at + it.len()..]);
    let inside = |target: &str| target.starts_with('#') || target.starts_with("data:");
    assert!(hrefs.into_iter().all(inside), "links lead out of the page");

    let answers: Value = serde_json::from_str(&place.text("out/answers.json")).unwrap();
    let answers = answers["answers"].as_array().unwrap();
    assert!(!answers.is_empty());
    let escaped = |text: &Value| {
        text.as_str().unwrap().trim().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
    };
    let plain = |text: &str| text.replace("&#39;", "'").replace("&quot;", "\"").replace("&#x27;", "'");
    let report = plain(&report);
    for answer in answers {
        assert!(report.contains(&escaped(&answer["prompt"])), "{answer}");
        let runs = answer["runs"].as_array().unwrap();
        let signs: Vec<f64> = runs.iter().map(|run| run["alpha"].as_f64().unwrap()).collect();
        assert!(signs[0] == 0.0 && signs[1] > 0.0 && signs[2] == -signs[1], "{signs:?}");
        for run in runs {
            assert!(report.contains(&escaped(&run["text"])), "{run}");
        }
    }
    place.run("vector show out/librarian.safetensors").succeeds();
    for name in ["cosine.csv", "cosine-one-block.csv"] {
        assert_eq!(table(&place.text(&format!("out/{name}"))).len(), 6 * 6, "{name}");
    }
}

// Model, vector, completions, help.

#[test]
fn a_model_shows_its_shape() {
    let place = Place::new();
    let shown = place.run("model show model").succeeds().stdout;
    for part in [
        "model\n",
        "family        llama",
        "78272",
        "BF16",
        "3 (0-2)",
        "8 heads of 8, 2 for",
        "304, tied",
        "256 tokens",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    let json = place.run("model show model --json").json();
    let check = |field: &str, want: Value| assert_eq!(json[field], want, "{field}");
    check("name", json!("model"));
    check("family", json!("llama"));
    check("parameters", json!(78272));
    check("d_model", json!(64));
    check("n_layers", json!(3));
    check("n_heads", json!(8));
    check("n_kv_heads", json!(2));
    check("head_dim", json!(8));
    check("d_ff", json!(48));
    check("vocab_size", json!(304));
    check("max_positions", json!(256));
    check("tied_embeddings", json!(true));
    check("dtypes", json!(["BF16"]));
    check("bytes", json!(place.read("model/model.safetensors").len()));
    check("eos_tokens", json!([302]));
    check("tokenizer", json!(true));
    check("chat_template", json!(false));

    assert_eq!(place.run("model show --model model --json").json(), json);
    assert_eq!(place.run("model show --json").json()["name"], "whipstaff/librarian");
    assert!(place.run("model show").succeeds().stdout.starts_with("whipstaff/librarian\n"));
}

#[test]
fn a_gguf_file_does_what_its_directory_does() {
    let place = Place::new();
    place.write("tiny.gguf", std::fs::read(golden("gguf/gqa-tied-bf16.gguf")).unwrap());
    let json = place.run("model show tiny.gguf --json").json();
    let mut want = place.run("model show model --json").json();
    for (field, value) in [("name", json!("tiny")), ("bytes", json!(place.read("tiny.gguf").len()))] {
        want[field] = value;
    }
    // Vectors are stored as f32, and the file names another token that ends a turn.
    (want["dtypes"], want["eos_tokens"]) = (json!(["F32", "BF16"]), json!([302, 303]));
    let mut dtypes = json["dtypes"].as_array().unwrap().clone();
    dtypes.sort_by_key(|dtype| dtype != "F32");
    assert_eq!(Value::from(dtypes), want["dtypes"]);
    want["dtypes"] = json["dtypes"].clone();
    // Tokenizers are estimated by the size of what they are made of.
    for field in ["program", "total"] {
        want["memory"][field] = json["memory"][field].clone();
    }
    assert_eq!(json, want);
    assert!(place.run("model show tiny.gguf").succeeds().stdout.starts_with("tiny\n"));

    let generate = |model: &str| {
        let line =
            format!("generate --model {model} --prompt 'The well' --temperature 0 --max-tokens 8 --json");
        place.run(&line).json()
    };
    assert_eq!(generate("tiny.gguf"), generate("model"));
    let extract = "extract --model tiny.gguf --contrasts contrasts.jsonl -o v.safetensors --json";
    assert_eq!(place.run(extract).json()["model"]["name"], "tiny");
    place.run("generate --model tiny.gguf --steer v.safetensors:1 --prompt hi --max-tokens 4").succeeds();
}

#[test]
fn a_vector_shows_its_origin_and_its_statistics() {
    let place = Place::with_vector();
    let shown = place.run("vector show v.safetensors").succeeds().stdout;
    for part in [
        "contrasts\n",
        "model (d_model 64, 3 layers)",
        "mean of `answer` tokens at resid_post",
        "4 of `contrasts`",
        "plain",
        "recommended  alpha ",
        "gap/rms",
        "AUC",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    let json = place.run("vector show v.safetensors --json").json();
    let file = metadata(&place.read("v.safetensors"));
    for name in ["name", "method", "tokens", "site", "frame", "contrasts", "model", "tool"] {
        assert_eq!(json[name], file[name], "{name}");
    }
    assert_eq!(json["recommended"]["layers"], file["recommended"]["layers"]);
    assert_eq!(json["layers"].as_array().unwrap().len(), 3);
    let margin = &json["recommended"]["margin"];
    assert!(["unsteered", "plus", "minus"].iter().all(|side| margin[side].is_f64()), "{margin}");
}

#[cfg(unix)]
#[test]
fn what_a_file_calls_itself_cannot_steer_the_terminal() {
    let place = Place::new();
    place.write("evil\x1b[2J.jsonl", support::CONTRASTS);
    let line = "extract --model model --contrasts evil\x1b[2J.jsonl --recommend 0 -o v.safetensors";
    let extracted = place.run(line).succeeds().stdout;
    let shown = place.run("vector show v.safetensors").succeeds().stdout;
    for text in [extracted, shown] {
        assert!(text.starts_with("evil\u{fffd}[2J\n") && !text.contains('\x1b'), "{text}");
    }
    // What JSON says is exact, and escaped.
    let json = place.run("vector show v.safetensors --json").succeeds().stdout;
    assert!(json.contains("evil\\u001b[2J") && !json.contains('\x1b'), "{json}");
    let missing = place.run("vector show nowhere\x1b[2J");
    assert!(missing.code == Some(3) && !missing.stderr.contains('\x1b'), "{missing}");
}

#[test]
fn every_command_explains_itself() {
    let place = Place::new();
    let check = |line: &str, parts: &[&str]| {
        let help = place.run(&format!("{line} --help")).succeeds().stdout;
        parts.iter().for_each(|part| assert!(help.contains(part), "{part}\n{help}"));
        assert!(!help.contains('\x1b'), "{help}");
    };
    check(
        "",
        &["demo", "extract", "generate", "figure", "capture", "model", "vector", "steering", "completions"],
    );
    check("", &["Exit codes", "130", "WHIPSTAFF_KERNELS", "NO_COLOR", "--threads"]);
    check("demo", &["--model", "--output", "--seed"]);
    check(
        "extract",
        &["--model", "--contrasts", "--heldout", "--recommend", "--method", "--tokens", "--layers"],
    );
    check("extract", &["--frame", "--chat", "--system", "--output", "--json"]);
    check(
        "generate",
        &[
            "--model",
            "--prompt",
            "--steer",
            "--steering",
            "--unit",
            "--max-tokens",
            "--temperature",
            "--seed",
        ],
    );
    check(
        "generate",
        &["--compare", "--json", "--raw", "--frame", "--chat", "--system", "--stop", "--top-k", "--min-p"],
    );
    check("steering check", &["F.toml", "--steer", "--json"]);
    check(
        "figure",
        &["--model", "--steer", "--steering", "--alphas", "--unit", "--prompts", "--raw", "--output"],
    );
    check("capture", &["--model", "--text", "--ids", "--layers", "--sites", "--logits", "--raw", "--output"]);
    check("model", &["show"]);
    check("model show", &["--json", "--context", "--max-memory"]);
    check("vector show", &["V.safetensors", "--json"]);
    check("vector convert", &["IN", "--output", "--from", "--fold", "--layers"]);
    check(
        "vector compose",
        &["V[:ALPHA]", "--orthogonal", "--layers", "--output", "--heldout", "--at", "--json"],
    );
    check("vector tokens", &["V.safetensors", "--model", "--layers", "--top", "--json"]);
    check("completions", &["bash", "zsh", "fish"]);
}

#[test]
fn what_is_not_in_the_help_is_wrong_usage() {
    let place = Place::new();
    let check = |line: &str, part: &str| place.run(line).fails(2, part).says("--help");
    check("--nonsense", "unexpected argument '--nonsense'");
    check("extrac", "a similar subcommand exists: 'extract'");
    check("model show --nonsense", "unexpected argument '--nonsense'");
    check("generate --promt hi", "a similar argument exists: '--prompt'");
}

#[test]
fn the_version_is_that_of_the_package() {
    let place = Place::new();
    let printed = place.run("--version").succeeds().stdout;
    assert_eq!(printed, concat!("whipstaff ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn there_are_completions_for_every_shell() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.run(&format!("completions {shell}")).succeeds().stdout;
        assert!(script.contains("whipstaff") && script.contains("contrasts"), "{shell}");
    }
}

// Terminals and pipes.

#[test]
fn colour_is_for_terminals_and_for_those_who_insist() {
    let coloured = |variables: &[(&'static str, &str)], line: &str| {
        let place =
            variables.iter().fold(Place::with_vector(), |place, (name, value)| place.env(name, value));
        place.run(line).succeeds().stdout.contains('\x1b')
    };
    for line in [
        "model show model",
        "vector show v.safetensors",
        "generate --model model --prompt hi --max-tokens 8 --steer v.safetensors --compare",
    ] {
        let check =
            |variables: &[(&'static str, &str)], want| assert_eq!(coloured(variables, line), want, "{line}");
        check(&[], false);
        check(&[("CLICOLOR_FORCE", "1")], true);
        check(&[("CLICOLOR_FORCE", "")], false);
        check(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false);
    }
    // What a machine or a file gets has no colour in any case.
    for line in ["model show model --json", "generate --model model --prompt hi --max-tokens 8"] {
        assert!(!coloured(&[("CLICOLOR_FORCE", "1")], line), "{line}");
    }
}

#[test]
fn the_columns_of_a_comparison_name_the_dose() {
    let place = Place::with_vector();
    let line =
        "generate --model model --prompt hi --max-tokens 8 --steer v.safetensors:0.5@1 --unit rms --compare";
    let printed = place.run(line).succeeds().stdout;
    let heads: Vec<&str> = printed.lines().next().unwrap().split("  ").filter(|it| !it.is_empty()).collect();
    assert_eq!(heads.iter().map(|it| it.trim()).collect::<Vec<_>>(), ["baseline", "+0.5 rms", "-0.5 rms"]);
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_program_quietly() {
    let place = Place::with_vector();
    let check = |line: &str| {
        let mut child = place.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""), "{line}");
    };
    check("model show model");
    check("vector show v.safetensors");
    check("completions bash");
    check("--help");
    check("generate --model model --prompt hi");
    check("generate --model model --prompt hi --json");
    check("generate --model model --prompt hi --steer v.safetensors --compare");
}

#[test]
fn standard_error_that_no_one_reads_changes_nothing() {
    let place = Place::with_vector();
    let check = |line: &str, code| {
        let mut child = place.command(line).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stderr.take());
        assert_eq!(child.wait().unwrap().code(), Some(code), "{line}");
    };
    check("model show nowhere", 3);
    check("generate --model model --prompt hi --raw --max-tokens 2 --steer v.safetensors", 0);
}

#[cfg(target_os = "linux")]
#[test]
fn standard_output_that_is_full_is_a_failure() {
    let place = Place::new();
    let check = |line: &str| {
        let full = std::fs::File::create("/dev/full").unwrap();
        let output = place.command(line).stdout(full).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert!(stderr.starts_with("error: cannot write to standard output: "), "{stderr}");
    };
    check("model show model");
    check("generate --model model --prompt hi --max-tokens 2");
    check("completions bash");
}

// Doctor.

#[test]
fn doctor_says_which_kernel_set_is_in_use_and_what_the_machine_can_do() {
    let place = Place::new();
    let found = place.run("doctor --json --threads 1").json();
    assert_eq!(found["threads"], 1);
    assert!(found["fma_gflops"].as_f64().unwrap() > 0.1 && found["read_gb_per_s"].as_f64().unwrap() > 0.1);
    let sets = found["sets"].as_array().unwrap();
    assert_eq!(sets.last().unwrap(), &json!({"name": "plain", "available": true, "missing": []}));
    let best = sets.iter().find(|set| set["available"] == true).unwrap();
    assert_eq!((&best["name"], &found["forced"]), (&found["kernels"], &json!(false)));
    assert!(place.run("doctor").succeeds().stdout.contains("in use: the best"));
}

#[test]
fn quantised_models_run_at_both_precisions() {
    let place = Place::new();
    let model = golden("gguf").join("q4_k_m.gguf");
    assert!(model.exists(), "{}", model.display());
    let run = |precision: &str| {
        let model = model.display();
        place
            .run(&format!(
                "capture --model {model} --ids 1,2,3 --precision {precision} --logits -o l.safetensors"
            ))
            .succeeds();
        floats(&SafeTensors::deserialize(&place.read("l.safetensors")).unwrap(), "logits")
    };
    let (fast, exact) = (run("fast"), run("f32"));
    assert_ne!(fast, exact);
    // What rounding activations to 8 bits may cost (crates/engine/tests/gguf.rs says how much it does).
    let scale = exact.iter().fold(0.0f32, |max, x| max.max(x.abs()));
    assert!(fast.iter().zip(&exact).all(|(a, b)| (a - b).abs() <= 2e-2 * scale));
}
