//! Doses: `h ← h + alpha · u · d` with a unit `u`, and the steering that several doses add up to.

use crate::error::Error;
use crate::vector::{PersonaVector, Unit, no_statistic};
use whipstaff_engine::{Edit, Steering};

/// How much of a vector is added, and where.
#[derive(Clone, Debug)]
pub struct Dose<'v> {
    /// The vector.
    pub vector: &'v PersonaVector,
    /// How much is added; a negative alpha leans away from the persona.
    pub alpha: f64,
    /// The unit that alpha is counted in.
    pub unit: Unit,
    /// The layers to inject at.
    pub layers: Vec<usize>,
}

impl Dose<'_> {
    /// Returns the edits that add `alpha · u · direction` at each layer.
    ///
    /// # Errors
    /// [`Error::Setting`] if alpha is not finite or too large; [`Error::Vector`] for a layer without direction or a unit
    /// that is not known.
    pub fn edits(&self) -> Result<Vec<Edit>, Error> {
        if !self.alpha.is_finite() {
            return Err(Error::Setting(format!("alpha {} is not a finite number", self.alpha)));
        }
        self.layers.iter().map(|layer| self.edit(*layer)).collect()
    }

    /// Returns the edit at a layer.
    fn edit(&self, layer: usize) -> Result<Edit, Error> {
        let of_layer = self.vector.at_layer(layer)?;
        let u = of_layer.factor(self.unit).ok_or_else(|| Error::Vector {
            vector: self.vector.name.clone(),
            reason: no_statistic(self.unit),
        })?;
        let add: Vec<f32> =
            of_layer.direction.iter().map(|d| (self.alpha * u * f64::from(*d)) as f32).collect();
        if !add.iter().all(|x| x.is_finite()) {
            return Err(Error::Setting(format!("alpha {:e} is too large to compute with", self.alpha)));
        }
        Ok(Edit::add(layer, self.vector.provenance.site, add))
    }
}

/// Returns the steering of several doses at once, all of them multiplied by `factor`: 1 as asked for, −1 the other way,
/// 0 not at all.
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
