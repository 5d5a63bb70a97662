//! The file that the numbers of a pair are written into, one line each, as they are measured.
//!
//! The first line is what they depend on; every line carries a digest of itself, and one that is not what its
//! digest says is measured again. Methods and layers are no part of the first line: a study that is given more of
//! them keeps what it has. docs/FORMATS.md describes it for other tools.

use super::{Cell, Measured, Pair, PairPlan, best};
use crate::file::ReceiptEntry;
use crate::{Divergence, Error, Method, Receipt};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;
use whipstaff_disk::{Sealed, difference, line, parse};

/// The numbers of a pair that are measured already, on disk.
pub struct Journal {
    plan: PairPlan,
    cells: Vec<Cell>,
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

/// A receipt, as it stands in a vector's file, with the method that it is of.
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
    /// [`Error::File`] if the file is of another pair, naming what differs; [`Error::Read`], [`Error::Write`].
    pub fn open(path: &Path, plan: &PairPlan) -> Result<Journal, Error> {
        let (mut cells, mut receipt): (Vec<Cell>, _) = (Vec::new(), None);
        if let Some(text) = Sealed::read(path)? {
            let mut lines = text.lines();
            check_header(lines.next().unwrap_or_default(), plan)
                .map_err(|reason| Error::File { path: path.to_owned(), reason })?;
            for text in lines {
                if let Some(cell) = parse::<CellLine>(text).and_then(|it| it.cell.into_cell()) {
                    cells.retain(|it| !(it.method == cell.method && it.layers == cell.layers));
                    cells.push(cell);
                } else if let Some(it) = parse::<ReceiptLine>(text).and_then(|it| it.receipt.into_receipt()) {
                    receipt = Some(it);
                }
            }
        }
        let mut text = line(&PlanEntry::new(plan), "pair");
        cells.iter().for_each(|it| text += &line(&CellEntry::new(it), "cell"));
        receipt.iter().for_each(|(method, it)| text += &line(&OfBest::new(*method, it), "receipt"));
        Ok(Journal { plan: plan.clone(), cells, receipt, file: Sealed::begin(path, &text)? })
    }

    /// What is measured.
    pub fn plan(&self) -> &PairPlan {
        &self.plan
    }

    /// Which of these methods at these layers are left to measure, methods outermost.
    pub fn missing(&self, methods: &[Method], layers: &[Vec<usize>]) -> Vec<(Method, Vec<usize>)> {
        places(methods, layers).filter(|it| self.cell(it).is_none()).collect()
    }

    /// Is the receipt of the best of these left to measure?
    pub fn lacks_receipt(&self, methods: &[Method], layers: &[Vec<usize>]) -> bool {
        let cells = self.cells(methods, layers);
        let is_of_it = |best: &Cell| self.receipt_of(best).is_some();
        cells.len() < methods.len() * layers.len() || !best(cells.iter()).is_none_or(is_of_it)
    }

    /// Takes a cell that was measured, and sees it to the disk.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn append(&mut self, cell: Cell) -> Result<(), Error> {
        self.file.append(&line(&CellEntry::new(&cell), "cell"))?;
        self.cells.push(cell);
        Ok(())
    }

    /// Takes the receipt of the best cell, and sees it to the disk.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn set_receipt(&mut self, method: Method, receipt: Receipt) -> Result<(), Error> {
        self.file.append(&line(&OfBest::new(method, &receipt), "receipt"))?;
        self.receipt = Some((method, receipt));
        Ok(())
    }

    /// The pair as far as it is measured, in the order of the plan.
    pub fn pair(&self, methods: &[Method], layers: &[Vec<usize>]) -> Pair {
        let cells = self.cells(methods, layers);
        let receipt = best(cells.iter()).and_then(|it| self.receipt_of(it)).cloned();
        Pair { plan: self.plan.clone(), cells, receipt }
    }

    /// Those of these cells that are there.
    pub(super) fn cells(&self, methods: &[Method], layers: &[Vec<usize>]) -> Vec<Cell> {
        places(methods, layers).filter_map(|it| self.cell(&it).cloned()).collect()
    }

    fn cell(&self, (method, layers): &(Method, Vec<usize>)) -> Option<&Cell> {
        self.cells.iter().find(|it| it.method == *method && it.layers == *layers)
    }

    fn receipt_of(&self, cell: &Cell) -> Option<&Receipt> {
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
    fn new(it: &PairPlan) -> PlanEntry {
        PlanEntry {
            format_version: FORMAT_VERSION,
            model: it.model.name.clone(),
            weights_sha256: it.model.weights_sha256.clone(),
            d_model: it.model.d_model,
            n_layers: it.model.n_layers,
            persona: it.persona.clone(),
            contrasts_sha256: it.contrasts_sha256.clone(),
            heldout_sha256: it.heldout_sha256.clone(),
            n_heldout: it.n_heldout,
            words: it.words.clone(),
            frame: it.frame.clone(),
            tokens: it.tokens.clone(),
            kl: it.kl,
            neutral_sha256: it.neutral_sha256.clone(),
            seed: it.seed,
            tool: it.tool.clone(),
        }
    }
}

impl OfBest {
    fn new(method: Method, it: &Receipt) -> OfBest {
        let receipt = serde_json::to_value(ReceiptEntry::new(it)).expect("plain data");
        OfBest { method: method.name().into(), receipt }
    }

    fn into_receipt(self) -> Option<(Method, Receipt)> {
        let receipt: ReceiptEntry = serde_json::from_value(self.receipt).ok()?;
        Some((self.method.parse().ok()?, receipt.into_receipt().ok()?))
    }
}

impl CellEntry {
    fn new(it: &Cell) -> CellEntry {
        let cost = |it: &Divergence| CostEntry { kl: it.kl, perplexity_ratio: it.perplexity_ratio };
        let dose = |it: &Measured| DoseEntry {
            alpha: it.alpha,
            plus: cost(&it.cost[0]),
            minus: cost(&it.cost[1]),
            effects: it.effects.clone(),
        };
        CellEntry {
            method: it.method.name().into(),
            layers: it.layers.clone(),
            halves_cosine: it.halves,
            dose: it.dose.as_ref().map(dose),
        }
    }

    fn into_cell(self) -> Option<Cell> {
        let cost = |it: CostEntry| Divergence { kl: it.kl, perplexity_ratio: it.perplexity_ratio };
        let dose = |it: DoseEntry| Measured {
            alpha: it.alpha,
            effects: it.effects,
            cost: [cost(it.plus), cost(it.minus)],
        };
        let method = self.method.parse().ok()?;
        Some(Cell { method, layers: self.layers, halves: self.halves_cosine, dose: self.dose.map(dose) })
    }
}
