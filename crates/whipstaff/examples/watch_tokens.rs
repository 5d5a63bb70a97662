//! Where each token of an answer stands on a vector.

use whipstaff::prelude::*;

fn main() -> whipstaff::Result<()> {
    let model = whipstaff::embedded()?;
    let vector = model.extractor().receipt(0).run(&whipstaff::embedded::contrasts()?)?;
    let layer = vector.recommended.as_ref().map_or(3, |recommended| recommended.best_layer);

    let ask = model.ask("Where is the printer?").max_tokens(40);
    let answer = ask.answer()?;
    let text = Text::new(&ask.prompt_ids()?, &answer.tokens);
    let found = model.project(&vector, &text, &[layer], &Steering::default())?;

    println!("projection at layer {layer}, in {:?} of the stream", found.layers[0].ruler.unit);
    for (token, value) in found.tokens.iter().zip(&found.layers[0].values) {
        let bar = "#".repeat((value.abs() * 20.0).min(40.0) as usize);
        println!("{:>14} {value:>+7.3} {bar}", format!("{token:?}"));
    }
    Ok(())
}
