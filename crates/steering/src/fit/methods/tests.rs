//! Every method against other packages on the same rows.

use super::*;
use serde::Deserialize;
use std::collections::BTreeMap;

type Rows = Vec<Vec<f64>>;

/// See tools/golden/methods.py.
#[derive(Deserialize)]
struct Case {
    positives: Rows,
    negatives: Rows,
    directions: BTreeMap<String, Vec<f64>>,
    auc_of_mean: f64,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("../../../../../tests/golden/methods.json")).unwrap()
}

fn chance() -> Random {
    Random::new(0)
}

/// Both fitted in `f64`; what is left is how far the other package's solver went.
fn check(golden: &str, tolerance: f64, fit: impl Fn(&Case) -> Vec<f64>) {
    for (i, case) in cases().iter().enumerate() {
        let got = fit(case);
        let off = 1.0 - dot(&got, &case.directions[golden]);
        assert!(off.abs() <= tolerance, "{golden}, case {i}: 1 - cosine = {off:e}");
    }
}

#[test]
fn every_method_gives_the_direction_that_other_packages_give() {
    let by =
        |method: Method| move |case: &Case| method.fit(&case.positives, &case.negatives, chance()).unwrap();
    // Closed forms: rounding alone.
    check("mean", 1e-12, by(Method::Mean));
    check("pca", 1e-12, by(Method::Pca));
    check("pca-centered", 1e-12, by(Method::PcaCentered));
    check("lda", 1e-12, by(Method::Lda));
    // repeng's directions are `f32`, and so are the rows that steering-vectors fits its probe to.
    check("repeng pca_center", 1e-10, by(Method::Pca));
    check("repeng pca_diff", 1e-10, by(Method::PcaCentered));
    check("steering-vectors pca", 1e-10, by(Method::Pca));
    // Solvers that go on until they no longer gain.
    check("logistic", 1e-9, by(Method::Logistic));
    let paired = Logistic { standardise: false, intercept: false, paired: true, ..Logistic::default() };
    check("steering-vectors logistic", 1e-6, |case| {
        unit(paired.fit(&case.positives, &case.negatives).unwrap()).unwrap()
    });
}

#[test]
fn the_area_under_the_curve_is_that_of_scikit_learn() {
    for case in cases() {
        let direction = Method::Mean.fit(&case.positives, &case.negatives, chance()).unwrap();
        let along = |rows: &Rows| rows.iter().map(|row| dot(row, &direction)).collect::<Vec<_>>();
        let auc = crate::math::auc(&along(&case.positives), &along(&case.negatives));
        assert!((auc - case.auc_of_mean).abs() < 1e-12);
    }
}

#[test]
fn positives_project_higher_by_every_method_and_turn_it_round_when_swapped() {
    for case in cases() {
        for method in Method::ALL {
            let higher = |positives: &Rows, negatives: &Rows| {
                let direction = method.fit(positives, negatives, chance()).unwrap();
                assert!((dot(&direction, &direction) - 1.0).abs() < 1e-12, "{method}");
                let gap = dot(&mean_row(positives), &direction) - dot(&mean_row(negatives), &direction);
                assert!(gap >= 0.0, "{method}: {gap}");
                direction
            };
            let one = higher(&case.positives, &case.negatives);
            let other = higher(&case.negatives, &case.positives);
            assert!((dot(&one, &other) + 1.0).abs() < 1e-6, "{method}: {}", dot(&one, &other));
        }
    }
}

#[test]
fn controls_depend_on_the_seed_and_others_do_not() {
    let case = &cases()[0];
    for method in Method::ALL {
        let fit = |seed| method.fit(&case.positives, &case.negatives, Random::new(seed)).unwrap();
        assert_eq!(fit(1), fit(1), "{method}");
        assert_eq!(fit(1) != fit(2), method.is_control(), "{method}");
    }
}

#[test]
fn shuffled_labels_leave_little_of_the_mean() {
    // Differences that are all the same cancel, but for an odd one.
    let same = |x: f64| vec![vec![x, 0.0, 1.0]; 8];
    assert!(Method::Shuffled.fit(&same(1.0), &same(0.0), chance()).is_none());
}

#[test]
fn answers_that_do_not_differ_determine_no_direction() {
    let rows = vec![vec![1.0, 2.0, 3.0], vec![0.5, 2.0, 1.0]];
    for method in Method::ALL.into_iter().filter(|it| *it != Method::Random) {
        assert!(method.fit(&rows, &rows, chance()).is_none(), "{method}");
    }
}

#[test]
fn one_contrast_is_enough_for_what_needs_no_spread() {
    let check = |method: Method, want: bool| {
        let got = method.fit(&[vec![1.0, 2.0]], &[vec![0.0, 0.0]], chance());
        assert_eq!(got.is_some(), want, "{method}");
    };
    check(Method::Mean, true);
    check(Method::Pca, true);
    check(Method::PcaCentered, false);
    check(Method::Logistic, true);
    check(Method::Lda, false);
    check(Method::Random, true);
    check(Method::Shuffled, true);
}

#[test]
fn names_and_methods_belong_together() {
    for method in Method::ALL {
        assert_eq!(method.name().parse(), Ok(method));
    }
    assert!("median".parse::<Method>().unwrap_err().contains("methods: mean, pca"));
}
