//! What the command line means: arguments turned into domain values, with every cross-check.

use crate::args::{FrameArgs, SamplingArgs};
use crate::terminal::Failure;
use serde::Deserialize;
use std::path::Path;
use whipstaff::LanguageModel;
use whipstaff_engine::{Message, Role, Sampling};
use whipstaff_steering::{Frame, FrameId};

/// Returns the frame asked for, else the one that a vector was made in, else the model's own.
pub fn frame(args: &FrameArgs, loaded: &LanguageModel, made_in: Option<&FrameId>) -> Result<Frame, Failure> {
    Ok(loaded.frame(&args.choice(), made_in)?)
}

/// The sampling settings, each within its range.
pub fn sampling(args: &SamplingArgs) -> Result<Sampling, Failure> {
    let within = |flag: &str, x: f32, low: f32, high: f32| {
        if x >= low && x <= high {
            return Ok(x);
        }
        Err(Failure::Usage(format!("--{flag} {x} is outside {low} to {high}")))
    };
    Ok(Sampling {
        repetition_penalty: within("repetition-penalty", args.repetition_penalty, 0.1, 10.0)?,
        temperature: within("temperature", args.temperature, 0.0, 100.0)?,
        top_k: args.top_k,
        top_p: within("top-p", args.top_p, 0.0, 1.0)?,
        min_p: within("min-p", args.min_p, 0.0, 1.0)?,
        seed: args.seed,
    })
}

/// A list of alphas, each finite.
pub fn alphas(text: &str) -> Result<Vec<f64>, Failure> {
    let alpha = |part: &str| match part.trim().parse::<f64>() {
        Ok(alpha) if alpha.is_finite() => Ok(alpha),
        Ok(alpha) => Err(Failure::Usage(format!("--alphas {text}: alpha {alpha} is not finite"))),
        Err(_) => Err(Failure::Usage(format!("--alphas {text}: `{part}` is not a number"))),
    };
    text.split(',').map(alpha).collect()
}

/// Makes the folder for outputs before any work is done for it.
pub fn output_folder(dir: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(dir)
        .map_err(|error| Failure::Failed(format!("cannot make the folder {}: {error}", dir.display())))?;
    writable(dir)
}

/// Fails now rather than after minutes of work if the folder of an output file cannot be written to.
pub fn output_file(path: &Path) -> Result<(), Failure> {
    let fail = |reason: &str| Err(Failure::Failed(format!("cannot write {}: {reason}", path.display())));
    if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return fail("it is a folder");
    }
    // Files are written by renaming, which would put a file in the place of a device such as /dev/null.
    if path.exists() && !path.is_file() {
        return fail("it is not an ordinary file");
    }
    writable(path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

fn writable(dir: &Path) -> Result<(), Failure> {
    tempfile::Builder::new()
        .prefix(".whipstaff-")
        .tempfile_in(dir)
        .map(drop)
        .map_err(|error| Failure::Failed(format!("cannot write to {}: {error}", dir.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alphas_are_finite_numbers() {
        assert!(alphas("0,0.5,-1").is_ok());
        assert!(alphas("0,nan").is_err() && alphas("").is_err());
    }
}
