//! Scoring a model's choices by the probabilities of the letters, with every option at every letter once.

use super::set::{Choice, ChoiceSet, letter};
use crate::error::Error;
use crate::measure::bench::Bench;
use crate::measure::replay::{Replay, Text, batches};
use crate::passes::passes;
use whipstaff_engine::{Message, NoTap, Role, Steering, log_probs_among};

/// Multiple-choice questions, laid out to be asked of a model.
pub struct ChoiceTest<'a> {
    bench: Bench<'a>,
    set: ChoiceSet,
    orders: Vec<Order>,
}

/// A question in one order of its options.
struct Order {
    choice: usize,
    turn: usize,
    /// The question in its frame, and the answer up to its letter.
    text: Text,
    /// The token of each letter.
    letters: Vec<u32>,
}

/// A model's choice on one question. All numbers are means over the orders of its options.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChoiceScore {
    /// The probability of the right option, among it and those it is weighed against.
    pub p_right: f64,
    /// Whether the right option is likelier than each of those.
    pub is_right: bool,
    /// The probability of any letter at all; if it is small, shares mean little.
    pub mass: f64,
    /// The share of the letter A among all letters, times their number: 1 where the position does not matter.
    pub first: f64,
}

impl<'a> ChoiceTest<'a> {
    /// Lays the questions out: each in as many orders as it has options, answered with `(` and a letter.
    ///
    /// # Errors
    /// [`Error::File`] for a question that the model's context has no room for, or letters that its tokenizer
    /// does not tell apart; the errors of [`Frame::answered_ids`](crate::Frame::answered_ids).
    pub fn new(bench: Bench<'a>, set: &ChoiceSet) -> Result<ChoiceTest<'a>, Error> {
        let mut orders = Vec::new();
        for (i, choice) in set.choices.iter().enumerate() {
            for turn in 0..choice.options.len() {
                let order = Order::new(&bench, choice, i, turn)?.map_err(|reason| Error::File {
                    path: set.path.clone(),
                    reason: format!("{}: {reason}", choice.place),
                });
                orders.push(order?);
            }
        }
        Ok(ChoiceTest { bench, set: set.clone(), orders })
    }

    /// Returns the number of texts, which is what watch counts in one call of [`ChoiceTest::under`].
    pub fn n_texts(&self) -> usize {
        self.orders.len()
    }

    /// Scores each question under each steering: `[steerings][questions]`. The blocks below the first place that a
    /// steering changes run once.
    ///
    /// # Errors
    /// [`Error::Engine`]; [`Error::Interrupted`].
    pub fn under(&self, steerings: &[Steering]) -> Result<Vec<Vec<ChoiceScore>>, Error> {
        let zero = ChoiceSums::default;
        let blank = || self.set.choices.iter().map(|it| zero().for_options(it.options.len())).collect();
        let mut sums: Vec<Vec<ChoiceSums>> = steerings.iter().map(|_| blank()).collect();
        let lens: Vec<usize> = self.orders.iter().map(|it| it.text.ids.len()).collect();
        for pass in passes(&lens) {
            let orders = &self.orders[pass.clone()];
            let texts: Vec<Text> = orders.iter().map(|it| it.text.clone()).collect();
            let replay = Replay::new(self.bench.model, &texts)?;
            let all =
                steerings.iter().enumerate().flat_map(|(s, it)| (0..orders.len()).map(move |i| (s, i, it)));
            for batch in batches(all, &lens[pass.clone()]) {
                let copies: Vec<_> = batch.iter().map(|(s, i)| (*i, steerings[*s].clone())).collect();
                let resid = replay.run(&copies, &mut NoTap)?;
                let mut end = 0;
                let mut targets = Vec::with_capacity(batch.len());
                for (_, i) in &batch {
                    end += orders[*i].text.ids.len();
                    targets.push((end - 1, &orders[*i].letters[..]));
                }
                let found = log_probs_among(self.bench.model, &resid, &targets);
                for ((s, i), log_probs) in batch.into_iter().zip(found) {
                    let Order { choice, turn, .. } = orders[i];
                    sums[s][choice].add(&self.set.choices[choice], turn, &log_probs);
                }
            }
            self.bench.watch.advance(orders.len())?;
        }
        let score = |(sums, choice): (&ChoiceSums, &Choice)| sums.score(choice);
        Ok(sums.iter().map(|it| it.iter().zip(&self.set.choices).map(score).collect()).collect())
    }
}

impl Order {
    /// Lays out question `i`. Fails with what is wrong about it, which may be that the letters share a token.
    fn new(
        bench: &Bench<'_>,
        choice: &Choice,
        i: usize,
        turn: usize,
    ) -> Result<Result<Order, String>, Error> {
        let answers: Vec<String> = (0..choice.options.len()).map(|at| format!("({}", letter(at))).collect();
        let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
        let question = [Message::new(Role::User, choice.text(turn))];
        let (prompt, answers) = bench.frame.answered_ids(bench.tokenizer, &question, &answers)?;
        let Some((lead, letters)) = split_at_letters(&answers) else {
            return Ok(Err("the tokenizer does not tell the letters apart".into()));
        };
        let text = Text::new(&prompt, &lead);
        let (n, max) = (text.ids.len(), bench.model.config().max_positions);
        if n > max {
            return Ok(Err(format!("has {n} tokens, the model's context is {max}; remove it")));
        }
        Ok(Ok(Order { choice: i, turn, text, letters }))
    }
}

/// Returns the tokens that all answers begin with, and the token in which each then differs from all others, if there is
/// one. Tokenizers write `(A` as one token or as two.
fn split_at_letters(answers: &[Vec<u32>]) -> Option<(Vec<u32>, Vec<u32>)> {
    let first = answers.first()?;
    let alike = |at: &usize| answers.iter().all(|it| it.get(*at).is_some() && it.get(*at) == first.get(*at));
    let n = (0..first.len()).take_while(alike).count();
    let letters = answers.iter().map(|it| it.get(n).copied()).collect::<Option<Vec<u32>>>()?;
    let mut apart = letters.clone();
    apart.sort_unstable();
    apart.dedup();
    (apart.len() == letters.len()).then(|| (first[..n].to_vec(), letters))
}

/// The most by which sums of the same numbers in another order differ.
const TIE: f64 = 1e-12;

/// Sums over the orders of a question's options.
#[derive(Clone, Default)]
struct ChoiceSums {
    p_right: f64,
    /// The share of each option among all letters.
    shares: Vec<f64>,
    mass: f64,
    first: f64,
}

impl ChoiceSums {
    fn for_options(self, n: usize) -> ChoiceSums {
        ChoiceSums { shares: vec![0.0; n], ..self }
    }

    /// Adds the log-probabilities of the letters in one order.
    fn add(&mut self, choice: &Choice, turn: usize, log_probs: &[f64]) {
        // Shares do not change with what all are divided by, and the largest does not underflow.
        let max = log_probs.iter().fold(f64::NEG_INFINITY, |max, x| max.max(*x));
        let weights: Vec<f64> = log_probs.iter().map(|x| (x - max).exp()).collect();
        let total: f64 = weights.iter().sum();
        let of = |option: usize| weights[choice.place_of(option, turn)];
        let weighed: f64 = choice.against.iter().map(|it| of(*it)).sum();
        self.p_right += share(of(choice.right), weighed);
        self.mass += total * max.exp();
        self.first += weights[0] / total * weights.len() as f64;
        self.shares.iter_mut().enumerate().for_each(|(option, sum)| *sum += of(option) / total);
    }

    fn score(&self, choice: &Choice) -> ChoiceScore {
        let n = choice.options.len() as f64;
        ChoiceScore {
            p_right: self.p_right / n,
            is_right: choice.against.iter().all(|it| self.shares[choice.right] > self.shares[*it] + TIE),
            mass: self.mass / n,
            first: self.first / n,
        }
    }
}

/// Returns `a / (a + b)`, or a half where both are too small to be told from nothing.
fn share(a: f64, b: f64) -> f64 {
    if a + b > 0.0 { a / (a + b) } else { 0.5 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn choice(json: &str) -> Choice {
        ChoiceSet::parse(json, Path::new("c.json")).unwrap().choices.remove(0)
    }

    /// The scores of a model that gives each letter (first) and each option (second) so much weight.
    fn scored(choice: &Choice, letters: &[f64], options: &[f64], mass: f64) -> ChoiceScore {
        let mut sums = ChoiceSums::default().for_options(options.len());
        for turn in 0..options.len() {
            let mut weights = letters.to_vec();
            (0..options.len()).for_each(|option| weights[choice.place_of(option, turn)] *= options[option]);
            let total: f64 = weights.iter().sum();
            sums.add(choice, turn, &weights.iter().map(|it| (it / total * mass).ln()).collect::<Vec<_>>());
        }
        sums.score(choice)
    }

    #[test]
    fn a_preference_for_a_letter_is_no_preference_for_an_option() {
        let two = choice(r#"{"question": "Q", "choices": ["x", "y"], "answer": 1}"#);
        let four = choice(r#"{"question": "Q", "choices": ["w", "x", "y", "z"], "answer": 2}"#);
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        let check = |it: &Choice, letters: &[f64], options: &[f64], p: f64, is_right: bool| {
            let got = scored(it, letters, options, 0.9);
            near(got.p_right, p);
            near(got.mass, 0.9);
            assert_eq!(got.is_right, is_right, "{letters:?} {options:?}");
        };
        check(&two, &[9.0, 1.0], &[1.0, 1.0], 0.5, false);
        check(&two, &[1.0, 1.0], &[1.0, 3.0], 0.75, true);
        check(&two, &[1.0, 1.0], &[3.0, 1.0], 0.25, false);
        check(&two, &[99.0, 1.0], &[1.0, 3.0], (3.0 / 102.0 + 297.0 / 298.0) / 2.0, true);
        check(&four, &[1.0; 4], &[1.0, 1.0, 5.0, 1.0], 5.0 / 8.0, true);
        check(&four, &[7.0, 1.0, 1.0, 1.0], &[1.0; 4], 0.25, false);
        near(scored(&two, &[3.0, 1.0], &[1.0, 1.0], 0.9).first, 1.5);
        near(scored(&two, &[1.0, 1.0], &[1.0, 9.0], 0.9).first, 1.0);
    }

    #[test]
    fn options_that_are_not_weighed_do_not_count() {
        let it = choice(
            r#"{"question": "Q\n(A) x\n(B) y\n(C) z", "answer_matching_behavior": "(A)",
                "answer_not_matching_behavior": "(B)"}"#
                .replace(",\n", ",")
                .as_str(),
        );
        let got = scored(&it, &[1.0; 3], &[3.0, 1.0, 96.0], 1.0);
        assert!((got.p_right - 0.75).abs() < 1e-12 && got.is_right, "{got:?}");
    }

    #[test]
    fn the_letter_is_where_answers_begin_to_differ() {
        let check = |answers: &[&[u32]], want: Option<(&[u32], &[u32])>| {
            let answers: Vec<Vec<u32>> = answers.iter().map(|it| it.to_vec()).collect();
            let want = want.map(|(lead, letters)| (lead.to_vec(), letters.to_vec()));
            assert_eq!(split_at_letters(&answers), want, "{answers:?}");
        };
        check(&[&[5, 1], &[5, 2]], Some((&[5], &[1, 2])));
        check(&[&[1], &[2]], Some((&[], &[1, 2])));
        check(&[&[5, 1, 9], &[5, 2, 9]], Some((&[5], &[1, 2])));
        check(&[&[5, 1], &[5, 1]], None);
        check(&[&[5], &[5, 1]], None);
        check(&[&[5, 1], &[5, 2], &[5, 1, 3]], None);
        check(&[], None);
    }

    #[test]
    fn letters_that_no_one_would_write_leave_an_even_choice() {
        let two = choice(r#"{"question": "Q", "choices": ["x", "y"], "answer": 1}"#);
        let got = scored(&two, &[1.0, 1.0], &[1.0, 1.0], 1e-300);
        assert!(got.p_right == 0.5 && !got.is_right && got.mass < 1e-299, "{got:?}");
    }
}
