use crate::args::{CheckSteeringArgs, SteerArgs};
use crate::failure::Failure;
use crate::output::{print_line, printable, wrap};
use whipstaff_steering::{SteerSpec, resolve_without_model};

/// `whipstaff steering check`: read the file and its vectors, say what they will do.
pub fn check_steering(args: CheckSteeringArgs) -> Result<(), Failure> {
    let asked = SteerArgs { steer: args.steer, steering: args.file, unit: None };
    let specs = asked.specs()?;
    let resolved = resolve_without_model(&specs).map_err(|error| Failure::from(error).about("--steer"))?;
    // Only what is finite and within its range may run.
    resolved.check()?;
    if args.json {
        return print_line(&SteerSpec::to_json(&specs));
    }
    if resolved.vectors().is_empty() {
        return print_line("nothing is steered");
    }
    for (i, steer) in resolved.vectors().iter().enumerate() {
        let words = printable(&steer.instruction().in_words());
        print_line(&format!("{}. {}", i + 1, wrap(&words, 96).join("\n   ")))?;
    }
    Ok(())
}
