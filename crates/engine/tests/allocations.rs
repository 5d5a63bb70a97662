//! A decoded token allocates nothing: the memory of activations comes back to the model, and a
//! session's cache grows by blocks of 32 positions.

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::path::Path;
use whipstaff_engine::*;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Allocations per step of `n` sequences, steered each in its own way, from the third step on.
fn per_step(model: &Model, n: usize) -> Vec<usize> {
    let steering = |i: usize| {
        let direction = || (0..model.config().d_model).map(|j| 0.01 * (i + j) as f32).collect();
        let edit = |operator| Edit::new(1, Site::ResidPost, direction(), operator);
        let scope = Scope { span: Span::Answer, schedule: Schedule::Decay { half_life: 9.0 }, tokens: None };
        Steering::new([
            Edit::add(1, Site::ResidPost, direction()),
            Edit { keeps_norm: true, ..edit(Operator::Cap { alpha: 1.0, low: -0.1, high: 0.1 }) },
            Edit { scope, ..edit(Operator::Rotate { alpha: 0.1 }) },
        ])
    };
    let session = |i: usize| Session::steered(steering(i)).with_prompt(2);
    let mut sessions: Vec<Session> = (0..n).map(session).collect();
    let mut step = |token: u32| {
        let mut batch = Batch::new();
        for session in &mut sessions {
            batch.push(session, &[token]);
        }
        let resid = model.forward(&mut batch, &mut NoTap).unwrap();
        let rows: [usize; 1] = [0];
        let logits = model.logits(&resid, &rows);
        assert!(model.host(&logits).row(0).iter().all(|x| x.is_finite()));
    };
    (0..2).for_each(&mut step);
    // The steps up to the end of the cache's first block.
    let count = |token| {
        let before = ALLOCATOR.stats();
        step(token);
        let after = ALLOCATOR.stats();
        (after.allocations + after.reallocations) - (before.allocations + before.reallocations)
    };
    (2..32).map(count).collect()
}

#[test]
fn a_decoded_token_allocates_nothing() {
    let dir = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name);
    let names = [
        "llama-gqa-tied-bf16",
        "llama-untied-bias-f32",
        "families/gemma3-pattern",
        "families/gpt-neox-parallel",
        "families/gpt2-defaults",
        "families/qwen2-moe-shared",
    ];
    for name in names {
        let model = Model::load(&dir(name), Cpu::new(Isa::best(), 2)).unwrap();
        for n in [1, 4] {
            assert_eq!(per_step(&model, n), [0; 30], "{name}, {n} sequences");
        }
    }
}
