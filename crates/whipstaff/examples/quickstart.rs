//! A vector with its evidence, and an answer steered by it: `cargo run --release --example quickstart -p whipstaff`.

use whipstaff::prelude::*;

fn main() -> whipstaff::Result<()> {
    let model = whipstaff::embedded()?; // or `whipstaff::open("org/name")?`
    let contrasts = whipstaff::embedded::contrasts()?; // or `ContrastSet::read("contrasts.jsonl")?`

    let vector = model.extract(&contrasts)?; // fitted, with a recommended dose and a receipt
    println!("{}\n", vector.receipt.as_ref().map_or("not measured", |receipt| receipt.verdict().as_str()));

    let steering = model.steering(&[vector.at(0.8).layers("2-4")?])?;
    for piece in model.ask("Where is the printer?").steered(steering).max_tokens(80).stream()? {
        print!("{}", piece?);
    }
    println!();
    Ok(())
}
