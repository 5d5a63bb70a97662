//! The decoder: weights and the one forward pass, in the order of the paper. Families differ in the
//! blueprint (`config.rs`), never in another pass.

use super::batch::Batch;
use super::ops::{Experts, HostRows, Input, Linear, Mlp, Norm, Ops, RopeTable, Rows, Table};
use super::session::Session;
use super::tap::{Hook, NoTap, Tap};
use crate::checkpoint::Weights;
use crate::config::{Config, Frequencies};
use crate::error::Error;
use crate::steering::Site;
use smallvec::SmallVec;
use std::ops::Range;
use whipstaff_kernels::{Attention, Cpu, KvShape};

/// A loaded decoder-only model. Immutable: any number of sessions may run on it.
pub struct Model {
    pub(crate) config: Config,
    pub(crate) ops: Ops,
    pub(crate) weights: Weights,
    pub(crate) embedding: Table,
    pub(crate) positions: Option<Table>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) norm: Norm,
    pub(crate) head: Linear,
    pub(crate) ropes: Vec<Frequencies>,
}

/// The weights of one block. What a family does not have is [`Norm::None`].
pub(crate) struct Block {
    pub(crate) attn_norm: Norm,
    pub(crate) attn: Attn,
    pub(crate) attn_post_norm: Norm,
    pub(crate) mlp_norm: Norm,
    pub(crate) mlp: FeedForward,
    pub(crate) mlp_post_norm: Norm,
}

/// The weights of attention.
pub(crate) struct Attn {
    pub(crate) q: Linear,
    pub(crate) k: Linear,
    pub(crate) v: Linear,
    pub(crate) q_norm: Norm,
    pub(crate) k_norm: Norm,
    pub(crate) o: Linear,
}

/// One MLP, or many of which each token takes a few.
#[allow(clippy::large_enum_variant)] // one a block: nothing is gained by another indirection
pub(crate) enum FeedForward {
    Dense(Mlp),
    Routed(Experts),
}

/// Cosines and sines, one table for each rope of the model.
type RopeTables = SmallVec<[RopeTable; 2]>;

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

    /// Looks up what enters block 0: `[n_rows, d_model]`.
    ///
    /// # Errors
    /// As for [`Model::forward`].
    pub fn embed(&self, batch: &Batch) -> Result<Rows, Error> {
        self.check(batch)?;
        let scale = self.config.embedding_scale;
        Ok(self.ops.embed(&self.embedding, scale, self.positions.as_ref(), batch))
    }

    /// Runs the blocks `layers` on what enters the first of them.
    pub fn run_blocks<T: Tap>(
        &self,
        batch: &mut Batch,
        entering: Rows,
        layers: Range<usize>,
        tap: &mut T,
    ) -> Rows {
        let ropes: RopeTables = self.ropes.iter().map(|rope| self.ops.rope_table(rope, batch)).collect();
        layers.fold(entering, |resid, layer| self.block(layer, resid, &ropes, batch, tap))
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
        let at = hook(layer, Site::ResidPost, batch);
        let resid_post = tapped(tap, at, self.ops.steer(leaving, at));
        self.run_blocks(batch, resid_post, layer + 1..self.config.n_layers, tap)
    }

    /// Runs one block, `[n_rows, d_model]` → `[n_rows, d_model]`. Each name is the value after its steering and its
    /// tap.
    fn block<T: Tap>(
        &self,
        layer: usize,
        x: Rows,
        ropes: &RopeTables,
        batch: &mut Batch,
        tap: &mut T,
    ) -> Rows {
        let (block, ops) = (&self.blocks[layer], &self.ops);

        let at = hook(layer, Site::ResidPre, batch);
        let resid_pre = tapped(tap, at, ops.steer(x, at));
        let beside = self.config.parallel.then(|| ops.norm(&resid_pre, &block.mlp_norm));
        let normed = ops.norm(&resid_pre, &block.attn_norm);
        let attn_out = self.attention(layer, &normed, ropes, batch);
        let attn_out = self.leaving(attn_out, &block.attn_post_norm);
        let at = hook(layer, Site::AttnOut, batch);
        let attn_out = tapped(tap, at, ops.steer(attn_out, at));
        let at = hook(layer, Site::ResidMid, batch);
        let resid_mid = tapped(tap, at, ops.add_steered(resid_pre, &attn_out, at));
        let normed = beside.unwrap_or_else(|| ops.norm(&resid_mid, &block.mlp_norm));
        let mlp_out = self.leaving(self.mlp(block, &normed), &block.mlp_post_norm);
        let at = hook(layer, Site::MlpOut, batch);
        let mlp_out = tapped(tap, at, ops.steer(mlp_out, at));
        let at = hook(layer, Site::ResidPost, batch);
        tapped(tap, at, ops.add_steered(resid_mid, &mlp_out, at))
    }

    fn attention(&self, layer: usize, x: &Input, ropes: &RopeTables, batch: &mut Batch) -> Rows {
        let (attn, ops, head_dim) = (&self.blocks[layer].attn, &self.ops, self.config.head_dim);

        let [q, k, v] = ops.linears(x, [&attn.q, &attn.k, &attn.v]);
        let mut q = ops.norm_in_place(q, &attn.q_norm); // [n_rows, n_heads * head_dim]
        let mut k = ops.norm_in_place(k, &attn.k_norm); // [n_rows, n_kv_heads * head_dim], as v
        if let Some(rope) = self.config.layers[layer].rope {
            q = ops.rope(q, head_dim, &ropes[rope]);
            k = ops.rope(k, head_dim, &ropes[rope]);
        }
        ops.write_cache(batch, layer, self.kv_shape(), &k, &v);
        let mixed = ops.attend(&q, batch, layer, self.attention_shape(layer)); // as q
        ops.linear(&mixed, &attn.o) // [n_rows, d_model]
    }

    fn mlp(&self, block: &Block, x: &Input) -> Rows {
        match &block.mlp {
            FeedForward::Dense(mlp) => self.ops.mlp(x, mlp),
            FeedForward::Routed(experts) => self.ops.experts(x, experts),
        }
    }

    /// Takes what attention or MLP gives on its way to the stream: `[n_rows, d_model]`.
    fn leaving(&self, x: Rows, norm: &Norm) -> Rows {
        self.ops.scale(self.ops.norm_in_place(x, norm), self.config.residual_scale)
    }

    /// Returns the logits of the rows `which` of what left the last block: `[which.len(), vocab_size]`.
    pub fn logits(&self, resid: &Rows, which: &[usize]) -> Rows {
        let normed = self.ops.norm(&resid.select(which), &self.norm);
        let logits = self.ops.linear(&normed, &self.head);
        self.ops.soft_cap(self.ops.divide(logits, self.config.logit_divisor), self.config.logit_soft_cap)
    }

    fn kv_shape(&self) -> KvShape {
        let Config { n_layers, n_kv_heads, head_dim, .. } = self.config;
        KvShape { n_layers, n_kv_heads, head_dim }
    }

    fn attention_shape(&self, layer: usize) -> Attention {
        let Config { n_heads, n_kv_heads, head_dim, attention_soft_cap: soft_cap, .. } = self.config;
        let kind = self.config.layers[layer];
        Attention { n_heads, n_kv_heads, head_dim, scale: kind.scale, window: kind.window, soft_cap }
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
        batch.sessions.iter().try_for_each(|session| {
            let steering = session.steering();
            steering.check(&self.config)?;
            if steering.is_gated() {
                return Err(Error::SteeringMismatch(
                    "the steering has a gate that has not been decided; decide it first".into(),
                ));
            }
            if steering.asks_for_prompt() && session.n_prompt().is_none() {
                let reason = "the steering tells prompt from answer, but the session was not told where the prompt ends";
                return Err(Error::SteeringMismatch(reason.into()));
            }
            Ok(())
        })
    }
}

/// Hands activations to the tap, if it reads here.
fn tapped<T: Tap>(tap: &mut T, hook: Hook, x: Rows) -> Rows {
    if tap.reads(hook.layer, hook.site) { tap.at(hook, x) } else { x }
}

fn hook<'a>(layer: usize, site: Site, batch: &'a Batch) -> Hook<'a> {
    Hook { layer, site, rows: batch.rows() }
}

impl Model {
    /// Returns the blueprint.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the checkpoint that the model was made from.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Returns true if the length of a text decides how positions are told apart, as with some kinds of rope. Texts
    /// of different lengths then have nothing in common, however they begin.
    pub fn depends_on_length(&self) -> bool {
        self.ropes.iter().any(Frequencies::depend_on_length)
    }

    /// Returns the kernel set and the threads of the host, for work beside the passes. It says nothing about where
    /// rows live.
    pub fn cpu(&self) -> &Cpu {
        self.ops.host()
    }

    /// Reads rows. The processor's rows are borrowed; a device's are waited for and copied.
    pub fn host<'r>(&self, rows: &'r Rows) -> HostRows<'r> {
        rows.read()
    }

    /// Copies rows to where the model runs: `elements` is `[n_rows, width]`, row after row.
    ///
    /// # Panics
    /// If they are not whole rows.
    pub fn rows(&self, elements: &[f32], width: usize) -> Rows {
        self.ops.rows(elements, width)
    }

    /// Returns `ln Σᵢ exp(xᵢ)` of every row of logits: `[n_rows]`.
    pub fn log_sums(&self, logits: &Rows) -> Vec<f64> {
        self.ops.log_sums(logits)
    }

    /// Returns `ln Σᵢ exp(xᵢ)` of one row of logits that has been read: `[vocab_size]`.
    pub fn log_sum(&self, logits: &[f32]) -> f64 {
        self.ops.host_log_sum(logits)
    }

    /// Returns the elements `which` of rows, each given by its row and its place in the row.
    pub fn pick(&self, rows: &Rows, which: &[(usize, usize)]) -> Vec<f32> {
        self.ops.pick(rows, which)
    }

    /// Runs a session on by `tokens` and returns the logits after the last: the plain way to use
    /// a model, for one sequence at a time.
    ///
    /// # Errors
    /// [`Error::Empty`] without tokens, else as for [`Model::forward`].
    pub fn extend(&self, session: &mut Session, tokens: &[u32]) -> Result<Rows, Error> {
        let Some(last) = tokens.len().checked_sub(1) else { return Err(Error::Empty) };
        let mut batch = Batch::new();
        batch.push(session, tokens);
        let resid = self.forward(&mut batch, &mut NoTap)?;
        Ok(self.logits(&resid, &[last]))
    }
}
