//! The findings of a study as figures.

use crate::words::{layers_in_words, percent};
use whipstaff_figures::{DepthLine, DepthPanel, DepthPlot, IntervalGroup, IntervalRow, Intervals};
use whipstaff_steering::study::{Curve, Findings, MethodRow, PromptRow};
use whipstaff_steering::{ArmKind, Effect, Method};

const EFFECT: &str = "effect: how far the margin of positive over negative answers moves, nats per token";

/// Draws the methods side by side, a group for each pair.
pub fn methods_figure(findings: &Findings) -> Intervals {
    let row = |it: &MethodRow| IntervalRow {
        name: it.method.name().into(),
        series: series_of(findings, it.method),
        value: it.judged.effect,
        interval: it.judged.interval,
        note: format!("{} · {} right", layers_in_words(&it.layers), percent(it.judged.right_way)),
    };
    let same_pair = |a: &MethodRow, b: &MethodRow| a.model == b.model && a.persona == b.persona;
    let group = |rows: &[MethodRow]| IntervalGroup {
        title: pair_name(findings, &rows[0].model, &rows[0].persona),
        rows: rows.iter().map(row).collect(),
    };
    Intervals {
        title: "Methods at equal cost".into(),
        subtitle: subtitle(
            findings,
            "each at its best layer, picked on one half of the held-out contrasts and measured on the other · 95 % \
             intervals",
        ),
        x_title: EFFECT.into(),
        groups: findings.rows.chunk_by(same_pair).map(group).collect(),
    }
}

/// Draws effect against depth, a panel for each method.
pub fn depth_figure(findings: &Findings) -> DepthPlot {
    let depth = |it: &Curve, layer: usize| layer as f64 / it.n_layers as f64;
    let line = |(i, it): (usize, &Curve)| DepthLine {
        name: pair_name(findings, &it.model, &it.persona),
        series: i,
        points: it
            .points
            .iter()
            .map(|(layer, effect)| (depth(it, *layer), effect.unwrap_or(f64::NAN)))
            .collect(),
        marked: it.picked.map(|layer| depth(it, layer)),
    };
    let panel = |curves: &[Curve]| DepthPanel {
        title: format!("method {}", curves[0].method),
        lines: curves.iter().enumerate().map(line).collect(),
    };
    let rule = findings
        .depth
        .map_or(String::new(), |it| format!(" · dashed: the depth that serves all best, {:.2}", it.common));
    DepthPlot {
        title: "Where to inject, at equal cost".into(),
        subtitle: subtitle(
            findings,
            &format!(
                "one layer at a time, all held-out contrasts · large dots: the layer that is picked{rule}"
            ),
        ),
        y_title: "effect, nats per token".into(),
        rule: findings.depth.map(|it| it.common),
        panels: findings.curves.chunk_by(|a, b| a.method == b.method).map(panel).collect(),
    }
}

/// Draws steering, prompting and random directions, a group for each pair.
pub fn prompting_figure(findings: &Findings) -> Intervals {
    let row = |name: String, series: usize, it: &Effect, note: String| IntervalRow {
        name,
        series,
        value: it.mean,
        interval: it.interval,
        note,
    };
    let group = |it: &PromptRow| {
        let steering = format!("steering by {}", it.method);
        let note = format!("{} · {}", layers_in_words(&it.layers), it.verdict);
        let mut rows = vec![row(steering, 0, &it.steering, note)];
        if let Some((kind, effect)) = &it.prompting {
            rows.push(row("prompting".into(), 1, effect, asked(*kind).into()));
        }
        if let Some(effect) = &it.random {
            rows.push(row("random directions".into(), 5, effect, String::new()));
        }
        IntervalGroup { title: pair_name(findings, &it.model, &it.persona), rows }
    };
    Intervals {
        title: "Steering against prompting".into(),
        subtitle: subtitle(
            findings,
            "the best dose, measured on the half of the held-out contrasts that it was not picked on · 95 % intervals",
        ),
        x_title: EFFECT.into(),
        groups: findings.prompting.iter().map(group).collect(),
    }
}

/// Returns the name of a pair, with its model where there are several.
pub(crate) fn pair_name(findings: &Findings, model: &str, persona: &str) -> String {
    if has_one_model(findings) { persona.to_owned() } else { format!("{persona} · {model}") }
}

fn has_one_model(findings: &Findings) -> bool {
    findings.curves.windows(2).all(|it| it[0].model == it[1].model)
}

fn subtitle(findings: &Findings, what: &str) -> String {
    let model =
        findings.curves.first().filter(|_| has_one_model(findings)).map(|it| format!("{} · ", it.model));
    format!(
        "{}every dose costs {} nats per token on neutral text · {what}",
        model.unwrap_or_default(),
        findings.kl
    )
}

fn series_of(findings: &Findings, method: Method) -> usize {
    findings.methods.iter().position(|it| *it == method).unwrap_or(0)
}

/// Says how a model was asked for the persona.
pub(crate) fn asked(kind: ArmKind) -> &'static str {
    match kind {
        ArmKind::Shown => "shown two answers",
        _ => "asked in words",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study_sample::findings;

    #[test]
    fn each_figure_has_a_group_or_panel_for_what_it_compares() {
        let it = findings();
        let titles = |figure: &Intervals| figure.groups.iter().map(|it| it.title.clone()).collect::<Vec<_>>();
        assert_eq!(titles(&methods_figure(&it)), ["formal", "verbose"]);
        assert_eq!(titles(&prompting_figure(&it)), ["formal", "verbose"]);
        let depth = depth_figure(&it);
        assert_eq!(
            depth.panels.iter().map(|it| it.title.as_str()).collect::<Vec<_>>(),
            ["method mean", "method pca"]
        );
        assert!(depth.panels[0].lines[0].points[3].1.is_nan(), "no dose is a gap in the line");
        assert_eq!(methods_figure(&it).groups[0].rows[1].note, "layers 1–3 · 94 % right");
    }

    #[test]
    fn models_are_named_where_there_are_several() {
        let mut it = findings();
        assert_eq!(pair_name(&it, "m", "formal"), "formal");
        it.curves[0].model = "other".into();
        assert_eq!(pair_name(&it, "m", "formal"), "formal · m");
    }
}
