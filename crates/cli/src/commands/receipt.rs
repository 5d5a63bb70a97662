use crate::args::{ComputeArgs, EvidenceArgs, FrameArgs, ModelArg};
use crate::plan;
use crate::steer::{self, resolved_one};
use crate::terminal::{Bar, Failure, print_line};
use crate::view::receipt_text;
use std::path::{Path, PathBuf};
use whipstaff::{LanguageModel, Preview};
use whipstaff_engine::Continuation;
use whipstaff_steering::{
    AnswerRows, Application, Bench, ContrastSet, Controls, Dose, ExtractOptions, Instruction, Method,
    PersonaVector, ResolvedVector, TokenRule, Unit, neutral_texts,
};

#[derive(clap::Args)]
pub struct ReceiptArgs {
    /// The vector and, if you like, another dose than its own, or another operator, as for generate:
    /// V.safetensors:1@8,op=cap,hi=-0.8
    #[arg(value_name = "V[:ALPHA][@LAYERS][,KEY=VALUE…]")]
    pub vector: String,
    #[command(flatten)]
    pub model: ModelArg,
    /// Contrasts that the vector was not fitted on
    #[arg(long, value_name = "F.jsonl")]
    pub heldout: PathBuf,
    /// Contrasts that it was fitted on, for the control with shuffled labels [default: the held-out ones]
    #[arg(long, value_name = "F.jsonl")]
    pub contrasts: Option<PathBuf>,
    /// What alpha is counted in: gap, rms or unit [default: gap; for a control vector the unit of its
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
    let spec = steer::spec("vector", &args.vector, args.unit)?;
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
    args.output.as_deref().map_or(Ok(()), plan::output_file)?;
    let work = |it: &Preview| it.extraction(fitted_on, Some(&heldout), true);
    let loaded = args.model.open(on, work)?;
    let steer = resolved_one(spec, &loaded)?;
    let frame = plan::frame(&args.frame, &loaded, steer.frame())?;
    let ResolvedVector { vector, alpha, unit, layers, how, tokens, .. } = steer;
    let bar = Bar::new()?;
    let options = ExtractOptions {
        model: vector.provenance.model.clone(),
        frame: frame.clone(),
        tokens: TokenRule::Answer,
        layers: layers.clone(),
        method: Method::Mean,
        seed: args.evidence.seed,
    };
    let rows = AnswerRows::read(&loaded.model, loaded.tokenizer()?, fitted_on, &options, &bar)?;
    let controls = controls(&loaded, &args.evidence)?;
    let tokenizer = loaded.tokenizer()?;
    let bench = Bench { model: &loaded.model, tokenizer, frame: &frame, watch: &bar };
    let instruction =
        Instruction { dose: Dose { vector: &vector, alpha, unit, layers }, how, condition: None, tokens };
    let found = bench.receipt(&instruction, &rows, fitted_on, &heldout, &controls)?;
    bar.clear();
    bar.check()?;
    if let Some(path) = &args.output {
        PersonaVector { receipt: Some(found.clone()), ..vector }.write(path)?;
    }
    if args.json { print_line(&found.to_json()) } else { print_line(receipt_text(&found).trim_end()) }
}

/// What a receipt compares with, as the command line asks for it.
pub fn controls(loaded: &LanguageModel, evidence: &EvidenceArgs) -> Result<Controls, Failure> {
    Ok(Controls {
        max_contrasts: evidence.receipt,
        persona: evidence.persona.clone().zip(evidence.opposite.clone()).map(|(one, other)| [one, other]),
        neutral: neutral(loaded, evidence.neutral.as_deref())?,
        seed: evidence.seed,
        ..Controls::default()
    })
}

/// Paragraphs of a file, else the shipped ones; none for the embedded model, which knows no such texts and is
/// measured on its own answers.
pub fn neutral(loaded: &LanguageModel, path: Option<&Path>) -> Result<Vec<Continuation>, Failure> {
    let read = |path: &Path| {
        std::fs::read_to_string(path)
            .map_err(|error| Failure::BadInput(format!("cannot read {}: {error}", path.display())))
    };
    let text = match path {
        Some(path) => read(path)?,
        None if loaded.embedded => return Ok(Vec::new()),
        None => include_str!("../../../../contrasts/neutral.txt").to_owned(),
    };
    let texts = neutral_texts(&text, loaded.tokenizer()?, loaded.model.config().max_positions)?;
    match (path, texts.is_empty()) {
        (Some(path), true) => Err(Failure::BadInput(format!("{}: holds no text", path.display()))),
        _ => Ok(texts),
    }
}
