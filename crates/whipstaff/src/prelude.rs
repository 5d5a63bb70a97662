//! What most programs need: `use whipstaff::prelude::*`.

pub use crate::ask::Ask;
pub use crate::compare::{Side, SideBySide};
pub use crate::error::{Error, ErrorKind};
pub use crate::frames::FrameChoice;
pub use crate::model::LanguageModel;
pub use crate::open::OpenOptions;
pub use crate::receipt::ReceiptOptions;
pub use crate::steer::SteeredBy;
pub use crate::stream::{Piece, Stream};
pub use crate::sweep::{SweepOptions, SweepTable};
pub use whipstaff_engine::{Finish, Hook, Message, Role, Rows, Sampling, Site, Steering, Tap};
pub use whipstaff_steering::{
    Answer, Contrast, ContrastSet, Controls, Method, Op, PersonaVector, PromptLine, Receipt, Remark,
    RemarkKind, Resolved, SteerSpec, Text, TokenRule, Unit, VectorDose, Verdict, Watch,
};
