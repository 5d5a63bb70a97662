//! The dial: `h ← h + alpha · u · d` with a unit `u`, and what a dose of several vectors adds up to.

use crate::control::no_statistic;
use crate::layers::layers_text;
use crate::{Error, LayerDirection, PersonaVector};
use std::{fmt, str::FromStr};
use whipstaff_engine::{Edit, Steering};

/// What alpha is counted in, per layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// The gap between positive and negative answers: alpha 1 is one full contrast, the raw
    /// difference vector of the method `mean`.
    #[default]
    Gap,
    /// The root mean square norm of the stream: the same fraction of it on every layer and model.
    Rms,
    /// 1: what repeng and llama.cpp call the coefficient.
    Unit,
}

impl Unit {
    /// What alpha counts, in words.
    pub fn describe(self) -> &'static str {
        match self {
            Unit::Gap => "the contrast's gap",
            Unit::Rms => "the stream's norm",
            Unit::Unit => "1",
        }
    }

    /// `gap`, `rms` or `unit`.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Gap => "gap",
            Unit::Rms => "rms",
            Unit::Unit => "unit",
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Unit {
    type Err = String;
    fn from_str(name: &str) -> Result<Unit, String> {
        [Unit::Gap, Unit::Rms, Unit::Unit]
            .into_iter()
            .find(|unit| unit.name() == name)
            .ok_or_else(|| format!("`{name}` is not a unit (units: gap, rms, unit)"))
    }
}

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

impl PersonaVector {
    /// The direction of a layer.
    ///
    /// # Errors
    /// [`Error::Vector`] naming the layers that there are.
    pub fn at_layer(&self, layer: usize) -> Result<&LayerDirection, Error> {
        self.layers.get(&layer).ok_or_else(|| Error::Vector {
            vector: self.name.clone(),
            reason: format!("has no direction for layer {layer} (it has {})", self.layers_text()),
        })
    }

    /// Checks that the vector fits a model's shape.
    ///
    /// # Errors
    /// [`Error::Vector`] saying what differs.
    pub fn check_fits(&self, file: &str, d_model: usize, n_layers: usize) -> Result<(), Error> {
        let fail = |reason| Err(Error::Vector { vector: file.to_owned(), reason });
        let its = &self.provenance.model;
        if its.d_model != d_model {
            return fail(format!(
                "was made for a model with d_model {} ({}), this model has {d_model}",
                its.d_model, its.name
            ));
        }
        match self.layers.keys().next_back() {
            Some(last) if *last >= n_layers => {
                fail(format!("has a direction for layer {last}, this model has layers 0-{}", n_layers - 1))
            }
            _ => Ok(()),
        }
    }

    /// The layers and alpha to use when none are given: those recommended, else the middle layer
    /// at one full contrast; for another tool's vector all its layers, as that tool would.
    pub fn default_dose(&self) -> (Vec<usize>, f64) {
        match &self.recommended {
            Some(it) => (it.layers.clone(), it.alpha),
            None if self.is_foreign() => (self.layers.keys().copied().collect(), 1.0),
            None => {
                let layers: Vec<usize> = self.layers.keys().copied().collect();
                (vec![layers[layers.len() / 2]], 1.0)
            }
        }
    }

    /// Returns the layers as a person would write them: `0-15` or `3,5,7`.
    pub fn layers_text(&self) -> String {
        layers_text(&self.layers.keys().copied().collect::<Vec<_>>())
    }
}
