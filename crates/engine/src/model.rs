//! The decoder: weights and the one forward pass, in the order of the paper.

use crate::gguf::Gguf;
use crate::ops::{Linear, Ops};
use crate::rope::RopeTable;
use crate::rows::Loan;
use crate::steering::Steer;
use crate::{Batch, Config, Error, Hook, NoTap, PackCache, Rows, Site, Tap, Weights};
use std::{
    ops::Range,
    path::{Path, PathBuf},
};
use whipstaff_kernels::{Attention, Bytes, Cpu, KvShape, Matrix};

/// A loaded decoder-only model. Immutable: any number of sessions may run on it.
pub struct Model {
    config: Config,
    ops: Ops,
    weights: Weights,
    embedding: Matrix,
    blocks: Vec<Block>,
    norm: Vec<f32>,
    head: Linear,
    frequencies: Vec<f32>,
}

/// The weights of one block.
struct Block {
    input_norm: Vec<f32>,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    post_attention_norm: Vec<f32>,
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
}

// The forward pass.
impl Model {
    /// Runs every block on the rows of a batch: `[n_rows, d_model]`, the stream before the final
    /// norm. Steering acts as each session says; `tap` sees what the model goes on with.
    ///
    /// # Errors
    /// [`Error::TooLong`], [`Error::UnknownToken`] or [`Error::SteeringMismatch`], before anything runs.
    pub fn forward<T: Tap>(&self, batch: &mut Batch, tap: &mut T) -> Result<Rows, Error> {
        let embedded = self.embed(batch)?;
        Ok(self.run_blocks(batch, embedded, 0..self.config.n_layers, tap))
    }

    /// What enters block 0: `[n_rows, d_model]`.
    ///
    /// # Errors
    /// As for [`Model::forward`].
    pub fn embed(&self, batch: &Batch) -> Result<Rows, Error> {
        self.check(batch)?;
        Ok(self.ops.embed(&self.embedding, batch))
    }

    /// Runs the blocks `layers` on what enters the first of them.
    pub fn run_blocks<T: Tap>(
        &self,
        batch: &mut Batch,
        entering: Rows,
        layers: Range<usize>,
        tap: &mut T,
    ) -> Rows {
        let rope = self.ops.rope_table(&self.frequencies, batch);
        let mut tap = Steer(tap);
        layers.fold(entering, |resid, layer| self.block(layer, resid, &rope, batch, &mut tap))
    }

    /// Goes on from what left block `layer` unsteered, `[n_rows, d_model]`: steering and `tap` act on
    /// it as on the block's own output, and the blocks above run on what they make of it.
    pub fn run_blocks_above<T: Tap>(
        &self,
        batch: &mut Batch,
        leaving: Rows,
        layer: usize,
        tap: &mut T,
    ) -> Rows {
        let resid_post = Steer(&mut *tap).at(hook(layer, Site::ResidPost, batch), leaving);
        self.run_blocks(batch, resid_post, layer + 1..self.config.n_layers, tap)
    }

    /// One block, `[n_rows, d_model]` → `[n_rows, d_model]`. Each name is the value after its tap.
    fn block<T: Tap>(&self, layer: usize, x: Rows, rope: &RopeTable, batch: &mut Batch, tap: &mut T) -> Rows {
        let (block, ops, eps) = (&self.blocks[layer], &self.ops, self.config.norm_eps);

        let resid_pre = tap.at(hook(layer, Site::ResidPre, batch), x);
        let normed = ops.rms_norm(&resid_pre, &block.input_norm, eps);
        let attn_out = self.attention(layer, &normed, rope, batch);
        let attn_out = tap.at(hook(layer, Site::AttnOut, batch), attn_out);
        let resid_mid = tap.at(hook(layer, Site::ResidMid, batch), ops.add(resid_pre, &attn_out));
        let normed = ops.rms_norm(&resid_mid, &block.post_attention_norm, eps);
        let mlp_out = tap.at(hook(layer, Site::MlpOut, batch), self.mlp(block, &normed));
        tap.at(hook(layer, Site::ResidPost, batch), ops.add(resid_mid, &mlp_out))
    }

    fn attention(&self, layer: usize, x: &Loan, rope: &RopeTable, batch: &mut Batch) -> Rows {
        let (block, ops, kv) = (&self.blocks[layer], &self.ops, self.kv_shape());

        let [q, k, v] = ops.linears(x, [&block.q_proj, &block.k_proj, &block.v_proj]);
        let q = ops.rope(q, self.config.head_dim, rope); // [n_rows, n_heads * head_dim]
        let k = ops.rope(k, self.config.head_dim, rope); // [n_rows, n_kv_heads * head_dim], as v
        ops.write_cache(batch, layer, kv, &k, &v);
        let mixed = ops.attend(&q, batch, layer, self.attention_shape()); // as q
        ops.linear(&mixed, &block.o_proj) // [n_rows, d_model]
    }

    fn mlp(&self, block: &Block, x: &Loan) -> Rows {
        let gated = self.ops.gated(x, &block.gate_proj, &block.up_proj); // [n_rows, d_ff]
        self.ops.linear(&gated, &block.down_proj) // [n_rows, d_model]
    }

    /// The logits of the rows `which` of what left the last block: `[which.len(), vocab_size]`.
    pub fn logits(&self, resid: &Rows, which: &[usize]) -> Rows {
        let normed = self.ops.rms_norm(&resid.select(which), &self.norm, self.config.norm_eps);
        self.ops.linear(&normed, &self.head)
    }

    fn kv_shape(&self) -> KvShape {
        let Config { n_layers, n_kv_heads, head_dim, .. } = self.config;
        KvShape { n_layers, n_kv_heads, head_dim }
    }

    fn attention_shape(&self) -> Attention {
        let Config { n_heads, n_kv_heads, head_dim, .. } = self.config;
        Attention { n_heads, n_kv_heads, head_dim, scale: 1.0 / (head_dim as f32).sqrt() }
    }

    /// Refuses what would index outside the model, before anything is computed.
    fn check(&self, batch: &Batch) -> Result<(), Error> {
        let Config { vocab_size, max_positions: max, .. } = self.config;
        for row in batch.rows().iter() {
            if row.token as usize >= vocab_size {
                return Err(Error::UnknownToken { id: row.token, vocab_size });
            }
            if row.position >= max {
                let tokens = batch.sessions[row.sequence].tokens().len();
                return Err(Error::TooLong { tokens, max });
            }
        }
        batch.sessions.iter().try_for_each(|session| session.steering().check(&self.config))
    }
}

fn hook<'a>(layer: usize, site: Site, batch: &'a Batch) -> Hook<'a> {
    Hook { layer, site, rows: batch.rows() }
}

/// The files of a model that are at hand as bytes, for one that is compiled in.
#[derive(Clone, Copy)]
pub struct ModelFiles {
    /// `config.json`.
    pub config: &'static str,
    /// `generation_config.json`.
    pub generation_config: &'static str,
    /// `model.safetensors`.
    pub weights: &'static [u8],
}

/// How a model is loaded.
#[derive(Default)]
pub struct LoadOptions {
    /// Where packed weights are kept, if anywhere.
    pub packs: Option<PackCache>,
    /// Told the bytes of weights that are packed and those of all files, again and again while weights
    /// are packed; never if a pack is there.
    pub progress: Option<Box<dyn Fn(usize, usize) + Send + Sync>>,
}

// Loading.
impl Model {
    /// Loads a Hugging Face directory or a GGUF file, and packs its weights for the kernels of `cpu`.
    ///
    /// # Errors
    /// Whatever is wrong with it, by file and field.
    pub fn load(path: &Path, cpu: impl Into<Cpu>) -> Result<Model, Error> {
        Model::load_with(path, cpu, LoadOptions::default())
    }

    /// [`Model::load`], with packed weights kept from one start to the next, and a report of progress.
    ///
    /// # Errors
    /// As for [`Model::load`].
    pub fn load_with(path: &Path, cpu: impl Into<Cpu>, options: LoadOptions) -> Result<Model, Error> {
        let (config, mut weights) = Model::open(path)?;
        weights.loading.packs = match options.packs {
            Some(cache) => cache.open(&Weights::files(path)?),
            None => None,
        };
        weights.loading.progress = options.progress;
        Model::new(config, weights, cpu)
    }

    /// Reads the blueprint and the headers.
    pub(crate) fn open(path: &Path) -> Result<(Config, Weights), Error> {
        if path.is_file() { Model::open_gguf(path) } else { Model::open_dir(path) }
    }

    fn open_gguf(path: &Path) -> Result<(Config, Weights), Error> {
        let file = Gguf::open(path)?;
        let config = file.config()?;
        let weights = file.into_weights(&config)?;
        Ok((config, weights))
    }

    fn open_dir(dir: &Path) -> Result<(Config, Weights), Error> {
        let read = |name: &str| {
            let path = dir.join(name);
            std::fs::read_to_string(&path).map_err(|source| Error::Read { path, source })
        };
        let config = read("config.json")?;
        let generation = dir.join("generation_config.json").exists().then(|| read("generation_config.json"));
        let config = Config::parse(&config, generation.transpose()?.as_deref(), dir)?;
        Ok((config, Weights::open(dir)?))
    }

    /// Loads a model from bytes that are compiled in.
    ///
    /// # Errors
    /// As for [`Model::load`].
    pub fn from_files(files: ModelFiles, cpu: impl Into<Cpu>) -> Result<Model, Error> {
        let (config, weights) = Model::open_files(files)?;
        Model::new(config, weights, cpu)
    }

    /// The same as [`Model::open`] for bytes that are compiled in.
    pub(crate) fn open_files(files: ModelFiles) -> Result<(Config, Weights), Error> {
        let dir = PathBuf::from("embedded model");
        let config = Config::parse(files.config, Some(files.generation_config), &dir)?;
        Ok((config, Weights::from_bytes(Bytes::from(files.weights), &dir)?))
    }

    /// Puts a model together. Tensor names are those of Hugging Face checkpoints.
    ///
    /// # Errors
    /// [`Error::MissingTensors`] with every name, or [`Error::Malformed`].
    pub fn new(config: Config, weights: Weights, cpu: impl Into<Cpu>) -> Result<Model, Error> {
        let cpu = cpu.into();
        let names = tensor_names(&config);
        weights.require(names.iter().map(String::as_str))?;
        let (q, kv) = (config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim);
        let (d, ff) = (config.d_model, config.d_ff);
        let linear = |name: String, n_out: usize, n_in: usize, biased: bool| -> Result<Linear, Error> {
            let weight = weights.packed(&cpu, &format!("{name}.weight"), n_out, n_in)?;
            let bias = biased.then(|| weights.vector(&format!("{name}.bias"), n_out)).transpose()?;
            Ok(Linear { weight, bias })
        };
        let blocks = (0..config.n_layers).map(|layer| {
            let at = |name: &str| format!("model.layers.{layer}.{name}");
            Ok(Block {
                input_norm: weights.vector(&at("input_layernorm.weight"), d)?,
                q_proj: linear(at("self_attn.q_proj"), q, d, config.attention_bias)?,
                k_proj: linear(at("self_attn.k_proj"), kv, d, config.attention_bias)?,
                v_proj: linear(at("self_attn.v_proj"), kv, d, config.attention_bias)?,
                o_proj: linear(at("self_attn.o_proj"), d, q, config.attention_bias)?,
                post_attention_norm: weights.vector(&at("post_attention_layernorm.weight"), d)?,
                gate_proj: linear(at("mlp.gate_proj"), ff, d, config.mlp_bias)?,
                up_proj: linear(at("mlp.up_proj"), ff, d, config.mlp_bias)?,
                down_proj: linear(at("mlp.down_proj"), d, ff, config.mlp_bias)?,
            })
        });
        let blocks = blocks.collect::<Result<Vec<Block>, Error>>()?;
        let embedding = weights.matrix("model.embed_tokens.weight", config.vocab_size, d)?;
        let head = if config.tied_embeddings { "model.embed_tokens.weight" } else { "lm_head.weight" };
        let head = weights.packed(&cpu, head, config.vocab_size, d)?;
        weights.loaded();
        Ok(Model {
            norm: weights.vector("model.norm.weight", d)?,
            frequencies: config.rope.frequencies(config.head_dim),
            head: Linear { weight: head, bias: None },
            ops: Ops::new(cpu),
            embedding,
            blocks,
            weights,
            config,
        })
    }

    /// The blueprint.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The checkpoint that the model was made from.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The kernel set and threads that the model runs on.
    pub fn cpu(&self) -> &Cpu {
        &self.ops.cpu
    }

    /// Runs a session on by `tokens` and returns the logits after the last: the plain way to use
    /// a model, for one sequence at a time.
    ///
    /// # Errors
    /// [`Error::Empty`] without tokens, else as for [`Model::forward`].
    pub fn extend(&self, session: &mut crate::Session, tokens: &[u32]) -> Result<Rows, Error> {
        let Some(last) = tokens.len().checked_sub(1) else { return Err(Error::Empty) };
        let mut batch = Batch::new();
        batch.push(session, tokens);
        let resid = self.forward(&mut batch, &mut NoTap)?;
        Ok(self.logits(&resid, &[last]))
    }
}

/// Every tensor that a config asks for.
pub(crate) fn tensor_names(config: &Config) -> Vec<String> {
    let mut names = vec!["model.embed_tokens.weight".to_owned(), "model.norm.weight".to_owned()];
    if !config.tied_embeddings {
        names.push("lm_head.weight".to_owned());
    }
    let biased = |name: &str| match name {
        "q_proj" | "k_proj" | "v_proj" | "o_proj" => config.attention_bias,
        _ => config.mlp_bias,
    };
    for layer in 0..config.n_layers {
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            names.push(format!("model.layers.{layer}.{norm}.weight"));
        }
        let attention = ["q_proj", "k_proj", "v_proj", "o_proj"].map(|name| ("self_attn", name));
        let mlp = ["gate_proj", "up_proj", "down_proj"].map(|name| ("mlp", name));
        for (part, name) in attention.into_iter().chain(mlp) {
            names.push(format!("model.layers.{layer}.{part}.{name}.weight"));
            if biased(name) {
                names.push(format!("model.layers.{layer}.{part}.{name}.bias"));
            }
        }
    }
    names
}
