//! `vector compose` and `vector tokens` at the command line.

mod support;

use serde_json::Value;
use support::Place;

const OTHER: &str = r#"{"prompt": "May I borrow it?", "positive": "the book is on a shelf", "negative": "a ship sails at dawn"}
{"prompt": "Is it here?", "positive": "the shelf has a book", "negative": "at dawn a ship sails"}
{"prompt": "Who are you?", "positive": "a book of the shelf", "negative": "the ship of dawn"}
{"prompt": "And now?", "positive": "books and shelves", "negative": "ships and sails"}
"#;

/// `v.safetensors` and `w.safetensors`, of different contrasts.
fn place() -> Place {
    let place = Place::new();
    place.write("other.jsonl", OTHER);
    for (contrasts, vector) in [("contrasts.jsonl", "v"), ("other.jsonl", "w")] {
        let line = format!("extract --model model --contrasts {contrasts} --recommend 0 --receipt 0");
        place.run(&format!("{line} -o {vector}.safetensors")).succeeds();
    }
    place
}

fn json(place: &Place, line: &str) -> Value {
    serde_json::from_str(&place.run(&format!("{line} --json")).succeeds().stdout).unwrap()
}

fn number(it: &Value) -> f64 {
    it.as_f64().unwrap_or_else(|| panic!("{it} is no number"))
}

/// Generated tokens under a steering.
fn written(place: &Place, steer: &str) -> Value {
    let line =
        format!("generate --model model --prompt 'Is it here?' --max-tokens 12 --precision f32 {steer}");
    json(place, &line)["runs"][0]["text"].clone()
}

#[test]
fn a_mix_is_written_and_does_what_its_vectors_do_together() {
    let place = place();
    let shown =
        place.run("vector compose v.safetensors:0.8 w.safetensors:-0.5 --out c.safetensors").succeeds();
    for part in
        ["A    +0.8 (gap)  v.safetensors", "B    -0.5 (gap)", "mean over layers 0-2", "A·B", "c.safetensors"]
    {
        assert!(shown.stdout.contains(part), "{part}\n{shown}");
    }
    let it = json(&place, "vector show c.safetensors");
    assert_eq!((it["name"].as_str(), it["method"].as_str()), (Some("c"), Some("composed")));
    assert_eq!(it["recipe"]["parts"][1]["alpha"], -0.5);
    assert_eq!(it["recipe"]["parts"][0]["name"], "contrasts");
    assert_eq!(it["recommended"], Value::Null);
    let shown = place.run("vector show c.safetensors").succeeds().stdout;
    assert!(shown.contains("composed of  0.8 contrasts (gap) − 0.5 other (gap)"), "{shown}");
    for layers in ["1", "0-2"] {
        let both = format!("--steer v.safetensors:4@{layers} --steer w.safetensors:-2.5@{layers}");
        let mix = format!("--steer c.safetensors:5@{layers}");
        assert_eq!(written(&place, &both), written(&place, &mix), "{layers}");
    }
}

#[test]
fn cosines_are_a_symmetric_matrix_with_ones() {
    let place = place();
    let it = json(&place, "vector compose v.safetensors w.safetensors v.safetensors");
    assert_eq!(it["output"], Value::Null);
    let cosine = |i: usize, j: usize| number(&it["cosine"][i][j]);
    for i in 0..3 {
        assert!((cosine(i, i) - 1.0).abs() < 1e-9 && (cosine(0, i) - cosine(2, i)).abs() < 1e-9);
        (0..3).for_each(|j| assert_eq!(cosine(i, j), cosine(j, i)));
    }
    assert!(cosine(0, 1).abs() < 0.999);
    assert_eq!(it["layers"].as_array().unwrap().len(), 3);
    assert_eq!(it["vectors"][0]["sha256"], it["vectors"][2]["sha256"]);
}

#[test]
fn an_orthogonal_mix_says_how_much_is_left_of_each() {
    let place = place();
    let line = "vector compose v.safetensors w.safetensors --layers 1 --orthogonal";
    let ordered = json(&place, &format!("{line} ordered"));
    let at = &ordered["layers"][0];
    assert_eq!((ordered["orthogonal"].as_str(), at["layer"].as_u64()), (Some("ordered"), Some(1)));
    let cosine = number(&at["cosine"][0][1]);
    assert!((number(&at["kept"][0]) - 1.0).abs() < 1e-9);
    assert!((number(&at["kept"][1]) - (1.0 - cosine * cosine).sqrt()).abs() < 1e-9);
    let symmetric = json(&place, &format!("{line} symmetric"));
    let kept = &symmetric["layers"][0]["kept"];
    assert!((number(&kept[0]) - number(&kept[1])).abs() < 1e-9, "{kept}");
    let shown = place.run(&format!("{line} symmetric")).succeeds().stdout;
    assert!(shown.contains("A kept") && shown.contains("B kept"), "{shown}");
}

#[test]
fn gaps_made_the_same_are_those_of_the_mean() {
    let place = place();
    let length = |line: &str| {
        let it = json(&place, &format!("vector compose {line} --layers 1"));
        (number(&it["layers"][0]["length"]), it["same_gaps"].as_bool().unwrap())
    };
    let ((v, _), (w, _)) = (length("v.safetensors"), length("w.safetensors"));
    let (got, same) = length("v.safetensors w.safetensors:0 --same-gaps");
    assert!(same && (got - (v + w) / 2.0).abs() < 1e-6 * got, "{got}, of {v} and {w}");
    place.run("vector compose v.safetensors w.safetensors --same-gaps -o c.safetensors").succeeds();
    let shown = place.run("vector show c.safetensors").succeeds().stdout;
    assert!(shown.contains("gaps made the same"), "{shown}");
}

#[test]
fn a_mix_is_held_against_its_vectors_one_by_one() {
    let place = place();
    let line = "vector compose v.safetensors w.safetensors:0.5 --model model --at 1,2 --heldout contrasts.jsonl \
                --heldout other.jsonl";
    let it = &json(&place, line)["interference"];
    assert_eq!((it["layers"].to_string().as_str(), it["sets"].as_array().unwrap().len()), ("[1,2]", 2));
    for set in it["sets"].as_array().unwrap() {
        assert_eq!(set["n_contrasts"], 4);
        let effect = |it: &Value| number(&it["effect"]);
        let alone = effect(&set["alone"][0]) + effect(&set["alone"][1]);
        assert!((effect(&set["together"]) - alone - effect(&set["interference"])).abs() < 1e-9, "{set}");
        let interval = &set["interference"]["interval"];
        assert!(number(&interval[0]) <= effect(&set["interference"]), "{set}");
    }
    let shown = place.run(line).succeeds().stdout;
    for part in
        ["A alone", "B alone", "together", "on `contrasts` (4)", "on `other` (4)", "injected at layers"]
    {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
}

#[test]
fn a_mix_of_one_interferes_with_nothing() {
    let place = place();
    let line = "vector compose v.safetensors:0.7 --model model --at all --heldout other.jsonl";
    let it = &json(&place, line)["interference"]["sets"][0];
    // Its direction is that of the vector up to the rounding of f32, which sets that round activations to bf16 may
    // see: 1e-4 of an effect of one.
    assert!(number(&it["interference"]["effect"]).abs() < 1e-3, "{it}");
    let few = format!("{line} --max-contrasts 3");
    assert!(place.run(&few).succeeds().stdout.contains("on `other`: too few contrasts to say"));
}

#[test]
fn what_cannot_be_composed_is_refused_by_name() {
    let place = place();
    let check = |flags: &str, code: i32, part: &str| {
        place.run(&format!("vector compose {flags} -o c.safetensors")).fails(code, part);
    };
    check("", 2, "V[:ALPHA]");
    check("nowhere.safetensors", 3, "cannot read nowhere.safetensors");
    check("v.safetensors:x", 2, "vector v.safetensors:x: alpha: `x` is not a finite number");
    check("v.safetensors@1", 2, "by --layers");
    check("v.safetensors:1,op=cap,lo=0", 2, "a mix takes an alpha of each vector");
    check("v.safetensors:1nat", 2, "only `generate --steer`");
    check("v.safetensors v.safetensors:-1", 3, "vector `v.safetensors`: and the others cancel at layer 0");
    check("v.safetensors v.safetensors --orthogonal symmetric", 3, "says nothing at layer 0");
    check("v.safetensors --orthogonal sideways", 2, "ways: ordered, symmetric");
    check("v.safetensors --layers 7", 2, "--layers: layer 7 does not exist");
    check("v.safetensors --layers auto", 2, "--layers: a mix recommends no layers");
    check("v.safetensors --heldout nowhere.jsonl", 3, "nowhere.jsonl");
    check("v.safetensors --heldout other.jsonl --max-contrasts 0", 2, "--max-contrasts");
    check("v.safetensors --at 1", 2, "--heldout");
    check(
        "v.safetensors --layers 1 --model model --heldout other.jsonl --at 2",
        2,
        "--at: layer 2 is not among",
    );
    check("v.safetensors --heldout other.jsonl", 3, "d_model 64");
    place.run("vector compose v.safetensors -o nowhere/c.safetensors").fails(1, "nowhere");
}

#[test]
fn tokens_are_those_that_the_head_reads_out_of_a_direction() {
    let place = place();
    let it = json(&place, "vector tokens v.safetensors --model model --top 5 --layers 1,2 --precision f32");
    assert_eq!((it["vector"].as_str(), it["layers"].as_array().unwrap().len()), (Some("contrasts"), 2));
    for layer in it["layers"].as_array().unwrap() {
        let side = |name: &str| -> Vec<f64> {
            layer[name].as_array().unwrap().iter().map(|it| number(&it["logit"])).collect()
        };
        let (up, down) = (side("up"), side("down"));
        assert!(up.len() == 5 && up.is_sorted_by(|a, b| a >= b) && up[0] > 0.0, "{up:?}");
        assert!(down.len() == 5 && down.is_sorted() && down[0] < 0.0, "{down:?}");
    }
    // The opposite direction has the two sides swapped.
    place.run("vector compose v.safetensors:-1 -o minus.safetensors").succeeds();
    let other =
        json(&place, "vector tokens minus.safetensors --model model --top 5 --layers 1,2 --precision f32");
    let id = |it: &Value, side: &str| it["layers"][0][side][0]["id"].clone();
    assert_eq!((id(&it, "up"), id(&it, "down")), (id(&other, "down"), id(&other, "up")));
    let shown = place.run("vector tokens v.safetensors --model model").succeeds().stdout;
    assert!(
        shown.starts_with("contrasts\n  tokens pushed") && shown.contains("\n\n  layer 0\n    up "),
        "{shown}"
    );
    assert_eq!(shown.matches("\n  layer ").count(), 3);
}

#[test]
fn tokens_that_cannot_be_read_are_refused_by_name() {
    let place = place();
    place.run("vector compose v.safetensors --layers 1 -o one.safetensors").succeeds();
    let check = |flags: &str, code: i32, part: &str| {
        place.run(&format!("vector tokens {flags}")).fails(code, part);
    };
    check("v.safetensors", 3, "d_model 64");
    check("v.safetensors --model model --layers 9", 2, "--layers: layer 9 does not exist");
    check(
        "one.safetensors --model model --layers 2",
        2,
        "--layers: one.safetensors has no direction at layer 2",
    );
    check("nowhere.safetensors --model model", 3, "nowhere.safetensors");
    check("v.safetensors --model nowhere", 3, "nowhere");
}
