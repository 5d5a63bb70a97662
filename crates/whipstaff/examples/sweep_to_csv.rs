//! Every layer at a few alphas, measured on held-out contrasts, as CSV.

use whipstaff::prelude::*;

fn main() -> whipstaff::Result<()> {
    let model = whipstaff::embedded()?;
    let (contrasts, heldout) = (whipstaff::embedded::contrasts()?, whipstaff::embedded::heldout()?);
    let options = SweepOptions {
        alphas: vec![0.5, 1.0],
        layers: vec![vec![2], vec![3], vec![2, 3]],
        max_contrasts: 8,
        // With `journal: Some(path)`, an interrupted sweep resumes where it was.
        ..SweepOptions::default()
    };
    let table = model.sweep(&contrasts, &heldout, &options)?;
    print!("{}", table.to_csv());
    match table.pick {
        Some(pick) => eprintln!("best: alpha {} at layers {:?}", pick.place.alpha, pick.place.layers),
        None => eprintln!("no dose is within the budget"),
    }
    Ok(())
}
