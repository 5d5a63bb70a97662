//! The recipe of a mix in a vector file; docs/FORMATS.md describes it.

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
    pub(crate) fn new(recipe: &Recipe) -> RecipeEntry {
        let part = |part: &RecipePart| PartEntry {
            name: part.name.clone(),
            sha256: part.sha256.clone(),
            alpha: part.alpha,
            unit: part.unit.to_string(),
        };
        RecipeEntry {
            parts: recipe.parts.iter().map(part).collect(),
            orthogonal: recipe.orthogonal.map(|it| it.to_string()),
            same_gaps: recipe.same_gaps,
        }
    }

    /// Returns the recipe; fails with what of it cannot be.
    pub(crate) fn into_recipe(self) -> Result<Recipe, String> {
        let fail = |error: String| format!("its recipe: {error}");
        let part = |PartEntry { name, sha256, alpha, unit }: PartEntry| {
            Ok(RecipePart { name, sha256, alpha, unit: unit.parse().map_err(fail)? })
        };
        Ok(Recipe {
            parts: self.parts.into_iter().map(part).collect::<Result<_, String>>()?,
            orthogonal: self.orthogonal.map(|it| it.parse().map_err(fail)).transpose()?,
            same_gaps: self.same_gaps,
        })
    }
}

impl Recipe {
    /// Returns the recipe as JSON, as it stands in a vector's file.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&RecipeEntry::new(self)).expect("plain data")
    }
}
