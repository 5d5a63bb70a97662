//! The findings of a study as figures.

use super::{Curve, Findings, MethodRow, PromptRow};
use crate::figure::{DepthLine, DepthPanel, DepthPlot, IntervalGroup, IntervalRow, Intervals};
use crate::{ArmKind, Effect, Method};

const EFFECT: &str = "effect: how far the margin of positive over negative answers moves, nats per token";

impl Findings {
    /// The methods side by side, a group for each pair.
    pub fn methods_figure(&self) -> Intervals {
        let row = |it: &MethodRow| IntervalRow {
            name: it.method.name().into(),
            series: self.series_of(it.method),
            value: it.judged.effect,
            interval: it.judged.interval,
            note: format!("{} · {} right", layers_text(&it.layers), percent(it.judged.right_way)),
        };
        let same_pair = |a: &MethodRow, b: &MethodRow| a.model == b.model && a.persona == b.persona;
        let group = |rows: &[MethodRow]| IntervalGroup {
            title: self.pair_name(&rows[0].model, &rows[0].persona),
            rows: rows.iter().map(row).collect(),
        };
        Intervals {
            title: "Methods at equal cost".into(),
            subtitle: self.subtitle(
                "each at its best layer, picked on one half of the held-out contrasts and measured on the other · 95 % \
                 intervals",
            ),
            x_title: EFFECT.into(),
            groups: self.rows.chunk_by(same_pair).map(group).collect(),
        }
    }

    /// Effect against depth, a panel for each method.
    pub fn depth_figure(&self) -> DepthPlot {
        let depth = |it: &Curve, layer: usize| layer as f64 / it.n_layers as f64;
        let line = |(i, it): (usize, &Curve)| DepthLine {
            name: self.pair_name(&it.model, &it.persona),
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
        let rule = self.depth.map_or(String::new(), |it| {
            format!(" · dashed: the depth that serves all best, {:.2}", it.common)
        });
        DepthPlot {
            title: "Where to inject, at equal cost".into(),
            subtitle: self.subtitle(&format!(
                "one layer at a time, all held-out contrasts · large dots: the layer that is picked{rule}"
            )),
            y_title: "effect, nats per token".into(),
            rule: self.depth.map(|it| it.common),
            panels: self.curves.chunk_by(|a, b| a.method == b.method).map(panel).collect(),
        }
    }

    /// Steering, prompting and random directions, a group for each pair.
    pub fn prompting_figure(&self) -> Intervals {
        let row = |name: String, series: usize, it: &Effect, note: String| IntervalRow {
            name,
            series,
            value: it.mean,
            interval: it.interval,
            note,
        };
        let group = |it: &PromptRow| {
            let steering = format!("steering by {}", it.method);
            let note = format!("{} · {}", layers_text(&it.layers), it.verdict);
            let mut rows = vec![row(steering, 0, &it.steering, note)];
            if let Some((kind, effect)) = &it.prompting {
                rows.push(row("prompting".into(), 1, effect, asked(*kind).into()));
            }
            if let Some(effect) = &it.random {
                rows.push(row("random directions".into(), 5, effect, String::new()));
            }
            IntervalGroup { title: self.pair_name(&it.model, &it.persona), rows }
        };
        Intervals {
            title: "Steering against prompting".into(),
            subtitle: self.subtitle(
                "the best dose, measured on the half of the held-out contrasts that it was not picked on · 95 % intervals",
            ),
            x_title: EFFECT.into(),
            groups: self.prompting.iter().map(group).collect(),
        }
    }

    /// What a pair is called: its model is said where there are several.
    pub(crate) fn pair_name(&self, model: &str, persona: &str) -> String {
        if self.has_one_model() { persona.to_owned() } else { format!("{persona} · {model}") }
    }

    fn has_one_model(&self) -> bool {
        self.curves.windows(2).all(|it| it[0].model == it[1].model)
    }

    fn subtitle(&self, what: &str) -> String {
        let model = self.curves.first().filter(|_| self.has_one_model()).map(|it| format!("{} · ", it.model));
        format!(
            "{}every dose costs {} nats per token on neutral text · {what}",
            model.unwrap_or_default(),
            self.kl
        )
    }

    fn series_of(&self, method: Method) -> usize {
        self.methods.iter().position(|it| *it == method).unwrap_or(0)
    }
}

/// How a model was asked for the persona.
pub(crate) fn asked(kind: ArmKind) -> &'static str {
    match kind {
        ArmKind::Shown => "shown two answers",
        _ => "asked in words",
    }
}

/// "layer 3", "layers 1–4", "layers 1, 3".
pub(crate) fn layers_text(layers: &[usize]) -> String {
    match layers {
        [one] => format!("layer {one}"),
        [first, .., last] if last - first + 1 == layers.len() => format!("layers {first}–{last}"),
        many => format!("layers {}", many.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
    }
}

/// A share as whole per cent.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}
