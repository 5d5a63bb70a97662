//! Numbers and layers as they stand in figures and on pages.

use whipstaff_steering::layers_text;

/// Returns a share as whole per cent: "94 %".
pub fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// Returns layers with their noun: "layer 3", "layers 1–4", "layers 1, 3".
pub(crate) fn layers_in_words(layers: &[usize]) -> String {
    let noun = if layers.len() == 1 { "layer" } else { "layers" };
    format!("{noun} {}", layers_text(layers).replace('-', "–").replace(',', ", "))
}

/// Returns a number with so many decimals; a dash for what is not a number.
pub(crate) fn fixed(value: f64, places: usize) -> String {
    if value.is_finite() { format!("{value:.places$}").replace('-', "−") } else { "–".to_owned() }
}

/// Returns the decimals that give the largest of `values` about three digits, so that a column lines up.
pub(crate) fn places(values: impl Iterator<Item = f64>) -> usize {
    match values.filter(|it| it.is_finite()).map(f64::abs).fold(0.0, f64::max) {
        largest if largest >= 100.0 => 1,
        largest if largest >= 10.0 => 2,
        _ => 3,
    }
}

/// Returns a share from 0 to 1 as the width of a bar, "80.00%"; any other number counts as the nearer end.
pub(crate) fn bar_width(share: f64, places: usize) -> String {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    format!("{:.places$}%", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_named_with_their_noun() {
        let check = |layers: &[usize], want: &str| assert_eq!(layers_in_words(layers), want);
        check(&[3], "layer 3");
        check(&[1, 2, 3, 4], "layers 1–4");
        check(&[1, 3], "layers 1, 3");
        check(&[1, 2, 5], "layers 1–2, 5");
    }

    #[test]
    fn numbers_are_short_and_never_absent() {
        assert_eq!([0.943, 1.0].map(percent), ["94 %", "100 %"]);
        assert_eq!([-0.5, f64::NAN].map(|x| fixed(x, 2)), ["−0.50", "–"]);
        assert_eq!([0.5, 2.0, f64::NAN].map(|x| bar_width(x, 1)), ["50.0%", "100.0%", "0.0%"]);
        assert_eq!([places([0.5].into_iter()), places([-20.0].into_iter())], [3, 2]);
    }
}
