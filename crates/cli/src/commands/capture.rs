use crate::args::{ComputeArgs, FrameArgs, ModelArg};
use crate::files;
use crate::terminal::{Bar, Failure, print_line};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::collections::BTreeSet;
use std::path::PathBuf;
use whipstaff::{FRAME_TOKENS, Preview, Workload};
use whipstaff_disk::write_atomically;
use whipstaff_engine::{Batch, KeepRows, Model, ROW_BUDGET, Session, Site};
use whipstaff_steering::{LayerSpec, Watch, said};

#[derive(clap::Args)]
pub struct CaptureArgs {
    #[command(flatten)]
    pub model: ModelArg,
    /// The text to run
    #[arg(long, required_unless_present = "ids", conflicts_with = "ids", allow_hyphen_values = true)]
    pub text: Option<String>,
    /// The token ids to run, as they are
    #[arg(long, value_delimiter = ',', value_name = "1,2,3")]
    pub ids: Vec<u32>,
    /// Layers: 8 or 8,10 or 8-11 or -1 or 50% or all
    #[arg(long, default_value = "all", allow_hyphen_values = true)]
    pub layers: LayerSpec,
    /// Sites: resid_pre, attn_out, resid_mid, mlp_out, resid_post
    #[arg(long, value_delimiter = ',', default_value = "resid_post")]
    pub sites: Vec<Site>,
    /// Write the logits of every token as well
    #[arg(long)]
    pub logits: bool,
    #[command(flatten)]
    pub frame: FrameArgs,
    /// The file: tensors input_ids, <site>.<layer>, logits
    #[arg(short, long, value_name = "A.safetensors")]
    pub output: PathBuf,
}

/// `whipstaff capture`: tokens → activations at the sites asked for → a safetensors file.
pub fn capture(args: CaptureArgs, on: ComputeArgs) -> Result<(), Failure> {
    files::output_file(&args.output)?;
    let loaded = args.model.open(on, |it| work(&args, it))?;
    let ids = match &args.text {
        Some(text) => {
            loaded.frame(&args.frame.choice(), None)?.prompt_ids(loaded.tokenizer()?, &said(text))?
        }
        None => args.ids.clone(),
    };
    if ids.is_empty() {
        return Err(whipstaff_engine::Error::Empty.into());
    }
    let n_layers = loaded.config().n_layers;
    let layers = args.layers.resolve(n_layers, &[])?;
    // A site named twice is written once: a file cannot hold two tensors of one name.
    let sites: Vec<Site> = BTreeSet::from_iter(args.sites).into_iter().collect();
    let bar = Bar::new()?;
    let tensors = run(loaded.engine(), &ids, &layers, &sites, args.logits, &bar)?;
    bar.clear();
    bar.check()?;
    let views = tensors.iter().map(|it| {
        (
            it.name.as_str(),
            TensorView::new(it.dtype, it.shape.clone(), &it.bytes).expect("shape fits the bytes"),
        )
    });
    let bytes = safetensors::serialize(views, None)
        .map_err(|error| Failure::Failed(format!("cannot encode the activations: {error}")))?;
    write_atomically(&args.output, &bytes)?;
    print_line(&format!(
        "{} tensors of {} tokens written to {}",
        tensors.len(),
        ids.len(),
        args.output.display()
    ))
}

/// Rows are kept, made bytes, and those bytes a file: two of the three are there at once. Logits are bytes
/// from the first, in a buffer that doubles as it grows.
fn work(args: &CaptureArgs, before: &Preview) -> Workload {
    let (outline, text) = (before.outline, args.text.as_deref());
    let n = text.map_or(args.ids.len(), |text| before.tokens(text) + FRAME_TOKENS);
    let n_layers = outline.config().n_layers;
    let n_layers = args.layers.resolve(n_layers, &[]).map_or(n_layers, |layers| layers.len());
    let rows = outline.stream_bytes(n) * (n_layers * args.sites.len()) as u64;
    let logits = if args.logits { outline.logit_bytes(n) } else { 0 };
    let at_once = n.min(ROW_BUDGET);
    Workload {
        sequences: vec![n],
        rows: at_once,
        logits: if args.logits { at_once } else { 0 },
        kept: 2 * rows + 3 * logits,
        instead: Some("ask for fewer --layers or --sites, or for less text".into()),
        ..Workload::default()
    }
}

struct Tensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

fn run(
    model: &Model,
    ids: &[u32],
    layers: &[usize],
    sites: &[Site],
    with_logits: bool,
    bar: &Bar,
) -> Result<Vec<Tensor>, Failure> {
    let n = ids.len();
    let max = model.config().max_positions;
    if n > max {
        return Err(whipstaff_engine::Error::TooLong { tokens: n, max }.into());
    }
    let mut keep = KeepRows::new(layers, sites);
    let mut session = Session::new();
    let mut logits = Vec::new();
    bar.stage("running", n);
    for chunk in ids.chunks(ROW_BUDGET) {
        let mut batch = Batch::new();
        batch.push(&mut session, chunk);
        let resid = model.forward(&mut batch, &mut keep)?;
        if with_logits {
            let all: Vec<usize> = (0..chunk.len()).collect();
            logits.extend(little_endian(model.host(&model.logits(&resid, &all)).as_slice()));
        }
        bar.advance(chunk.len())?;
    }
    let ids_bytes = ids.iter().flat_map(|id| i64::from(*id).to_le_bytes()).collect();
    let mut tensors =
        vec![Tensor { name: "input_ids".into(), dtype: Dtype::I64, shape: vec![n], bytes: ids_bytes }];
    let d_model = model.config().d_model;
    for site in sites {
        for layer in layers {
            let kept = keep.get(*site, *layer).iter();
            let bytes = kept.flat_map(|rows| little_endian(model.host(rows).as_slice())).collect();
            let name = format!("{site}.{layer}");
            tensors.push(Tensor { name, dtype: Dtype::F32, shape: vec![n, d_model], bytes });
        }
    }
    if with_logits {
        let shape = vec![n, model.config().vocab_size];
        tensors.push(Tensor { name: "logits".into(), dtype: Dtype::F32, shape, bytes: logits });
    }
    Ok(tensors)
}

fn little_endian(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}
