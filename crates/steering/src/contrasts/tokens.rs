//! The rules that say which tokens of a text are averaged.

use super::set::ContrastSet;
use crate::error::Error;
use std::{fmt, ops::Range, str::FromStr};

/// A rule that says which tokens of an answer, or before it, are averaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenRule {
    /// All tokens of the answer.
    #[default]
    Answer,
    /// Its last token.
    Last,
    /// Its first token.
    AnswerFirst,
    /// One of its tokens: 0 is the first, -1 the last.
    Index(i32),
    /// The last token before the answer.
    PromptLast,
    /// Everything but the very first token, which in most models is like no other.
    All,
}

impl TokenRule {
    /// Returns the positions that count of each text: slot `2 i` is the positive answer of contrast `i`, slot `2 i + 1`
    /// the negative one.
    ///
    /// # Errors
    /// [`Error::Setting`] if an answer has no such token, or if the rule reads what is the same on both sides.
    pub(crate) fn of_all<'a>(
        self,
        set: &ContrastSet,
        texts: impl Iterator<Item = (&'a [Vec<u32>; 2], &'a [Vec<u32>; 2])>,
    ) -> Result<Vec<Range<usize>>, Error> {
        let mut all = Vec::new();
        for (i, (prompts, answers)) in texts.enumerate() {
            if self == TokenRule::PromptLast && prompts[0] == prompts[1] {
                return Err(Error::Setting(format!(
                    "--tokens prompt-last: what comes before the answers of contrast {} of `{}` is the same on both \
                     sides; give it a `positive_system` and a `negative_system`",
                    i + 1,
                    set.name
                )));
            }
            for (prompt, answer) in prompts.iter().zip(answers) {
                all.push(self.positions(prompt.len(), answer.len()).ok_or_else(|| {
                    Error::Setting(format!(
                        "--tokens {self}: an answer of contrast {} of `{}` has only {} tokens",
                        i + 1,
                        set.name,
                        answer.len()
                    ))
                })?);
            }
        }
        Ok(all)
    }

    /// Returns true if tokens before the answer count.
    pub(crate) fn reads_prompts(self) -> bool {
        matches!(self, TokenRule::PromptLast | TokenRule::All)
    }

    /// Returns the positions that count, for an answer of `len` tokens behind `prompt` tokens.
    fn positions(self, prompt: usize, len: usize) -> Option<Range<usize>> {
        let end = prompt + len;
        let at = |index: i32| {
            let i = if index < 0 { len.checked_sub(index.unsigned_abs() as usize)? } else { index as usize };
            (i < len).then_some(prompt + i..prompt + i + 1)
        };
        match self {
            TokenRule::Answer => Some(prompt..end),
            TokenRule::Last => at(-1),
            TokenRule::AnswerFirst => at(0),
            TokenRule::Index(index) => at(index),
            TokenRule::PromptLast => Some(prompt.checked_sub(1)?..prompt),
            TokenRule::All => Some(1.min(end - 1)..end),
        }
    }
}

impl fmt::Display for TokenRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenRule::Answer => f.write_str("answer"),
            TokenRule::Last => f.write_str("last"),
            TokenRule::AnswerFirst => f.write_str("answer-first"),
            TokenRule::Index(index) => write!(f, "{index}"),
            TokenRule::PromptLast => f.write_str("prompt-last"),
            TokenRule::All => f.write_str("all"),
        }
    }
}

impl FromStr for TokenRule {
    type Err = String;
    fn from_str(name: &str) -> Result<TokenRule, String> {
        use TokenRule::{All, Answer, AnswerFirst, Last, PromptLast};
        let named =
            [Answer, Last, AnswerFirst, PromptLast, All].into_iter().find(|rule| rule.to_string() == name);
        named.or_else(|| name.parse().ok().map(TokenRule::Index)).ok_or_else(|| {
            format!(
                "`{name}` is not a token rule (rules: answer, last, answer-first, prompt-last, all, or an index into \
                 the answer: 0 is its first token, -1 its last)"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_counts_the_positions_that_it_says() {
        let check = |rule: &str, want: Option<Range<usize>>| {
            let rule: TokenRule = rule.parse().unwrap();
            assert_eq!(rule.positions(5, 3), want, "{rule}");
        };
        check("answer", Some(5..8));
        check("last", Some(7..8));
        check("answer-first", Some(5..6));
        check("prompt-last", Some(4..5));
        check("all", Some(1..8));
        check("0", Some(5..6));
        check("2", Some(7..8));
        check("3", None);
        check("-1", Some(7..8));
        check("-3", Some(5..6));
        check("-4", None);
    }

    #[test]
    fn names_and_rules_belong_together() {
        for name in ["answer", "last", "answer-first", "prompt-last", "all", "0", "-2"] {
            assert_eq!(name.parse::<TokenRule>().unwrap().to_string(), name);
        }
        assert!("first".parse::<TokenRule>().is_err());
    }
}
