//! The dial: `h ← h + alpha · u · d` with a unit `u`, and what a dose of several vectors adds up to.

use crate::error::Error;
use crate::vector::{PersonaVector, Unit, no_statistic};
use whipstaff_engine::{Edit, Steering};

/// A vector, how much of it, and where.
#[derive(Clone, Debug)]
pub struct Dose<'v> {
    /// The vector.
    pub vector: &'v PersonaVector,
    /// The dial; negative leans away from the persona.
    pub alpha: f64,
    /// What alpha is counted in.
    pub unit: Unit,
    /// The layers to inject at.
    pub layers: Vec<usize>,
}

impl Dose<'_> {
    /// What is added at each layer: `alpha · u · direction`.
    ///
    /// # Errors
    /// [`Error::Setting`] if alpha is not finite, [`Error::Vector`] for a layer without direction.
    pub fn edits(&self) -> Result<Vec<Edit>, Error> {
        if !self.alpha.is_finite() {
            return Err(Error::Setting(format!("alpha {} is not a finite number", self.alpha)));
        }
        let edit = |layer: &usize| {
            let it = self.vector.at_layer(*layer)?;
            let u = it.factor(self.unit).ok_or_else(|| Error::Vector {
                vector: self.vector.name.clone(),
                reason: no_statistic(self.unit),
            })?;
            let add: Vec<f32> =
                it.direction.iter().map(|d| (self.alpha * u * f64::from(*d)) as f32).collect();
            if !add.iter().all(|x| x.is_finite()) {
                return Err(Error::Setting(format!("alpha {:e} is too large to compute with", self.alpha)));
            }
            Ok(Edit::add(*layer, self.vector.provenance.site, add))
        };
        self.layers.iter().map(edit).collect()
    }
}

/// The steering of several doses at once, all of them multiplied by `factor`: 1 as asked for, −1
/// the other way, 0 not at all.
///
/// # Errors
/// As for [`Dose::edits`].
pub fn combine(doses: &[Dose<'_>], factor: f64) -> Result<Steering, Error> {
    let mut edits = Vec::new();
    for dose in doses {
        edits.extend(Dose { alpha: dose.alpha * factor, ..dose.clone() }.edits()?);
    }
    Ok(Steering::new(edits))
}
