use crate::args::{ComputeArgs, locate};
use crate::terminal::{Failure, Tone, paint, print_line, printable};
use serde_json::json;
use std::num::NonZeroUsize;
use whipstaff::{Estimate, Size, Workload};
use whipstaff_engine::{Outline, ROW_BUDGET, n_parameters};

#[derive(clap::Args)]
pub struct ShowModelArgs {
    /// A Hugging Face directory, a .gguf file, or a model of the hub: ORG/NAME, ORG/NAME:QUANT or
    /// ORG/NAME/FILE.gguf, optionally with @REVISION [default: the embedded model]
    #[arg(value_name = "MODEL")]
    pub model: Option<String>,
    /// The same, as everywhere else
    #[arg(long = "model", value_name = "MODEL", conflicts_with = "model", hide = true)]
    pub model_flag: Option<String>,
    /// Tokens of context to estimate memory for [default: the model's, at most 4096]
    #[arg(long, value_name = "N")]
    pub context: Option<NonZeroUsize>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Without `--context`, memory is estimated for so many tokens at most.
const CONTEXT: usize = 4096;

/// `whipstaff model show`: what a model is and what it would take, from its headers.
pub fn show_model(args: ShowModelArgs, on: ComputeArgs) -> Result<(), Failure> {
    let cpu = on.compute().cpu()?;
    let found = locate("--model", args.model.or(args.model_flag).as_deref())?;
    let outline = found.outline()?;
    let (config, weights) = (outline.config(), outline.weights());
    let dtypes: Vec<&str> = weights.dtypes().iter().map(|dtype| dtype.name()).collect();
    let context = args.context.map_or(CONTEXT.min(config.max_positions), NonZeroUsize::get);
    let estimate = estimate(&outline, context);
    let (kv_bytes, limit) = (outline.kv_bytes(1000), on.max_memory.bytes());
    if args.json {
        let memory = json!({
            "weights": estimate.weights, "kv_per_1k_tokens": kv_bytes, "context": context, "kv": estimate.cache,
            "activations": estimate.activations, "program": estimate.program, "total": estimate.total(),
            "limit": limit,
        });
        return print_line(
            &json!({
                "name": found.name, "family": config.family, "parameters": n_parameters(config),
                "d_model": config.d_model, "n_layers": config.n_layers, "n_heads": config.n_heads,
                "n_kv_heads": config.n_kv_heads, "head_dim": config.head_dim, "d_ff": config.d_ff,
                "vocab_size": config.vocab_size, "max_positions": config.max_positions,
                "tied_embeddings": config.tied_embeddings, "dtypes": dtypes, "bytes": weights.n_bytes(),
                "kv_bytes_per_token": 2 * config.n_layers * config.n_kv_heads * config.head_dim * size_of::<f32>(),
                "eos_tokens": config.eos_tokens, "tokenizer": outline.has_tokenizer,
                "chat_template": outline.has_chat_template, "memory": memory,
                "kernels": cpu.isa().name(), "threads": cpu.n_threads(),
            })
            .to_string(),
        );
    }
    let yes = |is_there| if is_there { "yes" } else { "no" };
    let parameters = n_parameters(config);
    let rows = [
        ("family", config.family.clone()),
        ("parameters", format!("{parameters} ({})", short(parameters as f64))),
        ("weights", format!("{} in {}", Size(weights.n_bytes() as u64), dtypes.join(", "))),
        ("layers", format!("{} (0-{})", config.n_layers, config.n_layers - 1)),
        ("d_model", config.d_model.to_string()),
        (
            "attention",
            format!(
                "{} heads of {}, {} for keys and values",
                config.n_heads, config.head_dim, config.n_kv_heads
            ),
        ),
        ("d_ff", config.d_ff.to_string()),
        (
            "vocabulary",
            format!("{}{}", config.vocab_size, if config.tied_embeddings { ", tied" } else { "" }),
        ),
        ("context", format!("{} tokens", config.max_positions)),
        ("tokenizer", yes(outline.has_tokenizer).to_owned()),
        ("chat template", yes(outline.has_chat_template).to_owned()),
        ("runs on", format!("{} kernels, {} threads", cpu.isa().name(), cpu.n_threads())),
        (
            "memory",
            format!(
                "{} at {context} tokens: weights {}, keys and values {} ({} per 1000 tokens), activations {}, the \
                 program {}",
                Size(estimate.total()),
                Size(estimate.weights),
                Size(estimate.cache),
                Size(kv_bytes),
                Size(estimate.activations),
                Size(estimate.program),
            ),
        ),
        (
            "allowed",
            match limit {
                Some(limit) if limit < estimate.total() => format!("{}: too little", Size(limit)),
                Some(limit) => Size(limit).to_string(),
                None => "this system does not say how much it has".into(),
            },
        ),
    ];
    print_line(&paint(Tone::Heading, &printable(&found.name)))?;
    rows.iter().try_for_each(|(name, value)| print_line(&format!("  {name:13} {value}")))
}

/// One sequence of `context` tokens.
fn estimate(outline: &Outline, context: usize) -> Estimate {
    let work = Workload {
        sequences: vec![context],
        rows: context.min(ROW_BUDGET),
        logits: 1,
        ..Workload::default()
    };
    Estimate::new(outline, &work)
}

/// 1.24 G, 8.3 M and so on.
fn short(n: f64) -> String {
    match n {
        n if n >= 1e9 => format!("{:.2} G", n / 1e9),
        n if n >= 1e6 => format!("{:.1} M", n / 1e6),
        n if n >= 1e3 => format!("{:.1} k", n / 1e3),
        n => format!("{n}"),
    }
}
