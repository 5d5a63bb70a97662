use crate::args::{ComputeArgs, QuantizeArgs};
use crate::failure::Failure;
use crate::loaded::{self, Found};
use crate::memory::Size;
use crate::output::{note, print_line};
use crate::plan;
use crate::progress::Bar;
use std::path::PathBuf;
use whipstaff_disk::Streamed;
use whipstaff_engine::Quantised;
use whipstaff_steering::Watch;

/// `whipstaff quantize`: read the headers → plan the file → quantise and write it piece by piece → sizes.
pub fn quantize(args: QuantizeArgs, on: ComputeArgs) -> Result<(), Failure> {
    let cpu = loaded::cpu(on)?;
    let found = Found::new(Some(&args.model))?;
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
    plan::output_file(&output)?;
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
