//! Closed forms, and what other tools make of the same rows.

use super::*;
use serde_json::Value;
use std::f64::consts::PI;

/// What is rounded is the end result, once: half a unit in the last place, relative to the largest element.
const ROUNDING: f64 = 6e-8;

/// Applies an operator along `direction` to a row.
fn applied(operator: Operator, row: &[f32], direction: &[f32], keeps_norm: bool) -> Vec<f32> {
    let mut row = row.to_vec();
    operator.apply(&mut row, direction, dot(direction, direction).sqrt(), 1.0, keeps_norm);
    row
}

/// Compares what an operator makes of h = (3, 4, 0, 12), which has norm 13 and projection 3 on the first axis.
fn check(operator: Operator, want: [f64; 4]) {
    let got = applied(operator, &[3.0, 4.0, 0.0, 12.0], &[2.0, 0.0, 0.0, 0.0], false);
    for (got, want) in got.iter().zip(want) {
        assert!((f64::from(*got) - want).abs() <= 13.0 * ROUNDING, "{operator:?}: {got} for {want}");
    }
}

#[test]
fn add_adds_the_direction_as_long_as_it_is() {
    check(Operator::Add { alpha: 1.0 }, [5.0, 4.0, 0.0, 12.0]);
    check(Operator::Add { alpha: -0.5 }, [2.0, 4.0, 0.0, 12.0]);
}

#[test]
fn reach_adds_what_is_missing_and_no_more_than_alpha() {
    check(Operator::Reach { alpha: 5.0, target: 4.0 }, [4.0, 4.0, 0.0, 12.0]);
    check(Operator::Reach { alpha: 0.5, target: 4.0 }, [3.5, 4.0, 0.0, 12.0]);
    check(Operator::Reach { alpha: 5.0, target: 2.0 }, [3.0, 4.0, 0.0, 12.0]);
    check(Operator::Reach { alpha: -5.0, target: 2.0 }, [2.0, 4.0, 0.0, 12.0]);
    check(Operator::Reach { alpha: -0.5, target: 2.0 }, [2.5, 4.0, 0.0, 12.0]);
    check(Operator::Reach { alpha: -5.0, target: 4.0 }, [3.0, 4.0, 0.0, 12.0]);
}

#[test]
fn project_removes_the_component_or_a_share_of_it() {
    check(Operator::Project { alpha: 1.0 }, [0.0, 4.0, 0.0, 12.0]);
    check(Operator::Project { alpha: 0.5 }, [1.5, 4.0, 0.0, 12.0]);
    check(Operator::Project { alpha: 2.0 }, [-3.0, 4.0, 0.0, 12.0]);
    check(Operator::Project { alpha: -1.0 }, [6.0, 4.0, 0.0, 12.0]);
}

#[test]
fn cap_clamps_the_projection_and_push_raises_it() {
    let cap = |low, high| Operator::Cap { alpha: 1.0, low, high };
    check(cap(-1.0, 1.0), [1.0, 4.0, 0.0, 12.0]);
    check(cap(4.0, 9.0), [4.0, 4.0, 0.0, 12.0]);
    check(cap(2.0, 9.0), [3.0, 4.0, 0.0, 12.0]);
    check(cap(f64::NEG_INFINITY, 0.0), [0.0, 4.0, 0.0, 12.0]);
    check(Operator::Cap { alpha: 0.5, low: -1.0, high: 1.0 }, [2.0, 4.0, 0.0, 12.0]);
    check(Operator::Push { alpha: 1.0, target: 4.0 }, [4.0, 4.0, 0.0, 12.0]);
    check(Operator::Push { alpha: 0.5, target: 4.0 }, [3.5, 4.0, 0.0, 12.0]);
    check(Operator::Push { alpha: 1.0, target: 2.0 }, [3.0, 4.0, 0.0, 12.0]);
}

#[test]
fn set_gives_the_projection_a_value() {
    check(Operator::Set { alpha: 1.0, target: -7.0 }, [-7.0, 4.0, 0.0, 12.0]);
    check(Operator::Set { alpha: 0.5, target: -7.0 }, [-2.0, 4.0, 0.0, 12.0]);
    check(Operator::Set { alpha: 1.0, target: 3.0 }, [3.0, 4.0, 0.0, 12.0]);
}

#[test]
fn rotate_turns_towards_the_direction_and_never_past_it() {
    let rest = 160f64.sqrt();
    let angle = rest.atan2(3.0);
    let at = |phi: f64| {
        let r = 13.0 * phi.sin() / rest;
        [13.0 * phi.cos(), 4.0 * r, 0.0, 12.0 * r]
    };
    check(Operator::Rotate { alpha: 0.3 }, at(angle - 0.3));
    check(Operator::Rotate { alpha: -0.3 }, at(angle + 0.3));
    check(Operator::Rotate { alpha: angle - PI / 2.0 }, at(PI / 2.0));
    check(Operator::Rotate { alpha: 7.0 }, [13.0, 0.0, 0.0, 0.0]);
    check(Operator::Rotate { alpha: -7.0 }, [-13.0, 0.0, 0.0, 0.0]);
    // Along the direction there is no plane to turn in.
    let row = [-2.0, 0.0, 0.0];
    assert_eq!(applied(Operator::Rotate { alpha: 1.0 }, &row, &[1.0, 0.0, 0.0], false), row);
}

#[test]
fn keep_norm_gives_every_row_its_old_norm_back() {
    let h = [3.0f32, 4.0, 0.0, 12.0];
    let d = [0.5f32, -0.25, 1.0, 0.125];
    let operators = [
        Operator::Add { alpha: 3.0 },
        Operator::Reach { alpha: 2.0, target: 9.0 },
        Operator::Project { alpha: 1.0 },
        Operator::Cap { alpha: 1.0, low: -2.0, high: 0.5 },
        Operator::Push { alpha: 1.0, target: 6.0 },
        Operator::Rotate { alpha: 0.4 },
        Operator::Set { alpha: 1.0, target: 20.0 },
    ];
    for operator in operators {
        let (plain, kept) = (applied(operator, &h, &d, false), applied(operator, &h, &d, true));
        let norm = dot(&kept, &kept).sqrt();
        assert!((norm - 13.0).abs() <= 13.0 * 4.0 * ROUNDING, "{operator:?}: {norm}");
        let cosine = dot(&plain, &kept) / (dot(&plain, &plain).sqrt() * norm);
        assert!((cosine - 1.0).abs() <= 1e-12, "{operator:?}: {cosine}");
    }
    // What became zero has no direction to be long in.
    let gone = applied(Operator::Project { alpha: 1.0 }, &[2.0, 0.0], &[1.0, 0.0], true);
    assert_eq!(gone, [0.0, 0.0]);
}

#[test]
fn a_row_that_need_not_change_keeps_its_bits() {
    // Elements that arithmetic would round.
    let row = [0.1f32, -3.3e-30, 7.7, 1e30];
    let d = [0.3f32, 0.1, -0.2, 0.0];
    let p = dot(&row, &d) / dot(&d, &d).sqrt();
    let check = |operator| {
        for keeps_norm in [false, true] {
            assert_eq!(applied(operator, &row, &d, keeps_norm), row, "{operator:?}");
        }
    };
    check(Operator::Cap { alpha: 1.0, low: p - 1.0, high: p + 1.0 });
    check(Operator::Push { alpha: 1.0, target: p - 1.0 });
    check(Operator::Reach { alpha: 1.0, target: p - 1.0 });
    check(Operator::Reach { alpha: -1.0, target: p + 1.0 });
    check(Operator::Set { alpha: 1.0, target: p });
}

/// Compares with tests/golden/operators.json: what steering-vectors, repeng and numpy make of the same rows.
#[test]
fn operators_give_what_other_tools_give() {
    let golden: Value =
        serde_json::from_str(include_str!("../../../../../tests/golden/operators.json")).unwrap();
    let floats = |value: &Value| -> Vec<f32> {
        value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
    };
    let (direction, rows) = (floats(&golden["direction"]), golden["rows"].as_array().unwrap());
    let cases = golden["cases"].as_array().unwrap();
    assert!(cases.len() >= 14);
    for case in cases {
        let number = |name: &str| case[name].as_f64().unwrap();
        let operator = match case["operator"].as_str().unwrap() {
            "add" => Operator::Add { alpha: number("alpha") },
            "reach" => Operator::Reach { alpha: number("alpha"), target: number("target") },
            "project" => Operator::Project { alpha: number("alpha") },
            "cap" => Operator::Cap { alpha: number("alpha"), low: number("low"), high: number("high") },
            "push" => Operator::Push { alpha: number("alpha"), target: number("target") },
            "rotate" => Operator::Rotate { alpha: number("alpha") },
            "set" => Operator::Set { alpha: number("alpha"), target: number("target") },
            other => panic!("{other}"),
        };
        let keeps_norm = case["keep_norm"].as_bool().unwrap();
        for (row, want) in rows.iter().zip(case["want"].as_array().unwrap()) {
            let (got, want) = (applied(operator, &floats(row), &direction, keeps_norm), floats(want));
            let scale = want.iter().fold(0.0f32, |max, x| max.max(x.abs()));
            for (got, want) in got.iter().zip(&want) {
                // The other tools compute in f32: sums of 24 products, each rounded.
                assert!((got - want).abs() <= 2e-6 * scale, "{case}: {got} for {want}");
            }
        }
    }
}
