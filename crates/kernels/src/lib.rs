//! CPU compute for row-major activations: matrix products, attention, norms, rope and gates.
//!
//! The crate has never heard of a model, a token or a persona. It knows slices of `f32`
//! activations, weight matrices in the type they are stored in, and the instruction sets of the
//! processor. It is the only crate of the workspace that may contain `unsafe`.
//!
//! **One shape of sum.** Every dot product accumulates in sixteen `f32` lanes, one fused
//! multiply-add per element in ascending order, and adds the lanes up in one fixed tree
//! (`lanes.rs`). Tile sizes, the number of rows in a batch and the number of threads decide only
//! *which* sums run together, never the order inside one. So the result of a row is the same bit
//! for bit whatever surrounds it, and on every instruction set that has a fused multiply-add.
//!
//! Reading order: `bytes` (where weights live), `matrix` (their shape), `blocks` (quantised ones),
//! `isa` (the choice of instruction set), `lanes` (sixteen floats), `linear`, `attention`, `rowwise`,
//! `plain` (the twins).

mod attention;
mod blocks;
mod bytes;
mod ints;
mod isa;
mod lanes;
mod linear;
mod matrix;
pub mod plain;
mod quant;
mod rowwise;

pub use attention::{Attention, KvView, attention};
pub use bytes::Bytes;
pub use isa::{Isa, UnknownIsa};
pub use linear::linear;
pub use matrix::{Dtype, Elements, Matrix, MatrixError};
pub use rowwise::{add_assign, rms_norm, rope, silu_mul};

/// Uses `n` threads for all kernels of this process. Call it once, before the first kernel runs;
/// later calls have no effect. Results do not depend on the number.
pub fn use_threads(n: usize) {
    // The pool can be built only once; a second call means the first choice stands.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(n).build_global();
}

/// The number of threads that kernels run on.
pub fn threads() -> usize {
    rayon::current_num_threads()
}
