//! The receipt of a vector: what was measured of it, and the verdict that follows.

use super::unit::Unit;
use std::fmt;

/// The evidence that was measured of a vector at one dose.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// The layers of the dose.
    pub layers: Vec<usize>,
    /// The alpha of the dose.
    pub alpha: f64,
    /// The unit that alpha is counted in.
    pub unit: Unit,
    /// The steering in words, unless the dose was added at every position.
    pub what: Option<String>,
    /// The layer whose projections were measured.
    pub best_layer: usize,
    /// The name of the contrast set that everything was measured on.
    pub measured_on: String,
    /// The number of contrasts.
    pub n_contrasts: usize,
    /// The seed of everything random.
    pub seed: u64,
    /// The mean margin without steering, in nats per token.
    pub margin: f64,
    /// The arms that were measured, the vector's own first.
    pub arms: Vec<Arm>,
    /// The cost of +alpha and, if there is another way, of −alpha.
    pub cost: Vec<Cost>,
    /// The share of four-token runs in unsteered answers that have occurred before in the same answer.
    pub unsteered_repetition: f64,
    /// The AUC of telling the held-out answers apart by their projections on the direction.
    pub auc: f64,
    /// What the direction may read beside the persona.
    pub nuisance: Nuisance,
}

/// One way to move the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Arm {
    /// The kind of arm.
    pub kind: ArmKind,
    /// The effect on the margin.
    pub effect: Effect,
    /// The effect of each seed, for arms that have several.
    pub seeds: Vec<f64>,
}

/// The kinds of arms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArmKind {
    /// The vector.
    Vector,
    /// Random directions of the same length, one for all layers.
    Random,
    /// Directions that the contrasts give when half of them have their answers swapped.
    Shuffled,
    /// The persona asked for in words.
    Words,
    /// The persona shown by two answers of the training contrasts.
    Shown,
}

/// An effect on the margin, in nats per token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effect {
    /// The mean shift at +alpha.
    pub plus: f64,
    /// The mean shift at −alpha, if there is another way.
    pub minus: Option<f64>,
    /// The mean over contrasts of half the way from −alpha to +alpha, or of the shift.
    pub mean: f64,
    /// The 95 % interval of the mean over contrasts; for arms of several seeds, the range in which the next seed is to
    /// be expected. `None` for too few contrasts.
    pub interval: Option<[f64; 2]>,
    /// The share of contrasts whose margin moves the other way.
    pub wrong_way: f64,
}

/// The cost of a dose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// The mean per-token KL(unsteered ‖ steered) on neutral texts, in nats.
    pub kl: f64,
    /// The perplexity of the neutral texts under the steered model over that under the unsteered one.
    pub neutral_perplexity: f64,
    /// The perplexity of steered answers under the unsteered model over that of its own answers.
    pub answer_perplexity: f64,
    /// The share of four-token runs in answers that have occurred before in the same answer.
    pub repetition: f64,
}

/// What a direction may read beside the persona.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nuisance {
    /// The tokens by which positive answers are longer, on average.
    pub longer: f64,
    /// The correlation over contrasts of the difference in projection with the difference in length.
    pub length: Option<f64>,
    /// The gap at the first token of the answers, as a share of the gap.
    pub first_token: f64,
}

/// The verdict on a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The effect is beyond chance: its interval lies above what random directions reach, and its mean above what
    /// shuffled labels give.
    Works,
    /// The effect is beyond chance, but the text suffers more than the budget allows.
    WorksAtACost,
    /// The effect cannot be told from what chance gives.
    NotWorking,
    /// The margin moves the other way, beyond chance. Of an operator that has one way only, this may be its purpose.
    WrongWay,
    /// There are too few contrasts to say.
    TooFew,
}

/// Answers may become this many times as perplexing: a quarter beyond the budget that doses are recommended
/// within, since answers are samples.
const AFFORDABLE: f64 = 1.75;

impl Receipt {
    /// Returns the arm of a kind, if it was measured.
    pub fn arm(&self, kind: ArmKind) -> Option<&Arm> {
        self.arms.iter().find(|it| it.kind == kind)
    }

    /// Returns the most that an arm is expected to reach: the upper end of its interval, and no less than zero.
    fn reach(&self, kind: ArmKind) -> f64 {
        self.arm(kind).and_then(|it| it.effect.interval).map_or(0.0, |[_, high]| high.max(0.0))
    }

    /// Returns the most that an arm is expected to reach towards the negative answers, as a number below zero. Random
    /// directions are turned as the contrasts say, so where there are two ways it is as far as to the other side.
    fn reach_back(&self, kind: ArmKind) -> f64 {
        match self.arm(kind).and_then(|it| it.effect.interval) {
            Some([low, _]) if self.has_one_way() => low.min(0.0),
            _ => -self.reach(kind),
        }
    }

    /// Returns true if the dose was given in one way only, that of +alpha.
    pub fn has_one_way(&self) -> bool {
        self.arms[0].effect.minus.is_none()
    }

    /// Returns the verdict that follows from the numbers.
    pub fn verdict(&self) -> Verdict {
        let Effect { mean, interval: Some([low, high]), .. } = self.arms[0].effect else {
            return Verdict::TooFew;
        };
        let (random, shuffled) = (self.reach(ArmKind::Random), self.reach(ArmKind::Shuffled));
        let affordable = self.cost.iter().all(|it| it.answer_perplexity <= AFFORDABLE);
        match affordable {
            true if low > random && mean > shuffled => Verdict::Works,
            false if low > random && mean > shuffled => Verdict::WorksAtACost,
            _ if high < self.reach_back(ArmKind::Random) && mean < self.reach_back(ArmKind::Shuffled) => {
                Verdict::WrongWay
            }
            _ => Verdict::NotWorking,
        }
    }

    /// Returns the verdict as a sentence, with the numbers that it rests on.
    pub fn in_words(&self) -> String {
        let Effect { mean, interval, .. } = self.arms[0].effect;
        let moved = match interval {
            Some([low, high]) => {
                format!("the margin moves by {mean:+.3} nats per token ({low:+.3} to {high:+.3})")
            }
            None => format!("the margin moves by {mean:+.3} nats per token"),
        };
        let back = self.has_one_way() && mean < 0.0;
        let reach = |kind| if back { self.reach_back(kind) } else { self.reach(kind) };
        let [random, shuffled] = [ArmKind::Random, ArmKind::Shuffled].map(reach);
        let chance = format!("random directions reach {random:+.3}, shuffled labels {shuffled:+.3}");
        let verdict = self.verdict();
        match verdict {
            Verdict::WrongWay if self.has_one_way() => {
                let cost = self.cost[0].answer_perplexity;
                let cost = match cost > AFFORDABLE {
                    true => format!(". But answers become {cost:.2} times as perplexing"),
                    false => String::new(),
                };
                format!("moves towards the negative answers: {moved}; {chance}{cost}")
            }
            Verdict::Works | Verdict::NotWorking => format!("{verdict}: {moved}; {chance}"),
            Verdict::WorksAtACost => {
                let worst = self.cost.iter().fold(0.0, |worst: f64, it| worst.max(it.answer_perplexity));
                format!(
                    "{verdict}: {moved}; {chance}. But answers become {worst:.2} times as perplexing: a smaller alpha \
                     would do less harm"
                )
            }
            Verdict::WrongWay => {
                format!(
                    "{verdict}: {moved}, so a positive alpha makes positive answers less likely; {chance}"
                )
            }
            Verdict::TooFew => format!("{verdict} to say: {moved} on {}", self.n_contrasts),
        }
    }
}

impl ArmKind {
    /// All kinds.
    pub const ALL: [ArmKind; 5] =
        [ArmKind::Vector, ArmKind::Random, ArmKind::Shuffled, ArmKind::Words, ArmKind::Shown];

    /// Returns the name in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            ArmKind::Vector => "vector",
            ArmKind::Random => "random",
            ArmKind::Shuffled => "shuffled",
            ArmKind::Words => "prompt",
            ArmKind::Shown => "examples",
        }
    }
}

impl Verdict {
    /// Returns the verdict in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Works => "works",
            Verdict::WorksAtACost => "works at a cost",
            Verdict::NotWorking => "not working",
            Verdict::WrongWay => "wrong way",
            Verdict::TooFew => "too few contrasts",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(interval: Option<[f64; 2]>, random: [f64; 2], shuffled: f64, perplexity: f64) -> Receipt {
        let effect = |interval: Option<[f64; 2]>| {
            let mean = interval.map_or(0.2, |[low, high]| (low + high) / 2.0);
            Effect { plus: mean, minus: Some(-mean), mean, interval, wrong_way: 0.0 }
        };
        let arm = |kind, interval| Arm { kind, effect: effect(interval), seeds: Vec::new() };
        let cost = Cost { kl: 0.1, neutral_perplexity: 1.1, answer_perplexity: perplexity, repetition: 0.0 };
        Receipt {
            layers: vec![3],
            alpha: 1.0,
            unit: Unit::Gap,
            what: None,
            best_layer: 3,
            measured_on: "set".into(),
            n_contrasts: 9,
            seed: 0,
            margin: 0.0,
            arms: vec![
                arm(ArmKind::Vector, interval),
                arm(ArmKind::Random, Some(random)),
                arm(ArmKind::Shuffled, Some([-shuffled, shuffled])),
            ],
            cost: vec![cost; 2],
            unsteered_repetition: 0.0,
            auc: 0.9,
            nuisance: Nuisance { longer: 0.0, length: None, first_token: 0.5 },
        }
    }

    #[test]
    fn a_vector_works_if_its_interval_lies_above_chance() {
        let check = |interval, random, shuffled, perplexity, want: Verdict| {
            let it = receipt(interval, random, shuffled, perplexity);
            assert_eq!(it.verdict(), want, "{}", it.in_words());
        };
        let chance = [-0.05, 0.05];
        check(Some([0.1, 0.3]), chance, 0.1, 1.1, Verdict::Works);
        check(Some([0.1, 0.3]), chance, 0.1, 1.9, Verdict::WorksAtACost);
        check(Some([0.1, 0.3]), chance, 0.25, 1.1, Verdict::NotWorking);
        check(Some([0.04, 0.3]), chance, 0.1, 1.1, Verdict::NotWorking);
        check(Some([-0.01, 0.3]), [-0.5, -0.2], 0.0, 1.1, Verdict::NotWorking);
        check(Some([-0.3, -0.1]), chance, 0.1, 1.1, Verdict::WrongWay);
        check(Some([-0.3, -0.04]), chance, 0.1, 1.1, Verdict::NotWorking);
        check(None, chance, 0.1, 1.1, Verdict::TooFew);
    }

    #[test]
    fn what_has_one_way_is_compared_against_chance_on_either_side() {
        let check = |interval, random, shuffled, want: Verdict, words: &str| {
            let mut it = receipt(Some(interval), random, shuffled, 1.1);
            it.arms.iter_mut().for_each(|arm| arm.effect.minus = None);
            it.cost.truncate(1);
            assert_eq!(it.verdict(), want, "{}", it.in_words());
            assert!(it.in_words().starts_with(words), "{}", it.in_words());
        };
        let damage = [-0.2, 0.01];
        check([0.1, 0.3], damage, 0.1, Verdict::Works, "works: ");
        check([-0.15, -0.1], damage, 0.1, Verdict::NotWorking, "not working: ");
        check([-0.5, -0.3], damage, 0.1, Verdict::WrongWay, "moves towards the negative answers: ");
        check([-0.5, -0.3], damage, 0.6, Verdict::NotWorking, "not working: ");
    }
}
