use crate::args::{ComputeArgs, FrameArgs, ModelArg, SamplingArgs, SteerArgs, resolved};
use crate::terminal::{Bar, Failure, Tone, columns, print, print_line, printable, width};
use serde_json::json;
use whipstaff::{Preview, Side};

#[derive(clap::Args)]
pub struct GenerateArgs {
    #[command(flatten)]
    pub model: ModelArg,
    /// What the user says
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub prompt: String,
    #[command(flatten)]
    pub steer: SteerArgs,
    /// Scale all alphas by one factor, so that the answer's tokens are moved by so many nats on average: the KL
    /// from the unsteered model, measured on what it would answer unsteered. Of one vector, --steer V:0.1nat is the same
    #[arg(long, value_name = "NATS")]
    pub kl: Option<f64>,
    /// New tokens at most
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub max_tokens: usize,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// End the answer at this text; may be given several times
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// Run unsteered, at +alpha and (where that means something) at -alpha, and print them side by side
    #[arg(long)]
    pub compare: bool,
    #[command(flatten)]
    pub frame: FrameArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `whipstaff generate`: plan the runs, generate them in one batch, print.
pub fn generate(args: GenerateArgs, on: ComputeArgs) -> Result<(), Failure> {
    let (specs, nats) = args.steer.specs_and_nats()?;
    let kl = match (nats, args.kl) {
        (Some(_), Some(_)) => {
            return Err(Failure::Usage("--kl beside a --steer in nats: give one of them".into()));
        }
        (nats, kl) => nats.or(kl),
    };
    let sampling = args.sampling.sampling()?;
    if args.compare && specs.is_empty() {
        return Err(Failure::Usage("--compare needs a --steer to compare with".into()));
    }
    if kl.is_some() && specs.is_empty() {
        return Err(Failure::Usage("--kl needs a --steer to scale".into()));
    }
    let has_opposite = specs.iter().all(|spec| spec.how.op.has_opposite());
    let n_runs = match (args.compare, has_opposite) {
        (false, _) => 1,
        (true, true) => 3,
        (true, false) => 2,
    };
    let work = |it: &Preview| {
        it.generation(&args.prompt, n_runs, args.max_tokens).advising("give fewer --max-tokens")
    };
    let loaded = args.model.open(on, work)?;
    let steering = resolved(&specs, &loaded)?;
    // What cannot be computed with is told before anything runs.
    steering.steering(1.0).map_err(|error| Failure::from(error).about("--steer"))?;
    let (loaded, _bar) = Bar::watching(loaded)?;
    let ask = loaded.ask(&args.prompt).steered(steering).frame(args.frame.choice()).sampling(sampling);
    let ask = args.stop.iter().fold(ask.max_tokens(args.max_tokens), |ask, text| ask.stop(text));
    let ask = match kl {
        Some(nats) => ask.budget(nats).map_err(|error| Failure::from(error).about("--kl"))?,
        None => ask,
    };
    match (args.compare, args.json) {
        (true, true) => print_json(&args.prompt, &ask.compare()?),
        (true, false) => print(&side_by_side(&ask.compare()?)),
        (false, true) => print_json(&args.prompt, &ask.compare_at(&[1.0])?),
        (false, false) => {
            for piece in ask.stream()? {
                print(&printable(&piece?.text))?;
            }
            print("\n")
        }
    }
}

/// The answers in columns, each below its label.
fn side_by_side(sides: &[Side]) -> String {
    let tone = |side: &Side| match side.alpha {
        0.0 => Tone::Baseline,
        alpha if alpha > 0.0 => Tone::Plus,
        _ => Tone::Minus,
    };
    let cell = |side: &Side| (tone(side), side.label.clone(), printable(&side.answer.text));
    columns(&sides.iter().map(cell).collect::<Vec<_>>(), width())
}

fn print_json(prompt: &str, sides: &[Side]) -> Result<(), Failure> {
    let run =
        |side: &Side| json!({"alpha": side.alpha, "text": side.answer.text, "tokens": side.answer.tokens});
    print_line(&json!({"prompt": prompt, "runs": sides.iter().map(run).collect::<Vec<_>>()}).to_string())
}
