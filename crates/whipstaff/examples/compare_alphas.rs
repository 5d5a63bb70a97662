//! One prompt at several alphas, side by side in one batch.

fn main() -> whipstaff::Result<()> {
    let model = whipstaff::embedded()?;
    let vector = model.extractor().receipt(0).run(&whipstaff::embedded::contrasts()?)?;
    let steering = model.steering(&[vector.at(1.0)])?;

    let ask = model.ask("Where is the reading room?").steered(steering).max_tokens(40);
    for side in ask.compare_at(&[0.0, 0.5, 1.0, -0.5, -1.0])? {
        println!("{:>10}  {}", side.label, side.answer.text.replace('\n', " "));
    }
    Ok(())
}
