use crate::args::{ComputeArgs, FrameArgs, ModelArg, SteerArgs, alphas_of, resolved_one};
use crate::files;
use crate::terminal::{Bar, Failure, print_line};
use serde_json::json;
use std::path::{Path, PathBuf};
use whipstaff::{Error, FRAME_TOKENS, LanguageModel, Preview};
use whipstaff_disk::write_atomically;
use whipstaff_engine::Steering;
use whipstaff_figures::Figure;
use whipstaff_report::{cosine_panel, cosine_subtitle, injected_at};
use whipstaff_steering::{
    Amount, CosineTable, Dose, PromptLine, ResolvedVector, SteerSpec, Unit, combine, read_prompts,
};

#[derive(clap::Args)]
pub struct FigureArgs {
    #[command(flatten)]
    pub model: ModelArg,
    /// The vector, with the layers to inject at and the operator: V.safetensors[@LAYERS][,KEY=VALUE…], as for
    /// generate
    #[arg(long, value_name = "V[@LAYERS][,KEY=VALUE…]", required_unless_present = "steering")]
    pub steer: Option<String>,
    /// A file (.toml or .json) with the same, one entry without alpha
    #[arg(long, value_name = "F.toml", conflicts_with = "steer")]
    pub steering: Option<PathBuf>,
    /// Alphas, separated by commas
    #[arg(long, value_name = "A,B,…", default_value = "0,0.1,0.2,0.5,1", allow_hyphen_values = true)]
    pub alphas: String,
    /// The unit of alpha: gap, rms or unit [default: gap; for a control vector the unit of its
    /// coefficients]
    #[arg(long)]
    pub unit: Option<Unit>,
    /// Texts to measure on: one prompt a line, or JSONL with "prompt" and optionally "answer"
    #[arg(long, value_name = "F.txt|F.jsonl")]
    pub prompts: PathBuf,
    #[command(flatten)]
    pub frame: FrameArgs,
    /// Folder for cosine.svg, cosine.png, cosine.csv and cosine.json
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
}

/// `whipstaff figure`: read prompts → measure → CSV and JSON → draw.
pub fn figure(args: FigureArgs, on: ComputeArgs) -> Result<(), Failure> {
    let spec = spec(&args)?;
    let alphas = alphas_of(&args.alphas)?;
    let prompts = read_prompts(&args.prompts)?;
    let len = |before: &Preview, it: &PromptLine| {
        before.tokens(&it.prompt) + before.tokens(it.answer.as_deref().unwrap_or_default()) + FRAME_TOKENS
    };
    let work = |it: &Preview| it.replaying(&prompts.iter().map(|line| len(it, line)).collect::<Vec<_>>());
    let loaded = args.model.open(on, work)?;
    // The alphas are given, so the vector's own does not matter.
    let steer = resolved_one(SteerSpec { amount: Some(Amount::Alpha(1.0)), ..spec }, &loaded)?;
    let frame = loaded.frame(&args.frame.choice(), steer.frame())?;
    let texts = loaded.texts(&frame, &prompts).map_err(|error| in_file(&args.prompts, error))?;
    let steering = |alpha: &f64| Ok((*alpha, steer.steering_at(*alpha)?));
    let steerings = alphas.iter().map(steering).collect::<Result<Vec<_>, Failure>>();
    let steerings = steerings.map_err(|failure| failure.about("--alphas"))?;
    files::output_folder(&args.output)?;

    let (loaded, bar) = Bar::watching(loaded)?;
    let table = loaded.cosines(&texts, &steer.layers, &steerings)?;
    bar.clear();
    bar.check()?;
    check_finite(&table)?;
    let figure = Figure {
        title: format!("How far `{}` turns the residual stream", steer.vector.name),
        subtitle: cosine_subtitle(loaded.name(), &steer.how.op.dial(steer.unit), texts.len()),
        panels: vec![cosine_panel(&table, &injected_at(&steer.layers, table.n_layers()))],
    };
    write_figure(&args.output, &figure)?;
    write_atomically(&args.output.join("cosine.csv"), table.csv().as_bytes())?;
    write_atomically(&args.output.join("cosine.json"), to_json(&loaded, &steer, &table).as_bytes())?;
    print_line(&format!(
        "cosine.svg, cosine.png, cosine.csv and cosine.json written to {}",
        args.output.display()
    ))
}

/// The one vector to draw, without an alpha of its own.
fn spec(args: &FigureArgs) -> Result<SteerSpec, Failure> {
    let (steer, steering) = (args.steer.iter().cloned().collect(), args.steering.clone());
    let asked = SteerArgs { steer, steering, unit: args.unit }.only("a figure draws")?;
    let (spec, flag) = asked.ok_or_else(|| Failure::Usage("--steer: a figure draws one vector".into()))?;
    match spec.amount {
        Some(_) => Err(Failure::Usage(format!("{flag}: the alphas of a figure are given by --alphas"))),
        None => Ok(spec),
    }
}

/// Refuses alphas so large that the activations overflow: a figure of nothing is no result.
fn check_finite(table: &CosineTable) -> Result<(), Failure> {
    let overflows = |layers: &Vec<Vec<f64>>| layers.iter().flatten().any(|cosine| !cosine.is_finite());
    match table.per_prompt.iter().position(overflows) {
        Some(i) => Err(Failure::Usage(format!(
            "--alphas: at alpha {:e} the activations are no longer finite numbers; give smaller alphas",
            table.alphas[i]
        ))),
        None => Ok(()),
    }
}

/// The steering of a vector at each alpha.
pub fn steerings(dose: &Dose, layers: &[usize], alphas: &[f64]) -> Result<Vec<(f64, Steering)>, Failure> {
    let steering = |alpha: &f64| {
        let dose = Dose { alpha: *alpha, layers: layers.to_vec(), ..dose.clone() };
        Ok((*alpha, combine(&[dose], 1.0)?))
    };
    alphas.iter().map(steering).collect()
}

/// Writes cosine.svg and cosine.png.
pub fn write_figure(dir: &Path, figure: &Figure) -> Result<(), Failure> {
    let png = figure.png(2.0).map_err(|error| Failure::Failed(error.to_string()))?;
    write_atomically(&dir.join("cosine.svg"), figure.svg().as_bytes())?;
    write_atomically(&dir.join("cosine.png"), &png)?;
    Ok(())
}

/// The failure to read prompts, with the file that they are in.
fn in_file(path: &Path, error: Error) -> Failure {
    match error {
        error @ Error::PromptTooLong { .. } => Failure::BadInput(format!("{}: {error}", path.display())),
        error => error.into(),
    }
}

fn to_json(loaded: &LanguageModel, steer: &ResolvedVector, table: &CosineTable) -> String {
    let curves: Vec<_> = cosine_panel(table, "")
        .curves
        .into_iter()
        .map(|curve| {
            let points = curve
                .points
                .iter()
                .map(|p| json!({"layer": p.layer, "cosine": p.mean, "low": p.low, "high": p.high}));
            json!({"alpha": curve.alpha, "points": points.collect::<Vec<_>>()})
        })
        .collect();
    json!({
        "model": loaded.name(), "vector": steer.vector.name, "op": steer.how.op.name(), "unit": steer.unit.name(), "injected": table.injected,
        "site": "resid_post", "band": "10th to 90th percentile over texts", "curves": curves,
    })
    .to_string()
}
