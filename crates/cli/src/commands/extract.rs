use crate::args::{ComputeArgs, EvidenceArgs, ExtractArgs};
use crate::commands::receipt::controls;
use crate::commands::reference::Reference;
use crate::commands::show::{print_vector, vector_json};
use crate::failure::Failure;
use crate::loaded::Loaded;
use crate::memory::Before;
use crate::output::print_line;
use crate::plan;
use crate::progress::Bar;
use std::path::PathBuf;
use whipstaff_steering::{ContrastSet, ExtractOptions, Extraction, ModelId};

/// `whipstaff extract`: read contrasts → fit → choose a dose and measure it on held-out contrasts → save → print.
pub fn extract(args: ExtractArgs, on: ComputeArgs) -> Result<(), Failure> {
    let set = ContrastSet::read(&args.contrasts)?;
    let heldout = find_heldout(&args).map(|path| ContrastSet::read(&path)).transpose()?;
    plan::output_file(&args.output)?;
    let measures = args.recommend > 0 || args.evidence.receipt > 0;
    let work = |it: &Before| it.extraction(&set, heldout.as_ref(), measures);
    let loaded = Loaded::new(args.model.model.as_deref(), on, work)?;
    let reference = args.reference.as_deref().map(|it| Reference::new(it, &loaded, &set, on)).transpose()?;
    let n_layers = loaded.model.config().n_layers;
    let options = ExtractOptions {
        model: ModelId::of(&loaded.model, &loaded.name),
        frame: plan::frame(&args.frame, &loaded, &[])?,
        tokens: args.tokens,
        layers: args.layers.resolve(n_layers, &(0..n_layers).collect::<Vec<_>>())?,
        method: args.method,
        seed: args.evidence.seed,
    };
    let bar = Bar::new()?;
    let extraction = extraction(options, args.recommend, &args.evidence, &loaded)?;
    let vector = extraction.run(&loaded.model, loaded.tokenizer()?, &set, heldout.as_ref(), &bar)?;
    let options = extraction.options;
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

/// What is made of contrasts, as the command line asks for it.
fn extraction(
    options: ExtractOptions,
    recommend: usize,
    evidence: &EvidenceArgs,
    loaded: &Loaded,
) -> Result<Extraction, Failure> {
    let controls = (evidence.receipt > 0).then(|| controls(loaded, evidence)).transpose()?;
    Ok(Extraction { options, recommend, controls })
}

/// `--heldout`, else a file of that name beside the contrasts.
fn find_heldout(args: &ExtractArgs) -> Option<PathBuf> {
    if args.recommend == 0 && args.evidence.receipt == 0 {
        return None;
    }
    args.heldout.clone().or_else(|| ContrastSet::heldout_beside(&args.contrasts))
}
