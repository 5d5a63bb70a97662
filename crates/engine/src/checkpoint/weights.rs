//! The tensors of a checkpoint, mapped, never copied. Safetensors, one file or shards, are opened here;
//! GGUF files in `gguf/`.

use super::names::{self, Cut, Source};
use super::packs::{PackCache, Packs};
use super::params::{Param, parameters};
use crate::config::Config;
use crate::error::Error;
use safetensors::tensor::{Metadata, SafeTensors};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::{Component, Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use whipstaff_disk::{hex, sha256, sha256_hex};
use whipstaff_kernels::{Bytes, Cpu, Dtype, Matrix, Packed};

/// The tensors of a checkpoint, by name.
pub struct Weights {
    pub(crate) path: PathBuf,
    /// The files, where there are such, and their bytes, in the same order.
    pub(crate) files: Vec<PathBuf>,
    pub(crate) shards: Vec<Bytes>,
    pub(crate) tensors: BTreeMap<String, Tensor>,
    /// Tensors in types that cannot be computed with, and those types.
    pub(crate) unusable: BTreeMap<String, String>,
    /// Where the checkpoint has a parameter.
    pub(crate) source: fn(&Config, Param) -> Source,
    /// The types that tensors may be stored in, for errors.
    pub(crate) supported: Vec<&'static str>,
    pub(crate) loading: Loading,
}

/// What happens beside the loading of weights.
#[derive(Default)]
pub(crate) struct Loading {
    /// Where packed matrices are kept from one start to the next, if anywhere.
    pub(crate) packs: Option<Packs>,
    /// Gets told how far packing is.
    pub(crate) progress: Option<Progress>,
    /// Only sizes are wanted: no matrix is read.
    pub(crate) outline: bool,
    packed_bytes: AtomicUsize,
    /// Bytes of all matrices that have been taken, as products read them.
    in_memory: AtomicUsize,
}

/// Takes the bytes that are packed, and those of all files.
pub(crate) type Progress = Box<dyn Fn(usize, usize) + Send + Sync>;

/// Where a tensor lies.
pub(crate) struct Tensor {
    pub(crate) shard: usize,
    pub(crate) range: Range<usize>,
    pub(crate) dtype: Dtype,
    /// Row-major, the innermost dimension last.
    pub(crate) shape: Vec<usize>,
    /// Where its rows (a vector's elements) are, if not in their own order.
    pub(crate) row_order: Option<Arc<[u32]>>,
}

impl Weights {
    /// Maps `model.safetensors`, or the shards that `model.safetensors.index.json` names.
    ///
    /// # Errors
    /// [`Error::Read`] or [`Error::Malformed`], naming the file.
    pub fn open(dir: &Path) -> Result<Weights, Error> {
        let mut weights = Weights::of_safetensors(dir);
        weights.files = files_of(dir)?;
        for file in weights.files.clone() {
            let bytes = Bytes::map(&file).map_err(|source| Error::Read { path: file.clone(), source })?;
            weights.add(bytes, &file)?;
        }
        Ok(weights)
    }

    /// Reads a checkpoint from bytes at hand; `name` stands for the file in errors.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn from_bytes(bytes: Bytes, name: &Path) -> Result<Weights, Error> {
        let mut weights = Weights::of_safetensors(name);
        weights.add(bytes, name)?;
        Ok(weights)
    }

    fn of_safetensors(path: &Path) -> Weights {
        Weights {
            path: path.to_owned(),
            files: Vec::new(),
            shards: Vec::new(),
            tensors: BTreeMap::new(),
            unusable: BTreeMap::new(),
            source: names::hugging_face,
            supported: [Dtype::F32, Dtype::Bf16, Dtype::F16].map(Dtype::name).to_vec(),
            loading: Loading::default(),
        }
    }

    fn add(&mut self, bytes: Bytes, path: &Path) -> Result<(), Error> {
        let (header_len, header): (usize, Metadata) =
            SafeTensors::read_metadata(&bytes).map_err(|error| {
                let reason =
                    format!("is not a whole safetensors file ({error}); it may be cut off: get it again");
                Error::malformed(path, reason)
            })?;
        let data = 8 + header_len;
        for (name, info) in header.tensors() {
            let dtype = match info.dtype {
                safetensors::Dtype::F32 => Dtype::F32,
                safetensors::Dtype::BF16 => Dtype::Bf16,
                safetensors::Dtype::F16 => Dtype::F16,
                // Buffers of other types (masks, counters) may be there; only those we need matter.
                other => {
                    self.unusable.insert(name, format!("{other:?}"));
                    continue;
                }
            };
            let range = data + info.data_offsets.0..data + info.data_offsets.1;
            if range.end > bytes.len() {
                let reason =
                    format!("is cut off: `{name}` ends at byte {}, the file at {}", range.end, bytes.len());
                return Err(Error::malformed(path, reason));
            }
            let (shard, shape) = (self.shards.len(), info.shape.clone());
            let tensor = Tensor { shard, range, dtype, shape, row_order: None };
            if self.tensors.contains_key(&name) {
                let reason =
                    format!("holds `{name}`, which another of the files holds too: leave one of them out");
                return Err(Error::malformed(path, reason));
            }
            self.tensors.insert(name, tensor);
        }
        self.shards.push(bytes);
        Ok(())
    }

    /// Says where packed matrices are kept from one start to the next, and who is told how far packing is.
    pub(crate) fn pack_into(&mut self, cache: Option<PackCache>, progress: Option<Progress>) {
        self.loading.packs = cache.and_then(|cache| cache.open(&self.files));
        self.loading.progress = progress;
    }

    /// Says that only sizes are wanted: no matrix is read.
    pub(crate) fn only_count(&mut self) {
        self.loading.outline = true;
    }

    /// Returns the bytes of all files together.
    pub fn n_bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.len()).sum()
    }

    /// Returns the bytes of all matrices that have been taken so far, as products read them.
    pub fn n_packed_bytes(&self) -> usize {
        self.loading.in_memory.load(Ordering::Relaxed)
    }

    /// Lists the types that tensors are stored in.
    pub fn dtypes(&self) -> Vec<Dtype> {
        let mut dtypes: Vec<Dtype> = Vec::new();
        for tensor in self.tensors.values() {
            if !dtypes.contains(&tensor.dtype) {
                dtypes.push(tensor.dtype);
            }
        }
        dtypes
    }

    /// Returns the SHA-256 of the file, in hex. For shards, it is the digest of the concatenated digests in order
    /// of name.
    pub fn sha256(&self) -> String {
        let digests: Vec<_> = self.shards.iter().map(|shard| sha256(&shard[..])).collect();
        match &digests[..] {
            [one] => hex(one),
            many => sha256_hex(&many.concat()),
        }
    }

    /// Returns a matrix, `[n_out, n_in]`: a view where it lies as one, else a copy that is put together.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is missing or has another shape.
    pub(crate) fn matrix(&self, config: &Config, param: Param) -> Result<Matrix, Error> {
        let shape = param.shape(config);
        let (n_out, n_in) = (shape.n_out, shape.n_in.expect("a matrix"));
        let (tensor, Source { name, cut }) = self.tensor(config, param)?;
        let matrix = |n_out, n_in| self.view(&name, tensor, n_out, n_in);
        Ok(match cut {
            Cut::Whole => match &tensor.row_order {
                Some(order) if order.len() == n_out => matrix(n_out, n_in)?.with_row_order(order.clone()),
                _ => matrix(n_out, n_in)?,
            },
            Cut::Rows { rows, of } => matrix(of, n_in)?.rows(rows),
            Cut::Gathered { rows, of } => matrix(of, n_in)?.gathered(&rows),
            Cut::Columns { columns, of } => matrix(n_in, of)?.turned(columns),
        })
    }

    /// Packs a matrix for the kernels of `cpu`, or maps it from the pack if there is one. The pages of the file
    /// that it was read from are given back, so that loading never holds the weights twice.
    ///
    /// # Errors
    /// As for [`Weights::matrix`].
    pub(crate) fn packed(&self, cpu: &Cpu, config: &Config, param: Param) -> Result<Packed, Error> {
        let Loading { packs, progress, packed_bytes, in_memory, outline } = &self.loading;
        let (tensor, source) = self.tensor(config, param)?;
        let shape = param.shape(config);
        let (n_out, n_in) = (shape.n_out, shape.n_in.expect("a matrix"));
        in_memory.fetch_add(Packed::bytes_of(tensor.dtype, n_out, n_in), Ordering::Relaxed);
        if *outline {
            return Ok(Packed::outline(tensor.dtype, n_out, n_in));
        }
        // Several parameters may lie in one tensor, so its name would not tell them apart.
        let (packs, key) = (packs.as_ref(), format!("{param:?}"));
        // What a pack has is not read, which for some parameters would be to put it together first.
        let packed = match packs.and_then(|packs| packs.get(cpu, &key, tensor.dtype, n_out, n_in)) {
            Some(packed) => packed,
            None => {
                let matrix = self.matrix(config, param)?;
                let kept = packs.and_then(|packs| packs.put(cpu, &key, &matrix));
                kept.unwrap_or_else(|| Packed::new(cpu, &matrix))
            }
        };
        let row_bytes = tensor.dtype.row_bytes(n_in).expect("whole blocks");
        let used = match source.cut {
            Cut::Rows { rows, .. } => {
                tensor.range.start + rows.start * row_bytes..tensor.range.start + rows.end * row_bytes
            }
            _ => tensor.range.clone(),
        };
        self.shards[tensor.shard].release(used);
        // Of a tensor that holds several parameters, each counts for its own part.
        let n_bytes = n_out * row_bytes;
        let done = packed_bytes.fetch_add(n_bytes, Ordering::Relaxed) + n_bytes;
        if let Some(progress) = progress
            && !packs.is_some_and(Packs::is_reading)
        {
            progress(done, self.n_bytes());
        }
        Ok(packed)
    }

    /// Says that everything that a model needs has been taken.
    pub(crate) fn loaded(&self) {
        self.loading.packs.iter().for_each(Packs::finish);
    }

    /// Returns a vector as `f32`.
    ///
    /// # Errors
    /// As for [`Weights::matrix`].
    pub(crate) fn vector(&self, config: &Config, param: Param) -> Result<Vec<f32>, Error> {
        let (tensor, Source { name, cut }) = self.tensor(config, param)?;
        let len = tensor.shape.iter().product();
        let stored = self.view(&name, tensor, 1, len)?.to_f32();
        let order = tensor.row_order.as_ref().filter(|order| order.len() == len);
        Ok(match (cut, order.cloned()) {
            (Cut::Whole, None) => stored,
            (Cut::Whole, Some(rows)) | (Cut::Gathered { rows, .. }, _) => {
                rows.iter().map(|i| stored[*i as usize]).collect()
            }
            (Cut::Rows { rows, .. } | Cut::Columns { columns: rows, .. }, _) => stored[rows].to_vec(),
        })
    }

    fn view(&self, name: &str, tensor: &Tensor, n_out: usize, n_in: usize) -> Result<Matrix, Error> {
        let matrix = Matrix::new(&self.shards[tensor.shard], tensor.range.clone(), tensor.dtype, n_out, n_in);
        matrix.map_err(|error| Error::malformed(&self.path, format!("tensor `{name}`: {error:?}")))
    }

    /// Holds the checkpoint against a blueprint: fails with every missing name at once, and on a tensor
    /// that has no place in the model.
    pub(crate) fn require(&self, config: &Config) -> Result<(), Error> {
        let (mut used, mut missing) = (BTreeSet::new(), Vec::new());
        // Tensors that hold several parameters are asked for once.
        let names: Vec<String> =
            parameters(config).iter().map(|(param, _)| (self.source)(config, *param).name).collect();
        for name in names.iter().collect::<BTreeSet<&String>>() {
            match self.find(name) {
                Some((stored, _)) => {
                    used.insert(stored);
                }
                None => missing.push(name.clone()),
            }
        }
        if let Some((name, dtype)) = missing.iter().find_map(|name| self.unusable(name)) {
            let supported = self.supported.join(", ");
            let reason = format!(
                "tensor `{name}` is stored as {dtype}, which is not supported (supported: {supported})"
            );
            return Err(Error::malformed(&self.path, reason));
        }
        if !missing.is_empty() {
            return Err(Error::MissingTensors { path: self.path.clone(), names: missing });
        }
        let is_strange = |name: &&String| !used.contains(name.as_str()) && !names::is_harmless(config, name);
        match self.tensors.keys().find(is_strange) {
            None => Ok(()),
            Some(name) => {
                let reason = format!(
                    "tensor `{name}` has no place in a {} model of {} blocks and may change the arithmetic",
                    config.family, config.n_layers
                );
                Err(Error::malformed(&self.path, reason))
            }
        }
    }

    /// Returns the tensor of this name, or of an alias of it.
    fn find(&self, name: &str) -> Option<(&str, &Tensor)> {
        let found = self.tensors.get_key_value(name);
        let found = found.or_else(|| {
            names::aliases(name).iter().find_map(|alias| self.tensors.get_key_value(alias.as_str()))
        });
        found.map(|(name, tensor)| (name.as_str(), tensor))
    }

    fn unusable(&self, name: &str) -> Option<(&String, &String)> {
        names::aliases(name).iter().find_map(|alias| self.unusable.get_key_value(alias.as_str()))
    }

    /// Returns the tensor that holds a parameter, after a check of its shape.
    fn tensor(&self, config: &Config, param: Param) -> Result<(&Tensor, Source), Error> {
        let source = (self.source)(config, param);
        let Some((name, tensor)) = self.find(&source.name) else {
            return Err(Error::MissingTensors { path: self.path.clone(), names: vec![source.name] });
        };
        let mut shape = param.shape(config).dims();
        match &source.cut {
            Cut::Whole => {}
            Cut::Rows { of, .. } | Cut::Gathered { of, .. } => shape[0] = *of,
            Cut::Columns { of, .. } => {
                shape[0] = *of;
                shape.reverse();
            }
        }
        if tensor.shape[..] != shape[..] {
            let reason =
                format!("tensor `{name}` is {:?}, the config asks for {:?}", tensor.shape, shape.as_slice());
            return Err(Error::malformed(&self.path, reason));
        }
        Ok((tensor, Source { name: name.to_owned(), ..source }))
    }
}

/// Lists the files that hold the weights in a folder.
fn files_of(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let single = dir.join("model.safetensors");
    let index = dir.join("model.safetensors.index.json");
    if index.exists() && !single.exists() { shards_of(&index, dir) } else { Ok(vec![single]) }
}

/// Lists the shard files that an index names, each inside `dir`.
fn shards_of(index: &Path, dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let text =
        std::fs::read_to_string(index).map_err(|source| Error::Read { path: index.to_owned(), source })?;
    let json: serde_json::Value = serde_json::from_str(&text)
        .map_err(|error| Error::malformed(index, format!("is not JSON: {error}")))?;
    let map = json.get("weight_map").and_then(|map| map.as_object());
    let map = map.ok_or_else(|| Error::malformed(index, "`weight_map` is missing or not an object"))?;
    let mut names = BTreeSet::new();
    for (tensor, file) in map {
        let file = file.as_str().unwrap_or_default();
        // Only plain names: an index is data from elsewhere and must not reach out of its folder.
        // (The file itself may be a link: that is how the hub's cache stores its files.)
        let mut parts = Path::new(file).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
            let reason =
                format!("`weight_map` sends `{tensor}` to `{file}`, which is not a file of its folder");
            return Err(Error::malformed(index, reason));
        }
        names.insert(file.to_owned());
    }
    if names.is_empty() {
        return Err(Error::malformed(index, "`weight_map` names no shard"));
    }
    let missing: Vec<_> = names.iter().filter(|name| !dir.join(name).exists()).cloned().collect();
    if !missing.is_empty() {
        return Err(Error::malformed(
            index,
            format!("names shards that are not there: {}", missing.join(", ")),
        ));
    }
    Ok(names.into_iter().map(|name| dir.join(name)).collect())
}
