//! From contrasts to a vector with its dose and its receipt.

use crate::error::Error;
use crate::frames::FrameChoice;
use crate::model::LanguageModel;
use whipstaff_engine::Continuation;
use whipstaff_steering::{
    ContrastSet, Controls, ExtractOptions, Extraction, Frame, LayerSpec, Method, PersonaVector, TokenRule,
};

/// Held-out contrasts that a dose is chosen on.
const RECOMMEND: usize = 12;

impl LanguageModel {
    /// Makes the vector of a contrast set: fitted on all of its contrasts, with a recommended dose and a receipt that
    /// are measured on every fourth of them with a vector that was fitted on the rest. [`LanguageModel::extractor`] has
    /// the settings.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Steering`] for contrasts that the model cannot run or that give no direction.
    ///
    /// ```no_run
    /// # fn main() -> whipstaff::Result<()> {
    /// use whipstaff::prelude::*;
    ///
    /// let model = whipstaff::embedded()?;
    /// let vector = model.extract(&ContrastSet::read("contrasts/librarian.jsonl")?)?;
    /// vector.write("librarian.safetensors".as_ref())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn extract(&self, contrasts: &ContrastSet) -> Result<PersonaVector, Error> {
        self.extractor().run(contrasts)
    }

    /// Returns the settings of an extraction, to be changed and run.
    ///
    /// ```
    /// use whipstaff::prelude::*;
    ///
    /// let model = whipstaff::embedded()?;
    /// let contrasts = whipstaff::embedded::contrasts()?.first(8);
    /// let vector = model.extractor().method(Method::Pca).layers("2-4")?.recommend(0).receipt(0).run(&contrasts)?;
    /// assert_eq!(vector.layers.len(), 3);
    /// # Ok::<(), whipstaff::Error>(())
    /// ```
    pub fn extractor(&self) -> Extractor<'_> {
        Extractor {
            model: self,
            heldout: None,
            method: Method::Mean,
            tokens: TokenRule::Answer,
            layers: LayerSpec::All,
            recommend: RECOMMEND,
            controls: Controls::default(),
            has_neutral: false,
            frame: Framing::Choice(FrameChoice::default()),
        }
    }
}

/// An extraction that has not run yet.
#[derive(Clone)]
pub struct Extractor<'m> {
    model: &'m LanguageModel,
    heldout: Option<&'m ContrastSet>,
    method: Method,
    tokens: TokenRule,
    layers: LayerSpec,
    recommend: usize,
    /// What the receipt compares with; no receipt is measured for 0 contrasts.
    controls: Controls,
    /// True if the caller has said which neutral texts to use.
    has_neutral: bool,
    frame: Framing,
}

/// The frame of an extraction: to be found, or found already.
#[derive(Clone)]
enum Framing {
    Choice(FrameChoice),
    Found(Frame),
}

impl<'m> Extractor<'m> {
    /// Measures on other contrasts than every fourth of those that are fitted.
    pub fn heldout(mut self, heldout: Option<&'m ContrastSet>) -> Extractor<'m> {
        self.heldout = heldout;
        self
    }

    /// Chooses how the direction is fitted; the default is the mean difference.
    pub fn method(mut self, method: Method) -> Extractor<'m> {
        self.method = method;
        self
    }

    /// Chooses which tokens are averaged; the default is those of the answer.
    pub fn tokens(mut self, tokens: TokenRule) -> Extractor<'m> {
        self.tokens = tokens;
        self
    }

    /// Chooses the layers to extract at: `8`, `8,10`, `8-11`, `-1`, `50%` or `all`, which is the default.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Steering`] for a text that names no layers.
    pub fn layers(self, layers: &str) -> Result<Extractor<'m>, Error> {
        Ok(self.layer_spec(layers.parse()?))
    }

    /// Chooses the layers to extract at, as they were parsed before.
    pub fn layer_spec(mut self, layers: LayerSpec) -> Extractor<'m> {
        self.layers = layers;
        self
    }

    /// Limits the held-out contrasts that the dose is chosen on; 0 chooses none. The default is 12.
    pub fn recommend(mut self, n: usize) -> Extractor<'m> {
        self.recommend = n;
        self
    }

    /// Limits the held-out contrasts that the receipt is measured on; 0 measures none. The default is 24.
    pub fn receipt(mut self, n: usize) -> Extractor<'m> {
        self.controls.max_contrasts = n;
        self
    }

    /// Says the persona and its opposite in words: the receipt compares with a system message that asks for it.
    pub fn persona(mut self, words: Option<[String; 2]>) -> Extractor<'m> {
        self.controls.persona = words;
        self
    }

    /// Measures damage on these texts rather than on those of [`LanguageModel::neutral_texts`].
    pub fn neutral(mut self, texts: Vec<Continuation>) -> Extractor<'m> {
        (self.controls.neutral, self.has_neutral) = (texts, true);
        self
    }

    /// Sets the seed of the controls.
    pub fn seed(mut self, seed: u64) -> Extractor<'m> {
        self.controls.seed = seed;
        self
    }

    /// Chooses the frame around prompts; the default is the model's own.
    pub fn frame(mut self, frame: FrameChoice) -> Extractor<'m> {
        self.frame = Framing::Choice(frame);
        self
    }

    /// Puts prompts in a frame that was found before.
    pub fn in_frame(mut self, frame: Frame) -> Extractor<'m> {
        self.frame = Framing::Found(frame);
        self
    }

    /// Returns what is fitted, in which frame, for callers that fit it themselves.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Steering`] for a layer that the model does not have, and those of [`LanguageModel::frame`].
    pub fn options(&self) -> Result<ExtractOptions, Error> {
        let n_layers = self.model.config().n_layers;
        let all: Vec<usize> = (0..n_layers).collect();
        Ok(ExtractOptions {
            model: self.model.id(),
            frame: match &self.frame {
                Framing::Choice(choice) => self.model.frame(choice, None)?,
                Framing::Found(frame) => frame.clone(),
            },
            tokens: self.tokens,
            layers: self.layers.resolve(n_layers, &all)?,
            method: self.method,
            seed: self.controls.seed,
        })
    }

    /// Makes the vector of a contrast set.
    ///
    /// # Errors
    ///
    /// Those of [`LanguageModel::extract`] and of [`Extractor::options`].
    pub fn run(&self, contrasts: &ContrastSet) -> Result<PersonaVector, Error> {
        self.run_with(self.options()?, contrasts)
    }

    /// Makes the vector of a contrast set with options that were found before.
    ///
    /// # Errors
    ///
    /// Those of [`LanguageModel::extract`].
    pub fn run_with(&self, options: ExtractOptions, contrasts: &ContrastSet) -> Result<PersonaVector, Error> {
        let controls = match self.controls.max_contrasts {
            0 => None,
            _ if self.has_neutral => Some(self.controls.clone()),
            _ => Some(Controls { neutral: self.model.neutral_texts(None)?, ..self.controls.clone() }),
        };
        let extraction = Extraction { options, recommend: self.recommend, controls };
        let (model, tokenizer) = (self.model.engine(), self.model.tokenizer()?);
        Ok(extraction.run(model, tokenizer, contrasts, self.heldout, &**self.model.watch())?)
    }
}
