//! Activations: a pass with a tap of one's own, rows by site and layer, projections of tokens on a vector.

use crate::error::Error;
use crate::model::LanguageModel;
use std::collections::BTreeMap;
use whipstaff_engine::{
    Batch, Error as EngineError, KeepRows, ROW_BUDGET, Session, Site, Steering, Tap, TextStream,
};
use whipstaff_steering::{PersonaVector, Projections, Text, rulers, watch};

/// The tokens of a text, and where each stands on a vector.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenProjections {
    /// The text that each token completes; empty for one that ends within a character.
    pub tokens: Vec<String>,
    /// The projections by layer, one for each token.
    pub layers: Vec<Projections>,
}

impl LanguageModel {
    /// Runs tokens under a steering; the tap sees the stream at every place that it reads, and may change it. A long
    /// text comes in several passes.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Engine`] for no tokens, too many, or unknown ones.
    ///
    /// ```
    /// use whipstaff::prelude::*;
    ///
    /// /// Remembers the largest element of the stream behind each block.
    /// #[derive(Default)]
    /// struct Largest(Vec<f32>);
    ///
    /// impl Tap for Largest {
    ///     fn reads(&self, _layer: usize, site: Site) -> bool {
    ///         site == Site::ResidPost
    ///     }
    ///
    ///     fn at(&mut self, hook: Hook<'_>, x: Rows) -> Rows {
    ///         let rows = hook.host(&x);
    ///         self.0.push((0..hook.rows.len()).flat_map(|i| rows.row(i)).fold(0.0, |max, x| max.max(x.abs())));
    ///         x
    ///     }
    /// }
    ///
    /// let model = whipstaff::embedded()?;
    /// let mut largest = Largest::default();
    /// model.run(&model.tokenizer()?.encode("Where is the printer?")?, &Steering::default(), &mut largest)?;
    /// assert_eq!(largest.0.len(), model.config().n_layers);
    /// # Ok::<(), whipstaff::Error>(())
    /// ```
    pub fn run(&self, ids: &[u32], steering: &Steering, tap: &mut impl Tap) -> Result<(), Error> {
        let max = self.config().max_positions;
        if ids.is_empty() {
            return Err(EngineError::Empty.into());
        }
        if ids.len() > max {
            return Err(EngineError::TooLong { tokens: ids.len(), max }.into());
        }
        let mut session = Session::steered(steering.clone()).with_prompt(ids.len());
        session.expect(ids.len());
        self.watch().stage("running", ids.len());
        for chunk in ids.chunks(ROW_BUDGET) {
            let mut batch = Batch::new();
            batch.push(&mut session, chunk);
            self.engine().forward(&mut batch, tap)?;
            self.watch().advance(chunk.len())?;
        }
        Ok(())
    }

    /// Returns the activations of tokens, `[n_tokens, d_model]` for each site and layer.
    ///
    /// # Errors
    ///
    /// Those of [`LanguageModel::run`].
    ///
    /// ```
    /// use whipstaff::prelude::*;
    ///
    /// let model = whipstaff::embedded()?;
    /// let ids = model.tokenizer()?.encode("Where is the printer?")?;
    /// let rows = model.activations(&ids, &[3], &[Site::ResidPost], &Steering::default())?;
    /// assert_eq!(rows[&(Site::ResidPost, 3)].len(), ids.len() * model.config().d_model);
    /// # Ok::<(), whipstaff::Error>(())
    /// ```
    pub fn activations(
        &self,
        ids: &[u32],
        layers: &[usize],
        sites: &[Site],
        steering: &Steering,
    ) -> Result<BTreeMap<(Site, usize), Vec<f32>>, Error> {
        let mut keep = KeepRows::new(layers, sites);
        self.run(ids, steering, &mut keep)?;
        let mut activations = BTreeMap::new();
        for site in sites {
            for layer in layers {
                let mut elements = Vec::with_capacity(ids.len() * self.config().d_model);
                for rows in keep.get(*site, *layer) {
                    elements.extend_from_slice(self.engine().host(rows).as_slice());
                }
                activations.insert((*site, *layer), elements);
            }
        }
        Ok(activations)
    }

    /// Returns where each token of a text stands on a vector, at the layers given.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Steering`] for a layer without a direction, and [`Error::Engine`] for a text that the model
    /// cannot run.
    ///
    /// ```
    /// use whipstaff::prelude::*;
    ///
    /// let model = whipstaff::embedded()?;
    /// let vector = model.extractor().recommend(0).receipt(0).run(&whipstaff::embedded::contrasts()?.first(8))?;
    /// let ids = model.tokenizer()?.encode("Down the hall, happy to show you!")?;
    /// let found = model.project(&vector, &Text::new(&ids, &[]), &[3], &Steering::default())?;
    /// assert_eq!(found.tokens.len(), found.layers[0].values.len());
    /// # Ok::<(), whipstaff::Error>(())
    /// ```
    pub fn project(
        &self,
        vector: &PersonaVector,
        text: &Text,
        layers: &[usize],
        steering: &Steering,
    ) -> Result<TokenProjections, Error> {
        let rulers = rulers(vector, layers, None)?;
        let layers = watch(self.engine(), text, vector, &rulers, steering, &**self.watch())?;
        Ok(TokenProjections { tokens: self.token_texts(&text.ids)?, layers })
    }

    /// Returns the text that each token completes; empty for one that ends within a character.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Tokenizer`] for a model without one.
    pub fn token_texts(&self, ids: &[u32]) -> Result<Vec<String>, Error> {
        let (tokenizer, mut stream) = (self.tokenizer()?, TextStream::new(&[]));
        let mut texts =
            ids.iter().map(|id| Ok(stream.push(*id, tokenizer)?)).collect::<Result<Vec<_>, Error>>()?;
        if let Some(last) = texts.last_mut() {
            *last += &stream.finish(tokenizer)?;
        }
        Ok(texts)
    }
}
