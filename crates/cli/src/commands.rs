//! One function per subcommand; each reads as the list of its steps.

mod capture;
mod convert;
mod demo;
mod doctor;
mod evaluate;
mod extract;
mod figure;
mod generate;
mod model;
mod monitor;
mod quantize;
mod receipt;
mod reference;
mod show;
mod steering;
mod sweep;

pub use capture::capture;
pub use convert::convert;
pub use demo::demo;
pub use doctor::doctor;
pub use evaluate::evaluate;
pub use extract::extract;
pub use figure::figure;
pub use generate::generate;
pub use model::show_model;
pub use monitor::monitor;
pub use quantize::quantize;
pub use receipt::receipt;
pub use show::{completions, show_vector};
pub use steering::check_steering;
pub use sweep::sweep;
