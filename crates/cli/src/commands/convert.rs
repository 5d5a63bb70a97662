use crate::files;
use crate::terminal::{Failure, note, print_line};
use std::path::{Path, PathBuf};
use whipstaff_disk::write_atomically;
use whipstaff_steering::{Convention, LayerSpec, PersonaVector, Unit};

#[derive(clap::Args)]
pub struct ConvertArgs {
    /// The file to read
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// The file to write: its extension says what, .gguf or .safetensors
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// How a control vector counts its layers: llama.cpp or repeng (where it is applied), or
    /// cvector-generator (which stores what it measured behind block L-1 as L)
    #[arg(long, value_name = "TOOL", default_value = "llama.cpp")]
    pub from: Convention,
    /// Multiply each direction by its gap or its rms, so that a coefficient of 1 elsewhere is an alpha of
    /// 1 in that unit here; unit leaves them as they are, bit for bit
    #[arg(long, value_name = "UNIT", default_value_t = Unit::Unit)]
    pub fold: Unit,
    /// Layers to write: 8 or 8,10 or 8-11 or -1 or all or auto. Other tools apply all that a file holds
    #[arg(long, value_name = "LAYERS", default_value = "all", allow_hyphen_values = true)]
    pub layers: LayerSpec,
}

/// `whipstaff vector convert`: read either kind → choose layers → write the other.
pub fn convert(args: ConvertArgs) -> Result<(), Failure> {
    let to_control = is_control(&args.output)?;
    if !to_control && args.fold != Unit::Unit {
        return Err(Failure::Usage("--fold is for .gguf: a .safetensors vector knows its units".into()));
    }
    let (mut vector, _) = PersonaVector::read_from(&args.input, args.from)?;
    files::output_file(&args.output)?;
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
