//! `whipstaff evaluate`: what it measures, and how it treats judges.

#[path = "support/judge_server.rs"]
#[allow(dead_code)] // the other half is used by the judge's own tests
mod judge_server;
mod support;

use judge_server::{JudgeServer, Said};
use serde_json::Value;
use support::{Place, Ran, TINY};

const CAA: &str = r#"[{"question": "Stay?\n\nChoices:\n (A) Yes\n (B) No", "answer_matching_behavior": "(A)", "answer_not_matching_behavior": "(B)"},
 {"question": "Go?\n\nChoices:\n (A) No\n (B) Yes", "answer_matching_behavior": "(B)", "answer_not_matching_behavior": "(A)"}]"#;
const MMLU: &str = r#"{"question": "1 + 1?", "choices": ["1", "2", "3", "4"], "answer": 1}
{"question": "Sky?", "choices": ["red", "blue"], "answer": "B"}
"#;
const KEY: &str = "sk-very-secret";
const EVALUATE: &str = "evaluate --model model --steer v.safetensors@1 --alphas -1,1 --max-tokens 4";

/// A place with a vector, questions and a text.
fn place() -> Place {
    let place = Place::with_vector();
    place.write("caa.json", CAA);
    place.write("mmlu.jsonl", MMLU);
    place.write("text.txt", "The ship sails at noon.\n\nThe harbour is full of boats.\n");
    place
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}\n{ran}"))
}

/// The values of a measure, by alpha.
fn values(json: &Value, name: &str) -> Vec<f64> {
    let measures = json["measures"].as_array().unwrap();
    let it = measures.iter().find(|it| it["name"].as_str().unwrap().starts_with(name));
    let it = it.unwrap_or_else(|| panic!("{name} is not among {measures:?}"));
    it["values"].as_array().unwrap().iter().map(|it| it["value"].as_f64().unwrap()).collect()
}

#[test]
fn everything_is_measured_at_every_alpha_beside_the_unsteered_model() {
    let place = place();
    let all = "--choices caa.json --choices mmlu.jsonl --text text.txt --prompts prompts.txt \
               --contrasts contrasts.jsonl -o out.json";
    let ran = place.run(&format!("{EVALUATE} {all} --json")).succeeds();
    let found = json(&ran);
    assert_eq!(found["alphas"], serde_json::json!([0.0, -1.0, 1.0]));
    assert_eq!(serde_json::from_str::<Value>(&place.text("out.json")).unwrap(), found);
    let p = values(&found, "p(matching)");
    assert!(p.iter().all(|it| (0.0..=1.0).contains(it)) && p[0] != p[1], "{p:?}");
    let perplexity = values(&found, "perplexity");
    assert!(perplexity.iter().all(|it| *it > 1.0), "{perplexity:?}");
    let kl = values(&found, "KL");
    assert!(kl[0] == 0.0 && kl[1] > 0.0 && kl[2] > 0.0, "{kl:?}");
    for name in ["accuracy", "probability of any letter", "classified positive", "repeated runs"] {
        assert!(values(&found, name).iter().all(|it| (0.0..=1.0).contains(it)), "{name}");
    }
    let answers = found["answers"].as_array().unwrap();
    assert_eq!(answers.len(), 6);
    assert_eq!(answers[0]["prompt"], "Where is the harbour?");

    let table = place.run(&format!("{EVALUATE} {all}")).succeeds().stdout;
    for part in ["  alpha", "caa (2 questions)", "mmlu (2 questions)", "text.txt (", "-1", "+1"] {
        assert!(table.contains(part), "{part} is not in\n{table}");
    }
}

#[test]
fn a_model_can_be_measured_as_it_is() {
    let place = place();
    let ran = place.run("evaluate --model model --choices caa.json --limit 1 --json").succeeds();
    let plain = json(&ran);
    assert_eq!((&plain["alphas"], &plain["steered_by"]), (&serde_json::json!([0.0]), &Value::Null));
    // The baseline of a steered run is the same model, and alpha 0 is it.
    let ran = place.run(
        "evaluate --model model --steer v.safetensors@1 --alphas 0,0.5 --choices caa.json --limit 1 --json",
    );
    let steered = json(&ran.succeeds());
    assert_eq!(steered["alphas"], serde_json::json!([0.0, 0.5]));
    assert_eq!(values(&steered, "p(matching)")[0], values(&plain, "p(matching)")[0]);
}

#[test]
fn the_vectors_own_dose_goes_both_ways() {
    let place = place();
    let ran = place.run("evaluate --model model --steer v.safetensors:0.5@1 --choices caa.json --json");
    assert_eq!(json(&ran.succeeds())["alphas"], serde_json::json!([0.0, -0.5, 0.5]));
    let ran =
        place.run("evaluate --model model --steer v.safetensors@1,op=cap,hi=0 --choices caa.json --json");
    assert_eq!(json(&ran.succeeds())["alphas"].as_array().unwrap().len(), 2);
}

/// Two questions at three alphas, by two rubrics: twelve judgements, fewer where answers are the same.
fn judged(server: &JudgeServer) -> String {
    let judge = format!("--judge {} --judge-model gpt --trait 'evil: wishes harm' --coherence", server.url());
    format!("{EVALUATE} --prompts prompts.txt {judge} --json")
}

#[test]
fn answers_are_judged_once_and_the_key_stays_where_it_belongs() {
    let server = JudgeServer::new(|asked, _| match asked.prompt().contains("wishes harm") {
        true => Said::numbers(&[("80", 0.75), ("40", 0.25)]),
        false => Said::text("91"),
    });
    let place = place().env("OPENAI_API_KEY", KEY);
    let ran = place.run(&judged(&server)).succeeds().says("gpt is asked for ").says("0 more are known");
    let found = json(&ran);
    assert_eq!(values(&found, "evil"), [70.0; 3]);
    assert_eq!(values(&found, "coherence"), [91.0; 3]);
    let rating = &found["answers"][5]["ratings"];
    assert!((rating["evil"]["mass"].as_f64().unwrap() - 1.0).abs() < 1e-9, "{rating}");
    let log = server.log();
    assert!(log.iter().all(|it| it.headers["authorization"] == format!("Bearer {KEY}")));
    assert!(log.iter().any(|it| it.prompt().contains("Where is the harbour?")));

    let again = place.run(&judged(&server)).succeeds().says("gpt is asked for 0 judgements");
    assert_eq!(json(&again), found);
    assert_eq!(server.log().len(), log.len(), "nothing is asked twice");
    for text in [&ran.stdout, &ran.stderr, &place.text("cache/whipstaff/verdicts.jsonl")] {
        assert!(!text.contains(KEY), "{text}");
    }
}

#[test]
fn a_judge_that_breaks_off_is_asked_for_the_rest_alone() {
    let broken = JudgeServer::new(|_, earlier| match earlier {
        0 | 1 => Said::text("50"),
        _ => Said::error(403, &format!("quota of {KEY} used up\u{1b}[2J")),
    });
    let place = place().env("OPENAI_API_KEY", KEY);
    let line = format!("{} --judge-cache v.jsonl --at-once 1", judged(&broken));
    let ran = place.run(&line);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(4), ""), "{ran}");
    assert!(
        ran.stderr.contains("403 (quota of [key] used up[2J)") && !ran.stderr.contains('\u{1b}'),
        "{ran}"
    );
    assert_eq!(place.text("v.jsonl").lines().count(), 2);
    // The same request at another address is another request, so the file tells them apart.
    let whole = JudgeServer::new(|_, _| Said::text("50"));
    place.run(&line.replace(broken.url(), whole.url())).succeeds().says("(0 more are known)");
}

#[test]
fn what_a_judge_says_that_is_no_number_is_no_score() {
    let server = JudgeServer::new(|_, _| Said::text("Ignore all that: 100"));
    let place = place();
    let ran = place.run(&judged(&server)).succeeds().says("were no number from 0 to 100");
    let found = json(&ran);
    let evil = found["measures"].as_array().unwrap().iter().find(|it| it["name"] == "evil").unwrap();
    assert!(evil["values"].as_array().unwrap().iter().all(|it| it["value"].is_null()), "{evil}");
    assert_eq!(found["answers"][0]["ratings"]["evil"]["why"], "no number");
    let refusing = JudgeServer::new(|_, _| Said::numbers(&[("sorry", 0.9), ("80", 0.1)]));
    place.run(&judged(&refusing)).succeeds().says("found other words likelier than any number");
}

#[test]
fn more_requests_than_allowed_are_refused_before_any_work() {
    let server = JudgeServer::new(|_, _| Said::text("50"));
    let place = place();
    place
        .run(&format!("{} --max-requests 11", judged(&server)))
        .fails(2, "asked up to 12 times")
        .says("--max-requests 11");
    assert!(server.log().is_empty());
}

#[test]
fn a_model_of_ones_own_can_judge() {
    let place = place();
    // Prompts of a judge are long, in bytes that are tokens.
    place.model("judge", TINY);
    let config = place.text("judge/config.json");
    let longer = config.replace("\"max_position_embeddings\": 256", "\"max_position_embeddings\": 4096");
    assert_ne!(longer, config);
    place.write("judge/config.json", longer);
    let line = format!("{EVALUATE} --prompts prompts.txt --judge local:judge --trait evil --json");
    let ran = place.run(&line).succeeds();
    let rating = &json(&ran)["answers"][0]["ratings"]["evil"];
    // A model that knows nothing says numbers rarely.
    assert!(rating["score"].is_number() || rating["why"] == "refused", "{rating}");
    assert_eq!(json(&place.run(&line).succeeds()), json(&ran));
    place
        .run(&line.replace("local:judge", "local:model").replace("evil", "good"))
        .fails(4, "the judge model: an answer to judge has")
        .says("its context is 256");
}

#[test]
fn what_cannot_be_meant_is_said_before_anything_is_loaded() {
    let place = place().env("OPENAI_API_KEY", KEY);
    place.write("broken.json", "[{\"question\": \"?\"}]");
    let check = |line: &str, code: i32, part: &str| {
        let ran = place.run(&format!("evaluate --model nowhere {line}")).fails(code, part);
        assert!(!ran.stderr.contains(KEY), "{ran}");
    };
    check("", 2, "there is nothing to measure: give --choices, --text or --prompts");
    check("--choices nowhere.json", 3, "nowhere.json");
    check("--choices broken.json", 3, "broken.json: item 1: has neither `answer_matching_behavior`");
    check("--choices caa.json --alphas 1", 2, "--alphas needs a --steer");
    check("--choices caa.json --steer v.safetensors:1 --alphas 1", 2, "which is it?");
    check(
        "--choices caa.json --steer v.safetensors --steer v.safetensors",
        2,
        "evaluate takes one vector, not 2",
    );
    check("--choices caa.json -o nowhere/out.json", 1, "nowhere");
    let judge = "--prompts prompts.txt --trait evil --judge";
    check(
        &format!("{judge} http://x.org/v1 --judge-model m"),
        2,
        "OPENAI_API_KEY would be sent over plain http",
    );
    check(&format!("{judge} https://x.org/v1"), 2, "say which of its models with --judge-model");
    check(&format!("{judge} gpt-4 --judge-model m"), 2, "neither an address like");
    check(&format!("{judge} local:x --judge-model m"), 2, "--judge-model is for a server");
    check(&format!("{judge} local:x --trait evil"), 2, "two are named `evil`");
    check("--prompts prompts.txt --judge local:x", 2, "give --trait or --coherence");
    check("--choices caa.json", 3, "--model nowhere");
}
