//! Control vectors: the GGUF files of repeng and llama.cpp, and how they count layers.
//!
//! Such a file holds tensors `direction.N`, F32 `[d_model]`. A program that *applies* it adds `direction.N`, times a
//! coefficient, to what leaves block N. llama.cpp and repeng agree on that, and it is `resid_post` of layer N here.
//! llama.cpp has no place for block 0 and refuses `direction.0`. Nothing in a file says where its directions were
//! *measured*: repeng measures where it applies, and llama.cpp's own generator measures one block below. Users who
//! know may say so ([`Convention`]); nothing is guessed.
//!
//! Files that are written here also hold everything that the vector file holds, under keys of our own that other
//! programs ignore, so that reading them back loses nothing.

use super::file::Metadata;
use super::layers::layers_text;
use super::persona::{LayerDirection, ModelId, PersonaVector, Provenance};
use super::unit::{Unit, no_statistic};
use crate::contrasts::FrameId;
use crate::error::Error;
use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;
use whipstaff_engine::{Dtype, Gguf, GgufValue, GgufWriter, Site};

const ARCHITECTURE: &str = "controlvector";
const HINT: &str = "controlvector.model_hint";
const COUNT: &str = "controlvector.layer_count";

/// Keys of our own: the vector file's JSON, what the directions are multiplied with, and the direction that
/// llama.cpp has no place for.
const VECTOR: &str = "whipstaff.vector";
const FOLD: &str = "whipstaff.fold";
const BLOCK_0: &str = "whipstaff.direction.0";

/// A width beyond any model's; a header that claims more is damaged.
const MAX_WIDTH: usize = 1 << 17;

/// A depth beyond any model's.
const MAX_LAYERS: usize = 10_000;

/// The ways to count the `N` of `direction.N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Convention {
    /// `N` is the block whose output the direction is added to, as in llama.cpp and repeng.
    #[default]
    Applied,
    /// `N` is the block above the one that the direction was measured behind, as in llama.cpp's cvector-generator.
    CvectorGenerator,
}

impl Convention {
    /// Returns the layer of `direction.N`, counted as here; `n` is at least 1.
    fn layer(self, n: usize) -> usize {
        match self {
            Convention::Applied => n,
            Convention::CvectorGenerator => n - 1,
        }
    }
}

impl FromStr for Convention {
    type Err = String;
    fn from_str(name: &str) -> Result<Convention, String> {
        match name {
            "llama.cpp" | "repeng" => Ok(Convention::Applied),
            "cvector-generator" => Ok(Convention::CvectorGenerator),
            _ => {
                Err(format!("`{name}` is no convention (conventions: llama.cpp, repeng, cvector-generator)"))
            }
        }
    }
}

impl PersonaVector {
    /// Returns the bytes of a control vector with the directions of some layers, each multiplied by its unit `fold`, so
    /// that a coefficient of 1 in another program is an alpha of 1 in that unit here. With [`Unit::Unit`], the
    /// directions are written bit for bit.
    ///
    /// # Errors
    /// [`Error::Vector`] for a site that control vectors cannot name, a statistic that is not known, or layers of which
    /// none is left.
    pub fn to_control(&self, fold: Unit, layers: &[usize]) -> Result<Vec<u8>, Error> {
        let fail = |reason: String| Error::Vector { vector: self.name.clone(), reason };
        if self.provenance.site != Site::ResidPost {
            let site = self.provenance.site;
            return Err(fail(format!("acts on {site}, but control vectors act on resid_post")));
        }
        let mut kept = self.clone();
        kept.layers.retain(|layer, _| layers.contains(layer));
        if kept.layers.keys().all(|layer| *layer == 0) {
            return Err(fail("has nothing to write but block 0, for which llama.cpp has no place".into()));
        }
        kept.drop_unfounded_recommendation();
        let mut folded: BTreeMap<usize, Vec<f32>> = BTreeMap::new();
        for (layer, direction) in &kept.layers {
            let direction = folded_direction(direction, fold).ok_or_else(|| fail(no_statistic(fold)))?;
            folded.insert(*layer, direction);
        }
        let applied: Vec<(&usize, &Vec<f32>)> = folded.iter().filter(|(layer, _)| **layer > 0).collect();
        let mut file = GgufWriter::new(ARCHITECTURE)
            .set(HINT, GgufValue::Text(kept.provenance.model.name.clone()))
            .set(COUNT, GgufValue::U32(applied.len() as u32));
        if !kept.is_foreign() {
            file = file.set(VECTOR, GgufValue::Text(kept.to_json()));
            file = file.set(FOLD, GgufValue::Text(fold.name().into()));
        }
        if let Some(direction) = folded.get(&0) {
            let numbers = direction.iter().map(|x| GgufValue::F32(*x)).collect();
            file = file.set(BLOCK_0, GgufValue::List(numbers));
        }
        for (layer, direction) in applied {
            let bytes: Vec<u8> = direction.iter().flat_map(|x| x.to_le_bytes()).collect();
            file = file.tensor(&format!("direction.{layer}"), Dtype::F32, &[direction.len()], bytes);
        }
        Ok(file.to_bytes())
    }
}

/// Returns a direction multiplied by its unit, or `None` if the unit is not known.
fn folded_direction(of: &LayerDirection, fold: Unit) -> Option<Vec<f32>> {
    match fold {
        Unit::Unit => Some(of.direction.clone()),
        unit => {
            let factor = of.factor(unit)?;
            Some(of.direction.iter().map(|d| (factor * f64::from(*d)) as f32).collect())
        }
    }
}

/// Reads the vector of a control file, and its unit.
pub(crate) fn read_control(
    file: &Gguf,
    path: &Path,
    from: Convention,
) -> Result<(PersonaVector, Unit), String> {
    let said = |error: whipstaff_engine::Error| match error {
        whipstaff_engine::Error::Malformed { reason, .. } => reason,
        other => other.to_string(),
    };
    match file.text("general.architecture").map_err(said)? {
        Some(ARCHITECTURE) => {}
        Some(other) => return Err(format!("is a GGUF file of `{other}`, not of a control vector")),
        None => return Err("is a GGUF file without `general.architecture`, not a control vector".into()),
    }
    let mut stored = BTreeMap::new();
    for name in file.tensor_names() {
        let n = index(name)?;
        let direction = file.vector(name).map_err(said)?;
        check_numbers(name, &direction)?;
        stored.insert(n, direction);
    }
    let d_model = stored.values().next().ok_or("holds no direction")?.len();
    if let Some(count) = file.whole(COUNT).map_err(said)?
        && count != stored.len() as u64
    {
        return Err(format!("`{COUNT}` is {count}, but there are {} directions", stored.len()));
    }
    let mut directions: BTreeMap<usize, Vec<f32>> =
        stored.into_iter().map(|(n, direction)| (from.layer(n), direction)).collect();
    if let Some(numbers) = file.numbers(BLOCK_0).map_err(said)? {
        let direction: Vec<f32> = numbers.into_iter().map(|x| x as f32).collect();
        check_numbers(BLOCK_0, &direction)?;
        if directions.insert(0, direction).is_some() {
            return Err(format!(
                "`{BLOCK_0}` was written here, where layers are counted as llama.cpp counts"
            ));
        }
    }
    if let Some((layer, other)) = directions.iter().find(|(_, it)| it.len() != d_model) {
        return Err(format!(
            "the directions differ in length: {d_model}, and {} at layer {layer}",
            other.len()
        ));
    }
    match file.text(VECTOR).map_err(said)? {
        Some(_) if from != Convention::default() => {
            Err("was written by Whipstaff, which counts layers as llama.cpp does: leave --from out".into())
        }
        Some(json) => {
            let fold = file.text(FOLD).map_err(said)?.unwrap_or("unit").parse()?;
            Ok((ours(json, fold, directions)?, fold))
        }
        None => {
            let hint = file.text(HINT).map_err(said)?.unwrap_or("unknown");
            Ok((foreign(hint, d_model, directions, path), Unit::Unit))
        }
    }
}

/// Returns the `N` of `direction.N`.
fn index(name: &str) -> Result<usize, String> {
    let n = name.strip_prefix("direction.").and_then(|n| Some((n, n.parse::<usize>().ok()?)));
    match n {
        Some((_, 0)) => {
            Err("holds `direction.0`, for which llama.cpp has no place and which means different things to others".into())
        }
        Some((text, n)) if n.to_string() == text && n < MAX_LAYERS => Ok(n),
        _ => Err(format!("holds the tensor `{name}`, which is no `direction.N` of any model")),
    }
}

fn check_numbers(name: &str, direction: &[f32]) -> Result<(), String> {
    if direction.is_empty() || direction.len() > MAX_WIDTH {
        return Err(format!("`{name}` has {} numbers, no model's d_model", direction.len()));
    }
    match direction.iter().find(|x| !x.is_finite()) {
        Some(bad) => Err(format!("`{name}` holds {bad}, which is not a finite number")),
        None => Ok(()),
    }
}

/// Restores a vector that was written here.
fn ours(json: &str, fold: Unit, directions: BTreeMap<usize, Vec<f32>>) -> Result<PersonaVector, String> {
    let metadata = Metadata::parse(json)?;
    let named: Vec<usize> = metadata.layers().collect();
    let held: Vec<usize> = directions.keys().copied().collect();
    if named != held {
        let (named, held) = (layers_text(&named), layers_text(&held));
        return Err(format!("`{VECTOR}` speaks of layers {named}, but there are directions for {held}"));
    }
    metadata.into_vector(|layer, entry| {
        let mut direction = directions[&layer].clone();
        if fold != Unit::Unit {
            let factor = entry.factor(fold).filter(|factor| *factor > 0.0);
            let factor = factor.ok_or_else(|| format!("has no {fold} for layer {layer} to divide by"))?;
            direction.iter_mut().for_each(|x| *x = (f64::from(*x) / factor) as f32);
        }
        Ok(direction)
    })
}

/// Returns a vector of another tool, of which hardly anything is known beside its directions.
fn foreign(hint: &str, d_model: usize, directions: BTreeMap<usize, Vec<f32>>, path: &Path) -> PersonaVector {
    let direction = |(layer, direction)| {
        (layer, LayerDirection { direction, gap: None, rms: None, auc: None, coherence: None })
    };
    let unknown = || "unknown".to_owned();
    PersonaVector {
        name: path.file_stem().map_or_else(unknown, |stem| stem.to_string_lossy().into_owned()),
        layers: directions.into_iter().map(direction).collect(),
        recommended: None,
        receipt: None,
        provenance: Provenance {
            model: ModelId { name: hint.to_owned(), weights_sha256: String::new(), d_model, n_layers: 0 },
            site: Site::ResidPost,
            method: unknown(),
            tokens: unknown(),
            frame: FrameId::unknown(),
            contrasts: String::new(),
            contrasts_sha256: String::new(),
            n_contrasts: 0,
            recipe: None,
            tool: unknown(),
        },
    }
}
