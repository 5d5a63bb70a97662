use crate::terminal::{Failure, print_line};
use crate::view::{print_vector, vector_json};
use std::path::PathBuf;
use whipstaff_steering::{Convention, PersonaVector};

#[derive(clap::Args)]
pub struct ShowVectorArgs {
    /// The vector file, or a control vector (.gguf)
    #[arg(value_name = "V.safetensors")]
    pub vector: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `whipstaff vector show`.
pub fn show_vector(args: ShowVectorArgs) -> Result<(), Failure> {
    let (vector, _) = PersonaVector::read_from(&args.vector, Convention::default())?;
    if args.json { print_line(&vector_json(&vector).to_string()) } else { print_vector(&vector) }
}
