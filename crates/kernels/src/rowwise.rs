//! What happens to one row at a time between the products: rope and residual sum.

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
}
