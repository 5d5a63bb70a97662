//! Findings of made-up numbers, for tests.

use whipstaff_steering::study::{Curve, Depth, Findings, Judged, MethodRow, PromptRow};
use whipstaff_steering::{ArmKind, Divergence, Effect, Method, Verdict};

/// Two methods and two personas on one model: `formal` does more than prompting, `verbose` less.
pub(crate) fn findings() -> Findings {
    let personas = ["formal", "verbose"];
    let methods = [Method::Mean, Method::Pca];
    let rows = personas.iter().flat_map(|persona| {
        let beyond = if *persona == "formal" { (-0.4, [-0.42, -0.38]) } else { (-0.01, [-0.03, 0.01]) };
        [method_row(persona, Method::Mean, None), method_row(persona, Method::Pca, Some(beyond))]
    });
    let curves = methods.iter().flat_map(|method| personas.map(|persona| curve(persona, *method)));
    Findings {
        kl: 0.1,
        methods: methods.to_vec(),
        rows: rows.collect(),
        curves: curves.collect(),
        depth: Some(Depth { common: 0.5, share: 0.88, own: [0.5, 0.75] }),
        prompting: vec![
            prompt_row("formal", [0.5, 0.7], Some([0.2, 0.4])),
            prompt_row("verbose", [0.3, 0.5], Some([0.6, 1.0])),
        ],
    }
}

fn method_row(persona: &str, method: Method, beyond_first: Option<(f64, [f64; 2])>) -> MethodRow {
    let effect = if persona == "formal" { 0.6 } else { 0.4 };
    MethodRow {
        model: "m".into(),
        persona: persona.into(),
        method,
        layers: if method == Method::Mean { vec![2] } else { vec![1, 2, 3] },
        alpha: 1.25,
        judged: Judged { effect, interval: Some([effect - 0.1, effect + 0.1]), right_way: 0.9375 },
        beyond_first,
        halves: (method == Method::Mean).then_some(0.9),
        cost: [0.1, 0.11].map(|kl| Divergence { kl, perplexity_ratio: 1.0 + kl }),
    }
}

fn curve(persona: &str, method: Method) -> Curve {
    Curve {
        model: "m".into(),
        persona: persona.into(),
        method,
        n_layers: 4,
        points: vec![(0, Some(-0.1)), (1, Some(0.2)), (2, Some(0.6)), (3, None)],
        picked: (persona == "formal").then_some(2),
    }
}

/// Steering and prompting with these intervals.
pub(crate) fn prompt_row(persona: &str, steering: [f64; 2], prompting: Option<[f64; 2]>) -> PromptRow {
    let effect = |[low, high]: [f64; 2]| {
        let mean = (low + high) / 2.0;
        Effect { plus: mean, minus: Some(-mean), mean, interval: Some([low, high]), wrong_way: 0.0 }
    };
    PromptRow {
        model: "m".into(),
        persona: persona.into(),
        method: Method::Mean,
        layers: vec![2],
        alpha: 1.25,
        steering: effect(steering),
        prompting: prompting.map(|it| (ArmKind::Shown, effect(it))),
        random: Some(effect([-0.02, 0.02])),
        answer_perplexity: 1.2,
        verdict: Verdict::Works,
    }
}
