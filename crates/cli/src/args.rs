//! The command line as typed. What it means is decided in `plan`.

use crate::memory::Limit;
use clap::{Parser, Subcommand};
use std::{num::NonZeroUsize, path::PathBuf};
use whipstaff_engine::{Dtype, Site};
use whipstaff_steering::{Convention, LayerSpec, Method, Orthogonal, PERPLEXITY_BUDGET, TokenRule, Unit};

/// Steer a language model: extract a persona vector from contrasting answers, add it to the
/// activations while the model writes, and see what changes. The weights stay as they are.
///
/// Begin with `whipstaff demo`: it needs no model, no network and some seconds.
#[derive(Parser)]
#[command(name = "whipstaff", version, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

/// What to compute on.
#[derive(clap::Args, Clone, Copy)]
pub struct ComputeArgs {
    /// Threads to compute with [default: one per core]
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// fast, or f32: inputs of quantised weights are not rounded to 8 bits (slower, for research)
    #[arg(long, global = true, value_name = "P", value_enum, default_value_t = PrecisionArg::Fast)]
    pub precision: PrecisionArg,
    /// Refuse what would take more memory than this: 8G, 500M, or a share of what there is
    #[arg(long, global = true, value_name = "SIZE", default_value = "80%")]
    pub max_memory: Limit,
}

/// How exactly products are taken.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum PrecisionArg {
    /// Inputs rounded where that is fast
    Fast,
    /// Everything in f32
    F32,
}

const AFTER_HELP: &str = "Examples:
  whipstaff demo
  whipstaff extract --model ./Llama-3.2-1B --contrasts librarian.jsonl -o librarian.safetensors
  whipstaff generate --model ./Llama-3.2-1B --steer librarian.safetensors --prompt 'Where is the printer?' --compare
  whipstaff figure --model ./Llama-3.2-1B --steer librarian.safetensors@all --alphas 0,0.1,0.2 --prompts questions.txt -o out

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 bad input file, 4 network or access,
5 refused for want of memory, 130 interrupted.
Environment: WHIPSTAFF_KERNELS=amx|avx512-bf16|avx512-vnni|avx512|avx2|i8mm|bf16|dotprod|neon|plain chooses the kernel set,
NO_COLOR turns colour off, CLICOLOR_FORCE turns it on. WHIPSTAFF_PACKS=FOLDER|off says where packed weights are kept for the
next start. Models of the hub: HF_HOME and HF_HUB_CACHE say where the cache is, HF_TOKEN who you are,
HF_ENDPOINT where the hub is; HF_HUB_OFFLINE=1 downloads nothing. OPENAI_API_KEY is for evaluate --judge.";

#[derive(Subcommand)]
pub enum Command {
    /// See it work: vector, three answers side by side, figure and report, all in one go
    Demo(DemoArgs),
    /// Make a persona vector from contrasts
    Extract(ExtractArgs),
    /// Measure whether a vector works, against chance, and what it costs
    Receipt(ReceiptArgs),
    /// Measure every layer and alpha (and method) on held-out contrasts, and pick a dose
    Sweep(SweepArgs),
    /// Compare methods, layers and prompting at equal cost, for a list of models and personas
    Study(StudyArgs),
    /// Measure what steering does to behaviour: choices, answers as a judge sees them, and side effects
    Evaluate(Box<EvaluateArgs>),
    /// Write text, steered or not
    Generate(GenerateArgs),
    /// Watch where each token of a text or chat stands on a vector
    Monitor(MonitorArgs),
    /// Draw how far steering turns the activations, per layer and alpha
    Figure(FigureArgs),
    /// Write activations to a safetensors file
    Capture(CaptureArgs),
    /// Make a small, fast .gguf file of a safetensors model
    Quantize(QuantizeArgs),
    /// Look at a model
    #[command(subcommand)]
    Model(ModelCommand),
    /// Look at a vector
    #[command(subcommand)]
    Vector(VectorCommand),
    /// Look at the steering of a request
    #[command(subcommand)]
    Steering(SteeringCommand),
    /// Say what this machine offers, and what of it is used
    Doctor {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Subcommand)]
pub enum ModelCommand {
    /// Print what a model is: family, shape, size
    Show(ShowModelArgs),
}

#[derive(Subcommand)]
pub enum VectorCommand {
    /// Print what a vector is: where it came from, its statistics per layer
    Show(ShowVectorArgs),
    /// Turn a vector into a control vector for repeng and llama.cpp (.gguf), or back (.safetensors)
    Convert(ConvertArgs),
    /// Hold vectors against each other, add them up to one, and measure whether they get in each other's way
    Compose(ComposeArgs),
    /// Print the tokens that a vector pushes up and down, by the logit lens
    Tokens(TokensArgs),
}

#[derive(Subcommand)]
pub enum SteeringCommand {
    /// Read a steering file and the vectors that it names, and say in words what they will do
    Check(CheckSteeringArgs),
}

#[derive(clap::Args)]
pub struct CheckSteeringArgs {
    /// The file (.toml or .json)
    #[arg(value_name = "F.toml", required_unless_present = "steer")]
    pub file: Option<PathBuf>,
    /// A vector as for generate, beside or instead of the file; may be given several times
    #[arg(long, value_name = "V[:ALPHA][@LAYERS][,KEY=VALUE…]")]
    pub steer: Vec<String>,
    /// Print the steering as JSON, nothing left out that was given
    #[arg(long)]
    pub json: bool,
}

/// Which model.
#[derive(clap::Args)]
pub struct ModelArg {
    /// A Hugging Face directory, a .gguf file, or a model of the hub: ORG/NAME, ORG/NAME:QUANT or
    /// ORG/NAME/FILE.gguf, with @REVISION if you like [default: the embedded model]
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
}

/// The text around a prompt.
#[derive(clap::Args, Default)]
pub struct FrameArgs {
    /// The text around a prompt: plain, chat (the model's own template), none, or your own with {prompt}
    /// in it [default: the vector's; without one, chat for a chat model and plain for any other]
    #[arg(long, value_name = "FRAME")]
    pub frame: Option<String>,
    /// The same as --frame chat
    #[arg(long, conflicts_with_all = ["frame", "raw"])]
    pub chat: bool,
    /// The same as --frame none: prompts as they are
    #[arg(long, conflicts_with = "frame")]
    pub raw: bool,
    /// A system message for conversations that have none
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub system: Option<String>,
}

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

#[derive(clap::Args)]
pub struct ExtractArgs {
    #[command(flatten)]
    pub model: ModelArg,
    /// Contrasts, one a line: {"prompt": …, "positive": …, "negative": …}, or the same with
    /// "messages": [{"role": …, "content": …}, …] instead of "prompt"
    #[arg(long, value_name = "F.jsonl")]
    pub contrasts: PathBuf,
    /// Contrasts to measure layers and alpha on [default: F-heldout.jsonl beside F.jsonl, else
    /// every fourth contrast, left out of the fit while measuring]
    #[arg(long, value_name = "F.jsonl")]
    pub heldout: Option<PathBuf>,
    /// The model in full precision that --model is a quantised form of: the vector is also made there, and
    /// the two are compared layer by layer
    #[arg(long, value_name = "MODEL")]
    pub reference: Option<String>,
    /// Held-out contrasts used to choose layers and alpha; 0 skips it
    #[arg(long, value_name = "N", default_value_t = 12)]
    pub recommend: usize,
    /// How the direction is fitted: mean, pca, pca-centered, logistic, lda; or one of two controls that
    /// should not work, random and shuffled
    #[arg(long, value_name = "METHOD", default_value_t = Method::Mean)]
    pub method: Method,
    /// Which tokens are averaged: answer, last, answer-first, prompt-last, all, or an index into the answer
    /// (0 is its first token, -1 its last)
    #[arg(long, value_name = "RULE", default_value_t = TokenRule::Answer, allow_hyphen_values = true)]
    pub tokens: TokenRule,
    /// Layers to extract at: 8 or 8,10 or 8-11 or -1 or 50% or all
    #[arg(long, value_name = "LAYERS", default_value = "all", allow_hyphen_values = true)]
    pub layers: LayerSpec,
    #[command(flatten)]
    pub evidence: EvidenceArgs,
    #[command(flatten)]
    pub frame: FrameArgs,
    /// The vector file
    #[arg(short, long, value_name = "V.safetensors")]
    pub output: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// How it is measured whether a vector works.
#[derive(clap::Args)]
pub struct EvidenceArgs {
    /// Held-out contrasts that the receipt is measured on; 0 leaves it out
    #[arg(long, value_name = "N", default_value_t = 24)]
    pub receipt: usize,
    /// The persona in words, for comparison with a system message [default: two answers are shown instead]
    #[arg(long, value_name = "TEXT", requires = "opposite")]
    pub persona: Option<String>,
    /// Its opposite in words
    #[arg(long, value_name = "TEXT", requires = "persona")]
    pub opposite: Option<String>,
    /// Paragraphs that have nothing to do with the persona, to measure damage on [default: twelve of everyday
    /// prose; the embedded model's own answers]
    #[arg(long, value_name = "F.txt")]
    pub neutral: Option<PathBuf>,
    /// The same seed gives the same controls and the same receipt
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,
}

#[derive(clap::Args)]
pub struct ReceiptArgs {
    /// The vector and, if you like, another dose than its own, or another operator, as for generate:
    /// V.safetensors:1@8,op=cap,hi=-0.8
    #[arg(value_name = "V[:ALPHA][@LAYERS][,KEY=VALUE…]")]
    pub vector: String,
    #[command(flatten)]
    pub model: ModelArg,
    /// Contrasts that the vector was not fitted on
    #[arg(long, value_name = "F.jsonl")]
    pub heldout: PathBuf,
    /// Contrasts that it was fitted on, for the control with shuffled labels [default: the held-out ones]
    #[arg(long, value_name = "F.jsonl")]
    pub contrasts: Option<PathBuf>,
    /// What alpha is counted in: gap, rms or unit [default: gap; for a control vector the unit of its
    /// coefficients]
    #[arg(long)]
    pub unit: Option<Unit>,
    #[command(flatten)]
    pub evidence: EvidenceArgs,
    #[command(flatten)]
    pub frame: FrameArgs,
    /// Write the vector with this receipt to a file
    #[arg(short, long, value_name = "V.safetensors")]
    pub output: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What to do to the activations.
#[derive(clap::Args)]
pub struct SteerArgs {
    /// A vector, how much and where; may be given several times. For control vectors of other
    /// tools: V.gguf:COEFFICIENT. LAYERS are 0-based: 8 or 8,10 or 8-11 or -1 or 50% or all or auto.
    /// What else may be said (docs/REFERENCE.md has the formulas):
    ///   op=add         adds ALPHA; with until=T only as far as a projection of T
    ///   op=project     removes the share ALPHA of what lies along the vector
    ///   op=cap         holds the projection within lo=A and hi=B, or one of them
    ///   op=push        raises the projection to at least to=T
    ///   op=set         sets the projection to to=T
    ///   op=rotate      turns by ALPHA degrees, norm kept
    ///   keep_norm=true gives every row its old norm back
    ///   scope=S        all, prompt, answer or positions A..B (-1: the prompt's last)
    ///   tokens=REGEX   only tokens that match; skip_special=true
    ///   schedule=S     decay:N, ramp:N or window:A..B, in generated tokens
    ///   site=S, unit=U as everywhere
    ///   gate=C         only if the prompt scores gate.above=X (or gate.below=X) on vector C;
    ///                  gate.layer=L, gate.score=cosine|projection|cast, gate.pool=mean|last,
    ///                  gate.unit=U
    #[arg(long, value_name = "V[:ALPHA][@LAYERS][,KEY=VALUE…]", verbatim_doc_comment)]
    pub steer: Vec<String>,
    /// A file (.toml or .json) with the same: a list `steer` of entries with `vector`, `alpha`, `layers`, `op` …
    #[arg(long, value_name = "F.toml")]
    pub steering: Option<PathBuf>,
    /// What alpha and targets are counted in: gap (1 is one full contrast), rms (of the stream) or unit [default:
    /// gap; for a control vector the unit of its coefficients]
    #[arg(long)]
    pub unit: Option<Unit>,
}

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
    /// What alpha is counted in: gap, rms or unit
    #[arg(long, default_value_t = Unit::Gap)]
    pub unit: Unit,
    /// Which tokens are averaged: see `whipstaff extract`
    #[arg(long, value_name = "RULE", default_value_t = TokenRule::Answer, allow_hyphen_values = true)]
    pub tokens: TokenRule,
    /// A dose may make answers this many times as perplexing
    #[arg(long, value_name = "R", default_value_t = PERPLEXITY_BUDGET)]
    pub budget: f64,
    /// Paragraphs that have nothing to do with the persona, to measure damage on [default: twelve of everyday
    /// prose; the embedded model's own answers]
    #[arg(long, value_name = "F.txt")]
    pub neutral: Option<PathBuf>,
    /// The same seed gives the same numbers
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    pub frame: FrameArgs,
    /// Folder for cells.jsonl, sweep.json, sweep.html and the maps; a sweep that was cut goes on from there
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(clap::Args)]
pub struct StudyArgs {
    /// What to measure: models, personas, methods, layers, cost (docs/FORMATS.md)
    #[arg(value_name = "STUDY.toml")]
    pub study: PathBuf,
    /// Folder for report.html, study.json, study.csv, the figures and cells/; a study that was cut goes on from there
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(clap::Args)]
pub struct EvaluateArgs {
    #[command(flatten)]
    pub model: ModelArg,
    #[command(flatten)]
    pub steer: SteerArgs,
    /// Alphas of the one vector, separated by commas; the unsteered model is always measured beside them
    /// [default: the vector's own, and where that means something its negative]
    #[arg(long, value_name = "A,B,…", allow_hyphen_values = true)]
    pub alphas: Option<String>,
    /// Multiple-choice questions as CAA, Anthropic's evals or MMLU have them (JSON list or JSONL), each asked with
    /// every option at every letter; may be given several times
    #[arg(long, value_name = "F.json|F.jsonl")]
    pub choices: Vec<PathBuf>,
    /// Questions of each such file that are used at most [default: all]
    #[arg(long, value_name = "N", requires = "choices")]
    pub limit: Option<NonZeroUsize>,
    /// Paragraphs to measure perplexity and KL on
    #[arg(long, value_name = "F.txt")]
    pub text: Option<PathBuf>,
    /// Questions to be answered: one a line, or JSONL with "prompt"
    #[arg(long, value_name = "F.txt|F.jsonl")]
    pub prompts: Option<PathBuf>,
    /// Contrasts to train a small classifier on, which then sorts the answers
    #[arg(long, value_name = "F.jsonl", requires = "prompts")]
    pub contrasts: Option<PathBuf>,
    /// New tokens of an answer at most
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub max_tokens: usize,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub judge: JudgeArgs,
    #[command(flatten)]
    pub frame: FrameArgs,
    /// Write everything to a file: measures, answers, ratings
    #[arg(short, long, value_name = "F.json")]
    pub output: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Who judges answers, and what for.
#[derive(clap::Args)]
pub struct JudgeArgs {
    /// Who rates answers from 0 to 100: the address of any server with OpenAI's chat completions, such as
    /// `https://api.openai.com/v1` (its key is read from OPENAI_API_KEY), or local:MODEL, a model as for --model
    #[arg(long, value_name = "URL|local:MODEL", requires = "prompts")]
    pub judge: Option<String>,
    /// The server's name for the model that judges
    #[arg(long, value_name = "NAME", requires = "judge")]
    pub judge_model: Option<String>,
    /// A trait to look for, as NAME: DESCRIPTION; may be given several times
    #[arg(long = "trait", value_name = "NAME: TEXT", requires = "judge")]
    pub traits: Vec<String>,
    /// Have it also judged whether answers are coherent
    #[arg(long, requires = "judge")]
    pub coherence: bool,
    /// Refuse to ask a server more often than this
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub max_requests: usize,
    /// Requests under way at once
    #[arg(long, value_name = "N", default_value = "4")]
    pub at_once: NonZeroUsize,
    /// Seconds that one request may take
    #[arg(long, value_name = "S", default_value = "60")]
    pub judge_timeout: NonZeroUsize,
    /// File of what judges said, so that nothing is asked twice [default: verdicts.jsonl in the user's cache]
    #[arg(long, value_name = "F.jsonl")]
    pub judge_cache: Option<PathBuf>,
}

#[derive(clap::Args)]
pub struct GenerateArgs {
    #[command(flatten)]
    pub model: ModelArg,
    /// What the user says
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub prompt: String,
    #[command(flatten)]
    pub steer: SteerArgs,
    /// Scale all alphas by one factor, so that the answer's tokens are moved by so many nats on average: the KL
    /// from the unsteered model, measured on what it would answer unsteered. Of one vector, --steer V:0.1nat is the same
    #[arg(long, value_name = "NATS")]
    pub kl: Option<f64>,
    /// New tokens at most
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub max_tokens: usize,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// End the answer at this text; may be given several times
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// Run unsteered, at +alpha and (where that means something) at -alpha, and print them side by side
    #[arg(long)]
    pub compare: bool,
    #[command(flatten)]
    pub frame: FrameArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(clap::Args)]
pub struct SamplingArgs {
    /// 0 takes the most likely token each time; higher is more varied
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    pub temperature: f32,
    /// Keep the K most likely tokens; 0 keeps all
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub top_k: usize,
    /// Keep the most likely tokens that together reach probability P
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    pub top_p: f32,
    /// Keep tokens at least P times as likely as the most likely one
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    pub min_p: f32,
    /// Divide the logits of tokens that have occurred by R
    #[arg(long, value_name = "R", default_value_t = 1.0)]
    pub repetition_penalty: f32,
    /// The same seed gives the same text
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,
}

#[derive(clap::Args)]
pub struct FigureArgs {
    #[command(flatten)]
    pub model: ModelArg,
    /// The vector, the layers to inject at and, if you like, how: V.safetensors[@LAYERS][,KEY=VALUE…], as for
    /// generate
    #[arg(long, value_name = "V[@LAYERS][,KEY=VALUE…]", required_unless_present = "steering")]
    pub steer: Option<String>,
    /// A file (.toml or .json) with the same, one entry without alpha
    #[arg(long, value_name = "F.toml", conflicts_with = "steer")]
    pub steering: Option<PathBuf>,
    /// Alphas, separated by commas
    #[arg(long, value_name = "A,B,…", default_value = "0,0.1,0.2,0.5,1", allow_hyphen_values = true)]
    pub alphas: String,
    /// What alpha is counted in: gap, rms or unit [default: gap; for a control vector the unit of its
    /// coefficients]
    #[arg(long)]
    pub unit: Option<Unit>,
    /// Texts to measure on: one prompt a line, or JSONL with "prompt" and, if you like, "answer"
    #[arg(long, value_name = "F.txt|F.jsonl")]
    pub prompts: PathBuf,
    #[command(flatten)]
    pub frame: FrameArgs,
    /// Folder for cosine.svg, cosine.png, cosine.csv and cosine.json
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
}

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

#[derive(clap::Args)]
pub struct QuantizeArgs {
    /// A Hugging Face directory, or a model of the hub: ORG/NAME, with @REVISION if you like
    #[arg(long, value_name = "MODEL")]
    pub model: String,
    /// The type of the large matrices: q8_0 (8.5 bits a weight, hardly any loss), q4_k (4.5 bits), or floats
    #[arg(long = "type", value_name = "TYPE", value_enum)]
    pub kind: KindArg,
    /// The file [default: NAME-TYPE.gguf]
    #[arg(short, long, value_name = "F.gguf")]
    pub output: Option<PathBuf>,
    /// Replace the file if it is there
    #[arg(long)]
    pub force: bool,
}

/// Types that are written.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum KindArg {
    /// Floats of 32 bits: nothing is lost
    F32,
    /// Floats of 16 bits, as most GGUF files have them
    F16,
    /// Floats of 16 bits with the range of 32
    Bf16,
    /// Blocks of 32 with 8 bits each
    #[value(name = "q8_0")]
    Q8_0,
    /// Blocks of 256 with 4 bits each; the embedding and the head Q8_0
    #[value(name = "q4_k")]
    Q4K,
}

impl KindArg {
    /// The engine's name for it.
    pub fn dtype(self) -> Dtype {
        match self {
            KindArg::F32 => Dtype::F32,
            KindArg::F16 => Dtype::F16,
            KindArg::Bf16 => Dtype::Bf16,
            KindArg::Q8_0 => Dtype::Q8_0,
            KindArg::Q4K => Dtype::Q4K,
        }
    }
}

#[derive(clap::Args)]
pub struct ShowModelArgs {
    /// A Hugging Face directory, a .gguf file, or a model of the hub: ORG/NAME, ORG/NAME:QUANT or
    /// ORG/NAME/FILE.gguf, with @REVISION if you like [default: the embedded model]
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
    /// What the alphas are counted in: gap, rms or unit [default: gap; for a control vector the unit of its
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

#[derive(clap::Args)]
pub struct TokensArgs {
    /// The vector file, or a control vector (.gguf)
    #[arg(value_name = "V.safetensors")]
    pub vector: PathBuf,
    #[command(flatten)]
    pub model: ModelArg,
    /// Layers: 8 or 8,10 or 8-11 or -1 or 50% or auto or all (that the vector has)
    #[arg(long, value_name = "LAYERS", default_value = "all", allow_hyphen_values = true)]
    pub layers: LayerSpec,
    /// Tokens on each side
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(clap::Args)]
pub struct ShowVectorArgs {
    /// The vector file, or a control vector (.gguf)
    #[arg(value_name = "V.safetensors")]
    pub vector: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }
}
