//! Operators, scopes and gates as a user writes them: flags, files, and what is said of both.

mod support;

use serde_json::{Value, json};
use support::{Place, Ran};

/// The answers of a `generate --json`, as token ids.
fn answers(place: &Place, flags: &str) -> Vec<Vec<u64>> {
    let line = format!("generate --model model --prompt 'Ahoy there' --max-tokens 10 --json {flags}");
    let printed: Value = serde_json::from_str(&place.run(&line).succeeds().stdout).unwrap();
    let tokens =
        |run: &Value| run["tokens"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
    printed["runs"].as_array().unwrap().iter().map(tokens).collect()
}

fn answer(place: &Place, flags: &str) -> Vec<u64> {
    let mut answers = answers(place, flags);
    assert_eq!(answers.len(), 1, "{flags}");
    answers.remove(0)
}

/// Strong enough to change what the tiny model says.
const STRONG: [&str; 7] = [
    "v.safetensors:30",
    "v.safetensors:30,until=20",
    "v.safetensors@all,op=project",
    "v.safetensors@all,op=cap,lo=15,hi=20",
    "v.safetensors@all,op=push,to=20",
    "v.safetensors:80@all,op=rotate",
    "v.safetensors@all,op=set,to=-20",
];

fn at_alpha_zero(steer: &str) -> String {
    let (head, options) =
        steer.split_once(',').map_or((steer, String::new()), |(head, rest)| (head, format!(",{rest}")));
    let head = head.split([':', '@']).next().unwrap();
    format!("{head}:0@all{options}")
}

#[test]
fn every_operator_does_something_and_at_alpha_zero_nothing() {
    let place = Place::with_vector();
    let plain = answer(&place, "");
    for steer in STRONG {
        assert_ne!(answer(&place, &format!("--steer {steer}")), plain, "{steer}");
        assert_eq!(answer(&place, &format!("--steer {}", at_alpha_zero(steer))), plain, "{steer}");
    }
}

#[test]
fn a_budget_of_nats_scales_every_alpha() {
    let place = Place::with_vector();
    let line = "generate --model model --prompt 'Ahoy there' --max-tokens 10 --json";
    let ran = |flags: &str| place.run(&format!("{line} {flags}")).succeeds();
    let alpha =
        |ran: &Ran| serde_json::from_str::<Value>(&ran.stdout).unwrap()["runs"][0]["alpha"].as_f64().unwrap();
    let (little, much) = (ran("--steer v.safetensors:1 --kl 0.01"), ran("--steer v.safetensors:1 --kl 0.1"));
    assert!(little.stderr.contains("0.0") && little.stderr.contains(" nats per token at "), "{little}");
    assert!(alpha(&little) > 0.0 && alpha(&much) > 1.5 * alpha(&little), "{little}{much}");
    // Only the direction counts: the alphas are scaled.
    let other = ran("--steer v.safetensors:-2 --kl 0.1");
    assert!(alpha(&other) < 0.0, "{other}");
    let budget = |kl: &str| place.run(&format!("{line} --steer v.safetensors:1 --kl {kl}"));
    budget("0").fails(2, "--kl: a budget of 0 nats");
    budget("1000").fails(2, "--kl: no alpha moves the model by 1000 nats");
    place.run(&format!("{line} --kl 1")).fails(2, "--kl needs a --steer");
    // The same in one word.
    let same = |a: &str, b: &str| {
        let [a, b] = [a, b].map(|it| place.run(&format!("{line} {it}")).succeeds());
        assert_eq!(a.stdout, b.stdout);
    };
    same("--steer v.safetensors:0.1nat", "--steer v.safetensors:1 --kl 0.1");
    same("--steer v.safetensors:-0.1nats", "--steer v.safetensors:-1 --kl 0.1");
    place.write("s.toml", "[[steer]]\nvector = \"v.safetensors\"\nnats = 0.1\n");
    same("--steering s.toml", "--steer v.safetensors:1 --kl 0.1");
    let refused = |rest: &str, part: &str| {
        place.run(&format!("{line} {rest}")).fails(2, part);
    };
    refused("--steer v.safetensors:1nat --kl 1", "give one of them");
    refused("--steer v.safetensors:1nat --steer v.safetensors:1", "nats are of all vectors together");
    place
        .run("figure --model model --prompts p.txt --steer v.safetensors:1nat -o f")
        .fails(2, "only `generate --steer`");
    place.run("steering check --steer v.safetensors:1nat").fails(2, "only `generate --steer`");
}

#[test]
fn a_file_does_what_the_flag_does() {
    let place = Place::with_vector();
    place.write("sub/w.safetensors", place.read("v.safetensors"));
    let check = |flag: &str, toml: &str, json: Value| {
        let want = answer(&place, &format!("--steer {flag}"));
        place.write("s.toml", format!("[[steer]]\n{toml}"));
        place.write("s.json", json!({"steer": [json]}).to_string());
        assert_eq!(answer(&place, "--steering s.toml"), want, "{toml}");
        assert_eq!(answer(&place, "--steering s.json"), want, "{json}");
    };
    check(
        "v.safetensors:30@1",
        "vector = \"v.safetensors\"\nalpha = 30\nlayers = 1",
        json!({"vector": "v.safetensors", "alpha": 30, "layers": [1]}),
    );
    check(
        "sub/w.safetensors@all,op=cap,lo=2,hi=3,unit=rms,scope=-1..,keep_norm=true",
        "vector = \"sub/w.safetensors\"\nlayers = \"all\"\nop = \"cap\"\nlo = 2\nhi = 3\nunit = \"rms\"\nscope = \"-1..\"\nkeep_norm = true",
        json!({"vector": "sub/w.safetensors", "layers": "all", "op": "cap", "lo": 2, "hi": 3, "unit": "rms",
               "scope": "-1..", "keep_norm": true}),
    );
    // Both at once: the file's entries come after the flag's.
    place.write("s.toml", "[[steer]]\nvector = \"v.safetensors\"\nalpha = -30\nlayers = 1\n");
    assert_eq!(answer(&place, "--steer v.safetensors:30@1 --steering s.toml"), answer(&place, ""));
}

#[test]
fn scopes_choose_what_is_steered() {
    let place = Place::with_vector();
    let plain = answer(&place, "");
    let with = |options: &str| answer(&place, &format!("--steer v.safetensors:60@all{options}"));
    let all = with("");
    assert_eq!(with(",scope=all"), all);
    assert_eq!(with(",scope=0.."), all);
    let in_answer = with(",scope=answer");
    // The prompt chooses the first token.
    assert_eq!(in_answer[0], plain[0]);
    assert_ne!(in_answer, plain);
    assert_ne!(with(",scope=prompt"), plain);
    assert_eq!(with(",scope=5000..6000"), plain);
    // No token of this text is one of these.
    assert_eq!(with(",tokens=no_such_token"), plain);
    assert_eq!(with(",tokens=."), with(",skip_special=false,tokens=."));
    assert_eq!(with(",schedule=window:4.."), with(",scope=answer,schedule=window:4.."));
    assert_eq!(with(",schedule=window:4..")[..4], plain[..4]);
}

#[test]
fn a_gate_lets_an_edit_through_or_not() {
    let place = Place::with_vector();
    let (plain, open) = (answer(&place, ""), answer(&place, "--steer v.safetensors:60@1"));
    assert_ne!(plain, open);
    let gated =
        |options: &str| answer(&place, &format!("--steer v.safetensors:60@1,gate=v.safetensors{options}"));
    for score in ["cosine", "cast", "projection"] {
        assert_eq!(gated(&format!(",gate.layer=1,gate.score={score},gate.above=-99")), open);
        assert_eq!(gated(&format!(",gate.layer=1,gate.score={score},gate.below=-99")), plain);
        assert_eq!(gated(&format!(",gate.score={score},gate.below=99,gate.pool=last")), open);
    }
}

#[test]
fn a_comparison_has_a_minus_side_where_there_is_one() {
    let place = Place::with_vector();
    let n = |steer: &str| answers(&place, &format!("--steer {steer} --compare")).len();
    let counts = STRONG.map(n);
    assert_eq!(counts, [3, 2, 3, 2, 2, 3, 2]);
    let compared = answers(&place, "--steer v.safetensors:20@all,op=rotate --compare");
    assert_eq!(compared[0], answer(&place, ""));
    assert_eq!(compared[2], answer(&place, "--steer v.safetensors:-20@all,op=rotate"));
}

#[test]
fn a_figure_turns_the_dial_of_any_operator() {
    let place = Place::with_vector();
    let cosine = |steer: &str, alphas: &str| -> Vec<f64> {
        let line = format!("figure --model model --prompts prompts.txt -o out --alphas {alphas} {steer}");
        place.run(&line).succeeds();
        let json: Value = serde_json::from_slice(&place.read("out/cosine.json")).unwrap();
        let at = |curve: &Value| curve["points"][1]["cosine"].as_f64().unwrap();
        json["curves"].as_array().unwrap().iter().map(at).collect()
    };
    let turned = cosine("--steer v.safetensors@1,op=rotate", "0,10,30");
    for (cosine, degrees) in turned.iter().zip([0f64, 10.0, 30.0]) {
        // A rotation's cosine is known; rounding to f32 is all that is between.
        assert!((cosine - degrees.to_radians().cos()).abs() < 1e-6, "{degrees}: {cosine}");
    }
    place.write(
        "s.toml",
        "[[steer]]\nvector = \"v.safetensors\"\nlayers = 1\nop = \"project\"\nscope = \"answer\"\n",
    );
    // There is no answer in these texts.
    assert_eq!(cosine("--steering s.toml", "0,1"), [1.0, 1.0]);
}

#[test]
fn a_receipt_judges_the_operator_that_is_asked_for() {
    let place = Place::with_vector();
    let line = "receipt v.safetensors:1@1,op=push,to=0.5,scope=answer --model model --heldout contrasts.jsonl --json";
    let it: Value = serde_json::from_str(&place.run(line).succeeds().stdout).unwrap();
    assert_eq!(
        it["what"],
        "raises the projection on `contrasts` to 0.5 gap at least at layer 1 (resid_post), in the answer only"
    );
    let arms: Vec<&str> =
        it["arms"].as_array().unwrap().iter().map(|it| it["arm"].as_str().unwrap()).collect();
    assert_eq!(arms, ["vector", "random", "shuffled", "examples"]);
    assert_eq!((&it["arms"][0]["minus"], &it["cost"]["minus"]), (&Value::Null, &Value::Null));
    assert_eq!(it["arms"][0]["effect"], it["arms"][0]["plus"]);
    let shown = place.run(line.trim_end_matches(" --json")).succeeds().stdout;
    assert!(shown.contains("steered") && !shown.contains("-alpha "), "{shown}");
    let refused = |vector: &str, rest: &str, part: &str| {
        let line = format!("receipt {vector} --model model --heldout contrasts.jsonl {rest}");
        place.run(&line).fails(2, part);
    };
    refused("v.safetensors:1@1,op=project", "-o w.safetensors", "keeps the receipt of adding it");
    refused("v.safetensors:1@1,gate=v.safetensors,gate.above=0", "", "without the gate");
    refused("v.safetensors@1,op=rotate", "", "write v.safetensors:20");
}

#[test]
fn a_check_says_in_words_what_a_file_does() {
    let place = Place::with_vector();
    place.write(
        "s.toml",
        "[[steer]]\nvector = \"v.safetensors\"\nlayers = 1\nop = \"cap\"\nhi = 0.5\nscope = \"answer\"\n\
         schedule = \"decay:20\"\ngate = { vector = \"v.safetensors\", layer = 2, above = 0.1 }\n",
    );
    let said = place.run("steering check s.toml --steer v.safetensors:-15@0-1,op=rotate").succeeds().stdout;
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(
        said,
        "1. turns away from `contrasts` by 15 degrees at layers 0-1 (resid_post) 2. holds the projection on \
         `contrasts` at 0.5 gap at most at layer 1 (resid_post), in the answer only, alpha halved every 20 generated \
         tokens, if the prompt's mean activation at layer 2 has a cosine above 0.1 with `contrasts`"
    );
    // What it prints as JSON is a steering file again.
    let json = place.run("steering check s.toml --json").succeeds().stdout;
    place.write("t.json", json.clone());
    assert_eq!(place.run("steering check t.json --json").succeeds().stdout, json);
}

#[test]
fn what_is_wrong_is_refused_with_its_field() {
    let place = Place::with_vector();
    let generate = |flags: &str| -> Ran { place.run(&format!("generate --model model --prompt hi {flags}")) };
    let flag = |options: &str, part: &str| {
        generate(&format!("--steer v.safetensors{options}")).fails(2, part).says("--steer v.safetensors");
    };
    flag(",op=erase", "op: `erase` is not an operator (operators: add, project, cap, push, rotate, set)");
    flag(",op=cap,lo=x", "lo: `x` is not a finite number");
    flag(",op=set", "to: is missing");
    flag(",colour=red", "colour: unknown field `colour`, expected one of");
    flag(":1,scope=here", "scope: `here` is no scope (scopes: all, prompt, answer");
    flag(":1,schedule=slow", "schedule: `slow` is no schedule (schedules: constant, decay");
    flag(":1,gate=v.safetensors", "gate.above: is missing");
    flag(":3,op=project", "alpha: of `project` must be a share from -2 to 2");
    generate("--steer v.safetensors,op=rotate").fails(2, "rotate needs an angle in degrees");
    generate("--steer v.safetensors:1,gate=no.safetensors,gate.above=1").fails(3, "no.safetensors");
    generate("--steer v.safetensors:1,gate=v.safetensors,gate.above=1,gate.layer=7")
        .fails(3, "at which the gate looks");

    let file = |toml: &str, part: &str| {
        place.write("s.toml", toml);
        generate("--steering s.toml").fails(3, part).says("s.toml");
        place.run("steering check s.toml").fails(3, part).says("s.toml");
    };
    file(
        "[[steer]]\nvector = \"v.safetensors\"\nop = \"erase\"\n",
        "steer[0].op: `erase` is not an operator",
    );
    file(
        "[[steer]]\nvector = \"v.safetensors\"\nalfa = 1\n",
        "steer[0].alfa: unknown field `alfa`, expected one of",
    );
    file("[[steer]]\nvector = \"v.safetensors\"\nalpha = \"x\"\n", "steer[0].alpha: invalid type: string");
    file("[[steer]]\nalpha = 1\n", "steer[0].vector: is missing");
    file("[steer", "is not TOML");
    place.write("s.toml", "[[steer]]\nvector = \"nowhere\"\n");
    generate("--steering s.toml").fails(3, "cannot read nowhere");
    generate("--steering nowhere.toml").fails(3, "cannot read nowhere.toml");
    generate("--steering prompts.txt").fails(3, "a steering file ends in .toml or .json");

    place.write("two.toml", "[[steer]]\nvector = \"v.safetensors\"\n[[steer]]\nvector = \"v.safetensors\"\n");
    let figure =
        |flags: &str| place.run(&format!("figure --model model --prompts prompts.txt -o out {flags}"));
    figure("--steering two.toml").fails(2, "a figure draws one vector, not 2");
    figure("--steer v.safetensors,alpha=1,op=project")
        .fails(2, "the alphas of a figure are given by --alphas");
    figure("--steer v.safetensors,op=set,to=1 --alphas 0,2").fails(2, "is not a share from 0 to 1");
}
