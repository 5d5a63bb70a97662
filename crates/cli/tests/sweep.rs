//! `sweep` at the command line: a run that is killed goes on where it was, and ends with the same bytes.

mod support;

use std::time::Duration;
use support::Place;

const SWEEP: &str = "sweep --model model --contrasts c.jsonl --heldout c.jsonl --methods mean,pca --layers all \
                     --alphas -0.5,0.5,1,2 --max-contrasts 4 -o";

fn place() -> Place {
    let place = Place::new();
    place.write("c.jsonl", support::CONTRASTS);
    place
}

fn text(place: &Place, name: &str) -> String {
    String::from_utf8(place.read(name)).unwrap()
}

#[test]
fn a_killed_sweep_goes_on_and_ends_with_the_same_bytes() {
    let place = place();
    place.run(&format!("{SWEEP} whole")).succeeds();
    let whole = text(&place, "whole/cells.jsonl");
    let mut killed = 0;
    for wait in [0, 1, 2, 5, 9] {
        let mut child = place.command(&format!("{SWEEP} cut")).spawn().unwrap();
        // Killed as soon as so many cells are there.
        let lines =
            || std::fs::read_to_string(place.path("cut/cells.jsonl")).map_or(0, |it| it.lines().count());
        while child.try_wait().unwrap().is_none() && lines() < 1 + wait {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
        let there = lines();
        let ran = place.run(&format!("{SWEEP} cut")).succeeds();
        assert_eq!(ran.stderr.contains("cells are there already"), there > 1, "{ran}");
        assert!(text(&place, "cut/cells.jsonl") == whole, "killed after {there} lines");
        std::fs::remove_file(place.path("cut/cells.jsonl")).unwrap();
    }
    assert!(killed > 0, "every run was over before it could be killed");
}

#[test]
fn only_damaged_cells_are_measured_again() {
    let place = place();
    place.run(&format!("{SWEEP} out")).succeeds();
    let whole = text(&place, "out/cells.jsonl");
    let n = whole.lines().count() - 1;
    let check = |damaged: String, good: usize| {
        place.write("out/cells.jsonl", damaged);
        let ran = place.run(&format!("{SWEEP} out")).succeeds();
        assert!(ran.stderr.contains(&format!("{good} of {n} cells are there already")), "{ran}");
        assert!(text(&place, "out/cells.jsonl") == whole);
    };
    check(whole.clone(), n);
    check(whole[..whole.len() - 30].to_owned(), n - 1);
    check(whole.replacen("\"effect\":", "\"effect\":9", 1), n - 1);
}

#[test]
fn another_sweep_in_the_same_folder_is_refused_and_nothing_is_lost() {
    let place = place();
    place.run(&format!("{SWEEP} out")).succeeds();
    let before = text(&place, "out/cells.jsonl");
    place.run(&format!("{SWEEP} out --seed 4")).fails(3, "its `seed` is 0, this one's is 4");
    assert_eq!(text(&place, "out/cells.jsonl"), before);
    place.run(&format!("{SWEEP} out --together 9")).fails(2, "--together 9");
    place.run(&SWEEP.replace("-0.5,0.5", "0,0.5").replace("-o", "-o out")).fails(2, "--alphas");
}

#[test]
fn what_a_sweep_found_is_told_drawn_and_written() {
    let place = place();
    let ran = place.run(&format!("{SWEEP} out --together all --budget 50")).succeeds();
    assert!(ran.stdout.contains("method `pca`: effect in nats per token"), "{ran}");
    let words = ran.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("On the other half it moves the margin by"), "{ran}");
    for name in ["effect.svg", "kl.svg", "perplexity.svg", "sweep.html"] {
        assert!(text(&place, &format!("out/{name}")).contains("</svg>"), "{name}");
    }
    let json: serde_json::Value = serde_json::from_str(&text(&place, "out/sweep.json")).unwrap();
    assert!(json["pick"]["effect"].is_number() && json["pick"]["alpha"].as_f64() > Some(0.0), "{json}");
    let none = place.run(&format!("{SWEEP} out --together all --budget 0.01")).succeeds();
    assert!(none.stdout.contains("No dose is within the budget"), "{none}");
}
