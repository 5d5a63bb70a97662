//! A vector, and an answer steered by it.
//!
//! `cargo run --release --example quickstart -p whipstaff`

use whipstaff::prelude::*;

fn main() -> whipstaff::Result<()> {
    // The model that is compiled in. A folder, a .gguf file or a name on the hub: `whipstaff::open("org/name")`.
    let model = whipstaff::embedded()?;
    let contrasts: ContrastSet = whipstaff::embedded::contrasts()?;

    // Fitted on the contrasts. `model.extract(&contrasts)` also measures a receipt, which takes some seconds more.
    let vector = model.extractor().receipt(0).run(&contrasts)?;
    let (layers, alpha) = vector.default_dose();
    println!("recommended: alpha {alpha} at layers {layers:?}\n");

    let steering = model.steering(&[vector.at_own_dose()])?;
    for piece in model.ask("Where is the printer?").steered(steering).max_tokens(60).stream()? {
        print!("{}", piece?);
    }
    println!();
    Ok(())
}
