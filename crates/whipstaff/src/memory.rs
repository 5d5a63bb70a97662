//! Memory, known before it is spent: what work will take, and a refusal in numbers.

use crate::machine::{MemoryLimit, Size, machine};
use std::fmt::{self, Display};
use std::ops::Range;
use std::path::Path;
use whipstaff_engine::{Outline, ROW_BUDGET, Tokenizer, n_parameters};
use whipstaff_steering::{Contrast, ContrastSet, asked_together, passes};

/// What a piece of work holds at once, besides the weights.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    /// Tokens of each sequence that is held, for the cache.
    pub sequences: Vec<usize>,
    /// Rows of the largest pass; 0 runs nothing.
    pub rows: usize,
    /// Rows whose logits are held at once.
    pub logits: usize,
    /// True if what enters every block of a pass is kept.
    pub replays: bool,
    /// Bytes of results.
    pub kept: u64,
    /// What could be asked for instead.
    pub instead: Option<String>,
}

/// What is known of a model before it is loaded.
pub struct Preview<'a> {
    /// Its shape and sizes.
    pub outline: &'a Outline,
    /// Its tokenizer, if it has one.
    pub tokenizer: Option<&'a Tokenizer>,
}

/// The most tokens that a frame puts around a text.
pub const FRAME_TOKENS: usize = 32;

/// Where a block of the cache is shared, it is copied before it is written to.
const COPIED_BLOCK: usize = 32;

/// New tokens of a question that is asked while a dose is chosen, or by the demo.
const ASKED_TOKENS: usize = 64;

/// Tokens of a conversation whose length nobody has said.
const CONVERSATION: usize = 4096;

impl Preview<'_> {
    /// Returns the work of one conversation as long as the model's context, or of 4096 tokens where that is less.
    pub fn conversation(&self) -> Workload {
        let context = CONVERSATION.min(self.outline.config().max_positions);
        Workload::context(context)
    }

    /// Returns the number of tokens of a text; without a tokenizer, the number of its bytes.
    pub fn tokens(&self, text: &str) -> usize {
        let ids = self.tokenizer.and_then(|it| it.encode(text).ok());
        ids.map_or(text.len(), |ids| ids.len())
    }

    /// Returns the work of continuing a prompt `n` times.
    pub fn generation(&self, prompt: &str, n: usize, max_tokens: usize) -> Workload {
        let prompt = self.tokens(prompt) + FRAME_TOKENS;
        let longest = prompt.saturating_add(max_tokens).min(self.outline.config().max_positions);
        Workload {
            sequences: vec![longest; n],
            rows: (n * prompt).min(ROW_BUDGET),
            logits: n,
            instead: Some("generate fewer tokens".into()),
            ..Workload::default()
        }
    }

    /// Returns the work of running texts of these lengths unsteered and, as many rows at a time, steered.
    pub fn replaying(&self, lens: &[usize]) -> Workload {
        let rows = |pass: &Range<usize>| lens[pass.clone()].iter().sum::<usize>();
        let largest = passes(lens).into_iter().max_by_key(rows).unwrap_or_default();
        // Beside the texts themselves, a batch of copies: of short texts many, of long ones one.
        let copies = ROW_BUDGET.max(rows(&largest));
        let mut sequences = lens[largest].to_vec();
        sequences.push(copies + COPIED_BLOCK);
        let instead = Some("give shorter texts".into());
        Workload { sequences, rows: copies, logits: 64, replays: true, kept: 0, instead }
    }

    /// Returns the work of asking questions of these lengths side by side, for so many new tokens.
    pub fn asking(&self, questions: &[usize], max_tokens: usize) -> Workload {
        let longest = questions.iter().max().map_or(0, |it| it.saturating_add(max_tokens));
        let longest = longest.min(self.outline.config().max_positions);
        let n = asked_together(self.outline.kv_bytes(longest) as usize);
        let instead = Some("generate fewer tokens".into());
        Workload { sequences: vec![longest; n], rows: ROW_BUDGET, logits: n, instead, ..Workload::default() }
    }

    /// The tokens of all that comes before an answer, each message in its frame.
    fn messages(&self, contrast: &Contrast) -> usize {
        contrast.messages.iter().map(|it| self.tokens(&it.content) + FRAME_TOKENS).sum()
    }

    /// A vector fitted on `set`, and its dose chosen on `heldout` (or a part of `set`) if `choose`.
    pub fn extraction(&self, set: &ContrastSet, heldout: Option<&ContrastSet>, choose: bool) -> Workload {
        let instead =
            Some("give shorter or fewer contrasts, take fewer layers, or choose no dose".to_owned());
        let mut works = vec![self.fitting(&set.contrasts)];
        if choose {
            let contrasts = &heldout.unwrap_or(set).contrasts;
            works.push(self.margins(contrasts));
            let questions = contrasts.iter().map(|it| self.messages(it));
            works.push(self.asking(&questions.collect::<Vec<_>>(), ASKED_TOKENS));
        }
        Workload { instead, ..self.largest(works) }
    }

    /// Returns the work that takes most, of several done one after the other.
    pub fn largest(&self, works: impl IntoIterator<Item = Workload>) -> Workload {
        let total = |work: &Workload| Estimate::new(self.outline, work).total();
        works.into_iter().max_by_key(total).unwrap_or_default()
    }

    /// Returns the work of measuring the margins of contrasts, unsteered and steered.
    pub fn margins(&self, contrasts: &[Contrast]) -> Workload {
        let lens = |it: &Contrast| {
            let prompt = self.messages(it);
            [prompt + self.tokens(&it.positive), prompt + self.tokens(&it.negative)]
        };
        self.replaying(&contrasts.iter().flat_map(lens).collect::<Vec<_>>())
    }

    /// The passes of an extraction: prompts, and two answers on each.
    fn fitting(&self, contrasts: &[Contrast]) -> Workload {
        let mut most: (usize, Vec<usize>) = Default::default();
        let (mut pass, mut rows): ((usize, Vec<usize>), usize) = Default::default();
        for it in contrasts {
            let answers = [&it.positive, &it.negative].map(|text| self.tokens(text));
            let prompt = self.messages(it);
            if rows + answers[0] + answers[1] > ROW_BUDGET {
                (pass, rows) = Default::default();
            }
            rows += answers[0] + answers[1];
            let held = [prompt, answers[0] + COPIED_BLOCK, answers[1] + COPIED_BLOCK];
            pass.0 += held.iter().sum::<usize>();
            pass.1.extend(held);
            if pass.0 > most.0 {
                most = pass.clone();
            }
        }
        // A sum of doubles per answer and layer, and those of one layer as rows, twice.
        let config = self.outline.config();
        let sums = 2 * contrasts.len() * config.d_model * size_of::<f64>();
        let kept = (sums * (config.n_layers + 2)) as u64;
        Workload { sequences: most.1, rows: ROW_BUDGET, kept, ..Workload::default() }
    }
}

impl Workload {
    /// Returns the same work with another advice for a caller that has no room for it.
    pub fn advising(self, instead: &str) -> Workload {
        Workload { instead: Some(instead.to_owned()), ..self }
    }

    /// Returns the work of one sequence of so many tokens.
    pub fn context(n_tokens: usize) -> Workload {
        Workload {
            sequences: vec![n_tokens],
            rows: n_tokens.min(ROW_BUDGET),
            logits: 1,
            ..Workload::default()
        }
    }
}

/// The memory that work takes, in bytes, part by part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The weights, as they lie in memory.
    pub weights: u64,
    /// Keys and values.
    pub cache: u64,
    /// Activations, logits and results.
    pub activations: u64,
    /// The program, its tokenizer, its stacks and what the allocator keeps.
    pub program: u64,
}

/// What the program takes on the smallest models, rounded up.
const PROGRAM: u64 = 32 << 20;

impl Estimate {
    /// Estimates what work on a model takes.
    pub fn new(outline: &Outline, work: &Workload) -> Estimate {
        let rows = work.rows;
        let blocks = if work.replays { outline.config().n_layers + 2 } else { 0 };
        Estimate {
            weights: outline.weight_bytes(),
            cache: work.sequences.iter().map(|tokens| outline.kv_bytes(*tokens)).sum(),
            activations: outline.activation_bytes(rows)
                + outline.stream_bytes(rows) * blocks as u64
                + outline.logit_bytes(work.logits)
                + work.kept,
            program: PROGRAM + outline.tokenizer_bytes(),
        }
    }

    /// Returns the sum of all parts.
    pub fn total(&self) -> u64 {
        self.weights + self.cache + self.activations + self.program
    }
}

/// Work that would take more memory than it may.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The model's name.
    pub model: String,
    /// What the work would take.
    pub estimate: Estimate,
    /// The bytes that may be used.
    pub limit: u64,
    /// Where the limit comes from.
    pub because: String,
    /// What could be done instead.
    pub instead: String,
}

impl Refusal {
    /// Says what would be taken, what is allowed and what to do about it. `limit` is what the reader calls the limit,
    /// such as the flag that sets it.
    pub fn in_words(&self, limit: &str) -> String {
        let Refusal { model, estimate, because, instead, .. } = self;
        format!(
            "{model} would take up to {} (weights {}, keys and values {}, activations and results {}, the program itself \
             {}), more than {limit} allows: {} ({because}). {}{}; or raise {limit}",
            Size(estimate.total()),
            Size(estimate.weights),
            Size(estimate.cache),
            Size(estimate.activations),
            Size(estimate.program),
            Size(self.limit),
            instead[..1].to_uppercase(),
            &instead[1..],
        )
    }
}

impl Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.in_words("the memory limit"))
    }
}

impl std::error::Error for Refusal {}

/// Refuses work that would take more than the limit.
pub(crate) fn check(
    name: &str,
    outline: &Outline,
    work: &Workload,
    limit: MemoryLimit,
) -> Result<(), Refusal> {
    let Some((limit, because)) = limit.resolve(machine(Path::new("/"))) else { return Ok(()) };
    let estimate = Estimate::new(outline, work);
    if estimate.total() <= limit {
        return Ok(());
    }
    let own = outline.weights().n_bytes() as u64;
    let smaller = n_parameters(outline.config()) as u64 * 9 / 16; // Q4_K: 4.5 bits per weight
    let instead = match &work.instead {
        Some(instead) if estimate.weights + estimate.program < limit => instead.clone(),
        _ if smaller < own * 3 / 4 => format!("a Q4_K_M file of this model has about {}", Size(smaller)),
        _ => "use a smaller model".into(),
    };
    Err(Refusal { model: name.into(), estimate, limit, because, instead })
}
