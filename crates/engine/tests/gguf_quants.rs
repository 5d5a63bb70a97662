//! A whole model in every quantised type, on the integer kernels, against the same weights in `f32` arithmetic.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use whipstaff_engine::*;

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

fn file(dtype: Dtype, scales: &[(usize, f32)]) -> Vec<u8> {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let whole = |n: usize| GgufValue::U32(n as u32);
    let floats =
        |n: usize, of: &mut dyn FnMut() -> f32| (0..n).flat_map(|_| of().to_le_bytes()).collect::<Vec<u8>>();
    let mut writer = GgufWriter::new("llama")
        .set("llama.block_count", whole(2))
        .set("llama.context_length", whole(64))
        .set("llama.embedding_length", whole(D))
        .set("llama.feed_forward_length", whole(D))
        .set("llama.attention.head_count", whole(4))
        .set("llama.attention.head_count_kv", whole(2))
        .set("llama.attention.layer_norm_rms_epsilon", GgufValue::F32(1e-5))
        .set("llama.rope.freq_base", GgufValue::F32(10_000.0))
        .set("llama.vocab_size", whole(VOCAB));
    for layer in 0..2 {
        for (name, n_out) in [
            ("attn_q", D),
            ("attn_k", D / 2),
            ("attn_v", D / 2),
            ("attn_output", D),
            ("ffn_gate", D),
            ("ffn_up", D),
            ("ffn_down", D),
        ] {
            let bytes = blocks(dtype, n_out * D, scales, &mut random);
            writer = writer.tensor(&format!("blk.{layer}.{name}.weight"), dtype, &[n_out, D], bytes);
        }
        for name in ["attn_norm", "ffn_norm"] {
            let ones = floats(D, &mut || 1.0);
            writer = writer.tensor(&format!("blk.{layer}.{name}.weight"), Dtype::F32, &[D], ones);
        }
    }
    let embedding = blocks(dtype, VOCAB * D, scales, &mut random);
    writer = writer.tensor("token_embd.weight", dtype, &[VOCAB, D], embedding);
    let head = blocks(dtype, VOCAB * D, scales, &mut random);
    writer = writer.tensor("output.weight", dtype, &[VOCAB, D], head);
    writer.tensor("output_norm.weight", Dtype::F32, &[D], floats(D, &mut || 1.0)).to_bytes()
}

/// Log-probabilities, `[n, VOCAB]`.
fn log_probabilities(path: &std::path::Path, precision: Precision) -> Vec<Vec<f64>> {
    let model = Model::load(path, Cpu::new(Isa::best(), 2).with_precision(precision)).unwrap();
    let ids: Vec<u32> = (0..32).map(|i| i * 37 % VOCAB as u32).collect();
    let (mut session, mut batch) = (Session::new(), Batch::new());
    batch.push(&mut session, &ids);
    let resid = model.forward(&mut batch, &mut NoTap).unwrap();
    let logits = model.logits(&resid, &(0..ids.len()).collect::<Vec<_>>());
    let row = |i: usize| {
        let row: Vec<f64> = logits.row(i).iter().map(|x| f64::from(*x)).collect();
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total = max + row.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
        row.iter().map(|x| x - total).collect()
    };
    (0..ids.len()).map(row).collect()
}

#[test]
fn integer_kernels_move_a_models_expectations_by_less_than_a_thousandth_of_a_nat() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let check = |dtype: Dtype, scales: &[(usize, f32)]| {
        std::fs::write(&path, file(dtype, scales)).unwrap();
        let (exact, fast) =
            (log_probabilities(&path, Precision::F32), log_probabilities(&path, Precision::Fast));
        let kl =
            |(p, q): (&Vec<f64>, &Vec<f64>)| p.iter().zip(q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>();
        let mean = exact.iter().zip(&fast).map(kl).sum::<f64>() / exact.len() as f64;
        // How far the model is from expecting every token alike: else nothing could move.
        let surprise = exact.iter().map(|p| -p.iter().map(|p| p.exp() * p).sum::<f64>()).sum::<f64>()
            / exact.len() as f64;
        let flat = (VOCAB as f64).ln() - surprise;
        println!("{}: KL {mean:.1e} nats per token, {flat:.2} nats from flat", dtype.name());
        assert!(flat > 0.1, "{}: {flat}", dtype.name());
        assert!(mean < TOLERANCE, "{}: {mean}", dtype.name());
        assert!(exact != fast, "{}: both ran the same kernels", dtype.name());
    };
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
