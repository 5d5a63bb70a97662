use crate::args::{ComputeArgs, FrameArgs, ModelArg, SteerArgs, resolved, resolved_one};
use crate::files;
use crate::terminal::{Bar, Failure, note, print, print_line};
use crate::view::token_map_text;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use whipstaff::{FRAME_TOKENS, Preview};
use whipstaff_disk::write_atomically;
use whipstaff_engine::{Message, Role, Steering, Tokenizer};
use whipstaff_report::TokenMap;
use whipstaff_steering::{
    AnswerRows, ContrastSet, ExtractOptions, Frame, LayerSpec, Method, Projections, SteerSpec, Text,
    TokenRule, midpoints, rulers, said, watch,
};

#[derive(clap::Args)]
pub struct MonitorArgs {
    /// The vector to project on
    #[arg(value_name = "V.safetensors")]
    pub vector: PathBuf,
    #[command(flatten)]
    pub model: ModelArg,
    #[command(flatten)]
    pub watched: WatchedArgs,
    /// What an assistant answers to the prompt
    #[arg(long, value_name = "TEXT", requires = "prompt")]
    pub answer: Option<String>,
    /// Layers to watch: 8 or 8,10 or 8-11 or -1 or 50% or all (that the vector has)
    #[arg(long, value_name = "LAYERS", default_value = "all", allow_hyphen_values = true)]
    pub layers: LayerSpec,
    /// Contrasts that say where the two sides meet: values are then in gaps from that midpoint, +0.5 the mean
    /// of the positive answers and -0.5 that of the negative ones [default: values in rms of the stream from zero]
    #[arg(long, value_name = "F.jsonl")]
    pub contrasts: Option<PathBuf>,
    #[command(flatten)]
    pub steer: SteerArgs,
    /// Show the shift from another text (unsteered, as it is), or without TEXT from the same text unsteered
    #[arg(long, value_name = "TEXT", num_args = 0..=1, default_missing_value = "")]
    pub baseline: Option<String>,
    #[command(flatten)]
    pub frame: FrameArgs,
    /// Write a heat map of tokens and layers that any browser opens
    #[arg(short, long, value_name = "F.html")]
    pub output: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The text to watch.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub struct WatchedArgs {
    /// A text, as it is
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub text: Option<String>,
    /// What a user says, in the frame
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub prompt: Option<String>,
    /// A conversation, one message a line: {"role": "user", "content": …}
    #[arg(long, value_name = "F.jsonl")]
    pub messages: Option<PathBuf>,
}

/// `whipstaff monitor`: text → tokens → projections, steered and for comparison → drawn or written.
pub fn monitor(args: MonitorArgs, on: ComputeArgs) -> Result<(), Failure> {
    let specs = args.steer.specs()?;
    if args.baseline.as_deref() == Some("") && specs.is_empty() {
        return Err(Failure::Usage("--baseline: give a text to compare with, or a --steer".into()));
    }
    // clap waives what an argument requires where that conflicts with another that was given.
    if args.answer.is_some() && args.watched.prompt.is_none() {
        return Err(Failure::Usage("--answer needs the --prompt that it answers".into()));
    }
    let messages = args.watched.messages.as_deref().map(read_messages).transpose()?;
    let contrasts = args.contrasts.as_deref().map(ContrastSet::read).transpose()?;
    args.output.as_deref().map_or(Ok(()), files::output_file)?;
    let work = |it: &Preview| {
        let given = [&args.watched.text, &args.watched.prompt, &args.answer, &args.baseline];
        let said = messages.iter().flatten().map(|it| it.content.as_str());
        let texts = given.into_iter().flatten().map(String::as_str).chain(said);
        let n: usize = texts.map(|text| it.tokens(text) + FRAME_TOKENS).sum();
        contrasts.as_ref().map_or_else(|| it.replaying(&[n]), |set| it.extraction(set, None, false))
    };
    let loaded = args.model.open(on, work)?;
    let watched = resolved_one(SteerSpec::new(&args.vector), &loaded)?;
    let layers = watched.layers_of(&args.layers, loaded.config().n_layers);
    let layers = layers.map_err(|error| Failure::from(error).about("--layers"))?;
    let steering = resolved(&specs, &loaded)?.steering(1.0);
    let steering = steering.map_err(|error| Failure::from(error).about("--steer"))?;
    let frame = loaded.frame(&args.frame.choice(), watched.frame())?;
    let tokenizer = loaded.tokenizer()?;
    let text = encode(&args, messages, &frame, tokenizer)?;

    let (bar, vector) = (Bar::new()?, &watched.vector);
    let at = contrasts.map(|set| {
        let options = ExtractOptions {
            model: vector.provenance.model.clone(),
            frame: frame.clone(),
            tokens: TokenRule::Answer,
            layers: layers.clone(),
            method: Method::Mean,
            seed: 0,
        };
        let rows = AnswerRows::read(loaded.engine(), tokenizer, &set, &options, &bar)?;
        midpoints(&rows, vector, &layers)
    });
    let rulers = rulers(vector, &layers, at.transpose()?.as_ref())?;
    let run =
        |text: &Text, steering: &Steering| watch(loaded.engine(), text, vector, &rulers, steering, &bar);
    let rows = run(&text, &steering)?;
    let baseline = match args.baseline.as_deref() {
        None => None,
        Some("") => Some((text.clone(), run(&text, &Steering::default())?)),
        Some(text) => {
            let other = Text::new(&tokenizer.encode(text)?, &[]);
            let rows = run(&other, &Steering::default())?;
            Some((other, rows))
        }
    };
    bar.clear();
    bar.check()?;
    let ids = &text.ids;
    let skip = |text: &Text| loaded.n_skipped(std::slice::from_ref(text));
    let map = TokenMap {
        vector: vector.name.clone(),
        model: loaded.name().to_owned(),
        skip: skip(&text),
        tokens: loaded.token_texts(ids)?,
        same_tokens: args.baseline.as_deref() == Some(""),
        baseline: baseline.map(|(text, rows)| (skip(&text), rows)),
        rows,
    };
    if map.rows[0].ruler.midpoint == 0.0 && args.contrasts.is_some() && vector.is_foreign() {
        note("the vector has no gap, so --contrasts has nothing to add: values are plain projections");
    }
    if let Some(path) = &args.output {
        write_atomically(path, map.html().as_bytes())?;
    }
    match (args.json, &args.output) {
        (true, _) => print_line(&to_json(&map, ids).to_string()),
        (false, Some(path)) => print_line(&format!("{} tokens written to {}", ids.len(), path.display())),
        (false, None) => print(&token_map_text(&map)),
    }
}

fn read_messages(path: &Path) -> Result<Vec<Message>, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::BadInput(format!("cannot read {}: {error}", path.display())))?;
    let lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    let message = |(i, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| {
            Failure::BadInput(format!("{}:{}: is not a message: {error}", path.display(), i + 1))
        })
    };
    let messages: Vec<Message> =
        lines.filter(|(_, line)| !line.trim().is_empty()).map(message).collect::<Result<_, _>>()?;
    if messages.is_empty() {
        return Err(Failure::BadInput(format!("{}: holds no message", path.display())));
    }
    Ok(messages)
}

/// The tokens to watch. An assistant's last message is an answer, without the frame's end behind it.
fn encode(
    args: &MonitorArgs,
    messages: Option<Vec<Message>>,
    frame: &Frame,
    tokenizer: &Tokenizer,
) -> Result<Text, Failure> {
    if let Some(text) = &args.watched.text {
        return Ok(Text::new(&tokenizer.encode(text)?, &[]));
    }
    let prompt = args.watched.prompt.as_deref();
    let mut messages = messages.unwrap_or_else(|| prompt.map(said).unwrap_or_default());
    let last = match messages.last() {
        Some(last) if last.role == Role::Assistant => messages.pop().map(|it| it.content),
        _ => None,
    };
    match args.answer.clone().or(last) {
        Some(answer) => {
            let (prompt, answers) = frame.answered_ids(tokenizer, &messages, &[&answer])?;
            Ok(Text::new(&prompt, &answers.concat()))
        }
        None => Ok(Text::new(&frame.prompt_ids(tokenizer, &messages)?, &[])),
    }
}

fn to_json(map: &TokenMap, ids: &[u32]) -> Value {
    let layer = |(i, it): (usize, &Projections)| {
        json!({"layer": it.layer, "size": it.ruler.size, "midpoint": it.ruler.midpoint, "values": it.values,
               "mean": it.mean(map.skip), "baseline": map.baseline.as_ref().map(|(_, rows)| &rows[i].values),
               "shift": map.shift(i)})
    };
    json!({
        "vector": map.vector, "model": map.model, "unit": map.unit().name(), "skip": map.skip,
        "tokens": map.tokens.iter().zip(ids).map(|(text, id)| json!({"id": id, "text": text})).collect::<Vec<_>>(),
        "layers": map.rows.iter().enumerate().map(layer).collect::<Vec<_>>(),
    })
}
