//! The journal of a sweep: the file that its cells are written into, one line each, as they are finished.
//!
//! The first line is the plan. Every line carries a digest of itself: a line that was cut or edited is not
//! believed and its cell is measured again. docs/FORMATS.md describes it for other tools.

use super::grid::{Place, SweepCell, SweepPlan};
use crate::error::Error;
use serde::{Deserialize, Serialize};
use std::path::Path;
use whipstaff_disk::{Sealed, difference, line, parse};

/// The cells of a plan; those that are measured already are on disk.
pub struct Journal {
    plan: SweepPlan,
    cells: Vec<Option<SweepCell>>,
    file: Sealed,
}

#[derive(Serialize, Deserialize)]
struct Header {
    sweep: PlanEntry,
    digest: String,
}

#[derive(Serialize, Deserialize)]
struct Line {
    cell: CellEntry,
    digest: String,
}

#[derive(Serialize, Deserialize)]
struct PlanEntry {
    format_version: u32,
    model: String,
    weights_sha256: String,
    contrasts_sha256: String,
    heldout_sha256: String,
    n_heldout: usize,
    frame: String,
    tokens: String,
    methods: Vec<String>,
    layers: Vec<Vec<usize>>,
    alphas: Vec<f64>,
    unit: String,
    neutral_sha256: String,
    seed: u64,
    tool: String,
}

#[derive(Serialize, Deserialize)]
struct CellEntry {
    method: String,
    layers: Vec<usize>,
    alpha: f64,
    effect: f64,
    kl: f64,
    neutral_perplexity_ratio: f64,
    answer_perplexity_ratio: f64,
    repetition: f64,
    cosine: f64,
    shifts: Vec<f64>,
}

const FORMAT_VERSION: u32 = 1;

impl Journal {
    /// Opens the file of a sweep, or begins it. Cells that are there are kept; lines that are cut, edited or not of the
    /// plan are dropped.
    ///
    /// # Errors
    /// [`Error::File`] if the file is of another plan, which says what differs; [`Error::Read`], [`Error::Write`].
    pub fn open(path: &Path, plan: &SweepPlan) -> Result<Journal, Error> {
        let places = plan.places();
        let mut cells: Vec<Option<SweepCell>> = vec![None; places.len()];
        if let Some(text) = Sealed::read(path)? {
            let mut lines = text.lines();
            check_header(lines.next().unwrap_or_default(), plan)
                .map_err(|reason| Error::File { path: path.to_owned(), reason })?;
            for cell in lines.filter_map(|line| parse::<Line>(line)?.cell.into_cell()) {
                if let Some(i) = places.iter().position(|place| *place == cell.place) {
                    cells[i] = Some(cell);
                }
            }
        }
        Ok(Journal { plan: plan.clone(), file: begin(path, plan, &cells)?, cells })
    }

    /// Returns the cells that are left to measure, those of one method and set of layers together.
    pub fn missing(&self) -> Vec<Vec<Place>> {
        let missing = self.plan.places().into_iter().zip(&self.cells).filter(|(_, cell)| cell.is_none());
        let mut columns: Vec<Vec<Place>> = Vec::new();
        for (place, _) in missing {
            match columns.last_mut() {
                Some(column) if column[0].method == place.method && column[0].layers == place.layers => {
                    column.push(place);
                }
                _ => columns.push(vec![place]),
            }
        }
        columns
    }

    /// Takes cells that were measured, and writes them to the disk.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn append(&mut self, cells: Vec<SweepCell>) -> Result<(), Error> {
        let text: String = cells.iter().map(|it| line(&CellEntry::new(it), "cell")).collect();
        self.file.append(&text)?;
        let places = self.plan.places();
        for cell in cells {
            let i = places.iter().position(|place| *place == cell.place).expect("a cell of the plan");
            self.cells[i] = Some(cell);
        }
        Ok(())
    }

    /// Returns all cells in the order of the plan, once none is missing; the file is then in that order too.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn finish(self) -> Result<Vec<SweepCell>, Error> {
        begin(self.file.path(), &self.plan, &self.cells)?;
        Ok(self.cells.into_iter().flatten().collect())
    }
}

/// Begins the file with the plan and these cells, in the order of the plan.
fn begin(path: &Path, plan: &SweepPlan, cells: &[Option<SweepCell>]) -> Result<Sealed, Error> {
    let mut text = line(&PlanEntry::new(plan), "sweep");
    for cell in cells.iter().flatten() {
        text += &line(&CellEntry::new(cell), "cell");
    }
    Ok(Sealed::begin(path, &text)?)
}

fn check_header(text: &str, plan: &SweepPlan) -> Result<(), String> {
    let Some(Header { sweep: found, .. }) = parse(text) else {
        return Err(
            "is not the file of a sweep, or its first line is damaged: move it away to begin anew".into()
        );
    };
    match difference(&found, &PlanEntry::new(plan)) {
        None => Ok(()),
        Some(difference) => Err(format!("is of another sweep: {difference}; give another folder with -o")),
    }
}

impl PlanEntry {
    fn new(plan: &SweepPlan) -> PlanEntry {
        PlanEntry {
            format_version: FORMAT_VERSION,
            model: plan.model.name.clone(),
            weights_sha256: plan.model.weights_sha256.clone(),
            contrasts_sha256: plan.contrasts_sha256.clone(),
            heldout_sha256: plan.heldout_sha256.clone(),
            n_heldout: plan.n_heldout,
            frame: plan.frame.clone(),
            tokens: plan.tokens.clone(),
            methods: plan.methods.iter().map(|it| it.name().to_owned()).collect(),
            layers: plan.layers.clone(),
            alphas: plan.alphas.clone(),
            unit: plan.unit.name().into(),
            neutral_sha256: plan.neutral_sha256.clone(),
            seed: plan.seed,
            tool: plan.tool.clone(),
        }
    }
}

impl CellEntry {
    fn new(cell: &SweepCell) -> CellEntry {
        CellEntry {
            method: cell.place.method.name().into(),
            layers: cell.place.layers.clone(),
            alpha: cell.place.alpha,
            effect: cell.effect(),
            kl: cell.kl,
            neutral_perplexity_ratio: cell.neutral_perplexity,
            answer_perplexity_ratio: cell.answer_perplexity,
            repetition: cell.repetition,
            cosine: cell.cosine,
            shifts: cell.shifts.clone(),
        }
    }

    fn into_cell(self) -> Option<SweepCell> {
        Some(SweepCell {
            place: Place { method: self.method.parse().ok()?, layers: self.layers, alpha: self.alpha },
            shifts: self.shifts,
            kl: self.kl,
            neutral_perplexity: self.neutral_perplexity_ratio,
            answer_perplexity: self.answer_perplexity_ratio,
            repetition: self.repetition,
            cosine: self.cosine,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Method, ModelId, Unit};

    fn plan() -> SweepPlan {
        SweepPlan {
            model: ModelId { name: "m".into(), weights_sha256: "aa".into(), d_model: 4, n_layers: 3 },
            contrasts_sha256: "bb".into(),
            heldout_sha256: "cc".into(),
            n_heldout: 2,
            frame: "plain".into(),
            tokens: "answer".into(),
            methods: vec![Method::Mean, Method::Pca],
            layers: vec![vec![0], vec![1, 2]],
            alphas: vec![-0.5, 0.1, 1.0],
            unit: Unit::Gap,
            neutral_sha256: String::new(),
            seed: 3,
            tool: "whipstaff test".into(),
        }
    }

    fn cell(place: &Place) -> SweepCell {
        let x = place.alpha / 3.0 + place.layers[0] as f64;
        SweepCell {
            place: place.clone(),
            shifts: vec![x, -x / 7.0],
            kl: x * x,
            neutral_perplexity: 1.0 + x / 9.0,
            answer_perplexity: 1.1,
            repetition: 0.0,
            cosine: 0.1 + 0.2,
        }
    }

    /// Measures until nothing is missing, and returns the number of cells that it took.
    fn run(path: &Path) -> Result<usize, Error> {
        let mut journal = Journal::open(path, &plan())?;
        let columns = journal.missing();
        for column in &columns {
            journal.append(column.iter().map(cell).collect())?;
        }
        assert_eq!(journal.finish()?.len(), plan().places().len());
        Ok(columns.iter().map(Vec::len).sum())
    }

    #[test]
    fn whatever_happens_to_lines_the_file_ends_the_same_and_only_those_are_measured_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cells.jsonl");
        assert_eq!(run(&path).unwrap(), 12);
        let whole = std::fs::read(&path).unwrap();
        let text = String::from_utf8(whole.clone()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let check = |name: &str, damaged: String, want: usize| {
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(run(&path).unwrap(), want, "{name}");
            assert!(std::fs::read(&path).unwrap() == whole, "{name}");
        };
        check("nothing", text.clone(), 0);
        check("a cut line", text[..text.len() - 20].to_owned(), 1);
        check("cut after three", lines[..4].join("\n"), 9);
        check("a number edited", text.replacen("\"kl\":", "\"kl\":1", 1), 1);
        check(
            "a digest edited",
            text.replacen("\"digest\":\"", "\"digest\":\"f", 2).replacen(
                "\"digest\":\"f",
                "\"digest\":\"",
                1,
            ),
            1,
        );
        let mut turned = lines.clone();
        turned[1..].reverse();
        check("another order", turned.join("\n"), 0);
        check("a line twice", format!("{text}{}\n", lines[2]), 0);
        check("noise", format!("{text}\u{0}garbage\n"), 0);
    }

    #[test]
    fn the_file_of_another_sweep_is_refused_by_what_differs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cells.jsonl");
        run(&path).unwrap();
        let before = std::fs::read(&path).unwrap();
        let check = |change: fn(&mut SweepPlan), want: &str| {
            let mut other = plan();
            change(&mut other);
            let error = Journal::open(&path, &other).err().unwrap().to_string();
            assert!(error.contains(want), "{error}");
            assert!(std::fs::read(&path).unwrap() == before, "the file was touched");
        };
        check(
            |it| it.model.weights_sha256 = "zz".into(),
            "its `weights_sha256` is \"aa\", this one's is \"zz\"",
        );
        check(|it| it.alphas.push(2.0), "its `alphas` is");
        check(|it| it.tool = "whipstaff 9".into(), "its `tool` is");
        check(|it| it.heldout_sha256 = "d".into(), "its `heldout_sha256` is");
        std::fs::write(&path, "{}\n").unwrap();
        assert!(Journal::open(&path, &plan()).err().unwrap().to_string().contains("move it away"));
    }
}
