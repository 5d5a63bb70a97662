use crate::args::{ComputeArgs, ExtractArgs};
use crate::commands::show::{print_vector, vector_json};
use crate::failure::Failure;
use crate::loaded::Loaded;
use crate::memory::Before;
use crate::output::{note, print_line};
use crate::plan;
use crate::progress::Bar;
use std::path::{Path, PathBuf};
use whipstaff_steering::{ContrastSet, ExtractOptions, ModelId, PersonaVector, extract as fit, recommend};

/// `whipstaff extract`: read contrasts → fit → choose a dose on held-out contrasts → save → print.
pub fn extract(args: ExtractArgs, on: ComputeArgs) -> Result<(), Failure> {
    let set = ContrastSet::read(&args.contrasts)?;
    let heldout = find_heldout(&args)?.map(|path| ContrastSet::read(&path)).transpose()?;
    plan::output_file(&args.output)?;
    let work = |it: &Before| it.extraction(&set, heldout.as_ref(), args.recommend > 0);
    let loaded = Loaded::new(args.model.model.as_deref(), on, work)?;
    let n_layers = loaded.model.config().n_layers;
    let options = ExtractOptions {
        model: ModelId::of(&loaded.model, &loaded.name),
        frame: plan::frame(&args.frame, &loaded, &[])?,
        tokens: args.tokens,
        layers: args.layers.resolve(n_layers, &(0..n_layers).collect::<Vec<_>>())?,
        method: args.method,
        seed: args.seed,
    };
    let bar = Bar::new()?;
    let vector = fit_and_recommend(&loaded, &set, heldout.as_ref(), &options, args.recommend, &bar)?;
    bar.clear();
    bar.check()?;
    vector.write(&args.output)?;
    if args.json {
        let mut json = vector_json(&vector);
        json["vector"] = args.output.display().to_string().into();
        return print_line(&json.to_string());
    }
    print_vector(&vector)?;
    print_line(&format!("\nwritten to {}", args.output.display()))
}

/// Fits the vector on all contrasts. The dose is chosen on `heldout` or, without it, on a quarter
/// of the contrasts by a vector that was fitted on the rest.
pub fn fit_and_recommend(
    loaded: &Loaded,
    set: &ContrastSet,
    heldout: Option<&ContrastSet>,
    options: &ExtractOptions,
    max_contrasts: usize,
    bar: &Bar,
) -> Result<PersonaVector, Failure> {
    let (model, tokenizer, frame) = (&loaded.model, loaded.tokenizer()?, &options.frame);
    let mut vector = fit(model, tokenizer, set, options, bar)?;
    if max_contrasts == 0 {
        return Ok(vector);
    }
    vector.recommended = match heldout {
        Some(heldout) => Some(recommend(model, tokenizer, &vector, frame, heldout, max_contrasts, bar)?),
        None => {
            let (most, rest) = set.split();
            if rest.contrasts.is_empty() {
                bar.clear();
                note("too few contrasts to choose layers and alpha on: give at least four, or --heldout");
                return Ok(vector);
            }
            let partial = fit(model, tokenizer, &most, options, bar)?;
            let mut found = recommend(model, tokenizer, &partial, frame, &rest, max_contrasts, bar)?;
            found.measured_on = format!("{} (every fourth)", set.name);
            Some(found)
        }
    };
    Ok(vector)
}

/// `--heldout`, else a file of that name beside the contrasts.
fn find_heldout(args: &ExtractArgs) -> Result<Option<PathBuf>, Failure> {
    if args.recommend == 0 {
        return Ok(None);
    }
    if args.heldout.is_some() {
        return Ok(args.heldout.clone());
    }
    let stem = args.contrasts.file_stem().unwrap_or_default().to_string_lossy();
    let beside = args.contrasts.parent().unwrap_or(Path::new("")).join(format!("{stem}-heldout.jsonl"));
    Ok(beside.exists().then_some(beside))
}
