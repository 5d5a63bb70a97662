//! Several vectors made into one: how alike they are, their weighted sum, and what each keeps of itself when they
//! are made orthogonal first. `evidence::interference` measures how they get along in a model.
//!
//! Everything is per layer, on vectors of one model and one site. A part is what its dose adds there,
//! `p = alpha · u · d`; the mix is the sum of its parts, so that alpha 1 of the mix is what the doses add together.

use crate::contrasts::FrameId;
use crate::error::Error;
use crate::math::{Matrix, add_scaled, combination, dot, gram, inverse_root, mean_row, norm, unit};
use crate::vector::{
    LayerDirection, Orthogonal, PersonaVector, Provenance, Recipe, RecipePart, Unit, no_statistic,
};
use std::collections::BTreeMap;

/// A vector that goes into a mix, and how much of it is added.
#[derive(Clone, Debug)]
pub struct Part<'v> {
    /// The name of the vector's file, for errors.
    pub label: String,
    /// The vector.
    pub vector: &'v PersonaVector,
    /// The SHA-256 of the vector's file, in hex.
    pub sha256: String,
    /// How much is added; a negative alpha leans away from the persona.
    pub alpha: f64,
    /// The unit that alpha is counted in.
    pub unit: Unit,
}

/// Several vectors, made into one.
#[derive(Clone, Debug)]
pub struct Mix {
    /// The sum, whose alpha 1 adds all parts.
    pub vector: PersonaVector,
    /// The share that is left of each part, in the order given, at each layer: the cosine of its direction with its own
    /// axis, 1 where nothing was made orthogonal.
    pub kept: BTreeMap<usize, Vec<f64>>,
}

/// The cosines of directions with each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Cosines {
    /// The cosines by layer: `[n_vectors, n_vectors]`, symmetric.
    pub layers: BTreeMap<usize, Vec<Vec<f64>>>,
}

impl Cosines {
    /// Returns the cosines of `parts` at `layers`, which all parts must have.
    ///
    /// # Errors
    /// [`Error::Vector`] for a layer without direction, or one of length zero.
    pub fn of(parts: &[Part<'_>], layers: &[usize]) -> Result<Cosines, Error> {
        let at = |layer: &usize| Ok((*layer, gram(&unit_directions(parts, *layer)?)));
        Ok(Cosines { layers: layers.iter().map(at).collect::<Result<_, Error>>()? })
    }

    /// Returns the means over layers, `[n_vectors, n_vectors]`. Such a mean is the cosine of all unit directions of a
    /// vector, laid end to end, with those of another.
    pub fn overall(&self) -> Vec<Vec<f64>> {
        let flat: Vec<Vec<f64>> = self.layers.values().map(|it| it.concat()).collect();
        let n = self.layers.values().next().map_or(1, Vec::len);
        mean_row(&flat).chunks(n).map(<[f64]>::to_vec).collect()
    }
}

/// Returns the layers that all parts have directions for, ascending.
///
/// # Errors
/// [`Error::Vector`] for a part of another model or another site than the first, or if no layer is common.
pub fn shared_layers(parts: &[Part<'_>]) -> Result<Vec<usize>, Error> {
    let Some(first) = parts.first() else {
        return Err(Error::Setting("there is no vector to compose".into()));
    };
    for part in parts {
        part.check_beside(first)?;
    }
    let held_by_all = |layer: &usize| parts.iter().all(|it| it.vector.layers.contains_key(layer));
    let layers: Vec<usize> = first.vector.layers.keys().copied().filter(held_by_all).collect();
    if layers.is_empty() {
        let has = |part: &Part<'_>| format!("`{}` {}", part.label, part.vector.layers_text());
        let all = parts.iter().map(has).collect::<Vec<_>>().join(", ");
        return Err(first.refuse(format!("has no layer in common with the others: {all}")));
    }
    Ok(layers)
}

/// Sets the gaps of the vectors at each layer to their mean there, so that the same alpha is a shift of the same
/// length for all.
///
/// CAA does the same before it compares behaviours (`normalize_vectors.py`). Directions and everything else stay. A
/// vector that lacks a layer takes no part in the mean there.
///
/// # Errors
/// [`Error::Vector`] for a vector of another tool, which has no gap.
pub fn same_gaps<'v>(vectors: impl IntoIterator<Item = &'v mut PersonaVector>) -> Result<(), Error> {
    let mut at: BTreeMap<usize, Vec<&mut f64>> = BTreeMap::new();
    for vector in vectors {
        let name = &vector.name;
        for (layer, of_layer) in &mut vector.layers {
            let refuse = || Error::Vector { vector: name.clone(), reason: no_statistic(Unit::Gap) };
            let gap = of_layer.gap.as_mut().ok_or_else(refuse)?;
            at.entry(*layer).or_default().push(gap);
        }
    }
    for gaps in at.into_values() {
        let mean = gaps.iter().map(|gap| **gap).sum::<f64>() / gaps.len() as f64;
        gaps.into_iter().for_each(|gap| *gap = mean);
    }
    Ok(())
}

/// Returns the mix of `parts` at `layers`, called `name`. `same_gaps` says, for its recipe, whether the gaps of the parts
/// were made the same.
///
/// The gap of the mix is the length of the sum, so that alpha 1 is the mix as asked for. Its rms is that of its parts
/// taken together, weighed by their contrasts. AUC, coherence, recommendation and receipt were measured of other
/// directions and are left out. With a part of another tool, which has neither gap nor rms, the mix has neither, and its
/// length is in its directions.
///
/// # Errors
/// As for [`shared_layers`] and [`Cosines::of`]; [`Error::Setting`] for an alpha that is not finite or too large;
/// [`Error::Vector`] for a unit that a vector does not know, for a direction that says nothing beyond the others, and
/// for parts that cancel.
pub fn compose(
    name: &str,
    parts: &[Part<'_>],
    layers: &[usize],
    orthogonal: Option<Orthogonal>,
    same_gaps: bool,
) -> Result<Mix, Error> {
    let shared = shared_layers(parts)?;
    if let Some(missing) = layers.iter().find(|layer| !shared.contains(layer)) {
        let lacks = parts.iter().find(|it| !it.vector.layers.contains_key(missing));
        return Err(lacks.unwrap_or(&parts[0]).lacks(*missing));
    }
    let foreign = parts.iter().any(|it| it.vector.is_foreign());
    let (mut mixed, mut kept) = (BTreeMap::new(), BTreeMap::new());
    for layer in layers {
        let (sum, shares) = sum_at(*layer, parts, orthogonal)?;
        mixed.insert(*layer, direction_of(*layer, &sum, parts, foreign));
        kept.insert(*layer, shares);
    }
    let recipe = Recipe { parts: parts.iter().map(Part::in_recipe).collect(), orthogonal, same_gaps };
    let provenance = provenance(parts, recipe);
    let vector =
        PersonaVector { name: name.to_owned(), layers: mixed, recommended: None, receipt: None, provenance };
    Ok(Mix { vector, kept })
}

/// Returns the sum of the parts at a layer, and the share that is left of each part.
fn sum_at(
    layer: usize,
    parts: &[Part<'_>],
    orthogonal: Option<Orthogonal>,
) -> Result<(Vec<f64>, Vec<f64>), Error> {
    let added = parts.iter().map(|it| it.added(layer)).collect::<Result<Vec<_>, _>>()?;
    let (sum, kept) = match orthogonal {
        None => (combination(&vec![1.0; parts.len()], &added), vec![1.0; parts.len()]),
        Some(orthogonal) => orthogonal_sum(layer, parts, &added, orthogonal)?,
    };
    let (length, longest) = (norm(&sum), added.iter().map(|it| norm(it)).fold(0.0, f64::max));
    if !(length as f32).is_finite() {
        return Err(Error::Setting("the alphas are too large to compute with".into()));
    }
    if length <= NOTHING * longest {
        return Err(parts[0].refuse(format!("and the others cancel at layer {layer}: nothing would be left")));
    }
    Ok((sum, kept))
}

/// Returns the directions of all parts at a layer, each of norm 1.
fn unit_directions(parts: &[Part<'_>], layer: usize) -> Result<Matrix, Error> {
    parts.iter().map(|part| part.unit_direction(layer)).collect()
}

/// Returns the sum of parts of which each keeps what lies along its own axis, and the share that is left of each. Nothing
/// is scaled up to make good for a loss.
fn orthogonal_sum(
    layer: usize,
    parts: &[Part<'_>],
    added: &[Vec<f64>],
    orthogonal: Orthogonal,
) -> Result<(Vec<f64>, Vec<f64>), Error> {
    let units = unit_directions(parts, layer)?;
    let axes = match orthogonal {
        Orthogonal::Ordered => gram_schmidt(&units),
        Orthogonal::Symmetric => lowdin(&units),
    };
    let axes = axes.map_err(|i| {
        parts[i].refuse(format!("says nothing at layer {layer} that the others do not say: leave it out"))
    })?;
    let mut sum = vec![0.0; added[0].len()];
    for (part, axis) in added.iter().zip(&axes) {
        add_scaled(&mut sum, dot(part, axis), axis);
    }
    Ok((sum, units.iter().zip(&axes).map(|(d, axis)| dot(d, axis)).collect()))
}

/// The length at which the rest of a unit direction is nothing but rounding of the file's `f32`.
const NOTHING: f64 = 1e-5;

/// Returns orthonormal axes, each the direction less what lies along the axes before it. Fails with the index of a
/// direction of which nothing is left.
fn gram_schmidt(units: &[Vec<f64>]) -> Result<Matrix, usize> {
    let mut axes: Matrix = Vec::new();
    for (i, direction) in units.iter().enumerate() {
        let mut rest = direction.clone();
        // Twice is enough (Kahan): what the first pass leaves behind by rounding, the second removes.
        for _ in 0..2 {
            for axis in &axes {
                let along = dot(&rest, axis);
                add_scaled(&mut rest, -along, axis);
            }
        }
        axes.push(if norm(&rest) > NOTHING { unit(rest) } else { None }.ok_or(i)?);
    }
    Ok(axes)
}

/// Returns the orthonormal axes nearest to the directions in the sum of squares, `G^(−1/2) · D` with the Gram matrix `G`
/// (Löwdin 1950). Fails with the index of a direction that depends on the others.
fn lowdin(units: &[Vec<f64>]) -> Result<Matrix, usize> {
    // Gram–Schmidt finds a direction that depends on the others.
    gram_schmidt(units)?;
    let root = inverse_root(gram(units), NOTHING * NOTHING).ok_or(units.len() - 1)?;
    Ok(root.iter().map(|weights| combination(weights, units)).collect())
}

/// Returns a sum with the statistics that are known of it.
fn direction_of(layer: usize, sum: &[f64], parts: &[Part<'_>], foreign: bool) -> LayerDirection {
    let length = norm(sum);
    let of = |scale: f64| sum.iter().map(|x| (x / scale) as f32).collect::<Vec<f32>>();
    let none = LayerDirection { direction: Vec::new(), gap: None, rms: None, auc: None, coherence: None };
    if foreign {
        return LayerDirection { direction: of(1.0), ..none };
    }
    LayerDirection { direction: of(length), gap: Some(length), rms: pooled_rms(layer, parts), ..none }
}

/// Returns `sqrt(Σ n rms² / Σ n)` over the vectors, each with its number of contrasts, if every rms is known.
fn pooled_rms(layer: usize, parts: &[Part<'_>]) -> Option<f64> {
    let (mut squares, mut weights) = (0.0, 0.0);
    for part in parts {
        let rms = part.vector.layers[&layer].rms?;
        let n = part.vector.provenance.n_contrasts.max(1) as f64;
        squares += n * rms * rms;
        weights += n;
    }
    Some((squares / weights).sqrt())
}

/// Returns the provenance of a mix: what all parts agree on, and the recipe.
fn provenance(parts: &[Part<'_>], recipe: Recipe) -> Provenance {
    let of = |i: usize| &parts[i].vector.provenance;
    let first = of(0);
    let same = |f: fn(&Provenance) -> &str| (1..parts.len()).all(|i| f(of(i)) == f(first));
    let same_frame = (1..parts.len()).all(|i| of(i).frame == first.frame);
    // The vectors of other tools know less of the model than ours do.
    let knows_model = |it: &&Part<'_>| !it.vector.provenance.model.weights_sha256.is_empty();
    let model = parts.iter().find(knows_model).map_or(&first.model, |it| &it.vector.provenance.model);
    Provenance {
        model: model.clone(),
        site: first.site,
        method: COMPOSED.into(),
        tokens: if same(|it| &it.tokens) { first.tokens.clone() } else { "unknown".into() },
        frame: if same_frame { first.frame.clone() } else { FrameId::unknown() },
        contrasts: String::new(),
        contrasts_sha256: String::new(),
        n_contrasts: parts.iter().map(|it| it.vector.provenance.n_contrasts).sum(),
        recipe: Some(recipe),
        tool: concat!("whipstaff ", env!("CARGO_PKG_VERSION")).into(),
    }
}

/// The method that a mix names in its provenance.
const COMPOSED: &str = "composed";

impl Part<'_> {
    fn in_recipe(&self) -> RecipePart {
        RecipePart {
            name: self.vector.name.clone(),
            sha256: self.sha256.clone(),
            alpha: self.alpha,
            unit: self.unit,
        }
    }

    /// Returns the direction at a layer, of norm 1.
    fn unit_direction(&self, layer: usize) -> Result<Vec<f64>, Error> {
        let of_layer = self.vector.layers.get(&layer).ok_or_else(|| self.lacks(layer))?;
        unit(of_layer.direction.iter().map(|x| f64::from(*x)).collect())
            .ok_or_else(|| self.refuse(format!("has a direction of length zero at layer {layer}")))
    }

    /// Returns `alpha · u · d` at a layer.
    fn added(&self, layer: usize) -> Result<Vec<f64>, Error> {
        if !self.alpha.is_finite() {
            return Err(Error::Setting(format!("alpha {} is not a finite number", self.alpha)));
        }
        let of_layer = self.vector.layers.get(&layer).ok_or_else(|| self.lacks(layer))?;
        let u = of_layer.factor(self.unit).ok_or_else(|| self.refuse(no_statistic(self.unit)))?;
        Ok(of_layer.direction.iter().map(|d| self.alpha * u * f64::from(*d)).collect())
    }

    /// Fails unless this part acts on the same place of the same model as `first`.
    fn check_beside(&self, first: &Part<'_>) -> Result<(), Error> {
        let (its, other) = (&self.vector.provenance, &first.vector.provenance);
        let both_known = !its.model.weights_sha256.is_empty() && !other.model.weights_sha256.is_empty();
        let reason = if its.model.d_model != other.model.d_model {
            format!(
                "has d_model {} (`{}`), but `{}` has {} (`{}`)",
                its.model.d_model, its.model.name, first.label, other.model.d_model, other.model.name
            )
        } else if both_known && its.model.weights_sha256 != other.model.weights_sha256 {
            format!(
                "was made on other weights (of `{}`) than `{}` (of `{}`): directions of different models have nothing \
                 to do with each other",
                its.model.name, first.label, other.model.name
            )
        } else if its.site != other.site {
            format!("acts on {}, but `{}` on {}", its.site, first.label, other.site)
        } else {
            return Ok(());
        };
        Err(self.refuse(reason))
    }

    fn lacks(&self, layer: usize) -> Error {
        self.refuse(format!("has no direction for layer {layer} (it has {})", self.vector.layers_text()))
    }

    fn refuse(&self, reason: String) -> Error {
        Error::Vector { vector: self.label.clone(), reason }
    }
}
