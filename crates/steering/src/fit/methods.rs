//! The methods that fit a direction to the answers' rows. docs/REFERENCE.md has the formulas and their sources.

mod lda;
mod logistic;

use crate::math::{Random, combination, dot, gram, leading_eigenvector, mean_row, minus, unit};
use std::{fmt, str::FromStr};

pub(crate) use logistic::Logistic;

/// A method to fit a direction. Whatever the method, the positive answers project higher on it on average.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// The mean of the differences between positive and negative answer.
    #[default]
    Mean,
    /// The first principal component of the differences as they are, which contains their mean.
    Pca,
    /// The first principal component of the differences less their mean: it says how contrasts differ from each other,
    /// which need not be how positive differs from negative.
    PcaCentered,
    /// The weights of a logistic regression that tells positive from negative answers.
    Logistic,
    /// Fisher's discriminant, with covariances shrunk as Ledoit and Wolf say.
    Lda,
    /// A random direction: a control that knows nothing of the contrasts.
    Random,
    /// The mean of the differences after the answers of half of the contrasts were swapped at random: a control that
    /// has seen the texts, but not which is which.
    Shuffled,
}

impl Method {
    /// All methods.
    pub const ALL: [Method; 7] = [
        Method::Mean,
        Method::Pca,
        Method::PcaCentered,
        Method::Logistic,
        Method::Lda,
        Method::Random,
        Method::Shuffled,
    ];

    /// Returns the name in flags and files.
    pub fn name(self) -> &'static str {
        match self {
            Method::Mean => "mean",
            Method::Pca => "pca",
            Method::PcaCentered => "pca-centered",
            Method::Logistic => "logistic",
            Method::Lda => "lda",
            Method::Random => "random",
            Method::Shuffled => "shuffled",
        }
    }

    /// Returns true if the method takes no notice of which answer is the positive one.
    pub fn is_control(self) -> bool {
        matches!(self, Method::Random | Method::Shuffled)
    }

    /// Fits a direction of norm 1 to one row per contrast and side. Returns `None` if the rows determine none. Only the
    /// controls use `random`.
    pub(crate) fn fit(
        self,
        positives: &[Vec<f64>],
        negatives: &[Vec<f64>],
        random: Random,
    ) -> Option<Vec<f64>> {
        let differences = || -> Vec<Vec<f64>> {
            positives.iter().zip(negatives).map(|(positive, negative)| minus(positive, negative)).collect()
        };
        let direction = match self {
            Method::Mean => mean_row(&differences()),
            Method::Pca => principal(&differences())?,
            Method::PcaCentered => principal(&centred(&differences()))?,
            Method::Logistic => Logistic::default().fit(positives, negatives)?,
            Method::Lda => lda::fit(positives, negatives)?,
            Method::Random => random_direction(positives[0].len(), random),
            Method::Shuffled => shuffled(&differences(), random),
        };
        unit(towards_positive(direction, positives, negatives))
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Method {
    type Err = String;
    fn from_str(name: &str) -> Result<Method, String> {
        Method::ALL.into_iter().find(|it| it.name() == name).ok_or_else(|| {
            format!("`{name}` is not a method (methods: {})", Method::ALL.map(Method::name).join(", "))
        })
    }
}

/// Returns the direction, turned round if the negatives project higher on it.
fn towards_positive(direction: Vec<f64>, positives: &[Vec<f64>], negatives: &[Vec<f64>]) -> Vec<f64> {
    let along = |rows: &[Vec<f64>]| dot(&mean_row(rows), &direction);
    if along(positives) < along(negatives) { direction.iter().map(|x| -x).collect() } else { direction }
}

/// Returns the first right singular vector, `argmax_v Σ (row · v)²`, by way of the `n × n` products of rows.
fn principal(rows: &[Vec<f64>]) -> Option<Vec<f64>> {
    Some(combination(&leading_eigenvector(&gram(rows))?, rows))
}

/// Returns the rows less their mean.
fn centred(rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mean = mean_row(rows);
    rows.iter().map(|row| minus(row, &mean)).collect()
}

/// Draws a direction whose elements are normal numbers.
pub(crate) fn random_direction(d_model: usize, mut random: Random) -> Vec<f64> {
    (0..d_model).map(|_| random.normal()).collect()
}

/// Returns the sum of the differences, half of them with the other sign.
fn shuffled(differences: &[Vec<f64>], mut random: Random) -> Vec<f64> {
    // Half of the contrasts, or nearly, so that nothing of their mean is left by the luck of the draw.
    let mut signs: Vec<f64> = (0..differences.len()).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
    for i in (1..signs.len()).rev() {
        signs.swap(i, random.below(i + 1));
    }
    if random.coin() {
        signs.iter_mut().for_each(|sign| *sign = -*sign);
    }
    combination(&signs, differences)
}

#[cfg(test)]
mod tests;
