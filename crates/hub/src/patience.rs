//! How long to wait for a server, and how often to try again. Nothing in here knows what is asked for.

use std::time::Duration;

/// How long to wait and how often to try.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection, with everything that belongs to it.
    pub connect: Duration,
    /// For the next bytes of an answer.
    pub read: Duration,
    /// Failures in a row, without progress between them, before giving up.
    pub attempts: u32,
    /// After the first failure; doubled after each further one.
    pub pause: Duration,
    /// The longest pause, also if the server asks for more.
    pub longest_pause: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            connect: Duration::from_secs(15),
            read: Duration::from_secs(30),
            attempts: 5,
            pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(120),
        }
    }
}

/// Failures in a row, and the pauses between them.
pub struct Failures {
    patience: Patience,
    n: u32,
}

impl Failures {
    /// None yet.
    pub fn new(patience: Patience) -> Failures {
        Failures { patience, n: 0 }
    }

    /// Something got through.
    pub fn forget(&mut self) {
        self.n = 0;
    }

    /// Counts a failure that may pass and waits a while, longer after each; `asked` is how long the server asks to
    /// be left alone. `false`, at once, if it has been one too many, or if the server asks for more than the longest
    /// pause.
    pub fn pause(&mut self, asked: Option<Duration>) -> bool {
        self.n += 1;
        let longest = self.patience.longest_pause;
        if self.n >= self.patience.attempts || asked.is_some_and(|it| it > longest) {
            return false;
        }
        let own = self.patience.pause * 2u32.saturating_pow(self.n - 1);
        std::thread::sleep(asked.unwrap_or(own).min(longest));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends_after_so_many_failures_without_progress() {
        let patience = Patience { attempts: 3, pause: Duration::ZERO, ..Patience::default() };
        let mut failures = Failures::new(patience);
        assert_eq!([(); 3].map(|()| failures.pause(None)), [true, true, false]);
        failures.forget();
        assert!(failures.pause(None));
        let most = patience.longest_pause;
        assert!(!failures.pause(Some(most + Duration::from_secs(1))), "more than the longest pause");
    }
}
