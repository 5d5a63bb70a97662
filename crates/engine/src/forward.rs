//! The forward pass: a batch of rows through the blocks of a model, with a tap and steering at every site.

mod batch;
mod capture;
mod experts;
mod kv;
mod lens;
mod model;
mod ops;
mod rope_table;
mod rows;
mod session;
mod steer;
mod tap;

pub use batch::{Batch, ROW_BUDGET, Row, RowPlan, pack};
pub use capture::{KeepRows, SumRows};
pub use model::Model;
pub(crate) use model::{Attn, Block, FeedForward};
pub(crate) use ops::{Experts, Linear, Mlp, Norm, Ops};
pub use rows::Rows;
pub use session::Session;
pub use tap::{Hook, NoTap, Tap};
