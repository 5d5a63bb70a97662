use crate::args::{ComputeArgs, EvidenceArgs, FrameArgs, ModelArg};
use crate::commands::receipt::{Bench, Dose};
use crate::commands::reference::Reference;
use crate::plan;
use crate::terminal::{Bar, Failure, note, print_line};
use crate::view::{print_vector, vector_json};
use std::path::PathBuf;
use whipstaff::{LanguageModel, Preview};
use whipstaff_steering::{
    AnswerRows, ContrastSet, ExtractOptions, How, LayerSpec, Method, ModelId, PersonaVector, Receipt,
    Recommendation, TokenRule, Unit, recommend,
};

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

/// `whipstaff extract`: read contrasts → fit → choose a dose and measure it on held-out contrasts → save → print.
pub fn extract(args: ExtractArgs, on: ComputeArgs) -> Result<(), Failure> {
    let set = ContrastSet::read(&args.contrasts)?;
    let heldout = find_heldout(&args).map(|path| ContrastSet::read(&path)).transpose()?;
    plan::output_file(&args.output)?;
    let measures = args.recommend > 0 || args.evidence.receipt > 0;
    let work = |it: &Preview| it.extraction(&set, heldout.as_ref(), measures);
    let loaded = args.model.open(on, work)?;
    let reference = args.reference.as_deref().map(|it| Reference::new(it, &loaded, &set, on)).transpose()?;
    let n_layers = loaded.model.config().n_layers;
    let options = ExtractOptions {
        model: ModelId::of(&loaded.model, &loaded.name),
        frame: plan::frame(&args.frame, &loaded, None)?,
        tokens: args.tokens,
        layers: args.layers.resolve(n_layers, &(0..n_layers).collect::<Vec<_>>())?,
        method: args.method,
        seed: args.evidence.seed,
    };
    let bar = Bar::new()?;
    let job =
        Job { loaded: &loaded, options, recommend: args.recommend, evidence: &args.evidence, bar: &bar };
    let vector = job.vector(&set, heldout.as_ref())?;
    let options = job.options;
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

/// How a vector is made.
pub struct Job<'a> {
    pub loaded: &'a LanguageModel,
    pub options: ExtractOptions,
    /// Held-out contrasts that the dose is chosen on; 0 for no choice.
    pub recommend: usize,
    pub evidence: &'a EvidenceArgs,
    pub bar: &'a Bar,
}

impl Job<'_> {
    /// Fits the vector on all contrasts. The dose is chosen and measured on `heldout` or, without it, on a
    /// quarter of the contrasts by a vector that was fitted on the rest.
    pub fn vector(&self, set: &ContrastSet, heldout: Option<&ContrastSet>) -> Result<PersonaVector, Failure> {
        let rows = self.rows(set)?;
        let mut vector = self.fit(&rows)?;
        if self.recommend == 0 && self.evidence.receipt == 0 {
            return Ok(vector);
        }
        if let Some(heldout) = heldout {
            vector.recommended = self.recommended(&vector, heldout)?;
            vector.receipt = self.receipt(&vector, &rows, set, heldout)?;
            return Ok(vector);
        }
        let Some((most, rest)) = plan::split(set) else {
            self.bar.clear();
            note("too few contrasts to choose layers and alpha on: give at least four, or --heldout");
            return Ok(vector);
        };
        let rows = self.rows(&most)?;
        let mut partial = self.fit(&rows)?;
        partial.recommended = self.recommended(&partial, &rest)?;
        vector.receipt = self.receipt(&partial, &rows, &most, &rest)?;
        vector.recommended = partial.recommended;
        Ok(vector)
    }

    fn rows(&self, set: &ContrastSet) -> Result<AnswerRows, Failure> {
        let Job { loaded, options, bar, .. } = self;
        Ok(AnswerRows::read(&loaded.model, loaded.tokenizer()?, set, options, *bar)?)
    }

    fn fit(&self, rows: &AnswerRows) -> Result<PersonaVector, Failure> {
        Ok(rows.fit(self.loaded.model.cpu(), self.options.method, self.options.seed)?)
    }

    fn recommended(
        &self,
        vector: &PersonaVector,
        heldout: &ContrastSet,
    ) -> Result<Option<Recommendation>, Failure> {
        let Job { loaded, options, bar, .. } = self;
        if self.recommend == 0 {
            return Ok(None);
        }
        let tokenizer = loaded.tokenizer()?;
        let most = self.recommend;
        Ok(Some(recommend(&loaded.model, tokenizer, vector, &options.frame, heldout, most, *bar)?))
    }

    fn receipt(
        &self,
        vector: &PersonaVector,
        rows: &AnswerRows,
        shown: &ContrastSet,
        heldout: &ContrastSet,
    ) -> Result<Option<Receipt>, Failure> {
        let Job { loaded, evidence, bar, .. } = self;
        if evidence.receipt == 0 {
            return Ok(None);
        }
        let (layers, alpha) = vector.default_dose();
        let bench = Bench { loaded, frame: self.options.frame.clone(), evidence, bar };
        bench
            .measure(
                vector,
                Dose { layers, alpha, unit: Unit::Gap, how: How::default(), tokens: None },
                rows,
                shown,
                heldout,
            )
            .map(Some)
    }
}

/// `--heldout`, else a file of that name beside the contrasts.
fn find_heldout(args: &ExtractArgs) -> Option<PathBuf> {
    if args.recommend == 0 && args.evidence.receipt == 0 {
        return None;
    }
    args.heldout.clone().or_else(|| plan::heldout_beside(&args.contrasts))
}
