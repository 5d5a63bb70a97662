//! Extraction: run the contrasts, average each answer's rows, subtract.

use crate::replay::passes;
use crate::stats::{cross_validated_auc, dot, mean_row};
use crate::{
    Contrast, ContrastSet, Error, Frame, LayerDirection, ModelId, PersonaVector, Progress, Provenance,
};
use std::{collections::BTreeMap, fmt, ops::Range, str::FromStr};
use whipstaff_engine::{
    Batch, Model, NoTap, PrefixTree, ROW_BUDGET, Session, Site, SumRows, Tap, Tokenizer, pack,
};

/// Which tokens of an answer are averaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenRule {
    /// All tokens of the answer.
    #[default]
    Answer,
    /// Its last token.
    Last,
    /// Its first token.
    AnswerFirst,
}

/// What to extract.
#[derive(Clone)]
pub struct ExtractOptions {
    /// Which model this is, for the file.
    pub model: ModelId,
    /// The frame around each prompt.
    pub frame: Frame,
    /// Which tokens are averaged.
    pub tokens: TokenRule,
    /// The layers to extract at, ascending.
    pub layers: Vec<usize>,
}

/// The persona vector of a contrast set by the method `mean`: at every layer, the mean over the
/// answer tokens of `resid_post`, positive minus negative, averaged over the contrasts (Rimsky et
/// al. 2024; Chen et al. 2025). Sums are taken in `f64`. The prompt of a contrast runs once for its
/// two answers, what the prompts have in common at their beginning runs once for all, nothing runs past the last layer wanted, and the head never runs.
///
/// # Errors
/// [`Error::ZeroDirection`] if the answers do not differ at a layer; [`Error::Engine`] for texts
/// that the model cannot run; [`Error::Interrupted`].
pub fn extract(
    model: &Model,
    tokenizer: &Tokenizer,
    set: &ContrastSet,
    options: &ExtractOptions,
    progress: &dyn Progress,
) -> Result<PersonaVector, Error> {
    let texts = encode(tokenizer, &options.frame, set, model.config().max_positions)?;
    let sums = sum_answers(model, &texts, options, progress)?;
    let mut layers = BTreeMap::new();
    for layer in &options.layers {
        let rows = |side: usize| -> Vec<Vec<f64>> {
            (0..texts.len()).map(|i| sums.mean(2 * i + side, *layer).expect("answers have tokens")).collect()
        };
        let (positives, negatives) = (rows(0), rows(1));
        if positives.iter().chain(&negatives).flatten().any(|x| !x.is_finite()) {
            return Err(Error::NotFinite { layer: *layer });
        }
        let direction = mean_difference(&positives, &negatives)
            .ok_or_else(|| Error::ZeroDirection { set: set.name.clone(), layer: *layer })?;
        let gap = dot(&mean_row(&positives), &direction) - dot(&mean_row(&negatives), &direction);
        let auc = cross_validated_auc(&positives, &negatives, |p, n| {
            mean_difference(p, n).unwrap_or_else(|| vec![0.0; direction.len()])
        });
        let rms = rms(&sums, *layer, 2 * texts.len());
        let direction = direction.iter().map(|x| *x as f32).collect();
        layers.insert(*layer, LayerDirection { direction, gap: Some(gap), rms: Some(rms), auc });
    }
    Ok(PersonaVector {
        name: set.name.clone(),
        layers,
        recommended: None,
        provenance: Provenance {
            model: options.model.clone(),
            site: Site::ResidPost,
            method: "mean".into(),
            tokens: options.tokens.name().into(),
            frame: options.frame.id(),
            contrasts: set.name.clone(),
            contrasts_sha256: set.sha256.clone(),
            n_contrasts: set.contrasts.len(),
            tool: concat!("whipstaff ", env!("CARGO_PKG_VERSION")).into(),
        },
    })
}

/// A contrast in tokens.
pub(crate) struct ContrastIds {
    pub(crate) prompt: Vec<u32>,
    /// Positive, negative.
    pub(crate) answers: [Vec<u32>; 2],
}

/// The contrasts of a set in tokens, each checked to fit the model's context.
pub(crate) fn encode(
    tokenizer: &Tokenizer,
    frame: &Frame,
    set: &ContrastSet,
    max: usize,
) -> Result<Vec<ContrastIds>, Error> {
    let ids = |(i, contrast): (usize, &Contrast)| {
        let texts = [&contrast.positive[..], &contrast.negative];
        let (prompt, answers) = frame.answered_ids(tokenizer, &contrast.messages, &texts)?;
        let answers: [Vec<u32>; 2] = answers.try_into().expect("one for each text");
        let tokens = prompt.len() + answers[0].len().max(answers[1].len());
        if tokens > max {
            return Err(Error::TooLong { set: set.name.clone(), number: i + 1, tokens, max });
        }
        Ok(ContrastIds { prompt, answers })
    };
    set.contrasts.iter().enumerate().map(ids).collect()
}

/// The unit vector along the difference of the means; `None` if there is no difference.
fn mean_difference(positives: &[Vec<f64>], negatives: &[Vec<f64>]) -> Option<Vec<f64>> {
    let mut delta = mean_row(positives);
    delta.iter_mut().zip(mean_row(negatives)).for_each(|(p, n)| *p -= n);
    let norm = dot(&delta, &delta).sqrt();
    delta.iter_mut().for_each(|x| *x /= norm);
    (norm > 0.0).then_some(delta)
}

fn rms(sums: &SumRows, layer: usize, n_slots: usize) -> f64 {
    let parts = (0..n_slots).map(|slot| sums.square_sum(slot, layer));
    let (squares, n) = parts.fold((0.0, 0), |(s, n), (squares, count)| (s + squares, n + count));
    (squares / n as f64).sqrt()
}

/// Runs every contrast up to the last layer wanted. Slot `2 i` is the positive answer of contrast
/// `i`, slot `2 i + 1` the negative one.
fn sum_answers(
    model: &Model,
    texts: &[ContrastIds],
    options: &ExtractOptions,
    progress: &dyn Progress,
) -> Result<SumRows, Error> {
    let (first, last) = (options.layers[0], options.layers[options.layers.len() - 1]);
    let mut sums = SumRows::new(Site::ResidPost, first..last + 1, model.config().d_model, 2 * texts.len());
    progress.stage("extracting", texts.len());
    let mut done = 0;
    let answer_lens: Vec<usize> = texts.iter().map(|text| text.answers.iter().map(Vec::len).sum()).collect();
    let prompts: Vec<&[u32]> = texts.iter().map(|text| &text.prompt[..]).collect();
    let tree = PrefixTree::new(model, &prompts);
    let prefixes = tree.run(model, &prompts, last + 1)?;
    for group in passes(&answer_lens) {
        let ids: Vec<&[u32]> = group.clone().map(|i| &prompts[i][tree.shared_len(i)..]).collect();
        let mut prompts: Vec<Session> = group.clone().map(|i| prefixes.session(i)).collect();
        let texts = &texts[group];
        run(model, last, &mut prompts, &ids, &mut NoTap, |_, _| {})?;

        let mut answers: Vec<Session> = prompts.iter().flat_map(|it| [it.fork(), it.fork()]).collect();
        let ids: Vec<&[u32]> =
            texts.iter().flat_map(|text| text.answers.iter().map(|ids| &ids[..])).collect();
        run(model, last, &mut answers, &ids, &mut sums, |sums, sequences| {
            let wanted = sequences.iter().map(|i| {
                let start = texts[i / 2].prompt.len();
                (2 * done + i, options.tokens.positions(start, ids[*i].len()))
            });
            sums.expect(wanted.collect());
        })?;
        done += texts.len();
        progress.advance(texts.len())?;
    }
    Ok(sums)
}

/// Extends each session by its tokens, in passes of a bounded number of rows, through the blocks
/// up to `last`. Before each pass, `prepare` tells the tap which sessions are in it.
fn run<T: Tap>(
    model: &Model,
    last: usize,
    sessions: &mut [Session],
    ids: &[&[u32]],
    tap: &mut T,
    prepare: impl Fn(&mut T, &[usize]),
) -> Result<(), Error> {
    for pass in pack(ids.iter().map(|ids| ids.len()), ROW_BUDGET) {
        let sequences: Vec<usize> = pass.iter().map(|(i, _)| *i).collect();
        prepare(tap, &sequences);
        let mut batch = Batch::of_pass(sessions, ids, &pass);
        let entering = model.embed(&batch)?;
        model.run_blocks(&mut batch, entering, 0..last + 1, tap);
    }
    Ok(())
}

impl TokenRule {
    /// The positions that count, for an answer of `len` tokens from `start` on.
    fn positions(self, start: usize, len: usize) -> Range<usize> {
        match self {
            TokenRule::Answer => start..start + len,
            TokenRule::Last => start + len - 1..start + len,
            TokenRule::AnswerFirst => start..start + 1,
        }
    }

    /// `answer`, `last` or `answer-first`.
    pub fn name(self) -> &'static str {
        match self {
            TokenRule::Answer => "answer",
            TokenRule::Last => "last",
            TokenRule::AnswerFirst => "answer-first",
        }
    }
}

impl fmt::Display for TokenRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for TokenRule {
    type Err = String;
    fn from_str(name: &str) -> Result<TokenRule, String> {
        [TokenRule::Answer, TokenRule::Last, TokenRule::AnswerFirst]
            .into_iter()
            .find(|rule| rule.name() == name)
            .ok_or_else(|| format!("`{name}` is not a token rule (rules: answer, last, answer-first)"))
    }
}
