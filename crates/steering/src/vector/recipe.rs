//! The recipe of a mix of vectors.

use super::unit::Unit;
use std::{fmt, str::FromStr};

/// The recipe of a mix.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// The parts that were added up, in the order given.
    pub parts: Vec<RecipePart>,
    /// How the parts were made orthogonal first, if they were.
    pub orthogonal: Option<Orthogonal>,
    /// Whether the gaps of the parts were made the same first, by [`same_gaps`](crate::same_gaps).
    pub same_gaps: bool,
}

/// A part of a mix.
#[derive(Clone, Debug, PartialEq)]
pub struct RecipePart {
    /// The vector's name.
    pub name: String,
    /// The SHA-256 of the vector's file.
    pub sha256: String,
    /// The alpha that the vector was added with.
    pub alpha: f64,
    /// The unit that alpha is counted in.
    pub unit: Unit,
}

/// The ways to make directions orthogonal that overlap, before they are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orthogonal {
    /// Gram–Schmidt in the order given: the first stays as it is, and each of the others loses what the ones before it
    /// have.
    Ordered,
    /// Löwdin's method: the orthonormal axes that are nearest to the directions; none comes first.
    Symmetric,
}

impl Orthogonal {
    /// Returns the name: `ordered` or `symmetric`.
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
    /// Writes the recipe as `0.8 kind (gap) − 0.5 curt (gap), made orthogonal (ordered)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, part) in self.parts.iter().enumerate() {
            let sign = match (i, part.alpha < 0.0) {
                (0, false) => "",
                (0, true) => "−",
                (_, false) => " + ",
                (_, true) => " − ",
            };
            write!(f, "{sign}{} {} ({})", part.alpha.abs(), part.name, part.unit)?;
        }
        if self.same_gaps {
            write!(f, ", gaps made the same")?;
        }
        self.orthogonal.map_or(Ok(()), |it| write!(f, ", made orthogonal ({it})"))
    }
}
