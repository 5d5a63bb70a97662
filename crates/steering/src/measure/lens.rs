//! The logit lens: the tokens of the vocabulary that a direction pushes up and down (nostalgebraist 2020; for
//! parameters and directions, Dar et al. 2022, 2209.02535).

use crate::error::Error;
use crate::math::{deviation, mean};
use crate::vector::PersonaVector;
use whipstaff_engine::{Model, Tokenizer};

/// The tokens that a direction pushes.
#[derive(Clone, Debug, PartialEq)]
pub struct Lens {
    /// The layer, a 0-based block.
    pub layer: usize,
    /// The tokens that rise most with a positive alpha, the highest first.
    pub up: Vec<TokenPush>,
    /// The tokens that fall most, the lowest first.
    pub down: Vec<TokenPush>,
    /// The standard deviation of all logits of the vocabulary. If the direction has nothing to do with the head, the
    /// outermost of V tokens lies about √(2 ln V) of these away.
    pub deviation: f64,
}

/// A token that a direction pushes.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenPush {
    /// The token's id.
    pub id: u32,
    /// The token's text, with spaces as spaces and parts of characters as U+FFFD.
    pub text: String,
    /// Whether it is one of the tokenizer's special tokens, such as those around turns.
    pub special: bool,
    /// The token's logit less the mean of the vocabulary.
    pub logit: f64,
}

/// The number of directions that are read at once: with a vocabulary of 256 000, 16 MB of logits.
const AT_ONCE: usize = 16;

/// Finds the `top` tokens that the direction of each layer pushes up and down.
///
/// Logits are those of [`Model::unembed`], less the mean over the vocabulary, which makes no difference to probabilities.
/// Ids that the tokenizer does not know (heads are padded) do not count. What the blocks above the layer make of the
/// direction is not seen.
///
/// # Errors
/// [`Error::Vector`] for a layer without direction, or a direction that the final norm makes nothing of.
pub fn lens(
    model: &Model,
    tokenizer: &Tokenizer,
    vector: &PersonaVector,
    layers: &[usize],
    top: usize,
) -> Result<Vec<Lens>, Error> {
    let known: Vec<u32> =
        (0..model.config().vocab_size as u32).filter(|id| tokenizer.has_token(*id)).collect();
    let mut read = Vec::new();
    for layers in layers.chunks(AT_ONCE) {
        let mut directions = Vec::new();
        for layer in layers {
            directions.extend(&vector.at_layer(*layer)?.direction);
        }
        let logits = model.unembed(&model.rows(&directions, model.config().d_model));
        let logits = model.host(&logits);
        for (i, layer) in layers.iter().enumerate() {
            let logits: Vec<f64> = known.iter().map(|id| f64::from(logits.row(i)[*id as usize])).collect();
            if !logits.iter().all(|it| it.is_finite()) {
                let reason = format!("says nothing at layer {layer}: the final norm makes zero of it");
                return Err(Error::Vector { vector: vector.name.clone(), reason });
            }
            read.push(outermost(*layer, tokenizer, &known, &logits, top));
        }
    }
    Ok(read)
}

/// Returns the outermost of `logits`, which has one for each of `ids`.
fn outermost(layer: usize, tokenizer: &Tokenizer, ids: &[u32], logits: &[f64], top: usize) -> Lens {
    let center = mean(logits);
    let mut order: Vec<usize> = (0..ids.len()).collect();
    // Of equal logits the lower id comes first.
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
    let token = |i: &usize| {
        let (text, special) = tokenizer.token(ids[*i]).unwrap_or_default();
        TokenPush { id: ids[*i], text, special, logit: logits[*i] - center }
    };
    Lens {
        layer,
        up: order.iter().take(top).map(token).collect(),
        down: order.iter().rev().take(top).map(token).collect(),
        deviation: deviation(logits),
    }
}
