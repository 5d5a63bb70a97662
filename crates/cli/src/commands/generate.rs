use crate::args::{ComputeArgs, GenerateArgs};
use crate::failure::Failure;
use crate::loaded::Loaded;
use crate::memory::Before;
use crate::output::{Tone, columns, print, print_line, printable, width};
use crate::plan::{self, PlannedVector, SteerArg};
use crate::progress::Bar;
use serde_json::{Value, json};
use whipstaff_engine::{Event, Finish, Generator, Request, Steering};
use whipstaff_steering::{Answer, Unit, combine};

/// `whipstaff generate`: plan the runs, generate them in one batch, print.
pub fn generate(args: GenerateArgs, on: ComputeArgs) -> Result<(), Failure> {
    let steers = args.steer.iter().map(|text| SteerArg::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let sampling = plan::sampling(&args.sampling)?;
    if args.compare && steers.is_empty() {
        return Err(Failure::Usage("--compare needs a --steer to compare with".into()));
    }
    let n_runs = if args.compare { 3 } else { 1 };
    let work = |it: &Before| it.generation(&args.prompt, n_runs, args.max_tokens);
    let loaded = Loaded::new(args.model.model.as_deref(), on, work)?;
    let vectors = steers
        .iter()
        .map(|arg| PlannedVector::new(arg, args.unit, &loaded))
        .collect::<Result<Vec<_>, _>>()?;
    let frame = plan::frame(&args.frame, &loaded, &vectors)?;
    let tokenizer = loaded.tokenizer()?;
    let prompt = frame.prompt_ids(tokenizer, &plan::said(&args.prompt))?;

    let runs = plan_runs(&vectors, args.compare).map_err(|failure| failure.about("--steer"))?;
    let stop_tokens = frame.stop_tokens();
    let request = |run: &Run| Request {
        prompt: prompt.clone(),
        steering: run.steering.clone(),
        sampling,
        max_tokens: args.max_tokens,
        stop: frame.stops().into_iter().chain(args.stop.clone()).collect(),
        stop_tokens: stop_tokens.clone(),
    };
    let generator = Generator::new(&loaded.model, tokenizer, runs.iter().map(request))?;
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
            |(run, answer): (&Run, &Answer)| (run.tone(), run.label(&vectors), printable(&answer.text));
        return print(&columns(&runs.iter().zip(&answers).map(cell).collect::<Vec<_>>(), width()));
    }
    collect(&|piece| print(&printable(piece)))?;
    print("\n")
}

/// One way to run the prompt.
struct Run {
    /// Of the first vector; 0 for the baseline.
    alpha: f64,
    steering: Steering,
}

/// One run, or three: the baseline, as asked for, and the other way.
fn plan_runs(vectors: &[PlannedVector], compare: bool) -> Result<Vec<Run>, Failure> {
    let doses: Vec<_> = vectors.iter().map(PlannedVector::dose).collect();
    let alpha = doses.first().map_or(0.0, |dose| dose.alpha);
    let factors: &[f64] = if compare { &[0.0, 1.0, -1.0] } else { &[1.0] };
    let run = |factor: &f64| Ok(Run { alpha: alpha * factor + 0.0, steering: combine(&doses, *factor)? });
    factors.iter().map(run).collect()
}

impl Run {
    fn tone(&self) -> Tone {
        match self.alpha {
            0.0 => Tone::Baseline,
            alpha if alpha > 0.0 => Tone::Plus,
            _ => Tone::Minus,
        }
    }

    fn label(&self, vectors: &[PlannedVector]) -> String {
        let unit = vectors.first().map_or(Unit::Gap, |it| it.unit);
        match (self.alpha, vectors.len()) {
            (0.0, _) => "baseline".into(),
            (alpha, 1) => format!("{alpha:+} {unit}"),
            (alpha, n) => format!("{alpha:+} {unit}, {} more", n - 1),
        }
    }
}

/// Takes all events and gathers the answers of `n` runs; `show` sees each piece of text as it comes. A
/// framed answer begins with the space that joins it to the frame; a raw one is kept as it is.
fn collect(
    generator: Generator,
    n: usize,
    raw: bool,
    bar: &Bar,
    show: &dyn Fn(&str) -> Result<(), Failure>,
) -> Result<Vec<Answer>, Failure> {
    let mut answers = vec![Answer { text: String::new(), tokens: Vec::new(), finish: Finish::Length }; n];
    for event in generator {
        let Event { request, token, text, finish } = event?;
        bar.check()?;
        let answer = &mut answers[request];
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
