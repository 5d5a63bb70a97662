//! Mixtures of experts: the router's choice, and the experts' sums.

use super::{Body, floats, floats_mut, loan, packed, row_mut};
use crate::forward::ops::rows::{Input, Rows};
use crate::forward::ops::weights::Experts;
use smallvec::SmallVec;

/// One row's way to one expert, and the weight of what comes back.
#[derive(Clone, Copy)]
struct Route {
    row: usize,
    expert: usize,
    weight: f32,
}

/// Routes that are held without allocating: eight sequences, each to eight experts.
type Routes = SmallVec<[Route; 64]>;

impl Body {
    /// Runs the rows of one expert together, so that its weights are read once. Experts add to a row in ascending
    /// order.
    pub(in crate::forward::ops) fn experts(&self, x: &Input, experts: &Experts) -> Rows {
        let mut routes = choose(&self.linear(x, &experts.router), experts);
        routes.sort_unstable_by_key(|route| (route.expert, route.row));
        let mut out = self.blank(loan(x).n_rows(), packed(&experts.router.weight).n_in());
        floats_mut(&mut out).fill(0.0);
        for group in routes.chunk_by(|a, b| a.expert == b.expert) {
            let mut gathered = self.shelf.input();
            gathered.fill_gathered(loan(x), group.iter().map(|route| route.row));
            let from = self.mlp(&Input::Cpu(gathered), &experts.mlps[group[0].expert]);
            for (route, from) in group.iter().zip(floats(&from).chunks_exact(from.width())) {
                add_scaled(row_mut(&mut out, route.row), from, route.weight);
            }
        }
        if let Some((switch, mlp)) = &experts.shared {
            let (open, from) = (self.linear(x, switch), self.mlp(x, mlp));
            for (row, (open, from)) in
                floats(&open).iter().zip(floats(&from).chunks_exact(from.width())).enumerate()
            {
                let weight = 1.0 / (1.0 + (-open).exp());
                add_scaled(row_mut(&mut out, row), from, weight);
            }
        }
        out
    }
}

/// Returns the experts of every row: those with the largest of the router's logits, `[n_rows, n_experts]`,
/// weighted by their softmax over all experts.
fn choose(logits: &Rows, experts: &Experts) -> Routes {
    let mut routes = Routes::new();
    for (row, logits) in floats(logits).chunks_exact(logits.width()).enumerate() {
        let max = logits.iter().fold(f32::NEG_INFINITY, |max, x| max.max(*x));
        let total: f64 = logits.iter().map(|x| f64::from(x - max).exp()).sum();
        let first = routes.len();
        for _ in 0..experts.per_token {
            let is_free = |expert: &usize| routes[first..].iter().all(|route| route.expert != *expert);
            let best = (0..logits.len())
                .filter(is_free)
                .reduce(|best, expert| if logits[expert] > logits[best] { expert } else { best });
            let expert = best.expect("no more experts than there are");
            let weight = (f64::from(logits[expert] - max).exp() / total) as f32;
            routes.push(Route { row, expert, weight });
        }
        if experts.normalise {
            let sum: f32 = routes[first..].iter().map(|route| route.weight).sum();
            routes[first..].iter_mut().for_each(|route| route.weight /= sum);
        }
    }
    routes
}

fn add_scaled(out: &mut [f32], x: &[f32], weight: f32) {
    for (out, x) in out.iter_mut().zip(x) {
        *out += x * weight;
    }
}
