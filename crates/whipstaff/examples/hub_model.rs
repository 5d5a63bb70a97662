//! A model of the hub by name, with progress on the way: `cargo run --example hub_model -p whipstaff -- org/name`.
//!
//! Without a name, or without a network, it says so and goes on with the model that is compiled in.

use std::sync::Arc;
use whipstaff::prelude::*;

/// Says what happens while a model is downloaded and its weights are packed.
struct Progress;

impl Watch for Progress {
    fn stage(&self, name: &str, total: usize) {
        eprintln!("{name}: {:.1} MB", total as f64 / 1e6);
    }

    fn remark(&self, remark: &Remark) {
        eprintln!("note ({}): {remark}", remark.kind.name());
    }
}

fn main() -> whipstaff::Result<()> {
    let options = OpenOptions::default().memory_limit("80%".parse()?).watch(Arc::new(Progress));
    let model = match std::env::args().nth(1).map(|name| options.open(&name)) {
        Some(Ok(model)) => model,
        Some(Err(error)) if error.kind() == ErrorKind::Access => {
            eprintln!("{error}\nGoing on with the model that is compiled in.");
            options.embedded()?
        }
        Some(Err(error)) => return Err(error),
        None => {
            eprintln!("No model was named: going on with the one that is compiled in.");
            options.embedded()?
        }
    };
    println!("{}: {} layers of width {}", model.name(), model.config().n_layers, model.config().d_model);
    println!("{}", model.ask("Where is the printer?").max_tokens(30).answer()?.text);
    Ok(())
}
