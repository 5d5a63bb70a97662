//! Control vectors at the command line: there and back, and used as they are.

mod support;

use serde_json::Value;
use support::{Place, golden};

/// A place with the model that the golden control vectors fit, as a GGUF file, and repeng's vector.
fn place() -> Place {
    let place = Place::new();
    place.write("m.gguf", std::fs::read(golden("gguf/untied-bias-f32.gguf")).unwrap());
    place.write("r.gguf", std::fs::read(golden("control/repeng.gguf")).unwrap());
    place
}

fn tokens(place: &Place, model: &str, flags: &str) -> Value {
    let line =
        format!("generate --model {model} --prompt Ahoy --max-tokens 12 --json --precision f32 {flags}");
    let ran = place.run(&line).succeeds();
    serde_json::from_str::<Value>(&ran.stdout).unwrap()["runs"][0]["tokens"].clone()
}

#[test]
fn a_control_vector_of_another_tool_steers_as_it_is() {
    let place = place();
    let check = |flags: &str, same: &str| {
        assert_eq!(tokens(&place, "m.gguf", flags), tokens(&place, "m.gguf", same), "{flags}");
    };
    check("--steer r.gguf:3", "--steer r.gguf:3@1,2 --unit unit");
    check("--steer r.gguf", "--steer r.gguf:1@all");
    check("--steer r.gguf:0", "");
    assert_ne!(tokens(&place, "m.gguf", "--steer r.gguf:3"), tokens(&place, "m.gguf", "--steer r.gguf:-3"));
    let compared = place.run("generate --model m.gguf --prompt hi --max-tokens 2 --steer r.gguf:3 --compare");
    assert!(compared.succeeds().stdout.contains("+3 unit"));
    place.run("generate --model m.gguf --prompt hi --steer r.gguf:1 --unit gap").fails(3, "has no gap");
    place.run("generate --model model --prompt hi --steer r.gguf:1").fails(3, "d_model 32");
    place
        .run("generate --model m.gguf --prompt hi --steer m.gguf:1")
        .fails(3, "of `llama`, not of a control vector");
    let shown = place.run("vector show r.gguf").succeeds().stdout;
    for part in ["r\n", "llama (d_model 32)", "another tool", "all its layers at a coefficient of 1"] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    let figure = "figure --model m.gguf --steer r.gguf --alphas 0,1 --prompts prompts.txt -o f";
    place.run(figure).succeeds();
    assert!(place.text("f/cosine.json").contains(r#""unit":"unit""#));
}

#[test]
fn a_vector_goes_to_a_control_vector_and_back_without_loss() {
    let place = Place::with_vector();
    let there = place.run("vector convert v.safetensors -o v.gguf").succeeds();
    assert!(there.stdout.starts_with(
        "2 directions written to v.gguf; a coefficient of 1 is an alpha of 1 in the unit `unit`"
    ));
    there.says("note: llama.cpp has no place for block 0");
    place.run("vector convert v.gguf -o back.safetensors").succeeds();
    assert!(place.read("back.safetensors") == place.read("v.safetensors"));
    // As a vector it is what it was; as a coefficient it counts plain directions.
    let same = |a: &str, b: &str| assert_eq!(tokens(&place, "model", a), tokens(&place, "model", b), "{a}");
    same("--steer v.gguf", "--steer v.safetensors");
    same("--steer v.gguf:2@1", "--steer v.safetensors:2@1 --unit unit");
    same("--steer v.gguf:2@1 --unit gap", "--steer v.safetensors:2@1");
    place.run("vector convert v.safetensors -o gap.gguf --fold gap --layers 1-2").succeeds();
    same("--steer gap.gguf:2@1", "--steer v.safetensors:2@1");
    // A foreign one goes the other way.
    place.write("r.gguf", std::fs::read(golden("control/repeng.gguf")).unwrap());
    place.run("vector convert r.gguf -o r.safetensors").succeeds();
    place.run("vector convert r.safetensors -o again.gguf").succeeds();
    assert!(place.read("again.gguf") == place.read("r.gguf"));
    place.run("vector convert r.gguf -o lower.safetensors --from cvector-generator").succeeds();
    let shown = place.run("vector show lower.safetensors --json").succeeds().stdout;
    assert!(shown.contains(r#"{"auc":null,"coherence":null,"gap":null,"layer":0,"rms":null}"#), "{shown}");
}

#[test]
fn what_cannot_be_converted_is_refused() {
    let place = Place::with_vector();
    place.write("r.gguf", std::fs::read(golden("control/repeng.gguf")).unwrap());
    let check = |line: &str, code: i32, part: &str| {
        place.run(&format!("vector convert {line}")).fails(code, part);
    };
    check("v.safetensors -o v.pt", 2, "must end in .gguf or .safetensors");
    check("r.gguf -o x.safetensors --fold gap", 2, "--fold is for .gguf");
    check("r.gguf -o x.gguf --fold gap", 3, "has no gap");
    check("v.safetensors -o x.gguf --layers 0-1", 2, "llama.cpp has no place for block 0");
    check("v.safetensors -o x.gguf --layers 7", 2, "layer 7 does not exist");
    check("r.gguf -o x.safetensors --layers 0", 2, "no direction for layer 0 (it has 1-2)");
    check("v.safetensors -o x.gguf --from cvector-generator", 3, "is no control vector");
    check("v.safetensors -o x.gguf --from axbench", 2, "conventions: llama.cpp, repeng, cvector-generator");
    check("missing.gguf -o x.safetensors", 3, "missing.gguf");
    check("prompts.txt -o x.gguf", 3, "is not a Whipstaff vector");
}
