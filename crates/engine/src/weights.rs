//! The tensors of a checkpoint, mapped, never copied. Safetensors, one file or shards, are opened here;
//! GGUF files in `gguf.rs`.

use crate::Error;
use crate::packs::Packs;
use safetensors::tensor::{Metadata, SafeTensors};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::{Component, Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use whipstaff_kernels::{Bytes, Cpu, Dtype, Matrix, Packed};

/// The tensors of a checkpoint, by name.
pub struct Weights {
    pub(crate) path: PathBuf,
    pub(crate) shards: Vec<Bytes>,
    pub(crate) tensors: BTreeMap<String, Tensor>,
    /// Tensors in types that cannot be computed with, and those types.
    pub(crate) unusable: BTreeMap<String, String>,
    /// What the checkpoint calls a tensor that Hugging Face calls so.
    pub(crate) stored_name: fn(&str) -> String,
    /// The types that tensors may be stored in, for errors.
    pub(crate) supported: Vec<&'static str>,
    pub(crate) loading: Loading,
}

/// What happens beside the loading of weights.
#[derive(Default)]
pub(crate) struct Loading {
    /// Where packed matrices are kept from one start to the next, if anywhere.
    pub(crate) packs: Option<Packs>,
    /// Told how far packing is.
    pub(crate) progress: Option<Progress>,
    /// Only sizes are wanted: no matrix is read.
    pub(crate) outline: bool,
    packed_bytes: AtomicUsize,
    /// The same as packed.
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
        for file in Weights::files(dir)? {
            let bytes = Bytes::map(&file).map_err(|source| Error::Read { path: file.clone(), source })?;
            weights.add(bytes, &file)?;
        }
        Ok(weights)
    }

    /// The files that hold the weights of what [`crate::Model::load`] is given.
    ///
    /// # Errors
    /// [`Error::Read`] or [`Error::Malformed`] for an index that names no shards.
    pub(crate) fn files(path: &Path) -> Result<Vec<PathBuf>, Error> {
        if path.is_file() {
            return Ok(vec![path.to_owned()]);
        }
        let single = path.join("model.safetensors");
        let index = path.join("model.safetensors.index.json");
        if index.exists() && !single.exists() { shards_of(&index, path) } else { Ok(vec![single]) }
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
            shards: Vec::new(),
            tensors: BTreeMap::new(),
            unusable: BTreeMap::new(),
            stored_name: str::to_owned,
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
            self.tensors.insert(name, tensor);
        }
        self.shards.push(bytes);
        Ok(())
    }

    /// Does the checkpoint have a tensor of this name, in a type that can be computed with?
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(&(self.stored_name)(name))
    }

    /// Bytes of all files together.
    pub fn n_bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.len()).sum()
    }

    /// Bytes of all matrices as products read them, so far as they have been taken.
    pub fn n_packed_bytes(&self) -> usize {
        self.loading.in_memory.load(Ordering::Relaxed)
    }

    /// The types that tensors are stored in.
    pub fn dtypes(&self) -> Vec<Dtype> {
        let mut dtypes: Vec<Dtype> = Vec::new();
        for tensor in self.tensors.values() {
            if !dtypes.contains(&tensor.dtype) {
                dtypes.push(tensor.dtype);
            }
        }
        dtypes
    }

    /// SHA-256 of the file, in hex; for shards, of the concatenated digests in order of name.
    pub fn sha256(&self) -> String {
        let digests: Vec<_> = self.shards.iter().map(|shard| Sha256::digest(&shard[..])).collect();
        match &digests[..] {
            [one] => hex(one),
            many => hex(&Sha256::digest(many.concat())),
        }
    }

    /// The matrix of this name, `[n_out, n_in]`, viewed where it lies.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is missing or has another shape.
    pub(crate) fn matrix(&self, name: &str, n_out: usize, n_in: usize) -> Result<Matrix, Error> {
        let tensor = self.tensor(name, &[n_out, n_in])?;
        let matrix = self.view(name, tensor, n_out, n_in)?;
        Ok(match &tensor.row_order {
            Some(order) if order.len() == n_out => matrix.with_row_order(order.clone()),
            _ => matrix,
        })
    }

    /// The matrix of this name, packed for the kernels of `cpu`, from the pack if there is one. The pages
    /// of the file that it was read from are given back, so that loading never holds the weights twice.
    ///
    /// # Errors
    /// As for [`Weights::matrix`].
    pub(crate) fn packed(&self, cpu: &Cpu, name: &str, n_out: usize, n_in: usize) -> Result<Packed, Error> {
        let matrix = self.matrix(name, n_out, n_in)?;
        let Loading { packs, progress, packed_bytes, in_memory, outline } = &self.loading;
        in_memory.fetch_add(Packed::bytes_of(matrix.dtype(), n_out, n_in), Ordering::Relaxed);
        if *outline {
            return Ok(Packed::outline(&matrix));
        }
        let kept = packs.as_ref().and_then(|packs| packs.packed(cpu, name, &matrix));
        let packed = kept.unwrap_or_else(|| Packed::new(cpu, &matrix));
        let tensor = self.tensor(name, &[n_out, n_in])?;
        self.shards[tensor.shard].release(tensor.range.clone());
        let done = packed_bytes.fetch_add(tensor.range.len(), Ordering::Relaxed) + tensor.range.len();
        if let Some(progress) = progress
            && !packs.as_ref().is_some_and(Packs::is_reading)
        {
            progress(done, self.n_bytes());
        }
        Ok(packed)
    }

    /// Says that everything that a model needs has been taken.
    pub(crate) fn loaded(&self) {
        self.loading.packs.iter().for_each(Packs::finish);
    }

    /// The vector of this name as `f32`.
    ///
    /// # Errors
    /// As for [`Weights::matrix`].
    pub(crate) fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, Error> {
        let tensor = self.tensor(name, &[len])?;
        let stored = self.view(name, tensor, 1, len)?.to_f32();
        Ok(match &tensor.row_order {
            Some(order) if order.len() == len => order.iter().map(|i| stored[*i as usize]).collect(),
            _ => stored,
        })
    }

    fn view(&self, name: &str, tensor: &Tensor, n_out: usize, n_in: usize) -> Result<Matrix, Error> {
        let matrix = Matrix::new(&self.shards[tensor.shard], tensor.range.clone(), tensor.dtype, n_out, n_in);
        matrix.map_err(|error| {
            let reason = format!("tensor `{}`: {error:?}", (self.stored_name)(name));
            Error::malformed(&self.path, reason)
        })
    }

    /// Fails with every missing name at once.
    pub(crate) fn require<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<(), Error> {
        let names: Vec<String> = names.map(self.stored_name).collect();
        if let Some((name, dtype)) = names.iter().find_map(|name| self.unusable.get_key_value(name)) {
            let supported = self.supported.join(", ");
            let reason = format!(
                "tensor `{name}` is stored as {dtype}, which is not supported (supported: {supported})"
            );
            return Err(Error::malformed(&self.path, reason));
        }
        let names: Vec<String> = names.into_iter().filter(|name| !self.tensors.contains_key(name)).collect();
        if names.is_empty() { Ok(()) } else { Err(Error::MissingTensors { path: self.path.clone(), names }) }
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<&Tensor, Error> {
        let name = (self.stored_name)(name);
        let Some(tensor) = self.tensors.get(&name) else {
            return Err(Error::MissingTensors { path: self.path.clone(), names: vec![name] });
        };
        if tensor.shape != shape {
            let reason = format!("tensor `{name}` is {:?}, the config asks for {shape:?}", tensor.shape);
            return Err(Error::malformed(&self.path, reason));
        }
        Ok(tensor)
    }
}

/// The shard files that an index names, each inside `dir`.
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

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
