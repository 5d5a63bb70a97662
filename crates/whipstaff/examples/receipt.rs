//! Whether a vector works, compared against chance, and what it costs.

use whipstaff::prelude::*;

fn main() -> whipstaff::Result<()> {
    let model = whipstaff::embedded()?;
    let (contrasts, heldout) = (whipstaff::embedded::contrasts()?, whipstaff::embedded::heldout()?);

    // The dose is chosen on the first held-out contrasts; the receipt is measured on others.
    let vector = model.extractor().heldout(Some(&heldout.first(8))).receipt(0).run(&contrasts)?;
    let rest = ContrastSet { contrasts: heldout.contrasts[8..].to_vec(), ..heldout.clone() };
    let dose = model.steering(&[vector.at_own_dose()])?;
    let controls = Controls { max_contrasts: 8, random: 3, shuffled: 3, ..Controls::default() };
    let options = ReceiptOptions { fitted_on: Some(&contrasts), controls, ..ReceiptOptions::default() };
    let receipt = model.receipt_with(&dose.vectors()[0], &rest, &options)?;

    println!("{}\n", receipt.in_words());
    println!("{:10} {:>8}  95 % interval", "arm", "effect");
    for arm in &receipt.arms {
        let interval =
            arm.effect.interval.map_or("-".into(), |[low, high]| format!("{low:+.3} to {high:+.3}"));
        println!("{:10} {:>+8.3}  {interval}", arm.kind.name(), arm.effect.mean);
    }
    Ok(())
}
