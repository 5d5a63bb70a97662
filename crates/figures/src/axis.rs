//! What the figures of a study share: an axis of nats with round ticks, and colours for things that have names.

use crate::canvas::Ink;

/// Colours that stay apart for any eye and in both themes. Names stand beside them: none has to be known by its
/// colour alone.
const SERIES: [Ink; 6] = [
    Ink { light: 0x2574b8, dark: 0x4ca4de },
    Ink { light: 0xc9621c, dark: 0xee8a45 },
    Ink { light: 0x2a8158, dark: 0x58c08c },
    Ink { light: 0x8a3f9e, dark: 0xc890de },
    Ink { light: 0xa98410, dark: 0xe0c04c },
    Ink { light: 0x55606f, dark: 0xa3afbe },
];

/// The colour of the i-th name; the seventh looks like the first again.
pub(crate) fn series(i: usize) -> Ink {
    SERIES[i % SERIES.len()]
}

/// A scale from one round number to another, zero within it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Axis {
    /// Steps from zero down to the low end, and up to the high one.
    steps: [i64; 2],
    /// The first digit of a step, and its power of ten.
    digit: i64,
    power: i32,
}

/// Ticks at most, beside that at zero.
const MOST_STEPS: f64 = 6.0;

impl Axis {
    /// The shortest scale that holds all finite values and zero.
    pub(crate) fn over(values: impl Iterator<Item = f64>) -> Axis {
        let (low, high) = values
            .filter(|x| x.is_finite())
            .fold((0.0_f64, 0.0_f64), |(low, high), x| (low.min(x), high.max(x)));
        let span = if high > low { high - low } else { 1.0 };
        let high = if high > low { high } else { 1.0 };
        let rough = span / MOST_STEPS;
        let mut power = rough.log10().floor() as i32;
        let digit = [1, 2, 5].into_iter().find(|digit| *digit as f64 * ten(power) >= rough * (1.0 - 1e-9));
        let digit = digit.unwrap_or_else(|| {
            power += 1;
            1
        });
        let step = digit as f64 * ten(power);
        // A value that is stored a hair beyond a tick lies on it.
        let steps = [(low / step + 1e-6).floor(), (high / step - 1e-6).ceil()];
        Axis { steps: steps.map(|it| it as i64), digit, power }
    }

    /// Where a value lies between the ends: 0 is the low one, 1 the high one.
    pub(crate) fn share(self, value: f64) -> f64 {
        let [low, high] = self.steps.map(|it| it as f64);
        let at = value / (self.digit as f64 * ten(self.power));
        (at.clamp(low, high) - low) / (high - low)
    }

    /// Values and texts of the ticks, ascending.
    pub(crate) fn ticks(self) -> Vec<(f64, String)> {
        let decimals = (-self.power).max(0) as usize;
        let tick = |i: i64| {
            let value = (i * self.digit) as f64 * ten(self.power);
            (value, signed(value, decimals))
        };
        (self.steps[0]..=self.steps[1]).map(tick).collect()
    }
}

fn ten(power: i32) -> f64 {
    10.0_f64.powi(power)
}

/// A number with its sign, none at zero.
pub(crate) fn signed(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let is_zero = text.chars().all(|c| c == '0' || c == '.');
    match value {
        _ if !value.is_finite() => "no data".into(),
        _ if is_zero => text,
        value if value < 0.0 => format!("−{text}"),
        _ => format!("+{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_on_round_numbers_and_holds_zero() {
        let check = |values: &[f64], want: &[&str]| {
            let axis = Axis::over(values.iter().copied());
            assert_eq!(axis.ticks().into_iter().map(|it| it.1).collect::<Vec<_>>(), want, "{values:?}");
            assert!(values.iter().filter(|x| x.is_finite()).all(|x| (0.0..=1.0).contains(&axis.share(*x))));
        };
        check(&[0.3], &["0.00", "+0.05", "+0.10", "+0.15", "+0.20", "+0.25", "+0.30"]);
        check(&[-0.1, 0.9], &["−0.2", "0.0", "+0.2", "+0.4", "+0.6", "+0.8", "+1.0"]);
        check(&[-3.0, f64::NAN], &["−3.0", "−2.5", "−2.0", "−1.5", "−1.0", "−0.5", "0.0"]);
        check(&[40.0], &["0", "+10", "+20", "+30", "+40"]);
        check(&[], &["0.0", "+0.2", "+0.4", "+0.6", "+0.8", "+1.0"]);
    }

    #[test]
    fn numbers_show_their_signs() {
        let check = |x: f64, want: &str| assert_eq!(signed(x, 2), want);
        check(0.123, "+0.12");
        check(-0.123, "−0.12");
        check(-0.001, "0.00");
        check(f64::INFINITY, "no data");
    }
}
