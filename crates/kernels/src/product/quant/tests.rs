//! Tests of packing, decoding and products against the plain reading of the blocks.

use super::activations::Quantised;
use super::decode::{DecodeScratch, decode, decode_f32};
use super::dispatch::add_tiled_products;
use super::format::{Layout, Mins, with_format};
use super::pack::pack_panel;
use super::product::{PanelProduct, few_rows_of, few_rows_product, rows_product};
use crate::layout::{K_BLOCK, LANES};
use crate::machine::Isa;
use crate::sets::{IntLanes, Kernel, Lanes};
use crate::weights::{Block, Dtype, dequantise_row};
use half::f16;
use std::ops::Range;

/// A small deterministic generator.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Returns 31 random bits.
    fn bits(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as u32
    }

    /// Returns a number in [-1, 1).
    fn number(&mut self) -> f32 {
        (self.bits() >> 7) as f32 / (1 << 23) as f32 - 1.0
    }

    pub(crate) fn numbers(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.number()).collect()
    }

    /// Returns a row of blocks of any bytes, but with factors of ordinary size.
    pub(crate) fn row(&mut self, dtype: Dtype, n_in: usize) -> Vec<u8> {
        let mut row: Vec<u8> = (0..dtype.row_bytes(n_in).unwrap()).map(|_| self.bits() as u8).collect();
        for block in row.chunks_exact_mut(dtype.block_bytes()) {
            for at in factors_at(dtype) {
                let factor = f16::from_f32(0.1 * self.number());
                block[*at..at + 2].copy_from_slice(&factor.to_le_bytes());
            }
            if dtype == Dtype::Mxfp4 {
                block[0] = 118 + (self.bits() % 8) as u8;
            }
        }
        row
    }

    fn rows(&mut self, dtype: Dtype, n_in: usize, n: usize) -> Vec<Vec<u8>> {
        (0..n).map(|_| self.row(dtype, n_in)).collect()
    }
}

/// Returns the bytes at which the `f16` factors of a block begin.
fn factors_at(dtype: Dtype) -> &'static [usize] {
    match dtype {
        Dtype::Q4_1 | Dtype::Q5_1 | Dtype::Q4K | Dtype::Q5K => &[0, 2],
        Dtype::Q2K => &[80, 82],
        Dtype::Q3K => &[108],
        Dtype::Q6K => &[208],
        Dtype::Mxfp4 => &[],
        _ => &[0],
    }
}

fn pack(dtype: Dtype, rows: &[Vec<u8>], n_in: usize) -> Vec<u8> {
    let mut panel = vec![0; Layout::of(dtype).panel_bytes(n_in)];
    pack_panel(dtype, rows.iter().map(Vec::as_slice), &mut panel);
    panel
}

/// The quantisation of rows of `x`, `[n_rows, n_in]`.
struct Quantise<'a> {
    x: &'a [f32],
    out: &'a mut Quantised,
}

impl Kernel for Quantise<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let n_in = self.out.n_in();
        let writer = self.out.writer();
        for (row, x) in self.x.chunks_exact(n_in).enumerate() {
            for (block, x) in x.chunks(K_BLOCK).enumerate() {
                // SAFETY: there is one thread, and the caller promises the features.
                unsafe { writer.fill::<L>(row, block, x) };
            }
        }
    }
}

fn quantise(isa: Isa, dtype: Dtype, x: &[f32], n_in: usize) -> Quantised {
    let mut out = Quantised::default();
    out.reset(Layout::of(dtype).unit, x.len() / n_in, n_in);
    isa.run(Quantise { x, out: &mut out });
    out
}

/// Returns row `row` as integers, each with its scale.
fn activations(x: &Quantised, row: usize) -> Vec<(i8, f32)> {
    let mut out = Vec::new();
    for block in 0..x.n_in().div_ceil(K_BLOCK) {
        let block = x.block(block);
        for k in 0..block.len {
            let scale = block.scales[(row * block.len + k) / x.unit()];
            out.push((block.codes[row * block.len + k], scale));
        }
    }
    out
}

/// A product by every way that the set has, whose bits must agree.
struct Product<'a>(Isa, PanelProduct<'a>);

impl Kernel for Product<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Product(isa, PanelProduct { dtype, panel, x, rows, totals }) = self;
        let mut decoded = totals.to_vec();
        let into = |totals| PanelProduct { dtype, panel, x, rows: rows.clone(), totals };
        // SAFETY: the features are the caller's promise.
        unsafe {
            rows_product::<L>(into(&mut decoded), &mut DecodeScratch::new());
            if isa.has_byte_tiles() {
                add_tiled_products::<L>(isa, std::iter::once(into(totals)));
                assert_eq!(bits(totals), bits(&decoded), "{dtype:?}: tiles give the same bits");
            } else if rows.len() <= few_rows_of(Layout::of(dtype)) {
                few_rows_product::<L>(into(totals));
                assert_eq!(bits(totals), bits(&decoded), "{dtype:?}: both ways give the same bits");
            } else {
                totals.copy_from_slice(&decoded);
            }
        }
    }
}

/// Returns the sets of this processor, and the twin of tiles.
fn sets() -> Vec<Isa> {
    let mut sets = Isa::available();
    sets.push(Isa::named("tile-twin").unwrap());
    sets
}

fn product(isa: Isa, dtype: Dtype, panel: &[u8], x: &Quantised, rows: Range<usize>) -> Vec<[f32; LANES]> {
    let mut totals = vec![[0.0; LANES]; rows.len()];
    isa.run(Product(isa, PanelProduct { dtype, panel, x, rows, totals: &mut totals }));
    totals
}

/// Returns the bits of totals, with one pattern for every NaN, as no particular NaN is promised.
fn bits(totals: &[[f32; LANES]]) -> Vec<u32> {
    let bits = |x: &f32| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() };
    totals.as_flattened().iter().map(bits).collect()
}

struct DecodeF32<'a>(Dtype, &'a [u8], &'a mut [[f32; LANES]; K_BLOCK]);

impl Kernel for DecodeF32<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: the features are the caller's promise.
        unsafe { decode_f32::<L>(self.0, self.1, self.2) }
    }
}

#[test]
fn a_panel_dequantises_to_exactly_the_values_of_its_rows() {
    let check = |dtype: Dtype, n_in: usize, n_rows: usize, any_factor: bool| {
        let mut random = Random(n_in as u64);
        let mut rows = random.rows(dtype, n_in, n_rows);
        if any_factor {
            // Factors are random bytes too, so some are tiny, infinite or NaN.
            rows.iter_mut().flatten().for_each(|byte| *byte = random.bits() as u8);
        }
        let panel = pack(dtype, &rows, n_in);
        let block_bytes = Layout::of(dtype).panel_bytes(K_BLOCK);
        for isa in Isa::available() {
            for (i, block) in panel.chunks(block_bytes).enumerate() {
                let mut got = [[f32::NAN; LANES]; K_BLOCK];
                isa.run(DecodeF32(dtype, block, &mut got));
                let len = (n_in - i * K_BLOCK).min(K_BLOCK);
                for lane in 0..LANES {
                    let mut want = vec![0.0; n_in];
                    if let Some(row) = rows.get(lane) {
                        dequantise_row(dtype, row, &mut want);
                    }
                    for k in 0..len {
                        let (got, want) = (got[k][lane], want[i * K_BLOCK + k]);
                        // A zero may have either sign, because nothing is subtracted where no minimum is
                        // stored.
                        let same = got == want || got.is_nan() && want.is_nan();
                        assert!(same, "{isa:?} {dtype:?} row {lane} weight {k}: {got}, expected {want}");
                    }
                }
            }
        }
    };
    for dtype in Dtype::BLOCKS {
        check(dtype, 256, 16, false);
        check(dtype, 768, 16, true);
        check(dtype, 512, 5, false);
        if dtype.block_len() == 32 {
            check(dtype, 32, 16, true);
            check(dtype, 416, 3, false);
        }
    }
}

struct Decode<'a>(Dtype, &'a [u8], &'a mut DecodeScratch, &'a mut i32);

impl Kernel for Decode<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let n_units = K_BLOCK / Layout::of(self.0).unit;
        // SAFETY: the block has 256 inputs, and the caller promises the features.
        unsafe { with_format!(self.0, F => decode::<F, L>(self.1.as_ptr(), n_units, self.2)) }
        *self.3 = <L::Ints as IntLanes>::SIGN_OFFSET;
    }
}

/// The bound is the three roundings to `f32` that the definition makes and decoding does not: half a unit in
/// the last place each, of the larger part.
#[test]
fn decoded_integers_times_their_factors_are_the_weights() {
    for dtype in Dtype::BLOCKS {
        let rows = Random(5).rows(dtype, K_BLOCK, LANES);
        let panel = pack(dtype, &rows, K_BLOCK);
        for isa in Isa::available() {
            let (mut w, mut sign_offset) = (Box::new(DecodeScratch::new()), 0);
            isa.run(Decode(dtype, &panel, &mut w, &mut sign_offset));
            for (lane, row) in rows.iter().enumerate() {
                let mut want = vec![0.0; K_BLOCK];
                dequantise_row(dtype, row, &mut want);
                for (k, want) in want.iter().enumerate() {
                    let half = |pair: u32, i: usize| f64::from((pair >> (16 * i)) as i16);
                    let code = w.quads[k / 4][lane].to_le_bytes()[k % 4];
                    let signed = Layout::of(dtype).is_signed();
                    let is_i8 = signed && sign_offset == 0;
                    let code = if is_i8 { f64::from(code as i8) } else { f64::from(code) };
                    let code = if signed { code - f64::from(sign_offset) } else { code };
                    let mut scaled = code * half(w.scales[k / 16][lane], k % 2);
                    if Layout::of(dtype).offset != 0 {
                        scaled += half(w.offsets[k / 32][lane], k / 16 % 2);
                    }
                    let unit = k / Layout::of(dtype).unit;
                    scaled *= f64::from(w.d[unit][lane]);
                    let mut min = 0.0;
                    if Layout::of(dtype).mins != Mins::None {
                        min = f64::from(w.dmin[unit][lane]) * half(w.mins[k / 32][lane], k / 16 % 2);
                    }
                    let bound = 1.5 * f64::from(f32::EPSILON) * (scaled.abs() + min.abs());
                    let error = (scaled - min - f64::from(*want)).abs();
                    assert!(
                        error <= bound,
                        "{isa:?} {dtype:?} row {lane} weight {k}: {scaled} - {min}, {want}"
                    );
                }
            }
        }
    }
}

/// Returns the product of a row of weights with a row of activations in `f64`, and the sum of the magnitudes
/// of everything that is added up on the way.
fn plain_product(dtype: Dtype, row: &[u8], x: &[(i8, f32)]) -> (f64, f64) {
    let (mut sum, mut magnitude) = (0.0, 0.0);
    let mut block = Block::new();
    let blocks = row.chunks_exact(dtype.block_bytes());
    for (bytes, x) in blocks.zip(x.chunks_exact(dtype.block_len())) {
        block.read(dtype, bytes);
        for (k, (code, scale)) in x.iter().enumerate() {
            let x = f64::from(*code) * f64::from(*scale);
            let scaled = f64::from(block.d) * f64::from(block.scales[k / 16]) * f64::from(block.q[k]);
            let min = f64::from(block.dmin) * f64::from(block.mins[k / 16]);
            sum += (scaled - min) * x;
            magnitude += (scaled.abs() + min.abs()) * x.abs();
        }
    }
    (sum, magnitude)
}

/// Compares products of every kernel set with `f64` over the same weights and the same quantised activations.
/// Integers are exact. Roundings are those of a unit's sum, of the product of its factors and of the two
/// additions to the total: at most `2 n_units + 2` half units in the last place. The bound of 1e-6 of the
/// magnitudes is far from the worst case and far above the typical one.
fn check_product(dtype: Dtype, n_rows: usize, n_in: usize, seed: u64) {
    let mut random = Random(seed);
    let rows = random.rows(dtype, n_in, LANES);
    let panel = pack(dtype, &rows, n_in);
    let x = random.numbers(n_rows * n_in);
    let mut first = None;
    for isa in sets() {
        let x = quantise(isa, dtype, &x, n_in);
        let got = product(isa, dtype, &panel, &x, 0..n_rows);
        for (r, got) in got.iter().enumerate() {
            let x = activations(&x, r);
            for (row, got) in rows.iter().zip(got) {
                let (want, magnitude) = plain_product(dtype, row, &x);
                let error = (f64::from(*got) - want).abs();
                assert!(error <= 1e-6 * magnitude, "{isa:?} {dtype:?} {n_rows}x{n_in}: {got} {want}");
            }
        }
        assert_eq!(
            *first.get_or_insert_with(|| bits(&got)),
            bits(&got),
            "{isa:?} {dtype:?} gives other bits"
        );
    }
}

#[test]
fn products_equal_the_plain_twin_for_every_number_of_rows() {
    for dtype in Dtype::BLOCKS {
        (1..=13).for_each(|n_rows| check_product(dtype, n_rows, 512, 1));
        check_product(dtype, 40, 256, 2);
    }
}

#[test]
fn products_equal_the_plain_twin_at_every_width() {
    for dtype in Dtype::BLOCKS {
        for n_rows in [1, 2, 7] {
            check_product(dtype, n_rows, 256, 3);
            check_product(dtype, n_rows, 2048, 4);
            if dtype.block_len() == 32 {
                (1..=9).for_each(|n| check_product(dtype, n_rows, 32 * n, 5));
                check_product(dtype, n_rows, 576, 6);
            }
        }
    }
}

#[test]
fn random_shapes_equal_the_plain_twin() {
    let mut random = Random(99);
    for case in 0..100 {
        let dtype = Dtype::BLOCKS[random.bits() as usize % Dtype::BLOCKS.len()];
        let n_in = dtype.block_len() * (1 + random.bits() as usize % (1024 / dtype.block_len()));
        check_product(dtype, 1 + random.bits() as usize % 30, n_in, case);
    }
}

#[test]
fn a_row_does_not_depend_on_its_neighbours_or_on_where_a_strip_begins() {
    for dtype in Dtype::BLOCKS {
        let (mut random, n_in, n_rows) = (Random(8), 768, 27);
        let panel = pack(dtype, &random.rows(dtype, n_in, LANES), n_in);
        let x = random.numbers(n_rows * n_in);
        for isa in sets() {
            let all = quantise(isa, dtype, &x, n_in);
            let want = product(isa, dtype, &panel, &all, 0..n_rows);
            for row in 0..n_rows {
                let alone = quantise(isa, dtype, &x[row * n_in..][..n_in], n_in);
                assert_eq!(product(isa, dtype, &panel, &alone, 0..1), want[row..=row]);
                assert_eq!(product(isa, dtype, &panel, &all, row..row + 1), want[row..=row]);
            }
            for start in [1, 5, 20] {
                assert_eq!(product(isa, dtype, &panel, &all, start..n_rows), want[start..]);
            }
        }
    }
}

#[test]
fn products_are_added_to_what_is_there() {
    let mut random = Random(21);
    let panel = pack(Dtype::Q4K, &random.rows(Dtype::Q4K, 256, LANES), 256);
    for (isa, n_rows) in sets().into_iter().flat_map(|isa| [(isa, 1), (isa, 3)]) {
        let x = quantise(isa, Dtype::Q4K, &vec![0.0; n_rows * 256], 256);
        let mut totals = vec![[2.5; LANES]; n_rows];
        let product =
            PanelProduct { dtype: Dtype::Q4K, panel: &panel, x: &x, rows: 0..n_rows, totals: &mut totals };
        isa.run(Product(isa, product));
        assert_eq!(totals, vec![[2.5; LANES]; n_rows]);
    }
}

#[test]
fn rows_that_are_missing_or_zero_give_zero() {
    for dtype in Dtype::BLOCKS {
        let mut random = Random(13);
        let rows = random.rows(dtype, 256, 6);
        let panel = pack(dtype, &rows, 256);
        let mut x = random.numbers(3 * 256);
        x[256..512].fill(0.0);
        for isa in sets() {
            let got = product(isa, dtype, &panel, &quantise(isa, dtype, &x, 256), 0..3);
            assert!(got[0][..6].iter().chain(&got[2][..6]).all(|y| *y != 0.0), "{dtype:?}");
            assert!(got.iter().all(|got| got[6..].iter().all(|y| *y == 0.0)), "{dtype:?}");
            assert_eq!(got[1], [0.0; LANES], "{dtype:?}");
        }
    }
}

/// The largest integers that a type can hold do not overflow, even with the largest activations.
#[test]
fn the_largest_codes_and_scales_are_summed_exactly() {
    for dtype in Dtype::BLOCKS {
        for byte in [0x00, 0xff, 0x7f, 0x80] {
            let mut row = vec![byte; dtype.row_bytes(256).unwrap()];
            for block in row.chunks_exact_mut(dtype.block_bytes()) {
                for at in factors_at(dtype) {
                    block[*at..at + 2].copy_from_slice(&f16::ONE.to_le_bytes());
                }
                if dtype == Dtype::Mxfp4 {
                    block[0] = 128; // one
                }
            }
            let panel = pack(dtype, &[row.clone()], 256);
            for x in [vec![1.0; 512], vec![-1.0; 512]] {
                for isa in sets() {
                    let x = quantise(isa, dtype, &x, 256);
                    for got in product(isa, dtype, &panel, &x, 0..2) {
                        let (want, magnitude) = plain_product(dtype, &row, &activations(&x, 0));
                        let error = (f64::from(got[0]) - want).abs();
                        assert!(
                            error <= 1e-6 * magnitude,
                            "{isa:?} {dtype:?} of {byte:x}: {} {want}",
                            got[0]
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn factors_that_are_tiny_count_and_infinite_ones_stay_in_their_row() {
    // The factors of MXFP4 are powers of two.
    for dtype in Dtype::BLOCKS.into_iter().filter(|dtype| *dtype != Dtype::Mxfp4) {
        let mut random = Random(31);
        let mut rows = random.rows(dtype, 256, LANES);
        let mut set = |lane: usize, factor: f16| {
            for block in rows[lane].chunks_exact_mut(dtype.block_bytes()) {
                for at in factors_at(dtype) {
                    block[*at..at + 2].copy_from_slice(&factor.to_le_bytes());
                }
            }
        };
        set(2, f16::from_bits(1)); // 6e-8, the smallest of all
        set(3, f16::from_bits(0x83ff));
        set(7, f16::INFINITY);
        set(8, f16::NAN);
        set(9, f16::MAX);
        let panel = pack(dtype, &rows, 256);
        let x = random.numbers(4 * 256);
        let mut first = None;
        for isa in sets() {
            let x = quantise(isa, dtype, &x, 256);
            let got = product(isa, dtype, &panel, &x, 0..4);
            for (r, got) in got.iter().enumerate() {
                for lane in (0..LANES).filter(|lane| ![7, 8].contains(lane)) {
                    let (want, magnitude) = plain_product(dtype, &rows[lane], &activations(&x, r));
                    let error = (f64::from(got[lane]) - want).abs();
                    assert!(error <= 1e-6 * magnitude, "{isa:?} {dtype:?} row {lane}: {} {want}", got[lane]);
                }
                assert!(!got[7].is_finite() && got[8].is_nan(), "{isa:?} {dtype:?}: {got:?}");
            }
            assert_eq!(*first.get_or_insert_with(|| bits(&got)), bits(&got), "{isa:?} gives other bits");
        }
    }
}

#[test]
fn activations_are_rounded_to_the_nearest_of_127_steps_each_way() {
    for (dtype, n_in) in [(Dtype::Q8_0, 32), (Dtype::Q8_0, 416), (Dtype::Q4K, 256), (Dtype::Q4K, 768)] {
        let mut random = Random(n_in as u64);
        let mut x = random.numbers(5 * n_in);
        // The largest number is 127, so every other number is its own code, and halves are ties.
        x[..4].copy_from_slice(&[127.0, 2.5, 3.5, -2.5]);
        x[4..dtype.block_len()].fill(-0.5);
        for isa in sets() {
            let got = quantise(isa, dtype, &x, n_in);
            for (row, x) in x.chunks_exact(n_in).enumerate() {
                let codes = activations(&got, row);
                for (x, codes) in x.chunks(got.unit()).zip(codes.chunks(got.unit())) {
                    let amax = x.iter().fold(0.0f32, |max, x| max.max(x.abs()));
                    for (x, (code, scale)) in x.iter().zip(codes) {
                        assert_eq!(*scale, amax / 127.0);
                        assert_eq!(f32::from(*code), (x * (127.0 / amax)).round_ties_even());
                    }
                }
                for block in 0..n_in.div_ceil(K_BLOCK) {
                    let block = got.block(block);
                    for (codes, sum) in block.codes.chunks(16).zip(block.sums) {
                        assert_eq!(codes.iter().map(|code| i16::from(*code)).sum::<i16>(), *sum);
                    }
                }
            }
            let ties: Vec<i8> = activations(&got, 0)[..5].iter().map(|(code, _)| *code).collect();
            assert_eq!(ties, [127, 2, 4, -2, 0]);
        }
    }
}

#[test]
fn activations_that_are_not_finite_make_their_own_row_nan_and_no_other() {
    for dtype in Dtype::BLOCKS {
        let mut random = Random(17);
        let panel = pack(dtype, &random.rows(dtype, 512, LANES), 512);
        let mut x = random.numbers(5 * 512);
        x[512 + 300] = f32::NAN;
        x[3 * 512 + 40] = f32::NEG_INFINITY;
        x[3 * 512 + 41] = 1.0;
        for isa in Isa::available() {
            let got = product(isa, dtype, &panel, &quantise(isa, dtype, &x, 512), 0..5);
            for row in [0, 2, 4] {
                assert!(got[row].iter().all(|y| y.is_finite()), "{isa:?} {dtype:?}");
            }
            for row in [1, 3] {
                assert!(got[row].iter().all(|y| y.is_nan()), "{isa:?} {dtype:?}");
            }
        }
    }
}

#[test]
fn activations_of_any_size_are_codes_or_zero() {
    for magnitude in [1e-45, 1e-40, 1e-37, 1e-30, 1.0, 1e30, 3e38] {
        let x = [magnitude; 32];
        for isa in Isa::available() {
            for (code, scale) in activations(&quantise(isa, Dtype::Q8_0, &x, 32), 0) {
                let want = if magnitude < 4e-37 { 0 } else { 127 };
                assert_eq!(code, want, "{isa:?}: {magnitude}");
                assert!(scale.is_finite());
            }
        }
    }
}

/// Types with a table take 20 bytes instead of 17 or 18 for 32 weights, because their factors become `f32`.
#[test]
fn a_panel_is_at_most_five_percent_larger_than_its_rows() {
    for dtype in Dtype::BLOCKS {
        let (panel, rows) = (Layout::of(dtype).panel_bytes(512), LANES * dtype.row_bytes(512).unwrap());
        assert!(
            panel >= rows && panel * 100 <= rows * if Layout::of(dtype).table.is_some() { 118 } else { 105 },
            "{dtype:?}: {panel} for {rows}"
        );
    }
}
