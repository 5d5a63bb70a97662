//! Tests of whole products with rounded inputs: of the twins everywhere, and of the instructions where they
//! exist.

use crate::machine::{Cpu, Isa};
use crate::plain;
use crate::product::linear::tests::{both, matrices, numbers};
use crate::product::{Input, Packed, Product, linear};
use crate::rows::Activation;
use crate::weights::{Dtype, Matrix};
use half::bf16;

/// Returns true if products with `w` round their inputs.
pub(crate) fn is_rounded(isa: Isa, w: &Matrix) -> bool {
    isa.has_rounded_products() && w.dtype() == Dtype::Bf16 && w.n_in.is_multiple_of(32)
}

/// Returns the inputs as a product with `w` reads them.
pub(crate) fn as_read(isa: Isa, x: &[f32], w: &Matrix) -> Vec<f32> {
    let round = |x: &f32| bf16::from_f32(*x).to_f32();
    if is_rounded(isa, w) { x.iter().map(round).collect() } else { x.to_vec() }
}

/// Returns every set that rounds inputs.
fn sets() -> impl Iterator<Item = Isa> {
    Isa::available().into_iter().filter(|isa| isa.has_rounded_products()).chain(Isa::TWINS)
}

/// Returns weights of `bf16`.
fn weights(n_out: usize, n_in: usize) -> Matrix {
    let [_, bf16, _] = matrices(n_out, n_in);
    bf16
}

/// Returns the product of `x`, with a bias if there is one.
fn product(cpu: &Cpu, weight: &Packed, x: &Input, bias: Option<&[f32]>) -> Vec<f32> {
    let mut out = vec![f32::NAN; x.n_rows() * weight.n_out()];
    linear(cpu, x, [Product { weight, bias, out: &mut out }]);
    out
}

/// Compares the product with the f64 twin: of the rounded inputs, up to what an f32 sum loses (as in
/// `linear.rs`); and of the inputs themselves, up to half a unit in the last of eight bits of each.
fn check(n_rows: usize, n_out: usize, n_in: usize) {
    let (x, bias, w) = (numbers(n_rows * n_in, 3), numbers(n_out, 5), weights(n_out, n_in));
    let exact = plain::linear(&x, &w, Some(&bias));
    let magnitudes: Vec<f32> = x.iter().map(|x| x.abs()).collect();
    let w_magnitudes: Vec<f32> = w.to_f32().iter().map(|w| w.abs()).collect();
    let magnitudes = plain::linear(&magnitudes, &Matrix::from_f32(&w_magnitudes, n_out, n_in), None);
    for isa in sets() {
        let want = plain::linear(&as_read(isa, &x, &w), &w, Some(&bias));
        let (got, gated) = both(isa, 2, &x, &w, Some(&bias));
        for (i, got) in got.iter().enumerate() {
            let bound = 1e-6 * (n_in as f32).sqrt() + 1e-6;
            let shape = format!("{isa:?} {n_rows}x{n_out}x{n_in} at {i}");
            assert!((got - want[i]).abs() <= bound, "{shape}: {got}, expected {}", want[i]);
            assert!(
                (got - exact[i]).abs() <= magnitudes[i] / 512.0 + bound,
                "{shape}: {got}, exactly {}",
                exact[i]
            );
            let wanted = plain::activation(Activation::Silu, f64::from(want[i])) as f32 * want[i];
            let bound = bound * (1.0 + want[i].abs()) * 2.0;
            assert!((gated[i] - wanted).abs() <= bound, "{shape}: gate {}, expected {wanted}", gated[i]);
        }
    }
}

#[test]
fn products_equal_the_twin_on_every_class_of_shape() {
    check(1, 1, 32);
    check(1, 16, 64);
    check(1, 64, 256); // one row tile, four panels
    check(1, 65, 288);
    check(2, 100, 512);
    check(15, 33, 32);
    check(16, 128, 96);
    check(17, 17, 64); // a row tile and a row; two panels
    check(31, 48, 320); // two row tiles, three panels
    check(32, 64, 544);
    check(33, 130, 32); // two row tiles and one
    check(95, 20, 64);
    check(96, 70, 32);
    check(97, 70, 64); // a task and a row
    check(130, 96, 32); // a task and three row tiles
    check(193, 17, 64);
}

#[test]
fn products_of_every_number_of_rows_and_panels_equal_the_twin() {
    (1..=50).for_each(|n_rows| check(n_rows, 40, 32));
    (1..=10).for_each(|n_panels| check(40, n_panels * 16 - 3, 64));
}

#[test]
fn a_row_depends_neither_on_its_neighbours_nor_on_threads() {
    let (n_out, n_in) = (150, 544);
    let (x, w) = (numbers(120 * n_in, 11), weights(n_out, n_in));
    for isa in sets() {
        let all = both(isa, 1, &x, &w, None);
        for n_threads in [2, 4, 16] {
            assert_eq!(both(isa, n_threads, &x, &w, None), all, "{n_threads} threads");
        }
        for (first, n_rows) in
            [(0, 1), (1, 1), (5, 2), (15, 17), (50, 33), (95, 1), (96, 1), (96, 24), (119, 1)]
        {
            let some = both(isa, 1, &x[first * n_in..][..n_rows * n_in], &w, None);
            assert_eq!(some.0, all.0[first * n_out..][..n_rows * n_out], "{n_rows} rows from {first}");
            assert_eq!(some.1, all.1[first * n_out..][..n_rows * n_out], "{n_rows} rows from {first}");
        }
    }
}

#[test]
fn exact_inputs_and_widths_that_are_not_whole_steps_give_the_bits_of_other_sets() {
    for isa in sets() {
        let cpu = Cpu::new(isa, 2);
        for (n_in, exact) in [(64, true), (288, true), (48, false), (300, false)] {
            let (x, w) = (numbers(20 * n_in, 9), weights(70, n_in));
            let weight = Packed::new(&cpu, &w);
            let weight = if exact { weight.with_exact_input() } else { weight };
            let mut input = Input::default();
            input.fill(&cpu, &x, n_in);
            let want = both(Isa::named("plain").unwrap(), 1, &x, &w, None).0;
            assert_eq!(product(&cpu, &weight, &input, None), want, "{isa:?} {n_in}");
        }
    }
}

/// Products are not exact unless they are asked to be, which is the other half of the test above.
#[test]
fn inputs_are_rounded_unless_asked_otherwise() {
    let (x, w) = (numbers(64, 9), weights(70, 64));
    let want = both(Isa::named("plain").unwrap(), 1, &x, &w, None);
    sets().for_each(|isa| assert_ne!(both(isa, 1, &x, &w, None), want, "{isa:?}"));
}

#[test]
fn an_input_that_is_filled_again_is_rounded_again() {
    for isa in sets() {
        let cpu = Cpu::new(isa, 1);
        let mut input = Input::default();
        for (seed, n_rows, n_in) in [(1, 2, 64), (2, 2, 64), (3, 20, 64), (4, 1, 64), (5, 1, 96), (6, 1, 64)]
        {
            let (x, w) = (numbers(n_rows * n_in, seed), weights(40, n_in));
            let weight = Packed::new(&cpu, &w);
            input.fill(&cpu, &x, n_in);
            for _ in 0..2 {
                assert_eq!(product(&cpu, &weight, &input, None), both(isa, 1, &x, &w, None).0);
            }
        }
    }
}

#[test]
fn numbers_that_are_not_finite_stay_in_their_row() {
    let (mut x, w) = (numbers(3 * 64, 4), weights(20, 64));
    (x[70], x[75]) = (f32::NAN, f32::INFINITY);
    for isa in sets() {
        let (out, _) = both(isa, 1, &x, &w, None);
        assert!(out[..20].iter().chain(&out[40..]).all(|y| y.is_finite()));
        assert!(out[20..40].iter().all(|y| y.is_nan()));
    }
}
