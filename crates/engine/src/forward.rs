//! The forward pass: a batch of rows through the blocks of a model, with a tap and steering at every site.

mod batch;
mod capture;
mod lens;
mod model;
mod ops;
mod session;
mod steer;
mod tap;

pub use batch::{Batch, ROW_BUDGET, Row, RowPlan, pack};
pub use capture::{KeepRows, SumRows};
pub use model::Model;
pub(crate) use model::{Attn, Block, FeedForward};
pub(crate) use ops::{Experts, Linear, Mlp, Norm, Ops, Vector};
pub use ops::{HostRows, Rows};
pub use session::Session;
pub use tap::{Hook, NoTap, Tap};
