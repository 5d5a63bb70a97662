//! Zero is the identity, neighbours do not matter, and the way a text is cut into passes does not
//! matter: all bit for bit.

use std::path::Path;
use whipstaff_engine::*;

fn model() -> Model {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/llama-gqa-tied-bf16");
    Model::load(&dir, Isa::best()).unwrap()
}

fn tokenizer() -> Tokenizer {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/llama-gqa-tied-bf16");
    Tokenizer::load(&dir).unwrap()
}

fn prompt(n: usize, seed: u32) -> Vec<u32> {
    (0..n as u32).map(|i| (i * 37 + seed * 11) % 290).collect()
}

fn steering(model: &Model, layer: usize, scale: f32) -> Steering {
    let add = (0..model.config().d_model).map(|i| scale * (i as f32).cos()).collect();
    Steering::new([Edit::add(layer, Site::ResidPost, add)])
}

/// Logits of the last token, run alone in one pass.
fn alone(model: &Model, tokens: &[u32], steering: Steering) -> Vec<f32> {
    model.host(&model.extend(&mut Session::steered(steering), tokens).unwrap()).as_slice().to_vec()
}

#[test]
fn alpha_zero_gives_bit_identical_logits() {
    let model = model();
    let plain = alone(&model, &prompt(20, 1), Steering::default());
    assert_eq!(plain, alone(&model, &prompt(20, 1), steering(&model, 1, 0.0)));
    assert_eq!(plain, alone(&model, &prompt(20, 1), steering(&model, 1, -0.0)));
    assert_ne!(plain, alone(&model, &prompt(20, 1), steering(&model, 1, 0.5)));
    assert!(steering(&model, 1, 0.0).is_empty());
}

#[test]
fn a_steered_sequence_leaves_its_neighbours_bit_identical() {
    let model = model();
    let texts = [prompt(7, 1), prompt(33, 2), prompt(1, 3)];
    let steerings = [Steering::default(), steering(&model, 0, 2.0), Steering::default()];
    let mut sessions: Vec<Session> = steerings.iter().cloned().map(Session::steered).collect();
    let mut batch = Batch::new();
    for (session, text) in sessions.iter_mut().zip(&texts) {
        batch.push(session, text);
    }
    let resid = model.forward(&mut batch, &mut NoTap).unwrap();
    for i in 0..3 {
        let last = batch.rows().span(i).end - 1;
        let logits = model.logits(&resid, &[last]);
        assert_eq!(model.host(&logits).as_slice(), alone(&model, &texts[i], steerings[i].clone()));
    }
}

#[test]
fn chunked_prefill_equals_one_pass() {
    let model = model();
    let tokens = prompt(100, 4);
    let whole = alone(&model, &tokens, Steering::default());
    for size in [1, 7, 32, 99] {
        let mut session = Session::new();
        let mut last = Vec::new();
        for chunk in tokens.chunks(size) {
            last = model.host(&model.extend(&mut session, chunk).unwrap()).as_slice().to_vec();
        }
        assert_eq!(last, whole, "chunks of {size}");
    }
}

#[test]
fn a_fork_continues_as_if_it_had_run_alone() {
    let model = model();
    let (prefix, a, b) = (prompt(40, 5), prompt(9, 6), prompt(5, 7));
    let mut session = Session::new();
    model.extend(&mut session, &prefix).unwrap();
    let mut fork = session.fork();
    let got_a = model.extend(&mut session, &a).unwrap();
    let got_b = model.extend(&mut fork, &b).unwrap();
    let want = |tail: &[u32]| alone(&model, &[&prefix[..], tail].concat(), Steering::default());
    assert_eq!(model.host(&got_a).as_slice(), want(&a));
    assert_eq!(model.host(&got_b).as_slice(), want(&b));
}

#[test]
fn blocks_above_a_fork_run_again_as_if_the_whole_had_run_steered() {
    let model = model();
    let tokens = prompt(30, 8);
    let first = 1;
    let mut base = Session::new();
    let mut batch = Batch::new();
    batch.push(&mut base, &tokens);
    let entering = model.embed(&batch).unwrap();
    let leaving_0 = model.run_blocks(&mut batch, entering, 0..first, &mut NoTap);
    drop(batch);
    for alpha in [0.0, 1.5, -0.7] {
        let steering = steering(&model, first, alpha);
        let mut session = base.fork_above(first, steering.clone());
        let mut batch = Batch::new();
        batch.again(&mut session, 0);
        let resid =
            model.run_blocks(&mut batch, leaving_0.clone(), first..model.config().n_layers, &mut NoTap);
        assert_eq!(model.host(&model.logits(&resid, &[29])).as_slice(), alone(&model, &tokens, steering));
    }
}

#[test]
fn requests_generated_together_equal_requests_generated_one_by_one() {
    let (model, tokenizer) = (model(), tokenizer());
    let request = |i: usize| Request {
        prompt: prompt([5, 200, 40][i], i as u32),
        steering: steering(&model, i % 3, [0.0, 1.0, -1.0][i]),
        sampling: Sampling { temperature: 0.8, top_p: 0.9, seed: i as u64, ..Sampling::default() },
        max_tokens: [12, 5, 9][i],
        ..Request::default()
    };
    let run = |requests: Vec<Request>| -> Vec<Vec<u32>> {
        let n = requests.len();
        let mut tokens = vec![Vec::new(); n];
        for event in Generator::new(&model, &tokenizer).with_requests(requests).unwrap() {
            let event = event.unwrap();
            tokens[event.request.index()].extend(event.token);
        }
        tokens
    };
    let together = run((0..3).map(request).collect());
    for (i, together) in together.iter().enumerate() {
        assert_eq!(run(vec![request(i)])[0], *together);
    }
}

#[test]
fn threads_and_kernel_sets_give_the_same_bits() {
    // The pool of this process has one size; the kernels crate tests tiles and tasks. Here the
    // whole model runs on every kernel set that the processor has.
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/llama-untied-bias-f32");
    let run = |isa| alone(&Model::load(&dir, isa).unwrap(), &prompt(20, 1), Steering::default());
    let want = run(Isa::best());
    Isa::available().into_iter().for_each(|isa| assert_eq!(run(isa), want, "{isa:?}"));
}

#[test]
fn what_does_not_fit_the_model_is_refused_before_anything_runs() {
    let model = model();
    let check = |tokens: &[u32], steering: Steering, part: &str| {
        let error = model.extend(&mut Session::steered(steering), tokens).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    check(&[], Steering::default(), "empty");
    check(&[5000], Steering::default(), "5000");
    check(&vec![1; 257], Steering::default(), "context of 256");
    check(&[1], steering(&model, 3, 1.0), "layer 3");
    let edit = |add| Steering::new([Edit::add(0, Site::ResidPost, add)]);
    check(&[1], edit(vec![1.0; 5]), "5 elements");
    check(&[1], edit(vec![f32::NAN; 64]), "not finite");
}
