//! Watching a text: where each of its tokens stands on a vector.

use super::replay::Text;
use crate::error::Error;
use crate::fit::AnswerRows;
use crate::math::{dot, mean_row, unit};
use crate::progress::Watch;
use crate::vector::{PersonaVector, Unit};
use std::collections::BTreeMap;
use whipstaff_engine::{
    Batch, Error as EngineError, Hook, Model, ROW_BUDGET, Rows, Session, Site, Steering, Tap, decide,
};

/// A ruler for projections of a layer, which counts them as `(h · d − midpoint) / size`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ruler {
    /// The unit that `size` is.
    pub unit: Unit,
    /// The size of the unit: the gap, the rms, or 1.
    pub size: f64,
    /// The point where the two sides of the contrasts meet; 0 if it was not measured.
    pub midpoint: f64,
}

/// The projections of a text on a vector at one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Projections {
    /// The layer, a 0-based block.
    pub layer: usize,
    /// The ruler that counted the values.
    pub ruler: Ruler,
    /// The projections, one for each token.
    pub values: Vec<f64>,
}

impl Projections {
    /// Returns the mean over tokens, of which the first `skip` do not count (a bos token stands far off from all others),
    /// or `None` if none is left.
    pub fn mean(&self, skip: usize) -> Option<f64> {
        let rest = self.values.get(skip..).filter(|rest| !rest.is_empty())?;
        Some(rest.iter().sum::<f64>() / rest.len() as f64)
    }
}

/// Returns the midpoint between the two sides of contrasts on a vector, by layer: half the sum of the mean projections of
/// positive and negative answers. `rows` are those of the vector's own contrasts, or of others to measure it by.
///
/// # Errors
/// [`Error::Vector`] for a layer without a direction.
pub fn midpoints(
    rows: &AnswerRows,
    vector: &PersonaVector,
    layers: &[usize],
) -> Result<BTreeMap<usize, f64>, Error> {
    let midpoint = |layer: &usize| {
        let direction = direction(vector, *layer)?;
        let [positive, negative] = rows.sides(*layer).map(|side| dot(&mean_row(&side), &direction));
        Ok((*layer, (positive + negative) / 2.0))
    };
    layers.iter().map(midpoint).collect()
}

/// Returns one ruler for each layer, all of one unit: the gap from the midpoint if midpoints are known, else the rms
/// from zero, else, for a vector of another tool, plain numbers.
///
/// # Errors
/// [`Error::Vector`] for a layer without a direction.
pub fn rulers(
    vector: &PersonaVector,
    layers: &[usize],
    midpoints: Option<&BTreeMap<usize, f64>>,
) -> Result<BTreeMap<usize, Ruler>, Error> {
    for layer in layers {
        direction(vector, *layer)?;
    }
    let sizes = |unit: Unit| -> Option<Vec<f64>> {
        let size = |layer: &usize| vector.layers[layer].factor(unit).filter(|size| *size > 0.0);
        layers.iter().map(size).collect()
    };
    let gaps = midpoints.and_then(|midpoints| {
        let at: Option<Vec<f64>> = layers.iter().map(|layer| midpoints.get(layer).copied()).collect();
        Some((Unit::Gap, sizes(Unit::Gap)?, at?))
    });
    let from_zero = |unit: Unit, sizes: Vec<f64>| (unit, sizes, vec![0.0; layers.len()]);
    let (unit, sizes, at) = gaps
        .or_else(|| sizes(Unit::Rms).map(|sizes| from_zero(Unit::Rms, sizes)))
        .unwrap_or_else(|| from_zero(Unit::Unit, vec![1.0; layers.len()]));
    let rulers = sizes.into_iter().zip(at).map(|(size, midpoint)| Ruler { unit, size, midpoint });
    Ok(layers.iter().copied().zip(rulers).collect())
}

/// Runs a text under a steering and projects what each token leaves at the vector's site onto its direction, after
/// steering has acted there. The layers are those of `rulers`; the result has them in ascending order.
///
/// # Errors
/// [`Error::Engine`] for a text that the model cannot run, [`Error::Vector`] for a layer without a direction,
/// [`Error::NotFinite`], [`Error::Interrupted`].
pub fn watch(
    model: &Model,
    text: &Text,
    vector: &PersonaVector,
    rulers: &BTreeMap<usize, Ruler>,
    steering: &Steering,
    watch: &dyn Watch,
) -> Result<Vec<Projections>, Error> {
    let (ids, max) = (&text.ids, model.config().max_positions);
    if ids.is_empty() {
        return Err(EngineError::Empty.into());
    }
    if ids.len() > max {
        return Err(EngineError::TooLong { tokens: ids.len(), max }.into());
    }
    let mut tap = Project::new(vector, rulers)?;
    let decided = decide(model, &[&ids[..text.n_prompt]], std::slice::from_ref(steering))?;
    let mut session = decided.into_iter().map(Session::steered).next().expect("one for each prompt");
    session = session.with_prompt(text.n_prompt);
    session.expect(ids.len());
    watch.stage("watching", ids.len());
    let above = rulers.keys().next_back().map_or(0, |last| last + 1);
    for chunk in ids.chunks(ROW_BUDGET) {
        let mut batch = Batch::new();
        batch.push(&mut session, chunk);
        let entering = model.embed(&batch)?;
        model.run_blocks(&mut batch, entering, 0..above, &mut tap);
        watch.advance(chunk.len())?;
    }
    rulers.iter().zip(tap.found).map(|((layer, ruler), found)| ruler.count(*layer, &found)).collect()
}

impl Ruler {
    /// Counts projections of a layer.
    fn count(self, layer: usize, projections: &[f64]) -> Result<Projections, Error> {
        let values: Vec<f64> = projections.iter().map(|x| (x - self.midpoint) / self.size).collect();
        match values.iter().all(|value| value.is_finite()) {
            true => Ok(Projections { layer, ruler: self, values }),
            false => Err(Error::NotFinite { layer }),
        }
    }
}

/// Returns the direction of a layer, of norm 1 whatever its file has.
fn direction(vector: &PersonaVector, layer: usize) -> Result<Vec<f64>, Error> {
    let wrong = |reason: String| Error::Vector { vector: vector.name.clone(), reason };
    let of_layer = vector.layers.get(&layer).ok_or_else(|| {
        wrong(format!("has no direction at layer {layer}; it has them at {}", vector.layers_text()))
    })?;
    let direction = of_layer.direction.iter().map(|x| f64::from(*x)).collect();
    unit(direction).ok_or_else(|| wrong(format!("its direction at layer {layer} is zero")))
}

/// The tap that takes projections.
struct Project {
    site: Site,
    layers: Vec<usize>,
    /// One for each layer, of norm 1.
    directions: Vec<Vec<f64>>,
    /// The projections of all tokens, for each layer.
    found: Vec<Vec<f64>>,
}

impl Project {
    fn new(vector: &PersonaVector, rulers: &BTreeMap<usize, Ruler>) -> Result<Project, Error> {
        let layers: Vec<usize> = rulers.keys().copied().collect();
        let directions = layers.iter().map(|layer| direction(vector, *layer)).collect::<Result<_, _>>()?;
        let found = vec![Vec::new(); layers.len()];
        Ok(Project { site: vector.provenance.site, layers, directions, found })
    }
}

impl Tap for Project {
    fn reads(&self, layer: usize, site: Site) -> bool {
        site == self.site && self.layers.contains(&layer)
    }

    fn at(&mut self, hook: Hook<'_>, x: Rows) -> Rows {
        let read = hook.host(&x);
        if let Some(i) = self.layers.iter().position(|layer| *layer == hook.layer) {
            let direction = &self.directions[i];
            self.found[i].extend((0..read.n_rows()).map(|row| project(read.row(row), direction)));
        }
        x
    }
}

/// Returns `row · direction`, summed in `f64`.
fn project(row: &[f32], direction: &[f64]) -> f64 {
    row.iter().zip(direction).map(|(x, d)| f64::from(*x) * d).sum()
}
