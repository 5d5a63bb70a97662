//! One schema, three ways to write it, and what each refuses.

use super::*;
use crate::vector::LayerMark;
use serde_json::{Map, json};
use whipstaff_engine::Position;

fn from_flag(text: &str) -> Result<SteerSpec, FieldError> {
    text.parse()
}

/// One entry, as a flag, as JSON and as TOML: all three mean the same, and so does what is written of it.
fn check(flag: &str, json: Value, toml: &str, how: Application) -> SteerSpec {
    let spec = from_flag(flag).unwrap();
    assert_eq!(spec.how, how, "{flag}");
    let in_json = SteerSpec::from_json(json!({"steer": [json]})).unwrap();
    assert_eq!(in_json, std::slice::from_ref(&spec), "{flag}");
    assert_eq!(SteerSpec::from_toml(&format!("[[steer]]\n{toml}")).unwrap(), in_json, "{toml}");
    let written = serde_json::from_str(&SteerSpec::to_json(&in_json)).unwrap();
    assert_eq!(SteerSpec::from_json(written).unwrap(), in_json, "{flag}");
    spec
}

#[test]
fn flags_json_and_toml_are_one_schema() {
    let spec = check("v", json!({"vector": "v"}), "vector = \"v\"", Application::default());
    assert_eq!((spec.amount, spec.unit, spec.layers, spec.gate), (None, None, None, None));

    let spec = check(
        "v,alpha=-0.5,unit=rms,layers=8-11,site=mlp_out,keep_norm=true",
        json!({"vector": "v", "alpha": -0.5, "unit": "rms", "layers": "8-11", "site": "mlp_out", "keep_norm": true}),
        "vector = \"v\"\nalpha = -0.5\nunit = \"rms\"\nlayers = \"8-11\"\nsite = \"mlp_out\"\nkeep_norm = true",
        Application { keeps_norm: true, site: Some(Site::MlpOut), ..Application::default() },
    );
    assert_eq!((spec.alpha(), spec.unit), (Some(-0.5), Some(Unit::Rms)));

    let spec = check(
        "v,op=cap,lo=-1,hi=0.5,scope=answer,skip_special=true,tokens=^[a-z]+$,schedule=decay:20",
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
    assert_eq!((spec.alpha(), spec.default_alpha()), (None, Ok(Some(1.0))));

    let spec = check(
        "v,gate=c,gate.layer=3,gate.score=cast,gate.below=0.25,gate.pool=last",
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
        let got = from_flag(&format!("v,{flag}")).unwrap();
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
    assert!(from_flag("v,op=rotate").unwrap().default_alpha().unwrap_err().reason.contains("degrees"));
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
    check("v,alpha=x", "alpha", "`x` is not a finite number");
    check("v,alpha=inf", "alpha", "`inf` is not a finite number");
    check("v,keep_norm=yes", "keep_norm", "neither true nor false");
    check("v,gate.layer=x", "gate.layer", "not a layer");
    check("v,op=cap,lo=1,lo=2", "lo", "given twice");
    check("v,colour=1", "colour", "unknown field");
    check("v,gate.above=1", "gate.vector", "is missing");
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

/// A field in its three forms, and what it means.
struct Piece {
    /// Begins with `:`, `@` or `,`, which is where it stands.
    short: &'static str,
    toml: &'static str,
    json: Value,
    set: fn(&mut SteerSpec),
}

fn piece(short: &'static str, toml: &'static str, json: Value, set: fn(&mut SteerSpec)) -> Piece {
    Piece { short, toml, json, set }
}

/// The fields of a spec, each with values that it may have.
fn fields() -> [Vec<Piece>; 10] {
    let range = |from, to| (LayerMark::Index(from), LayerMark::Index(to));
    assert_eq!("3,5".parse::<LayerSpec>().unwrap(), LayerSpec::List(vec![range(3, 3), range(5, 5)]));
    [
        vec![
            piece(":0.5", "alpha = 0.5", json!({"alpha": 0.5}), |it| it.amount = Some(Amount::Alpha(0.5))),
            piece(":-1e-3", "alpha = -1e-3", json!({"alpha": -0.001}), |it| {
                it.amount = Some(Amount::Alpha(-0.001));
            }),
            piece(",alpha=1", "alpha = 1", json!({"alpha": 1}), |it| it.amount = Some(Amount::Alpha(1.0))),
            piece(":0.1nat", "nats = 0.1", json!({"nats": 0.1}), |it| it.amount = Some(Amount::Nats(0.1))),
            piece(",nats=-2", "nats = -2", json!({"nats": -2}), |it| it.amount = Some(Amount::Nats(-2.0))),
        ],
        vec![
            piece(",unit=gap", "unit = 'gap'", json!({"unit": "gap"}), |it| it.unit = Some(Unit::Gap)),
            piece(",unit=rms", "unit = 'rms'", json!({"unit": "rms"}), |it| it.unit = Some(Unit::Rms)),
            piece(",unit=unit", "unit = 'unit'", json!({"unit": "unit"}), |it| it.unit = Some(Unit::Unit)),
        ],
        vec![
            piece("@8-11", "layers = '8-11'", json!({"layers": "8-11"}), |it| {
                it.layers = Some(list(&[(8, 11)]))
            }),
            piece("@3,5", "layers = [3, 5]", json!({"layers": [3, 5]}), |it| {
                it.layers = Some(list(&[(3, 3), (5, 5)]));
            }),
            piece("@-1", "layers = -1", json!({"layers": -1}), |it| it.layers = Some(list(&[(-1, -1)]))),
            piece(",layers=2,4-6", "layers = '2,4-6'", json!({"layers": "2,4-6"}), |it| {
                it.layers = Some(list(&[(2, 2), (4, 6)]));
            }),
            piece("@50%", "layers = '50%'", json!({"layers": "50%"}), |it| {
                it.layers = Some(LayerSpec::List(vec![(LayerMark::Percent(50), LayerMark::Percent(50))]));
            }),
            piece("@all", "layers = 'all'", json!({"layers": "all"}), |it| it.layers = Some(LayerSpec::All)),
            piece("@auto", "layers = 'auto'", json!({"layers": "auto"}), |it| {
                it.layers = Some(LayerSpec::Auto)
            }),
        ],
        vec![piece(",site=mlp_out", "site = 'mlp_out'", json!({"site": "mlp_out"}), |it| {
            it.how.site = Some(Site::MlpOut);
        })],
        vec![
            piece(",op=add", "op = 'add'", json!({"op": "add"}), |_| {}),
            piece(",until=2", "until = 2", json!({"until": 2}), |it| it.how.op = Op::AddUntil(2.0)),
            piece(",op=project", "op = 'project'", json!({"op": "project"}), |it| it.how.op = Op::Project),
            piece(",op=cap,lo=-1", "op = 'cap'\nlo = -1.0", json!({"op": "cap", "lo": -1}), |it| {
                it.how.op = Op::Cap { low: Some(-1.0), high: None };
            }),
            piece(
                ",lo=0,op=cap,hi=1",
                "lo = 0\nop = 'cap'\nhi = 1",
                json!({"op": "cap", "lo": 0, "hi": 1}),
                |it| {
                    it.how.op = Op::Cap { low: Some(0.0), high: Some(1.0) };
                },
            ),
            piece(",op=push,to=1.5", "op = 'push'\nto = 1.5", json!({"op": "push", "to": 1.5}), |it| {
                it.how.op = Op::Push(1.5);
            }),
            piece(",op=set,to=-1", "op = 'set'\nto = -1", json!({"op": "set", "to": -1}), |it| {
                it.how.op = Op::Set(-1.0);
            }),
            piece(",op=rotate", "op = 'rotate'", json!({"op": "rotate"}), |it| it.how.op = Op::Rotate),
            piece(",op=erase", "op = 'erase'", json!({"op": "erase"}), |_| unreachable!("it is refused")),
        ],
        vec![
            piece(",keep_norm=true", "keep_norm = true", json!({"keep_norm": true}), |it| {
                it.how.keeps_norm = true
            }),
            piece(",keep_norm=false", "keep_norm = false", json!({"keep_norm": false}), |_| {}),
        ],
        vec![
            piece(",scope=all", "scope = 'all'", json!({"scope": "all"}), |_| {}),
            piece(",scope=answer", "scope = 'answer'", json!({"scope": "answer"}), |it| {
                it.how.span = Span::Answer
            }),
            piece(",scope=-1..", "scope = '-1..'", json!({"scope": "-1.."}), |it| {
                it.how.span = Span::Window(Some(Position::BeforeAnswer(1)), None);
            }),
        ],
        vec![
            piece(
                ",tokens=^[a-z]{1,3}$",
                "tokens = '^[a-z]{1,3}$'",
                json!({"tokens": "^[a-z]{1,3}$"}),
                |it| {
                    it.how.tokens.matching = Some("^[a-z]{1,3}$".parse().unwrap());
                },
            ),
            piece(",skip_special=true", "skip_special = true", json!({"skip_special": true}), |it| {
                it.how.tokens.skips_special = true;
            }),
        ],
        vec![
            piece(",schedule=constant", "schedule = 'constant'", json!({"schedule": "constant"}), |_| {}),
            piece(",schedule=decay:20", "schedule = 'decay:20'", json!({"schedule": "decay:20"}), |it| {
                it.how.schedule = Schedule::Decay { half_life: 20.0 };
            }),
            piece(
                ",schedule=window:2..",
                "schedule = 'window:2..'",
                json!({"schedule": "window:2.."}),
                |it| {
                    it.how.schedule = Schedule::Window { from: 2, to: None };
                },
            ),
        ],
        vec![
            piece(
                ",gate=c,gate.above=0.1",
                "gate = { vector = 'c', above = 0.1 }",
                json!({"gate": {"vector": "c", "above": 0.1}}),
                |it| it.gate = Some(gate_of_c(Fires::Above(0.1))),
            ),
            piece(
                ",gate.below=1,gate.vector=c,gate.layer=3,gate.score=projection,gate.pool=last,gate.unit=rms",
                "gate = { vector = 'c', layer = 3, score = 'projection', pool = 'last', below = 1, unit = 'rms' }",
                json!({"gate": {"vector": "c", "layer": 3, "score": "projection", "pool": "last", "below": 1,
                                "unit": "rms"}}),
                |it| {
                    let (score, pool, unit) = (Score::Projection, Pool::Last, Some(Unit::Rms));
                    it.gate = Some(GateRequest {
                        layer: Some(3),
                        score,
                        pool,
                        unit,
                        ..gate_of_c(Fires::Below(1.0))
                    });
                },
            ),
        ],
    ]
}

fn list(ranges: &[(i64, i64)]) -> LayerSpec {
    let range = |(from, to): &(i64, i64)| (LayerMark::Index(*from), LayerMark::Index(*to));
    LayerSpec::List(ranges.iter().map(range).collect())
}

fn gate_of_c(fires: Fires) -> GateRequest {
    GateRequest { vector: "c".into(), layer: None, score: Score::Cosine, pool: Pool::Mean, fires, unit: None }
}

/// Pieces in their three forms mean the same, or are refused for the same reason.
fn check_pieces(pieces: &[&Piece]) {
    let mut short: Vec<&str> = pieces.iter().map(|piece| piece.short).collect();
    short.sort_by_key(|text| ":@,".find(&text[..1]));
    let short = format!("v{}", short.concat());
    let toml: String = pieces.iter().map(|piece| format!("{}\n", piece.toml)).collect();
    let mut entry = Map::from_iter([("vector".to_owned(), json!("v"))]);
    for piece in pieces {
        entry.extend(piece.json.as_object().unwrap().clone());
    }

    let spec = short.parse::<SteerSpec>();
    let alone = |specs: Result<Vec<SteerSpec>, FieldError>| match specs {
        Ok(specs) => Ok(specs.into_iter().next().unwrap()),
        Err(error) => Err(FieldError { field: error.field.replace("steer[0].", ""), ..error }),
    };
    let from_toml = alone(SteerSpec::from_toml(&format!("[[steer]]\nvector = 'v'\n{toml}")));
    let from_json = alone(SteerSpec::from_json(json!({"steer": [entry]})));
    assert_eq!(spec, from_toml, "{short}\n{toml}");
    assert_eq!(spec, from_json, "{short}");
    if let Ok(spec) = spec {
        let mut want = SteerSpec::new("v");
        pieces.iter().for_each(|piece| (piece.set)(&mut want));
        assert_eq!(spec, want, "{short}");
        let written = serde_json::from_str(&SteerSpec::to_json(std::slice::from_ref(&spec))).unwrap();
        assert_eq!(SteerSpec::from_json(written), Ok(vec![spec]), "{short}");
    }
}

#[test]
fn every_pair_of_fields_means_the_same_in_all_three_forms() {
    let fields = fields();
    for (i, values) in fields.iter().enumerate() {
        for value in values {
            check_pieces(&[value]);
            fields[i + 1..].iter().flatten().for_each(|other| check_pieces(&[value, other]));
        }
    }
}
