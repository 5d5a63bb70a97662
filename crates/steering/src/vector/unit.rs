//! The units that alpha is counted in.

use std::{fmt, str::FromStr};

/// The unit that alpha is counted in, per layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// The gap between positive and negative answers: alpha 1 is one full contrast, the raw
    /// difference vector of the method `mean`.
    #[default]
    Gap,
    /// The root mean square norm of the stream: alpha is the same fraction of the stream on every layer and model.
    Rms,
    /// The number 1: alpha is what repeng and llama.cpp call the coefficient.
    Unit,
}

impl Unit {
    /// Returns in words what alpha counts.
    pub fn describe(self) -> &'static str {
        match self {
            Unit::Gap => "the contrast's gap",
            Unit::Rms => "the stream's norm",
            Unit::Unit => "1",
        }
    }

    /// Returns the name: `gap`, `rms` or `unit`.
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

/// Returns the reason why a unit cannot be used: a statistic that the vector lacks.
pub(crate) fn no_statistic(unit: Unit) -> String {
    format!("was made by another tool and has no {unit}; count alpha in the unit `unit`")
}
