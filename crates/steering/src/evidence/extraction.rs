//! From contrasts to a vector with its evidence: fit, choose a dose, measure the receipt.

use super::receipt::Controls;
use crate::contrasts::ContrastSet;
use crate::error::Error;
use crate::fit::{AnswerRows, ExtractOptions};
use crate::measure::Bench;
use crate::progress::{Remark, RemarkKind, Watch};
use crate::steer::{Application, Dose, Instruction};
use crate::vector::{PersonaVector, Unit};
use whipstaff_engine::{Model, Tokenizer};

/// How a vector is made, and what is measured of it.
#[derive(Clone)]
pub struct Extraction {
    /// What is fitted, where, and in which frame; everything is measured in the same frame.
    pub options: ExtractOptions,
    /// The number of held-out contrasts that the dose is chosen on at most; 0 chooses none.
    pub recommend: usize,
    /// What the receipt compares with; without it no receipt is measured.
    pub controls: Option<Controls>,
}

impl Extraction {
    /// Makes the vector of a contrast set, fitted on all of its contrasts.
    ///
    /// The dose is chosen and measured on `heldout`. Without held-out contrasts, both are done on a quarter of the
    /// set, with a vector that was fitted on the rest; if the set is too small for that, they are left out with a
    /// remark ([`RemarkKind::TooFewContrasts`]).
    ///
    /// # Errors
    /// As for [`extract`](crate::extract), [`Bench::recommend`] and [`Bench::receipt`].
    pub fn run(
        &self,
        model: &Model,
        tokenizer: &Tokenizer,
        set: &ContrastSet,
        heldout: Option<&ContrastSet>,
        watch: &dyn Watch,
    ) -> Result<PersonaVector, Error> {
        let bench = Bench { model, tokenizer, frame: &self.options.frame, watch };
        let rows = self.rows(&bench, set)?;
        let mut vector = self.fit(&bench, &rows)?;
        if self.recommend == 0 && self.controls.is_none() {
            return Ok(vector);
        }
        if let Some(heldout) = heldout {
            self.measure(&bench, &mut vector, &rows, set, heldout)?;
            return Ok(vector);
        }
        let Some((most, rest)) = set.split() else {
            watch.remark(&Remark::new(RemarkKind::TooFewContrasts, TOO_FEW));
            return Ok(vector);
        };
        let rows = self.rows(&bench, &most)?;
        let mut partial = self.fit(&bench, &rows)?;
        self.measure(&bench, &mut partial, &rows, &most, &rest)?;
        (vector.recommended, vector.receipt) = (partial.recommended, partial.receipt);
        Ok(vector)
    }

    fn rows(&self, bench: &Bench<'_>, set: &ContrastSet) -> Result<AnswerRows, Error> {
        AnswerRows::read(bench.model, bench.tokenizer, set, &self.options, bench.watch)
    }

    fn fit(&self, bench: &Bench<'_>, rows: &AnswerRows) -> Result<PersonaVector, Error> {
        rows.fit(bench.model.cpu(), self.options.method, self.options.seed)
    }

    /// Chooses the dose of a vector and measures its receipt on `heldout`. The vector was fitted to `rows`, which are
    /// the rows of `set`.
    fn measure(
        &self,
        bench: &Bench<'_>,
        vector: &mut PersonaVector,
        rows: &AnswerRows,
        set: &ContrastSet,
        heldout: &ContrastSet,
    ) -> Result<(), Error> {
        if self.recommend > 0 {
            vector.recommended = Some(bench.recommend(vector, heldout, self.recommend)?);
        }
        if let Some(controls) = &self.controls {
            let (layers, alpha) = vector.default_dose();
            let dose = Dose { vector, alpha, unit: Unit::Gap, layers };
            let how = Application::default();
            let instruction = Instruction { dose, how, condition: None, tokens: None };
            vector.receipt = Some(bench.receipt(&instruction, rows, set, heldout, controls)?);
        }
        Ok(())
    }
}

/// What is remarked about a set that cannot be split.
const TOO_FEW: &str = "too few contrasts to choose layers and alpha on: give at least four, or --heldout";
