use crate::args::{ComputeArgs, locate};
use crate::files;
use crate::terminal::{Bar, Failure, note, print_line};
use std::path::PathBuf;
use whipstaff::Size;
use whipstaff_disk::Streamed;
use whipstaff_engine::{Dtype, Quantised};
use whipstaff_steering::Watch;

#[derive(clap::Args)]
pub struct QuantizeArgs {
    /// A Hugging Face directory, or a model of the hub: ORG/NAME, optionally with @REVISION
    #[arg(long, value_name = "MODEL")]
    pub model: String,
    /// The type of the large matrices: q8_0 (8.5 bits a weight, hardly any loss), q4_k (4.5 bits), or floats
    #[arg(long = "type", value_name = "TYPE", value_enum)]
    pub kind: KindArg,
    /// The file [default: NAME-TYPE.gguf]
    #[arg(short, long, value_name = "F.gguf")]
    pub output: Option<PathBuf>,
    /// Replace the file if it is there
    #[arg(long)]
    pub force: bool,
}

/// Types that are written.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum KindArg {
    /// Floats of 32 bits: nothing is lost
    F32,
    /// Floats of 16 bits, as most GGUF files have them
    F16,
    /// Floats of 16 bits with the range of 32
    Bf16,
    /// Blocks of 32 with 8 bits each
    #[value(name = "q8_0")]
    Q8_0,
    /// Blocks of 256 with 4 bits each; the embedding and the head Q8_0
    #[value(name = "q4_k")]
    Q4K,
}

impl KindArg {
    /// The engine's name for it.
    pub fn dtype(self) -> Dtype {
        match self {
            KindArg::F32 => Dtype::F32,
            KindArg::F16 => Dtype::F16,
            KindArg::Bf16 => Dtype::Bf16,
            KindArg::Q8_0 => Dtype::Q8_0,
            KindArg::Q4K => Dtype::Q4K,
        }
    }
}

/// `whipstaff quantize`: read the headers → plan the file → quantise and write it piece by piece → sizes.
pub fn quantize(args: QuantizeArgs, on: ComputeArgs) -> Result<(), Failure> {
    let cpu = on.compute().cpu()?;
    let found = locate("--model", Some(&args.model))?;
    let dir = found.path().expect("the model has been named");
    if dir.is_file() {
        return Err(Failure::BadInput(format!(
            "{} is a file, not a folder with safetensors: what is quantised already only gets worse; give the \
             model that it was made from",
            dir.display()
        )));
    }
    let name = found.name.rsplit('/').next().unwrap_or(&found.name).replace(['@', ':'], "-");
    let kind = args.kind.dtype();
    let output = args.output.unwrap_or_else(|| PathBuf::from(format!("{name}-{}.gguf", kind.name())));
    files::output_file(&output)?;
    if output.exists() && !args.force {
        return Err(Failure::Usage(format!(
            "{} is there already: give another name with -o, or --force to replace it",
            output.display()
        )));
    }
    let file = Quantised::plan(dir, &found.name, kind)?;
    if let Some(what) = file.inexact() {
        note(&format!(
            "{what}, for which llama.cpp has no key: it will cut a few texts otherwise. The file has the original \
             tokenizer as well, which Whipstaff reads"
        ));
    }
    let bar = Bar::new()?;
    bar.stage("quantising", (file.n_bytes() >> 20) as usize);
    let mut out = Streamed::create(&output)?;
    let mut written = 0u64;
    for piece in file.pieces(&cpu) {
        let piece = piece?;
        out.write(&piece)?;
        let before = written;
        written += piece.len() as u64;
        bar.advance(((written >> 20) - (before >> 20)) as usize)?;
    }
    out.finish(args.force)?;
    bar.clear();
    print_line(&format!(
        "{} written to {}: {} before, {} after, {:.2} bits per weight",
        kind.name(),
        output.display(),
        Size(file.source_bytes()),
        Size(written),
        written as f64 * 8.0 / file.n_parameters() as f64
    ))
}
