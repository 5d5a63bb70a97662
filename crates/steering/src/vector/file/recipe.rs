//! The recipe of a mix as a vector file has it: docs/FORMATS.md.

use crate::vector::recipe::{Recipe, RecipePart};
use serde::{Deserialize, Serialize};

/// A recipe in JSON.
#[derive(Serialize, Deserialize)]
pub(crate) struct RecipeEntry {
    parts: Vec<PartEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    orthogonal: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    same_gaps: bool,
}

#[derive(Serialize, Deserialize)]
struct PartEntry {
    name: String,
    sha256: String,
    alpha: f64,
    unit: String,
}

impl RecipeEntry {
    pub(crate) fn new(it: &Recipe) -> RecipeEntry {
        let part = |it: &RecipePart| PartEntry {
            name: it.name.clone(),
            sha256: it.sha256.clone(),
            alpha: it.alpha,
            unit: it.unit.to_string(),
        };
        RecipeEntry {
            parts: it.parts.iter().map(part).collect(),
            orthogonal: it.orthogonal.map(|it| it.to_string()),
            same_gaps: it.same_gaps,
        }
    }

    /// The recipe; fails with what of it cannot be.
    pub(crate) fn into_recipe(self) -> Result<Recipe, String> {
        let fail = |error: String| format!("its recipe: {error}");
        let part = |it: PartEntry| {
            let unit = it.unit.parse().map_err(fail)?;
            Ok(RecipePart { name: it.name, sha256: it.sha256, alpha: it.alpha, unit })
        };
        Ok(Recipe {
            parts: self.parts.into_iter().map(part).collect::<Result<_, String>>()?,
            orthogonal: self.orthogonal.map(|it| it.parse().map_err(fail)).transpose()?,
            same_gaps: self.same_gaps,
        })
    }
}

impl Recipe {
    /// The recipe as JSON, as it stands in a vector's file.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&RecipeEntry::new(self)).expect("plain data")
    }
}
