//! An answer, piece by piece.

use crate::error::Error;
use crate::watch::Watcher;
use std::fmt;
use std::sync::Arc;
use whipstaff_engine::{Error as EngineError, Event, Finish, Generator, Model, Tokenizer};
use whipstaff_steering::Answer;

/// One token of an answer. It is displayed as its text.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// The text that became certain with the token; empty while a character is not complete.
    pub text: String,
    /// The token, a stop token included; none if only text was left to be told.
    pub token: Option<u32>,
    /// The token's log-probability, if it was asked for.
    pub log_prob: Option<f64>,
    /// Why the answer ended, on its last piece.
    pub finish: Option<Finish>,
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The pieces of one answer, as they are generated. Dropping the stream ends the answer.
pub struct Stream {
    generator: Generator<Arc<Model>, Arc<Tokenizer>>,
    watch: Watcher,
    /// True until some text has come, if space in front of it belongs to the frame.
    trims: bool,
    /// True once an error has been told: nothing follows it.
    has_failed: bool,
}

impl Stream {
    pub(crate) fn new(
        generator: Generator<Arc<Model>, Arc<Tokenizer>>,
        watch: Watcher,
        is_raw: bool,
    ) -> Stream {
        Stream { generator, watch, trims: !is_raw, has_failed: false }
    }

    /// Runs to the end and returns what has not been taken yet as one answer.
    ///
    /// # Errors
    ///
    /// Returns the first error of the iterator.
    pub fn answer(self) -> Result<Answer, Error> {
        let mut answer = Answer::empty();
        for piece in self {
            let piece = piece?;
            answer.add(&piece.text, piece.token, piece.finish);
        }
        Ok(answer)
    }
}

impl Iterator for Stream {
    type Item = Result<Piece, Error>;

    fn next(&mut self) -> Option<Result<Piece, Error>> {
        if self.has_failed {
            return None;
        }
        let next = self.advance().transpose()?;
        self.has_failed = next.is_err();
        Some(next)
    }
}

impl Stream {
    fn advance(&mut self) -> Result<Option<Piece>, Error> {
        let Some(event) = self.generator.next() else { return Ok(None) };
        let event = event.map_err(EngineError::from)?;
        self.watch.advance(0)?;
        Ok(Some(piece(event, &mut self.trims)))
    }
}

/// Turns an event into a piece. Space in front of the answer's first text is cut while `trims`.
pub(crate) fn piece(event: Event, trims: &mut bool) -> Piece {
    let Event { token, mut text, finish, log_prob, .. } = event;
    if *trims {
        text = text.trim_start().to_owned();
        *trims = text.is_empty();
    }
    Piece { text, token, log_prob, finish }
}
