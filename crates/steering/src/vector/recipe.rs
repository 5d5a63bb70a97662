//! What a mix of vectors was made of.

use super::unit::Unit;
use std::{fmt, str::FromStr};

/// Where a mix came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// What was added up, in the order given.
    pub parts: Vec<RecipePart>,
    /// Whether the parts were made orthogonal first.
    pub orthogonal: Option<Orthogonal>,
    /// Whether their gaps were made the same first, by [`same_gaps`].
    pub same_gaps: bool,
}

/// A part of a mix.
#[derive(Clone, Debug, PartialEq)]
pub struct RecipePart {
    /// The vector's name.
    pub name: String,
    /// SHA-256 of its file.
    pub sha256: String,
    /// How much of it.
    pub alpha: f64,
    /// What alpha is counted in.
    pub unit: Unit,
}

/// How directions that overlap are made orthogonal before they are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orthogonal {
    /// Gram–Schmidt in the order given: the first stays as it is, each other loses what those before it have.
    Ordered,
    /// Löwdin's: the orthonormal axes that are nearest to the directions; none comes first.
    Symmetric,
}

impl Orthogonal {
    /// `ordered` or `symmetric`.
    pub fn name(self) -> &'static str {
        match self {
            Orthogonal::Ordered => "ordered",
            Orthogonal::Symmetric => "symmetric",
        }
    }
}

impl fmt::Display for Orthogonal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Orthogonal {
    type Err = String;
    fn from_str(name: &str) -> Result<Orthogonal, String> {
        [Orthogonal::Ordered, Orthogonal::Symmetric].into_iter().find(|it| it.name() == name).ok_or_else(
            || format!("`{name}` is no way to make directions orthogonal (ways: ordered, symmetric)"),
        )
    }
}

impl fmt::Display for Recipe {
    /// `kind ×0.8 (gap) − curt ×0.5 (gap), made orthogonal (ordered)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, it) in self.parts.iter().enumerate() {
            let sign = match (i, it.alpha < 0.0) {
                (0, false) => "",
                (0, true) => "−",
                (_, false) => " + ",
                (_, true) => " − ",
            };
            write!(f, "{sign}{} {} ({})", it.alpha.abs(), it.name, it.unit)?;
        }
        if self.same_gaps {
            write!(f, ", gaps made the same")?;
        }
        self.orthogonal.map_or(Ok(()), |it| write!(f, ", made orthogonal ({it})"))
    }
}
