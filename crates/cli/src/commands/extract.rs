use crate::args::{ComputeArgs, EvidenceArgs, FrameArgs, ModelArg};
use crate::commands::receipt::neutral;
use crate::commands::reference::Reference;
use crate::files;
use crate::terminal::{Bar, Failure, print_line};
use crate::view::{print_vector, vector_json};
use std::path::PathBuf;
use whipstaff::Preview;
use whipstaff_steering::{ContrastSet, LayerSpec, Method, TokenRule};

#[derive(clap::Args)]
pub struct ExtractArgs {
    #[command(flatten)]
    pub model: ModelArg,
    /// Contrasts, one a line: {"prompt": …, "positive": …, "negative": …}, or the same with
    /// "messages": [{"role": …, "content": …}, …] instead of "prompt"
    #[arg(long, value_name = "F.jsonl")]
    pub contrasts: PathBuf,
    /// Contrasts to measure layers and alpha on [default: F-heldout.jsonl beside F.jsonl, else
    /// every fourth contrast, left out of the fit while measuring]
    #[arg(long, value_name = "F.jsonl")]
    pub heldout: Option<PathBuf>,
    /// The full-precision model that --model was quantised from: the vector is also made there, and
    /// the two are compared layer by layer
    #[arg(long, value_name = "MODEL")]
    pub reference: Option<String>,
    /// Held-out contrasts used to choose layers and alpha; 0 skips it
    #[arg(long, value_name = "N", default_value_t = 12)]
    pub recommend: usize,
    /// How the direction is fitted: mean, pca, pca-centered, logistic, lda; or one of two controls that
    /// should not work, random and shuffled
    #[arg(long, value_name = "METHOD", default_value_t = Method::Mean)]
    pub method: Method,
    /// Which tokens are averaged: answer, last, answer-first, prompt-last, all, or an index into the answer
    /// (0 is its first token, -1 its last)
    #[arg(long, value_name = "RULE", default_value_t = TokenRule::Answer, allow_hyphen_values = true)]
    pub tokens: TokenRule,
    /// Layers to extract at: 8 or 8,10 or 8-11 or -1 or 50% or all
    #[arg(long, value_name = "LAYERS", default_value = "all", allow_hyphen_values = true)]
    pub layers: LayerSpec,
    #[command(flatten)]
    pub evidence: EvidenceArgs,
    #[command(flatten)]
    pub frame: FrameArgs,
    /// The vector file
    #[arg(short, long, value_name = "V.safetensors")]
    pub output: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `whipstaff extract`: read contrasts → fit → choose a dose and measure it on held-out contrasts → save → print.
pub fn extract(args: ExtractArgs, on: ComputeArgs) -> Result<(), Failure> {
    let set = ContrastSet::read(&args.contrasts)?;
    let heldout = find_heldout(&args).map(|path| ContrastSet::read(&path)).transpose()?;
    files::output_file(&args.output)?;
    let measures = args.recommend > 0 || args.evidence.receipt > 0;
    let work = |it: &Preview| it.extraction(&set, heldout.as_ref(), measures);
    let loaded = args.model.open(on, work)?;
    let reference = args.reference.as_deref().map(|it| Reference::new(it, &loaded, &set, on)).transpose()?;
    let evidence = &args.evidence;
    let (loaded, bar) = Bar::watching(loaded)?;
    let mut extractor = loaded
        .extractor()
        .heldout(heldout.as_ref())
        .method(args.method)
        .tokens(args.tokens)
        .layer_spec(args.layers.clone())
        .recommend(args.recommend)
        .receipt(evidence.receipt)
        .persona(evidence.personas())
        .seed(evidence.seed)
        .frame(args.frame.choice());
    if evidence.receipt > 0 {
        extractor = extractor.neutral(neutral(&loaded, evidence.neutral.as_deref())?);
    }
    let options = extractor.options()?;
    let vector = extractor.run_with(options.clone(), &set)?;
    let compared = reference.map(|it| it.compare(loaded, options, &vector, &set, &bar)).transpose()?;
    bar.clear();
    bar.check()?;
    vector.write(&args.output)?;
    if args.json {
        let mut json = vector_json(&vector);
        json["vector"] = args.output.display().to_string().into();
        if let Some(compared) = &compared {
            json["reference"] = compared.json();
        }
        return print_line(&json.to_string());
    }
    print_vector(&vector)?;
    compared.iter().try_for_each(|it| it.print())?;
    print_line(&format!("\nwritten to {}", args.output.display()))
}

/// `--heldout`, else a file of that name beside the contrasts.
fn find_heldout(args: &ExtractArgs) -> Option<PathBuf> {
    if args.recommend == 0 && args.evidence.receipt == 0 {
        return None;
    }
    args.heldout.clone().or_else(|| ContrastSet::heldout_beside(&args.contrasts))
}
