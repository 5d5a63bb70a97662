//! The choice of layers and alpha, measured on contrasts that the direction was not fitted on.
//!
//! The gain of a dose is its effect on the margin between positive and negative answers (teacher-forced, on held-out
//! answers). Its cost is the damage to the language (the perplexity, under the unsteered model, of what the steered model
//! writes). So, at each set of layers, the rule takes the strongest dose within a budget of perplexity, and of these the
//! one that gains most, net of its cost.
//!
//! Most of the time goes into writing and reading answers. So a rough search uses a third of the contrasts: for the
//! layer, roughly the alpha, and the sets of layers that are worth a closer look. All contrasts decide among the rest.

use crate::contrasts::ContrastSet;
use crate::error::Error;
use crate::measure::{AskOptions, Bench, Margins};
use crate::steer::{Dose, combine};
use crate::vector::{PersonaVector, Recommendation, Unit};
use whipstaff_engine::{Message, Steering};

/// The budget: answers may become this many times as perplexing to the unsteered model as its own are.
pub const PERPLEXITY_BUDGET: f64 = 1.4;

/// The number of single layers tried at most; in a deeper model they are evenly spaced.
const MAX_SINGLE_LAYERS: usize = 12;

/// The ladder of alphas tried at one layer, in units of the gap: from `LOWEST` on, each a tenth above the one before. For
/// a set of layers they are divided by the square root of its size, since doses add up partly along one line.
const LOWEST: f64 = 0.3;
const STEP: f64 = 1.1;
const N_ALPHAS: usize = 28; // up to 3.9

/// The number of steps of the ladder that the rough search takes at a time.
const RUNG: usize = 4;

/// The number of sets of layers that the close search looks at.
const FINALISTS: usize = 2;

/// The number of contrasts of the rough search, unless a third of all contrasts are more.
const FEW: usize = 8;

/// The sides on which a dose is tried.
const SIGNS: [f64; 2] = [1.0, -1.0];

impl Bench<'_> {
    /// Recommends layers and alpha for a vector.
    ///
    /// Finds the single layer with the largest effect at one full contrast. For that layer, the middle half of the
    /// layers, the upper half and all of them, it then finds roughly the largest alpha within [`PERPLEXITY_BUDGET`].
    /// For the two of these four with the largest effect less the logarithm of their perplexity ratio, it finds that
    /// alpha exactly, and recommends the better one.
    ///
    /// The bench's frame is the one that `vector` was made in. `heldout` must not contain what `vector` was fitted on;
    /// at most `max_contrasts` of it are used.
    ///
    /// # Errors
    /// [`Error::TooLong`] and [`Error::Engine`] for texts that the model cannot run; [`Error::Interrupted`].
    pub fn recommend(
        &self,
        vector: &PersonaVector,
        heldout: &ContrastSet,
        max_contrasts: usize,
    ) -> Result<Recommendation, Error> {
        let heldout = heldout.first(max_contrasts);
        let chooser = Chooser { bench: *self, vector };
        let few = heldout.evenly(FEW.max(heldout.contrasts.len() / 3));
        let (few, all) = (chooser.sample(&few)?, chooser.sample(&heldout)?);
        let layers: Vec<usize> = vector.layers.keys().copied().collect();

        self.watch.stage("choosing a layer", few.margins.n_texts());
        let singles: Vec<_> =
            evenly(&layers, MAX_SINGLE_LAYERS).into_iter().map(|layer| (vec![layer], 1.0)).collect();
        let best_layer = singles[largest(&chooser.margins(&few, &singles)?, effect)].0[0];

        let middle = layers[layers.len() / 4..(layers.len() * 3).div_ceil(4)].to_vec();
        let upper = layers[layers.len() / 2..].to_vec();
        let rough = chooser.roughly(&few, [vec![best_layer], middle, upper, layers].into())?;
        let (nets, _) = chooser.nets(&few, &rough)?;
        let mut ranked: Vec<(LadderStep, f64)> = rough.into_iter().zip(nets).collect();
        ranked.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let rough = ranked.into_iter().take(FINALISTS).map(|(step, _)| step).collect();
        let finalists = chooser.exactly(&all, rough)?;
        let (nets, margins) = chooser.nets(&all, &finalists)?;
        let best = largest(&nets, |net| *net);
        Ok(Recommendation {
            layers: finalists[best].layers.clone(),
            alpha: finalists[best].alpha(),
            best_layer,
            n_contrasts: heldout.contrasts.len(),
            measured_on: heldout.name,
            margin: margins[best],
            perplexity_ratio: finalists[best].ratio,
        })
    }
}

/// Returns half of the way that the margin moves from −alpha to +alpha.
fn effect(margins: &[f64; 3]) -> f64 {
    (margins[1] - margins[2]) / 2.0
}

/// The contrasts that doses are measured on.
struct Sample<'a> {
    margins: Margins<'a>,
    questions: Vec<Vec<Message>>,
    /// The perplexity of the unsteered model's own answers.
    unsteered: f64,
}

/// A vector whose dose is being chosen.
struct Chooser<'a> {
    bench: Bench<'a>,
    vector: &'a PersonaVector,
}

impl<'a> Chooser<'a> {
    fn sample(&self, contrasts: &ContrastSet) -> Result<Sample<'a>, Error> {
        let margins = self.bench.margins(contrasts)?;
        let questions: Vec<_> = contrasts.contrasts.iter().map(|it| it.messages.clone()).collect();
        let unsteered = self.perplexities(&questions, &[Steering::default()])?[0];
        Ok(Sample { margins, questions, unsteered })
    }

    fn steering(&self, layers: &[usize], alpha: f64) -> Result<Steering, Error> {
        combine(&[Dose { vector: self.vector, alpha, unit: Unit::Gap, layers: layers.to_vec() }], 1.0)
    }

    /// Finds for each set of layers the largest rung of the ladder within the budget on `sample`; the lowest if none is.
    /// Damage grows with alpha, so halving finds it.
    fn roughly(&self, sample: &Sample, sets: Vec<Vec<usize>>) -> Result<Vec<LadderStep>, Error> {
        let mut searches: Vec<Rough> = sets.into_iter().map(Rough::new).collect();
        self.search(sample, &mut searches)?;
        Ok(searches.into_iter().map(|it| it.found).collect())
    }

    /// Finds from given steps on, up or down the ladder, the largest steps within the budget on `sample`, with the
    /// perplexity of their answers; the lowest step if none is.
    fn exactly(&self, sample: &Sample, from: Vec<LadderStep>) -> Result<Vec<LadderStep>, Error> {
        let mut searches: Vec<Exact> = from.into_iter().map(Exact::new).collect();
        self.search(sample, &mut searches)?;
        Ok(searches.into_iter().map(Exact::found).collect())
    }

    /// Runs searches to their ends, together, so that their answers are written in one batch.
    fn search(&self, sample: &Sample, searches: &mut [impl Search]) -> Result<(), Error> {
        let mut trials: Vec<Option<Trial>> = searches.iter().map(|it| it.next().map(Trial::new)).collect();
        loop {
            let mut steerings = Vec::new();
            for trial in trials.iter().flatten() {
                let alpha = SIGNS[trial.side()] * trial.step.alpha();
                steerings.push(self.steering(&trial.step.layers, alpha)?);
            }
            if steerings.is_empty() {
                return Ok(());
            }
            let mut perplexities = self.perplexities(&sample.questions, &steerings)?.into_iter();
            for (search, slot) in searches.iter_mut().zip(&mut trials) {
                let Some(mut trial) = slot.take() else { continue };
                let perplexity = perplexities.next().expect("one for each steering");
                *slot = match trial.take(perplexity / sample.unsteered) {
                    None => Some(trial),
                    Some(ratio) => {
                        let worse = trial.worse();
                        search.take(LadderStep { ratio, ..trial.step });
                        search.next().map(|step| Trial { first: worse, ..Trial::new(step) })
                    }
                };
            }
        }
    }

    /// Returns how perplexing the unsteered model finds answers that are written under each steering.
    fn perplexities(&self, questions: &[Vec<Message>], steerings: &[Steering]) -> Result<Vec<f64>, Error> {
        self.bench.watch.stage("choosing alpha", steerings.len() * questions.len());
        let answers = self.bench.ask_under_each(questions, steerings, &AskOptions::to_measure(0))?;
        self.bench.perplexities(questions, &answers)
    }

    /// Returns what each dose gains less what it costs, both in nats per token, and the margins.
    fn nets(&self, sample: &Sample, doses: &[LadderStep]) -> Result<(Vec<f64>, Vec<[f64; 3]>), Error> {
        self.bench.watch.stage("measuring the effect", sample.margins.n_texts());
        let margins = self
            .margins(sample, &doses.iter().map(|it| (it.layers.clone(), it.alpha())).collect::<Vec<_>>())?;
        let net = |(step, margins): (&LadderStep, &[f64; 3])| effect(margins) - step.ratio.ln();
        Ok((doses.iter().zip(&margins).map(net).collect(), margins))
    }

    /// Measures for every dose the mean margin of positive over negative answers, in nats per token: unsteered, at
    /// +alpha, at −alpha.
    fn margins(&self, sample: &Sample, doses: &[(Vec<usize>, f64)]) -> Result<Vec<[f64; 3]>, Error> {
        let mut steerings = vec![Steering::default()];
        for (layers, alpha) in doses {
            steerings.push(self.steering(layers, *alpha)?);
            steerings.push(self.steering(layers, -*alpha)?);
        }
        let margins = sample.margins.under(&steerings, self.bench.watch)?;
        let means: Vec<f64> = margins.iter().map(|it| it.iter().sum::<f64>() / it.len() as f64).collect();
        Ok(means[1..].chunks(2).map(|sides| [means[0], sides[0], sides[1]]).collect())
    }
}

/// A step of the ladder at a set of layers, and the perplexity of its answers over that of unsteered answers.
#[derive(Clone, Debug, PartialEq)]
struct LadderStep {
    layers: Vec<usize>,
    step: usize,
    ratio: f64,
}

impl LadderStep {
    fn alpha(&self) -> f64 {
        round_2(LOWEST * STEP.powi(self.step as i32) / (self.layers.len() as f64).sqrt())
    }

    fn at(&self, step: usize) -> LadderStep {
        LadderStep { step, ..self.clone() }
    }

    fn is_within(&self) -> bool {
        self.ratio <= PERPLEXITY_BUDGET
    }
}

/// A step that is being tried. A dose is within the budget if it is on both sides; so the side that was
/// worse on the step before comes first, and the other is tried only if it can still matter.
struct Trial {
    step: LadderStep,
    first: usize,
    /// The perplexity ratio of each side.
    ratios: [Option<f64>; 2],
}

impl Trial {
    fn new(step: LadderStep) -> Trial {
        Trial { step, first: 0, ratios: [None; 2] }
    }

    /// Returns the side to try next.
    fn side(&self) -> usize {
        if self.ratios[self.first].is_none() { self.first } else { 1 - self.first }
    }

    /// Takes the ratio of the next side, and returns the larger ratio once nothing more needs to be known. The lowest step
    /// needs both sides: it may have to stand, beyond the budget or not.
    fn take(&mut self, ratio: f64) -> Option<f64> {
        self.ratios[self.side()] = Some(ratio);
        let larger = self.ratios.into_iter().flatten().reduce(f64::max)?;
        let decided =
            self.ratios.iter().all(Option::is_some) || (larger > PERPLEXITY_BUDGET && self.step.step > 0);
        decided.then_some(larger)
    }

    /// Returns the side with the larger ratio.
    fn worse(&self) -> usize {
        usize::from(self.ratios[1] > self.ratios[0])
    }
}

/// A search for the largest alpha within the budget.
trait Search {
    /// Returns the step to try next, if the search is not over.
    fn next(&self) -> Option<LadderStep>;

    /// Takes a step that was tried, with its ratio.
    fn take(&mut self, tried: LadderStep);
}

/// A search that halves the ladder, rung by rung.
struct Rough {
    /// The highest rung known to be within the budget; the lowest rung as long as none is.
    found: LadderStep,
    beyond: usize,
}

impl Rough {
    fn new(layers: Vec<usize>) -> Rough {
        Rough { found: LadderStep { layers, step: 0, ratio: 1.0 }, beyond: N_ALPHAS }
    }
}

impl Search for Rough {
    fn next(&self) -> Option<LadderStep> {
        let rungs = (self.beyond - self.found.step) / RUNG;
        (rungs > 1).then(|| self.found.at(self.found.step + rungs / 2 * RUNG))
    }

    fn take(&mut self, tried: LadderStep) {
        if tried.is_within() { self.found = tried } else { self.beyond = tried.step }
    }
}

/// A search that walks step by step from near the limit until it is passed.
struct Exact {
    start: LadderStep,
    within: Option<LadderStep>,
    beyond: Option<LadderStep>,
}

impl Exact {
    /// Begins half a rung above the result of the rough search.
    fn new(rough: LadderStep) -> Exact {
        Exact { start: rough.at(rough.step + RUNG / 2), within: None, beyond: None }
    }

    fn found(self) -> LadderStep {
        self.within.or(self.beyond).expect("something was tried")
    }
}

impl Search for Exact {
    fn next(&self) -> Option<LadderStep> {
        match (&self.within, &self.beyond) {
            (None, None) => Some(self.start.clone()),
            (Some(within), None) => (within.step + 1 < N_ALPHAS).then(|| within.at(within.step + 1)),
            (None, Some(beyond)) => (beyond.step > 0).then(|| beyond.at(beyond.step - 1)),
            (Some(_), Some(_)) => None,
        }
    }

    fn take(&mut self, tried: LadderStep) {
        if tried.is_within() { self.within = Some(tried) } else { self.beyond = Some(tried) }
    }
}

/// Returns the index of the item with the largest value, the first of equals.
fn largest<T>(items: &[T], value: impl Fn(&T) -> f64) -> usize {
    (0..items.len()).fold(0, |best, i| if value(&items[i]) > value(&items[best]) { i } else { best })
}

/// Returns at most `n` of the layers, evenly spaced.
fn evenly(layers: &[usize], n: usize) -> Vec<usize> {
    if layers.len() <= n {
        return layers.to_vec();
    }
    (0..n).map(|i| layers[i * (layers.len() - 1) / (n - 1)]).collect()
}

/// Rounds to two decimals, since people read a recommendation.
fn round_2(x: f64) -> f64 {
    (x * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a search against damage that begins at step `limit`; says where it ended and how often it tried.
    fn run(mut search: impl Search, limit: usize) -> (usize, usize) {
        let (mut tries, mut last_within) = (0, 0);
        while let Some(step) = search.next() {
            tries += 1;
            let ratio = if step.step < limit { 1.1 } else { 2.0 };
            last_within = if ratio < 2.0 { last_within.max(step.step) } else { last_within };
            search.take(LadderStep { ratio, ..step });
        }
        (last_within, tries)
    }

    #[test]
    fn the_rough_search_finds_the_rung_below_the_limit() {
        for limit in 1..=N_ALPHAS {
            let (found, tries) = run(Rough::new(vec![3]), limit);
            assert_eq!(found, (limit - 1) / RUNG * RUNG, "limit {limit}");
            assert!(tries <= 3, "limit {limit}: {tries}");
        }
    }

    #[test]
    fn the_exact_search_ends_at_the_limit_wherever_it_begins() {
        for limit in 1..=N_ALPHAS {
            for rough in (0..N_ALPHAS).step_by(RUNG) {
                let start = LadderStep { layers: vec![3], step: rough, ratio: 1.0 };
                let (found, tries) = run(Exact::new(start), limit);
                assert_eq!(found, limit - 1, "limit {limit} from {rough}");
                if rough == (limit - 1) / RUNG * RUNG {
                    assert!(tries <= 3, "limit {limit} from {rough}: {tries}");
                }
            }
        }
    }

    /// Ratios of a step in the order in which its sides are tried: how many it takes, and the larger one.
    #[track_caller]
    fn tried(step: usize, ratios: &[f64], want: (usize, f64)) {
        let mut trial = Trial::new(LadderStep { layers: vec![3], step, ratio: 1.0 });
        let mut taken = 0;
        let larger = ratios.iter().find_map(|ratio| {
            taken += 1;
            trial.take(*ratio)
        });
        assert_eq!((taken, larger.unwrap()), want, "step {step}, {ratios:?}");
    }

    #[test]
    fn the_other_side_of_a_dose_beyond_the_budget_is_tried_at_the_lowest_step_alone() {
        tried(5, &[1.1, 1.3], (2, 1.3));
        tried(5, &[1.1, 1.5], (2, 1.5));
        tried(5, &[1.5, 1.6], (1, 1.5));
        tried(0, &[1.5, 1.6], (2, 1.6));
        tried(0, &[1.5, 1.1], (2, 1.5));
    }

    #[test]
    fn the_side_that_was_worse_comes_first() {
        let step = LadderStep { layers: vec![3], step: 5, ratio: 1.0 };
        let mut trial = Trial::new(step.clone());
        assert_eq!((trial.side(), trial.take(1.2)), (0, None));
        assert_eq!((trial.side(), trial.take(1.3)), (1, Some(1.3)));
        let mut next = Trial { first: trial.worse(), ..Trial::new(step) };
        assert_eq!((next.side(), next.take(1.5)), (1, Some(1.5)));
        assert_eq!(next.worse(), 1);
    }

    #[test]
    fn if_every_step_is_beyond_the_lowest_is_found() {
        let mut search = Exact::new(LadderStep { layers: vec![3], step: 0, ratio: 1.0 });
        while let Some(step) = search.next() {
            search.take(LadderStep { ratio: 9.0, ..step });
        }
        let found = search.found();
        assert_eq!((found.step, found.ratio), (0, 9.0));
    }
}
