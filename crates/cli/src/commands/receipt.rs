use crate::args::{ComputeArgs, EvidenceArgs, ReceiptArgs};
use crate::failure::Failure;
use crate::loaded::Loaded;
use crate::memory::Before;
use crate::output::{Tone, paint, print_line, printable, wrap};
use crate::plan;
use crate::progress::Bar;
use crate::steer::{self, PlannedSteer};
use std::path::Path;
use whipstaff_engine::Continuation;
use whipstaff_report::percent;
use whipstaff_steering::{
    AnswerRows, Application, Arm, ArmKind, Bench, ContrastSet, Controls, Cost, ExtractOptions, Instruction,
    Method, PersonaVector, Receipt, SteerSpec, TokenRule, Verdict, layers_text, neutral_texts,
};

/// `whipstaff receipt`: read vector and contrasts → measure → print, and store it if asked to.
pub fn receipt(args: ReceiptArgs, on: ComputeArgs) -> Result<(), Failure> {
    let spec = steer::parse(&args.vector)?;
    let spec = SteerSpec { unit: spec.unit.or(args.unit), ..spec };
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
    let work = |it: &Before| it.extraction(fitted_on, Some(&heldout), true);
    let loaded = Loaded::new(args.model.model.as_deref(), on, work)?;
    let PlannedSteer { planned, how, tokens, .. } = PlannedSteer::new(&spec, None, &loaded)?;
    let frame = plan::frame(&args.frame, &loaded, std::slice::from_ref(&planned))?;
    let bar = Bar::new()?;
    let options = ExtractOptions {
        model: planned.vector.provenance.model.clone(),
        frame: frame.clone(),
        tokens: TokenRule::Answer,
        layers: planned.layers.clone(),
        method: Method::Mean,
        seed: args.evidence.seed,
    };
    let rows = AnswerRows::read(&loaded.model, loaded.tokenizer()?, fitted_on, &options, &bar)?;
    let controls = controls(&loaded, &args.evidence)?;
    let tokenizer = loaded.tokenizer()?;
    let bench = Bench { model: &loaded.model, tokenizer, frame: &frame, watch: &bar };
    let instruction = Instruction { dose: planned.dose(), how, condition: None, tokens };
    let found = bench.receipt(&instruction, &rows, fitted_on, &heldout, &controls)?;
    bar.clear();
    bar.check()?;
    if let Some(path) = &args.output {
        PersonaVector { receipt: Some(found.clone()), ..planned.vector }.write(path)?;
    }
    if args.json { print_line(&found.to_json()) } else { print_line(text(&found).trim_end()) }
}

/// What a receipt compares with, as the command line asks for it.
pub fn controls(loaded: &Loaded, evidence: &EvidenceArgs) -> Result<Controls, Failure> {
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
pub fn neutral(loaded: &Loaded, path: Option<&Path>) -> Result<Vec<Continuation>, Failure> {
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

/// A receipt for people: the verdict, the arms, the cost, what else the direction may be reading.
pub fn text(it: &Receipt) -> String {
    let tone = match it.verdict() {
        Verdict::Works => Tone::Plus,
        Verdict::WorksAtACost | Verdict::TooFew => Tone::Baseline,
        Verdict::NotWorking | Verdict::WrongWay => Tone::Minus,
    };
    let verdict = wrap(&it.in_words(), 86).join("\n               ");
    let mut text = format!("  {:12} {}\n\n", "receipt", paint(tone, &verdict));
    // Where there is one way, the effect is the shift itself.
    let sides = if it.has_one_way() { "" } else { "   at +alpha  at -alpha" };
    text += &format!("  arm          effect   95 % interval   {sides}  wrong way\n");
    text += &it.arms.iter().map(arm_line).collect::<String>();
    let columns = |first: &str, rest: Vec<String>| {
        format!(" {first:>9}") + &rest.iter().map(|it| format!(" {it:>9}")).collect::<String>() + "\n"
    };
    let heads =
        if it.has_one_way() { vec!["steered".into()] } else { vec!["+alpha".into(), "-alpha".into()] };
    text += &format!("\n  {:29}{}", "cost", columns("unsteered", heads));
    let mut row = |name: &str, unsteered: String, cell: fn(&Cost) -> String| {
        text += &format!("  {name:29}{}", columns(&unsteered, it.cost.iter().map(cell).collect()));
    };
    row("KL, nats per token", "0".into(), |it| format!("{:.3}", it.kl));
    row("perplexity of neutral text", "1 ×".into(), |it| format!("{:.2} ×", it.neutral_perplexity));
    row("perplexity of answers", "1 ×".into(), |it| format!("{:.2} ×", it.answer_perplexity));
    row("repeated runs of 4 tokens", percent(it.unsteered_repetition), |it| percent(it.repetition));
    let reads = format!(
        "at layer {} it tells held-out answers apart with AUC {:.3}; {} of the gap is there at their first token; \
         positive answers are {:+.1} tokens longer{}",
        it.best_layer,
        it.auc,
        percent(it.nuisance.first_token),
        it.nuisance.longer,
        it.nuisance
            .length
            .map_or(String::new(), |r| format!(", and length correlates with the projection by {r:+.2}")),
    );
    text += &format!("\n  {:12} {}\n", "reads", wrap(&reads, 86).join("\n               "));
    let dose = match &it.what {
        Some(what) => what.clone(),
        None => format!("alpha {} ({}) at layers {}", it.alpha, it.unit, layers_text(&it.layers)),
    };
    let measured = format!(
        "{dose}, on {} contrasts of `{}`; margin of positive over negative answers unsteered: \
         {:+.3} nats per token",
        it.n_contrasts, it.measured_on, it.margin
    );
    text + &format!("  {:12} {}\n", "measured", wrap(&printable(&measured), 86).join("\n               "))
}

fn arm_line(arm: &Arm) -> String {
    let it = &arm.effect;
    let name = match arm.kind {
        ArmKind::Random | ArmKind::Shuffled => format!("{} ×{}", arm.kind.name(), arm.seeds.len()),
        kind => kind.name().to_owned(),
    };
    let interval = it.interval.map_or("-".into(), |[low, high]| format!("{low:+.3} to {high:+.3}"));
    let sides = it.minus.map_or(String::new(), |minus| format!(" {:>+10.3} {minus:>+10.3}", it.plus));
    format!("  {name:11} {:>+7.3}   {interval:16}{sides} {:>10}\n", it.mean, percent(it.wrong_way))
}
