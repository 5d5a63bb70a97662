//! An operator that is not addition: what lies along the vector is removed, so that the model can lean neither way.

use whipstaff::prelude::*;

fn main() -> whipstaff::Result<()> {
    let model = whipstaff::embedded()?;
    let vector = model.extractor().receipt(0).run(&whipstaff::embedded::contrasts()?)?;

    // The operators are add, project, cap, push, rotate and set; `with` takes what the command line takes.
    let removed = model.steering(&[vector.at(1.0).layers("all")?.op(Op::Project)])?;
    let capped = model.steering(&[vector.at(1.0).layers("all")?.with("op=cap,hi=0,scope=answer")?])?;

    let ask =
        |steered: SteeredBy| model.ask("Where is the printer?").steered(steered).max_tokens(40).answer();
    println!("plain:   {}", ask(SteeredBy::default())?.text);
    println!("removed: {}", ask(removed.into())?.text);
    println!("capped:  {}", ask(capped.into())?.text);
    Ok(())
}
