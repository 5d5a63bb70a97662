//! The limits for waiting on a server and for trying again.
//!
//! Nothing in this module knows what is asked for.

use std::time::Duration;

/// How long to wait for a server, and how often to try again.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The time limit for resolving a name, and for making a connection.
    pub connect: Duration,
    /// The time limit for the next bytes of an answer.
    pub read: Duration,
    /// The number of failures in a row, without progress between them, after which the client gives up.
    pub attempts: u32,
    /// The pause after the first failure. It doubles after each further one.
    pub pause: Duration,
    /// The longest pause, even if the server asks for more.
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

/// A count of failures in a row, which decides on the pauses between them.
pub struct Failures {
    patience: Patience,
    n: u32,
}

impl Failures {
    /// Starts with no failures.
    pub fn new(patience: Patience) -> Failures {
        Failures { patience, n: 0 }
    }

    /// Forgets the failures, after progress.
    pub fn forget(&mut self) {
        self.n = 0;
    }

    /// Counts a failure that may pass and waits, longer after each failure.
    ///
    /// `asked` is the pause that the server asks for. Returns false at once if there have been too many failures,
    /// or if the server asks for more than the longest pause.
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
