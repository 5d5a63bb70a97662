//! A safetensors model as a GGUF file: what `tensors.rs` reads, the other way round.

use super::architecture::Architecture;
use super::file::Gguf;
use super::tensors::{interleaved, source};
use super::write::GgufWriter;
use super::{blueprint, vocabulary};
use crate::checkpoint::folder;
use crate::checkpoint::names::Cut;
use crate::checkpoint::params::{Param, Part, n_parameters, parameters};
use crate::checkpoint::weights::Weights;
use crate::config::{Config, NormKind};
use crate::error::Error;
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use whipstaff_kernels::{Cpu, Dtype, Matrix, quantise_row};

/// The types that matrices may be written in, with llama.cpp's numbers for files of them.
const FILE_TYPES: &[(Dtype, u32)] =
    &[(Dtype::F32, 0), (Dtype::F16, 1), (Dtype::Q8_0, 7), (Dtype::Q4K, 14), (Dtype::Bf16, 32)];

/// Weights of a piece: 16 MB as floats, so that memory stays small and every thread has something to do.
const PIECE: usize = 4 << 20;

/// Rows that a thread takes at a time.
const ROWS: usize = 16;

/// A GGUF file in the making. Nothing is computed before [`Quantised::pieces`] is asked for it.
pub struct Quantised {
    config: Config,
    weights: Weights,
    row: &'static Architecture,
    tensors: Vec<Planned>,
    writer: GgufWriter<'static>,
    inexact: Option<String>,
}

/// A tensor of the file: one parameter, or several one after the other.
struct Planned {
    name: String,
    parts: Vec<Param>,
    dtype: Dtype,
    /// Row-major, the innermost dimension last.
    dims: Vec<usize>,
}

impl Quantised {
    /// Plans the file of the model in `dir`, called `name`, with its matrices as `dtype`. Rows that are not
    /// whole blocks of Q4_K become Q8_0, and so do the embedding and the head of such a file; rows that are not
    /// whole blocks of that stay floats. So do norms, biases, learned positions and what sends tokens to experts.
    ///
    /// # Errors
    /// As for [`Model::load`](crate::Model::load); [`Error::Malformed`] naming what such a file cannot say.
    ///
    /// # Panics
    /// If `dtype` is not one of F32, F16, BF16, Q8_0 and Q4_K.
    pub fn plan(dir: &Path, name: &str, dtype: Dtype) -> Result<Quantised, Error> {
        let file_type = FILE_TYPES.iter().find(|(it, _)| *it == dtype);
        let (_, file_type) = file_type.unwrap_or_else(|| panic!("{} is not written", dtype.name()));
        if dir.is_file() {
            let reason = "is not a folder with safetensors: give the model that it was made from";
            return Err(Error::malformed(dir, reason));
        }
        let (config, weights) = folder::open(dir)?;
        weights.require(&config)?;
        let config_path = dir.join("config.json");
        let cannot = |reason: String| Error::malformed(&config_path, reason);
        let row = Architecture::of_family(&config.family).expect("every family has an architecture");
        let writer = blueprint::write(&config, row, name, *file_type).map_err(cannot)?;
        let (writer, inexact) = vocabulary::write(dir, &config, writer)?;
        let mut file = Quantised { config, weights, row, tensors: Vec::new(), writer, inexact };
        file.add_tensors(dtype)?;
        let read = Gguf::of_beginning(file.writer.begin(), &config_path)?.config()?;
        match blueprint::difference(&file.config, &read) {
            None => Ok(file),
            Some(what) => Err(cannot(format!(
                "a GGUF file of a model of the family `{}` (architecture `{}`) has no key for {what} as it is here",
                file.config.family, row.name
            ))),
        }
    }

    /// Declares every tensor of the model, those that lie in one tensor of the file together.
    fn add_tensors(&mut self, dtype: Dtype) -> Result<(), Error> {
        let mut at: HashMap<String, usize> = HashMap::new();
        for (param, shape) in parameters(&self.config) {
            let place = source(&self.config, param);
            if let Some(at) = at.get(&place.name) {
                self.tensors[*at].parts.push(param);
                continue;
            }
            let mut dims = shape.dims().to_vec();
            match (place.cut, self.config.experts) {
                (Cut::Rows { .. }, Some(experts)) if param.expert.is_some() => dims.insert(0, experts.n),
                (Cut::Rows { of, .. }, _) => dims[0] = of,
                _ if param.part == Part::SharedSwitch => dims = vec![dims[1]],
                _ => {}
            }
            at.insert(place.name.clone(), self.tensors.len());
            let dtype = self.dtype_of(param, &dims, dtype)?;
            self.tensors.push(Planned { name: place.name, parts: vec![param], dtype, dims });
        }
        let first_row = |config: &Config, param: &Param| match source(config, *param).cut {
            Cut::Rows { rows, .. } => rows.start,
            _ => 0,
        };
        for tensor in &mut self.tensors {
            tensor.parts.sort_by_key(|param| first_row(&self.config, param));
            let writer = std::mem::replace(&mut self.writer, GgufWriter::new(""));
            self.writer = writer.declare(&tensor.name, tensor.dtype, &tensor.dims);
        }
        Ok(())
    }

    /// Returns the type of a tensor in a file whose matrices are `dtype`.
    fn dtype_of(&self, param: Param, dims: &[usize], dtype: Dtype) -> Result<Dtype, Error> {
        let is_float = matches!(param.part, Part::Positions | Part::Router);
        let is_table = matches!(param.part, Part::Embedding | Part::Head);
        let fits = |dtype: Dtype| dims.last().is_some_and(|n_in| n_in.is_multiple_of(dtype.block_len()));
        Ok(match dims {
            [_] => Dtype::F32,
            _ if is_float => Dtype::F32,
            _ if fits(dtype) && !(is_table && dtype == Dtype::Q4K) => dtype,
            _ if fits(Dtype::Q8_0) => Dtype::Q8_0,
            // Nothing is gained by rounding what is not made smaller.
            _ => match self.weights.matrix(&self.config, param)?.dtype() {
                Dtype::F16 => Dtype::F16,
                _ => Dtype::F32,
            },
        })
    }

    /// Returns what llama.cpp has no key for in the tokenizer, if there is such a thing: llama.cpp will then cut a
    /// few texts otherwise. Whipstaff reads the original, which is in the file as well.
    pub fn inexact(&self) -> Option<&str> {
        self.inexact.as_deref()
    }

    /// Returns the bytes of the file.
    pub fn n_bytes(&self) -> u64 {
        self.writer.n_bytes()
    }

    /// Returns the bytes of the files that it is made from.
    pub fn source_bytes(&self) -> u64 {
        self.weights.n_bytes() as u64
    }

    /// Returns the number of weights of the model.
    pub fn n_parameters(&self) -> usize {
        n_parameters(&self.config)
    }

    /// Yields the bytes of the file, piece by piece, quantised by all threads of `cpu`.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a weight that is not a number, or too large for its type, naming its tensor.
    pub fn pieces<'a>(&'a self, cpu: &'a Cpu) -> impl Iterator<Item = Result<Vec<u8>, Error>> + 'a {
        let tensors = self.tensors.iter().flat_map(move |tensor| {
            let parts = tensor.parts.iter().flat_map(move |param| self.part(cpu, tensor.dtype, *param));
            let row_bytes = tensor.dtype.row_bytes(tensor.dims[tensor.dims.len() - 1]).expect("whole blocks");
            let n_rows: usize = tensor.dims.iter().rev().skip(1).product();
            parts.chain(std::iter::once_with(move || Ok(self.writer.padding(row_bytes * n_rows))))
        });
        std::iter::once_with(|| Ok(self.writer.begin())).chain(tensors)
    }

    /// Yields the rows of a parameter, some at a time.
    fn part<'a>(
        &'a self,
        cpu: &'a Cpu,
        dtype: Dtype,
        param: Param,
    ) -> impl Iterator<Item = Result<Vec<u8>, Error>> + 'a {
        let (matrix, error) = match self.matrix(param) {
            Ok(matrix) => (Some(matrix), None),
            Err(error) => (None, Some(Err(error))),
        };
        let pieces = matrix.into_iter().flat_map(move |matrix| {
            let (n_out, height) = (matrix.n_out, (PIECE / matrix.n_in).max(1));
            let rows = move |start: usize| start..(start + height).min(n_out);
            let piece = move |start| self.piece(cpu, &matrix, rows(start), dtype, param);
            (0..n_out).step_by(height).map(piece)
        });
        error.into_iter().chain(pieces)
    }

    fn piece(
        &self,
        cpu: &Cpu,
        matrix: &Matrix,
        rows: Range<usize>,
        dtype: Dtype,
        param: Param,
    ) -> Result<Vec<u8>, Error> {
        let mut parts: Vec<(Range<usize>, Option<Vec<u8>>)> =
            (rows.clone().step_by(ROWS)).map(|start| (start..(start + ROWS).min(rows.end), None)).collect();
        cpu.for_each_mut(&mut parts, |_, (rows, bytes)| *bytes = encode(matrix, rows.clone(), dtype));
        let mut piece = Vec::new();
        for (_, bytes) in parts {
            piece.extend(bytes.ok_or_else(|| {
                let name = (self.weights.source)(&self.config, param).name;
                let reason = format!(
                    "tensor `{name}` has a weight that is not a finite number, or too large for {}",
                    dtype.name()
                );
                Error::malformed(&self.weights.path, reason)
            })?);
        }
        Ok(piece)
    }

    /// Returns a parameter with its rows in the order of the file; a vector is one row.
    fn matrix(&self, param: Param) -> Result<Matrix, Error> {
        let config = &self.config;
        let n_heads = match param.part {
            Part::Q if self.row.neighbours => Some(config.n_heads),
            Part::K if self.row.neighbours => Some(config.n_kv_heads),
            _ => None,
        };
        let order = n_heads.map(|n_heads| inverse(&interleaved(n_heads, config.head_dim)));
        if param.shape(config).n_in.is_some() {
            let matrix = self.weights.matrix(config, param)?;
            return Ok(order.map_or(matrix.clone(), |order| matrix.with_row_order(order.into())));
        }
        let mut vector = self.weights.vector(config, param)?;
        if let Some(order) = order {
            vector = order.iter().map(|i| vector[*i as usize]).collect();
        }
        if config.norm == NormKind::RmsPlusOne && is_norm(param.part) {
            vector.iter_mut().for_each(|x| *x += 1.0);
        }
        Ok(Matrix::from_f32(&vector, 1, vector.len()))
    }
}

fn is_norm(part: Part) -> bool {
    let after = matches!(part, Part::AttnPostNorm | Part::MlpPostNorm | Part::FinalNorm);
    after || matches!(part, Part::AttnNorm | Part::MlpNorm | Part::QNorm | Part::KNorm)
}

/// Encodes rows as bytes of `dtype`. Returns `None` if a weight is not finite there.
fn encode(matrix: &Matrix, rows: Range<usize>, dtype: Dtype) -> Option<Vec<u8>> {
    let mut row = vec![0.0; matrix.n_in];
    let mut bytes = Vec::new();
    for i in rows {
        matrix.row_to_f32(i, &mut row);
        let largest = match dtype {
            Dtype::F16 => half::f16::MAX.to_f32(),
            Dtype::Bf16 => half::bf16::MAX.to_f32(),
            _ => f32::MAX,
        };
        if !row.iter().all(|x| x.abs() <= largest) {
            return None;
        }
        match dtype {
            Dtype::F32 => bytes.extend(row.iter().flat_map(|x| x.to_le_bytes())),
            Dtype::F16 => bytes.extend(row.iter().flat_map(|x| half::f16::from_f32(*x).to_le_bytes())),
            Dtype::Bf16 => bytes.extend(row.iter().flat_map(|x| half::bf16::from_f32(*x).to_le_bytes())),
            dtype => quantise_row(dtype, &row, &mut bytes),
        }
    }
    Some(bytes)
}

/// Returns the inverse of a permutation.
fn inverse(order: &[u32]) -> Vec<u32> {
    let mut back = vec![0; order.len()];
    (0u32..).zip(order).for_each(|(i, to)| back[*to as usize] = i);
    back
}
