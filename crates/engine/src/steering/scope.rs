//! Which positions of a sequence are edited, and how strongly. Everything here depends on the sequence alone
//! (its tokens, their positions, where its prompt ends), so it is the same however a sequence is batched.

use std::sync::Arc;

/// When an edit acts. The default is everywhere, at full strength.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scope {
    /// The positions that are edited.
    pub span: Span,
    /// The tokens that are edited at these positions; all, if there is no set.
    pub tokens: Option<Arc<TokenSet>>,
    /// How alpha changes while an answer is written.
    pub schedule: Schedule,
}

/// Positions of a sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Span {
    /// Every position.
    #[default]
    All,
    /// The prompt's positions.
    Prompt,
    /// The positions after the prompt. The first token of an answer is chosen at the prompt's last position, so it
    /// is chosen as without steering; the window −1.. includes that position.
    Answer,
    /// The positions from one up to, not including, another. An end that is not given is the end of the sequence.
    Window(Option<Position>, Option<Position>),
}

/// A position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// 0-based, from the beginning of the sequence.
    At(usize),
    /// Before the end of the prompt: 1 is its last token.
    BeforeAnswer(usize),
}

/// The factor on alpha when t tokens have been generated before the one at hand; positions of the prompt
/// count as t = 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Schedule {
    /// 1.
    #[default]
    Constant,
    /// 2^(−t / half_life).
    Decay {
        /// Tokens, more than 0.
        half_life: f64,
    },
    /// min(1, t / tokens).
    Ramp {
        /// Tokens until full strength, more than 0.
        tokens: f64,
    },
    /// 1 for from ≤ t < to, else 0.
    Window {
        /// The first.
        from: usize,
        /// The one after the last; none is without end.
        to: Option<usize>,
    },
}

/// A set of token ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenSet(Vec<u64>);

impl FromIterator<u32> for TokenSet {
    fn from_iter<I: IntoIterator<Item = u32>>(ids: I) -> TokenSet {
        let mut words = Vec::new();
        for id in ids {
            let word = id as usize / 64;
            if words.len() <= word {
                words.resize(word + 1, 0);
            }
            words[word] |= 1 << (id % 64);
        }
        TokenSet(words)
    }
}

impl TokenSet {
    /// Returns true if the set has this id.
    pub fn contains(&self, id: u32) -> bool {
        self.0.get(id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 == 1)
    }

    /// Returns true if the set has no id.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}

impl Scope {
    /// Returns true for every position at full strength.
    pub fn is_everywhere(&self) -> bool {
        self.span == Span::All && self.tokens.is_none() && self.schedule == Schedule::Constant
    }

    /// Returns true if it must be known where the prompt ends.
    pub(crate) fn asks_for_prompt(&self) -> bool {
        let counts_back = |end: Option<Position>| matches!(end, Some(Position::BeforeAnswer(_)));
        let span = match self.span {
            Span::All => false,
            Span::Prompt | Span::Answer => true,
            Span::Window(from, to) => counts_back(from) || counts_back(to),
        };
        span || self.schedule != Schedule::Constant
    }

    /// Returns what alpha is multiplied with at a position that holds `token`; 0 leaves the row alone. `n_prompt`
    /// is the length of the prompt.
    pub(crate) fn strength(&self, position: usize, token: u32, n_prompt: usize) -> f64 {
        let inside = self.span.contains(position, n_prompt)
            && self.tokens.as_ref().is_none_or(|set| set.contains(token));
        if inside { self.schedule.factor(position.saturating_sub(n_prompt)) } else { 0.0 }
    }

    /// Returns a position before which nothing is changed.
    pub(crate) fn first_position(&self, n_prompt: usize) -> usize {
        let first = match self.span {
            Span::All | Span::Prompt => 0,
            Span::Answer => n_prompt,
            Span::Window(from, _) => from.map_or(0, |it| it.resolve(n_prompt)),
        };
        match self.schedule {
            Schedule::Window { from, .. } if from > 0 => first.max(n_prompt + from),
            // At t = 0, and so in the whole prompt, a ramp is 0.
            Schedule::Ramp { .. } => first.max(n_prompt + 1),
            _ => first,
        }
    }
}

impl Span {
    fn contains(self, position: usize, n_prompt: usize) -> bool {
        match self {
            Span::All => true,
            Span::Prompt => position < n_prompt,
            Span::Answer => position >= n_prompt,
            Span::Window(from, to) => {
                from.is_none_or(|it| position >= it.resolve(n_prompt))
                    && to.is_none_or(|it| position < it.resolve(n_prompt))
            }
        }
    }
}

impl Position {
    fn resolve(self, n_prompt: usize) -> usize {
        match self {
            Position::At(position) => position,
            Position::BeforeAnswer(n) => n_prompt.saturating_sub(n),
        }
    }
}

impl Schedule {
    /// Returns what alpha is multiplied by after `t` generated tokens.
    pub fn factor(self, t: usize) -> f64 {
        match self {
            Schedule::Constant => 1.0,
            Schedule::Decay { half_life } => (-(t as f64) / half_life).exp2(),
            Schedule::Ramp { tokens } => (t as f64 / tokens).min(1.0),
            Schedule::Window { from, to } => f64::from(t >= from && to.is_none_or(|to| t < to)),
        }
    }

    /// Returns true if the numbers are within their ranges.
    pub(crate) fn is_sound(self) -> bool {
        match self {
            Schedule::Decay { half_life: n } | Schedule::Ramp { tokens: n } => n.is_finite() && n > 0.0,
            Schedule::Constant | Schedule::Window { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMPT: usize = 5;

    /// Compares the strengths at positions 0 to 8 of a sequence whose prompt has five tokens; token ids are 100 +
    /// position.
    fn check(scope: Scope, want: [f64; 9]) {
        let strength = |position: usize| scope.strength(position, 100 + position as u32, PROMPT);
        let got: Vec<f64> = (0..9).map(strength).collect();
        assert_eq!(got, want, "{scope:?}");
        let first = want.iter().position(|x| *x != 0.0).unwrap_or(9);
        assert!(scope.first_position(PROMPT) <= first, "{scope:?}");
    }

    fn span(span: Span) -> Scope {
        Scope { span, ..Scope::default() }
    }

    fn schedule(schedule: Schedule) -> Scope {
        Scope { schedule, ..Scope::default() }
    }

    #[test]
    fn a_span_holds_its_positions_and_no_others() {
        use Position::{At, BeforeAnswer};
        check(span(Span::All), [1.0; 9]);
        check(span(Span::Prompt), [1., 1., 1., 1., 1., 0., 0., 0., 0.]);
        check(span(Span::Answer), [0., 0., 0., 0., 0., 1., 1., 1., 1.]);
        check(span(Span::Window(Some(At(2)), Some(At(4)))), [0., 0., 1., 1., 0., 0., 0., 0., 0.]);
        check(span(Span::Window(Some(BeforeAnswer(1)), None)), [0., 0., 0., 0., 1., 1., 1., 1., 1.]);
        check(span(Span::Window(None, Some(BeforeAnswer(2)))), [1., 1., 1., 0., 0., 0., 0., 0., 0.]);
        check(span(Span::Window(Some(BeforeAnswer(99)), Some(At(1)))), [1., 0., 0., 0., 0., 0., 0., 0., 0.]);
        check(span(Span::Window(None, None)), [1.0; 9]);
    }

    #[test]
    fn a_schedule_counts_generated_tokens_and_the_prompt_as_none() {
        check(schedule(Schedule::Decay { half_life: 1.0 }), [1., 1., 1., 1., 1., 1., 0.5, 0.25, 0.125]);
        check(schedule(Schedule::Ramp { tokens: 2.0 }), [0., 0., 0., 0., 0., 0., 0.5, 1., 1.]);
        check(schedule(Schedule::Window { from: 1, to: Some(3) }), [0., 0., 0., 0., 0., 0., 1., 1., 0.]);
        check(schedule(Schedule::Window { from: 0, to: Some(2) }), [1., 1., 1., 1., 1., 1., 1., 0., 0.]);
        check(schedule(Schedule::Window { from: 2, to: None }), [0., 0., 0., 0., 0., 0., 0., 1., 1.]);
    }

    #[test]
    fn only_the_tokens_of_the_set_count() {
        let tokens = Some(Arc::new(TokenSet::from_iter([101, 106, 4000])));
        check(Scope { tokens: tokens.clone(), ..span(Span::All) }, [0., 1., 0., 0., 0., 0., 1., 0., 0.]);
        check(Scope { tokens, ..span(Span::Answer) }, [0., 0., 0., 0., 0., 0., 1., 0., 0.]);
        assert!(!TokenSet::default().contains(0) && TokenSet::default().is_empty());
    }

    #[test]
    fn it_is_known_what_needs_the_prompts_end() {
        assert!(!span(Span::All).asks_for_prompt());
        assert!(!span(Span::Window(Some(Position::At(3)), None)).asks_for_prompt());
        assert!(span(Span::Window(Some(Position::BeforeAnswer(3)), None)).asks_for_prompt());
        assert!(span(Span::Answer).asks_for_prompt() && span(Span::Prompt).asks_for_prompt());
        assert!(schedule(Schedule::Ramp { tokens: 3.0 }).asks_for_prompt());
    }
}
