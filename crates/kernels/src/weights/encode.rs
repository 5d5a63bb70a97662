//! Encoding of floats as the quantised blocks of GGUF files, for those who write such files.
//!
//! Reading a block is defined to the bit (`blocks.rs`), but writing one is a choice. Here codes, scales and
//! minimums are chosen for the least squared error of the weights.

use super::dtype::Dtype;
use half::f16;

/// The types that [`quantise_row`] writes.
pub const WRITABLE: [Dtype; 2] = [Dtype::Q8_0, Dtype::Q4K];

/// Appends a row of weights to `out` as blocks of `dtype`.
///
/// # Panics
/// Panics if `dtype` is not [`WRITABLE`], if the row is not whole blocks, or if a weight is not finite.
pub fn quantise_row(dtype: Dtype, row: &[f32], out: &mut Vec<u8>) {
    assert!(row.len().is_multiple_of(dtype.block_len()), "a row of {} is whole blocks", dtype.name());
    assert!(row.iter().all(|x| x.is_finite()), "weights are finite");
    match dtype {
        Dtype::Q8_0 => row.as_chunks().0.iter().for_each(|block| q8_0(block, out)),
        Dtype::Q4K => row.as_chunks().0.iter().for_each(|block| q4_k(block, out)),
        other => panic!("blocks of {} are read but not written", other.name()),
    }
}

/// Encodes a block of Q8_0: the largest magnitude becomes 127, and codes are rounded half away from zero.
fn q8_0(x: &[f32; 32], out: &mut Vec<u8>) {
    let largest = x.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    let d = largest / 127.0;
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    out.extend(f16::from_f32(d).to_le_bytes());
    out.extend(x.iter().map(|x| (x * inverse).round() as i8 as u8));
}

/// Encodes a block of Q4_K: eight runs of 32, each with a scale and a minimum of six bits in units of the
/// block's two factors.
fn q4_k(x: &[f32; 256], out: &mut Vec<u8>) {
    let runs: &[[f32; 32]; 8] = x.as_chunks().0.try_into().expect("eight runs");
    let fits = runs.map(|run| fit(&run));
    let unit = |of: fn(&Fit) -> f32| f16::from_f32(fits.iter().map(of).fold(0.0, f32::max) / 63.0);
    let (d, dmin) = (unit(|fit| fit.scale), unit(|fit| fit.min));
    let in_units = |x: f32, unit: f16| match unit.to_f32() {
        0.0 => 0,
        unit => (x / unit).round().clamp(0.0, 63.0) as u8,
    };
    let scales = fits.map(|fit| in_units(fit.scale, d));
    let mins = fits.map(|fit| in_units(fit.min, dmin));

    out.extend(d.to_le_bytes());
    out.extend(dmin.to_le_bytes());
    let mut packed = [0u8; 12];
    for i in 0..4 {
        packed[i] = scales[i] | scales[i + 4] >> 4 << 6;
        packed[i + 4] = mins[i] | mins[i + 4] >> 4 << 6;
        packed[i + 8] = scales[i + 4] & 15 | mins[i + 4] << 4;
    }
    out.extend(packed);
    // The codes follow from the scales and minimums as they were rounded.
    let code = |run: usize, i: usize| {
        let (scale, min) = (d.to_f32() * f32::from(scales[run]), dmin.to_f32() * f32::from(mins[run]));
        if scale == 0.0 { 0 } else { ((runs[run][i] + min) / scale).round().clamp(0.0, 15.0) as u8 }
    };
    for pair in 0..4 {
        out.extend((0..32).map(|i| code(2 * pair, i) | code(2 * pair + 1, i) << 4));
    }
}

/// A scale and a minimum, neither negative: `x ≈ scale · q − min`, `q` in 0…15.
#[derive(Clone, Copy)]
struct Fit {
    scale: f32,
    min: f32,
}

/// Returns the best fit to the weights. The function tries grids a little finer and a little coarser than the
/// one that just spans the weights, and takes scale and minimum by least squares for the codes of each grid.
fn fit(x: &[f32; 32]) -> Fit {
    let low = x.iter().fold(0.0f32, |low, x| low.min(*x));
    let high = x.iter().fold(low, |high, x| high.max(*x));
    if high == low {
        return Fit { scale: 0.0, min: -low };
    }
    let mut best = (f64::INFINITY, Fit { scale: (high - low) / 15.0, min: -low });
    for step in -10..=10 {
        let scale = (high - low) / (15.0 + 0.15 * step as f32);
        let codes = x.map(|x| ((x - low) / scale).round().clamp(0.0, 15.0));
        let fit = least_squares(x, &codes);
        let error = x.iter().zip(codes).map(|(x, q)| f64::from(fit.scale * q - fit.min - x).powi(2)).sum();
        if error < best.0 {
            best = (error, fit);
        }
    }
    best.1
}

/// Returns the scale and the minimum that fit the codes best, where the minimum may not be negative.
fn least_squares(x: &[f32; 32], codes: &[f32; 32]) -> Fit {
    let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
        x.iter().zip(codes).map(|(x, q)| of(f64::from(*x), f64::from(*q))).sum()
    };
    let (n, q, qq) = (32.0, sum(&|_, q| q), sum(&|_, q| q * q));
    let (x1, xq) = (sum(&|x, _| x), sum(&|x, q| x * q));
    let determinant = n * qq - q * q;
    let (scale, offset) = if determinant > 0.0 {
        ((n * xq - q * x1) / determinant, (qq * x1 - q * xq) / determinant)
    } else {
        (0.0, x1 / n)
    };
    if offset <= 0.0 && scale > 0.0 {
        return Fit { scale: scale as f32, min: -offset as f32 };
    }
    Fit { scale: if qq > 0.0 { (xq / qq).max(0.0) } else { 0.0 } as f32, min: 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::blocks::dequantise_row;

    fn back(dtype: Dtype, row: &[f32]) -> Vec<f32> {
        let mut bytes = Vec::new();
        quantise_row(dtype, row, &mut bytes);
        assert_eq!(Some(bytes.len()), dtype.row_bytes(row.len()));
        let mut got = vec![f32::NAN; row.len()];
        dequantise_row(dtype, &bytes, &mut got);
        got
    }

    /// Returns nearly normal numbers, which are sums of twelve uniform ones.
    fn normal(n: usize) -> Vec<f32> {
        let mut state = 1u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 24) as f32
        };
        (0..n).map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0).collect()
    }

    fn relative_error(dtype: Dtype, row: &[f32]) -> f64 {
        let got = back(dtype, row);
        let square = |x: f32| f64::from(x) * f64::from(x);
        let error: f64 = got.iter().zip(row).map(|(got, x)| square(got - x)).sum();
        (error / row.iter().map(|x| square(*x)).sum::<f64>()).sqrt()
    }

    /// The errors of ggml's own quantiser on normal weights are 0.0053 for Q8_0 and 0.0706 for Q4_K
    /// (tools/golden/quant_errors.py).
    #[test]
    fn errors_of_normal_weights_are_about_as_small_as_those_of_ggml() {
        let check = |dtype, most: f64| {
            let error = relative_error(dtype, &normal(256 * 64));
            assert!(error < most, "{dtype:?}: {error}");
        };
        check(Dtype::Q8_0, 0.0056);
        check(Dtype::Q4K, 0.072);
    }

    #[test]
    fn weights_that_a_type_can_hold_exactly_come_back_unchanged() {
        let eighths: Vec<f32> = (0..256).map(|i| (i % 255 - 127) as f32 / 8.0).collect();
        let one_sign_of_eight: Vec<f32> =
            (0..256).map(|i| if i % 32 == 0 { 127.0 / 8.0 } else { eighths[i] }).collect();
        assert_eq!(back(Dtype::Q8_0, &one_sign_of_eight), one_sign_of_eight);
        // Sixteen steps from zero on in every run have a scale of 63 units and no minimum.
        let steps: Vec<f32> = (0..256).map(|i| (i % 16) as f32 * 63.0 / 64.0).collect();
        assert_eq!(back(Dtype::Q4K, &steps), steps);
        for dtype in WRITABLE {
            assert_eq!(back(dtype, &[0.0; 256]), [0.0; 256], "{dtype:?}");
        }
    }

    #[test]
    fn runs_of_one_sign_and_of_one_value_lose_little() {
        let check = |what: &str, row: Vec<f32>, most: f64| {
            let error = relative_error(Dtype::Q4K, &row);
            assert!(error < most, "{what}: {error}");
        };
        check("positive", normal(256).iter().map(|x| x.abs()).collect(), 0.08);
        check("negative", normal(256).iter().map(|x| -x.abs()).collect(), 0.08);
        check("far from zero", normal(256).iter().map(|x| x - 20.0).collect(), 0.02);
        check("all alike", vec![-3.0; 256], 0.01);
        check("one outlier", (0..256).map(|i| if i == 9 { 50.0 } else { 0.01 }).collect(), 0.08);
    }

    #[test]
    #[should_panic(expected = "weights are finite")]
    fn a_weight_that_is_not_a_number_is_refused() {
        quantise_row(Dtype::Q8_0, &[f32::NAN; 32], &mut Vec::new());
    }
}
