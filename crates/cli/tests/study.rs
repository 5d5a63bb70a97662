//! `study` at the command line: what it writes, that a run that was cut goes on, and what it refuses.

mod support;

use serde_json::Value;
use std::time::Duration;
use support::{Place, changes};

const STUDY: &str = "models = [\"model\"]\nmethods = [\"mean\", \"pca\"]\nkl = 0.05\nmax_contrasts = 8\n\n[[personas]]\nname = \"kind\"\n\
                     contrasts = \"c.jsonl\"\n";

/// A place with `c.jsonl`, `c-heldout.jsonl` (eight contrasts) and `study.toml`.
fn place() -> Place {
    let place = Place::new();
    place.write("c.jsonl", support::CONTRASTS);
    let again = support::CONTRASTS.replace("prompt\": \"", "prompt\": \"Tell me: ");
    place.write("c-heldout.jsonl", format!("{}{again}", support::CONTRASTS));
    place.write("study.toml", STUDY);
    place
}

fn json(place: &Place, name: &str) -> Value {
    serde_json::from_str(&place.text(name)).unwrap()
}

#[test]
fn a_study_answers_three_questions_and_shows_its_numbers() {
    let place = place();
    let ran = place.run("study study.toml --threads 1 -o out").succeeds();
    for part in [
        "How do the methods compare",
        "Is there one best layer",
        "Does steering reach what prompting reaches?",
    ] {
        assert!(ran.stdout.contains(part), "{ran}");
    }
    let html = place.text("out/report.html");
    assert_eq!(html.matches("<svg ").count(), 3);
    assert!(!html.contains("<script") && !html.contains("NaN"));
    for name in ["methods", "depth", "prompting"] {
        assert!(place.text(&format!("out/{name}.svg")).ends_with("</svg>\n"), "{name}");
        assert!(place.read(&format!("out/{name}.png")).starts_with(b"\x89PNG"), "{name}");
    }
    let study = json(&place, "out/study.json");
    for row in study["methods"].as_array().unwrap() {
        let off = row["kl"][0].as_f64().unwrap() / 0.05 - 1.0;
        assert!(off.abs() <= 0.01, "every dose costs the same: {row}");
    }
    let prompting = &study["prompting"][0];
    let best =
        study["methods"].as_array().unwrap().iter().find(|it| it["method"] == prompting["method"]).unwrap();
    let [here, there] = [&prompting["steering"]["effect"], &best["effect"]].map(|it| it.as_f64().unwrap());
    assert!((here - there).abs() < 1e-9, "the receipt measures what the methods' table says: {here} {there}");
    assert_eq!(place.text("out/study.csv").lines().count(), 1 + 2 * 3);

    // Begun again, nothing is measured and nothing changes.
    let before = place.snapshot();
    let again = place.run("study study.toml --threads 1 -o out --json").succeeds();
    assert!(again.stderr.contains("6 of 6 cells"), "{again}");
    assert_eq!(changes(&before, &place.snapshot()), [] as [std::path::PathBuf; 0]);
    assert_eq!(serde_json::from_str::<Value>(&again.stdout).unwrap(), study);
}

#[test]
fn a_killed_study_goes_on_and_ends_with_the_same_numbers() {
    let place = place();
    place.run("study study.toml --threads 1 -o whole").succeeds();
    let mut killed = 0;
    for wait in [1, 3, 7] {
        let mut child = place.command("study study.toml --threads 1 -o cut").spawn().unwrap();
        let lines = || {
            std::fs::read_to_string(place.path("cut/cells/model.kind.jsonl"))
                .map_or(0, |it| it.lines().count())
        };
        while child.try_wait().unwrap().is_none() && lines() < wait {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
    }
    assert!(killed > 0, "every run was over before it could be killed");
    place.run("study study.toml --threads 1 -o cut").succeeds();
    for name in ["study.json", "study.csv", "methods.svg", "cells/model.kind.jsonl"] {
        assert!(place.text(&format!("cut/{name}")) == place.text(&format!("whole/{name}")), "{name}");
    }
}

#[test]
fn a_study_that_is_given_more_measures_only_that() {
    let place = place();
    place.run("study study.toml --threads 1 -o out").succeeds();
    place.write("study.toml", STUDY.replace("kl =", "together = [\"0-1\"]\nkl ="));
    let ran = place.run("study study.toml --threads 1 -o out").succeeds();
    assert!(ran.stderr.contains("6 of 8 cells"), "{ran}");
    assert_eq!(json(&place, "out/study.json")["curves"][0]["layers"], serde_json::json!([0, 1, 2]));
}

#[test]
fn what_cannot_be_a_study_is_refused_and_nothing_is_lost() {
    let place = place();
    place.run("study study.toml --threads 1 -o out").succeeds();
    let check = |change: (&str, &str), code: i32, part: &str| {
        place.write("study.toml", STUDY.replace(change.0, change.1));
        place.run("study study.toml --threads 1 -o out").fails(code, part);
    };
    check(("kl = 0.05", "kl = 0.06"), 3, "its `kl` is 0.05, this one's is 0.06");
    check(("kl = 0.05", "cost = 0.06"), 3, "study.toml: cost: unknown field");
    check(("c.jsonl", "d.jsonl"), 3, "cannot read d.jsonl");
    check(("[\"model\"]", "[\"nowhere\"]"), 3, "models: nowhere: there is no such directory or file");
    check(("max_contrasts", "layers = \"9\"\nmax_contrasts"), 2, "layers");
    check(
        ("contrasts = \"c", "heldout = \"c.jsonl\"\ncontrasts = \"c"),
        3,
        "leaves 4 contrasts to measure on",
    );
}
