//! Extraction: run the contrasts, average each answer's rows, fit a direction to the averages.

use super::methods::Method;
use crate::contrasts::{ContrastSet, Frame, SideIds, TokenRule, encode_sides};
use crate::error::Error;
use crate::math::{Random, cross_validated_auc, dot, mean_row, minus, unit};
use crate::passes::passes;
use crate::progress::Watch;
use crate::vector::{LayerDirection, ModelId, PersonaVector, Provenance};
use whipstaff_engine::{
    Batch, Cpu, Model, NoTap, PrefixTree, ROW_BUDGET, Session, Site, SumRows, Tap, Tokenizer, pack,
};

/// The settings of an extraction.
#[derive(Clone)]
pub struct ExtractOptions {
    /// The identity of the model, for the vector's file.
    pub model: ModelId,
    /// The frame around each prompt.
    pub frame: Frame,
    /// The rule that says which tokens are averaged.
    pub tokens: TokenRule,
    /// The layers to extract at, ascending.
    pub layers: Vec<usize>,
    /// The method that fits the direction.
    pub method: Method,
    /// The seed of the controls; the same seed gives the same direction.
    pub seed: u64,
}

/// Extracts the persona vector of a contrast set: [`AnswerRows::read`], then [`AnswerRows::fit`].
///
/// # Errors
/// As for [`AnswerRows::read`] and [`AnswerRows::fit`].
pub fn extract(
    model: &Model,
    tokenizer: &Tokenizer,
    set: &ContrastSet,
    options: &ExtractOptions,
    watch: &dyn Watch,
) -> Result<PersonaVector, Error> {
    AnswerRows::read(model, tokenizer, set, options, watch)?.fit(model.cpu(), options.method, options.seed)
}

/// The rows that directions are fitted to: for each answer of a contrast set and each layer, the mean of `resid_post`
/// over the tokens of the rule (Rimsky et al. 2024; Chen et al. 2025). Every method is fitted to the same rows.
///
/// They take `16 · n_contrasts · n_layers · d_model` bytes, however long the texts are.
pub struct AnswerRows {
    options: ExtractOptions,
    /// The name and the digest of the set.
    contrasts: (String, String),
    /// The number of tokens of each contrast's positive and negative answer.
    lens: Vec<[usize; 2]>,
    /// Slot `2 i` is the positive answer of contrast `i`, slot `2 i + 1` the negative one.
    sums: SumRows,
}

impl AnswerRows {
    /// Runs the contrasts. The method and the seed of the options play no part.
    ///
    /// The prompt of a contrast runs once for its two answers, and what the prompts have in common at their beginning
    /// runs once for all. Nothing runs past the last layer that is wanted, and the head never runs. Sums are taken in
    /// `f64`.
    ///
    /// # Errors
    /// [`Error::Setting`] if the rule says nothing about these contrasts; [`Error::TooLong`] and [`Error::Engine`] for
    /// texts that the model cannot run; [`Error::Interrupted`].
    pub fn read(
        model: &Model,
        tokenizer: &Tokenizer,
        set: &ContrastSet,
        options: &ExtractOptions,
        watch: &dyn Watch,
    ) -> Result<AnswerRows, Error> {
        let texts = encode_sides(tokenizer, &options.frame, set, model.config().max_positions)?;
        let sums = sum_answers(model, set, &texts, options, watch)?;
        Ok(AnswerRows {
            options: options.clone(),
            contrasts: (set.name.clone(), set.sha256.clone()),
            lens: texts.iter().map(|text| text.answers.each_ref().map(Vec::len)).collect(),
            sums,
        })
    }

    /// Fits a direction to the rows of every layer.
    ///
    /// # Errors
    /// [`Error::ZeroDirection`] if the answers determine no direction at a layer; [`Error::NotFinite`].
    pub fn fit(&self, cpu: &Cpu, method: Method, seed: u64) -> Result<PersonaVector, Error> {
        let options = &self.options;
        let mut fitted: Vec<Option<Result<LayerDirection, Error>>> =
            options.layers.iter().map(|_| None).collect();
        cpu.for_each_mut(&mut fitted, |i, slot| {
            *slot = Some(self.fit_layer(options.layers[i], method, seed));
        });
        let layers = options.layers.iter().zip(fitted);
        let layers = layers.map(|(layer, fitted)| Ok((*layer, fitted.expect("every layer was fitted")?)));
        Ok(PersonaVector {
            name: self.contrasts.0.clone(),
            layers: layers.collect::<Result<_, Error>>()?,
            recommended: None,
            receipt: None,
            provenance: Provenance {
                model: options.model.clone(),
                site: Site::ResidPost,
                method: method.name().into(),
                tokens: options.tokens.to_string(),
                frame: options.frame.id(),
                contrasts: self.contrasts.0.clone(),
                contrasts_sha256: self.contrasts.1.clone(),
                n_contrasts: self.lens.len(),
                recipe: None,
                tool: concat!("whipstaff ", env!("CARGO_PKG_VERSION")).into(),
            },
        })
    }

    fn fit_layer(&self, layer: usize, method: Method, seed: u64) -> Result<LayerDirection, Error> {
        let [positives, negatives] = self.sides(layer);
        if positives.iter().chain(&negatives).flatten().any(|x| !x.is_finite()) {
            return Err(Error::NotFinite { layer });
        }
        // The same random numbers at every layer: labels are shuffled once.
        let random = || Random::new(seed);
        let direction = method.fit(&positives, &negatives, random());
        let direction =
            direction.ok_or_else(|| Error::ZeroDirection { set: self.contrasts.0.clone(), layer })?;
        let gap = dot(&mean_row(&positives), &direction) - dot(&mean_row(&negatives), &direction);
        let auc = cross_validated_auc(&positives, &negatives, |p, n| {
            method.fit(p, n, random()).unwrap_or_else(|| vec![0.0; direction.len()])
        });
        Ok(LayerDirection {
            direction: direction.iter().map(|x| *x as f32).collect(),
            gap: Some(gap),
            rms: Some(rms(&self.sums, layer, 2 * self.lens.len())),
            auc,
            coherence: coherence(&positives, &negatives),
        })
    }

    /// Returns the rows of a layer, `[n_contrasts, d_model]`: those of the positive answers, those of the negative ones.
    pub(crate) fn sides(&self, layer: usize) -> [Vec<Vec<f64>>; 2] {
        let row = |slot: usize| self.sums.mean(slot, layer).expect("every answer was read");
        [0, 1].map(|side| (0..self.lens.len()).map(|i| row(2 * i + side)).collect())
    }

    /// Returns the unit direction of a method at a layer, without its statistics, or `None` if the rows determine none.
    pub(crate) fn direction(&self, layer: usize, method: Method, seed: u64) -> Option<Vec<f64>> {
        let [positives, negatives] = self.sides(layer);
        method.fit(&positives, &negatives, Random::new(seed))
    }

    /// Returns the number of tokens of each contrast's positive and negative answer.
    pub(crate) fn lens(&self) -> &[[usize; 2]] {
        &self.lens
    }
}

/// Returns the mean cosine between the differences of any two contrasts, which says how far they agree on a direction
/// (2505.22637 finds that it predicts whether steering works), or `None` for a single contrast.
fn coherence(positives: &[Vec<f64>], negatives: &[Vec<f64>]) -> Option<f64> {
    let units =
        positives.iter().zip(negatives).filter_map(|(positive, negative)| unit(minus(positive, negative)));
    let units: Vec<Vec<f64>> = units.collect();
    let n = units.len() as f64;
    // |Σ u|² = n + the cosines of all ordered pairs
    let sum = (units.len() > 1).then(|| mean_row(&units))?;
    Some((n * n * dot(&sum, &sum) - n) / (n * (n - 1.0)))
}

/// Returns the root mean square norm of all rows that were summed at a layer.
fn rms(sums: &SumRows, layer: usize, n_slots: usize) -> f64 {
    let parts = (0..n_slots).map(|slot| sums.square_sum(slot, layer));
    let (squares, n) = parts.fold((0.0, 0), |(s, n), (squares, count)| (s + squares, n + count));
    (squares / n as f64).sqrt()
}

/// A prompt, and the answers that are read behind it, with their slots.
struct Reading<'a> {
    prompt: &'a [u32],
    answers: Vec<(usize, &'a [u32])>,
}

/// Returns one reading for a contrast whose answers share their prompt, else one for each answer.
///
/// A rule that reads prompts reads them for each answer, so nothing is shared then: `whole` has the prompt and the
/// answer as one text, and is empty for other rules.
fn readings<'a>(texts: &'a [SideIds], whole: &'a [[Vec<u32>; 2]]) -> Vec<Reading<'a>> {
    let mut readings = Vec::new();
    for (i, SideIds { prompts, answers }) in texts.iter().enumerate() {
        let slot = |side: usize| 2 * i + side;
        let of_side = |side: usize| match whole.get(i) {
            Some(texts) => Reading { prompt: &[], answers: vec![(slot(side), &texts[side][..])] },
            None => Reading { prompt: &prompts[side], answers: vec![(slot(side), &answers[side][..])] },
        };
        if whole.is_empty() && prompts[0] == prompts[1] {
            let answers = [0, 1].map(|side| (slot(side), &answers[side][..])).to_vec();
            readings.push(Reading { prompt: &prompts[0], answers });
        } else {
            readings.extend([0, 1].map(of_side));
        }
    }
    readings
}

/// Runs every contrast up to the last layer that is wanted. Slot `2 i` is the positive answer of contrast `i`, slot
/// `2 i + 1` the negative one.
fn sum_answers(
    model: &Model,
    set: &ContrastSet,
    texts: &[SideIds],
    options: &ExtractOptions,
    watch: &dyn Watch,
) -> Result<SumRows, Error> {
    let wanted = options.tokens.of_all(set, texts.iter().map(|text| (&text.prompts, &text.answers)))?;
    let whole: Vec<[Vec<u32>; 2]> = if options.tokens.reads_prompts() {
        let whole =
            |text: &SideIds| [0, 1].map(|side| [&text.prompts[side][..], &text.answers[side]].concat());
        texts.iter().map(whole).collect()
    } else {
        Vec::new()
    };
    let readings = readings(texts, &whole);
    let (first, last) = (options.layers[0], options.layers[options.layers.len() - 1]);
    let mut sums = SumRows::new(Site::ResidPost, first..last + 1, model.config().d_model, 2 * texts.len());
    watch.stage("extracting", readings.len());
    let lens: Vec<usize> =
        readings.iter().map(|it| it.answers.iter().map(|(_, ids)| ids.len()).sum()).collect();
    let prompts: Vec<&[u32]> = readings.iter().map(|it| it.prompt).collect();
    let tree = PrefixTree::new(model, &prompts);
    let prefixes = tree.run(model, &prompts, last + 1)?;
    for group in passes(&lens) {
        let ids: Vec<&[u32]> = group.clone().map(|i| &prompts[i][tree.shared_len(i)..]).collect();
        let mut prompts: Vec<Session> = group.clone().map(|i| prefixes.session(i)).collect();
        run(model, last, &mut prompts, &ids, &mut NoTap, |_, _| {})?;

        let readings = &readings[group];
        let answers: Vec<(usize, &[u32])> = readings.iter().flat_map(|it| it.answers.clone()).collect();
        let forks =
            prompts.iter().zip(readings).flat_map(|(it, reading)| reading.answers.iter().map(|_| it.fork()));
        let mut sessions: Vec<Session> = forks.collect();
        let ids: Vec<&[u32]> = answers.iter().map(|(_, ids)| *ids).collect();
        run(model, last, &mut sessions, &ids, &mut sums, |sums, sequences| {
            let slots = sequences.iter().map(|i| answers[*i].0);
            sums.expect(slots.map(|slot| (slot, wanted[slot].clone())).collect());
        })?;
        watch.advance(readings.len())?;
    }
    Ok(sums)
}

/// Extends each session by its tokens, in passes of a bounded number of rows, through the blocks up to `last`. Before
/// each pass, `prepare` tells the tap which sessions are in it.
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
