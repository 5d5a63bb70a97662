//! A small linear text classifier, for counting which way answers lean.

use crate::{ContrastSet, Error};
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
        let mut scores = self.bias.clone();
        for weights in features(text).iter().filter_map(|feature| self.features.get(feature)) {
            scores.iter_mut().zip(weights).for_each(|(score, weight)| *score += weight);
        }
        (0..scores.len()).fold(0, |best, i| if scores[i] > scores[best] { i } else { best })
    }

    /// A classifier of the positive (label 1) and the negative answers (label 0) of contrasts: naive Bayes over
    /// features that count once, with one added to every count (Wang and Manning 2012, "MNB", binarised).
    pub fn of_contrasts(set: &ContrastSet) -> Classifier {
        let contrasts = set.contrasts.iter();
        Classifier::of_answers(contrasts.map(|it| [it.negative.as_str(), it.positive.as_str()]))
    }

    /// The share of answers that a classifier tells right that has not seen them, nor the other answer to the same
    /// prompt: every fifth contrast is held out by turns. `None` for fewer than five contrasts.
    pub fn accuracy_on_unseen(set: &ContrastSet) -> Option<f64> {
        const FOLDS: usize = 5;
        let pairs: Vec<[&str; 2]> =
            set.contrasts.iter().map(|it| [it.negative.as_str(), it.positive.as_str()]).collect();
        if pairs.len() < FOLDS {
            return None;
        }
        let right_of = |fold: usize| {
            let part = |held_out: bool| {
                let those = pairs.iter().enumerate().filter(move |(i, _)| (i % FOLDS == fold) == held_out);
                those.map(|(_, pair)| *pair)
            };
            let classifier = Classifier::of_answers(part(false));
            let is_right =
                |pair: [&str; 2]| (0..2).filter(|label| classifier.label(pair[*label]) == *label).count();
            part(true).map(is_right).sum::<usize>()
        };
        Some((0..FOLDS).map(right_of).sum::<usize>() as f64 / (2 * pairs.len()) as f64)
    }

    fn of_answers<'a>(pairs: impl Iterator<Item = [&'a str; 2]>) -> Classifier {
        let mut counts: HashMap<String, [f64; 2]> = HashMap::new();
        for (label, answer) in pairs.flat_map(|pair| pair.into_iter().enumerate()) {
            for feature in features(answer) {
                counts.entry(feature).or_insert([1.0; 2])[label] += 1.0;
            }
        }
        let totals = [0, 1].map(|label| counts.values().map(|it| it[label]).sum::<f64>());
        let weights = |it: [f64; 2]| [0, 1].map(|label| (it[label] / totals[label]).ln()).to_vec();
        Classifier {
            labels: vec!["negative".into(), "positive".into()],
            bias: vec![0.0; 2],
            features: counts.into_iter().map(|(feature, it)| (feature, weights(it))).collect(),
        }
    }
}

/// The distinct words of a text and pairs of neighbours.
fn features(text: &str) -> BTreeSet<String> {
    let lower = text.to_lowercase();
    let is_part = |c: char| c.is_alphabetic() || c == '\'';
    let words: Vec<&str> = lower.split(|c| !is_part(c)).filter(|word| !word.is_empty()).collect();
    let pairs = words.windows(2).map(|pair| pair.join(" "));
    words.iter().map(|word| (*word).to_owned()).chain(pairs).collect()
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

    fn set(pairs: &[(&str, &str)]) -> ContrastSet {
        let line = |(positive, negative): &(&str, &str)| {
            serde_json::json!({"prompt": "?", "positive": positive, "negative": negative}).to_string()
        };
        let text = pairs.iter().map(line).collect::<Vec<_>>().join("\n");
        ContrastSet::parse(&text, Path::new("c.jsonl")).unwrap()
    }

    #[test]
    fn it_learns_the_words_of_both_sides() {
        let set = set(&[
            ("Yes, gladly", "No, never"),
            ("Gladly, my friend", "Go away"),
            ("Süß, gern", "Nö, never"),
        ]);
        let classifier = Classifier::of_contrasts(&set);
        let check = |text: &str, want: usize| assert_eq!(classifier.label(text), want, "{text}");
        check("gladly", 1);
        check("Never!", 0);
        check("never gladly gladly", 0);
        check("my friend, never", 1);
        check("süß", 1);
        check("words that nobody said", 0);
        assert_eq!(classifier.labels(), ["negative", "positive"]);
    }

    #[test]
    fn what_it_has_seen_does_not_count() {
        let same: Vec<(&str, &str)> = vec![("yes", "no"); 10];
        assert_eq!(Classifier::accuracy_on_unseen(&set(&same)), Some(1.0));
        // Words that occur in one contrast alone tell nothing of the others.
        let apart = [("a", "b"), ("c", "d"), ("e", "f"), ("g", "h"), ("i", "j")];
        assert_eq!(Classifier::accuracy_on_unseen(&set(&apart)), Some(0.5));
        assert_eq!(Classifier::accuracy_on_unseen(&set(&apart[..4])), None);
    }
}
