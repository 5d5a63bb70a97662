//! Puts a model together from a blueprint and a checkpoint.

use crate::config::NormKind;
use crate::model::{Attn, Block, Mlp, Model};
use crate::ops::{Experts, Linear, Norm, Ops, Unit};
use crate::params::{Param, Part};
use crate::{Config, Error, Rope, Weights};
use whipstaff_kernels::Cpu;

impl Model {
    /// Puts a model together.
    ///
    /// # Errors
    /// [`Error::MissingTensors`] with every name, or [`Error::Malformed`].
    pub fn new(config: Config, weights: Weights, cpu: impl Into<Cpu>) -> Result<Model, Error> {
        let cpu = cpu.into();
        weights.require(&config)?;
        let load = Loader { config: &config, weights: &weights, cpu: &cpu };
        let blocks =
            (0..config.n_layers).map(|layer| load.block(layer)).collect::<Result<Vec<Block>, Error>>()?;
        let embedding = Param::weight(Part::Embedding, 0);
        let head = if config.tied_embeddings { Part::Embedding } else { Part::Head };
        let head = weights.packed(&cpu, &config, Param::weight(head, 0))?;
        weights.loaded();
        Ok(Model {
            embedding: weights.matrix(&config, embedding)?,
            positions: match config.learned_positions {
                true => Some(weights.matrix(&config, Param::weight(Part::Positions, 0))?),
                false => None,
            },
            blocks,
            norm: load.norm(Part::FinalNorm, 0)?,
            head: Linear { weight: head, bias: None },
            ropes: config.ropes.iter().map(Rope::frequencies).collect(),
            ops: Ops::new(cpu.clone()),
            weights,
            config,
        })
    }
}

/// Loads the parts of one model.
struct Loader<'a> {
    config: &'a Config,
    weights: &'a Weights,
    cpu: &'a Cpu,
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
                true => Mlp::Experts(self.experts(layer)?),
                false => Mlp::Dense(self.unit([Part::Gate, Part::Up, Part::Down], layer, None)?),
            },
            mlp_post_norm: norm(Part::MlpPostNorm, after)?,
        })
    }

    fn linear(&self, param: Param) -> Result<Linear, Error> {
        let bias = param.is_biased(self.config).then(|| self.weights.vector(self.config, param.bias()));
        Ok(Linear { weight: self.weights.packed(self.cpu, self.config, param)?, bias: bias.transpose()? })
    }

    fn norm(&self, part: Part, layer: usize) -> Result<Norm, Error> {
        let (config, param) = (self.config, Param::weight(part, layer));
        let mut weight = self.weights.vector(config, param)?;
        let eps = config.norm_eps;
        Ok(match config.norm {
            NormKind::Rms => Norm::Rms { weight, eps },
            NormKind::RmsPlusOne => {
                weight.iter_mut().for_each(|weight| *weight += 1.0);
                Norm::Rms { weight, eps }
            }
            NormKind::Layer => Norm::Layer { weight, bias: self.weights.vector(config, param.bias())?, eps },
        })
    }

    /// The gate is there if the family has one.
    fn unit(&self, parts: [Part; 3], layer: usize, expert: Option<usize>) -> Result<Unit, Error> {
        let linear = |part| self.linear(Param::weight(part, layer).of_expert(expert));
        let [gate, up, down] = parts;
        Ok(Unit {
            gate: self.config.gated.then(|| linear(gate)).transpose()?,
            up: linear(up)?,
            down: linear(down)?,
            activation: self.config.activation,
        })
    }

    fn experts(&self, layer: usize) -> Result<Experts, Error> {
        let described = self.config.experts.expect("layers that route have experts");
        let linear = |part| self.linear(Param::weight(part, layer));
        let unit = |expert| self.unit([Part::Gate, Part::Up, Part::Down], layer, Some(expert));
        let shared = described.shared_d_ff.map(|_| {
            let parts = [Part::SharedGate, Part::SharedUp, Part::SharedDown];
            Ok::<_, Error>((linear(Part::SharedSwitch)?, self.unit(parts, layer, None)?))
        });
        Ok(Experts {
            router: linear(Part::Router)?,
            units: (0..described.n).map(unit).collect::<Result<_, _>>()?,
            per_token: described.per_token,
            normalise: described.normalise,
            shared: shared.transpose()?,
        })
    }
}
