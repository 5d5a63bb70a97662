//! How long work tells where it is, and learns that it should stop.

use crate::Error;

/// Watches long work. Implementations must be cheap: they are called once per forward pass.
pub trait Progress {
    /// A new stage of `total` steps begins.
    fn stage(&self, name: &str, total: usize);

    /// `n` more steps are done.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if the work should stop here.
    fn advance(&self, n: usize) -> Result<(), Error>;
}

/// Shows nothing, never stops.
pub struct NoProgress;

impl Progress for NoProgress {
    fn stage(&self, _: &str, _: usize) {}
    fn advance(&self, _: usize) -> Result<(), Error> {
        Ok(())
    }
}
