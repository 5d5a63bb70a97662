//! A request about a vector in memory, built step by step.

use super::instruction::{Application, GateSpec, Op};
use super::spec::{Amount, SteerSpec};
use crate::error::Error;
use crate::vector::{LayerSpec, PersonaVector, Unit};

/// A vector with how much of it, where and how. What is left out is filled in as for a [`SteerSpec`], which is the same
/// request about a vector in a file.
#[derive(Clone, Debug)]
pub struct VectorDose {
    pub(crate) vector: PersonaVector,
    /// Everything that is asked for; the name of the file is the vector's name.
    pub(crate) spec: SteerSpec,
    pub(crate) gate: Option<(GateSpec, PersonaVector)>,
}

impl PersonaVector {
    /// Asks for this much of the vector, counted in the unit of the gap unless another is named: 1 is one full
    /// contrast, and a negative alpha leans away from the persona.
    pub fn at(&self, alpha: f64) -> VectorDose {
        let mut dose = self.at_own_dose();
        dose.spec.amount = Some(Amount::Alpha(alpha));
        dose
    }

    /// Asks for the dose that the vector recommends.
    pub fn at_own_dose(&self) -> VectorDose {
        VectorDose { vector: self.clone(), spec: SteerSpec::new(&self.name), gate: None }
    }
}

impl VectorDose {
    /// Chooses the layers: `8`, `8,10`, `8-11`, `-1`, `50%`, `all` or `auto`.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Setting`] for a text that names no layers.
    pub fn layers(mut self, layers: &str) -> Result<VectorDose, Error> {
        self.spec.layers = Some(layers.parse::<LayerSpec>()?);
        Ok(self)
    }

    /// Chooses the unit that alpha and targets are counted in.
    pub fn unit(mut self, unit: Unit) -> VectorDose {
        self.spec.unit = Some(unit);
        self
    }

    /// Chooses the operator.
    pub fn op(mut self, op: Op) -> VectorDose {
        self.spec.how.op = op;
        self
    }

    /// Chooses everything about how the dose is applied, but for the gate.
    pub fn applied(mut self, how: Application) -> VectorDose {
        self.spec.how = Application { gate: None, ..how };
        self
    }

    /// Applies options as the command line writes them: `op=cap,lo=-1,scope=answer`. They replace the operator, the
    /// scope and everything else about how the dose is applied.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Setting`] that names the option which is wrong.
    pub fn with(mut self, options: &str) -> Result<VectorDose, Error> {
        let wrong = |error: super::spec::FieldError| Error::Setting(format!("{options}: {error}"));
        let given: SteerSpec = format!("vector,{options}").parse().map_err(wrong)?;
        let SteerSpec { amount, unit, layers, how, gate, .. } = given;
        self.spec = SteerSpec {
            amount: amount.or(self.spec.amount),
            unit: unit.or(self.spec.unit),
            layers: layers.or(self.spec.layers),
            how,
            gate,
            vector: self.spec.vector,
        };
        Ok(self)
    }

    /// Steers only prompts for which a gate opens; `condition` is the vector that the gate reads.
    pub fn gated(mut self, gate: GateSpec, condition: &PersonaVector) -> VectorDose {
        self.gate = Some((gate, condition.clone()));
        self
    }
}
