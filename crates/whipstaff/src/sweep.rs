//! Every layer and alpha (and method), measured on held-out contrasts, and the dose that does best.

use crate::error::Error;
use crate::frames::FrameChoice;
use crate::model::LanguageModel;
use std::collections::BTreeMap;
use std::path::PathBuf;
use whipstaff_engine::Continuation;
use whipstaff_steering::sweep::{Journal, Pick, Place, Sweep, SweepCell, SweepPlan, digest_of, pick};
use whipstaff_steering::{
    AnswerRows, ContrastSet, ExtractOptions, Frame, Method, PERPLEXITY_BUDGET, PersonaVector, RemarkKind,
    TokenRule, Unit,
};

/// The grid of a sweep.
#[derive(Clone, Debug)]
pub struct SweepOptions {
    /// The methods that fit directions.
    pub methods: Vec<Method>,
    /// The sets of layers that are injected together; without any, each layer alone.
    pub layers: Vec<Vec<usize>>,
    /// The alphas, none of them 0: the unsteered model is measured anyway.
    pub alphas: Vec<f64>,
    /// The unit that alphas are counted in.
    pub unit: Unit,
    /// The rule that says which tokens are averaged.
    pub tokens: TokenRule,
    /// The number of held-out contrasts that are used at most; a dose is picked on half of them and judged on the others.
    pub max_contrasts: usize,
    /// How many times as perplexing answers may be under the dose that is picked.
    pub budget: f64,
    /// Texts to measure damage on; without any, the model's own answers.
    pub neutral: Vec<Continuation>,
    /// The seed; the same seed gives the same numbers.
    pub seed: u64,
    /// The frame around prompts.
    pub frame: FrameChoice,
    /// A file that keeps what is measured, cell by cell, and that an interrupted sweep resumes from.
    pub journal: Option<PathBuf>,
    /// The tool and version that the journal names.
    pub tool: String,
}

impl Default for SweepOptions {
    /// The mean difference at every single layer, alphas −1, 0.25, 0.5, 1 and 2 in gaps, on 24 contrasts.
    fn default() -> SweepOptions {
        SweepOptions {
            methods: vec![Method::Mean],
            layers: Vec::new(),
            alphas: vec![-1.0, 0.25, 0.5, 1.0, 2.0],
            unit: Unit::Gap,
            tokens: TokenRule::Answer,
            max_contrasts: 24,
            budget: PERPLEXITY_BUDGET,
            neutral: Vec::new(),
            seed: 0,
            frame: FrameChoice::default(),
            journal: None,
            tool: concat!("whipstaff ", env!("CARGO_PKG_VERSION")).into(),
        }
    }
}

/// A sweep, measured.
#[derive(Clone, Debug)]
pub struct SweepTable {
    /// Everything that the numbers depend on.
    pub plan: SweepPlan,
    /// The cells, in the order of [`SweepPlan::places`].
    pub cells: Vec<SweepCell>,
    /// The dose that does best within the budget, if there is one.
    pub pick: Option<Pick>,
}

impl LanguageModel {
    /// Measures a grid of doses on `heldout`, with vectors that are fitted on `contrasts`, and picks the best.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Steering`] for texts that the model cannot run, or a journal of another sweep.
    ///
    /// ```no_run
    /// # fn main() -> whipstaff::Result<()> {
    /// use whipstaff::prelude::*;
    ///
    /// let model = whipstaff::embedded()?;
    /// let (contrasts, heldout) = (whipstaff::embedded::contrasts()?, whipstaff::embedded::heldout()?);
    /// let table = model.sweep(&contrasts, &heldout, &SweepOptions::default())?;
    /// let best = table.pick.expect("a dose within the budget");
    /// println!("alpha {} at layers {:?}", best.place.alpha, best.place.layers);
    /// # Ok(())
    /// # }
    /// ```
    pub fn sweep(
        &self,
        contrasts: &ContrastSet,
        heldout: &ContrastSet,
        options: &SweepOptions,
    ) -> Result<SweepTable, Error> {
        let frame = self.frame(&options.frame, None)?;
        let plan = self.sweep_plan(contrasts, heldout, options, &frame);
        let cells = match &options.journal {
            None => {
                let columns: Vec<Vec<Place>> =
                    plan.places().chunks(plan.alphas.len()).map(<[Place]>::to_vec).collect();
                let mut cells = Vec::new();
                let mut keep = |found: Vec<SweepCell>| {
                    cells.extend(found);
                    Ok(())
                };
                self.measure_columns(&columns, &plan, [contrasts, heldout], (options, &frame), &mut keep)?;
                cells
            }
            Some(path) => {
                let mut journal = Journal::open(path, &plan)?;
                let (missing, n_cells) = (journal.missing(), plan.places().len());
                let n_missing: usize = missing.iter().map(Vec::len).sum();
                if n_missing < n_cells {
                    let n_there = n_cells - n_missing;
                    self.remark(
                        RemarkKind::Resumed,
                        format!("{n_there} of {n_cells} cells are there already"),
                    );
                }
                let mut keep = |found: Vec<SweepCell>| Ok(journal.append(found)?);
                self.measure_columns(&missing, &plan, [contrasts, heldout], (options, &frame), &mut keep)?;
                journal.finish()?
            }
        };
        let pick = pick(&cells, options.budget, options.seed);
        Ok(SweepTable { plan, cells, pick })
    }

    fn sweep_plan(
        &self,
        contrasts: &ContrastSet,
        heldout: &ContrastSet,
        options: &SweepOptions,
        frame: &Frame,
    ) -> SweepPlan {
        let singles = || (0..self.config().n_layers).map(|layer| vec![layer]).collect();
        SweepPlan {
            model: self.id(),
            contrasts_sha256: contrasts.sha256.clone(),
            heldout_sha256: heldout.sha256.clone(),
            n_heldout: options.max_contrasts.min(heldout.contrasts.len()),
            frame: format!("{:?}", frame.id()),
            tokens: options.tokens.to_string(),
            methods: options.methods.clone(),
            layers: if options.layers.is_empty() { singles() } else { options.layers.clone() },
            alphas: options.alphas.clone(),
            unit: options.unit,
            neutral_sha256: digest_of(&options.neutral),
            seed: options.seed,
            tool: options.tool.clone(),
        }
    }

    /// Measures columns of cells, each of one method at one set of layers, and hands each column to `keep`.
    fn measure_columns(
        &self,
        columns: &[Vec<Place>],
        plan: &SweepPlan,
        [contrasts, heldout]: [&ContrastSet; 2],
        (options, frame): (&SweepOptions, &Frame),
        keep: &mut dyn FnMut(Vec<SweepCell>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if columns.is_empty() {
            return Ok(());
        }
        let vectors = self.fit_methods(contrasts, plan, options, frame)?;
        let bench = self.bench(frame)?;
        let sweep = Sweep::new(bench, plan, &vectors, heldout, &options.neutral)?;
        let n_questions = plan.n_heldout.div_ceil(2);
        let n_cells: usize = columns.iter().map(Vec::len).sum();
        bench.watch.stage("sweeping", n_cells * n_questions);
        for column in columns {
            bench.watch.advance(0)?;
            keep(sweep.measure(column)?)?;
        }
        Ok(())
    }

    /// Fits a vector by each method, all from one pass over the contrasts.
    fn fit_methods(
        &self,
        contrasts: &ContrastSet,
        plan: &SweepPlan,
        options: &SweepOptions,
        frame: &Frame,
    ) -> Result<BTreeMap<Method, PersonaVector>, Error> {
        let mut layers: Vec<usize> = plan.layers.iter().flatten().copied().collect();
        layers.sort_unstable();
        layers.dedup();
        let extract = ExtractOptions {
            model: plan.model.clone(),
            frame: frame.clone(),
            tokens: options.tokens,
            layers,
            method: Method::Mean,
            seed: plan.seed,
        };
        let bench = self.bench(frame)?;
        let rows = AnswerRows::read(bench.model, bench.tokenizer, contrasts, &extract, bench.watch)?;
        let fit = |method: &Method| Ok((*method, rows.fit(bench.model.cpu(), *method, plan.seed)?));
        plan.methods.iter().map(fit).collect()
    }
}

impl SweepTable {
    /// Returns the cells as CSV, one a line.
    pub fn to_csv(&self) -> String {
        let mut csv = String::from(
            "method,layers,alpha,unit,effect,kl,neutral_perplexity,answer_perplexity,repetition,cosine\n",
        );
        for cell in &self.cells {
            let layers: Vec<String> = cell.place.layers.iter().map(usize::to_string).collect();
            csv += &format!(
                "{},{},{},{},{:.6},{:.6},{:.6},{:.6},{:.6},{:.6}\n",
                cell.place.method.name(),
                layers.join(" "),
                cell.place.alpha,
                self.plan.unit,
                cell.effect(),
                cell.kl,
                cell.neutral_perplexity,
                cell.answer_perplexity,
                cell.repetition,
                cell.cosine,
            );
        }
        csv
    }
}
