//! A vector, and an answer steered by it: `cargo run --release --example quickstart -p whipstaff`.

use whipstaff::prelude::*;

fn main() -> whipstaff::Result<()> {
    // The model that is compiled in. `whipstaff::open` takes a folder, a .gguf file or a name on the hub.
    let model = whipstaff::embedded()?;
    let contrasts: ContrastSet = whipstaff::embedded::contrasts()?; // or `ContrastSet::read(path)?`

    // Fits the vector and finds the best layers. `model.extract(&contrasts)` also measures a receipt.
    let vector = model.extractor().receipt(0).run(&contrasts)?;

    let steering = model.steering(&[vector.at(0.5)])?;
    for piece in model.ask("Where is the printer?").steered(steering).max_tokens(60).stream()? {
        print!("{}", piece?);
    }
    println!();
    Ok(())
}
