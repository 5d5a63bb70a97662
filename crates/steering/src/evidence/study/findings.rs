//! The findings of a study: methods side by side, one depth for all, steering compared against prompting.

use super::pair::{DoseOutcome, Judged, Pair, StudyCell, best};
use crate::evidence::sweep::picks_on;
use crate::fit::Method;
use crate::math::{RESAMPLES, Random, interval_of_mean, mean};
use crate::measure::Divergence;
use crate::vector::{ArmKind, Effect, Verdict};

/// The answers to the three questions of a study.
#[derive(Clone, Debug, PartialEq)]
pub struct Findings {
    /// The cost of every dose, in nats per token.
    pub kl: f64,
    /// The methods, in the order of the plan; the others are compared against the first.
    pub methods: Vec<Method>,
    /// Each method on each pair, pairs outermost; methods without a dose are left out.
    pub rows: Vec<MethodRow>,
    /// Effect by layer, methods outermost.
    pub curves: Vec<Curve>,
    /// The depth that serves all curves best; `None` without an effect to share.
    pub depth: Option<Depth>,
    /// The best dose of each pair, compared against prompting.
    pub prompting: Vec<PromptRow>,
}

/// The best layers of a method for a pair, picked on one half of the held-out contrasts and judged on the other.
#[derive(Clone, Debug, PartialEq)]
pub struct MethodRow {
    /// The model.
    pub model: String,
    /// The persona.
    pub persona: String,
    /// The method.
    pub method: Method,
    /// The layers that are injected.
    pub layers: Vec<usize>,
    /// The alpha, in units of the gap.
    pub alpha: f64,
    /// The effect on the other half.
    pub judged: Judged,
    /// The paired difference from the first method on those contrasts, with its 95 % interval; `None` for the first
    /// method itself or too few contrasts.
    pub beyond_first: Option<(f64, [f64; 2])>,
    /// The agreement of two halves of the training set, as [`StudyCell::halves`].
    pub halves: Option<f64>,
    /// The divergence of +alpha and of −alpha on neutral texts.
    pub cost: [Divergence; 2],
}

/// The effect of a method on a pair, by layer, on all held-out contrasts.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// The model.
    pub model: String,
    /// The persona.
    pub persona: String,
    /// The method.
    pub method: Method,
    /// The number of blocks of the model.
    pub n_layers: usize,
    /// The layers, ascending, and the effect in nats per token, `None` where there is no dose.
    pub points: Vec<(usize, Option<f64>)>,
    /// The layer that was picked.
    pub picked: Option<usize>,
}

/// One depth for all curves of a study.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Depth {
    /// The depth (layer over number of layers) that was picked on one half of the contrasts.
    pub common: f64,
    /// The effect of all curves at that depth, on the other half, as a share of their effect at their own picked layers.
    pub share: f64,
    /// The least and the greatest depth of the picked layers.
    pub own: [f64; 2],
}

/// The best dose of a pair, compared against asking for the persona, on the half that the dose was not picked on.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptRow {
    /// The model.
    pub model: String,
    /// The persona.
    pub persona: String,
    /// The method that fitted the best direction.
    pub method: Method,
    /// The layers that are injected.
    pub layers: Vec<usize>,
    /// The alpha, in units of the gap.
    pub alpha: f64,
    /// The effect of the dose.
    pub steering: Effect,
    /// How the model was asked, and the effect of asking; `None` if the context has no room for it.
    pub prompting: Option<(ArmKind, Effect)>,
    /// The effect of random directions of the same length.
    pub random: Option<Effect>,
    /// The perplexity of steered answers at +alpha over that of unsteered ones.
    pub answer_perplexity: f64,
    /// The verdict of the receipt.
    pub verdict: Verdict,
}

/// The comparison of two effects by their intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// The intervals do not meet, and the first is greater.
    More,
    /// The intervals do not meet, and the first is less.
    Less,
    /// The intervals meet, or one is not known.
    Alike,
}

impl Findings {
    /// Draws the findings from pairs that were measured by `methods` at a cost of `kl`.
    pub fn new(pairs: &[Pair], methods: &[Method], kl: f64, seed: u64) -> Findings {
        let curves = || methods.iter().flat_map(|method| pairs.iter().map(|pair| (*method, pair)));
        Findings {
            kl,
            methods: methods.to_vec(),
            rows: pairs.iter().flat_map(|pair| rows(pair, methods, seed)).collect(),
            curves: curves().map(|(method, pair)| Curve::new(pair, method)).collect(),
            depth: depth(
                &curves().filter(|(method, _)| !method.is_control()).map(singles).collect::<Vec<_>>(),
            ),
            prompting: pairs.iter().filter_map(PromptRow::new).collect(),
        }
    }

    /// Returns the rows of a method.
    pub fn of(&self, method: Method) -> impl Iterator<Item = &MethodRow> {
        self.rows.iter().filter(move |it| it.method == method)
    }

    /// Returns on how many pairs a method does more than the first, less than it, and neither beyond doubt.
    pub fn against_first(&self, method: Method) -> [usize; 3] {
        let mut counts = [0; 3];
        for row in self.of(method) {
            counts[match row.beyond_first {
                Some((_, [low, _])) if low > 0.0 => 0,
                Some((_, [_, high])) if high < 0.0 => 1,
                _ => 2,
            }] += 1;
        }
        counts
    }
}

/// Returns the rows of a pair; methods without a dose have none.
fn rows(pair: &Pair, methods: &[Method], seed: u64) -> Vec<MethodRow> {
    let first = methods.first().and_then(|method| pair.best(Some(*method)));
    methods.iter().filter_map(|method| row(pair, *method, first, seed)).collect()
}

fn row(pair: &Pair, method: Method, first: Option<&StudyCell>, seed: u64) -> Option<MethodRow> {
    let cell = pair.best(Some(method))?;
    let dose = cell.dose.as_ref()?;
    let first = first.filter(|first| first.method != method).and_then(|first| first.dose.as_ref());
    Some(MethodRow {
        model: pair.plan.model.name.clone(),
        persona: pair.plan.persona.clone(),
        method,
        layers: cell.layers.clone(),
        alpha: dose.alpha,
        judged: cell.judged(seed)?,
        beyond_first: first.and_then(|first| beyond(dose, first, seed)),
        halves: cell.halves,
        cost: dose.cost,
    })
}

/// Returns the mean of what a dose does beyond the first method's, on the half that doses are judged on, with its 95 %
/// interval.
fn beyond(dose: &DoseOutcome, first: &DoseOutcome, seed: u64) -> Option<(f64, [f64; 2])> {
    let pairs = dose.effects.iter().zip(&first.effects).enumerate();
    let beyond: Vec<f64> = pairs.filter(|(i, _)| !picks_on(*i)).map(|(_, (a, b))| a - b).collect();
    Some((mean(&beyond), interval_of_mean(&beyond, RESAMPLES, Random::new(seed))?))
}

impl Curve {
    fn new(pair: &Pair, method: Method) -> Curve {
        let of_method = singles((method, pair));
        let effect = |cell: &&StudyCell| (cell.layers[0], cell.dose.as_ref().map(|it| mean(&it.effects)));
        Curve {
            model: pair.plan.model.name.clone(),
            persona: pair.plan.persona.clone(),
            method,
            n_layers: pair.plan.model.n_layers,
            points: of_method.cells.iter().map(effect).collect(),
            picked: best(of_method.cells.iter().copied()).map(|it| it.layers[0]),
        }
    }
}

/// The cells of a method on a pair that are of one layer each.
struct Singles<'p> {
    n_layers: usize,
    cells: Vec<&'p StudyCell>,
}

fn singles((method, pair): (Method, &Pair)) -> Singles<'_> {
    let is_one = |cell: &&StudyCell| cell.method == method && cell.layers.len() == 1;
    Singles { n_layers: pair.plan.model.n_layers, cells: pair.cells.iter().filter(is_one).collect() }
}

impl Singles<'_> {
    /// Returns the mean effect of a cell on one half of the contrasts.
    fn effect(cell: &StudyCell, picking: bool) -> f64 {
        cell.dose.as_ref().map_or(0.0, |it| mean(&it.half(|i| picks_on(i) == picking)))
    }

    /// Returns the depth of a cell.
    fn depth(&self, cell: &StudyCell) -> f64 {
        cell.layers[0] as f64 / self.n_layers as f64
    }

    /// Returns the cell nearest to a depth.
    fn near(&self, depth: f64) -> Option<&StudyCell> {
        let off = |cell: &StudyCell| (self.depth(cell) - depth).abs();
        self.cells.iter().copied().min_by(|a, b| off(a).total_cmp(&off(b)))
    }

    fn picked(&self) -> Option<&StudyCell> {
        best(self.cells.iter().copied())
    }
}

/// The number of depths that are tried, evenly spaced.
const DEPTHS: usize = 100;

/// Returns the depth at which curves have, on average, the greatest share of their own best effect.
fn depth(curves: &[Singles]) -> Option<Depth> {
    // A curve without an effect anywhere has no best layer.
    let curves: Vec<(&Singles, &StudyCell)> = curves
        .iter()
        .filter_map(|it| Some((it, it.picked()?)))
        .filter(|(_, picked)| Singles::effect(picked, true) > 0.0)
        .collect();
    if curves.is_empty() {
        return None;
    }
    let share = |depth: f64| {
        let of_curve = |(curve, picked): &(&Singles, &StudyCell)| {
            curve.near(depth).map_or(0.0, |near| Singles::effect(near, true) / Singles::effect(picked, true))
        };
        curves.iter().map(of_curve).sum::<f64>()
    };
    let deepest =
        curves.iter().flat_map(|(it, _)| it.cells.iter().map(|cell| it.depth(cell))).fold(0.0, f64::max);
    let depths = (0..DEPTHS).map(|i| i as f64 / DEPTHS as f64).filter(|it| *it <= deepest);
    let tried: Vec<(f64, f64)> = depths.map(|it| (it, share(it))).collect();
    let most = tried.iter().fold(f64::NEG_INFINITY, |most, it| most.max(it.1));
    // Neighbouring depths mean the same layers: the middle of the first run is named.
    let run: Vec<f64> =
        tried.iter().skip_while(|it| it.1 < most).take_while(|it| it.1 == most).map(|it| it.0).collect();
    let common = run[run.len() / 2];
    let total = |cell: &dyn Fn(&(&Singles, &StudyCell)) -> f64| curves.iter().map(cell).sum::<f64>();
    let there = total(&|(it, _)| it.near(common).map_or(0.0, |near| Singles::effect(near, false)));
    let own = total(&|(_, picked)| Singles::effect(picked, false));
    let depths = || curves.iter().map(|(it, picked)| it.depth(picked));
    (own > 0.0).then(|| Depth {
        common,
        share: there / own,
        own: [depths().fold(f64::INFINITY, f64::min), depths().fold(0.0, f64::max)],
    })
}

impl PromptRow {
    fn new(pair: &Pair) -> Option<PromptRow> {
        let (best, receipt) = (pair.best(None)?, pair.receipt.as_ref()?);
        let effect = |kind: ArmKind| receipt.arm(kind).map(|it| it.effect);
        let asked = [ArmKind::Words, ArmKind::Shown].into_iter().find_map(|kind| Some((kind, effect(kind)?)));
        Some(PromptRow {
            model: pair.plan.model.name.clone(),
            persona: pair.plan.persona.clone(),
            method: best.method,
            layers: best.layers.clone(),
            alpha: receipt.alpha,
            steering: effect(ArmKind::Vector)?,
            prompting: asked,
            random: effect(ArmKind::Random),
            answer_perplexity: receipt.cost[0].answer_perplexity,
            verdict: receipt.verdict(),
        })
    }

    /// Returns the effect of steering as a share of that of prompting, if the interval of the latter lies above zero.
    pub fn share(&self) -> Option<f64> {
        let is_there = |effect: &Effect| effect.interval.is_some_and(|[low, _]| low > 0.0);
        let (_, prompting) = self.prompting.filter(|(_, effect)| is_there(effect))?;
        Some(self.steering.mean / prompting.mean)
    }

    /// Compares steering against prompting.
    pub fn compared(&self) -> Compared {
        match (self.steering.interval, self.prompting.and_then(|(_, it)| it.interval)) {
            (Some([low, _]), Some([_, high])) if low > high => Compared::More,
            (Some([_, high]), Some([low, _])) if high < low => Compared::Less,
            _ => Compared::Alike,
        }
    }
}
