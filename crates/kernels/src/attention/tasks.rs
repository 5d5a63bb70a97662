//! The tasks of attention.
//!
//! The queries of a row and its neighbours that share a key and value head are cut into tasks, which any
//! thread may take. A task walks along the blocks (`flash.rs`), so a block is fetched once for all its
//! queries, and no row of scores is ever written down whole.

use super::flash::Attend;
use super::kv::padded;
use super::shape::{Attention, Context, QUERIES, SCRATCH};
use crate::machine::{Chunks, Cpu, Work};

/// Sets `out[r, h]` to `softmax(scale · q[r, h] · Kᵀ) V` for every row and head, over layer `layer` of the
/// blocks. The window and the cap of scores apply where the shape has them.
///
/// `q` and `out` are `[n_rows, n_heads * head_dim]`. The softmax is taken online (Milakov & Gimelshein 2018;
/// Dao et al. 2022), block after block in ascending order. A row's result depends only on its query and on
/// the positions that it sees: not on its neighbours, the threads, the instruction set, or the positions
/// beyond.
///
/// # Panics
/// Panics if the slices or blocks do not have these shapes, or if a row sees nothing.
pub fn attention(
    cpu: &Cpu,
    shape: Attention,
    layer: usize,
    q: &[f32],
    context: &impl Context,
    out: &mut [f32],
) {
    let Attention { n_heads, n_kv_heads, head_dim, .. } = shape;
    assert!(head_dim <= Attention::MAX_HEAD_DIM, "head_dim is {head_dim}, above {}", Attention::MAX_HEAD_DIM);
    assert_eq!(n_heads % n_kv_heads, 0, "every key and value head serves the same number of query heads");
    assert_eq!(q.len(), out.len(), "q and out are [n_rows, n_heads * head_dim]");
    assert_eq!(q.len() % (n_heads * head_dim), 0, "q is [n_rows, n_heads * head_dim]");
    let n_rows = q.len() / (n_heads * head_dim);
    let n_queries = n_rows * (n_heads / n_kv_heads);
    let per_task = queries_per_task(cpu, shape, n_queries);
    let n_chunks = n_queries.div_ceil(per_task);
    let out = Chunks::new(out, head_dim);
    let task = |task: usize| {
        let (kv_head, chunk) = (task / n_chunks, task % n_chunks);
        let queries = chunk * per_task..n_queries.min((chunk + 1) * per_task);
        cpu.isa().run(Attend { shape, layer, kv_head, queries, q, context, out: &out });
    };
    let window = shape.window.unwrap_or(usize::MAX);
    assert!(window > 0, "a window of 0 would hide every row from itself");
    let seen: usize = (0..n_rows).map(|row| context.seen(row).min(window)).sum();
    let _timing = cpu.timing(|| Work {
        kernel: format!("attention {n_heads} heads of {head_dim}"),
        flops: 4 * seen * n_heads * head_dim,
        bytes: 2 * seen * n_kv_heads * head_dim * size_of::<f32>(),
    });
    if 2 * seen * n_heads * head_dim < SERIAL_BELOW {
        (0..n_kv_heads * n_chunks).for_each(task);
    } else {
        cpu.pool().for_each(n_kv_heads * n_chunks, task);
    }
}

/// The number of multiply-adds (a few µs) below which attention runs on the calling thread.
const SERIAL_BELOW: usize = 1 << 17;

/// Returns as many queries as a task holds, if that leaves some tasks for every thread; else fewer, in steps
/// of a whole strip.
fn queries_per_task(cpu: &Cpu, shape: Attention, n_queries: usize) -> usize {
    let chunks = (4 * cpu.n_threads()).div_ceil(shape.n_kv_heads);
    let most = QUERIES.min(SCRATCH / padded(shape.head_dim));
    n_queries.div_ceil(chunks).next_multiple_of(6).clamp(1, most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::kv::{BLOCK_LEN, KvBlock, KvShape};
    use crate::machine::Isa;
    use crate::plain;

    /// One sequence's keys and values, `[n_positions, n_kv_heads * head_dim]`.
    #[derive(Clone)]
    struct Sequence {
        keys: Vec<f32>,
        values: Vec<f32>,
        blocks: Vec<KvBlock>,
    }

    impl Sequence {
        fn new(kv: KvShape, keys: Vec<f32>, values: Vec<f32>) -> Sequence {
            let mut blocks = Vec::new();
            for (p, (key, value)) in
                keys.chunks_exact(kv.width()).zip(values.chunks_exact(kv.width())).enumerate()
            {
                if p % BLOCK_LEN == 0 {
                    blocks.push(KvBlock::new(kv));
                }
                blocks[p / BLOCK_LEN].write(kv.n_layers - 1, p % BLOCK_LEN, key, value);
            }
            Sequence { keys, values, blocks }
        }
    }

    /// Rows, each given by its sequence and the number of positions that it sees.
    struct Rows<'a> {
        sequences: &'a [Sequence],
        rows: Vec<(usize, usize)>,
    }

    impl Context for Rows<'_> {
        fn seen(&self, row: usize) -> usize {
            self.rows[row].1
        }

        fn block(&self, row: usize, index: usize) -> &KvBlock {
            &self.sequences[self.rows[row].0].blocks[index]
        }
    }

    /// Returns a small deterministic sequence in (-2, 2).
    fn numbers(n: usize, seed: u32) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2654435761).wrapping_add(1);
        let mut next = || {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            (state >> 8) as f32 / (1 << 22) as f32 - 2.0
        };
        (0..n).map(|_| next()).collect()
    }

    const LAYER: usize = 1;

    fn shapes(n_heads: usize, n_kv_heads: usize, head_dim: usize) -> (Attention, KvShape) {
        let scale = 1.0 / (head_dim as f32).sqrt();
        (
            Attention { n_heads, n_kv_heads, head_dim, scale, window: None, soft_cap: None },
            KvShape { n_layers: LAYER + 1, n_kv_heads, head_dim },
        )
    }

    fn sequence(kv: KvShape, len: usize, seed: u32) -> Sequence {
        Sequence::new(kv, numbers(len * kv.width(), seed), numbers(len * kv.width(), seed + 1))
    }

    fn run(cpu: &Cpu, shape: Attention, q: &[f32], rows: &Rows) -> Vec<f32> {
        let mut out = vec![f32::NAN; q.len()];
        attention(cpu, shape, LAYER, q, rows, &mut out);
        out
    }

    /// Returns the bits, so that zeros of either sign differ.
    fn bits(x: &[f32]) -> Vec<u32> {
        x.iter().map(|x| x.to_bits()).collect()
    }

    /// Compares the last `n_rows` rows of a sequence on every kernel set with the f64 twin. The bound is some
    /// units in the last place of values of at most two, for what the rounding of scores (products of
    /// head_dim terms) does to the weights.
    fn check((n_heads, n_kv_heads, head_dim): (usize, usize, usize), len: usize, n_rows: usize) {
        check_shape(shapes(n_heads, n_kv_heads, head_dim).0, len, n_rows);
    }

    fn check_shape(shape: Attention, len: usize, n_rows: usize) {
        let Attention { n_heads, n_kv_heads, head_dim, .. } = shape;
        let kv = KvShape { n_layers: LAYER + 1, n_kv_heads, head_dim };
        let sequences = [sequence(kv, len, 1)];
        let q = numbers(n_rows * n_heads * head_dim, 3);
        let seen: Vec<usize> = (len - n_rows + 1..=len).collect();
        let want = plain::attention(shape, &q, &sequences[0].keys, &sequences[0].values, &seen);
        let rows = Rows { sequences: &sequences, rows: seen.iter().map(|seen| (0, *seen)).collect() };
        let mut first = None;
        for isa in Isa::available() {
            let got = run(&Cpu::new(isa, 2), shape, &q, &rows);
            let what = format!("{isa:?}, {n_heads}/{n_kv_heads} heads of {head_dim}, {n_rows} of {len}");
            for (got, want) in got.iter().zip(&want) {
                assert!((got - want).abs() < 4e-6, "{what}: {got} {want}");
            }
            assert_eq!(*first.get_or_insert_with(|| bits(&got)), bits(&got), "{what}: other bits");
        }
    }

    #[test]
    fn every_kernel_set_equals_the_plain_twin_on_every_class_of_shape() {
        check((1, 1, 16), 1, 1);
        check((1, 1, 1), 5, 5);
        check((6, 3, 7), 13, 2);
        check((4, 2, 32), 33, 33);
        check((2, 2, 64), 100, 100); // a key head for each query head
        check((8, 2, 64), 70, 70); // four query heads to a key head
        check((9, 3, 64), 65, 65);
        check((14, 2, 64), 40, 40);
        check((12, 1, 80), 50, 50); // one key head for all
        check((64, 1, 16), 40, 3); // more than a task holds
        check((3, 1, 20), 64, 64);
        check((2, 1, 36), 31, 31);
        check((4, 4, 96), 32, 32);
        check((4, 1, 128), 45, 45);
        check((2, 1, 256), 33, 33);
        check((5, 1, 1026), 3, 3); // a wide head
        check((32, 8, 64), 96, 3); // large enough to run on several threads
    }

    #[test]
    fn contexts_of_every_length_equal_the_twin() {
        (1..=200).for_each(|len| check((4, 2, 20), len, len.min(3)));
    }

    #[test]
    fn windows_of_every_length_equal_the_twin() {
        for window in [1, 2, 3, 5, 31, 32, 33, 40, 64, 65, 99, 100, 200] {
            for (len, n_rows) in [(100, 100), (100, 1), (70, 13), (1, 1)] {
                for heads in [(4, 2, 20), (3, 3, 16), (6, 1, 40)] {
                    let shape = Attention { window: Some(window), ..shapes(heads.0, heads.1, heads.2).0 };
                    check_shape(shape, len, n_rows);
                }
            }
        }
    }

    #[test]
    fn capped_scores_equal_the_twin() {
        for cap in [0.5, 5.0, 50.0] {
            for window in [None, Some(7)] {
                let shape = Attention { soft_cap: Some(cap), window, ..shapes(4, 2, 20).0 };
                check_shape(shape, 75, 75);
            }
        }
    }

    /// Hidden positions may hold anything, and a block that is wholly hidden is not asked for.
    #[test]
    fn positions_before_the_window_do_not_matter() {
        let (plain_shape, kv) = shapes(4, 2, 20);
        let shape = Attention { window: Some(10), ..plain_shape };
        let clean = sequence(kv, 100, 8);
        let (mut keys, mut values) = (clean.keys.clone(), clean.values.clone());
        for x in keys[..85 * kv.width()].iter_mut().chain(&mut values[..85 * kv.width()]) {
            *x = f32::NAN;
        }
        let dirty = Sequence::new(kv, keys, values);
        let q = numbers(5 * 80, 9);
        let rows: Vec<(usize, usize)> = (0..5).map(|i| (0, 96 + i)).collect();
        for isa in Isa::available() {
            let cpu = Cpu::new(isa, 2);
            let run = |sequence: &Sequence| {
                let sequences = [sequence.clone()];
                run(&cpu, shape, &q, &Rows { sequences: &sequences, rows: rows.clone() })
            };
            assert_eq!(bits(&run(&dirty)), bits(&run(&clean)), "{isa:?}");
        }
    }

    #[test]
    fn strips_of_every_height_equal_the_twin() {
        (1..=50).for_each(|n_rows| check((1, 1, 20), 50, n_rows));
    }

    #[test]
    fn the_cut_of_a_sequence_into_passes_does_not_matter() {
        let windows = [None, Some(40), Some(3)];
        for ((n_heads, n_kv_heads, head_dim), window) in
            [(4, 1, 64), (3, 3, 20), (16, 2, 32)].into_iter().zip(windows)
        {
            let (shape, kv) = shapes(n_heads, n_kv_heads, head_dim);
            let shape = Attention { window, ..shape };
            let (len, width) = (150, n_heads * head_dim);
            let sequences = [sequence(kv, len, 5)];
            let q = numbers(len * width, 6);
            for isa in Isa::available() {
                let cpu = Cpu::new(isa, 2);
                let part = |from: usize, to: usize| {
                    let rows = (from..to).map(|row| (0, row + 1)).collect();
                    run(&cpu, shape, &q[from * width..to * width], &Rows { sequences: &sequences, rows })
                };
                let whole = part(0, len);
                for step in [1, 7, 32, 50] {
                    let parts = (0..len).step_by(step).flat_map(|at| part(at, len.min(at + step)));
                    assert_eq!(bits(&parts.collect::<Vec<f32>>()), bits(&whole), "{isa:?}, {step} at a time");
                }
            }
        }
    }

    #[test]
    fn rows_of_many_sequences_do_not_disturb_each_other() {
        let (shape, kv) = shapes(4, 2, 24);
        let width = 4 * 24;
        let sequences = [sequence(kv, 100, 1), sequence(kv, 40, 3), sequence(kv, 7, 5)];
        let rows = [(0, 100), (1, 33), (1, 34), (2, 1), (2, 2), (0, 64), (0, 65), (1, 40), (2, 7), (0, 1)];
        let cpu = Cpu::new(Isa::best(), 2);
        let q = numbers(rows.len() * width, 9);
        let all = run(&cpu, shape, &q, &Rows { sequences: &sequences, rows: rows.into() });
        for (i, row) in rows.into_iter().enumerate() {
            let at = i * width..(i + 1) * width;
            let one = run(&cpu, shape, &q[at.clone()], &Rows { sequences: &sequences, rows: vec![row] });
            assert_eq!(bits(&one), bits(&all[at]), "row {i}");
        }
    }

    /// The rows of two sequences that share their beginning read it together, and get what they would get
    /// from copies.
    #[test]
    fn shared_blocks_give_the_same_bits_as_copies() {
        struct Shared<'a>(&'a [Sequence]);
        impl Context for Shared<'_> {
            fn seen(&self, row: usize) -> usize {
                80 + row
            }
            fn block(&self, row: usize, index: usize) -> &KvBlock {
                &self.0[if index < 2 { 0 } else { row % 2 }].blocks[index]
            }
        }
        let (shape, kv) = shapes(4, 2, 64);
        let a = sequence(kv, 96, 1);
        let mut b = sequence(kv, 96, 3);
        b.blocks[..2].clone_from_slice(&a.blocks[..2]);
        let sequences = [a, b];
        let q = numbers(10 * 4 * 64, 7);
        let cpu = Cpu::new(Isa::best(), 2);
        let rows = (0..10).map(|row| (row % 2, 80 + row)).collect();
        let copied = run(&cpu, shape, &q, &Rows { sequences: &sequences, rows });
        let mut shared = vec![f32::NAN; q.len()];
        attention(&cpu, shape, LAYER, &q, &Shared(&sequences), &mut shared);
        assert_eq!(bits(&shared), bits(&copied));
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        for (n_heads, n_kv_heads) in [(8, 2), (32, 1), (6, 6)] {
            let (shape, kv) = shapes(n_heads, n_kv_heads, 64);
            let sequences = [sequence(kv, 120, 2)];
            let q = numbers(100 * n_heads * 64, 4);
            for n_rows in [1, 100] {
                let rows = Rows { sequences: &sequences, rows: (0..n_rows).map(|i| (0, 21 + i)).collect() };
                let q = &q[..n_rows * n_heads * 64];
                let want = run(&Cpu::new(Isa::best(), 1), shape, q, &rows);
                for n_threads in [2, 4, 16, 64] {
                    let got = run(&Cpu::new(Isa::best(), n_threads), shape, q, &rows);
                    assert_eq!(bits(&got), bits(&want), "{n_threads} threads, {n_rows} rows");
                }
            }
        }
    }

    #[test]
    fn positions_that_a_row_does_not_see_do_not_matter() {
        let (shape, kv) = shapes(4, 2, 20);
        let len = 70;
        let clean = sequence(kv, len, 8);
        for isa in Isa::available() {
            let cpu = Cpu::new(isa, 2);
            for from in [1usize, 5, 16, 31, 32, 33, 64, 69] {
                // Rows on both sides of the first bad position, in one pass.
                let rows: Vec<_> = (from.saturating_sub(6)..len.min(from + 6)).map(|i| (0, i + 1)).collect();
                let good = rows.iter().filter(|(_, seen)| *seen <= from).count() * 4 * 20;
                let q = numbers(rows.len() * 4 * 20, 2);
                let want = run(
                    &cpu,
                    shape,
                    &q,
                    &Rows { sequences: std::slice::from_ref(&clean), rows: rows.clone() },
                );
                for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e38] {
                    let (mut keys, mut values) = (clean.keys.clone(), clean.values.clone());
                    keys[from * kv.width()..].fill(bad);
                    values[from * kv.width()..].fill(bad);
                    let spoilt = [Sequence::new(kv, keys, values)];
                    let got = run(&cpu, shape, &q, &Rows { sequences: &spoilt, rows: rows.clone() });
                    assert_eq!(bits(&got[..good]), bits(&want[..good]), "{isa:?}, {bad} from {from} on");
                    assert!(!bad.is_nan() || got[good..].iter().all(|x| x.is_nan()), "{isa:?}: NaN was lost");
                }
            }
        }
    }

    #[test]
    fn huge_scores_choose_one_value_and_make_no_nan() {
        let (shape, kv) = shapes(2, 1, 16);
        let len = 70;
        let q: Vec<f32> = vec![1.0; 2 * 16];
        let values: Vec<f32> = (0..len * 16).map(|i| (i / 16) as f32).collect();
        // The keys make each score `size` times the value of `of`.
        let out = |isa: Isa, size: f32, of: &dyn Fn(usize) -> f32| {
            let keys = (0..len * 16).map(|i| of(i / 16) * size / 4.0).collect();
            let sequences = [Sequence::new(kv, keys, values.clone())];
            run(&Cpu::new(isa, 2), shape, &q, &Rows { sequences: &sequences, rows: vec![(0, len)] })
        };
        for isa in Isa::available() {
            for size in [1e4, 1e30, 3e38] {
                for at in [0, 15, 40, 69] {
                    let peak = |p: usize| if p == at { 1.0 } else { -1.0 };
                    let one = out(isa, size, &peak);
                    // The smallest weight is not zero but 1e-38.
                    assert!(one.iter().all(|x| (x - at as f32).abs() < 1e-30), "{isa:?} {size} {at}");
                    let hole = |p: usize| if p == at { -1.0 } else { 1.0 };
                    let want = ((0..len).sum::<usize>() - at) as f32 / (len - 1) as f32;
                    let mean = out(isa, size, &hole);
                    assert!(mean.iter().all(|x| (x - want).abs() < 1e-4), "{isa:?} {size} {at}: {mean:?}");
                }
            }
            // All scores overflow, to either side.
            for sign in [1.0, -1.0] {
                let mean = out(isa, 3e38, &|_| sign * 4.0 / 1.2);
                assert!(mean.iter().all(|x| (x - 34.5).abs() < 1e-4), "{isa:?} {mean:?}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "a row sees itself")]
    fn a_row_that_sees_nothing_is_refused() {
        let (shape, kv) = shapes(1, 1, 16);
        let sequences = [sequence(kv, 1, 1)];
        run(
            &Cpu::new(Isa::best(), 1),
            shape,
            &[0.0; 16],
            &Rows { sequences: &sequences, rows: vec![(0, 0)] },
        );
    }
}
