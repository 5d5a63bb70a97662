//! The journal of a pair: the file that its numbers are written into, one line each, as they are measured.
//!
//! The first line is what the numbers depend on. Every line carries a digest of itself, and a line that does not match
//! its digest is measured again. Methods and layers are no part of the first line: a study that is given more of them
//! keeps what it has. docs/FORMATS.md describes the file for other tools.

use super::pair::{DoseOutcome, Pair, PairPlan, StudyCell, best};
use crate::error::Error;
use crate::fit::Method;
use crate::measure::Divergence;
use crate::vector::{Receipt, ReceiptEntry};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;
use whipstaff_disk::{Sealed, difference, line, parse};

/// The numbers of a pair that are measured already, on disk.
pub struct Journal {
    plan: PairPlan,
    cells: Vec<StudyCell>,
    receipt: Option<(Method, Receipt)>,
    file: Sealed,
}

#[derive(Serialize, Deserialize)]
struct Header {
    pair: PlanEntry,
    digest: String,
}

#[derive(Serialize, Deserialize)]
struct CellLine {
    cell: CellEntry,
    digest: String,
}

#[derive(Serialize, Deserialize)]
struct ReceiptLine {
    receipt: OfBest,
    digest: String,
}

/// A receipt, as it stands in a vector's file, with the method that it belongs to.
#[derive(Serialize, Deserialize)]
struct OfBest {
    method: String,
    receipt: Value,
}

#[derive(Serialize, Deserialize)]
struct PlanEntry {
    format_version: u32,
    model: String,
    weights_sha256: String,
    d_model: usize,
    n_layers: usize,
    persona: String,
    contrasts_sha256: String,
    heldout_sha256: String,
    n_heldout: usize,
    words: Option<[String; 2]>,
    frame: String,
    tokens: String,
    kl: f64,
    neutral_sha256: String,
    seed: u64,
    tool: String,
}

#[derive(Serialize, Deserialize)]
struct CellEntry {
    method: String,
    layers: Vec<usize>,
    halves_cosine: Option<f64>,
    dose: Option<DoseEntry>,
}

#[derive(Serialize, Deserialize)]
struct DoseEntry {
    alpha: f64,
    plus: CostEntry,
    minus: CostEntry,
    effects: Vec<f64>,
}

#[derive(Serialize, Deserialize)]
struct CostEntry {
    kl: f64,
    perplexity_ratio: f64,
}

const FORMAT_VERSION: u32 = 1;

impl Journal {
    /// Opens the file of a pair, or begins it. What is there is kept; lines that are cut or edited are dropped.
    ///
    /// # Errors
    /// [`Error::File`] if the file is of another pair, which says what differs; [`Error::Read`], [`Error::Write`].
    pub fn open(path: &Path, plan: &PairPlan) -> Result<Journal, Error> {
        let (mut cells, mut receipt): (Vec<StudyCell>, _) = (Vec::new(), None);
        if let Some(text) = Sealed::read(path)? {
            let mut lines = text.lines();
            check_header(lines.next().unwrap_or_default(), plan)
                .map_err(|reason| Error::File { path: path.to_owned(), reason })?;
            for text in lines {
                if let Some(cell) = parse::<CellLine>(text).and_then(|it| it.cell.into_cell()) {
                    cells.retain(|it| !(it.method == cell.method && it.layers == cell.layers));
                    cells.push(cell);
                } else if let Some(line) = parse::<ReceiptLine>(text) {
                    receipt = line.receipt.into_receipt().or(receipt);
                }
            }
        }
        let mut text = line(&PlanEntry::new(plan), "pair");
        cells.iter().for_each(|it| text += &line(&CellEntry::new(it), "cell"));
        receipt.iter().for_each(|(method, of)| text += &line(&OfBest::new(*method, of), "receipt"));
        Ok(Journal { plan: plan.clone(), cells, receipt, file: Sealed::begin(path, &text)? })
    }

    /// Returns the plan of the pair.
    pub fn plan(&self) -> &PairPlan {
        &self.plan
    }

    /// Returns which of these methods at these layers are left to measure, methods outermost.
    pub fn missing(&self, methods: &[Method], layers: &[Vec<usize>]) -> Vec<(Method, Vec<usize>)> {
        places(methods, layers).filter(|it| self.cell(it).is_none()).collect()
    }

    /// Returns true if the receipt of the best of these is left to measure.
    pub fn lacks_receipt(&self, methods: &[Method], layers: &[Vec<usize>]) -> bool {
        let cells = self.cells(methods, layers);
        let is_of_it = |best: &StudyCell| self.receipt_of(best).is_some();
        cells.len() < methods.len() * layers.len() || !best(cells.iter()).is_none_or(is_of_it)
    }

    /// Takes a cell that was measured, and writes it to the disk.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn append(&mut self, cell: StudyCell) -> Result<(), Error> {
        self.file.append(&line(&CellEntry::new(&cell), "cell"))?;
        self.cells.push(cell);
        Ok(())
    }

    /// Takes the receipt of the best cell, and writes it to the disk.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn set_receipt(&mut self, method: Method, receipt: Receipt) -> Result<(), Error> {
        self.file.append(&line(&OfBest::new(method, &receipt), "receipt"))?;
        self.receipt = Some((method, receipt));
        Ok(())
    }

    /// Returns the pair as far as it is measured, in the order of the plan.
    pub fn pair(&self, methods: &[Method], layers: &[Vec<usize>]) -> Pair {
        let cells = self.cells(methods, layers);
        let receipt = best(cells.iter()).and_then(|it| self.receipt_of(it)).cloned();
        Pair { plan: self.plan.clone(), cells, receipt }
    }

    /// Returns those of these cells that are measured.
    pub(super) fn cells(&self, methods: &[Method], layers: &[Vec<usize>]) -> Vec<StudyCell> {
        places(methods, layers).filter_map(|it| self.cell(&it).cloned()).collect()
    }

    fn cell(&self, (method, layers): &(Method, Vec<usize>)) -> Option<&StudyCell> {
        self.cells.iter().find(|it| it.method == *method && it.layers == *layers)
    }

    fn receipt_of(&self, cell: &StudyCell) -> Option<&Receipt> {
        let (method, receipt) = self.receipt.as_ref()?;
        let alpha = cell.dose.as_ref()?.alpha;
        (*method == cell.method && receipt.layers == cell.layers && receipt.alpha == alpha).then_some(receipt)
    }
}

fn places(methods: &[Method], layers: &[Vec<usize>]) -> impl Iterator<Item = (Method, Vec<usize>)> {
    methods.iter().flat_map(|method| layers.iter().map(|layers| (*method, layers.clone())))
}

fn check_header(text: &str, plan: &PairPlan) -> Result<(), String> {
    let Some(Header { pair: found, .. }) = parse(text) else {
        return Err(
            "is not the file of a study's pair, or its first line is damaged: move it away to begin anew"
                .into(),
        );
    };
    match difference(&found, &PlanEntry::new(plan)) {
        None => Ok(()),
        Some(difference) => Err(format!("is of another study: {difference}; give another folder with -o")),
    }
}

impl PlanEntry {
    fn new(plan: &PairPlan) -> PlanEntry {
        PlanEntry {
            format_version: FORMAT_VERSION,
            model: plan.model.name.clone(),
            weights_sha256: plan.model.weights_sha256.clone(),
            d_model: plan.model.d_model,
            n_layers: plan.model.n_layers,
            persona: plan.persona.clone(),
            contrasts_sha256: plan.contrasts_sha256.clone(),
            heldout_sha256: plan.heldout_sha256.clone(),
            n_heldout: plan.n_heldout,
            words: plan.words.clone(),
            frame: plan.frame.clone(),
            tokens: plan.tokens.clone(),
            kl: plan.kl,
            neutral_sha256: plan.neutral_sha256.clone(),
            seed: plan.seed,
            tool: plan.tool.clone(),
        }
    }
}

impl OfBest {
    fn new(method: Method, receipt: &Receipt) -> OfBest {
        let receipt = serde_json::to_value(ReceiptEntry::new(receipt)).expect("plain data");
        OfBest { method: method.name().into(), receipt }
    }

    fn into_receipt(self) -> Option<(Method, Receipt)> {
        let receipt: ReceiptEntry = serde_json::from_value(self.receipt).ok()?;
        Some((self.method.parse().ok()?, receipt.into_receipt().ok()?))
    }
}

impl CellEntry {
    fn new(cell: &StudyCell) -> CellEntry {
        CellEntry {
            method: cell.method.name().into(),
            layers: cell.layers.clone(),
            halves_cosine: cell.halves,
            dose: cell.dose.as_ref().map(DoseEntry::new),
        }
    }

    fn into_cell(self) -> Option<StudyCell> {
        let (method, dose) = (self.method.parse().ok()?, self.dose.map(DoseEntry::into_outcome));
        Some(StudyCell { method, layers: self.layers, halves: self.halves_cosine, dose })
    }
}

impl DoseEntry {
    fn new(outcome: &DoseOutcome) -> DoseEntry {
        let [plus, minus] = outcome.cost.map(CostEntry::new);
        DoseEntry { alpha: outcome.alpha, plus, minus, effects: outcome.effects.clone() }
    }

    fn into_outcome(self) -> DoseOutcome {
        let cost = [self.plus, self.minus].map(CostEntry::into_divergence);
        DoseOutcome { alpha: self.alpha, effects: self.effects, cost }
    }
}

impl CostEntry {
    fn new(Divergence { kl, perplexity_ratio }: Divergence) -> CostEntry {
        CostEntry { kl, perplexity_ratio }
    }

    fn into_divergence(self) -> Divergence {
        Divergence { kl: self.kl, perplexity_ratio: self.perplexity_ratio }
    }
}
