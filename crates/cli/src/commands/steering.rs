use crate::args::{CheckSteeringArgs, SteerArgs};
use crate::failure::Failure;
use crate::output::{print_line, printable, wrap};
use crate::steer::PlannedSteer;
use whipstaff_steering::SteerSpec;

/// `whipstaff steering check`: read the file and its vectors, say what they will do.
pub fn check_steering(args: CheckSteeringArgs) -> Result<(), Failure> {
    let asked = SteerArgs { steer: args.steer, steering: args.file, unit: None };
    let specs = asked.specs()?;
    let steers = specs.iter().map(PlannedSteer::without_model).collect::<Result<Vec<_>, _>>()?;
    for steer in &steers {
        // Only what is finite and within its range may run.
        steer.instruction().check()?;
    }
    if args.json {
        return print_line(&SteerSpec::to_json(&specs));
    }
    if steers.is_empty() {
        return print_line("nothing is steered");
    }
    for (i, steer) in steers.iter().enumerate() {
        let words = printable(&steer.instruction().in_words());
        print_line(&format!("{}. {}", i + 1, wrap(&words, 96).join("\n   ")))?;
    }
    Ok(())
}
