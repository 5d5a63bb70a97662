//! What happens to one row at a time between the products: norm, rope, gate and residual sum.

use rayon::prelude::*;

/// Below this many elements a pass over rows runs on the calling thread.
const SERIAL_BELOW: usize = 1 << 16;

/// `out = x / sqrt(mean(x²) + eps) · weight`, row by row (Zhang & Sennrich 2019). The mean is
/// taken in `f64`, so that it is the same for any width of vector unit.
///
/// # Panics
/// If `x` and `out` are not whole rows of `weight.len()`.
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let width = weight.len();
    assert_eq!(x.len(), out.len(), "x and out are [n_rows, width]");
    assert_eq!(x.len() % width, 0, "x is [n_rows, width]");
    let row = |(x, out): (&[f32], &mut [f32])| {
        let sum: f64 = x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
        let scale = (1.0 / (sum / width as f64 + f64::from(eps)).sqrt()) as f32;
        for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
            *out = x * scale * weight;
        }
    };
    if x.len() < SERIAL_BELOW {
        x.chunks_exact(width).zip(out.chunks_exact_mut(width)).for_each(row);
    } else {
        x.par_chunks_exact(width).zip(out.par_chunks_exact_mut(width)).for_each(row);
    }
}

/// Rotates every head of one row by its position (Su et al. 2021), in the half-split layout of
/// Hugging Face checkpoints: element `i` pairs with element `i + head_dim / 2`.
///
/// `row` is `[n_heads * head_dim]`; `cos` and `sin` are `[head_dim / 2]` for the row's position.
///
/// # Panics
/// If the lengths do not fit.
pub fn rope(row: &mut [f32], cos: &[f32], sin: &[f32]) {
    let half = cos.len();
    assert_eq!(sin.len(), half, "cos and sin are [head_dim / 2]");
    assert_eq!(row.len() % (2 * half), 0, "row is [n_heads * head_dim]");
    for head in row.chunks_exact_mut(2 * half) {
        let (low, high) = head.split_at_mut(half);
        for i in 0..half {
            let (a, b) = (low[i], high[i]);
            low[i] = a * cos[i] - b * sin[i];
            high[i] = b * cos[i] + a * sin[i];
        }
    }
}

/// `gate ← silu(gate) · up`, the gated unit of Llama (Shazeer 2020), with `silu(x) = x / (1 + e⁻ˣ)`.
///
/// # Panics
/// If the lengths differ.
pub fn silu_mul(gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "gate and up have one shape");
    let pass = |(gate, up): (&mut [f32], &[f32])| {
        for (gate, up) in gate.iter_mut().zip(up) {
            *gate = *gate / (1.0 + (-*gate).exp()) * up;
        }
    };
    if gate.len() < SERIAL_BELOW {
        pass((gate, up));
    } else {
        gate.par_chunks_mut(SERIAL_BELOW / 4).zip(up.par_chunks(SERIAL_BELOW / 4)).for_each(pass);
    }
}

/// `x ← x + y`.
///
/// # Panics
/// If the lengths differ.
pub fn add_assign(x: &mut [f32], y: &[f32]) {
    assert_eq!(x.len(), y.len(), "x and y have one shape");
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_norm_of_a_row_is_one_and_rows_do_not_mix() {
        let x: Vec<f32> = (0..64).map(|i| i as f32 - 20.0).collect();
        let mut out = vec![0.0; 64];
        rms_norm(&x, &[1.0; 32], 0.0, &mut out);
        for row in out.chunks(32) {
            let mean: f32 = row.iter().map(|x| x * x).sum::<f32>() / 32.0;
            assert!((mean - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn rope_at_position_zero_is_the_identity_and_keeps_the_norm_elsewhere() {
        let before: Vec<f32> = (0..16).map(|i| (i as f32).sin()).collect();
        let mut row = before.clone();
        rope(&mut row, &[1.0; 4], &[0.0; 4]);
        assert_eq!(row, before);
        let angles = [0.3f32, 1.1, 2.0, 0.7];
        rope(&mut row, &angles.map(f32::cos), &angles.map(f32::sin));
        let norm = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>();
        assert!((norm(&row) - norm(&before)).abs() < 1e-5);
    }

    #[test]
    fn the_gate_is_silu_of_gate_times_up_at_any_length() {
        for n in [1, 1000, SERIAL_BELOW + 5] {
            let gate: Vec<f32> = (0..n).map(|i| (i % 23) as f32 - 11.0).collect();
            let up: Vec<f32> = (0..n).map(|i| (i % 7) as f32).collect();
            let mut got = gate.clone();
            silu_mul(&mut got, &up);
            for i in 0..n {
                let g = f64::from(gate[i]);
                let want = g / (1.0 + (-g).exp()) * f64::from(up[i]);
                assert!((f64::from(got[i]) - want).abs() <= 1e-5 * want.abs().max(1.0));
            }
        }
    }
}
