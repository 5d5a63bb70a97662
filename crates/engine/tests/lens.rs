//! The logit lens against the formula written out, and in every family against the logits of its own forward pass.

use safetensors::{Dtype, SafeTensors};
use std::path::{Path, PathBuf};
use whipstaff_engine::*;

/// No element further off than this fraction of the largest magnitude: sums of some dozens of `f32`.
const TOLERANCE: f64 = 2e-6;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

fn load(case: &str) -> Model {
    Model::load(&root().join(case), Cpu::best().with_precision(Precision::F32)).unwrap()
}

/// Rows of numbers that have nothing to do with any model.
fn rows(model: &Model, n: usize, scale: f32) -> Rows {
    let width = model.config().d_model;
    let number = |i: usize| scale * ((i * i + 3 * i) as f32 * 0.37).sin();
    model.rows(&(0..n * width).map(number).collect::<Vec<f32>>(), width)
}

fn tensor(file: &SafeTensors, name: &str) -> Vec<f64> {
    let view = file.tensor(name).unwrap();
    let number = |bytes: &[u8]| match view.dtype() {
        Dtype::F32 => f32::from_le_bytes(bytes.try_into().unwrap()),
        _ => f32::from_bits(u32::from(u16::from_le_bytes(bytes.try_into().unwrap())) << 16),
    };
    let size = if view.dtype() == Dtype::F32 { 4 } else { 2 };
    view.data().chunks_exact(size).map(|bytes| f64::from(number(bytes))).collect()
}

fn check_close(what: &str, got: &[f32], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{what}");
    let scale = want.iter().fold(0.0f64, |max, x| max.max(x.abs()));
    for (got, want) in got.iter().zip(want) {
        assert!((f64::from(*got) - want).abs() <= TOLERANCE * scale, "{what}: {got} {want}");
    }
}

#[test]
fn a_direction_is_read_by_the_formula() {
    let check = |case: &str, head: &str, norm: &str, plus: f64, centered: bool, divisor: f64| {
        let bytes = std::fs::read(root().join(case).join("model.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let (head, gamma) = (tensor(&file, head), tensor(&file, norm));
        let d_model = gamma.len();
        let model = load(case);
        let directions = rows(&model, 3, 0.01);
        let found = model.unembed(&directions);
        let (directions, found) = (model.host(&directions), model.host(&found));
        for i in 0..3 {
            let x: Vec<f64> = directions.row(i).iter().map(|x| f64::from(*x)).collect();
            let mean = if centered { x.iter().sum::<f64>() / d_model as f64 } else { 0.0 };
            let x: Vec<f64> = x.iter().map(|x| x - mean).collect();
            let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt();
            let read = |row: &[f64]| {
                let products = row.iter().zip(&gamma).zip(&x).map(|((w, gamma), x)| w * (gamma + plus) * x);
                products.sum::<f64>() * (d_model as f64).sqrt() / norm / divisor
            };
            let want: Vec<f64> = head.chunks(d_model).map(read).collect();
            check_close(case, found.row(i), &want);
        }
    };
    let embedding = "model.embed_tokens.weight";
    check("llama-gqa-tied-bf16", embedding, "model.norm.weight", 0.0, false, 1.0);
    check("llama-untied-bias-f32", "lm_head.weight", "model.norm.weight", 0.0, false, 1.0);
    check("families/gemma2-caps", embedding, "model.norm.weight", 1.0, false, 1.0);
    check("families/granite-multipliers", embedding, "model.norm.weight", 0.0, false, 1.7);
    check("families/gpt2-defaults", "transformer.wte.weight", "transformer.ln_f.weight", 0.0, true, 1.0);
    let norm = "gpt_neox.final_layer_norm.weight";
    check("families/gpt-neox-parallel", "embed_out.weight", norm, 0.0, true, 1.0);
}

#[test]
fn in_every_family_it_is_the_part_of_the_logits_that_turns_with_the_stream() {
    for case in std::fs::read_dir(root().join("families")).unwrap() {
        let case = format!("families/{}", case.unwrap().file_name().to_string_lossy());
        let model = load(&case);
        let config = model.config();
        // Streams so long that the norm's eps is nothing; the difference of both ways has no bias in it.
        let (plus, minus) = (rows(&model, 2, 1e4), rows(&model, 2, -1e4));
        let found = model.unembed(&plus);
        let found = model.host(&found);
        let uncapped = |logit: f32| match config.logit_soft_cap {
            Some(cap) => f64::from(cap) * (f64::from(logit) / f64::from(cap)).atanh(),
            None => f64::from(logit),
        };
        for i in 0..2 {
            let (a, b) = (model.logits(&plus, &[i]), model.logits(&minus, &[i]));
            let (a, b) = (model.host(&a), model.host(&b));
            let pairs = a.as_slice().iter().zip(b.as_slice());
            let want: Vec<f64> = pairs.map(|(a, b)| (uncapped(*a) - uncapped(*b)) / 2.0).collect();
            // What a soft cap has pressed flat cannot be told from its limit.
            let cap = config.logit_soft_cap.map_or(f64::INFINITY, |cap| 1.5 * f64::from(cap));
            let scale = want.iter().fold(0.0f64, |max, x| max.max(x.abs()));
            for (got, want) in found.row(i).iter().zip(&want).filter(|(_, want)| want.abs() < cap) {
                assert!((f64::from(*got) - want).abs() <= 1e-4 * scale, "{case}: {got} {want}");
            }
        }
    }
}

#[test]
fn the_length_of_a_direction_makes_no_difference_and_its_opposite_is_the_negative() {
    let model = load("llama-gqa-tied-bf16");
    let read = |scale: f32| model.host(&model.unembed(&rows(&model, 2, scale))).as_slice().to_vec();
    let one: Vec<f64> = read(1.0).into_iter().map(f64::from).collect();
    check_close("longer", &read(64.0), &one);
    check_close("shorter", &read(1.0 / 1024.0), &one);
    let opposite: Vec<f64> = one.iter().map(|x| -x).collect();
    check_close("opposite", &read(-1.0), &opposite);
}
