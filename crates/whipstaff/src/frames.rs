//! Which frame to talk to a model in: the one asked for, else the vector's, else the model's own.

use crate::error::{Error, ErrorKind};
use crate::model::LanguageModel;
use std::sync::Arc;
use whipstaff_engine::ChatTemplate;
use whipstaff_steering::{Frame, FrameId, Remark, RemarkKind};

/// The frame that a caller asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameChoice {
    /// `plain`, `chat` (the model's own template), `none`, or a text with `{prompt}` in it. Without one, the vector's
    /// frame is used, or the model's own.
    pub frame: Option<String>,
    /// A system message for conversations that have none.
    pub system: Option<String>,
}

impl FrameChoice {
    /// Asks for a frame: `plain`, `chat`, `none`, or a text with `{prompt}` in it.
    pub fn named(frame: impl Into<String>) -> FrameChoice {
        FrameChoice { frame: Some(frame.into()), system: None }
    }
}

impl LanguageModel {
    /// Returns the frame asked for, else the one that a vector was made in, else the model's own. A frame other than
    /// the vector's is remarked on.
    ///
    /// # Errors
    ///
    /// Returns [`Error::NoChatTemplate`] if a chat frame is needed and there is none, and [`Error::Steering`] for a
    /// text without `{prompt}`.
    pub fn frame(&self, choice: &FrameChoice, made_in: Option<&FrameId>) -> Result<Frame, Error> {
        let made_in = made_in.filter(|id| !id.is_unknown());
        let frame = match (choice.frame.as_deref(), made_in) {
            (Some("chat"), _) => self.chat_frame(false)?,
            (Some(text), _) => Frame::parse(text)?,
            (None, Some(id)) if id.is_chat() => self.chat_frame(true)?,
            (None, Some(id)) => Frame::parse(&id.name)?,
            (None, None) => self.own_frame()?,
        };
        let frame = frame.with_system(choice.system.clone());
        if let Some(difference) = made_in.and_then(|id| id.difference(&frame.id())) {
            let text = format!(
                "the vector {difference}: out of its own frame a direction is weaker, and in the deepest layers it may \
                 point the wrong way; extract it again in this frame, or run it in its own"
            );
            self.remark(RemarkKind::OtherFrame, text);
        }
        Ok(frame)
    }

    /// Returns the frame of this model's kind: its chat template if it is a chat model, which is one that stops where
    /// its template ends an answer; else the plain frame. Base models often carry a template along, too.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Engine`] if the template cannot be read for another reason than its content.
    pub fn own_frame(&self) -> Result<Frame, Error> {
        let template = match self.template() {
            Ok(Some(template)) => template,
            Ok(None) => return Ok(Frame::default()),
            Err(error) if error.kind() == ErrorKind::BadInput => {
                self.remark(RemarkKind::PlainFrame, format!("{error}; the plain frame is used instead"));
                return Ok(Frame::default());
            }
            Err(error) => return Err(error),
        };
        let stops = &self.config().eos_tokens;
        if template.turn_end().is_some_and(|end| stops.contains(&end)) {
            return Ok(Frame::from(template));
        }
        let text = format!(
            "{} has a chat template but does not stop where that ends an answer, so it is taken for a base model \
             and gets the plain frame; the frame `chat` uses the template",
            self.name()
        );
        self.remark(RemarkKind::PlainFrame, text);
        Ok(Frame::default())
    }

    /// The frame of the model's own chat template, which the caller asks for or a vector needs.
    fn chat_frame(&self, by_vector: bool) -> Result<Frame, Error> {
        let missing = || Error::NoChatTemplate { model: self.name().to_owned(), by_vector };
        Ok(Frame::from(self.template()?.ok_or_else(missing)?))
    }

    fn template(&self) -> Result<Option<Arc<ChatTemplate>>, Error> {
        match (self.path(), self.tokenizer()) {
            (Some(path), Ok(tokenizer)) => Ok(ChatTemplate::load(path, tokenizer)?.map(Arc::new)),
            _ => Ok(None),
        }
    }

    /// Tells the watcher something that a person should know.
    pub(crate) fn remark(&self, kind: RemarkKind, text: String) {
        self.watch().remark(&Remark::new(kind, text));
    }
}
