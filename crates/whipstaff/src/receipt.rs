//! Whether a dose works, compared against chance, and what it costs.

use crate::error::Error;
use crate::frames::FrameChoice;
use crate::model::LanguageModel;
use whipstaff_steering::{
    AnswerRows, ContrastSet, Controls, ExtractOptions, Instruction, Method, Receipt, ResolvedVector,
    TokenRule, VectorDose,
};

/// How a receipt is measured.
#[derive(Clone, Default)]
pub struct ReceiptOptions<'c> {
    /// The contrasts that the vector was fitted on, for the control with shuffled labels; without them the held-out ones
    /// are used.
    pub fitted_on: Option<&'c ContrastSet>,
    /// What the dose is compared with.
    pub controls: Controls,
    /// The frame; the default is the vector's own.
    pub frame: FrameChoice,
}

impl LanguageModel {
    /// Measures a dose on contrasts that its vector was not fitted on.
    ///
    /// # Errors
    ///
    /// Those of [`LanguageModel::steering`], and [`Error::Steering`] for texts that the model cannot run.
    ///
    /// ```no_run
    /// # fn main() -> whipstaff::Result<()> {
    /// use whipstaff::prelude::*;
    ///
    /// let model = whipstaff::embedded()?;
    /// let vector = model.extractor().receipt(0).run(&whipstaff::embedded::contrasts()?)?;
    /// let receipt = model.receipt(&vector.at(0.5), &whipstaff::embedded::heldout()?)?;
    /// println!("{}", receipt.in_words());
    /// # Ok(())
    /// # }
    /// ```
    pub fn receipt(&self, dose: &VectorDose, heldout: &ContrastSet) -> Result<Receipt, Error> {
        let resolved = self.steering(std::slice::from_ref(dose))?;
        let controls = Controls { neutral: self.neutral_texts(None)?, ..Controls::default() };
        self.receipt_with(
            &resolved.vectors()[0],
            heldout,
            &ReceiptOptions { controls, ..ReceiptOptions::default() },
        )
    }

    /// Measures a resolved dose with settings. Its gate plays no part: what a gate lets through is measured.
    ///
    /// # Errors
    ///
    /// Those of [`LanguageModel::receipt`].
    pub fn receipt_with(
        &self,
        dose: &ResolvedVector,
        heldout: &ContrastSet,
        options: &ReceiptOptions<'_>,
    ) -> Result<Receipt, Error> {
        let fitted_on = options.fitted_on.unwrap_or(heldout);
        let frame = self.frame(&options.frame, dose.frame())?;
        let extract = ExtractOptions {
            model: dose.vector.provenance.model.clone(),
            frame: frame.clone(),
            tokens: TokenRule::Answer,
            layers: dose.layers.clone(),
            method: Method::Mean,
            seed: options.controls.seed,
        };
        let bench = self.bench(&frame)?;
        let rows = AnswerRows::read(bench.model, bench.tokenizer, fitted_on, &extract, bench.watch)?;
        let instruction = Instruction { condition: None, ..dose.instruction() };
        Ok(bench.receipt(&instruction, &rows, fitted_on, heldout, &options.controls)?)
    }
}
