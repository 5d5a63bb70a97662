//! Groups of arguments that several commands share, and what they mean.

mod steer;

pub use steer::{resolved, resolved_one, steer_spec};

use crate::terminal::{Failure, Loading};
use std::{num::NonZeroUsize, path::PathBuf, sync::Arc};
use whipstaff::{Compute, FrameChoice, LanguageModel, Located, MemoryLimit, OpenOptions, Preview, Workload};
use whipstaff_engine::{Precision, Sampling};
use whipstaff_steering::Unit;

/// What to compute on.
#[derive(clap::Args, Clone, Copy)]
pub struct ComputeArgs {
    /// Threads to compute with [default: one per core]
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// fast, or f32: inputs of quantised weights are not rounded to 8 bits (slower, for research)
    #[arg(long, global = true, value_name = "P", value_enum, default_value_t = PrecisionArg::Fast)]
    pub precision: PrecisionArg,
    /// Refuse work that would take more memory than this: 8G, 500M, or a share of what there is
    #[arg(long, global = true, value_name = "SIZE", default_value = "80%")]
    pub max_memory: MemoryLimit,
}

impl ComputeArgs {
    /// Returns threads, precision and kernel set.
    pub fn compute(self) -> Compute {
        let precision = match self.precision {
            PrecisionArg::Fast => Precision::Fast,
            PrecisionArg::F32 => Precision::F32,
        };
        Compute { threads: self.threads, precision, kernels: None }
    }

    /// Opens the model that `flag` names as `choice`, or the embedded model without one. Work that would take more
    /// memory than it may is refused before anything is loaded.
    pub fn open(
        self,
        flag: &str,
        choice: Option<&str>,
        work: impl FnOnce(&Preview) -> Workload,
    ) -> Result<LanguageModel, Failure> {
        let loading = Arc::new(Loading::default());
        let options = OpenOptions::default().compute(self.compute()).memory_limit(self.max_memory);
        let opened = options.watch(loading.clone()).open_for(choice, work);
        loading.clear();
        opened.map_err(|error| Failure::of_model(flag, error))
    }
}

/// Finds the model that `flag` names as `choice`, or the embedded model without one; loads nothing.
pub fn locate(flag: &str, choice: Option<&str>) -> Result<Located, Failure> {
    let loading = Arc::new(Loading::default());
    let located = Located::new(choice, &(loading.clone() as whipstaff::Watcher));
    loading.clear();
    located.map_err(|error| Failure::of_model(flag, error))
}

/// How exactly products are taken.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum PrecisionArg {
    /// Inputs rounded where that is fast
    Fast,
    /// Everything in f32
    F32,
}

/// Which model.
#[derive(clap::Args)]
pub struct ModelArg {
    /// A Hugging Face directory, a .gguf file, or a model of the hub: ORG/NAME, ORG/NAME:QUANT or
    /// ORG/NAME/FILE.gguf, optionally with @REVISION [default: the embedded model]
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
}

impl ModelArg {
    /// Opens the model, or the embedded one without `--model`.
    pub fn open(
        &self,
        on: ComputeArgs,
        work: impl FnOnce(&Preview) -> Workload,
    ) -> Result<LanguageModel, Failure> {
        on.open("--model", self.model.as_deref(), work)
    }
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

impl FrameArgs {
    /// Returns the frame asked for, by name or as a text.
    pub fn choice(&self) -> FrameChoice {
        let frame = match self {
            FrameArgs { raw: true, .. } => Some("none".to_owned()),
            FrameArgs { chat: true, .. } => Some("chat".to_owned()),
            _ => self.frame.clone(),
        };
        FrameChoice { frame, system: self.system.clone() }
    }
}

/// How it is measured whether a vector works.
#[derive(clap::Args)]
pub struct EvidenceArgs {
    /// Held-out contrasts that the receipt is measured on; 0 measures none
    #[arg(long, value_name = "N", default_value_t = 24)]
    pub receipt: usize,
    /// The persona in words, for comparison with a system message [default: two answers are shown instead]
    #[arg(long, value_name = "TEXT", requires = "opposite")]
    pub persona: Option<String>,
    /// The opposite of the persona in words
    #[arg(long, value_name = "TEXT", requires = "persona")]
    pub opposite: Option<String>,
    /// Paragraphs unrelated to the persona, to measure damage on [default: twelve of everyday
    /// prose; the embedded model's own answers]
    #[arg(long, value_name = "F.txt")]
    pub neutral: Option<PathBuf>,
    /// The same seed gives the same controls and the same receipt
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,
}

impl EvidenceArgs {
    /// Returns the persona and its opposite in words, if they are given.
    pub fn personas(&self) -> Option<[String; 2]> {
        self.persona.clone().zip(self.opposite.clone()).map(|(one, other)| [one, other])
    }
}

/// What to do to the activations.
#[derive(clap::Args)]
pub struct SteerArgs {
    /// A vector, how much and where; may be given several times. For control vectors of other
    /// tools: V.gguf:COEFFICIENT. LAYERS are 0-based: 8 or 8,10 or 8-11 or -1 or 50% or all or auto.
    /// Further options (docs/REFERENCE.md has the formulas):
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
    /// The unit of alpha and of targets: gap (1 is one full contrast), rms (of the stream) or unit [default:
    /// gap; for a control vector the unit of its coefficients]
    #[arg(long)]
    pub unit: Option<Unit>,
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

impl SamplingArgs {
    /// Returns the settings, each within its range.
    pub fn sampling(&self) -> Result<Sampling, Failure> {
        let within = |flag: &str, x: f32, low: f32, high: f32| {
            if x >= low && x <= high {
                return Ok(x);
            }
            Err(Failure::Usage(format!("--{flag} {x} is outside {low} to {high}")))
        };
        Ok(Sampling {
            repetition_penalty: within("repetition-penalty", self.repetition_penalty, 0.1, 10.0)?,
            temperature: within("temperature", self.temperature, 0.0, 100.0)?,
            top_k: self.top_k,
            top_p: within("top-p", self.top_p, 0.0, 1.0)?,
            min_p: within("min-p", self.min_p, 0.0, 1.0)?,
            seed: self.seed,
        })
    }
}

/// Reads the list of `--alphas`, each of which must be finite.
pub fn alphas_of(text: &str) -> Result<Vec<f64>, Failure> {
    let alpha = |part: &str| match part.trim().parse::<f64>() {
        Ok(alpha) if alpha.is_finite() => Ok(alpha),
        Ok(alpha) => Err(Failure::Usage(format!("--alphas {text}: alpha {alpha} is not finite"))),
        Err(_) => Err(Failure::Usage(format!("--alphas {text}: `{part}` is not a number"))),
    };
    text.split(',').map(alpha).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alphas_are_finite_numbers() {
        assert!(alphas_of("0,0.5,-1").is_ok());
        assert!(alphas_of("0,nan").is_err() && alphas_of("").is_err());
    }
}
