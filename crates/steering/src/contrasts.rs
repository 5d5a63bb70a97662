//! What a model is given to read: contrasts, the frame around them, and their tokens.

mod encode;
mod frame;
mod prompts;
mod set;
mod tokens;

pub(crate) use encode::{ContrastIds, SideIds, encode, encode_sides};
pub use frame::{Frame, FrameId};
pub use prompts::{PromptLine, read_prompts, said};
pub use set::{Contrast, ContrastSet};
pub use tokens::TokenRule;
