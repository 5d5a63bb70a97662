//! Neutral texts: what a dose should leave alone.

use crate::error::Error;
use whipstaff_engine::{Continuation, Tokenizer};

/// Cuts a text at its empty lines, and each paragraph into windows that a context of `max` tokens has room for.
///
/// # Errors
/// [`Error::Engine`] for a text that cannot be tokenized.
pub fn neutral_texts(text: &str, tokenizer: &Tokenizer, max: usize) -> Result<Vec<Continuation>, Error> {
    let mut texts = Vec::new();
    for paragraph in text.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty()) {
        texts.extend(windows(&tokenizer.encode(paragraph)?, max));
    }
    Ok(texts)
}

/// Cuts a text into windows in which every token but the first is predicted once, from at most `max` − 1 tokens before
/// it. A window begins half a context before its first new token.
fn windows(ids: &[u32], max: usize) -> Vec<Continuation> {
    let (mut windows, mut start, mut next) = (Vec::new(), 0, 1);
    while next < ids.len() {
        let end = ids.len().min(start + max.max(2));
        windows.push(Continuation { prompt: ids[start..next].to_vec(), tokens: ids[next..end].to_vec() });
        (start, next) = (end.saturating_sub(max.max(2) / 2), end);
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_but_the_first_is_predicted_once_from_half_a_context_at_least() {
        let check = |len: u32, max: usize, want: &[(&[u32], &[u32])]| {
            let got = windows(&(0..len).collect::<Vec<_>>(), max);
            let got: Vec<(&[u32], &[u32])> = got.iter().map(|it| (&it.prompt[..], &it.tokens[..])).collect();
            assert_eq!(got, want, "{len} tokens, {max} at a time");
        };
        check(0, 4, &[]);
        check(1, 4, &[]);
        check(2, 4, &[(&[0], &[1])]);
        check(4, 4, &[(&[0], &[1, 2, 3])]);
        check(5, 4, &[(&[0], &[1, 2, 3]), (&[2, 3], &[4])]);
        check(8, 4, &[(&[0], &[1, 2, 3]), (&[2, 3], &[4, 5]), (&[4, 5], &[6, 7])]);
        check(3, 1, &[(&[0], &[1]), (&[1], &[2])]);
    }
}
