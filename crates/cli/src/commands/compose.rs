use crate::args::{ComputeArgs, FrameArgs, ModelArg, steer_spec};
use crate::files;
use crate::terminal::{Bar, Failure, note, print, print_line, printable, wrap};
use serde_json::{Value, json};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use whipstaff::{Preview, Workload};
use whipstaff_disk::sha256_of_file;
use whipstaff_steering::{
    Amount, Application, ContrastSet, Cosines, Dose, Estimate, Interference, LayerSpec, Mix, Orthogonal,
    Part, ResolvedVector, SteerSpec, Unit, compose as mixed, layers_text, resolve_without_model, same_gaps,
    shared_layers,
};

#[derive(clap::Args)]
pub struct ComposeArgs {
    /// The vectors, of one model, and how much of each; 1 if left out
    #[arg(value_name = "V[:ALPHA]", required = true)]
    pub vectors: Vec<String>,
    /// Make the directions orthogonal before they are added: ordered (each loses what those before it have) or
    /// symmetric (all lose alike). What is left is not scaled up
    #[arg(long, value_name = "WAY")]
    pub orthogonal: Option<Orthogonal>,
    /// Set the gaps of all vectors at a layer to their mean first, as CAA does: the same alpha is then as long a shift
    /// for each. A vector with alpha 0 takes part in the mean alone
    #[arg(long)]
    pub same_gaps: bool,
    /// The unit of the alphas: gap, rms or unit [default: gap; for a control vector the unit of its
    /// coefficients]
    #[arg(long)]
    pub unit: Option<Unit>,
    /// Layers of the mix: 8 or 8,10 or 8-11 or -1 or 50% or all (that every vector has)
    #[arg(long, value_name = "LAYERS", default_value = "all", allow_hyphen_values = true)]
    pub layers: LayerSpec,
    /// Write the mix to a file: alpha 1 of it is what was asked for here
    #[arg(short, long, visible_alias = "out", value_name = "V.safetensors")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub model: ModelArg,
    /// Contrasts that the vectors were not fitted on, to measure the effect of each vector alone and of the mix; may
    /// be given several times
    #[arg(long, value_name = "F.jsonl")]
    pub heldout: Vec<PathBuf>,
    /// Layers to inject at while measuring [default: those that the vectors recommend, together]
    #[arg(long, value_name = "LAYERS", requires = "heldout", allow_hyphen_values = true)]
    pub at: Option<LayerSpec>,
    /// Contrasts of each file that are used at most
    #[arg(long, value_name = "N", default_value = "24")]
    pub max_contrasts: NonZeroUsize,
    /// The same seed gives the same intervals
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    pub frame: FrameArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `whipstaff vector compose`: read vectors → compare → add up → measure if asked to → write, print.
pub fn compose(args: ComposeArgs, on: ComputeArgs) -> Result<(), Failure> {
    let mut given =
        args.vectors.iter().map(|text| Given::read(text, args.unit)).collect::<Result<Vec<_>, _>>()?;
    if args.same_gaps {
        same_gaps(given.iter_mut().map(|it| &mut it.steer.vector))?;
    }
    let parts: Vec<Part> = given.iter().map(Given::part).collect();
    let heldout = args.heldout.iter().map(ContrastSet::read).collect::<Result<Vec<_>, _>>()?;
    let heldout: Vec<ContrastSet> = heldout.iter().map(|it| it.first(args.max_contrasts.get())).collect();
    args.output.as_deref().map_or(Ok(()), files::output_file)?;
    let layers = chosen("--layers", &args.layers, &shared_layers(&parts)?, &parts)?;
    let name = args.output.as_deref().and_then(Path::file_stem).map(|it| it.to_string_lossy());
    let mix = mixed(name.as_deref().unwrap_or("mix"), &parts, &layers, args.orthogonal, args.same_gaps)?;
    let cosines = Cosines::of(&parts, &layers)?;
    remark(&given, &mix);
    let measured = match &heldout[..] {
        [] => None,
        heldout => Some(measure(&args, on, &given, &mix, heldout)?),
    };
    if let Some(path) = &args.output {
        mix.vector.write(path)?;
    }
    let found = Found { given: &given, cosines: &cosines, mix: &mix, measured: measured.as_ref() };
    if args.json {
        return print_line(&found.json(args.output.as_deref()).to_string());
    }
    print(&found.text())?;
    match &args.output {
        Some(path) => print_line(&format!("\n  {:12} {}", "written", printable(&path.display().to_string()))),
        None => Ok(()),
    }
}

/// A vector of the command line.
struct Given {
    sha256: String,
    steer: ResolvedVector,
}

impl Given {
    fn read(text: &str, unit: Option<Unit>) -> Result<Given, Failure> {
        let refuse = |reason: &str| Err(Failure::Usage(format!("vector {text}: {reason}")));
        let spec = steer_spec("vector", text, unit)?;
        if spec.layers.is_some() {
            return refuse("layers are chosen for all vectors, by --layers");
        }
        if spec.how != Application::default() || spec.gate.is_some() {
            return refuse("a mix takes an alpha of each vector, and adds it: leave out all else");
        }
        let spec = SteerSpec { amount: spec.amount.or(Some(Amount::Alpha(1.0))), ..spec };
        let steer = resolve_without_model(&[spec])?.into_vectors().remove(0);
        Ok(Given { sha256: sha256_of_file(&steer.file)?, steer })
    }

    fn part(&self) -> Part<'_> {
        let ResolvedVector { file, vector, alpha, unit, .. } = &self.steer;
        let label = file.display().to_string();
        Part { label, vector, sha256: self.sha256.clone(), alpha: *alpha, unit: *unit }
    }
}

/// The layers that `flag` asks for, of those that are `held`.
fn chosen(flag: &str, spec: &LayerSpec, held: &[usize], parts: &[Part]) -> Result<Vec<usize>, Failure> {
    match spec {
        LayerSpec::All => return Ok(held.to_vec()),
        LayerSpec::Auto => {
            return Err(Failure::Usage(format!("{flag}: a mix recommends no layers: name them, or say all")));
        }
        LayerSpec::List(_) => {}
    }
    let n_layers = parts.iter().map(|it| it.vector.provenance.model.n_layers).max().unwrap_or(0);
    let n_layers = n_layers.max(held.last().map_or(0, |last| last + 1));
    let layers = spec.resolve(n_layers, &[]).map_err(|error| Failure::from(error).about(flag))?;
    match layers.iter().find(|layer| !held.contains(layer)) {
        Some(layer) => Err(Failure::Usage(format!(
            "{flag}: layer {layer} is not among those of the mix: {}",
            layers_text(held)
        ))),
        None => Ok(layers),
    }
}

/// What the mix does not carry along.
fn remark(given: &[Given], mix: &Mix) {
    let known = given.iter().filter(|it| !it.steer.vector.provenance.frame.is_unknown()).count();
    if known > 0 && mix.vector.provenance.frame.is_unknown() {
        note("the vectors were made in different frames: the mix names none, and is used in the model's own");
    }
    if given.iter().any(|it| it.steer.vector.is_foreign()) {
        note(
            "a vector of another tool has no gap and no rms: the mix has none either, and alpha 1 is counted in the unit \
             `unit`",
        );
    }
}

/// What was measured, and at which layers.
struct Measured {
    layers: Vec<usize>,
    sets: Vec<Interference>,
}

/// Loads the model and measures vectors and mix on each contrast set.
fn measure(
    args: &ComposeArgs,
    on: ComputeArgs,
    given: &[Given],
    mix: &Mix,
    heldout: &[ContrastSet],
) -> Result<Measured, Failure> {
    let held: Vec<usize> = mix.vector.layers.keys().copied().collect();
    let parts: Vec<Part> = given.iter().map(Given::part).collect();
    let layers = match &args.at {
        Some(spec) => chosen("--at", spec, &held, &parts)?,
        None => recommended(given, &held)?,
    };
    let work = |it: &Preview| -> Workload {
        let contrasts: Vec<_> = heldout.iter().flat_map(|set| set.contrasts.iter().cloned()).collect();
        it.margins(&contrasts)
    };
    let loaded = args.model.open(on, work)?;
    let facts = loaded.facts();
    for Given { steer, .. } in given {
        let remark = facts.check_vector(&steer.vector, &steer.file)?;
        remark.iter().for_each(|remark| note(&remark.text));
    }
    let frame = loaded.frame(&args.frame.choice(), given.iter().find_map(|it| it.steer.frame()))?;
    let alone: Vec<Dose> =
        given.iter().map(|it| Dose { layers: layers.clone(), ..it.steer.dose() }).collect();
    let unit = if mix.vector.is_foreign() { Unit::Unit } else { Unit::Gap };
    let together = Dose { vector: &mix.vector, alpha: 1.0, unit, layers: layers.clone() };
    let (loaded, bar) = Bar::watching(loaded)?;
    let bench = loaded.bench(&frame)?;
    let of_set = |set: &ContrastSet| bench.interference(&alone, &together, set, args.seed);
    let sets = heldout.iter().map(of_set).collect::<Result<Vec<_>, _>>()?;
    bar.clear();
    bar.check()?;
    Ok(Measured { layers, sets })
}

/// The layers that the vectors recommend, together, as far as the mix has them.
fn recommended(given: &[Given], held: &[usize]) -> Result<Vec<usize>, Failure> {
    let of_any = |layer: &&usize| given.iter().any(|it| it.steer.layers.contains(layer));
    let layers: Vec<usize> = held.iter().filter(of_any).copied().collect();
    if layers.is_empty() {
        return Err(Failure::Usage(format!(
            "the mix has none of the layers that the vectors recommend: say --at, of {}",
            layers_text(held)
        )));
    }
    Ok(layers)
}

/// All that there is to say.
struct Found<'a> {
    given: &'a [Given],
    cosines: &'a Cosines,
    mix: &'a Mix,
    measured: Option<&'a Measured>,
}

/// More pairs than this are not printed layer by layer.
const PAIRS: usize = 6;

impl Found<'_> {
    fn text(&self) -> String {
        let mut text = String::new();
        for (i, it) in self.given.iter().enumerate() {
            let ResolvedVector { alpha, unit, .. } = it.steer;
            let path = it.steer.file.display();
            let head = if i == 0 { "vectors" } else { "" };
            text += &printable(&format!("  {head:12} {}  {alpha:>+6} ({unit})  {path}\n", letter(i)));
        }
        text += &self.matrix();
        text += &self.by_layer();
        self.measured.map_or(text.clone(), |it| text + &it.text(self.given.len()))
    }

    /// The mean cosines, as a square.
    fn matrix(&self) -> String {
        let overall = self.cosines.overall();
        let heads: String = (0..overall.len()).map(|i| format!("{:>9}", letter(i))).collect();
        let mut text = format!(
            "\n  {:12} mean over layers {}\n  {heads:>12}\n",
            "cosine",
            self.mix.vector.layers_text()
        );
        for (i, row) in overall.iter().enumerate() {
            let cells: String = row.iter().map(|it| format!("{it:>+9.3}")).collect();
            text += &format!("  {:<3}{cells}\n", letter(i));
        }
        text
    }

    /// Cosines of pairs, what is left of each vector and the length of the mix, layer by layer.
    fn by_layer(&self) -> String {
        let n = self.given.len();
        let pairs: Vec<(usize, usize)> = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j))).collect();
        let pairs = if pairs.len() > PAIRS { &[] } else { &pairs[..] };
        let is_orthogonal = self.recipe().is_some_and(|it| it.orthogonal.is_some());
        let left = if is_orthogonal { n } else { 0 };
        let mut text = format!("\n  {:>5}", "layer");
        text +=
            &pairs.iter().map(|(i, j)| format!("{:>9}", letter(*i) + "·" + &letter(*j))).collect::<String>();
        text += &(0..left).map(|i| format!("{:>9}", format!("{} kept", letter(i)))).collect::<String>();
        text += &format!("{:>15}\n", "alpha 1 adds");
        for (layer, cosines) in &self.cosines.layers {
            let kept = &self.mix.kept[layer][..left];
            text += &format!("  {layer:>5}");
            text += &pairs.iter().map(|(i, j)| format!("{:>+9.3}", cosines[*i][*j])).collect::<String>();
            text += &kept.iter().map(|it| format!("{it:>9.3}")).collect::<String>();
            text += &format!("{:>15.4}\n", self.length(*layer));
        }
        text
    }

    fn recipe(&self) -> Option<&whipstaff_steering::Recipe> {
        self.mix.vector.provenance.recipe.as_ref()
    }

    /// How long it is what alpha 1 adds at a layer.
    fn length(&self, layer: usize) -> f64 {
        let it = &self.mix.vector.layers[&layer];
        let norm = || it.direction.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
        it.gap.unwrap_or_else(norm)
    }

    fn json(&self, output: Option<&Path>) -> Value {
        let vector = |it: &Given| {
            let ResolvedVector { file, vector, alpha, unit, .. } = &it.steer;
            json!({"file": file.display().to_string(), "name": vector.name, "sha256": it.sha256, "alpha": alpha, "unit": unit.name()})
        };
        let layers: Vec<Value> = self
            .cosines
            .layers
            .iter()
            .map(|(layer, cosine)| {
                let (kept, length) = (&self.mix.kept[layer], self.length(*layer));
                json!({"layer": layer, "cosine": cosine, "kept": kept, "length": length})
            })
            .collect();
        json!({
            "vectors": self.given.iter().map(vector).collect::<Vec<_>>(),
            "orthogonal": self.recipe().and_then(|it| it.orthogonal).map(|it| it.name()),
            "same_gaps": self.recipe().is_some_and(|it| it.same_gaps),
            "cosine": self.cosines.overall(),
            "layers": layers,
            "interference": self.measured.map(Measured::json),
            "output": output.map(|it| it.display().to_string()),
        })
    }
}

impl Measured {
    /// The effects, two sets side by side, and what the interference comes to.
    fn text(&self, n: usize) -> String {
        let about = format!(
            "effect on the margin in nats per token, with its 95 % interval, injected at layers {}; interference is \
             that of the mix less the sum of those alone",
            layers_text(&self.layers)
        );
        let mut text = format!("\n  {:12} {}\n", "measured", wrap(&about, 86).join("\n               "));
        let arms = (0..n).map(|i| format!("{} alone", letter(i)));
        let arms: Vec<String> = arms.chain(["together".into(), "interference".into()]).collect();
        for sets in self.sets.chunks(2) {
            let heads = sets
                .iter()
                .map(|it| format!("   on {:27}", format!("`{}` ({})", it.measured_on, it.n_contrasts)));
            text += &format!("\n  {:12}{}\n", "", printable(&heads.collect::<String>()).trim_end());
            for (i, arm) in arms.iter().enumerate() {
                let cells: String = sets.iter().map(|it| cell(arms_of(it)[i])).collect();
                text += &format!("  {arm:12}{}\n", cells.trim_end());
            }
        }
        text += "\n";
        for (i, it) in self.sets.iter().enumerate() {
            let head = if i == 0 { "interference" } else { "" };
            text +=
                &format!("  {head:12} {}\n", wrap(&printable(&in_words(it)), 86).join("\n               "));
        }
        text
    }

    fn json(&self) -> Value {
        let moved = |it: &Estimate| json!({"effect": it.mean, "interval": it.interval});
        let set = |it: &Interference| {
            json!({
                "measured_on": it.measured_on, "n_contrasts": it.n_contrasts, "margin": it.margin,
                "alone": it.alone.iter().map(moved).collect::<Vec<_>>(),
                "together": moved(&it.mix), "interference": moved(&it.interference),
            })
        };
        json!({"layers": self.layers, "sets": self.sets.iter().map(set).collect::<Vec<_>>()})
    }
}

/// Each part alone, the mix, the interference.
fn arms_of(it: &Interference) -> Vec<&Estimate> {
    it.alone.iter().chain([&it.mix, &it.interference]).collect()
}

fn cell(it: &Estimate) -> String {
    let interval = it.interval.map_or("-".into(), |[low, high]| format!("{low:+.3} to {high:+.3}"));
    format!("   {:>+7.3}   {interval:20}", it.mean)
}

/// What the interference on a set comes to.
fn in_words(it: &Interference) -> String {
    let sum: f64 = it.alone.iter().map(|it| it.mean).sum();
    let Estimate { mean, interval } = it.interference;
    let on = format!("on `{}`", it.measured_on);
    match interval {
        None => format!("{on}: too few contrasts to say"),
        Some([low, high]) if low <= 0.0 && high >= 0.0 => {
            format!("{on}: cannot be told from zero ({low:+.3} to {high:+.3})")
        }
        Some(_) => {
            let more = if (mean > 0.0) == (sum > 0.0) { "more" } else { "less" };
            format!(
                "{on}: the mix does {more} than its vectors one by one, by {:.3} of {sum:+.3}",
                mean.abs()
            )
        }
    }
}

/// What tables call a vector.
fn letter(i: usize) -> String {
    match u8::try_from(i) {
        Ok(i) if i < 26 => char::from(b'A' + i).to_string(),
        _ => format!("V{}", i + 1),
    }
}
