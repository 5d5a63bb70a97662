//! A local model as the judge: the probabilities of all numbers, without asking a server.

use super::rating::{Judge, JudgeReply};
use crate::contrasts::Frame;
use crate::error::Error;
use whipstaff_engine::{Continuation, Message, Model, Role, Tokenizer, score};

/// A local model that judges.
pub struct LocalJudge<'m> {
    model: &'m Model,
    tokenizer: &'m Tokenizer,
    frame: Frame,
    name: String,
}

impl<'m> LocalJudge<'m> {
    /// Makes a judge of a model that is talked to in `frame`; `name` names it in errors.
    pub fn new(model: &'m Model, tokenizer: &'m Tokenizer, frame: Frame, name: &str) -> LocalJudge<'m> {
        LocalJudge { model, tokenizer, frame, name: name.to_owned() }
    }
}

/// The count of numbers that can be said.
const N_NUMBERS: usize = 101;

impl Judge for LocalJudge<'_> {
    fn identity(&self) -> String {
        format!("local {} {:?}", self.model.weights().sha256(), self.frame.id())
    }

    fn reply(&self, prompt: &str) -> Result<JudgeReply, Error> {
        let wrong = |reason: String| Error::Judge { judge: self.name.clone(), reason };
        let numbers: Vec<String> = (0..N_NUMBERS).map(|n| n.to_string()).collect();
        let answers: Vec<&str> = numbers.iter().map(String::as_str).collect();
        let question = [Message::new(Role::User, prompt)];
        let (prompt, answers) = self.frame.answered_ids(self.tokenizer, &question, &answers)?;
        let longest = prompt.len() + answers.iter().map(Vec::len).max().unwrap_or(0);
        let max = self.model.config().max_positions;
        if longest > max {
            return Err(wrong(format!(
                "an answer to judge has {longest} tokens with all that belongs to it, its context is {max}: give fewer \
                 --max-tokens, or another judge"
            )));
        }
        let text = |tokens: &Vec<u32>| Continuation { prompt: prompt.clone(), tokens: tokens.clone() };
        let scores = score(self.model, &answers.iter().map(text).collect::<Vec<_>>())?;
        let begun: Vec<f64> = scores.iter().map(|it| it.iter().sum::<f64>().exp()).collect();
        let probs = ended(&answers, &begun);
        let best = (0..N_NUMBERS).fold(0, |best, n| if probs[n] > probs[best] { n } else { best });
        let text = numbers[best].clone();
        let possible = numbers.into_iter().zip(probs).filter(|(_, p)| *p > 0.0);
        let alternatives = possible.map(|(number, p)| (number, p.ln())).collect();
        Ok(JudgeReply { text, alternatives })
    }
}

/// Returns the probability that each number is said, and not a longer one: where digits are tokens of their own, `8` may
/// also be how `85` begins. `begun[n]` is the probability that the reply begins with the tokens of `n`.
fn ended(tokens: &[Vec<u32>], begun: &[f64]) -> Vec<f64> {
    let goes_on =
        |shorter: &[u32], longer: &[u32]| longer.len() == shorter.len() + 1 && longer.starts_with(shorter);
    let longer = |n: usize| {
        let all = tokens.iter().zip(begun).filter(move |(it, _)| goes_on(&tokens[n], it));
        all.map(|(_, p)| p).sum::<f64>()
    };
    // Rounding may leave a number that always goes on a hair below zero.
    (0..tokens.len()).map(|n| (begun[n] - longer(n)).max(0.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_goes_on_is_not_the_number() {
        let check = |tokens: &[&[u32]], begun: &[f64], want: &[f64]| {
            let tokens: Vec<Vec<u32>> = tokens.iter().map(|it| it.to_vec()).collect();
            let got = ended(&tokens, begun);
            assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-12), "{got:?}");
        };
        // One token each.
        check(&[&[1], &[2], &[3]], &[0.5, 0.3, 0.2], &[0.5, 0.3, 0.2]);
        // 1, 10, 100, 5 in digits.
        check(&[&[1], &[1, 0], &[1, 0, 0], &[5]], &[0.9, 0.7, 0.6, 0.1], &[0.2, 0.1, 0.6, 0.1]);
        check(&[&[1], &[1, 0]], &[0.7, 0.7 + 1e-17], &[0.0, 0.7]);
    }
}
