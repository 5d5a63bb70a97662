//! What is shown while a model is found and loaded: downloads and packing as bars in bytes, remarks as notes.

use super::output::note;
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::Mutex;
use whipstaff::{Remark, RemarkKind, Watch};
use whipstaff_steering::Error;

/// A bar on standard error while files come in and weights are packed; nothing at all if that is not a terminal.
pub struct Loading {
    bar: Mutex<ProgressBar>,
}

impl Default for Loading {
    fn default() -> Loading {
        Loading { bar: Mutex::new(ProgressBar::hidden()) }
    }
}

impl Loading {
    /// Takes the bar off the screen.
    pub fn clear(&self) {
        self.bar().finish_and_clear();
    }

    fn bar(&self) -> ProgressBar {
        self.bar.lock().expect("no one panics here").clone()
    }
}

impl Watch for Loading {
    fn stage(&self, name: &str, n_bytes: usize) {
        self.clear();
        let template = match name {
            "downloading" => "{msg:20} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} left",
            _ => "{msg:20} {bar:30} {bytes}/{total_bytes}",
        };
        let bar = ProgressBar::new(n_bytes as u64).with_message(name.to_owned());
        bar.set_style(ProgressStyle::with_template(template).expect("a valid template"));
        *self.bar.lock().expect("no one panics here") = bar;
    }

    fn advance(&self, n_bytes: usize) -> Result<(), Error> {
        self.bar().inc(n_bytes as u64);
        Ok(())
    }

    /// Prints a remark. That a vector is given at its own dose is what a command line without a dose asks for.
    fn remark(&self, remark: &Remark) {
        if remark.kind != RemarkKind::Dose {
            self.bar().suspend(|| note(&remark.text));
        }
    }
}
