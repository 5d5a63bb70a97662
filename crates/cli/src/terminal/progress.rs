//! Progress bars on standard error, and ctrl-C.

use super::failure::Failure;
use super::output::note;
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use whipstaff::LanguageModel;
use whipstaff_steering::{Error, Remark, RemarkKind, Watch};

/// Shows where long work is (only on a terminal), and stops it when the user asks to.
pub struct Bar {
    bar: Mutex<ProgressBar>,
    interrupted: Arc<AtomicBool>,
}

impl Bar {
    /// A bar that listens to ctrl-C: the first asks the work to stop between two passes, so that
    /// files are whole or absent; the second ends the program at once.
    pub fn new() -> Result<Bar, Failure> {
        let interrupted = Arc::new(AtomicBool::new(false));
        let flag = interrupted.clone();
        let handler = move || {
            if flag.swap(true, Ordering::SeqCst) {
                std::process::exit(130);
            }
        };
        ctrlc::set_handler(handler).map_err(|error| Failure::Failed(format!("ctrl-C: {error}")))?;
        Ok(Bar { bar: Mutex::new(ProgressBar::hidden()), interrupted })
    }

    /// Returns a model and a bar that shows everything that is done with the model.
    pub fn watching(model: LanguageModel) -> Result<(LanguageModel, Arc<Bar>), Failure> {
        let bar = Arc::new(Bar::new()?);
        Ok((model.watched_by(bar.clone()), bar))
    }

    /// Fails if the user has asked to stop.
    pub fn check(&self) -> Result<(), Failure> {
        if self.interrupted.load(Ordering::SeqCst) { Err(Failure::Interrupted) } else { Ok(()) }
    }

    /// Takes the bar off the screen.
    pub fn clear(&self) {
        self.bar.lock().expect("no one panics here").finish_and_clear();
    }
}

impl Watch for Bar {
    fn stage(&self, name: &str, total: usize) {
        self.clear();
        // indicatif draws to standard error, and nothing at all if that is not a terminal.
        let style = ProgressStyle::with_template("{msg:20} {bar:30} {pos}/{len} {eta} left");
        let bar = ProgressBar::new(total as u64).with_message(name.to_owned());
        bar.set_style(style.expect("a valid template"));
        *self.bar.lock().expect("no one panics here") = bar;
    }

    fn advance(&self, n: usize) -> Result<(), Error> {
        self.bar.lock().expect("no one panics here").inc(n as u64);
        if self.interrupted.load(Ordering::SeqCst) { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Prints a remark. That a vector is given at its own dose is what a command line without a dose asks for.
    fn remark(&self, remark: &Remark) {
        if remark.kind != RemarkKind::Dose {
            self.clear();
            note(&remark.text);
        }
    }
}
