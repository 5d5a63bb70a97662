//! `y = x Wᵀ + b`: every linear layer, for one row (decoding) or many (prefill).
//!
//! The work is cut into tasks of four panels (64 outputs) by at most 96 rows, which any thread may take. A
//! task walks along the K blocks. In each block, every panel's part (8 KB in bf16) stays in the first-level
//! cache while strips of rows pass over it, and the sums of the block are added to a small table of totals on
//! the stack. Biases, activation functions and gates are applied to the totals at the end of the task.

use super::input::{Activations, Input, InputWriter};
use super::packed::Packed;
use super::strips::AddPanels;
use crate::layout::{GROUP, LANES, PANEL};
use crate::machine::{Chunks, Cpu, Work};
use crate::rows::Activation;
use crate::sets::{Kernel, Lanes};
use std::mem::MaybeUninit;
use std::ops::Range;

/// One product of an input: `out[r, o] = Σᵢ x[r, i] · weight[o, i] + bias[o]`, where `out` is `[n_rows,
/// n_out]`, row-major.
pub struct Product<'a> {
    /// The weights, `[n_out, n_in]`.
    pub weight: &'a Packed,
    /// The biases, `[n_out]`.
    pub bias: Option<&'a [f32]>,
    /// The result, `[n_rows, n_out]`.
    pub out: &'a mut [f32],
}

/// Computes several products of one input side by side in one parallel region: query, key and value, for
/// example.
///
/// Each block of 256 inputs is one chain of fused multiply-adds in ascending order, and blocks are added up
/// in ascending order. So a row has the same bits whatever surrounds it. Products of rounded inputs add in an
/// order of their own (`rounded/`); their bits differ, but do not depend on what surrounds a row either.
///
/// # Panics
/// Panics if the shapes do not fit.
pub fn linear<const N: usize>(cpu: &Cpu, x: &Input, products: [Product<'_>; N]) {
    let n_rows = x.n_rows();
    let mut n_tasks = 0;
    let parts = products.map(|Product { weight, bias, out }| {
        assert_eq!(x.n_in(), weight.n_in(), "the input is as wide as the weights");
        assert_eq!(out.len(), n_rows * weight.n_out(), "out is [n_rows, n_out]");
        assert!(bias.is_none_or(|bias| bias.len() == weight.n_out()), "bias is [n_out]");
        let first_task = n_tasks;
        n_tasks += n_groups(weight) * n_chunks(n_rows);
        Part { weight, x: x.activations(cpu, weight), bias, out: Chunks::new(out, 1), first_task }
    });
    let task = |task: usize| {
        let part = parts.iter().rev().find(|part| part.first_task <= task).expect("parts begin at 0");
        let (panels, rows) = cut(part.weight, n_rows, task - part.first_task);
        let mut room = room();
        let totals = totals(cpu, part.weight, &panels, &part.x, &rows, &mut room);
        cpu.isa().run(Store { totals, part, panels, rows });
    };
    let macs: usize = parts.iter().map(|part| n_rows * part.weight.n_out() * x.n_in()).sum();
    let _timing = cpu.timing(|| work("product", n_rows, &parts.each_ref().map(|part| part.weight)));
    spread(cpu, macs, n_tasks, task);
}

/// The first half of an MLP: `activation(x Uᵀ + bu)`, or with a gate `activation(x Gᵀ + bg) · (x Uᵀ + bu)`
/// (Shazeer 2020).
#[derive(Clone, Copy)]
pub struct Mlp<'a> {
    /// The weights `[d_ff, n_in]` and the biases `[d_ff]` of the up projection.
    pub up: (&'a Packed, Option<&'a [f32]>),
    /// The weights and biases of the gate, shaped as those of `up`, if the MLP is gated.
    pub gate: Option<(&'a Packed, Option<&'a [f32]>)>,
    /// The activation function.
    pub activation: Activation,
}

/// Computes the first half of an MLP, and multiplies gate and up while both are at hand. `out` becomes
/// `[n_rows, d_ff]`, ready for the next product.
///
/// # Panics
/// Panics if the shapes do not fit.
pub fn hidden(cpu: &Cpu, x: &Input, unit: Mlp<'_>, out: &mut Input) {
    let Mlp { up, gate, activation } = unit;
    let d_ff = up.0.n_out();
    for (weight, bias) in [Some(up), gate].into_iter().flatten() {
        assert_eq!(x.n_in(), weight.n_in(), "the input is as wide as the weights");
        assert_eq!(weight.n_out(), d_ff, "gate and up have one shape");
        assert!(bias.is_none_or(|bias| bias.len() == d_ff), "bias is [d_ff]");
    }
    let for_up = x.activations(cpu, up.0);
    let gate = gate.map(|(weight, bias)| (weight, bias, x.activations(cpu, weight)));
    out.reset(x.n_rows(), d_ff);
    let writer = out.writer();
    let task = |task: usize| {
        let (panels, rows) = cut(up.0, x.n_rows(), task);
        let (mut gate_room, mut up_room) = (room(), room());
        let gates = gate
            .as_ref()
            .map(|(weight, bias, x)| (totals(cpu, weight, &panels, x, &rows, &mut gate_room), *bias));
        let ups = (totals(cpu, up.0, &panels, &for_up, &rows, &mut up_room), up.1);
        cpu.isa().run(StoreHidden { gates, ups, activation, panels, rows, d_ff, out: &writer });
    };
    let macs = (1 + usize::from(gate.is_some())) * x.n_rows() * d_ff * x.n_in();
    let _timing = cpu.timing(|| match &gate {
        Some((gate, ..)) => work("gated product", x.n_rows(), &[*gate, up.0]),
        None => work("activated product", x.n_rows(), &[up.0]),
    });
    spread(cpu, macs, n_groups(up.0) * n_chunks(x.n_rows()), task);
}

/// Returns the work of a product with several weights, for the profile.
fn work(what: &str, n_rows: usize, weights: &[&Packed]) -> Work {
    let n_out: usize = weights.iter().map(|weight| weight.n_out()).sum();
    let (n_in, dtype) = (weights[0].n_in(), weights[0].dtype().name());
    Work {
        kernel: format!("{what} {n_in}x{n_out} {dtype}"),
        flops: 2 * n_rows * n_in * n_out,
        bytes: weights.iter().map(|weight| weight.n_bytes()).sum(),
    }
}

/// The largest number of rows of a task: a multiple of every strip and of a tile. Their part of a K block (96
/// KB) stays in the second-level cache.
const CHUNK: usize = 96;

/// The number of multiply-adds (about 5 µs) below which a product runs on the calling thread.
const SERIAL_BELOW: usize = 1 << 17;

/// Room on the stack for the totals of the largest task. The room begins without values, because filling and
/// moving 24 KB takes longer than multiplying one row of a decoded token.
type Room = [MaybeUninit<[f32; LANES]>; GROUP * CHUNK];

/// Makes room without values.
#[inline(always)]
fn room() -> Room {
    [const { MaybeUninit::uninit() }; GROUP * CHUNK]
}

/// Returns the number of groups of panels.
fn n_groups(weight: &Packed) -> usize {
    weight.n_panels().div_ceil(GROUP)
}

/// Returns the number of chunks of rows.
fn n_chunks(n_rows: usize) -> usize {
    n_rows.div_ceil(CHUNK)
}

/// Returns the panels and rows of a task. Tasks that share weights are neighbours.
fn cut(weight: &Packed, n_rows: usize, task: usize) -> (Range<usize>, Range<usize>) {
    let (group, chunk) = (task / n_chunks(n_rows), task % n_chunks(n_rows));
    let panels = group * GROUP..weight.n_panels().min((group + 1) * GROUP);
    (panels, chunk * CHUNK..n_rows.min((chunk + 1) * CHUNK))
}

/// Runs the tasks on all threads, or on the calling thread if the work is small.
fn spread(cpu: &Cpu, macs: usize, n_tasks: usize, task: impl Fn(usize) + Sync) {
    if macs < SERIAL_BELOW {
        (0..n_tasks).for_each(task);
    } else {
        cpu.pool().for_each(n_tasks, task);
    }
}

/// A product whose output several threads write to.
struct Part<'a> {
    weight: &'a Packed,
    x: Activations<'a>,
    bias: Option<&'a [f32]>,
    out: Chunks<'a, f32>,
    first_task: usize,
}

/// Returns the rows per panel in a table of totals, since matrix units write whole tiles of sixteen.
fn height(rows: &Range<usize>) -> usize {
    rows.len().next_multiple_of(16)
}

/// Returns the sums of a task, `[panel][row][lane]`, in as much of the room as they take.
fn totals<'a>(
    cpu: &Cpu,
    weight: &Packed,
    panels: &Range<usize>,
    x: &Activations,
    rows: &Range<usize>,
    room: &'a mut Room,
) -> &'a [[f32; LANES]] {
    let room = &mut room[..GROUP * height(rows)];
    for total in &mut *room {
        total.write([0.0; LANES]);
    }
    // SAFETY: all totals have just been written.
    let totals = unsafe { &mut *(std::ptr::from_mut(room) as *mut [[f32; LANES]]) };
    let isa = cpu.isa();
    isa.run(AddPanels { isa, weight, panels: panels.clone(), x, rows: rows.clone(), totals });
    totals
}

/// The end of a task of products: adds biases and writes rows of the output.
struct Store<'a> {
    /// The sums of the task, `[panel][row][lane]`.
    totals: &'a [[f32; LANES]],
    part: &'a Part<'a>,
    panels: Range<usize>,
    rows: Range<usize>,
}

impl Kernel for Store<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Store { totals, part: Part { weight, bias, out, .. }, panels, rows } = self;
        let n_out = weight.n_out();
        for (panel, totals) in panels.zip(totals.chunks_exact(height(&rows))) {
            let first = panel * PANEL;
            let n = PANEL.min(n_out - first);
            let bias = bias_of(*bias, first, n);
            for (row, total) in rows.clone().zip(totals) {
                // SAFETY: the caller promises the features, panels and rows are in range (`cut`), and no
                // other task writes these columns of these rows.
                unsafe {
                    let sum = L::load(total.as_ptr()).add(L::load(bias.as_ptr()));
                    let out = out.as_ptr().add(row * n_out + first);
                    if n == PANEL {
                        sum.store(out);
                    } else {
                        let mut lanes = [0.0; LANES];
                        sum.store(lanes.as_mut_ptr());
                        std::ptr::copy_nonoverlapping(lanes.as_ptr(), out, n);
                    }
                }
            }
        }
    }
}

/// Totals, `[panel][row][lane]`, and the biases that are added to them.
type Biased<'a> = (&'a [[f32; LANES]], Option<&'a [f32]>);

/// The end of a task of an MLP: adds biases, activates, gates, and writes rows of the next input.
struct StoreHidden<'a> {
    gates: Option<Biased<'a>>,
    ups: Biased<'a>,
    activation: Activation,
    panels: Range<usize>,
    rows: Range<usize>,
    d_ff: usize,
    out: &'a InputWriter<'a>,
}

impl Kernel for StoreHidden<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let StoreHidden { gates, ups, activation, panels, rows, d_ff, out } = self;
        for (i, panel) in panels.enumerate() {
            let first = panel * PANEL;
            let n = PANEL.min(d_ff - first);
            let (gate_bias, up_bias) =
                (bias_of(gates.and_then(|it| it.1), first, n), bias_of(ups.1, first, n));
            for (j, row) in rows.clone().enumerate() {
                let at = i * height(&rows) + j;
                let mut lanes = [0.0; LANES];
                // SAFETY: as in `Store`.
                unsafe {
                    let up = L::load(ups.0[at].as_ptr()).add(L::load(up_bias.as_ptr()));
                    let hidden = match gates {
                        Some((gates, _)) => {
                            let gate = L::load(gates[at].as_ptr()).add(L::load(gate_bias.as_ptr()));
                            activation.apply(gate).mul(up)
                        }
                        None => activation.apply(up),
                    };
                    hidden.store(lanes.as_mut_ptr());
                    out.row_part(row, first, n).copy_from_slice(&lanes[..n]);
                }
            }
        }
    }
}

/// Returns the biases of a panel, which are zero where there are none.
#[inline(always)]
fn bias_of(bias: Option<&[f32]>, first: usize, n: usize) -> [f32; LANES] {
    let mut lanes = [0.0; LANES];
    if let Some(bias) = bias {
        lanes[..n].copy_from_slice(&bias[first..first + n]);
    }
    lanes
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::machine::Isa;
    use crate::plain;
    use crate::product::quant::tests::Random;
    use crate::product::rounded::tests::{as_read, is_rounded};
    use crate::weights::{Bytes, Dtype, Matrix};
    use half::{bf16, f16};

    /// Returns a small deterministic sequence in (-1, 1), which needs no generator crate.
    pub(crate) fn numbers(n: usize, seed: u32) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2654435761).wrapping_add(1);
        let mut next = || {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..n).map(|_| next()).collect()
    }

    /// Returns one matrix stored as `f32`, as `bf16` and as `f16`.
    pub(crate) fn matrices(n_out: usize, n_in: usize) -> [Matrix; 3] {
        let w = numbers(n_out * n_in, 7);
        let bf: Vec<bf16> = w.iter().map(|&x| bf16::from_f32(x)).collect();
        let fp: Vec<f16> = w.iter().map(|&x| f16::from_f32(x)).collect();
        let matrix = |raw: &[u8], dtype| {
            let bytes = Bytes::from(raw.to_vec());
            Matrix::new(&bytes, 0..bytes.len(), dtype, n_out, n_in).unwrap()
        };
        [
            Matrix::from_f32(&w, n_out, n_in),
            matrix(bytemuck::cast_slice(&bf), Dtype::Bf16),
            matrix(bytemuck::cast_slice(&fp), Dtype::F16),
        ]
    }

    /// Returns the product on `isa`, and the hidden rows of an MLP that is gated with itself.
    pub(crate) fn both(
        isa: Isa,
        n_threads: usize,
        x: &[f32],
        w: &Matrix,
        bias: Option<&[f32]>,
    ) -> (Vec<f32>, Vec<f32>) {
        let cpu = Cpu::new(isa, n_threads);
        let weight = Packed::new(&cpu, w);
        let (mut input, mut gate) = (Input::default(), Input::default());
        input.fill(&cpu, x, w.n_in);
        let mut out = vec![f32::NAN; input.n_rows() * w.n_out];
        linear(&cpu, &input, [Product { weight: &weight, bias, out: &mut out }]);
        let with_itself = (&weight, bias);
        hidden(
            &cpu,
            &input,
            Mlp { up: with_itself, gate: Some(with_itself), activation: Activation::Silu },
            &mut gate,
        );
        (out, (0..gate.n_rows()).flat_map(|row| gate.row(row)).collect())
    }

    /// Compares every kernel set and stored type with the f64 twin. The bound holds for any f32 sum of `n`
    /// products: a few units in the last place of the sum of magnitudes.
    fn check(n_rows: usize, n_out: usize, n_in: usize) {
        let x = numbers(n_rows * n_in, 3);
        let bias = numbers(n_out, 5);
        for w in matrices(n_out, n_in) {
            let mut first = None;
            for isa in Isa::available().into_iter().chain(Isa::TWINS) {
                let want = plain::linear(&as_read(isa, &x, &w), &w, Some(&bias));
                let got = both(isa, 2, &x, &w, Some(&bias));
                for ((got, gate), want) in got.0.iter().zip(&got.1).zip(&want) {
                    let bound = 1e-6 * (n_in as f32).sqrt() + 1e-6;
                    assert!((got - want).abs() <= bound, "{isa:?} {n_rows}x{n_out}x{n_in}: {got} {want}");
                    let wanted = plain::activation(Activation::Silu, f64::from(*want)) as f32 * want;
                    let bound = bound * (1.0 + want.abs()) * 2.0;
                    assert!((gate - wanted).abs() <= bound, "{isa:?} gate of {want}: {gate} {wanted}");
                }
                if !is_rounded(isa, &w) {
                    assert_eq!(*first.get_or_insert_with(|| got.clone()), got, "{isa:?} gives other bits");
                }
            }
        }
    }

    #[test]
    fn every_kernel_set_equals_the_plain_twin_on_every_class_of_shape() {
        check(1, 1, 1);
        check(1, 5, 3);
        check(1, 33, 16);
        check(2, 64, 257);
        check(3, 65, 512);
        check(4, 4, 15);
        check(5, 7, 100);
        check(13, 66, 300);
        check(64, 40, 129);
        check(97, 70, 31);
        check(193, 17, 64);
        check(33, 70, 96);
        check(7, 300, 200); // large enough to run on several threads
    }

    #[test]
    fn strips_of_every_height_equal_the_twin() {
        (1..=25).for_each(|n_rows| check(n_rows, 20, 40));
    }

    #[test]
    fn a_row_does_not_depend_on_its_neighbours() {
        let (n_out, n_in) = (150, 530);
        let x = numbers(100 * n_in, 11);
        for w in matrices(n_out, n_in) {
            let all = both(Isa::best(), 1, &x, &w, None);
            for row in [0, 1, 5, 50, 95, 96, 99] {
                let one = both(Isa::best(), 1, &x[row * n_in..][..n_in], &w, None);
                assert_eq!(one.0, all.0[row * n_out..][..n_out]);
                assert_eq!(one.1, all.1[row * n_out..][..n_out]);
            }
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let x = numbers(50 * 300, 2);
        for w in matrices(400, 300) {
            let want = both(Isa::best(), 1, &x, &w, None);
            for n_threads in [2, 4, 16, 64] {
                assert_eq!(both(Isa::best(), n_threads, &x, &w, None), want, "{n_threads} threads");
            }
        }
    }

    #[test]
    fn several_products_of_one_input_do_not_disturb_each_other() {
        let cpu = Cpu::new(Isa::best(), 2);
        let x = numbers(9 * 100, 1);
        let mut input = Input::default();
        input.fill(&cpu, &x, 100);
        let weights: Vec<Matrix> = [70, 16, 33].map(|n_out| matrices(n_out, 100)[1].clone()).into();
        let packed: Vec<Packed> = weights.iter().map(|w| Packed::new(&cpu, w)).collect();
        let mut outs: Vec<Vec<f32>> = weights.iter().map(|w| vec![0.0; 9 * w.n_out]).collect();
        let [a, b, c] = &mut outs[..] else { unreachable!() };
        let product = |i: usize, out| Product { weight: &packed[i], bias: None, out };
        linear(&cpu, &input, [product(0, a), product(1, b), product(2, c)]);
        for (w, out) in weights.iter().zip(&outs) {
            assert_eq!(*out, both(Isa::best(), 1, &x, w, None).0);
        }
    }

    #[test]
    fn numbers_that_are_not_finite_stay_in_their_row() {
        let mut x = numbers(3 * 40, 4);
        x[45] = f32::NAN;
        x[50] = f32::INFINITY;
        for w in matrices(20, 40) {
            let (out, _) = both(Isa::best(), 1, &x, &w, None);
            assert!(out[..20].iter().chain(&out[40..]).all(|y| y.is_finite()));
            assert!(out[20..40].iter().all(|y| y.is_nan()));
        }
    }

    #[test]
    fn denormal_weights_count() {
        let w = Matrix::from_f32(&[1e-40; 64], 2, 32);
        let (out, _) = both(Isa::best(), 1, &[1.0; 32], &w, None);
        assert!(out.iter().all(|y| (y - 3.2e-39).abs() < 1e-42));
    }

    /// Returns a matrix of blocks with any codes and factors of ordinary size.
    fn quantised(dtype: Dtype, n_out: usize, n_in: usize, seed: u64) -> Matrix {
        let mut random = Random(seed);
        let bytes: Vec<u8> = (0..n_out).flat_map(|_| random.row(dtype, n_in)).collect();
        let bytes = Bytes::from(bytes);
        Matrix::new(&bytes, 0..bytes.len(), dtype, n_out, n_in).unwrap()
    }

    /// Compares products with quantised weights with the f64 twin. With exact inputs the bound is that of an
    /// f32 sum. Otherwise it is half a step of the activations, which is 1/254 of the largest of them (below
    /// one), times the magnitudes of the weights.
    fn check_quantised(dtype: Dtype, n_rows: usize, n_out: usize, n_in: usize) {
        let x = numbers(n_rows * n_in, 3);
        let w = quantised(dtype, n_out, n_in, 1);
        let want = plain::linear(&x, &w, None);
        let magnitudes: Vec<f32> =
            w.to_f32().chunks_exact(n_in).map(|w| w.iter().map(|w| w.abs()).sum()).collect();
        for (exact, relative) in [(false, 1.01 / 254.0), (true, 1e-6)] {
            let mut first = None;
            for isa in Isa::available() {
                let cpu = Cpu::new(isa, 2);
                let weight = Packed::new(&cpu, &w);
                let weight = if exact { weight.with_exact_input() } else { weight };
                let mut input = Input::default();
                input.fill(&cpu, &x, n_in);
                let mut got = vec![f32::NAN; n_rows * n_out];
                linear(&cpu, &input, [Product { weight: &weight, bias: None, out: &mut got }]);
                for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                    let bound = relative * magnitudes[i % n_out];
                    assert!(
                        (got - want).abs() <= bound,
                        "{isa:?} {dtype:?} {n_rows}x{n_out}x{n_in}: {got} {want}"
                    );
                }
                assert_eq!(*first.get_or_insert_with(|| got.clone()), got, "{isa:?} gives other bits");
            }
        }
    }

    #[test]
    fn quantised_weights_equal_the_twin_up_to_what_activations_lose() {
        for dtype in Dtype::BLOCKS {
            check_quantised(dtype, 1, 70, 512);
            check_quantised(dtype, 2, 16, 256);
            check_quantised(dtype, 5, 33, 768);
            check_quantised(dtype, 100, 17, 256);
            if dtype.block_len() == 32 {
                check_quantised(dtype, 3, 20, 32);
                check_quantised(dtype, 7, 40, 416);
            }
        }
    }

    #[test]
    fn quantised_rows_depend_neither_on_neighbours_nor_on_threads() {
        let (n_out, n_in) = (150, 512);
        let x = numbers(100 * n_in, 11);
        for dtype in Dtype::BLOCKS {
            let w = quantised(dtype, n_out, n_in, 2);
            let all = both(Isa::best(), 1, &x, &w, None);
            assert_eq!(both(Isa::best(), 4, &x, &w, None), all);
            for row in [0, 1, 5, 95, 96, 99] {
                let one = both(Isa::best(), 1, &x[row * n_in..][..n_in], &w, None);
                assert_eq!(one.0, all.0[row * n_out..][..n_out]);
                assert_eq!(one.1, all.1[row * n_out..][..n_out]);
            }
        }
    }

    #[test]
    fn weights_of_several_types_share_an_input() {
        let cpu = Cpu::new(Isa::best(), 2);
        let x = numbers(5 * 256, 1);
        let mut input = Input::default();
        input.fill(&cpu, &x, 256);
        let [bf16, _, _] = matrices(30, 256);
        let weights = [quantised(Dtype::Q4K, 30, 256, 3), quantised(Dtype::Q8_0, 17, 256, 4), bf16];
        let packed: Vec<Packed> = weights.iter().map(|w| Packed::new(&cpu, w)).collect();
        let mut outs: Vec<Vec<f32>> = weights.iter().map(|w| vec![0.0; 5 * w.n_out]).collect();
        let [a, b, c] = &mut outs[..] else { unreachable!() };
        let product = |i: usize, out| Product { weight: &packed[i], bias: None, out };
        linear(&cpu, &input, [product(0, a), product(1, b), product(2, c)]);
        for (w, out) in weights.iter().zip(&outs) {
            assert_eq!(*out, both(Isa::best(), 1, &x, w, None).0);
        }
    }

    #[test]
    fn an_input_that_is_filled_again_is_quantised_again() {
        let cpu = Cpu::new(Isa::best(), 1);
        let mut input = Input::default();
        for dtype in [Dtype::Q8_0, Dtype::Q6K] {
            let w = quantised(dtype, 20, 256, 5);
            let weight = Packed::new(&cpu, &w);
            for (seed, n_rows) in [(1, 2), (2, 2), (3, 7), (4, 1)] {
                let x = numbers(n_rows * 256, seed);
                input.fill(&cpu, &x, 256);
                let mut out = vec![f32::NAN; n_rows * 20];
                for _ in 0..2 {
                    linear(&cpu, &input, [Product { weight: &weight, bias: None, out: &mut out }]);
                    assert_eq!(out, both(Isa::best(), 1, &x, &w, None).0);
                }
            }
        }
    }
}
