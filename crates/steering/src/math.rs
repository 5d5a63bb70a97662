//! Numbers only: linear algebra on rows, statistics with intervals, random numbers from a seed.

mod estimate;
mod linalg;
mod random;
mod stats;

pub use estimate::{Estimate, ShiftEstimate, estimate_shift};
pub(crate) use linalg::{
    Matrix, add_scaled, combination, dot, gram, inverse_root, leading_eigenvector, mean_row, minus, norm,
    solve, times, unit,
};
pub(crate) use random::Random;
pub(crate) use stats::{
    RESAMPLES, auc, correlation, cross_validated_auc, deviation, interval_of_mean, mean, percentile,
    prediction_interval,
};
