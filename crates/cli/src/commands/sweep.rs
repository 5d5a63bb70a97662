use crate::args::{ComputeArgs, FrameArgs, ModelArg, alphas_of};
use crate::commands::receipt::neutral;
use crate::files;
use crate::terminal::{Bar, Failure, print, print_line, width, wrap};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use whipstaff::{Preview, SweepOptions, SweepTable};
use whipstaff_disk::write_atomically;
use whipstaff_figures::{HeatMap, HeatPanel, Tint};
use whipstaff_report::{maps_page, percent};
use whipstaff_steering::sweep::{Pick, SweepCell, SweepPlan};
use whipstaff_steering::{ContrastSet, LayerSpec, Method, PERPLEXITY_BUDGET, TokenRule, Unit, layers_text};

#[derive(clap::Args)]
pub struct SweepArgs {
    #[command(flatten)]
    pub model: ModelArg,
    /// Contrasts to fit on
    #[arg(long, value_name = "F.jsonl")]
    pub contrasts: PathBuf,
    /// Contrasts to measure on [default: F-heldout.jsonl beside F.jsonl, else every fourth contrast, left out of
    /// the fit]
    #[arg(long, value_name = "F.jsonl")]
    pub heldout: Option<PathBuf>,
    /// Held-out contrasts that are used at most; a dose is picked on half of them and judged on the others
    #[arg(long, value_name = "N", default_value_t = 24)]
    pub max_contrasts: usize,
    /// How directions are fitted, separated by commas: mean, pca, pca-centered, logistic, lda, random, shuffled
    #[arg(long, value_name = "M,…", value_delimiter = ',', default_value = "mean")]
    pub methods: Vec<Method>,
    /// Layers, each injected alone: 8 or 8,10 or 8-11 or -1 or 50% or all
    #[arg(long, value_name = "LAYERS", default_value = "all", allow_hyphen_values = true)]
    pub layers: LayerSpec,
    /// Layers injected together, as a column of its own; may be given several times
    #[arg(long, value_name = "LAYERS", allow_hyphen_values = true)]
    pub together: Vec<String>,
    /// Alphas, separated by commas
    #[arg(long, value_name = "A,B,…", default_value = "-1,0.25,0.5,1,2", allow_hyphen_values = true)]
    pub alphas: String,
    /// The unit of alpha: gap, rms or unit
    #[arg(long, default_value_t = Unit::Gap)]
    pub unit: Unit,
    /// Which tokens are averaged: see `whipstaff extract`
    #[arg(long, value_name = "RULE", default_value_t = TokenRule::Answer, allow_hyphen_values = true)]
    pub tokens: TokenRule,
    /// A dose may make answers this many times as perplexing
    #[arg(long, value_name = "R", default_value_t = PERPLEXITY_BUDGET)]
    pub budget: f64,
    /// Paragraphs unrelated to the persona, to measure damage on [default: twelve of everyday
    /// prose; the embedded model's own answers]
    #[arg(long, value_name = "F.txt")]
    pub neutral: Option<PathBuf>,
    /// The same seed gives the same numbers
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    pub frame: FrameArgs,
    /// Folder for cells.jsonl, sweep.json, sweep.html and the maps; an interrupted sweep resumes from there
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `whipstaff sweep`: read contrasts → fit by every method → measure what is missing of the grid, cell by cell →
/// draw → pick a dose on one half of the contrasts and say how it does on the other.
pub fn sweep(args: SweepArgs, on: ComputeArgs) -> Result<(), Failure> {
    let set = ContrastSet::read(&args.contrasts)?;
    let beside = ContrastSet::heldout_beside(&args.contrasts);
    let heldout = args.heldout.as_ref().or(beside.as_ref()).map(ContrastSet::read).transpose()?;
    let (set, heldout) = match heldout {
        Some(heldout) => (set, heldout),
        None => set.split().ok_or_else(|| {
            let path = args.contrasts.display();
            Failure::BadInput(format!(
                "{path}: too few contrasts to hold some out; give at least four, or --heldout"
            ))
        })?,
    };
    let alphas = alphas_of(&args.alphas)?;
    if alphas.contains(&0.0) {
        return Err(Failure::Usage("--alphas: 0 is the unsteered model, which is measured anyway".into()));
    }
    files::output_folder(&args.output)?;
    let loaded = args.model.open(on, |it: &Preview| it.extraction(&set, Some(&heldout), true))?;
    let n_layers = loaded.config().n_layers;
    let all: Vec<usize> = (0..n_layers).collect();
    let mut layers: Vec<Vec<usize>> =
        args.layers.resolve(n_layers, &all)?.into_iter().map(|it| vec![it]).collect();
    for spec in &args.together {
        let together = spec
            .parse::<LayerSpec>()
            .map_err(|error| Failure::Usage(format!("--together {spec}: {error}")))?;
        let together = together.resolve(n_layers, &all);
        let together = together.map_err(|error| Failure::from(error).about(&format!("--together {spec}")))?;
        if !layers.contains(&together) {
            layers.push(together);
        }
    }
    let neutral = neutral(&loaded, args.neutral.as_deref())?;
    let options = SweepOptions {
        methods: args.methods,
        layers,
        alphas,
        unit: args.unit,
        tokens: args.tokens,
        max_contrasts: args.max_contrasts,
        budget: args.budget,
        neutral,
        seed: args.seed,
        frame: args.frame.choice(),
        journal: Some(args.output.join("cells.jsonl")),
        ..SweepOptions::default()
    };
    let (loaded, bar) = Bar::watching(loaded)?;
    let SweepTable { plan, cells, pick: picked } = loaded.sweep(&set, &heldout, &options)?;
    bar.clear();
    let maps = maps(&plan, &cells, picked.as_ref(), &heldout.name);
    write(&args.output, &plan, &maps, picked.as_ref(), args.budget)?;
    if args.json {
        return print_line(&summary(&plan, picked.as_ref(), args.budget, cells.len()).to_string());
    }
    print(&text(&plan, &cells, picked.as_ref(), args.budget))?;
    print_line(&format!(
        "\ncells.jsonl, sweep.json, sweep.html and three maps written to {}",
        args.output.display()
    ))
}

/// The three maps: file name, map.
fn maps(
    plan: &SweepPlan,
    cells: &[SweepCell],
    picked: Option<&Pick>,
    measured_on: &str,
) -> Vec<(&'static str, HeatMap)> {
    let map = |title: &str, what: &str, tint: Tint, value: fn(&SweepCell) -> f64| {
        let panel = |(i, method): (usize, &Method)| {
            let n = plan.alphas.len();
            let of_method = &cells[i * plan.layers.len() * n..][..plan.layers.len() * n];
            // The largest alpha on top.
            let mut rows: Vec<usize> = (0..n).collect();
            rows.sort_by(|a, b| plan.alphas[*b].total_cmp(&plan.alphas[*a]));
            let marked = picked.filter(|it| it.place.method == *method).and_then(|it| {
                let row = rows.iter().position(|row| plan.alphas[*row] == it.place.alpha)?;
                Some((row, plan.layers.iter().position(|layers| *layers == it.place.layers)?))
            });
            HeatPanel {
                title: format!("method `{method}`"),
                columns: plan.layers.iter().map(|it| layers_text(it)).collect(),
                values: rows
                    .iter()
                    .map(|row| {
                        (0..plan.layers.len()).map(|column| value(&of_method[column * n + row])).collect()
                    })
                    .collect(),
                rows: rows.iter().map(|row| plan.alphas[*row].to_string()).collect(),
                marked,
            }
        };
        HeatMap {
            title: title.into(),
            subtitle: format!(
                "{} · {what} · {} contrasts of `{measured_on}`{}",
                plan.model.name,
                plan.n_heldout,
                if picked.is_some() { " · framed: the dose that was picked" } else { "" }
            ),
            x_title: "layers injected".into(),
            y_title: format!("alpha ({})", plan.unit),
            tint,
            panels: plan.methods.iter().enumerate().map(panel).collect(),
        }
    };
    let effect = map(
        "What a dose does",
        "how far the margin of positive over negative answers moves the way that alpha asks, nats per token",
        Tint::Signed,
        SweepCell::effect,
    );
    let kl = map(
        "What it costs: divergence",
        "mean KL from the unsteered model, nats per token",
        Tint::Growing,
        |it| it.kl,
    );
    let perplexity = map(
        "What it costs: perplexity of answers",
        "under the unsteered model, its own answers being 1",
        Tint::Growing,
        |it| it.answer_perplexity,
    );
    vec![("effect", effect), ("kl", kl), ("perplexity", perplexity)]
}

fn write(
    dir: &Path,
    plan: &SweepPlan,
    maps: &[(&'static str, HeatMap)],
    picked: Option<&Pick>,
    budget: f64,
) -> Result<(), Failure> {
    for (name, map) in maps {
        write_atomically(&dir.join(format!("{name}.svg")), map.svg().as_bytes())?;
        let png = map.png(2.0).map_err(|error| Failure::Failed(error.to_string()))?;
        write_atomically(&dir.join(format!("{name}.png")), &png)?;
    }
    let title = format!("A sweep over {}", plan.model.name);
    let intro = match picked {
        Some(it) => format!("{}\n\n{READING}", in_words(plan, it, budget)),
        None => format!("No dose is within the budget of {budget} times the perplexity.\n\n{READING}"),
    };
    let drawn: Vec<&HeatMap> = maps.iter().map(|(_, map)| map).collect();
    write_atomically(&dir.join("sweep.html"), maps_page(&title, &intro, &drawn).as_bytes())?;
    let n_cells = plan.places().len();
    let json = serde_json::to_string_pretty(&summary(plan, picked, budget, n_cells)).expect("plain data");
    Ok(write_atomically(&dir.join("sweep.json"), (json + "\n").as_bytes())?)
}

const READING: &str = "Each cell is one dose: a column says where the vector is added, a row how much of it. The dose \
     is picked on every second contrast, among those whose answers stay within the budget, and judged on the others, \
     which had no say in it.";

fn summary(plan: &SweepPlan, picked: Option<&Pick>, budget: f64, n_cells: usize) -> Value {
    let picked = picked.map(|it| {
        json!({
            "method": it.place.method.name(), "layers": it.place.layers, "alpha": it.place.alpha,
            "unit": plan.unit.name(), "picked_on": it.picked_on, "effect": it.effect, "interval": it.interval,
            "wrong_way": it.wrong_way, "answer_perplexity_ratio": it.answer_perplexity,
        })
    });
    json!({
        "model": plan.model.name, "n_cells": n_cells, "n_heldout": plan.n_heldout, "budget": budget, "pick": picked,
    })
}

fn in_words(plan: &SweepPlan, it: &Pick, budget: f64) -> String {
    let interval = it.interval.map_or(String::new(), |[low, high]| format!(" ({low:+.3} to {high:+.3})"));
    format!(
        "Of the doses whose answers are at most {budget} times as perplexing, alpha {} ({}) at layers {} by method `{}` \
         does most on the half that it was picked on, {:+.3} nats per token. On the other half it moves the margin by \
         {:+.3}{interval}; {} of those contrasts go the wrong way. Its answers are {:.2} times as perplexing.",
        it.place.alpha,
        plan.unit,
        layers_text(&it.place.layers),
        it.place.method,
        it.picked_on,
        it.effect,
        percent(it.wrong_way),
        it.answer_perplexity
    )
}

/// The grid of effects, and the pick.
fn text(plan: &SweepPlan, cells: &[SweepCell], picked: Option<&Pick>, budget: f64) -> String {
    let mut text = String::new();
    for (method, of_method) in plan.methods.iter().zip(cells.chunks(plan.layers.len() * plan.alphas.len())) {
        text += &format!(
            "method `{method}`: effect in nats per token, by alpha ({}) and layers\n\n{:>8}",
            plan.unit, ""
        );
        text += &plan.alphas.iter().map(|alpha| format!(" {alpha:>8}")).collect::<String>();
        for (layers, row) in plan.layers.iter().zip(of_method.chunks(plan.alphas.len())) {
            text += &format!("\n{:>8}", layers_text(layers));
            for cell in row {
                // What is beyond the budget is there, but not to be used.
                let mark = if cell.answer_perplexity > budget { "!" } else { " " };
                text += &format!(" {:>+7.3}{mark}", cell.effect());
            }
        }
        text += "\n\n";
    }
    text += &format!("!: answers are more than {budget} times as perplexing as unsteered ones\n\n");
    let words = match picked {
        Some(it) => in_words(plan, it, budget),
        None => format!("No dose is within the budget of {budget} times the perplexity."),
    };
    text + &wrap(&words, width()).join("\n") + "\n"
}
