use crate::args::{ComputeArgs, FrameArgs, ModelArg, SamplingArgs, SteerArgs};
use crate::plan;
use crate::steer::resolved;
use crate::terminal::{Bar, Failure, Tone, columns, note, print, print_line, printable, width};
use serde_json::{Value, json};
use whipstaff::{LanguageModel, Preview};
use whipstaff_engine::{Continuation, Error, Event, Finish, Generator, Request, RequestError, Steering};
use whipstaff_steering::{Answer, Frame, Op, Resolved, SteerSpec, solve_kl};

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
    let sampling = plan::sampling(&args.sampling)?;
    if args.compare && specs.is_empty() {
        return Err(Failure::Usage("--compare needs a --steer to compare with".into()));
    }
    if kl.is_some() && specs.is_empty() {
        return Err(Failure::Usage("--kl needs a --steer to scale".into()));
    }
    let factors = factors(&specs, args.compare);
    let work = |it: &Preview| it.generation(&args.prompt, factors.len(), args.max_tokens);
    let loaded = args.model.open(on, work)?;
    let resolved = resolved(&specs, &loaded)?;
    let frame = plan::frame(&args.frame, &loaded, resolved.frame())?;
    let tokenizer = loaded.tokenizer()?;
    let prompt = frame.prompt_ids(tokenizer, &plan::said(&args.prompt))?;

    let scale = match kl {
        Some(nats) => budgeted(&loaded, &prompt, &resolved, nats, &frame)?,
        None => 1.0,
    };
    let runs = plan_runs(&resolved, factors, scale).map_err(|failure| failure.about("--steer"))?;
    let stop_tokens = frame.stop_tokens();
    let request = |run: &Run| Request {
        prompt: prompt.clone(),
        steering: run.steering.clone(),
        sampling,
        max_tokens: args.max_tokens,
        stop: frame.stops().into_iter().chain(args.stop.clone()).collect(),
        stop_tokens: stop_tokens.clone(),
        log_probs: false,
    };
    let generator = Generator::new(&*loaded.model, &**tokenizer).with_requests(runs.iter().map(request))?;
    let (bar, raw) = (Bar::new()?, frame.name() == "none");
    let collect =
        |show: &dyn Fn(&str) -> Result<(), Failure>| collect(generator, runs.len(), raw, &bar, show);
    if args.json {
        let answers = collect(&|_| Ok(()))?;
        return print_line(&to_json(&args.prompt, &runs, &answers).to_string());
    }
    if args.compare {
        let answers = collect(&|_| Ok(()))?;
        let cell =
            |(run, answer): (&Run, &Answer)| (run.tone(), run.label(&resolved), printable(&answer.text));
        return print(&columns(&runs.iter().zip(&answers).map(cell).collect::<Vec<_>>(), width()));
    }
    collect(&|piece| print(&printable(piece)))?;
    print("\n")
}

/// One way to run the prompt.
struct Run {
    /// What every alpha is multiplied with: 1 as asked for, 0 for the baseline, -1 for the other way.
    factor: f64,
    /// Of the first vector; 0 for the baseline.
    alpha: f64,
    steering: Steering,
}

/// As asked for; or the baseline, as asked for and, if each operator has one, the other way.
fn factors(specs: &[SteerSpec], compare: bool) -> &'static [f64] {
    match (compare, specs.iter().all(|it| it.how.op.has_opposite())) {
        (false, _) => &[1.0],
        (true, true) => &[0.0, 1.0, -1.0],
        (true, false) => &[0.0, 1.0],
    }
}

/// The factor of all alphas that moves what the model would answer unsteered by so many nats per token.
fn budgeted(
    loaded: &LanguageModel,
    prompt: &[u32],
    resolved: &Resolved,
    nats: f64,
    frame: &Frame,
) -> Result<f64, Failure> {
    let unsteered = Request {
        prompt: prompt.to_vec(),
        max_tokens: BUDGETED_TOKENS,
        stop: frame.stops(),
        stop_tokens: frame.stop_tokens(),
        ..Request::default()
    };
    let mut tokens = Vec::new();
    for event in Generator::new(&*loaded.model, &**loaded.tokenizer()?).with_requests([unsteered])? {
        tokens.extend(event.map_err(Error::from)?.token);
    }
    let texts = [Continuation { prompt: prompt.to_vec(), tokens }];
    let found = solve_kl(&loaded.model, &texts, nats, 1.0, |factor| resolved.steering(factor));
    let found = found.map_err(|error| Failure::from(error).about("--kl"))?;
    let alpha = first_alpha(resolved) * found.factor;
    note(&format!(
        "{:.3} nats per token at {:.3} times the alphas: the first is {alpha:.3}",
        found.kl, found.factor
    ));
    Ok(found.factor)
}

/// How much of the unsteered answer a budget is measured on.
const BUDGETED_TOKENS: usize = 48;

/// The alpha of the first vector; 0 without one.
fn first_alpha(resolved: &Resolved) -> f64 {
    resolved.vectors().first().map_or(0.0, |first| first.alpha)
}

fn plan_runs(resolved: &Resolved, factors: &[f64], scale: f64) -> Result<Vec<Run>, Failure> {
    let alpha = first_alpha(resolved) * scale;
    let run = |factor: &f64| {
        let steering = resolved.steering(*factor * scale)?;
        Ok(Run { factor: *factor, alpha: alpha * factor + 0.0, steering })
    };
    factors.iter().map(run).collect()
}

/// As many digits as a person would write.
fn rounded(alpha: f64) -> f64 {
    (alpha * 1e4).round() / 1e4
}

impl Run {
    fn tone(&self) -> Tone {
        match self.alpha {
            0.0 => Tone::Baseline,
            alpha if alpha > 0.0 => Tone::Plus,
            _ => Tone::Minus,
        }
    }

    fn label(&self, resolved: &Resolved) -> String {
        let vectors = resolved.vectors();
        let Some(first) = vectors.first().filter(|_| self.factor != 0.0) else { return "baseline".into() };
        let label = match first.how.op {
            Op::Add | Op::AddUntil(_) if self.alpha == 0.0 => "baseline".into(),
            Op::Add | Op::AddUntil(_) => format!("{:+} {}", rounded(self.alpha), first.unit),
            Op::Rotate => format!("{:+} degrees", self.alpha),
            op if self.alpha == 1.0 => op.name().into(),
            op => format!("{} {}", op.name(), self.alpha),
        };
        match vectors.len() {
            1 => label,
            n => format!("{label}, {} more", n - 1),
        }
    }
}

/// Takes all events and gathers the answers of `n` runs; `show` sees each piece of text as it comes. A
/// framed answer begins with the space that joins it to the frame; a raw one is kept as it is.
fn collect(
    events: impl Iterator<Item = Result<Event, RequestError>>,
    n: usize,
    raw: bool,
    bar: &Bar,
    show: &dyn Fn(&str) -> Result<(), Failure>,
) -> Result<Vec<Answer>, Failure> {
    let mut answers = vec![Answer { text: String::new(), tokens: Vec::new(), finish: Finish::Length }; n];
    for event in events {
        let Event { request, token, text, finish, .. } = event.map_err(Error::from)?;
        bar.check()?;
        let answer = &mut answers[request.index()];
        let piece = if answer.text.is_empty() && !raw { text.trim_start() } else { &text };
        answer.text.push_str(piece);
        answer.tokens.extend(token);
        answer.finish = finish.unwrap_or(answer.finish);
        if !piece.is_empty() {
            show(piece)?;
        }
    }
    Ok(answers)
}

fn to_json(prompt: &str, runs: &[Run], answers: &[Answer]) -> Value {
    let run = |(run, it): (&Run, &Answer)| json!({"alpha": run.alpha, "text": it.text, "tokens": it.tokens});
    json!({"prompt": prompt, "runs": runs.iter().zip(answers).map(run).collect::<Vec<_>>()})
}
