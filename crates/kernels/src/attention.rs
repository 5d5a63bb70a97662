//! Causal attention over keys and values that lie in blocks: the memory, the shape, the tasks and their inner
//! loops.

mod flash;
mod kv;
mod shape;
mod tasks;

pub use kv::{BLOCK_LEN, KvBlock, KvShape};
pub use shape::{Attention, Context};
pub use tasks::attention;
