use crate::args::{ComputeArgs, FrameArgs, ModelArg};
use crate::commands::figure::{steerings, write_figure};
use crate::files;
use crate::terminal::{Bar, Failure, Tone, columns, paint, print, print_line, printable, width};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use whipstaff::{LanguageModel, Preview, embedded};
use whipstaff_disk::write_atomically;
use whipstaff_engine::{Message, Sampling, Steering};
use whipstaff_figures::Figure;
use whipstaff_report::{
    Answers, LayerRow, Report, Run, Shares, cosine_panel, cosine_subtitle, injected_at, percent,
};
use whipstaff_steering::{
    Answer, AskOptions, Bench, Classifier, ContrastSet, CosineTable, Dose, Frame, Op, PersonaVector, Text,
    Unit, Watch, combine, said,
};

#[derive(clap::Args)]
pub struct DemoArgs {
    #[command(flatten)]
    pub model: ModelArg,
    #[command(flatten)]
    pub frame: FrameArgs,
    /// Folder for the report, the figure, the answers and the vector
    #[arg(short, long, value_name = "DIR", default_value = "whipstaff-demo")]
    pub output: PathBuf,
    /// The same seed gives the same answers
    #[arg(long, value_name = "S", default_value_t = 2)]
    pub seed: u64,
}

/// Questions in the report, of which the first few are printed.
const QUESTIONS: usize = 8;
const PRINTED: usize = 3;

/// Alphas of the figure when every block is injected, and when one is: doses add up over blocks.
const ALPHAS_ALL: [f64; 6] = [0.0, 0.1, 0.2, 0.4, 0.7, 1.0];
const ALPHAS_ONE: [f64; 6] = [0.0, 0.5, 1.0, 2.0, 3.0, 4.0];

/// `whipstaff demo`: contrasts → vector → answers → shares → figure → report.
pub fn demo(args: DemoArgs, on: ComputeArgs) -> Result<(), Failure> {
    let material = Material::new(args.model.model.is_none())?;
    let work = |it: &Preview| it.extraction(&material.contrasts, Some(&material.heldout), true);
    let loaded = args.model.open(on, work)?;
    loaded.tokenizer()?;
    let frame = loaded.frame(&args.frame.choice(), None)?;
    let (model, bar) = Bar::watching(loaded)?;
    let demo = Demo { material, frame, bar, model, seed: args.seed };
    files::output_folder(&args.output)?;

    let vector = demo.vector()?;
    let (layers, alpha) = vector.default_dose();
    let dose = Dose { vector: &vector, alpha, unit: Unit::Gap, layers };
    let sides = demo.ask_all(&dose)?;
    let answers = demo.answers(&dose, &sides);
    let shares = demo.shares(&dose, &sides)?;
    let tables = demo.cosines(&dose, &answers)?;
    demo.bar.clear();
    demo.bar.check()?;

    demo.print(&dose, &answers, shares.as_ref())?;
    demo.write(&args.output, &dose, answers, shares, &tables)?;
    print_line(&format!(
        "\nThe vector, the figure and the whole report are in {0}: open {0}/report.html",
        args.output.display()
    ))
}

/// What the demo runs on: the embedded model has its own distribution.
struct Material {
    contrasts: ContrastSet,
    heldout: ContrastSet,
    questions: Vec<Vec<Message>>,
    classifier: Option<Classifier>,
}

impl Material {
    fn new(embedded: bool) -> Result<Material, Failure> {
        let parse = |text, name: &str| ContrastSet::parse(text, Path::new(name));
        if !embedded {
            let heldout = include_str!("../../../../contrasts/librarian-heldout.jsonl");
            let heldout = parse(heldout, "librarian-heldout.jsonl")?;
            // The last ones: the dose is chosen on the first.
            let asked = heldout.contrasts.iter().rev().take(QUESTIONS).map(|it| it.messages.clone());
            return Ok(Material {
                contrasts: parse(include_str!("../../../../contrasts/librarian.jsonl"), "librarian.jsonl")?,
                questions: asked.collect(),
                classifier: None,
                heldout,
            });
        }
        Ok(Material {
            contrasts: embedded::contrasts()?,
            heldout: embedded::heldout()?,
            questions: embedded::QUESTIONS.lines().map(said).collect(),
            classifier: Some(embedded::classifier()?),
        })
    }
}

struct Demo {
    model: LanguageModel,
    material: Material,
    frame: Frame,
    bar: Arc<Bar>,
    seed: u64,
}

/// The three ways that every question is asked.
const SIDES: [f64; 3] = [0.0, 1.0, -1.0];

impl Demo {
    fn vector(&self) -> Result<PersonaVector, Failure> {
        // A small model can afford the whole held-out set. A receipt would double the time, and the demo's own
        // questions say more: `whipstaff extract` is for that.
        let recommend = if self.model.is_embedded() { usize::MAX } else { 12 };
        let Material { contrasts, heldout, .. } = &self.material;
        let extractor = self.model.extractor().heldout(Some(heldout)).in_frame(self.frame.clone());
        Ok(extractor.recommend(recommend).receipt(0).run(contrasts)?)
    }

    fn bench(&self) -> Result<Bench<'_>, Failure> {
        Ok(self.model.bench(&self.frame)?)
    }

    fn asking(&self) -> AskOptions {
        let sampling = Sampling { temperature: 0.6, top_p: 0.95, seed: self.seed, ..Sampling::default() };
        AskOptions { sampling, max_tokens: 64 }
    }

    /// The answers to all questions, per side.
    fn ask_all(&self, dose: &Dose) -> Result<Vec<Vec<Answer>>, Failure> {
        let questions = &self.material.questions;
        self.bar.stage("asking", SIDES.len() * questions.len());
        let steering = |factor: &f64| combine(std::slice::from_ref(dose), *factor);
        let steerings: Vec<Steering> = SIDES.iter().map(steering).collect::<Result<_, _>>()?;
        Ok(self.bench()?.ask_under_each(questions, &steerings, &self.asking())?)
    }

    /// The first questions with their answers, for people.
    fn answers(&self, dose: &Dose, sides: &[Vec<Answer>]) -> Vec<Answers> {
        let run = |side: usize, i: usize| Run {
            label: label(dose.alpha * SIDES[side]),
            alpha: dose.alpha * SIDES[side],
            text: sides[side][i].text.clone(),
        };
        let answers = |(i, question): (usize, &Vec<Message>)| Answers {
            prompt: question.last().map(|it| it.content.clone()).unwrap_or_default(),
            runs: (0..SIDES.len()).map(|side| run(side, i)).collect(),
        };
        self.material.questions.iter().take(QUESTIONS).enumerate().map(answers).collect()
    }

    /// What kinds of answers all held-out questions get, where there is a classifier to tell.
    fn shares(&self, dose: &Dose, sides: &[Vec<Answer>]) -> Result<Option<Shares>, Failure> {
        let Some(classifier) = &self.material.classifier else { return Ok(None) };
        let questions = &self.material.questions;
        let perplexities = self.bench()?.perplexities(questions, sides)?;
        let mut rows = Vec::new();
        for ((factor, answers), perplexity) in SIDES.iter().zip(sides).zip(perplexities) {
            let mut counts = vec![0.0; classifier.labels().len()];
            answers.iter().for_each(|answer| counts[classifier.label(&answer.text)] += 1.0);
            counts.iter_mut().for_each(|count| *count /= answers.len() as f64);
            rows.push((label(dose.alpha * factor), counts, perplexity));
        }
        Ok(Some(Shares { classes: classifier.labels().to_vec(), rows, n: questions.len() }))
    }

    /// Cosines on the unsteered answers, with every block injected and with the best one only.
    fn cosines(&self, dose: &Dose, answers: &[Answers]) -> Result<[CosineTable; 2], Failure> {
        let tokenizer = self.model.tokenizer()?;
        let text = |(question, it): (&Vec<Message>, &Answers)| {
            let (prompt, answers) = self.frame.answered_ids(tokenizer, question, &[&it.runs[0].text])?;
            Ok(Text::new(&prompt, &answers.concat()))
        };
        let asked = self.material.questions.iter().zip(answers);
        let texts = asked.map(text).collect::<Result<Vec<_>, Failure>>()?;
        let measure = |layers: Vec<usize>, alphas: &[f64]| -> Result<CosineTable, Failure> {
            let steerings = steerings(dose, &layers, alphas)?;
            Ok(self.model.cosines(&texts, &layers, &steerings)?)
        };
        let every = measure(dose.vector.layers.keys().copied().collect(), &ALPHAS_ALL)?;
        let best = dose.vector.recommended.as_ref().map_or(dose.layers[0], |it| it.best_layer);
        Ok([every, measure(vec![best], &ALPHAS_ONE)?])
    }

    fn print(&self, dose: &Dose, answers: &[Answers], shares: Option<&Shares>) -> Result<(), Failure> {
        print_line(&format!(
            "{} contrasts of a librarian who helps and one who brushes you off gave a direction in the\n\
             activations of {}. {} times that gap is added, or subtracted, at {}.\n",
            dose.vector.provenance.n_contrasts,
            self.model.name(),
            dose.alpha,
            injected_at(&dose.layers, self.model.config().n_layers).replace("injected at ", ""),
        ))?;
        for it in answers.iter().take(PRINTED) {
            print_line(&paint(Tone::Heading, &it.prompt))?;
            let tones = [Tone::Baseline, Tone::Plus, Tone::Minus];
            let cells =
                it.runs.iter().zip(tones).map(|(run, tone)| (tone, run.label.clone(), printable(&run.text)));
            print_line(&columns(&cells.collect::<Vec<_>>(), width()))?;
        }
        let Some(shares) = shares else { return Ok(()) };
        print_line(&format!("{} questions that the model never saw, answered each way:", shares.n))?;
        let mut table = format!("  {:14}", "");
        shares.classes.iter().for_each(|class| table += &format!("{class:>12}"));
        table += &format!("{:>12}\n", "perplexity");
        for (label, parts, perplexity) in &shares.rows {
            table += &format!("  {label:14}");
            parts.iter().for_each(|part| table += &format!("{:>13}", percent(*part)));
            table += &format!("{perplexity:>12.2}\n");
        }
        print(&table)
    }

    fn write(
        &self,
        dir: &Path,
        dose: &Dose,
        answers: Vec<Answers>,
        shares: Option<Shares>,
        tables: &[CosineTable; 2],
    ) -> Result<(), Failure> {
        let [every, one] = tables;
        let n_layers = every.n_layers();
        let figure = Figure {
            title: "How far the librarian vector turns the residual stream".into(),
            subtitle: cosine_subtitle(self.model.name(), &Op::Add.dial(Unit::Gap), answers.len()),
            panels: tables.iter().map(|it| cosine_panel(it, &injected_at(&it.injected, n_layers))).collect(),
        };
        dose.vector.write(&dir.join("librarian.safetensors"))?;
        write_figure(dir, &figure)?;
        write_atomically(&dir.join("cosine.csv"), every.csv().as_bytes())?;
        write_atomically(&dir.join("cosine-one-block.csv"), one.csv().as_bytes())?;
        write_atomically(
            &dir.join("answers.json"),
            self.answers_json(dose, &answers, shares.as_ref()).as_bytes(),
        )?;
        let report = self.report(dose, answers, shares, figure, one.injected[0]);
        write_atomically(&dir.join("report.html"), report.html().as_bytes())?;
        Ok(())
    }

    fn answers_json(&self, dose: &Dose, answers: &[Answers], shares: Option<&Shares>) -> String {
        let answer = |it: &Answers| {
            let run = |run: &Run| json!({"alpha": run.alpha, "text": run.text});
            json!({"prompt": it.prompt, "runs": it.runs.iter().map(run).collect::<Vec<_>>()})
        };
        let shares = shares.map(|it| {
            let row = |(label, parts, perplexity): &(String, Vec<f64>, f64)| {
                json!({"label": label, "shares": parts, "perplexity": perplexity})
            };
            json!({"n": it.n, "classes": it.classes, "rows": it.rows.iter().map(row).collect::<Vec<_>>()})
        });
        let json = json!({
            "model": self.model.name(), "alpha": dose.alpha, "unit": "gap", "layers": dose.layers,
            "seed": self.seed, "answers": answers.iter().map(answer).collect::<Vec<_>>(), "shares": shares,
        });
        serde_json::to_string_pretty(&json).expect("plain data")
    }

    fn report(
        &self,
        dose: &Dose,
        questions: Vec<Answers>,
        shares: Option<Shares>,
        figure: Figure,
        one: usize,
    ) -> Report {
        let vector = dose.vector;
        let asking = self.asking();
        let setting = |name: &str, value: String| (name.to_owned(), value);
        let layer_row = |(layer, it): (&usize, &whipstaff_steering::LayerDirection)| LayerRow {
            layer: *layer,
            gap: it.gap.unwrap_or(f64::NAN),
            rms: it.rms.unwrap_or(f64::NAN),
            auc: it.auc.unwrap_or(f64::NAN),
        };
        Report {
            title: "A librarian, dialled up and down".into(),
            intro: format!(
                "{} questions, each answered by a librarian who helps and by one who brushes you off, give a \
                 direction in the model's activations. Added while the model writes, it makes the answers \
                 helpful; subtracted, it makes them dismissive. The weights stay as they are.",
                vector.provenance.n_contrasts
            ),
            model: self.model.name().to_owned(),
            settings: vec![
                setting("model weights", format!("sha256 {}", vector.provenance.model.weights_sha256)),
                setting(
                    "vector",
                    format!("{} of {} tokens", vector.provenance.method, vector.provenance.tokens),
                ),
                setting(
                    "contrasts",
                    format!(
                        "{} of `{}`, sha256 {}",
                        vector.provenance.n_contrasts,
                        vector.provenance.contrasts,
                        vector.provenance.contrasts_sha256
                    ),
                ),
                setting("frame", vector.provenance.frame.name.clone()),
                setting("alpha", format!("{} in units of the gap", dose.alpha)),
                setting("layers", dose.layers.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
                setting(
                    "sampling",
                    format!(
                        "temperature {}, top-p {}, seed {}, at most {} tokens",
                        asking.sampling.temperature, asking.sampling.top_p, self.seed, asking.max_tokens
                    ),
                ),
            ],
            figure,
            figure_note: format!(
                "Each line is one alpha. A cosine of 1 means that the stream after a block points where it points \
                 without steering. Left, the vector is added at every block: the similarity falls with alpha, most \
                 in the later layers. Right, it is added at block {one} only: nothing changes before it, and what \
                 follows is a step rather than a slope."
            ),
            questions,
            shares,
            vector: vector.layers.iter().map(layer_row).collect(),
            command: self.command(),
            version: concat!("whipstaff ", env!("CARGO_PKG_VERSION")).into(),
        }
    }

    fn command(&self) -> String {
        let model =
            if self.model.is_embedded() { String::new() } else { format!(" --model {}", self.model.name()) };
        format!("whipstaff demo{model} --seed {}", self.seed)
    }
}

fn label(alpha: f64) -> String {
    if alpha == 0.0 { "baseline".into() } else { format!("{alpha:+} gap") }
}
