//! Gates are decided from the unsteered prompt, for each sequence by itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use whipstaff_engine::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/llama-gqa-tied-bf16")
}

fn model() -> Model {
    Model::load(&folder(), Isa::best()).unwrap()
}

fn text(n: usize, seed: u32) -> Vec<u32> {
    (0..n as u32).map(|i| (i * 37 + seed * 11) % 290).collect()
}

fn wave(phase: f32) -> Vec<f32> {
    (0..64).map(|i| (i as f32 + phase).cos()).collect()
}

/// Adds a vector after block 1 if a gate fires.
fn gated(gate: Gate) -> Steering {
    Steering::new([Edit { gate: Some(Arc::new(gate)), ..plain_edit() }])
}

fn plain_edit() -> Edit {
    Edit::add(1, Site::ResidPost, wave(0.0))
}

fn gate(site: Site, layer: usize, pool: Pool, fires: Fires) -> Gate {
    Gate { layer, site, condition: wave(1.0), score: Score::Projection, pool, fires }
}

/// The score of a prompt at a place, from activations that are kept.
fn score(model: &Model, prompt: &[u32], gate: &Gate) -> f64 {
    let mut kept = KeepRows::new(&[gate.layer], &[gate.site]);
    let (mut session, mut batch) = (Session::new(), Batch::new());
    batch.push(&mut session, prompt);
    model.forward(&mut batch, &mut kept).unwrap();
    let rows = model.host(&kept.get(gate.site, gate.layer)[0]);
    let counted: Vec<usize> = match gate.pool {
        Pool::Mean => (0..prompt.len()).collect(),
        Pool::Last => vec![prompt.len() - 1],
    };
    let mean =
        |i: usize| counted.iter().map(|at| f64::from(rows.row(*at)[i])).sum::<f64>() / counted.len() as f64;
    gate.score(&(0..64).map(mean).collect::<Vec<_>>())
}

#[test]
fn a_gate_fires_by_the_mean_or_the_last_activation_of_the_prompt() {
    let model = model();
    let prompts: Vec<Vec<u32>> = (0..4).map(|seed| text(9 + 3 * seed as usize, seed)).collect();
    let prompts: Vec<&[u32]> = prompts.iter().map(|ids| &ids[..]).collect();
    for (site, layer) in [(Site::ResidPost, 0), (Site::ResidPre, 0), (Site::MlpOut, 2), (Site::AttnOut, 1)] {
        for pool in [Pool::Mean, Pool::Last] {
            let scores: Vec<f64> = prompts
                .iter()
                .map(|ids| score(&model, ids, &gate(site, layer, pool, Fires::Above(0.0))))
                .collect();
            // Between the second and the third of four scores: each prompt is decided by itself.
            let mut sorted = scores.clone();
            sorted.sort_by(f64::total_cmp);
            let threshold = (sorted[1] + sorted[2]) / 2.0;
            let above = gated(gate(site, layer, pool, Fires::Above(threshold)));
            let below = gated(gate(site, layer, pool, Fires::Below(threshold)));
            let together = decide(&model, &prompts, &vec![above.clone(); 4]).unwrap();
            for i in 0..4 {
                let alone = decide(&model, &prompts[i..i + 1], std::slice::from_ref(&above)).unwrap();
                let other = decide(&model, &prompts[i..i + 1], std::slice::from_ref(&below)).unwrap();
                assert_eq!(together[i].is_empty(), scores[i] < threshold, "{site} {layer} {pool:?} {i}");
                assert_eq!(alone[0].is_empty(), together[i].is_empty());
                assert_eq!(other[0].is_empty(), scores[i] > threshold);
                assert!(!together[i].is_gated());
            }
        }
    }
}

#[test]
fn the_steering_itself_does_not_move_its_gate() {
    let model = model();
    let prompt = text(12, 1);
    let looking = gate(Site::ResidPost, 1, Pool::Mean, Fires::Above(0.0));
    let threshold = score(&model, &prompt, &looking) + 1.0;
    // It would fire on what the steering makes of the prompt.
    let strong = Edit::add(0, Site::ResidPost, wave(1.0).iter().map(|x| 50.0 * x).collect());
    let closed = Gate { fires: Fires::Above(threshold), ..looking };
    let steering = Steering::new([strong.clone(), Edit { gate: Some(Arc::new(closed)), ..plain_edit() }]);
    let decided = decide(&model, &[&prompt], &[steering]).unwrap();
    assert_eq!(decided[0].edits().cloned().collect::<Vec<_>>(), [strong]);
}

#[test]
fn a_long_prompt_is_decided_over_several_passes() {
    // Longer than a pass: the prompt's pieces come to the gate one after the other.
    let dir = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        let bytes = std::fs::read(folder().join(name)).unwrap();
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let config = std::fs::read_to_string(folder().join("config.json")).unwrap().replace(": 256", ": 4096");
    std::fs::write(dir.path().join("config.json"), config).unwrap();
    let model = Model::load(dir.path(), Isa::best()).unwrap();
    let long = text(2 * ROW_BUDGET + 90, 3);
    for pool in [Pool::Mean, Pool::Last] {
        let looking = gate(Site::ResidPost, 1, pool, Fires::Above(0.0));
        let score = score(&model, &long, &looking);
        for (by, want) in [(-1e-6, true), (1e-6, false)] {
            let gate = Gate { fires: Fires::Above(score + by), ..looking.clone() };
            let decided = decide(&model, &[&long], &[gated(gate)]).unwrap();
            assert_eq!(!decided[0].is_empty(), want, "{pool:?}");
        }
    }
}

#[test]
fn gated_requests_run_as_if_they_had_no_gate_or_no_edit() {
    let model = model();
    let tokenizer = Tokenizer::load(&folder()).unwrap();
    let prompts = [text(15, 1), text(15, 2)];
    let looking = gate(Site::ResidPost, 1, Pool::Mean, Fires::Above(0.0));
    let scores = [0, 1].map(|i| score(&model, &prompts[i], &looking));
    let between = Fires::Above((scores[0] + scores[1]) / 2.0);
    let with_gate = gated(Gate { fires: between, ..looking });
    let run = |steerings: [Steering; 2]| {
        let requests = prompts.iter().zip(steerings).map(|(prompt, steering)| Request {
            prompt: prompt.clone(),
            steering,
            max_tokens: 6,
            ..Request::default()
        });
        let mut tokens = vec![Vec::new(); 2];
        for event in Generator::new(&model, &tokenizer).with_requests(requests).unwrap() {
            let event = event.unwrap();
            tokens[event.request.index()].extend(event.token);
        }
        tokens
    };
    let open = Steering::new([Edit::add(1, Site::ResidPost, wave(0.0))]);
    let want = [0, 1].map(|i| if scores[i] > scores[1 - i] { open.clone() } else { Steering::default() });
    assert_eq!(run([with_gate.clone(), with_gate]), run(want));
}

#[test]
fn an_undecided_gate_never_runs_and_a_misplaced_one_is_refused() {
    let model = model();
    let open = gate(Site::ResidPost, 1, Pool::Mean, Fires::Above(0.0));
    let error = model.extend(&mut Session::steered(gated(open.clone())), &[1]).unwrap_err().to_string();
    assert!(error.contains("a gate that has not been decided"), "{error}");
    let check = |gate: Gate, part: &str| {
        let error = decide(&model, &[&[1, 2]], &[gated(gate)]).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    check(Gate { layer: 3, ..open.clone() }, "a gate looks at layer 3");
    check(Gate { condition: vec![1.0; 5], ..open }, "5 elements");
}
