//! A small linear text classifier, for counting which way answers lean.

use crate::contrasts::ContrastSet;
use crate::error::Error;
use crate::math::percentile;
use serde::Deserialize;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// A classifier with weights per word and pair of words; the label with the highest score wins.
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

    /// Returns the labels, in the order of [`Classifier::label`]'s indices.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Returns the index of the label of a text. Words are runs of letters and apostrophes, in lower case; each distinct
    /// word or pair of neighbours counts once.
    pub fn label(&self, text: &str) -> usize {
        let scores = self.scores(text);
        (0..scores.len()).fold(0, |best, i| if scores[i] > scores[best] { i } else { best })
    }

    fn scores(&self, text: &str) -> Vec<f64> {
        let mut scores = self.bias.clone();
        for weights in features(text).iter().filter_map(|feature| self.features.get(feature)) {
            scores.iter_mut().zip(weights).for_each(|(score, weight)| *score += weight);
        }
        scores
    }
}

/// A classifier that tells answers that lean to one side of contrasts from those that lean to the other, and both from
/// those that lean to none.
pub struct Leaning {
    classifier: Classifier,
    /// The log-odds from which on an answer is positive, and those, negated, from which on it is negative.
    thresholds: [f64; 2],
    accuracy: Option<f64>,
}

/// The number of parts of a set, each of which is held out once.
const FOLDS: usize = 5;

/// The share of unseen answers that is allowed to fall short of its side's threshold.
const SHORT: f64 = 0.05;

impl Leaning {
    /// Learns the words of both sides: naive Bayes over features that count once, with one added to every count (Wang
    /// and Manning 2012, "MNB", binarised).
    ///
    /// An answer belongs to a side if its log-odds are at least those that 95 % of the unseen answers of that side
    /// reach. An answer is unseen by a classifier that has learnt from neither answer of its contrast: each fifth of the
    /// contrasts is held out once.
    pub fn of_contrasts(set: &ContrastSet) -> Leaning {
        let pairs: Vec<[&str; 2]> =
            set.contrasts.iter().map(|it| [it.negative.as_str(), it.positive.as_str()]).collect();
        let classifier = naive_bayes(pairs.iter().copied());
        if pairs.len() < FOLDS {
            return Leaning { classifier, thresholds: [0.0; 2], accuracy: None };
        }
        let mut unseen: [Vec<f64>; 2] = Default::default();
        for fold in 0..FOLDS {
            let part = |held_out: bool| {
                let those = pairs.iter().enumerate().filter(move |(i, _)| (i % FOLDS == fold) == held_out);
                those.map(|(_, pair)| *pair)
            };
            let classifier = naive_bayes(part(false));
            for [negative, positive] in part(true) {
                unseen[0].push(log_odds(&classifier, positive));
                unseen[1].push(-log_odds(&classifier, negative));
            }
        }
        let right = unseen.iter().flatten().filter(|it| **it > 0.0).count();
        let accuracy = Some(right as f64 / (2 * pairs.len()) as f64);
        let thresholds = unseen.map(|mut side| {
            side.sort_unstable_by(f64::total_cmp);
            percentile(&side, SHORT).max(0.0)
        });
        Leaning { classifier, thresholds, accuracy }
    }

    /// Returns true for a positive answer, false for a negative one, and `None` for one that is neither.
    pub fn side(&self, text: &str) -> Option<bool> {
        match log_odds(&self.classifier, text) {
            odds if odds > 0.0 && odds >= self.thresholds[0] => Some(true),
            odds if odds < 0.0 && -odds >= self.thresholds[1] => Some(false),
            _ => None,
        }
    }

    /// Returns the share of unseen answers that lean the right way at all, or `None` for fewer than five contrasts.
    pub fn accuracy(&self) -> Option<f64> {
        self.accuracy
    }
}

/// Returns how much likelier a text is positive than negative, in nats.
fn log_odds(classifier: &Classifier, text: &str) -> f64 {
    let scores = classifier.scores(text);
    scores[1] - scores[0]
}

/// Learns to give label 0 to the first of each pair and label 1 to the second.
fn naive_bayes<'a>(pairs: impl Iterator<Item = [&'a str; 2]>) -> Classifier {
    let mut counts: HashMap<String, [f64; 2]> = HashMap::new();
    for (label, answer) in pairs.flat_map(|pair| pair.into_iter().enumerate()) {
        for feature in features(answer) {
            counts.entry(feature).or_insert([1.0; 2])[label] += 1.0;
        }
    }
    // Counts are whole, so their sums do not depend on the order of the map.
    let totals = [0, 1].map(|label| counts.values().map(|it| it[label]).sum::<f64>());
    let weights = |it: [f64; 2]| [0, 1].map(|label| (it[label] / totals[label]).ln()).to_vec();
    Classifier {
        labels: vec!["negative".into(), "positive".into()],
        bias: vec![0.0; 2],
        features: counts.into_iter().map(|(feature, it)| (feature, weights(it))).collect(),
    }
}

/// Returns the distinct words of a text and pairs of neighbouring words.
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
        let leaning = Leaning::of_contrasts(&set);
        let check = |text: &str, want: Option<bool>| assert_eq!(leaning.side(text), want, "{text}");
        check("gladly", Some(true));
        check("Never!", Some(false));
        check("never, my friend, yes, gladly gladly", Some(true));
        check("süß", Some(true));
        check("words that nobody said", None);
        check("", None);
    }

    #[test]
    fn what_it_has_seen_does_not_count() {
        let accuracy = |pairs: &[(&str, &str)]| Leaning::of_contrasts(&set(pairs)).accuracy();
        assert_eq!(accuracy(&[("yes", "no"); 10]), Some(1.0));
        // Words that occur in one contrast alone tell nothing of the others.
        let apart = [("a", "b"), ("c", "d"), ("e", "f"), ("g", "h"), ("i", "j")];
        assert_eq!(accuracy(&apart), Some(0.0));
        assert_eq!(accuracy(&apart[..4]), None);
    }

    #[test]
    fn an_answer_that_leans_less_than_answers_of_a_side_do_is_of_neither() {
        let leaning = Leaning::of_contrasts(&set(&[("yes gladly my friend", "no never you fool"); 10]));
        assert_eq!(leaning.side("yes gladly my friend"), Some(true));
        assert_eq!(leaning.side("my shelf"), None);
        assert_eq!(leaning.side("you there"), None);
    }
}
