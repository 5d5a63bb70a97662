//! The operations on one row at a time between the products: activation functions, norms, rope, caps,
//! residual sums and log-sums of exponentials.

mod activation;
mod log_sum;
mod norm;
mod rowwise;

pub use activation::Activation;
pub(crate) use activation::capped;
pub use log_sum::log_sum_exp;
pub(crate) use norm::{mean_and_scale, rms_scale};
pub(crate) use rowwise::SERIAL_BELOW;
pub use rowwise::{add_assign, edit_rows, rms_norm, rope, soft_cap};
