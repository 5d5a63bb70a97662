use crate::args::{ComputeArgs, EvidenceArgs, FrameArgs, ModelArg};
use crate::plan;
use crate::steer::{self, resolved_one};
use crate::terminal::{Bar, Failure, print_line};
use crate::view::receipt_text;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use whipstaff::{LanguageModel, Preview};
use whipstaff_engine::{Continuation, TokenSet};
use whipstaff_steering::{
    AnswerRows, ContrastSet, ExtractOptions, Frame, How, Method, PersonaVector, Receipt, ReceiptOptions,
    ResolvedVector, TokenRule, Unit, receipt as measure,
};

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

/// `whipstaff receipt`: read vector and contrasts → measure → print, and store it if asked to.
pub fn receipt(args: ReceiptArgs, on: ComputeArgs) -> Result<(), Failure> {
    let spec = steer::spec("vector", &args.vector, args.unit)?;
    if spec.gate.is_some() {
        return Err(Failure::Usage(format!(
            "{}: a gate opens for some prompts and not for others: measure what it lets through, without the gate",
            args.vector
        )));
    }
    if args.output.is_some() && spec.how != How::default() {
        return Err(Failure::Usage(
            "-o: a vector's file keeps the receipt of adding it at every position: leave out -o, or print --json".into(),
        ));
    }
    let heldout = ContrastSet::read(&args.heldout)?;
    let controls = args.contrasts.as_deref().map(ContrastSet::read).transpose()?;
    let controls = controls.as_ref().unwrap_or(&heldout);
    args.output.as_deref().map_or(Ok(()), plan::output_file)?;
    let work = |it: &Preview| it.extraction(controls, Some(&heldout), true);
    let loaded = args.model.open(on, work)?;
    let steer = resolved_one(spec, &loaded)?;
    let frame = plan::frame(&args.frame, &loaded, steer.frame())?;
    let ResolvedVector { vector, alpha, unit, layers, how, tokens, .. } = steer;
    let bar = Bar::new()?;
    let options = ExtractOptions {
        model: vector.provenance.model.clone(),
        frame: frame.clone(),
        tokens: TokenRule::Answer,
        layers: layers.clone(),
        method: Method::Mean,
        seed: args.evidence.seed,
    };
    let rows = AnswerRows::read(&loaded.model, loaded.tokenizer()?, controls, &options, &bar)?;
    let dose = Dose { layers, alpha, unit, how, tokens };
    let bench = Bench { loaded: &loaded, frame, evidence: &args.evidence, bar: &bar };
    let found = bench.measure(&vector, dose, &rows, controls, &heldout)?;
    bar.clear();
    bar.check()?;
    if let Some(path) = &args.output {
        PersonaVector { receipt: Some(found.clone()), ..vector }.write(path)?;
    }
    if args.json { print_line(&found.to_json()) } else { print_line(receipt_text(&found).trim_end()) }
}

/// How much of a vector, where.
pub struct Dose {
    pub layers: Vec<usize>,
    pub alpha: f64,
    pub unit: Unit,
    pub how: How,
    pub tokens: Option<Arc<TokenSet>>,
}

/// What a receipt is measured with.
pub struct Bench<'a> {
    pub loaded: &'a LanguageModel,
    pub frame: Frame,
    pub evidence: &'a EvidenceArgs,
    pub bar: &'a Bar,
}

impl Bench<'_> {
    /// Measures a dose of `vector`. `rows` and `shown` are of contrasts that it may have been fitted on.
    pub fn measure(
        &self,
        vector: &PersonaVector,
        dose: Dose,
        rows: &AnswerRows,
        shown: &ContrastSet,
        heldout: &ContrastSet,
    ) -> Result<Receipt, Failure> {
        let Bench { loaded, evidence, bar, .. } = self;
        let best_layer = vector.recommended.as_ref().map(|it| it.best_layer);
        let options = ReceiptOptions {
            frame: self.frame.clone(),
            best_layer: best_layer.unwrap_or(dose.layers[dose.layers.len() / 2]),
            layers: dose.layers,
            alpha: dose.alpha,
            unit: dose.unit,
            how: dose.how,
            tokens: dose.tokens,
            max_contrasts: evidence.receipt,
            random: 5,
            shuffled: 8,
            persona: evidence.persona.clone().zip(evidence.opposite.clone()).map(|(one, other)| [one, other]),
            neutral: neutral(loaded, evidence.neutral.as_deref())?,
            seed: evidence.seed,
        };
        let tokenizer = loaded.tokenizer()?;
        Ok(measure(&loaded.model, tokenizer, vector, rows, shown, heldout, &options, *bar)?)
    }
}

/// Paragraphs of a file, else the shipped ones; none for the embedded model, which knows no such texts and is
/// measured on its own answers.
pub fn neutral(loaded: &LanguageModel, path: Option<&Path>) -> Result<Vec<Continuation>, Failure> {
    let read = |path: &Path| {
        std::fs::read_to_string(path)
            .map_err(|error| Failure::BadInput(format!("cannot read {}: {error}", path.display())))
    };
    let text = match path {
        Some(path) => read(path)?,
        None if loaded.embedded => return Ok(Vec::new()),
        None => include_str!("../../../../contrasts/neutral.txt").to_owned(),
    };
    let (tokenizer, max) = (loaded.tokenizer()?, loaded.model.config().max_positions);
    let mut texts = Vec::new();
    for paragraph in text.split("\n\n").map(str::trim).filter(|it| !it.is_empty()) {
        texts.extend(windows(&tokenizer.encode(paragraph).map_err(whipstaff_steering::Error::from)?, max));
    }
    match (path, texts.is_empty()) {
        (Some(path), true) => Err(Failure::BadInput(format!("{}: holds no text", path.display()))),
        _ => Ok(texts),
    }
}

/// The tokens of a text, each but the first to be predicted once, from at most `max` − 1 before it: windows that
/// begin half a context before their first new token.
fn windows(ids: &[u32], max: usize) -> Vec<Continuation> {
    let (mut windows, mut start, mut next) = (Vec::new(), 0, 1);
    while next < ids.len() {
        let end = ids.len().min(start + max.max(2));
        windows.push(Continuation { prompt: ids[start..next].to_vec(), tokens: ids[next..end].to_vec() });
        (start, next) = (end.saturating_sub(max.max(2) / 2), end);
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_but_the_first_is_predicted_once_from_half_a_context_at_least() {
        let check = |len: u32, max: usize, want: &[(&[u32], &[u32])]| {
            let got = windows(&(0..len).collect::<Vec<_>>(), max);
            let got: Vec<(&[u32], &[u32])> = got.iter().map(|it| (&it.prompt[..], &it.tokens[..])).collect();
            assert_eq!(got, want, "{len} tokens, {max} at a time");
        };
        check(0, 4, &[]);
        check(1, 4, &[]);
        check(2, 4, &[(&[0], &[1])]);
        check(4, 4, &[(&[0], &[1, 2, 3])]);
        check(5, 4, &[(&[0], &[1, 2, 3]), (&[2, 3], &[4])]);
        check(8, 4, &[(&[0], &[1, 2, 3]), (&[2, 3], &[4, 5]), (&[4, 5], &[6, 7])]);
        check(3, 1, &[(&[0], &[1]), (&[1], &[2])]);
    }
}
