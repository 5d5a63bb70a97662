//! CPU compute: matrix products, attention, norms, rope and gates.
//!
//! The crate has never heard of a model, a token or a persona. It knows slices of `f32`
//! activations, weight matrices in the type they are stored in, the instruction sets of the
//! processor and threads. It is the only crate of the workspace that may contain `unsafe`.
//!
//! **One order of every sum.** Outputs are lanes, and the inputs of an output are added up one by
//! one in blocks of fixed size (`packed.rs`). Strips, tasks and threads decide only *which* sums run
//! together, never the order inside one. So the result of a row is the same bit for bit whatever
//! surrounds it, and on every instruction set that has a fused multiply-add. The exceptions are the
//! sets `amx`, `avx512-bf16` and `bf16`: their products of `bf16` weights round activations (`rounded.rs`) and add in
//! orders of their own, so that there too a row does not depend on its surroundings, but has other bits.
//!
//! Reading order: `bytes` (where weights come from), `matrix` and `blocks` (what they are), `packed`
//! (how products read them), `input` (activations), `isa` and `cpu` (what it runs on), `pool`
//! (threads), `lanes` (sixteen floats) and `avx512`, `avx2`, `neon` (sets of them), `activation`, `linear` (tasks), `tile` (inner loops), `rounded`, `pairs` and `amx` (the same
//! with rounded activations, by pairs and by a matrix unit), `ints` and `quant` (products in integers, of many rows by tiles where there are some), `kv` (what attention reads), `attention` (tasks), `flash` (inner loops),
//! `rowwise`, `plain` (the twins).

mod activation;
mod amx;
mod attention;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod blocks;
mod buffer;
mod bytes;
mod cpu;
mod encode;
mod flash;
mod input;
mod ints;
mod isa;
mod kv;
mod lanes;
mod linear;
mod log_sum;
mod matrix;
#[cfg(target_arch = "aarch64")]
mod neon;
mod packed;
mod pairs;
pub mod plain;
mod pool;
mod probe;
mod profile;
mod quant;
mod rounded;
mod rowwise;
mod shared_mut;
mod tile;

pub use activation::Activation;
pub use attention::{Attention, Context, attention};
pub use bytes::Bytes;
pub use cpu::{Cpu, Precision};
pub use encode::{WRITABLE, quantise_row};
pub use input::Input;
pub use isa::{Isa, Surveyed, UnknownIsa};
pub use kv::{BLOCK_LEN, KvBlock, KvShape};
pub use linear::{Product, Unit, hidden, linear};
pub use log_sum::log_sum_exp;
pub use matrix::{Dtype, Elements, Matrix, MatrixError};
pub use packed::{PACKED_LAYOUT, Packed, Packer};
pub use pool::available;
pub use probe::{fma_peak, read_bandwidth};
pub use profile::Profiled;
pub use rowwise::{add_assign, edit_rows, rms_norm, rope, soft_cap};
