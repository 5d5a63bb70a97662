//! One schema, three ways to write it, and what each refuses.

use super::*;
use serde_json::json;
use whipstaff_engine::{Position, Schedule, Site, Span};

fn from_flag(text: &str) -> Result<SteerSpec, FieldError> {
    SteerSpec::from_pairs(text.split(',').map(|pair| pair.split_once('=').unwrap()))
}

/// One entry, as a flag, as JSON and as TOML: all three mean the same, and so does what is written of it.
fn check(flag: &str, json: Value, toml: &str, how: Application) -> SteerSpec {
    let spec = from_flag(flag).unwrap();
    assert_eq!(spec.how, how, "{flag}");
    let in_json = SteerSpec::from_json(json!({"steer": [json]})).unwrap();
    assert_eq!(in_json, std::slice::from_ref(&spec), "{flag}");
    let in_toml: Value = toml::from_str(&format!("[[steer]]\n{toml}")).unwrap();
    assert_eq!(SteerSpec::from_json(in_toml).unwrap(), in_json, "{toml}");
    let written = serde_json::from_str(&SteerSpec::to_json(&in_json)).unwrap();
    assert_eq!(SteerSpec::from_json(written).unwrap(), in_json, "{flag}");
    spec
}

#[test]
fn flags_json_and_toml_are_one_schema() {
    let spec = check("vector=v", json!({"vector": "v"}), "vector = \"v\"", Application::default());
    assert_eq!((spec.alpha, spec.unit, spec.layers, spec.gate), (None, None, None, None));

    let spec = check(
        "vector=v,alpha=-0.5,unit=rms,layers=8-11,site=mlp_out,keep_norm=true",
        json!({"vector": "v", "alpha": -0.5, "unit": "rms", "layers": "8-11", "site": "mlp_out", "keep_norm": true}),
        "vector = \"v\"\nalpha = -0.5\nunit = \"rms\"\nlayers = \"8-11\"\nsite = \"mlp_out\"\nkeep_norm = true",
        Application { keeps_norm: true, site: Some(Site::MlpOut), ..Application::default() },
    );
    assert_eq!((spec.alpha, spec.unit), (Some(-0.5), Some(Unit::Rms)));

    let spec = check(
        "vector=v,op=cap,lo=-1,hi=0.5,scope=answer,skip_special=true,tokens=^[a-z]+$,schedule=decay:20",
        json!({"vector": "v", "op": "cap", "lo": -1, "hi": 0.5, "scope": "answer", "skip_special": true,
               "tokens": "^[a-z]+$", "schedule": "decay:20"}),
        "vector = \"v\"\nop = \"cap\"\nlo = -1.0\nhi = 0.5\nscope = \"answer\"\nskip_special = true\n\
         tokens = '^[a-z]+$'\nschedule = \"decay:20\"",
        Application {
            op: Op::Cap { low: Some(-1.0), high: Some(0.5) },
            span: Span::Answer,
            tokens: TokenFilter { skips_special: true, matching: Some("^[a-z]+$".parse().unwrap()) },
            schedule: Schedule::Decay { half_life: 20.0 },
            ..Application::default()
        },
    );
    assert_eq!((spec.alpha, spec.default_alpha()), (None, Ok(Some(1.0))));

    let spec = check(
        "vector=v,gate=c,gate.layer=3,gate.score=cast,gate.below=0.25,gate.pool=last",
        json!({"vector": "v", "gate": {"vector": "c", "layer": 3, "score": "cast", "below": 0.25, "pool": "last"}}),
        "vector = \"v\"\ngate = { vector = \"c\", layer = 3, score = \"cast\", below = 0.25, pool = \"last\" }",
        Application::default(),
    );
    let gate = spec.gate.unwrap();
    assert_eq!((gate.layer, gate.score, gate.pool), (Some(3), Score::Cast, Pool::Last));
    assert_eq!(gate.fires, Fires::Below(0.25));
}

#[test]
fn operators_scopes_and_schedules_are_written_as_they_are_read() {
    let check = |flag: &str, how: Application| {
        let text = flag.split(',').map(|pair| pair.split_once('=').unwrap());
        let fields = text.map(|(key, value)| match value.parse::<f64>() {
            Ok(x) => (key.to_owned(), json!(x)),
            Err(_) => (key.to_owned(), json!(value)),
        });
        let entry: Map<String, Value> = fields.chain([("vector".into(), json!("v"))]).collect();
        let got = from_flag(&format!("vector=v,{flag}")).unwrap();
        assert_eq!(got.how, how, "{flag}");
        let written: Value = serde_json::from_str(&SteerSpec::to_json(std::slice::from_ref(&got))).unwrap();
        for (key, value) in entry {
            assert_eq!(written["steer"][0][&key], value, "{flag}: {key}");
        }
    };
    let op = |op| Application { op, ..Application::default() };
    check("until=2", op(Op::AddUntil(2.0)));
    check("op=project", op(Op::Project));
    check("op=cap,hi=0", op(Op::Cap { low: None, high: Some(0.0) }));
    check("op=push,to=1.5", op(Op::Push(1.5)));
    check("op=rotate,alpha=20", op(Op::Rotate));
    assert!(from_flag("vector=v,op=rotate").unwrap().default_alpha().unwrap_err().reason.contains("degrees"));
    check("op=set,to=-1", op(Op::Set(-1.0)));
    let span = |span| Application { span, ..Application::default() };
    check("scope=prompt", span(Span::Prompt));
    check("scope=3..9", span(Span::Window(Some(Position::At(3)), Some(Position::At(9)))));
    check("scope=-1..", span(Span::Window(Some(Position::BeforeAnswer(1)), None)));
    check("scope=..-2", span(Span::Window(None, Some(Position::BeforeAnswer(2)))));
    let schedule = |schedule| Application { schedule, ..Application::default() };
    check("schedule=ramp:8", schedule(Schedule::Ramp { tokens: 8.0 }));
    check("schedule=window:2..", schedule(Schedule::Window { from: 2, to: None }));
    check("schedule=window:0..5", schedule(Schedule::Window { from: 0, to: Some(5) }));
}

#[test]
fn layers_may_be_text_a_number_or_numbers() {
    let check = |value: Value, want: &str| {
        let specs = SteerSpec::from_json(json!({"steer": [{"vector": "v", "layers": value}]})).unwrap();
        assert_eq!(specs[0].layers.as_ref().unwrap().to_string(), want);
    };
    check(json!("8-11"), "8-11");
    check(json!("25%-75%,-1"), "25%-75%,-1");
    check(json!(-1), "-1");
    check(json!([3, 5]), "3,5");
    check(json!("auto"), "auto");
}

/// An entry that is refused: at this field, for this reason.
fn refused(entry: Value, field: &str, part: &str) {
    let error = SteerSpec::from_json(json!({"steer": [{"vector": "v"}, entry]})).unwrap_err();
    assert_eq!(error.field, format!("steer[1].{field}").trim_end_matches('.'), "{error}");
    assert!(error.reason.contains(part), "{error}");
}

#[test]
fn what_is_wrong_is_refused_with_the_field_and_what_is_allowed() {
    refused(
        json!({"vector": "v", "colour": 1}),
        "colour",
        "unknown field `colour`, expected one of `vector`",
    );
    refused(json!({"vector": "v", "alpha": "much"}), "alpha", "expected f64");
    refused(json!({"alpha": 1}), "vector", "is missing");
    refused(json!({"vector": "v", "op": "erase"}), "op", "operators: add, project, cap, push, rotate, set");
    refused(json!({"vector": "v", "op": "cap"}), "lo", "needs lo, hi or both");
    refused(json!({"vector": "v", "op": "cap", "lo": 2, "hi": 1}), "lo", "greater than hi");
    refused(json!({"vector": "v", "op": "push"}), "to", "needs a projection");
    refused(json!({"vector": "v", "op": "push", "lo": 1}), "lo", "is a number of cap, not of push");
    refused(json!({"vector": "v", "to": 1}), "to", "is a number of push and set, not of add");
    refused(json!({"vector": "v", "op": "project", "until": 1}), "until", "is a number of add");
    refused(json!({"vector": "v", "op": "rotate", "alpha": 200}), "alpha", "-180 to 180");
    refused(json!({"vector": "v", "op": "set", "to": 1, "alpha": -1}), "alpha", "share from 0 to 1");
    refused(json!({"vector": "v", "op": "project", "alpha": 3}), "alpha", "share from -2 to 2");
    refused(json!({"vector": "v", "unit": "nat"}), "unit", "units: gap, rms, unit");
    refused(json!({"vector": "v", "layers": "1;2"}), "layers", "write 8 or 8,10");
    refused(json!({"vector": "v", "layers": {}}), "layers", "must be text");
    refused(json!({"vector": "v", "site": "middle"}), "site", "sites: resid_pre");
    for scope in ["everywhere", "3", "5..3", "-1..-3", "-0..", "a..b", "1..2..3"] {
        refused(json!({"vector": "v", "scope": scope}), "scope", "");
    }
    for schedule in
        ["slow", "decay", "decay:0", "ramp:-1", "ramp:inf", "window:3", "window:3..3", "constant:1"]
    {
        refused(json!({"vector": "v", "schedule": schedule}), "schedule", "");
    }
    refused(json!({"vector": "v", "tokens": "("}), "tokens", "not a regular expression");
    refused(json!({"vector": "v", "tokens": "(a{1000}){1000}"}), "tokens", "not a regular expression");
    let gate = |gate: Value| json!({"vector": "v", "gate": gate});
    refused(gate(json!({"above": 1})), "gate.vector", "is missing");
    refused(gate(json!({"vector": "c"})), "gate.above", "needs a threshold, above or below");
    refused(gate(json!({"vector": "c", "above": 1, "below": 2})), "gate.below", "either");
    refused(gate(json!({"vector": "c", "above": 1, "score": "x"})), "gate.score", "cosine, projection, cast");
    refused(gate(json!({"vector": "c", "above": 1, "pool": "x"})), "gate.pool", "neither mean nor last");
    refused(gate(json!({"vector": "c", "above": 1, "unit": "gap"})), "gate.unit", "score = projection");
    refused(gate(json!({"vector": "c", "above": 1, "layer": -1})), "gate.layer", "expected usize");
    refused(gate(json!({"vector": "c", "abov": 1})), "gate.abov", "expected one of");
}

#[test]
fn flags_are_refused_like_fields() {
    let check = |flag: &str, field: &str, part: &str| {
        let error = from_flag(flag).unwrap_err();
        assert!(error.field == field && error.reason.contains(part), "{flag}: {error:?}");
    };
    check("vector=v,alpha=x", "alpha", "`x` is not a finite number");
    check("vector=v,alpha=inf", "alpha", "`inf` is not a finite number");
    check("vector=v,keep_norm=yes", "keep_norm", "neither true nor false");
    check("vector=v,gate.layer=x", "gate.layer", "not a layer");
    check("vector=v,op=cap,lo=1,lo=2", "lo", "given twice");
    check("vector=v,colour=1", "colour", "unknown field");
    check("vector=v,gate.above=1", "gate.vector", "is missing");
}

#[test]
fn a_file_names_vectors_relative_to_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let toml =
        write("s.toml", "[[steer]]\nvector = \"v.safetensors\"\ngate = { vector = \"/c\", above = 0.1 }\n");
    let specs = SteerSpec::read(&toml).unwrap();
    assert_eq!(specs[0].vector, dir.path().join("v.safetensors"));
    assert_eq!(specs[0].gate.as_ref().unwrap().vector, Path::new("/c"));
    let check = |name: &str, text: &str, part: &str| {
        let path = write(name, text);
        let error = SteerSpec::read(&path).unwrap_err().to_string();
        assert!(error.starts_with(&path.display().to_string()) && error.contains(part), "{error}");
    };
    check("s.yaml", "", "ends in .toml or .json");
    check("s.toml", "steer = ", "is not TOML");
    check("s.json", "{", "is not JSON");
    check("s.json", "{}", "missing field `steer`");
    check("s.json", r#"{"steer": [], "more": 1}"#, "more: unknown field `more`");
    check("s.toml", "[[steer]]\nvector = \"v\"\nalpha = nan\n", "steer[0].alpha: must be a finite number");
    check("s.toml", "[[steer]]\nvector = \"v\"\nop = \"cap\"\nhi = inf\n", "steer[0].hi: must be a finite");
    assert!(matches!(SteerSpec::read(&dir.path().join("no.toml")), Err(Error::Read { .. })));
}
