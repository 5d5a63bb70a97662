//! Layers as people write them: `8`, `8,10`, `8-11`, `-1`, `50%`, `all`, `auto`.

use crate::error::Error;
use std::{fmt, str::FromStr};

/// A choice of layers, before the number of layers is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerSpec {
    /// The vector's own recommendation.
    Auto,
    /// Every layer.
    All,
    /// A list of layers and ranges.
    List(Vec<(LayerMark, LayerMark)>),
}

/// One end of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerMark {
    /// A 0-based index; negative indices count from the end.
    Index(i64),
    /// The share of the way through the blocks: 0 % is the first block, 100 % the last.
    Percent(u8),
}

impl FromStr for LayerSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<LayerSpec, Error> {
        match text {
            "auto" => Ok(LayerSpec::Auto),
            "all" => Ok(LayerSpec::All),
            _ => {
                let items: Option<Vec<_>> = text.split(',').map(parse_range).collect();
                items.map(LayerSpec::List).ok_or_else(|| {
                    Error::Setting(format!(
                        "`{text}` does not name layers: write 8 or 8,10 or 8-11 or -1 or 50% or 25%-75% or all or auto"
                    ))
                })
            }
        }
    }
}

impl fmt::Display for LayerSpec {
    /// Writes the choice as people write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = |mark: &LayerMark| match mark {
            LayerMark::Index(index) => index.to_string(),
            LayerMark::Percent(percent) => format!("{percent}%"),
        };
        match self {
            LayerSpec::Auto => f.write_str("auto"),
            LayerSpec::All => f.write_str("all"),
            LayerSpec::List(ranges) => {
                let range = |(from, to): &(LayerMark, LayerMark)| match from == to {
                    true => mark(from),
                    false => format!("{}-{}", mark(from), mark(to)),
                };
                f.write_str(&ranges.iter().map(range).collect::<Vec<_>>().join(","))
            }
        }
    }
}

impl LayerSpec {
    /// Returns the layers, ascending, for a model of `n_layers`; `auto` is what the vector recommends.
    ///
    /// # Errors
    /// [`Error::Setting`] for a layer that the model does not have.
    pub fn resolve(&self, n_layers: usize, auto: &[usize]) -> Result<Vec<usize>, Error> {
        let mut layers = match self {
            LayerSpec::Auto if auto.is_empty() => {
                return Err(Error::Setting(
                    "layers `auto` are what a vector recommends; there is none here".into(),
                ));
            }
            LayerSpec::Auto => auto.to_vec(),
            LayerSpec::All => (0..n_layers).collect(),
            LayerSpec::List(ranges) => {
                let mut layers = Vec::new();
                for (from, to) in ranges {
                    layers.extend(from.resolve(n_layers)?..=to.resolve(n_layers)?);
                }
                layers
            }
        };
        layers.sort_unstable();
        layers.dedup();
        if layers.is_empty() {
            return Err(Error::Setting("no layers are left: a range must ascend".into()));
        }
        Ok(layers)
    }
}

impl LayerMark {
    fn resolve(self, n_layers: usize) -> Result<usize, Error> {
        let index = match self {
            LayerMark::Index(index) if index < 0 => index + n_layers as i64,
            LayerMark::Index(index) => index,
            LayerMark::Percent(percent) => {
                ((n_layers - 1) as f64 * f64::from(percent) / 100.0).round() as i64
            }
        };
        usize::try_from(index).ok().filter(|index| *index < n_layers).ok_or_else(|| {
            let LayerMark::Index(index) = self else { unreachable!("percentages are within range") };
            Error::Setting(format!("layer {index} does not exist: the layers are 0-{}", n_layers - 1))
        })
    }
}

fn parse_range(text: &str) -> Option<(LayerMark, LayerMark)> {
    let text = text.trim();
    // The first character may be a minus sign, so a range's dash is looked for after it.
    let dash = text.char_indices().skip(1).find(|(_, c)| *c == '-').map(|(at, _)| at);
    match dash {
        Some(at) => Some((parse_mark(&text[..at])?, parse_mark(&text[at + 1..])?)),
        None => parse_mark(text).map(|mark| (mark, mark)),
    }
}

fn parse_mark(text: &str) -> Option<LayerMark> {
    match text.strip_suffix('%') {
        Some(percent) => percent.parse().ok().filter(|p| *p <= 100).map(LayerMark::Percent),
        None => text.parse().ok().map(LayerMark::Index),
    }
}

/// Returns layers as a person would write them, runs as ranges: `8-11,14`. The layers ascend.
pub fn layers_text(layers: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for layer in layers {
        match runs.last_mut() {
            Some((_, end)) if *end + 1 == *layer => *end = *layer,
            _ => runs.push((*layer, *layer)),
        }
    }
    let text = |(a, b): &(usize, usize)| if a == b { a.to_string() } else { format!("{a}-{b}") };
    runs.iter().map(text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: &[usize]) {
        let spec: LayerSpec = text.parse().unwrap();
        assert_eq!(spec.resolve(16, &[7]).unwrap(), want, "{text}");
    }

    #[test]
    fn layers_mean_what_people_write() {
        check("8", &[8]);
        check("10,8", &[8, 10]);
        check("8-11", &[8, 9, 10, 11]);
        check("0-1,1-2", &[0, 1, 2]);
        check("-1", &[15]);
        check("-3--1", &[13, 14, 15]);
        check("50%", &[8]);
        check("0%", &[0]);
        check("90%-100%", &[14, 15]);
        check("auto", &[7]);
        check("all", &(0..16).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_not_a_layer_is_refused() {
        for text in ["", "x", "1-", "101%", "1;2", "1..3", "1-2-3"] {
            assert!(text.parse::<LayerSpec>().is_err(), "{text}");
        }
        for text in ["16", "-17", "3-16", "5-3"] {
            assert!(text.parse::<LayerSpec>().unwrap().resolve(16, &[]).is_err(), "{text}");
        }
    }
}
