//! `monitor` at the command line.

mod support;

use serde_json::Value;
use support::{Place, golden};

fn json(place: &Place, line: &str) -> Value {
    serde_json::from_str(&place.run(&format!("{line} --json")).succeeds().stdout).unwrap()
}

fn values(json: &Value, layer: usize, field: &str) -> Vec<f64> {
    let values = json["layers"][layer][field].as_array().unwrap();
    values.iter().map(|it| it.as_f64().unwrap()).collect()
}

const TEXT: &str = "monitor v.safetensors --model model --precision f32 --text 'yes, of course'";

#[test]
fn every_token_has_a_value_at_every_layer_in_the_unit_that_is_known() {
    let place = Place::with_vector();
    let check = |flags: &str, unit: &str, n_layers: usize| {
        let it = json(&place, &format!("{TEXT} {flags}"));
        assert_eq!(it["unit"], unit, "{flags}");
        assert_eq!(it["layers"].as_array().unwrap().len(), n_layers, "{flags}");
        for layer in 0..n_layers {
            assert_eq!(values(&it, layer, "values").len(), it["tokens"].as_array().unwrap().len(), "{flags}");
        }
        let pieces = it["tokens"].as_array().unwrap().iter().map(|it| it["text"].as_str().unwrap());
        assert!(pieces.collect::<String>().ends_with("yes, of course"), "{flags}");
    };
    check("", "rms", 3);
    check("--layers 1", "rms", 1);
    check("--contrasts contrasts.jsonl", "gap", 3);
    check("--contrasts contrasts.jsonl --layers -1", "gap", 1);
}

#[test]
fn the_baseline_of_a_steered_text_shows_alpha_at_the_layer_steered() {
    let place = Place::with_vector();
    let it = json(
        &place,
        &format!("{TEXT} --contrasts contrasts.jsonl --steer v.safetensors:0.75@1 --unit gap --baseline"),
    );
    // alpha is in gaps, and so are the values; f32 rows are added to.
    for (steered, plain) in values(&it, 1, "values").iter().zip(values(&it, 1, "baseline")) {
        assert!((steered - plain - 0.75).abs() < 1e-3, "{steered} {plain}");
    }
    assert!((it["layers"][1]["shift"].as_f64().unwrap() - 0.75).abs() < 1e-3);
    assert_eq!(it["layers"][0]["shift"], 0.0, "nothing moves below");
    let other = json(&place, &format!("{TEXT} --baseline 'no, go away'"));
    assert!(other["layers"][2]["shift"].as_f64().unwrap() != 0.0);
    let same = json(&place, &format!("{TEXT} --baseline 'yes, of course'"));
    assert_eq!(same["layers"][2]["shift"], 0.0);
}

#[test]
fn a_prompt_with_its_answer_and_the_same_conversation_are_the_same_tokens() {
    let place = Place::with_vector();
    let chat = r#"{"role": "user", "content": "Is it here?"}
{"role": "assistant", "content": "yes"}
"#;
    place.write("chat.jsonl", chat);
    let run = |flags: &str| json(&place, &format!("monitor v.safetensors --model model {flags}"));
    let prompt = run("--prompt 'Is it here?' --answer yes");
    assert_eq!(prompt, run("--messages chat.jsonl"));
    assert_ne!(prompt, run("--prompt 'Is it here?'"));
}

#[test]
fn text_is_drawn_in_numbers_in_colour_and_on_a_page() {
    let place = Place::with_vector();
    let numbers = place.run(&format!("{TEXT} --layers 1")).succeeds().stdout;
    assert!(numbers.contains("layer 1: mean ") && !numbers.contains('\x1b'), "{numbers}");
    let place = place.env("CLICOLOR_FORCE", "1");
    let colours = place.run(TEXT).succeeds().stdout;
    assert!(colours.contains("\x1b[30;48;2;") && colours.contains("layer 2: mean "), "{colours}");
    let place = place.env("NO_COLOR", "1");
    assert!(!place.run(TEXT).succeeds().stdout.contains('\x1b'));
    let wrote = place.run(&format!("{TEXT} -o map.html")).succeeds().stdout;
    assert!(wrote.contains("written to map.html"), "{wrote}");
    let page = place.text("map.html");
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("<p>rms of the stream"));
}

#[test]
fn a_control_vector_of_another_tool_gives_plain_projections() {
    let place = Place::new();
    place.write("m.gguf", std::fs::read(golden("gguf/untied-bias-f32.gguf")).unwrap());
    place.write("r.gguf", std::fs::read(golden("control/repeng.gguf")).unwrap());
    let it = json(&place, "monitor r.gguf --model m.gguf --text Ahoy");
    assert_eq!(it["unit"], "unit");
}

#[test]
fn what_cannot_be_watched_is_refused() {
    let place = Place::with_vector();
    place.write("bad.jsonl", "{\"role\": \"captain\", \"content\": \"x\"}\n");
    place.write("none.jsonl", "\n");
    let check = |flags: &str, code: i32, part: &str| {
        place.run(&format!("monitor v.safetensors --model model {flags}")).fails(code, part);
    };
    check("", 2, "--text");
    check("--text a --prompt b", 2, "cannot be used with");
    check("--text a --answer b", 2, "--prompt");
    check("--text a --layers 7", 2, "--layers");
    check("--text a --baseline", 2, "--baseline: give a text");
    check("--text a --steer nowhere:1", 3, "nowhere");
    check("--text a --steer v.safetensors:x", 2, "not a finite number");
    check("--text a --contrasts nowhere.jsonl", 3, "nowhere.jsonl");
    check("--messages nowhere.jsonl", 3, "nowhere.jsonl");
    check("--messages bad.jsonl", 3, "bad.jsonl:1: is not a message");
    check("--messages none.jsonl", 3, "holds no message");
    check("--text a -o no/map.html", 1, "no");
    check(&format!("--text '{}'", "a b ".repeat(300)), 2, "256");
    place.run("monitor prompts.txt --model model --text a").fails(3, "prompts.txt");
}
