use crate::args::SteerArgs;
use crate::terminal::{Failure, print_line, printable, wrap};
use std::path::PathBuf;
use whipstaff_steering::{SteerSpec, resolve_without_model};

#[derive(clap::Args)]
pub struct CheckSteeringArgs {
    /// The file (.toml or .json)
    #[arg(value_name = "F.toml", required_unless_present = "steer")]
    pub file: Option<PathBuf>,
    /// A vector as for generate, beside or instead of the file; may be given several times
    #[arg(long, value_name = "V[:ALPHA][@LAYERS][,KEY=VALUE…]")]
    pub steer: Vec<String>,
    /// Print the steering as JSON, nothing left out that was given
    #[arg(long)]
    pub json: bool,
}

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
