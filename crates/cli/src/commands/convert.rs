use crate::args::ConvertArgs;
use crate::failure::Failure;
use crate::output::{note, print_line};
use crate::plan;
use std::path::Path;
use whipstaff_disk::write_atomically;
use whipstaff_steering::{LayerSpec, PersonaVector, Unit};

/// `whipstaff vector convert`: read either kind → choose layers → write the other.
pub fn convert(args: ConvertArgs) -> Result<(), Failure> {
    let to_control = is_control(&args.output)?;
    if !to_control && args.fold != Unit::Unit {
        return Err(Failure::Usage("--fold is for .gguf: a .safetensors vector knows its units".into()));
    }
    let (mut vector, _) = PersonaVector::read_from(&args.input, args.from)?;
    plan::output_file(&args.output)?;
    let layers = chosen(&vector, &args.layers, to_control)?;
    if !to_control {
        vector.layers.retain(|layer, _| layers.contains(layer));
        vector.drop_unfounded_recommendation();
        vector.write(&args.output)?;
        return print_line(&format!("{} directions written to {}", layers.len(), args.output.display()));
    }
    let bytes = vector.to_control(args.fold, &layers)?;
    if layers.contains(&0) {
        note(
            "llama.cpp has no place for block 0: its direction is kept where only Whipstaff looks, and other tools \
             steer without it",
        );
    }
    write_atomically(&args.output, &bytes)?;
    let n = layers.iter().filter(|layer| **layer > 0).count();
    print_line(&format!(
        "{n} directions written to {}; a coefficient of 1 is an alpha of 1 in the unit `{}` here",
        args.output.display(),
        args.fold
    ))
}

/// The layers to write. Block 0 comes along with `all`; naming it for a control vector is a mistake.
fn chosen(vector: &PersonaVector, spec: &LayerSpec, to_control: bool) -> Result<Vec<usize>, Failure> {
    let held: Vec<usize> = vector.layers.keys().copied().collect();
    if *spec == LayerSpec::All {
        return Ok(held);
    }
    let n_layers = match vector.provenance.model.n_layers {
        0 => held.last().map_or(0, |last| last + 1),
        n => n,
    };
    let about = |error: whipstaff_steering::Error| Failure::from(error).about("--layers");
    let layers = spec.resolve(n_layers, &vector.default_dose().0).map_err(about)?;
    if let Some(layer) = layers.iter().find(|layer| !held.contains(layer)) {
        let has = vector.layers_text();
        return Err(Failure::Usage(format!(
            "--layers: the vector has no direction for layer {layer} (it has {has})"
        )));
    }
    if to_control && layers.contains(&0) {
        return Err(Failure::Usage(
            "--layers: llama.cpp has no place for block 0; leave it out, or write all layers to keep it for Whipstaff"
                .into(),
        ));
    }
    Ok(layers)
}

/// Does the name ask for a control vector rather than for a vector file?
fn is_control(path: &Path) -> Result<bool, Failure> {
    match path.extension().and_then(|it| it.to_str()) {
        Some("gguf") => Ok(true),
        Some("safetensors") => Ok(false),
        _ => Err(Failure::Usage(format!(
            "-o {}: the name must end in .gguf or .safetensors, which says what to write",
            path.display()
        ))),
    }
}
