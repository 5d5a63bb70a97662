//! How a direction is fitted from the answers' rows. docs/REFERENCE.md has the formulas and their sources.

mod lda;
mod logistic;

use crate::math::{Random, combination, dot, gram, leading_eigenvector, mean_row, minus, unit};
use std::{fmt, str::FromStr};

pub(crate) use logistic::Logistic;

/// A way to fit a direction. Whatever the way, the positive answers project higher on it on average.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// The mean of the differences between positive and negative answer.
    #[default]
    Mean,
    /// The first principal component of the differences as they are: it contains their mean.
    Pca,
    /// The first principal component of the differences less their mean: how contrasts differ from each
    /// other, which need not be how positive differs from negative.
    PcaCentered,
    /// The weights of a logistic regression that tells positive from negative answers.
    Logistic,
    /// Fisher's discriminant, with covariances shrunk as Ledoit and Wolf say.
    Lda,
    /// A random direction: a control that knows nothing of the contrasts.
    Random,
    /// The mean of the differences after each contrast's answers were swapped or not by a coin: a control
    /// that has seen the texts but not which is which.
    Shuffled,
}

impl Method {
    /// All of them.
    pub const ALL: [Method; 7] = [
        Method::Mean,
        Method::Pca,
        Method::PcaCentered,
        Method::Logistic,
        Method::Lda,
        Method::Random,
        Method::Shuffled,
    ];

    /// The name in flags and files.
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

    /// Does it take no notice of which answer is the positive one?
    pub fn is_control(self) -> bool {
        matches!(self, Method::Random | Method::Shuffled)
    }

    /// The direction of norm 1 for one row per contrast and side; `None` if these do not determine one.
    /// `random` is used by the controls alone.
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

/// Turned round if the negatives project higher on it.
fn towards_positive(direction: Vec<f64>, positives: &[Vec<f64>], negatives: &[Vec<f64>]) -> Vec<f64> {
    let along = |rows: &[Vec<f64>]| dot(&mean_row(rows), &direction);
    if along(positives) < along(negatives) { direction.iter().map(|x| -x).collect() } else { direction }
}

/// The first right singular vector: `argmax_v Σ (row · v)²`, by way of the `n × n` products of rows.
fn principal(rows: &[Vec<f64>]) -> Option<Vec<f64>> {
    Some(combination(&leading_eigenvector(&gram(rows))?, rows))
}

fn centred(rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mean = mean_row(rows);
    rows.iter().map(|row| minus(row, &mean)).collect()
}

pub(crate) fn random_direction(d_model: usize, mut random: Random) -> Vec<f64> {
    (0..d_model).map(|_| random.normal()).collect()
}

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
