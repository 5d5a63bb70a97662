use crate::args::{ComputeArgs, EvidenceArgs, FrameArgs, ModelArg, resolved_one, steer_spec};
use crate::files;
use crate::terminal::{Bar, Failure, print_line};
use crate::view::receipt_text;
use std::path::{Path, PathBuf};
use whipstaff::{LanguageModel, Preview, ReceiptOptions};
use whipstaff_engine::Continuation;
use whipstaff_steering::{Application, ContrastSet, Controls, PersonaVector, Unit};

#[derive(clap::Args)]
pub struct ReceiptArgs {
    /// The vector, optionally with another dose than its own or another operator, as for generate:
    /// V.safetensors:1@8,op=cap,hi=-0.8
    #[arg(value_name = "V[:ALPHA][@LAYERS][,KEY=VALUE…]")]
    pub vector: String,
    #[command(flatten)]
    pub model: ModelArg,
    /// Contrasts that the vector was not fitted on
    #[arg(long, value_name = "F.jsonl")]
    pub heldout: PathBuf,
    /// Contrasts that the vector was fitted on, for the control with shuffled labels [default: the held-out ones]
    #[arg(long, value_name = "F.jsonl")]
    pub contrasts: Option<PathBuf>,
    /// The unit of alpha: gap, rms or unit [default: gap; for a control vector the unit of its
    /// coefficients]
    #[arg(long)]
    pub unit: Option<Unit>,
    #[command(flatten)]
    pub evidence: EvidenceArgs,
    #[command(flatten)]
    pub frame: FrameArgs,
    /// Write the vector with this receipt to a file
    #[arg(short, long, value_name = "V.safetensors")]
    pub output: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `whipstaff receipt`: read vector and contrasts → measure → print, and store it if asked to.
pub fn receipt(args: ReceiptArgs, on: ComputeArgs) -> Result<(), Failure> {
    let spec = steer_spec("vector", &args.vector, args.unit)?;
    if spec.gate.is_some() {
        return Err(Failure::Usage(format!(
            "{}: a gate opens for some prompts and not for others: measure what it lets through, without the gate",
            args.vector
        )));
    }
    if args.output.is_some() && spec.how != Application::default() {
        return Err(Failure::Usage(
            "-o: a vector's file keeps the receipt of adding it at every position: leave out -o, or print --json".into(),
        ));
    }
    let heldout = ContrastSet::read(&args.heldout)?;
    let fitted_on = args.contrasts.as_deref().map(ContrastSet::read).transpose()?;
    let fitted_on = fitted_on.as_ref().unwrap_or(&heldout);
    args.output.as_deref().map_or(Ok(()), files::output_file)?;
    let work = |it: &Preview| it.extraction(fitted_on, Some(&heldout), true);
    let loaded = args.model.open(on, work)?;
    let steer = resolved_one(spec, &loaded)?;
    let (loaded, bar) = Bar::watching(loaded)?;
    let controls = controls(&loaded, &args.evidence)?;
    let options = ReceiptOptions { fitted_on: Some(fitted_on), controls, frame: args.frame.choice() };
    let found = loaded.receipt_with(&steer, &heldout, &options)?;
    bar.clear();
    bar.check()?;
    if let Some(path) = &args.output {
        PersonaVector { receipt: Some(found.clone()), ..steer.vector }.write(path)?;
    }
    if args.json { print_line(&found.to_json()) } else { print_line(receipt_text(&found).trim_end()) }
}

/// What a receipt compares with, as the command line asks for it.
pub fn controls(loaded: &LanguageModel, evidence: &EvidenceArgs) -> Result<Controls, Failure> {
    Ok(Controls {
        max_contrasts: evidence.receipt,
        persona: evidence.personas(),
        neutral: neutral(loaded, evidence.neutral.as_deref())?,
        seed: evidence.seed,
        ..Controls::default()
    })
}

/// Returns the texts to measure damage on: the paragraphs of a file, or the library's own.
pub fn neutral(loaded: &LanguageModel, path: Option<&Path>) -> Result<Vec<Continuation>, Failure> {
    let Some(path) = path else { return Ok(loaded.neutral_texts(None)?) };
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::BadInput(format!("cannot read {}: {error}", path.display())))?;
    match loaded.neutral_texts(Some(&text))? {
        texts if texts.is_empty() => Err(Failure::BadInput(format!("{}: holds no text", path.display()))),
        texts => Ok(texts),
    }
}
