//! What is added to the stream, where: a plain value that travels with a request.

use crate::{Config, Error, Hook, Rows, Site, Tap};
use std::sync::Arc;

/// Vectors to add to the residual stream of one sequence, at every position. Empty steering is
/// the plain model, bit for bit. Cloning shares.
#[derive(Clone, Debug, Default)]
pub struct Steering {
    edits: Arc<Vec<Edit>>,
}

/// `h ← h + add` at one place: the direction with its unit and alpha already multiplied in.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// The 0-based block.
    pub layer: usize,
    /// The place in the block.
    pub site: Site,
    /// `[d_model]`.
    pub add: Vec<f32>,
}

impl Steering {
    /// Gathers edits. Edits at one place are summed in the order given; one that adds nothing but
    /// zeros is dropped, so that alpha 0 runs the very path of the plain model.
    pub fn new(edits: impl IntoIterator<Item = Edit>) -> Steering {
        let mut gathered: Vec<Edit> = Vec::new();
        for edit in edits {
            match gathered.iter_mut().find(|e| e.layer == edit.layer && e.site == edit.site) {
                Some(same) => same.add.iter_mut().zip(&edit.add).for_each(|(sum, x)| *sum += x),
                None => gathered.push(edit),
            }
        }
        gathered.retain(|edit| edit.add.iter().any(|x| *x != 0.0));
        gathered.sort_by_key(|edit| (edit.layer, edit.site));
        Steering { edits: Arc::new(gathered) }
    }

    /// Does it leave the model as it is?
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// The first block that it acts in.
    pub fn first_layer(&self) -> Option<usize> {
        self.first_place().map(|(layer, _)| layer)
    }

    /// The first place that it acts at.
    pub fn first_place(&self) -> Option<(usize, Site)> {
        self.edits.first().map(|edit| (edit.layer, edit.site))
    }

    /// Checks every edit against the shape of a model.
    ///
    /// # Errors
    /// [`Error::SteeringMismatch`] if a layer or a width does not exist there or a number is not
    /// finite.
    pub fn check(&self, config: &Config) -> Result<(), Error> {
        for Edit { layer, add, .. } in self.edits.iter() {
            let wrong = if *layer >= config.n_layers {
                format!("steering acts at layer {layer}, the model has layers 0-{}", config.n_layers - 1)
            } else if add.len() != config.d_model {
                format!(
                    "the steering vector has {} elements, the model's d_model is {}",
                    add.len(),
                    config.d_model
                )
            } else if !add.iter().all(|x| x.is_finite()) {
                format!("the steering vector for layer {layer} has elements that are not finite")
            } else {
                continue;
            };
            return Err(Error::SteeringMismatch(wrong));
        }
        Ok(())
    }

    fn at(&self, layer: usize, site: Site) -> Option<&[f32]> {
        self.edits.iter().find(|e| e.layer == layer && e.site == site).map(|e| &e.add[..])
    }
}

/// The tap that applies each session's steering to its own rows, then lets another tap look.
pub(crate) struct Steer<T>(pub(crate) T);

impl<T: Tap> Tap for Steer<T> {
    #[inline]
    fn at(&mut self, hook: Hook<'_>, mut x: Rows) -> Rows {
        for (steering, rows) in hook.rows.steered_spans() {
            if let Some(add) = steering.at(hook.layer, hook.site) {
                for row in rows {
                    x.row_mut(row).iter_mut().zip(add).for_each(|(x, add)| *x += add);
                }
            }
        }
        self.0.at(hook, x)
    }
}
