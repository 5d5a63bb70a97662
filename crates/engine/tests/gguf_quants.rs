//! Whole models in every quantised type, on the integer kernels, against the same weights in `f32` arithmetic: one
//! whose matrices lie by themselves, one with fused matrices, one with experts in tensors of three dimensions.

mod expectations;

use expectations::{expectations, kl, worst};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use whipstaff_engine::*;
use whipstaff_kernels::{Bytes as Stored, Matrix};

/// No logit of the weights as floats further off than this fraction of the largest: the bound of `golden.rs`.
const SAME: f64 = 2e-5;

/// Nats per token by which the integer kernels may move a model's expectations: they round what weights are
/// multiplied with to 8 bits per block.
const TOLERANCE: f64 = 1e-3;

const D: usize = 256;
const VOCAB: usize = 320;

/// Random blocks of a type: any bits are codes, but scales have to make weights of a model's size, and where codes
/// have no sign, minima have to centre them. `scales` are `f16` numbers by where they stand in the block.
fn blocks(dtype: Dtype, n_elements: usize, scales: &[(usize, f32)], random: &mut ChaCha8Rng) -> Vec<u8> {
    let size = dtype.block_bytes();
    let mut bytes = vec![0; n_elements / dtype.block_len() * size];
    random.fill_bytes(&mut bytes);
    for block in bytes.chunks_mut(size) {
        for (at, scale) in scales {
            block[*at..at + 2].copy_from_slice(&half::f16::from_f32(*scale).to_le_bytes());
        }
        if dtype == Dtype::Mxfp4 {
            block[0] = 121; // the exponent of a power of two: 2^(121 − 127)
        }
    }
    bytes
}

/// How the matrices of a block lie.
#[derive(Clone, Copy, Debug)]
enum Layout {
    /// Each in a tensor of its own.
    Plain,
    /// Queries, keys and values in one, gate and up in one.
    Fused,
    /// Four experts in one. Every token goes to all of them: where it goes to some, rounding may choose others, which
    /// is a cost of its own.
    Experts,
}

impl Layout {
    fn architecture(self) -> &'static str {
        match self {
            Layout::Plain | Layout::Experts => "llama",
            Layout::Fused => "phi3",
        }
    }

    /// The quantised tensors of a block, with their shapes but for the columns.
    fn tensors(self) -> Vec<(&'static str, Vec<usize>)> {
        let attention = match self {
            Layout::Fused => vec![("attn_qkv", vec![2 * D])],
            _ => vec![("attn_q", vec![D]), ("attn_k", vec![D / 2]), ("attn_v", vec![D / 2])],
        };
        let mlp = match self {
            Layout::Plain => vec![("ffn_gate", vec![D]), ("ffn_up", vec![D]), ("ffn_down", vec![D])],
            Layout::Fused => vec![("ffn_up", vec![2 * D]), ("ffn_down", vec![D])],
            Layout::Experts => {
                ["ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"].map(|it| (it, vec![4, D])).into()
            }
        };
        attention.into_iter().chain([("attn_output", vec![D])]).chain(mlp).collect()
    }
}

/// Blocks as the floats that they stand for.
fn floats_of(dtype: Dtype, blocks: Vec<u8>) -> Vec<u8> {
    let n_rows = blocks.len() / dtype.row_bytes(D).unwrap();
    let stored = Stored::from(blocks);
    let matrix = Matrix::new(&stored, 0..stored.len(), dtype, n_rows, D).unwrap();
    matrix.to_f32().iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// A model of two blocks with random weights; `as_floats` has them as `f32`.
fn file(layout: Layout, dtype: Dtype, scales: &[(usize, f32)], as_floats: bool) -> Vec<u8> {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let arch = layout.architecture();
    let mut writer = GgufWriter::new(arch);
    let sizes = [
        ("block_count", 2),
        ("context_length", 64),
        ("embedding_length", D),
        ("feed_forward_length", D),
        ("attention.head_count", 4),
        ("attention.head_count_kv", 2),
        ("vocab_size", VOCAB),
    ];
    let experts = [("expert_count", 4), ("expert_used_count", 4)];
    let n_experts = if matches!(layout, Layout::Experts) { 2 } else { 0 };
    for (key, n) in sizes.iter().chain(&experts[..n_experts]) {
        writer = writer.set(&format!("{arch}.{key}"), GgufValue::U32(*n as u32));
    }
    writer = writer
        .set(&format!("{arch}.attention.layer_norm_rms_epsilon"), GgufValue::F32(1e-5))
        .set(&format!("{arch}.rope.freq_base"), GgufValue::F32(10_000.0));
    let ones: Vec<u8> = (0..D).flat_map(|_| 1f32.to_le_bytes()).collect();
    let mut quantised = |writer: GgufWriter<'static>, name: &str, rows: &[usize]| {
        let shape = [rows, &[D]].concat();
        let bytes = blocks(dtype, shape.iter().product(), scales, &mut random);
        match as_floats {
            true => writer.tensor(name, Dtype::F32, &shape, floats_of(dtype, bytes)),
            false => writer.tensor(name, dtype, &shape, bytes),
        }
    };
    for layer in 0..2 {
        for (name, rows) in layout.tensors() {
            writer = quantised(writer, &format!("blk.{layer}.{name}.weight"), &rows);
        }
        for name in ["attn_norm", "ffn_norm"] {
            writer = writer.tensor(&format!("blk.{layer}.{name}.weight"), Dtype::F32, &[D], ones.clone());
        }
        if n_experts > 0 {
            let router = (0..4 * D).flat_map(|i| ((i * i % 97) as f32 / 768.0 - 0.0625).to_le_bytes());
            let name = format!("blk.{layer}.ffn_gate_inp.weight");
            writer = writer.tensor(&name, Dtype::F32, &[4, D], router.collect::<Vec<u8>>());
        }
    }
    writer = quantised(writer, "token_embd.weight", &[VOCAB]);
    writer = quantised(writer, "output.weight", &[VOCAB]);
    writer.tensor("output_norm.weight", Dtype::F32, &[D], ones).to_bytes()
}

fn check(layout: Layout, dtype: Dtype, scales: &[(usize, f32)]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    std::fs::write(&path, file(layout, dtype, scales, true)).unwrap();
    let run = |precision| {
        let ids: Vec<u32> = (0..32).map(|i| i * 37 % VOCAB as u32).collect();
        expectations(&path, precision, &ids)
    };
    let floats = run(Precision::F32);
    std::fs::write(&path, file(layout, dtype, scales, false)).unwrap();
    let (exact, fast) = (run(Precision::F32), run(Precision::Fast));
    let what = format!("{layout:?} {}", dtype.name());
    // How far the model is from expecting every token alike: else nothing could move.
    let surprise: f64 =
        exact.iter().map(|p| -p.iter().map(|p| p.exp() * p).sum::<f64>()).sum::<f64>() / exact.len() as f64;
    let flat = (VOCAB as f64).ln() - surprise;
    let off = worst(&exact, &floats);
    let nats = kl(&floats, &fast);
    println!("{what}: KL {nats:.1e} nats per token, {flat:.2} nats from flat");
    assert!(off <= SAME, "{what}: off by {off} from the same floats");
    assert!(flat > 0.1, "{what}: {flat}");
    assert!(nats < TOLERANCE, "{what}: {nats}");
    assert!(exact != fast, "{what}: both ran the same kernels");
}

/// Every quantised type, with scales that give weights of a model's size.
fn check_every_type(layout: Layout) {
    let check = |dtype: Dtype, scales: &[(usize, f32)]| check(layout, dtype, scales);
    check(Dtype::Q8_0, &[(0, 8e-4)]);
    check(Dtype::Q4_0, &[(0, 0.013)]);
    check(Dtype::Q4_1, &[(0, 0.013), (2, -0.0975)]);
    check(Dtype::Q5_0, &[(0, 0.0065)]);
    check(Dtype::Q5_1, &[(0, 0.0065), (2, -0.10075)]);
    check(Dtype::Q2K, &[(80, 0.004), (82, 0.006)]);
    check(Dtype::Q3K, &[(108, 0.0015)]);
    check(Dtype::Q4K, &[(0, 3e-4), (2, 2.25e-3)]);
    check(Dtype::Q5K, &[(0, 1.5e-4), (2, 2.33e-3)]);
    check(Dtype::Q6K, &[(208, 4.5e-5)]);
    check(Dtype::Iq4Nl, &[(0, 9e-4)]);
    check(Dtype::Iq4Xs, &[(0, 5e-5)]);
    check(Dtype::Mxfp4, &[]);
}

#[test]
fn integer_kernels_move_a_models_expectations_by_less_than_a_thousandth_of_a_nat() {
    check_every_type(Layout::Plain);
}

#[test]
fn fused_matrices_do_as_well() {
    check_every_type(Layout::Fused);
}

#[test]
fn experts_in_one_tensor_do_as_well() {
    check_every_type(Layout::Experts);
}
