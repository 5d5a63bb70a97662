//! What a model computes on: threads, precision and the kernel set.

use crate::error::Error;
use std::num::NonZeroUsize;
use whipstaff_engine::{Cpu, Isa, Precision, available};

/// The variable of the environment that names a kernel set.
const KERNELS: &str = "WHIPSTAFF_KERNELS";

/// What to compute on. The default is every core, the fastest kernel set and [`Precision::Fast`].
#[derive(Clone, Debug, Default)]
pub struct Compute {
    /// The number of threads; without one, as many as this process has processors.
    pub threads: Option<NonZeroUsize>,
    /// How exactly products are taken.
    pub precision: Precision,
    /// The kernel set by name, such as `avx2` or `plain`; without one, the one that `WHIPSTAFF_KERNELS` names, else
    /// the fastest that this processor runs.
    pub kernels: Option<String>,
}

impl Compute {
    /// Makes the threads.
    ///
    /// # Errors
    ///
    /// Returns [`Error::NoSuchKernels`] for a kernel set that this processor does not run.
    pub fn cpu(&self) -> Result<Cpu, Error> {
        let threads = self.threads.map_or_else(available, NonZeroUsize::get);
        Ok(Cpu::new(self.isa()?, threads).with_precision(self.precision))
    }

    fn isa(&self) -> Result<Isa, Error> {
        let of_environment = || std::env::var(KERNELS).ok().filter(|name| !name.is_empty());
        let (asked, name) = match &self.kernels {
            Some(name) => (format!("kernel set `{name}`"), name.clone()),
            None => match of_environment() {
                Some(name) => (format!("{KERNELS}={name}"), name),
                None => return Ok(Isa::best()),
            },
        };
        Isa::named(&name).map_err(|error| Error::NoSuchKernels { asked, available: error.available })
    }
}
