//! Tokens to text as they come: never half a character, never a piece of a stop string.

use super::tokenizer::Tokenizer;
use crate::error::Error;

/// Turns a stream of tokens into pieces of text that are safe to print.
pub struct TextStream {
    stops: Vec<String>,
    ids: Vec<u32>,
    /// The text of `ids[..from]` has been released or waits in `held`.
    from: usize,
    /// Decoding starts here, a little before `from`: some decoders treat the first token apart.
    context: usize,
    held: String,
    stopped: bool,
}

impl TextStream {
    /// Makes a stream that ends before the first of `stops`.
    pub fn new(stops: &[String]) -> TextStream {
        let stops = stops.iter().filter(|stop| !stop.is_empty()).cloned().collect();
        TextStream { stops, ids: Vec::new(), from: 0, context: 0, held: String::new(), stopped: false }
    }

    /// Takes a token and returns the text that is now certain (possibly none).
    ///
    /// # Errors
    /// [`Error::Tokenize`].
    pub fn push(&mut self, id: u32, tokenizer: &Tokenizer) -> Result<String, Error> {
        self.ids.push(id);
        let before = tokenizer.decode(&self.ids[self.context..self.from])?;
        let after = tokenizer.decode(&self.ids[self.context..])?;
        // A character whose bytes are still to come decodes to the replacement character.
        if after.ends_with('\u{fffd}') || !after.starts_with(&before) {
            return Ok(String::new());
        }
        let piece = &after[before.len()..];
        self.held.push_str(piece);
        // Behind a token without text, such as a special one, the next would again be taken for the first.
        if !piece.is_empty() {
            self.context = self.from;
        }
        self.from = self.ids.len();
        Ok(self.release())
    }

    /// Returns what was still held back when the stream ends.
    ///
    /// # Errors
    /// [`Error::Tokenize`].
    pub fn finish(&mut self, tokenizer: &Tokenizer) -> Result<String, Error> {
        if self.stopped {
            return Ok(String::new());
        }
        let before = tokenizer.decode(&self.ids[self.context..self.from])?;
        let after = tokenizer.decode(&self.ids[self.context..])?;
        self.held.push_str(after.strip_prefix(&before).unwrap_or_default());
        self.from = self.ids.len();
        let released = self.release();
        Ok(if self.stopped { released } else { released + &std::mem::take(&mut self.held) })
    }

    /// Returns true if a stop string has been reached.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// Releases the held text up to a stop string, or up to what may still become one.
    fn release(&mut self) -> String {
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.stopped = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let may_become = |tail: &str| self.stops.iter().any(|stop| stop.starts_with(tail));
        let tails = self.held.char_indices().map(|(at, _)| at);
        let keep = tails.into_iter().find(|at| may_become(&self.held[*at..])).unwrap_or(self.held.len());
        let rest = self.held.split_off(keep);
        std::mem::replace(&mut self.held, rest)
    }
}
