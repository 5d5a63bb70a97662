//! Mixes of vectors: their sum is what their doses add, and what is not known of them is not claimed.

use std::collections::BTreeMap;
use whipstaff_engine::Site;
use whipstaff_steering::*;

/// A vector with the same direction, which need not be of norm 1, at layers 1 and 2.
fn vector(name: &str, direction: &[f32], gap: f64) -> PersonaVector {
    let norm = direction.iter().map(|x| x * x).sum::<f32>().sqrt();
    let direction: Vec<f32> = direction.iter().map(|x| x / norm).collect();
    let layer = |layer: usize| {
        let (gap, rms) = (Some(gap * layer as f64), Some(10.0));
        let it =
            LayerDirection { direction: direction.clone(), gap, rms, auc: Some(0.9), coherence: Some(0.3) };
        (layer, it)
    };
    PersonaVector {
        name: name.into(),
        layers: [1, 2].map(layer).into(),
        recommended: Some(Recommendation {
            layers: vec![1],
            alpha: 1.0,
            best_layer: 1,
            measured_on: "held".into(),
            n_contrasts: 3,
            margin: [0.1, 0.2, -0.3],
            perplexity_ratio: 1.1,
        }),
        receipt: None,
        provenance: Provenance {
            model: ModelId { name: "m".into(), weights_sha256: "ab".into(), d_model: 3, n_layers: 4 },
            site: Site::ResidPost,
            method: "mean".into(),
            tokens: "answer".into(),
            frame: FrameId { name: "f {prompt}".into(), template_sha256: None, system: None },
            contrasts: name.into(),
            contrasts_sha256: "ef".into(),
            n_contrasts: 9,
            recipe: None,
            tool: "whipstaff".into(),
        },
    }
}

/// A vector of another tool: directions as long as they are.
fn foreign(name: &str, direction: &[f32]) -> PersonaVector {
    let mut it = vector(name, direction, 1.0);
    for layer in it.layers.values_mut() {
        let direction = direction.to_vec();
        *layer = LayerDirection { direction, gap: None, rms: None, auc: None, coherence: None };
    }
    it.recommended = None;
    it.provenance.model.weights_sha256.clear();
    it
}

fn part(vector: &PersonaVector, alpha: f64, unit: Unit) -> Part<'_> {
    Part { label: vector.name.clone(), vector, sha256: format!("hash of {}", vector.name), alpha, unit }
}

fn mix(parts: &[Part<'_>], orthogonal: Option<Orthogonal>) -> Mix {
    compose("mix", parts, &shared_layers(parts).unwrap(), orthogonal, false).unwrap()
}

/// What alpha 1 of a mix adds at a layer.
fn added(mix: &Mix, layer: usize) -> Vec<f64> {
    let it = &mix.vector.layers[&layer];
    it.direction.iter().map(|x| it.gap.unwrap_or(1.0) * f64::from(*x)).collect()
}

fn near(got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?} {want:?}");
}

const X: [f32; 3] = [1.0, 0.0, 0.0];
const Y: [f32; 3] = [0.0, 1.0, 0.0];
/// At 60° from X, in its plane with Y.
const LEANING: [f32; 3] = [0.5, 0.866_025_4, 0.0];

#[test]
fn alpha_1_of_a_mix_adds_what_its_doses_add() {
    let (a, b) = (vector("a", &X, 2.0), vector("b", &LEANING, 4.0));
    let check = |[alpha, beta]: [f64; 2], unit: Unit, [u, v]: [f64; 2]| {
        let it = mix(&[part(&a, alpha, unit), part(&b, beta, unit)], None);
        let sum = [alpha * u + beta * v * 0.5, beta * v * 0.866_025_403_784_438_6, 0.0];
        near(&added(&it, 2), &sum);
        assert_eq!(it.kept[&2], [1.0, 1.0]);
        let norm = it.vector.layers[&2].direction.iter().map(|x| x * x).sum::<f32>().sqrt();
        assert!((norm - 1.0).abs() < 1e-6);
    };
    // At layer 2, a gap is twice what it is at layer 1.
    check([0.8, -0.5], Unit::Gap, [4.0, 8.0]);
    check([0.8, -0.5], Unit::Rms, [10.0, 10.0]);
    check([1.0, 2.0], Unit::Unit, [1.0, 1.0]);
}

#[test]
fn a_mix_of_one_is_that_one() {
    let a = vector("a", &LEANING, 2.0);
    for orthogonal in [None, Some(Orthogonal::Ordered), Some(Orthogonal::Symmetric)] {
        let it = mix(&[part(&a, 1.0, Unit::Gap)], orthogonal);
        for (layer, was) in &a.layers {
            let now = &it.vector.layers[layer];
            assert!(now.direction.iter().zip(&was.direction).all(|(a, b)| (a - b).abs() < 1e-6));
            near(&[now.gap.unwrap(), now.rms.unwrap()], &[was.gap.unwrap(), was.rms.unwrap()]);
        }
    }
}

#[test]
fn what_was_measured_of_other_directions_is_left_out() {
    let (a, mut b) = (vector("a", &X, 2.0), vector("b", &LEANING, 4.0));
    b.layers.get_mut(&1).unwrap().rms = Some(20.0);
    b.provenance.n_contrasts = 3;
    b.provenance.tokens = "last".into();
    b.provenance.frame.name = "none".into();
    let it = mix(&[part(&a, 1.0, Unit::Gap), part(&b, 1.0, Unit::Gap)], None).vector;
    let layer = &it.layers[&1];
    assert_eq!((it.recommended, it.receipt, layer.auc, layer.coherence), (None, None, None, None));
    // 9 contrasts of 10² and 3 of 20².
    near(&[layer.rms.unwrap()], &[175f64.sqrt()]);
    assert_eq!((it.provenance.method.as_str(), it.provenance.tokens.as_str()), ("composed", "unknown"));
    assert!(it.provenance.frame.is_unknown());
    assert_eq!((it.provenance.n_contrasts, it.provenance.contrasts.as_str()), (12, ""));
}

#[test]
fn the_file_says_what_it_was_composed_of() {
    let (a, b) = (vector("a", &X, 2.0), vector("b", &LEANING, 4.0));
    let it = mix(&[part(&a, 0.8, Unit::Gap), part(&b, -0.5, Unit::Rms)], Some(Orthogonal::Symmetric)).vector;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.safetensors");
    it.write(&path).unwrap();
    let read = PersonaVector::read(&path).unwrap();
    assert_eq!(read, it);
    let recipe = read.provenance.recipe.unwrap();
    assert_eq!(recipe.to_string(), "0.8 a (gap) − 0.5 b (rms), made orthogonal (symmetric)");
    assert_eq!(recipe.parts[1].sha256, "hash of b");
    // One that was not composed says nothing of it.
    assert!(!String::from_utf8_lossy(&a.to_bytes()).contains("recipe"));
}

#[test]
fn a_mix_with_another_tools_vector_claims_no_gap() {
    let (a, b) = (vector("a", &X, 2.0), foreign("b", &[0.0, 3.0, 0.0]));
    let it = mix(&[part(&a, 1.0, Unit::Gap), part(&b, 2.0, Unit::Unit)], None);
    assert!(it.vector.is_foreign());
    near(&added(&it, 1), &[2.0, 6.0, 0.0]);
    assert_eq!(it.vector.provenance.model.weights_sha256, "ab");
    let foreign_in_gaps = [part(&a, 1.0, Unit::Gap), part(&b, 2.0, Unit::Gap)];
    let error = compose("mix", &foreign_in_gaps, &[1], None, false).unwrap_err().to_string();
    assert_eq!(error, "vector `b`: was made by another tool and has no gap; count alpha in the unit `unit`");
}

// Orthogonal.

#[test]
fn in_order_the_first_stays_and_the_others_lose_what_it_has() {
    let (a, b) = (vector("a", &X, 1.0), vector("b", &LEANING, 1.0));
    let it = mix(&[part(&a, 1.0, Unit::Unit), part(&b, 1.0, Unit::Unit)], Some(Orthogonal::Ordered));
    // What is left of b is its height above a, not scaled up.
    near(&added(&it, 1), &[1.0, 0.866_025_403_784_438_6, 0.0]);
    near(&it.kept[&1], &[1.0, 0.866_025_403_784_438_6]);
    let other = mix(&[part(&b, 1.0, Unit::Unit), part(&a, 1.0, Unit::Unit)], Some(Orthogonal::Ordered));
    near(&other.kept[&1], &[1.0, 0.866_025_403_784_438_6]);
    // a less its half of b: (1, 0) − 0.5 · (0.5, 0.866).
    near(&added(&other, 1), &[0.5 + 0.75, 0.866_025_403_784_438_6 * 0.5, 0.0]);
}

#[test]
fn symmetrically_both_lose_alike_in_any_order() {
    let (a, b) = (vector("a", &X, 1.0), vector("b", &LEANING, 1.0));
    let parts = [part(&a, 1.0, Unit::Unit), part(&b, -1.0, Unit::Unit)];
    let it = mix(&parts, Some(Orthogonal::Symmetric));
    // The axes are 15° outside of the two directions, which are 60° apart.
    let kept = 15f64.to_radians().cos();
    near(&it.kept[&1], &[kept, kept]);
    let axis = |degrees: f64| [degrees.to_radians().cos(), degrees.to_radians().sin()];
    let (first, second) = (axis(-15.0), axis(75.0));
    near(&added(&it, 1), &[kept * (first[0] - second[0]), kept * (first[1] - second[1]), 0.0]);
    let [one, other] = parts;
    near(&added(&mix(&[other, one], Some(Orthogonal::Symmetric)), 1), &added(&it, 1));
}

#[test]
fn orthogonal_directions_are_left_as_they_are() {
    let (a, b) = (vector("a", &X, 1.0), vector("b", &Y, 3.0));
    let parts = [part(&a, 0.5, Unit::Gap), part(&b, -0.25, Unit::Gap)];
    for orthogonal in [Orthogonal::Ordered, Orthogonal::Symmetric] {
        let it = mix(&parts, Some(orthogonal));
        near(&it.kept[&2], &[1.0, 1.0]);
        near(&added(&it, 2), &added(&mix(&parts, None), 2));
    }
}

#[test]
fn cosines_are_of_directions_whatever_their_lengths() {
    let (a, mut b) = (vector("a", &X, 1.0), foreign("b", &[1.0, 1.732_050_8, 0.0]));
    b.layers.get_mut(&2).unwrap().direction = vec![-7.0, 0.0, 0.0];
    let found = Cosines::of(&[part(&a, 0.0, Unit::Gap), part(&b, 9.0, Unit::Unit)], &[1, 2]).unwrap();
    let want = BTreeMap::from([(1, 0.5), (2, -1.0)]);
    for (layer, want) in want {
        near(&found.layers[&layer].concat(), &[1.0, want, want, 1.0]);
    }
    near(&found.overall().concat(), &[1.0, -0.25, -0.25, 1.0]);
}

// Refusals.

#[test]
fn vectors_that_do_not_belong_together_are_refused_by_name() {
    let a = vector("a", &X, 1.0);
    let check = |change: fn(&mut PersonaVector), want: &str| {
        let mut b = vector("b", &LEANING, 1.0);
        change(&mut b);
        let error = shared_layers(&[part(&a, 1.0, Unit::Gap), part(&b, 1.0, Unit::Gap)]).unwrap_err();
        assert!(error.to_string().starts_with(&format!("vector {want}")), "{error}");
    };
    check(|b| b.provenance.model.weights_sha256 = "cd".into(), "`b`: was made on other weights");
    check(|b| b.provenance.model.d_model = 5, "`b`: has d_model 5 (`m`), but `a` has 3 (`m`)");
    check(|b| b.provenance.site = Site::MlpOut, "`b`: acts on mlp_out, but `a` on resid_post");
    check(
        |b| b.layers = [(3, b.layers[&1].clone())].into(),
        "`a`: has no layer in common with the others: `a` 1-2, `b` 3",
    );
}

#[test]
fn a_mix_that_cannot_be_is_refused_with_its_layer() {
    let (a, b, c) = (vector("a", &X, 1.0), vector("b", &X, 1.0), vector("c", &LEANING, 1.0));
    let check = |parts: &[Part<'_>], layers: &[usize], orthogonal: Option<Orthogonal>, want: &str| {
        let error = compose("mix", parts, layers, orthogonal, false).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    };
    let gap = |vector, alpha| part(vector, alpha, Unit::Gap);
    check(&[gap(&a, 1.0), gap(&b, -1.0)], &[2], None, "`a`: and the others cancel at layer 2");
    check(&[gap(&a, 0.0), gap(&b, 0.0)], &[1], None, "cancel at layer 1");
    check(&[gap(&a, 1.0)], &[3], None, "`a`: has no direction for layer 3 (it has 1-2)");
    check(&[gap(&a, f64::NAN)], &[1], None, "alpha NaN is not a finite number");
    check(&[gap(&a, 1e300)], &[1], None, "too large");
    for orthogonal in [Some(Orthogonal::Ordered), Some(Orthogonal::Symmetric)] {
        let parallel = [gap(&a, 1.0), gap(&c, 1.0), gap(&b, 1.0)];
        check(&parallel, &[1], orthogonal, "`b`: says nothing at layer 1 that the others do not say");
    }
    check(&[], &[1], None, "no vector");
}

/// CAA's `normalize_vectors.py`: at every layer, `v_b · mean over behaviours of |v| / |v_b|`.
#[test]
fn behaviours_of_one_norm_are_those_of_caa() {
    let mut behaviours = [
        vector("refusal", &[3.0, 4.0, 0.0], 2.0),
        vector("myopia", &[0.0, 1.0, 1.0], 7.0),
        vector("ai", &[1.0; 3], 0.3),
    ];
    let raw = |it: &PersonaVector, layer: usize| -> Vec<f64> {
        let it = &it.layers[&layer];
        it.direction.iter().map(|x| it.gap.unwrap() * f64::from(*x)).collect()
    };
    let norm = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
    let before = behaviours.clone();
    same_gaps(&mut behaviours).unwrap();
    for layer in [1, 2] {
        let mean = before.iter().map(|it| norm(&raw(it, layer))).sum::<f64>() / 3.0;
        for (before, after) in before.iter().zip(&behaviours) {
            let want: Vec<f64> =
                raw(before, layer).iter().map(|x| x * mean / norm(&raw(before, layer))).collect();
            for (got, want) in raw(after, layer).iter().zip(&want) {
                // Directions are `f32`: their norm is 1 to its rounding.
                assert!((got - want).abs() < 1e-6, "layer {layer}: {got} {want}");
            }
        }
    }
    let error =
        same_gaps(&mut [vector("a", &[1.0; 3], 1.0), foreign("b", &[1.0; 3])]).unwrap_err().to_string();
    assert!(error.contains("`b`") && error.contains("gap"), "{error}");
}
