//! What a request for steering means for a model.

use crate::error::Error;
use crate::model::LanguageModel;
use whipstaff_engine::Steering;
use whipstaff_steering::{FrameId, Resolved, SteerSpec, VectorDose, resolve, resolve_doses};

impl LanguageModel {
    /// Resolves doses of vectors in memory: layers, alpha and unit are filled in, and everything is checked against the
    /// model. What a person should know is remarked.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Steering`] for a vector that does not fit the model, or a layer that the model does not have.
    ///
    /// ```
    /// let model = whipstaff::embedded()?;
    /// let vector = model.extractor().recommend(0).receipt(0).run(&whipstaff::embedded::contrasts()?.first(8))?;
    ///
    /// let steering = model.steering(&[vector.at(0.8).layers("2-4")?])?;
    /// assert_eq!(steering.vectors()[0].layers, [2, 3, 4]);
    /// # Ok::<(), whipstaff::Error>(())
    /// ```
    pub fn steering(&self, doses: &[VectorDose]) -> Result<Resolved, Error> {
        let resolved = resolve_doses(doses, &self.facts())?;
        self.remark_on(&resolved);
        Ok(resolved)
    }

    /// Resolves requests about vectors in files, as a command line, a TOML file or JSON writes them.
    ///
    /// # Errors
    ///
    /// Returns those of [`LanguageModel::steering`], and whatever is wrong with a file.
    ///
    /// ```no_run
    /// # fn main() -> whipstaff::Result<()> {
    /// use whipstaff::prelude::*;
    ///
    /// let model = whipstaff::open("./my-model")?;
    /// let spec: SteerSpec = "kind.safetensors:0.5@8-11,scope=answer".parse()?;
    /// let steering = model.resolve(&[spec])?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn resolve(&self, specs: &[SteerSpec]) -> Result<Resolved, Error> {
        let resolved = resolve(specs, &self.facts())?;
        self.remark_on(&resolved);
        Ok(resolved)
    }

    fn remark_on(&self, resolved: &Resolved) {
        resolved.remarks().iter().for_each(|remark| self.watch().remark(remark));
    }
}

/// What a prompt runs under: a resolved request, or edits that were made by hand.
#[derive(Clone, Debug)]
pub enum SteeredBy {
    /// A request, which knows the frame that its vectors were made in, and can be scaled.
    Request(Resolved),
    /// Edits as they are.
    Edits(Steering),
}

impl Default for SteeredBy {
    /// The plain model.
    fn default() -> SteeredBy {
        SteeredBy::Edits(Steering::default())
    }
}

impl From<Resolved> for SteeredBy {
    fn from(resolved: Resolved) -> SteeredBy {
        SteeredBy::Request(resolved)
    }
}

impl From<&Resolved> for SteeredBy {
    fn from(resolved: &Resolved) -> SteeredBy {
        SteeredBy::Request(resolved.clone())
    }
}

impl From<Steering> for SteeredBy {
    fn from(steering: Steering) -> SteeredBy {
        SteeredBy::Edits(steering)
    }
}

impl SteeredBy {
    /// Returns the frame that the vectors were made in, if it is known.
    pub(crate) fn frame(&self) -> Option<&FrameId> {
        match self {
            SteeredBy::Request(resolved) => resolved.frame(),
            SteeredBy::Edits(_) => None,
        }
    }

    /// Returns the edits at `factor` times the alphas. Edits that were made by hand are on or off.
    pub(crate) fn at(&self, factor: f64) -> Result<Steering, Error> {
        match self {
            SteeredBy::Request(resolved) => Ok(resolved.steering(factor)?),
            SteeredBy::Edits(_) if factor == 0.0 => Ok(Steering::default()),
            SteeredBy::Edits(steering) => Ok(steering.clone()),
        }
    }
}
