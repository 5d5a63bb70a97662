//! Puts a model together from a blueprint and a checkpoint.

use crate::checkpoint::{Checkpoint, ModelFiles, PackCache, Param, Part, Weights};
use crate::config::{Config, NormKind, Rope};
use crate::error::Error;
use crate::forward::{Attn, Block, Experts, FeedForward, Linear, Mlp, Model, Norm, Ops, Vector};
use std::path::Path;
use whipstaff_kernels::Cpu;

/// Options of loading.
#[derive(Default)]
pub struct LoadOptions {
    /// Where packed weights are kept, if anywhere.
    pub packs: Option<PackCache>,
    /// Gets told the bytes of weights that are packed and those of all files, again and again while weights
    /// are packed; never if a pack is there.
    pub progress: Option<Box<dyn Fn(usize, usize) + Send + Sync>>,
}

impl Model {
    /// Loads a Hugging Face directory or a GGUF file, and packs its weights for the kernels of `cpu`.
    ///
    /// # Errors
    /// Whatever is wrong with it, by file and field.
    pub fn load(path: &Path, cpu: impl Into<Cpu>) -> Result<Model, Error> {
        Model::load_with(path, cpu, LoadOptions::default())
    }

    /// Loads as [`Model::load`] does, with packed weights kept from one start to the next, and a report of
    /// progress.
    ///
    /// # Errors
    /// As for [`Model::load`].
    pub fn load_with(path: &Path, cpu: impl Into<Cpu>, options: LoadOptions) -> Result<Model, Error> {
        let mut checkpoint = Checkpoint::open(path)?;
        checkpoint.weights.pack_into(options.packs, options.progress);
        Model::new(checkpoint, cpu)
    }

    /// Loads a model from bytes that are compiled in.
    ///
    /// # Errors
    /// As for [`Model::load`].
    pub fn from_files(files: ModelFiles, cpu: impl Into<Cpu>) -> Result<Model, Error> {
        Model::new(Checkpoint::from_files(files)?, cpu)
    }

    /// Puts a model together.
    ///
    /// # Errors
    /// [`Error::MissingTensors`] with every name, or [`Error::Malformed`].
    pub fn new(checkpoint: Checkpoint, cpu: impl Into<Cpu>) -> Result<Model, Error> {
        let Checkpoint { config, weights } = checkpoint;
        let ops = Ops::new(cpu.into());
        weights.require(&config)?;
        let load = Loader { config: &config, weights: &weights, ops: &ops };
        let blocks =
            (0..config.n_layers).map(|layer| load.block(layer)).collect::<Result<Vec<Block>, Error>>()?;
        let embedding = Param::weight(Part::Embedding, 0);
        let head = if config.tied_embeddings { Part::Embedding } else { Part::Head };
        let head = ops.weight(&weights, &config, Param::weight(head, 0))?;
        weights.loaded();
        Ok(Model {
            embedding: ops.table(&weights, &config, embedding)?,
            positions: match config.learned_positions {
                true => Some(ops.table(&weights, &config, Param::weight(Part::Positions, 0))?),
                false => None,
            },
            blocks,
            norm: load.norm(Part::FinalNorm, 0)?,
            head: Linear { weight: head, bias: None },
            ropes: config.ropes.iter().map(Rope::frequencies).collect(),
            ops,
            weights,
            config,
        })
    }
}

/// Loads the parts of one model.
struct Loader<'a> {
    config: &'a Config,
    weights: &'a Weights,
    ops: &'a Ops,
}

impl Loader<'_> {
    fn block(&self, layer: usize) -> Result<Block, Error> {
        let config = self.config;
        let norm = |part, is_there: bool| match is_there {
            true => self.norm(part, layer),
            false => Ok(Norm::None),
        };
        let linear = |part| self.linear(Param::weight(part, layer));
        let (before, after) = (config.norm_places.before(), config.norm_places.after());
        let has_qk_norm = config.qk_norm.is_some();
        Ok(Block {
            attn_norm: norm(Part::AttnNorm, before)?,
            attn: Attn {
                q: linear(Part::Q)?,
                k: linear(Part::K)?,
                v: linear(Part::V)?,
                q_norm: norm(Part::QNorm, has_qk_norm)?,
                k_norm: norm(Part::KNorm, has_qk_norm)?,
                o: linear(Part::O)?,
            },
            attn_post_norm: norm(Part::AttnPostNorm, after)?,
            mlp_norm: norm(Part::MlpNorm, before)?,
            mlp: match config.layers[layer].routed {
                true => FeedForward::Routed(self.experts(layer)?),
                false => FeedForward::Dense(self.mlp([Part::Gate, Part::Up, Part::Down], layer, None)?),
            },
            mlp_post_norm: norm(Part::MlpPostNorm, after)?,
        })
    }

    fn linear(&self, param: Param) -> Result<Linear, Error> {
        let weight = self.ops.weight(self.weights, self.config, param)?;
        let bias = param.is_biased(self.config).then(|| self.vector(param.bias())).transpose()?;
        Ok(Linear { weight, bias })
    }

    fn vector(&self, param: Param) -> Result<Vector, Error> {
        Ok(self.ops.vector(self.weights.vector(self.config, param)?))
    }

    fn norm(&self, part: Part, layer: usize) -> Result<Norm, Error> {
        let (config, param) = (self.config, Param::weight(part, layer));
        let eps = config.norm_eps;
        Ok(match config.norm {
            NormKind::Rms => Norm::Rms { weight: self.vector(param)?, eps },
            NormKind::RmsPlusOne => {
                let mut weight = self.weights.vector(config, param)?;
                weight.iter_mut().for_each(|weight| *weight += 1.0);
                Norm::Rms { weight: self.ops.vector(weight), eps }
            }
            NormKind::Layer => {
                Norm::Layer { weight: self.vector(param)?, bias: self.vector(param.bias())?, eps }
            }
        })
    }

    /// Loads an MLP, with a gate if the family has one.
    fn mlp(&self, parts: [Part; 3], layer: usize, expert: Option<usize>) -> Result<Mlp, Error> {
        let linear = |part| self.linear(Param::weight(part, layer).of_expert(expert));
        let [gate, up, down] = parts;
        Ok(Mlp {
            gate: self.config.gated.then(|| linear(gate)).transpose()?,
            up: linear(up)?,
            down: linear(down)?,
            activation: self.config.activation,
        })
    }

    fn experts(&self, layer: usize) -> Result<Experts, Error> {
        let described = self.config.experts.expect("layers that route have experts");
        let linear = |part| self.linear(Param::weight(part, layer));
        let mlp = |expert| self.mlp([Part::Gate, Part::Up, Part::Down], layer, Some(expert));
        let shared = described.shared_d_ff.map(|_| {
            let parts = [Part::SharedGate, Part::SharedUp, Part::SharedDown];
            Ok::<_, Error>((linear(Part::SharedSwitch)?, self.mlp(parts, layer, None)?))
        });
        Ok(Experts {
            router: linear(Part::Router)?,
            mlps: (0..described.n).map(mlp).collect::<Result<_, _>>()?,
            per_token: described.per_token,
            normalise: described.normalise,
            shared: shared.transpose()?,
        })
    }
}
