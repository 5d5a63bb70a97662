//! A safetensors model as a quantised GGUF file: what `tensors.rs` and `config.rs` read, the other way round.

use super::tensors::{interleaved, source};
use super::{GgufValue, GgufWriter, vocabulary};
use crate::config::family::{FAMILIES, Sizes};
use crate::params::{Param, Part, Shape, parameters};
use crate::{Config, Error, Model, Rope, RopeScaling, Weights};
use std::ops::Range;
use std::path::Path;
use whipstaff_kernels::{Cpu, Dtype, Matrix, WRITABLE, quantise_row};

/// Weights of a piece: 16 MB as floats, so that memory stays small and every thread has something to do.
const PIECE: usize = 4 << 20;

/// Rows that a thread takes at a time.
const ROWS: usize = 16;

/// A GGUF file in the making. Nothing is computed before [`Quantised::pieces`] is asked for it.
pub struct Quantised {
    config: Config,
    weights: Weights,
    tensors: Vec<Planned>,
    writer: GgufWriter<'static>,
}

/// A tensor of the file.
struct Planned {
    content: Content,
    dtype: Dtype,
    n_out: usize,
    n_in: usize,
}

enum Content {
    Parameter(Param),
    /// What the frequencies of the rope are divided by, one for each pair.
    RopeFactors(Vec<f32>),
}

impl Quantised {
    /// Plans the file of the model in `dir`, called `name`, with its matrices as `dtype`. Rows that are not
    /// whole blocks of Q4_K become Q8_0, and so do the embedding and the head; rows that are not whole blocks
    /// of that stay floats. So do norms and biases.
    ///
    /// # Errors
    /// As for [`Model::load`]; [`Error::Malformed`] naming what such a file cannot say.
    ///
    /// # Panics
    /// If `dtype` is not one of the types that are written.
    pub fn plan(dir: &Path, name: &str, dtype: Dtype) -> Result<Quantised, Error> {
        assert!(WRITABLE.contains(&dtype), "{} is not written", dtype.name());
        if dir.is_file() {
            let reason = "is not a folder with safetensors: give the model that it was made from";
            return Err(Error::malformed(dir, reason));
        }
        let (config, weights) = Model::open(dir)?;
        weights.require(&config)?;
        let config_path = dir.join("config.json");
        check_shape(&config).map_err(|reason| Error::malformed(&config_path, reason))?;
        let writer = blueprint(&config, name, dtype);
        let (writer, factors) =
            rope(&config.ropes[0], writer).map_err(|reason| Error::malformed(&config_path, reason))?;
        let writer = vocabulary::write(dir, &config, writer)?;
        let mut file = Quantised { config, weights, tensors: Vec::new(), writer };
        for (param, shape) in parameters(&file.config) {
            file.add(param, shape, dtype)?;
        }
        if let Some(factors) = factors {
            let n_in = factors.len();
            file.writer = file.writer.declare("rope_freqs.weight", Dtype::F32, &[n_in]);
            let content = Content::RopeFactors(factors);
            file.tensors.push(Planned { content, dtype: Dtype::F32, n_out: 1, n_in });
        }
        Ok(file)
    }

    fn add(&mut self, param: Param, shape: Shape, dtype: Dtype) -> Result<(), Error> {
        let (n_out, n_in) = shape.n_in.map_or((1, shape.n_out), |n_in| (shape.n_out, n_in));
        let fits = |dtype: Dtype| n_in.is_multiple_of(dtype.block_len());
        let is_table = matches!(param.part, Part::Embedding | Part::Head);
        let dtype = match shape.n_in {
            None => Dtype::F32,
            Some(_) if fits(dtype) && !is_table => dtype,
            Some(_) if fits(Dtype::Q8_0) => Dtype::Q8_0,
            // Nothing is gained by rounding what is not made smaller.
            Some(_) => match self.weights.matrix(&self.config, param)?.dtype() {
                Dtype::F16 => Dtype::F16,
                _ => Dtype::F32,
            },
        };
        let writer = std::mem::replace(&mut self.writer, GgufWriter::new(""));
        self.writer = writer.declare(&source(&self.config, param).name, dtype, &shape.dims());
        self.tensors.push(Planned { content: Content::Parameter(param), dtype, n_out, n_in });
        Ok(())
    }

    /// Bytes of the file.
    pub fn n_bytes(&self) -> u64 {
        self.writer.n_bytes()
    }

    /// Bytes of the files that it is made from.
    pub fn source_bytes(&self) -> u64 {
        self.weights.n_bytes() as u64
    }

    /// Weights of the model.
    pub fn n_parameters(&self) -> usize {
        self.config.n_parameters()
    }

    /// The bytes of the file, piece by piece, quantised by all threads of `cpu`.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a weight that is not a number, naming its tensor.
    pub fn pieces<'a>(&'a self, cpu: &'a Cpu) -> impl Iterator<Item = Result<Vec<u8>, Error>> + 'a {
        let strips = self.tensors.iter().flat_map(|tensor| {
            let height = (PIECE / tensor.n_in).max(1);
            let starts = (0..tensor.n_out).step_by(height);
            starts.map(move |start| (tensor, start..(start + height).min(tensor.n_out)))
        });
        std::iter::once(Ok(self.writer.begin()))
            .chain(strips.map(|(tensor, rows)| self.piece(cpu, tensor, rows)))
    }

    /// Some rows of a tensor; behind the last, what is missing to where the next may start.
    fn piece(&self, cpu: &Cpu, tensor: &Planned, rows: Range<usize>) -> Result<Vec<u8>, Error> {
        let matrix = self.matrix(tensor)?;
        let mut parts: Vec<(Range<usize>, Option<Vec<u8>>)> =
            (rows.clone().step_by(ROWS)).map(|start| (start..(start + ROWS).min(rows.end), None)).collect();
        cpu.for_each_mut(&mut parts, |_, (rows, bytes)| *bytes = encode(&matrix, rows.clone(), tensor.dtype));
        let mut piece = Vec::new();
        for (_, bytes) in parts {
            piece.extend(bytes.ok_or_else(|| {
                let name = match tensor.content {
                    Content::Parameter(param) => (self.weights.source)(&self.config, param).name,
                    Content::RopeFactors(_) => "the rope's factors".to_owned(),
                };
                let reason = format!("tensor `{name}` has a weight that is not a finite number");
                Error::malformed(&self.weights.path, reason)
            })?);
        }
        if rows.end == tensor.n_out {
            let row_bytes = tensor.dtype.row_bytes(tensor.n_in).expect("whole blocks");
            piece.extend(self.writer.padding(row_bytes * tensor.n_out));
        }
        Ok(piece)
    }

    /// A tensor with its rows in the order of the file; a vector is one row.
    fn matrix(&self, tensor: &Planned) -> Result<Matrix, Error> {
        let config = &self.config;
        let param = match &tensor.content {
            Content::Parameter(param) => *param,
            Content::RopeFactors(factors) => return Ok(Matrix::from_f32(factors, 1, tensor.n_in)),
        };
        let order = match param.part {
            Part::Q => Some(inverse(&interleaved(config.n_heads, config.head_dim))),
            Part::K => Some(inverse(&interleaved(config.n_kv_heads, config.head_dim))),
            _ => None,
        };
        if param.shape(config).n_in.is_some() {
            let matrix = self.weights.matrix(config, param)?;
            return Ok(order.map_or(matrix.clone(), |order| matrix.with_row_order(order.into())));
        }
        let mut vector = self.weights.vector(config, param)?;
        if let Some(order) = order {
            vector = order.iter().map(|i| vector[*i as usize]).collect();
        }
        Ok(Matrix::from_f32(&vector, 1, vector.len()))
    }
}

/// Rows as bytes of `dtype`; none if a weight is not finite.
fn encode(matrix: &Matrix, rows: Range<usize>, dtype: Dtype) -> Option<Vec<u8>> {
    let mut row = vec![0.0; matrix.n_in];
    let mut bytes = Vec::new();
    for i in rows {
        matrix.row_to_f32(i, &mut row);
        if !row.iter().all(|x| x.is_finite()) {
            return None;
        }
        match dtype {
            Dtype::F32 => bytes.extend(row.iter().flat_map(|x| x.to_le_bytes())),
            // Only where they are F16 already.
            Dtype::F16 => bytes.extend(matrix.row_bytes(i)),
            dtype => quantise_row(dtype, &row, &mut bytes),
        }
    }
    Some(bytes)
}

/// Where `order` leads back to.
fn inverse(order: &[u32]) -> Vec<u32> {
    let mut back = vec![0; order.len()];
    (0u32..).zip(order).for_each(|(i, to)| back[*to as usize] = i);
    back
}

/// Is it a Llama in everything that the file has no key for?
fn check_shape(config: &Config) -> Result<(), String> {
    let Config { d_model, n_layers, n_heads, n_kv_heads, head_dim, d_ff, vocab_size, .. } = *config;
    let sizes = Sizes { d_model, n_layers, n_heads, n_kv_heads, head_dim, d_ff, vocab_size };
    let llama = FAMILIES.iter().find(|family| family.name == "llama").expect("a row of the table");
    let read = Config {
        family: config.family.clone(),
        max_positions: config.max_positions,
        ropes: config.ropes.clone(),
        norm_eps: config.norm_eps,
        tied_embeddings: config.tied_embeddings,
        qkv_bias: config.qkv_bias,
        // The biases of attention are all there or none is.
        o_bias: config.qkv_bias,
        mlp_bias: config.mlp_bias,
        bos_token: config.bos_token,
        eos_tokens: config.eos_tokens.clone(),
        ..llama.blueprint(sizes)
    };
    if read == *config && config.ropes.len() == 1 && config.ropes[0].dim == head_dim {
        return Ok(());
    }
    Err(format!(
        "models of the family `{}` whose arithmetic is not that of Llama cannot be written yet; llama.cpp's own \
         converter can",
        config.family
    ))
}

/// The keys of the blueprint, but for those of the rope.
fn blueprint(config: &Config, name: &str, dtype: Dtype) -> GgufWriter<'static> {
    let whole = |n: usize| GgufValue::U32(n as u32);
    let file_type = if dtype == Dtype::Q8_0 { 7 } else { 14 };
    GgufWriter::new("llama")
        .set("general.name", GgufValue::Text(name.to_owned()))
        .set("general.file_type", GgufValue::U32(file_type))
        .set("general.quantization_version", GgufValue::U32(2))
        .set("llama.block_count", whole(config.n_layers))
        .set("llama.context_length", whole(config.max_positions))
        .set("llama.embedding_length", whole(config.d_model))
        .set("llama.feed_forward_length", whole(config.d_ff))
        .set("llama.attention.head_count", whole(config.n_heads))
        .set("llama.attention.head_count_kv", whole(config.n_kv_heads))
        .set("llama.attention.key_length", whole(config.head_dim))
        .set("llama.attention.value_length", whole(config.head_dim))
        .set("llama.attention.layer_norm_rms_epsilon", GgufValue::F32(config.norm_eps))
        .set("llama.rope.dimension_count", whole(config.head_dim))
        .set("llama.vocab_size", whole(config.vocab_size))
}

/// The keys of the rope, and its factors where it has one for each pair.
fn rope(rope: &Rope, writer: GgufWriter<'static>) -> Result<(GgufWriter<'static>, Option<Vec<f32>>), String> {
    let writer = writer.set("llama.rope.freq_base", GgufValue::F32(rope.theta as f32));
    let kind = match &rope.scaling {
        RopeScaling::Default => return Ok((writer, None)),
        RopeScaling::Linear { factor } => {
            let writer = writer.set("llama.rope.scaling.type", GgufValue::Text("linear".into()));
            return Ok((writer.set("llama.rope.scaling.factor", GgufValue::F32(*factor as f32)), None));
        }
        RopeScaling::Llama3 { .. } | RopeScaling::PerPair { .. } => {
            return Ok((writer, Some(rope.factors())));
        }
        RopeScaling::Dynamic { .. } => "dynamic",
        RopeScaling::Yarn { .. } => "yarn",
        RopeScaling::LongRope { .. } => "longrope",
    };
    Err(format!("`rope_scaling` is of the kind `{kind}`, which cannot be written to a GGUF file yet"))
}
