//! Arithmetic on the CPU: matrix products, attention, norms, rope and activation functions.
//!
//! The crate has never heard of a model, a token or a persona. It knows slices of `f32` activations, weight
//! matrices in the type in which they are stored, the instruction sets of the processor, and threads. It is
//! the only crate of the workspace that may contain `unsafe`.
//!
//! **One order of every sum.** Outputs are lanes, and the inputs of an output are added up one by one in
//! blocks of fixed size (`product/packed.rs`). Strips, tasks and threads decide only *which* sums run
//! together, never the order inside a sum. So the result of a row is bit-identical whatever surrounds it, and
//! on every instruction set that has a fused multiply-add. The exceptions are the sets `amx`, `avx512-bf16`
//! and `bf16`, whose products of `bf16` weights round activations (`product/rounded/`) and add in orders of
//! their own. There too a row does not depend on its surroundings, but it has other bits.
//!
//! # Reading order
//!
//! Each wing uses those before it and no other.
//!
//! 1. `layout` holds the sizes on which all modules agree.
//! 2. `weights` is what files hold: [`Bytes`], the stored types ([`Dtype`]), [`Matrix`], and how quantised
//!    blocks are read and written.
//! 3. `sets` is what instruction sets can do, each ability a trait: lanes of floats and integers, sums of
//!    pairs, tiles. Every special instruction has a twin in software.
//! 4. `machine` is what kernels run on: [`Isa`] chooses a set, and [`Cpu`] is a set with its threads.
//! 5. `rows` are the operations on one row at a time: norms, rope, [`Activation`], caps, log-sums.
//! 6. `product` is `y = x Wᵀ + b`: [`Packed`] weights, activations as an [`Input`], [`linear()`] and the tasks
//!    it cuts the work into, and the inner loops. `product/rounded` multiplies activations that are rounded to
//!    `bf16`; `product/quant` multiplies quantised weights in integers.
//! 7. `attention` is the other product of a transformer: [`KvBlock`], the shape, the tasks and their inner
//!    loops.
//! 8. [`plain`] holds the definitions in `f64` with which tests compare everything else.

mod attention;
mod layout;
mod machine;
pub mod plain;
mod product;
mod rows;
mod sets;
mod weights;

pub use attention::{Attention, BLOCK_LEN, Context, KvBlock, KvShape, attention};
pub use machine::{Cpu, Isa, Precision, Profiled, Surveyed, UnknownIsa, available, fma_peak, read_bandwidth};
pub use product::{Input, Mlp, PACKED_LAYOUT, Packed, Packer, Product, hidden, linear};
pub use rows::{Activation, add_assign, edit_rows, log_sum_exp, rms_norm, rope, soft_cap};
pub use weights::{Bytes, Dtype, Elements, Matrix, MatrixError, WRITABLE, quantise_row};
