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
