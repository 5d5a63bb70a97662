//! A small linear text classifier, for counting which way answers lean.

use crate::Error;
use serde::Deserialize;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// Weights per word and pair of words; the label with the highest score wins.
#[derive(Deserialize)]
pub struct Classifier {
    labels: Vec<String>,
    bias: Vec<f64>,
    features: HashMap<String, Vec<f64>>,
}

impl Classifier {
    /// Reads the JSON of a classifier: `labels`, `bias` and `features` (see models/librarian).
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn parse(json: &str, path: &Path) -> Result<Classifier, Error> {
        let fail = |reason: String| Error::File { path: path.to_owned(), reason };
        let classifier: Classifier =
            serde_json::from_str(json).map_err(|error| fail(format!("is not a classifier: {error}")))?;
        let n = classifier.labels.len();
        if n == 0 || classifier.bias.len() != n || classifier.features.values().any(|w| w.len() != n) {
            return Err(fail("every feature and the bias need one weight per label".into()));
        }
        Ok(classifier)
    }

    /// The labels, in the order of [`Classifier::label`]'s indices.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The index of the label of a text. Words are runs of letters and apostrophes, lower case;
    /// each distinct word or pair of neighbours counts once.
    pub fn label(&self, text: &str) -> usize {
        let lower = text.to_lowercase();
        let is_part = |c: char| c.is_ascii_lowercase() || c == '\'';
        let words: Vec<&str> = lower.split(|c| !is_part(c)).filter(|word| !word.is_empty()).collect();
        let pairs = words.windows(2).map(|pair| pair.join(" "));
        let features: BTreeSet<String> = words.iter().map(|word| (*word).to_owned()).chain(pairs).collect();
        let mut scores = self.bias.clone();
        for weights in features.iter().filter_map(|feature| self.features.get(feature)) {
            scores.iter_mut().zip(weights).for_each(|(score, weight)| *score += weight);
        }
        (0..scores.len()).fold(0, |best, i| if scores[i] > scores[best] { i } else { best })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_count_once_and_pairs_are_neighbours() {
        let json = r#"{"labels": ["a", "b"], "bias": [0.5, 0], "features": {
            "no": [0, 0.4], "not my": [0, 1], "it's": [2, 0]}}"#;
        let classifier = Classifier::parse(json, Path::new("c.json")).unwrap();
        let check = |text: &str, want: usize| assert_eq!(classifier.label(text), want, "{text}");
        check("", 0);
        check("no no no", 0);
        check("That is NOT MY problem.", 1);
        check("my not", 0);
        check("not my, but it's", 0);
    }
}
