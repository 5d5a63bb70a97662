//! Which layers, and how much: measured on contrasts that the direction was not fitted on.
//!
//! A dose is worth what it does to the margin between positive and negative answers (teacher-forced,
//! on held-out answers), and costs what it does to the language (the perplexity, under the unsteered
//! model, of what the steered model writes). So, at each set of layers, the rule takes the strongest
//! dose within a budget of perplexity, and of these the one that gains most, net of its cost.

use crate::extract::{ContrastIds, encode};
use crate::replay::{Replay, passes};
use crate::{
    Asking, ContrastSet, Dose, Error, Frame, PersonaVector, Progress, Recommendation, Unit, ask_under_each,
    combine, perplexities,
};
use whipstaff_engine::{Message, Model, NoTap, Sampling, Steering, Tokenizer, log_probs};

/// Answers may become this many times as perplexing to the unsteered model as its own are.
pub const PERPLEXITY_BUDGET: f64 = 1.4;

/// Single layers tried at most: in a deeper model they are evenly spaced.
const MAX_SINGLE_LAYERS: usize = 12;

/// Alphas tried at one layer, in units of the gap: from `LOWEST` on, each a tenth above the one
/// before. For a set of layers they are divided by the square root of its size, since doses add up
/// partly along one line.
const LOWEST: f64 = 0.3;
const STEP: f64 = 1.1;
const N_ALPHAS: usize = 28; // up to 3.9

/// Finds the single layer with the largest effect at one full contrast; then, for that layer, for the
/// middle half of the layers, for the upper half and for all of them, the largest alpha within
/// [`PERPLEXITY_BUDGET`]; and recommends the one of the four with the largest effect less the logarithm
/// of its perplexity ratio. `frame` is the one that `vector` was made in; `heldout` must not contain what `vector` was fitted on; at most
/// `max_contrasts` of it are used.
///
/// # Errors
/// [`Error::Engine`] for texts that the model cannot run; [`Error::Interrupted`].
pub fn recommend(
    model: &Model,
    tokenizer: &Tokenizer,
    vector: &PersonaVector,
    frame: &Frame,
    heldout: &ContrastSet,
    max_contrasts: usize,
    progress: &dyn Progress,
) -> Result<Recommendation, Error> {
    let heldout = heldout.first(max_contrasts);
    let bench = Bench {
        texts: texts(&encode(tokenizer, frame, &heldout, model.config().max_positions)?),
        questions: heldout.contrasts.iter().map(|it| it.messages.clone()).collect(),
        sampling: Sampling { temperature: 0.6, top_p: 0.95, ..Sampling::default() },
        frame: frame.clone(),
        model,
        tokenizer,
        vector,
        progress,
    };
    let layers: Vec<usize> = vector.layers.keys().copied().collect();

    progress.stage("choosing a layer", bench.texts.len());
    let singles: Vec<_> =
        evenly(&layers, MAX_SINGLE_LAYERS).into_iter().map(|layer| (vec![layer], 1.0)).collect();
    let best_layer = singles[largest(&bench.margins(&singles)?, effect)].0[0];

    let middle = layers[layers.len() / 4..(layers.len() * 3).div_ceil(4)].to_vec();
    let upper = layers[layers.len() / 2..].to_vec();
    let found = bench.strongest_within_budget([vec![best_layer], middle, upper, layers].into())?;
    let (doses, ratios): (Vec<_>, Vec<f64>) =
        found.into_iter().map(|it| ((it.layers, it.alpha), it.perplexity_ratio)).unzip();
    progress.stage("measuring the effect", bench.texts.len());
    let margins = bench.margins(&doses)?;
    // What a dose gains and what it costs, both in nats per token.
    let net: Vec<f64> =
        margins.iter().zip(&ratios).map(|(margins, ratio)| effect(margins) - ratio.ln()).collect();
    let best = largest(&net, |net| *net);
    Ok(Recommendation {
        layers: doses[best].0.clone(),
        alpha: doses[best].1,
        best_layer,
        n_contrasts: heldout.contrasts.len(),
        measured_on: heldout.name,
        margin: margins[best],
        perplexity_ratio: ratios[best],
    })
}

/// Half the way that the margin moves from −alpha to +alpha.
fn effect(margins: &[f64; 3]) -> f64 {
    (margins[1] - margins[2]) / 2.0
}

/// A held-out answer behind its prompt.
struct Text {
    ids: Vec<u32>,
    answer_at: usize,
}

/// Positive and negative answers by turns.
fn texts(contrasts: &[ContrastIds]) -> Vec<Text> {
    let both = |ContrastIds { prompt, answers }: &ContrastIds| {
        answers.each_ref().map(|answer| Text { ids: [&prompt[..], answer].concat(), answer_at: prompt.len() })
    };
    contrasts.iter().flat_map(both).collect()
}

/// What doses are measured with.
struct Bench<'a> {
    model: &'a Model,
    tokenizer: &'a Tokenizer,
    vector: &'a PersonaVector,
    frame: Frame,
    texts: Vec<Text>,
    questions: Vec<Vec<Message>>,
    sampling: Sampling,
    progress: &'a dyn Progress,
}

impl Bench<'_> {
    fn steering(&self, layers: &[usize], alpha: f64) -> Result<Steering, Error> {
        combine(&[Dose { vector: self.vector, alpha, unit: Unit::Gap, layers: layers.to_vec() }], 1.0)
    }

    /// For each set of layers, the largest alpha of the ladder whose answers stay within the budget on
    /// both sides, with their perplexity (the worse of the two); the smallest if none does. Damage
    /// grows with alpha, so halving finds it. All sets are halved side by side, so that their answers
    /// are written in one batch.
    fn strongest_within_budget(&self, sets: Vec<Vec<usize>>) -> Result<Vec<WithinBudget>, Error> {
        let unsteered = self.perplexities(&[Steering::default()])?[0];
        let mut searches: Vec<Search> = sets.into_iter().map(Search::new).collect();
        while searches.iter().any(|it| it.next().is_some()) {
            let steps: Vec<(usize, usize)> =
                searches.iter().enumerate().filter_map(|(i, it)| Some((i, it.next()?))).collect();
            let mut steerings = Vec::new();
            for (i, step) in &steps {
                let it = &searches[*i];
                for sign in [1.0, -1.0] {
                    steerings.push(self.steering(&it.layers, sign * it.alpha(*step))?);
                }
            }
            let perplexities = self.perplexities(&steerings)?;
            for ((i, step), sides) in steps.into_iter().zip(perplexities.chunks(2)) {
                searches[i].take(step, sides[0].max(sides[1]) / unsteered);
            }
        }
        Ok(searches.into_iter().map(|it| it.found.expect("the smallest was tried")).collect())
    }

    /// How perplexing the unsteered model finds answers that are written under each steering.
    fn perplexities(&self, steerings: &[Steering]) -> Result<Vec<f64>, Error> {
        let asking = Asking { frame: self.frame.clone(), sampling: self.sampling, max_tokens: 40 };
        self.progress.stage("choosing alpha", steerings.len() * self.questions.len());
        let (model, tokenizer, questions) = (self.model, self.tokenizer, &self.questions);
        let answers = ask_under_each(model, tokenizer, questions, steerings, &asking, self.progress)?;
        perplexities(model, tokenizer, &self.frame, questions, &answers)
    }

    /// For every dose, the mean margin of positive over negative answers, in nats per token:
    /// unsteered, at +alpha, at −alpha.
    fn margins(&self, doses: &[(Vec<usize>, f64)]) -> Result<Vec<[f64; 3]>, Error> {
        let mut margins = vec![[0.0; 3]; doses.len()];
        let lens: Vec<usize> = self.texts.iter().map(|text| text.ids.len()).collect();
        for pass in passes(&lens) {
            let texts = &self.texts[pass.clone()];
            let ids: Vec<&[u32]> = texts.iter().map(|text| &text.ids[..]).collect();
            let replay = Replay::new(self.model, &ids)?;
            // Even texts are positive answers, odd ones negative.
            let margin = |steering: Steering| -> f64 {
                let scores = self.score(&replay, texts, &steering);
                let signed = pass
                    .clone()
                    .zip(scores)
                    .map(|(i, score)| if i.is_multiple_of(2) { score } else { -score });
                signed.sum::<f64>() / (self.texts.len() / 2) as f64
            };
            let unsteered = margin(Steering::default());
            for ((layers, alpha), margins) in doses.iter().zip(&mut margins) {
                margins[0] += unsteered;
                margins[1] += margin(self.steering(layers, *alpha)?);
                margins[2] += margin(self.steering(layers, -*alpha)?);
            }
            self.progress.advance(pass.len())?;
        }
        Ok(margins)
    }

    /// The mean log-probability per answer token of each text under `steering`.
    fn score(&self, replay: &Replay, texts: &[Text], steering: &Steering) -> Vec<f64> {
        let copies: Vec<_> = (0..texts.len()).map(|text| (text, steering.clone())).collect();
        let resid = replay.run(&copies, &mut NoTap);
        let score = |(i, Text { ids, answer_at }): (usize, &Text)| {
            // The row before a token is the one that predicts it.
            let start = replay.span(i).start;
            let targets: Vec<(usize, u32)> =
                (*answer_at..ids.len()).map(|at| (start + at - 1, ids[at])).collect();
            log_probs(self.model, &resid, &targets).iter().sum::<f64>() / targets.len() as f64
        };
        texts.iter().enumerate().map(score).collect()
    }
}

/// A dose and what its answers' perplexity is, unsteered answers' being 1.
struct WithinBudget {
    layers: Vec<usize>,
    alpha: f64,
    perplexity_ratio: f64,
}

/// The search for the largest alpha within the budget at one set of layers.
struct Search {
    layers: Vec<usize>,
    /// Steps of the ladder known to be within (or the lowest, which stands for want of a better) and
    /// beyond.
    within: usize,
    beyond: usize,
    found: Option<WithinBudget>,
}

impl Search {
    fn new(layers: Vec<usize>) -> Search {
        Search { layers, within: 0, beyond: N_ALPHAS, found: None }
    }

    fn alpha(&self, step: usize) -> f64 {
        round_2(LOWEST * STEP.powi(step as i32) / (self.layers.len() as f64).sqrt())
    }

    /// The step to try next, if the search is not over.
    fn next(&self) -> Option<usize> {
        if self.found.is_none() {
            return Some(0);
        }
        (self.beyond - self.within > 1).then_some((self.within + self.beyond) / 2)
    }

    fn take(&mut self, step: usize, perplexity_ratio: f64) {
        if self.found.is_none() || perplexity_ratio <= PERPLEXITY_BUDGET {
            let (layers, alpha) = (self.layers.clone(), self.alpha(step));
            self.within = step;
            self.found = Some(WithinBudget { layers, alpha, perplexity_ratio });
        } else {
            self.beyond = step;
        }
    }
}

fn largest<T>(items: &[T], value: impl Fn(&T) -> f64) -> usize {
    (0..items.len()).fold(0, |best, i| if value(&items[i]) > value(&items[best]) { i } else { best })
}

/// At most `n` of the layers, evenly spaced.
fn evenly(layers: &[usize], n: usize) -> Vec<usize> {
    if layers.len() <= n {
        return layers.to_vec();
    }
    (0..n).map(|i| layers[i * (layers.len() - 1) / (n - 1)]).collect()
}

/// Two decimals: a recommendation is read by people.
fn round_2(x: f64) -> f64 {
    (x * 100.0).round() / 100.0
}
