use crate::args::{ComputeArgs, FrameArgs};
use crate::commands::receipt::neutral;
use crate::files;
use crate::terminal::{Bar, Failure, note, print, print_line, width, wrap};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use whipstaff::{LanguageModel, Preview};
use whipstaff_disk::write_atomically;
use whipstaff_engine::Continuation;
use whipstaff_figures::FigureError;
use whipstaff_report::{QUESTIONS, StudyPage, answers, depth_figure, methods_figure, prompting_figure};
use whipstaff_steering::study::{
    EMBEDDED, Findings, Journal, Pair, PairMaterial, PairPlan, PersonaPlan, StudyPlan, file_name,
};
use whipstaff_steering::sweep::digest_of;
use whipstaff_steering::{Bench, ContrastSet, Frame, LayerSpec};

#[derive(clap::Args)]
pub struct StudyArgs {
    /// What to measure: models, personas, methods, layers, cost (docs/FORMATS.md)
    #[arg(value_name = "STUDY.toml")]
    pub study: PathBuf,
    /// Folder for report.html, study.json, study.csv, the figures and cells/; an interrupted study resumes from there
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `whipstaff study`: read the plan → for each model and persona measure what is missing → draw, answer, write.
pub fn study(args: StudyArgs, on: ComputeArgs) -> Result<(), Failure> {
    let plan = StudyPlan::read(&args.study)?;
    let personas = plan.personas.iter().map(Persona::read).collect::<Result<Vec<_>, Failure>>()?;
    let cells = args.output.join("cells");
    files::output_folder(&cells)?;
    let bar = Bar::new()?;
    let mut pairs = Vec::new();
    for model in &plan.models {
        let subject = Subject::new(&plan, model, on, &personas)?;
        for persona in &personas {
            pairs.push(subject.measure(&plan, persona, &cells, &bar)?);
            bar.clear();
            bar.check()?;
        }
    }
    let findings = Findings::new(&pairs, &plan.methods, plan.kl, plan.seed);
    write(&args, &plan, &pairs, &findings)?;
    if args.json {
        return print_line(&json(&findings, &pairs).to_string());
    }
    print(&text(&findings))?;
    print_line(&format!(
        "\nreport.html, study.json, study.csv, three figures and cells/ written to {}",
        args.output.display()
    ))
}

/// A persona with its contrasts.
struct Persona<'p> {
    plan: &'p PersonaPlan,
    set: ContrastSet,
    heldout: ContrastSet,
}

impl Persona<'_> {
    /// Reads its contrasts; held-out ones are those given, else those beside the others, else every fourth.
    fn read(plan: &PersonaPlan) -> Result<Persona<'_>, Failure> {
        let set = ContrastSet::read(&plan.contrasts)?;
        let beside = ContrastSet::heldout_beside(&plan.contrasts);
        let heldout = plan.heldout.as_ref().or(beside.as_ref()).map(ContrastSet::read).transpose()?;
        let few = |heldout: &ContrastSet| {
            let path = plan.heldout.as_ref().or(beside.as_ref()).unwrap_or(&plan.contrasts).display();
            Failure::BadInput(format!(
                "{path}: leaves {} contrasts to measure on; a study of `{}` needs at least {LEAST_CONTRASTS}",
                heldout.contrasts.len(),
                plan.name
            ))
        };
        let (set, heldout) = match heldout {
            Some(heldout) => (set, heldout),
            None => set.split().unwrap_or((set.first(0), set.first(0))),
        };
        if heldout.contrasts.len() < LEAST_CONTRASTS {
            return Err(few(&heldout));
        }
        Ok(Persona { plan, set, heldout })
    }
}

/// Four to pick on, and four to judge on, which is what an interval needs.
const LEAST_CONTRASTS: usize = 8;

/// A model of the study, and what all personas are measured with on it.
struct Subject {
    loaded: LanguageModel,
    frame: Frame,
    neutral: Vec<Continuation>,
    layers: Vec<Vec<usize>>,
}

impl Subject {
    /// Loads a model, once it is known to have room for the largest persona.
    fn new(plan: &StudyPlan, model: &str, on: ComputeArgs, personas: &[Persona]) -> Result<Subject, Failure> {
        let work = |it: &Preview| {
            it.largest(
                personas.iter().map(|persona| it.extraction(&persona.set, Some(&persona.heldout), true)),
            )
        };
        let loaded = on.open("models:", (model != EMBEDDED).then_some(model), work)?;
        let frame = FrameArgs { frame: plan.frame.clone(), ..FrameArgs::default() };
        Ok(Subject {
            frame: loaded.frame(&frame.choice(), None)?,
            neutral: neutral(&loaded, plan.neutral.as_deref())?,
            layers: layers(plan, loaded.config().n_layers)?,
            loaded,
        })
    }

    /// Measures what is missing of a persona.
    fn measure(&self, plan: &StudyPlan, persona: &Persona, cells: &Path, bar: &Bar) -> Result<Pair, Failure> {
        let Subject { loaded, frame, neutral, layers } = self;
        let pair = PairPlan {
            model: loaded.id(),
            persona: persona.plan.name.clone(),
            contrasts_sha256: persona.set.sha256.clone(),
            heldout_sha256: persona.heldout.sha256.clone(),
            n_heldout: plan.max_contrasts.min(persona.heldout.contrasts.len()),
            words: persona.plan.words.clone(),
            frame: format!("{:?}", frame.id()),
            tokens: plan.tokens.to_string(),
            kl: plan.kl,
            neutral_sha256: digest_of(neutral),
            seed: plan.seed,
            tool: concat!("whipstaff ", env!("CARGO_PKG_VERSION")).into(),
        };
        let path = cells.join(format!("{}.{}.jsonl", file_name(loaded.name()), file_name(&pair.persona)));
        let mut journal = Journal::open(&path, &pair)?;
        let n_cells = plan.methods.len() * layers.len();
        let there = n_cells - journal.missing(&plan.methods, layers).len();
        if there > 0 {
            note(&format!("{there} of {n_cells} cells of {} are there already", path.display()));
        }
        let bench = Bench { model: loaded.engine(), tokenizer: loaded.tokenizer()?, frame, watch: bar };
        let Persona { set, heldout, .. } = persona;
        let material = PairMaterial { tokens: plan.tokens, set, heldout, neutral };
        bench.measure_pair(&material, &mut journal, &plan.methods, layers)?;
        Ok(journal.pair(&plan.methods, layers))
    }
}

/// Single layers, then those that are injected together.
fn layers(plan: &StudyPlan, n_layers: usize) -> Result<Vec<Vec<usize>>, Failure> {
    let resolve = |name: &str, spec: &LayerSpec| {
        spec.resolve(n_layers, &[]).map_err(|error| Failure::from(error).about(name))
    };
    let mut layers: Vec<Vec<usize>> =
        resolve("layers", &plan.layers)?.into_iter().map(|it| vec![it]).collect();
    for spec in &plan.together {
        let together = resolve("together", spec)?;
        if !layers.contains(&together) {
            layers.push(together);
        }
    }
    Ok(layers)
}

/// The findings as data, with the answers in words.
fn json(findings: &Findings, pairs: &[Pair]) -> Value {
    let answers: Vec<(&str, String)> = QUESTIONS.into_iter().zip(answers(findings)).collect();
    findings.to_json(pairs, &answers)
}

fn write(args: &StudyArgs, plan: &StudyPlan, pairs: &[Pair], findings: &Findings) -> Result<(), Failure> {
    let dir = &args.output;
    let (methods, depth, prompting) =
        (methods_figure(findings), depth_figure(findings), prompting_figure(findings));
    for (name, svg, png) in [
        ("methods", methods.svg(), methods.png(2.0)),
        ("depth", depth.svg(), depth.png(2.0)),
        ("prompting", prompting.svg(), prompting.png(2.0)),
    ] {
        write_atomically(&dir.join(format!("{name}.svg")), svg.as_bytes())?;
        let png = png.map_err(|error: FigureError| Failure::Failed(error.to_string()))?;
        write_atomically(&dir.join(format!("{name}.png")), &png)?;
    }
    let json = serde_json::to_string_pretty(&json(findings, pairs)).expect("plain data");
    write_atomically(&dir.join("study.json"), (json + "\n").as_bytes())?;
    write_atomically(&dir.join("study.csv"), Findings::to_csv(pairs).as_bytes())?;
    let page = StudyPage {
        title: "Steering vectors, compared".into(),
        intro: format!(
            "Methods, layers and prompting, for {} on {}. The numbers behind the figures are in study.json and \
             study.csv beside this page, those of each contrast in cells/.",
            distinct(pairs.iter().map(|it| &it.plan.persona)),
            distinct(pairs.iter().map(|it| &it.plan.model.name))
        ),
        findings,
        settings: settings(plan, pairs),
        command: format!("whipstaff study {} -o {}", args.study.display(), dir.display()),
    };
    Ok(write_atomically(&dir.join("report.html"), page.html().as_bytes())?)
}

/// Names, each once, in the order of the alphabet.
fn distinct<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: BTreeSet<&str> = names.map(String::as_str).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

fn settings(plan: &StudyPlan, pairs: &[Pair]) -> Vec<(String, String)> {
    let mut settings = vec![
        (
            "cost".into(),
            format!("{} nats per token: KL(unsteered ‖ steered) on neutral text, at +alpha", plan.kl),
        ),
        ("methods".into(), plan.methods.iter().map(|it| it.name()).collect::<Vec<_>>().join(", ")),
        ("layers".into(), plan.layers.to_string()),
        ("tokens averaged".into(), plan.tokens.to_string()),
        ("seed".into(), plan.seed.to_string()),
    ];
    if !plan.together.is_empty() {
        let together = plan.together.iter().map(LayerSpec::to_string).collect::<Vec<_>>().join("; ");
        settings.insert(3, ("layers injected together".into(), together));
    }
    for it in pairs {
        let name = format!("{} on {}", it.plan.persona, it.plan.model.name);
        settings.push((name, format!("{} held-out contrasts", it.plan.n_heldout)));
    }
    settings
}

/// The three answers, for a terminal.
fn text(findings: &Findings) -> String {
    let paragraph =
        |(question, answer): (&str, String)| format!("{question}\n{}\n", wrap(&answer, width()).join("\n"));
    QUESTIONS.into_iter().zip(answers(findings)).map(paragraph).collect::<Vec<_>>().join("\n")
}
