//! Taps are handed what they ask for and nothing else, and what the host reads is what the model has.

use std::path::Path;
use whipstaff_engine::*;

const CASES: [&str; 4] = [
    "llama-gqa-tied-bf16",
    "families/gpt-neox-parallel",
    "families/gemma2-caps",
    "families/qwen2-moe-shared",
];

fn load(case: &str) -> Model {
    Model::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(case), Isa::best())
        .unwrap()
}

const TOKENS: [u32; 7] = [5, 9, 2, 77, 31, 8, 60];

/// Runs the tokens in one pass and returns what left the last block, and the logits of the last row.
fn run(model: &Model, tap: &mut impl Tap) -> (Rows, Vec<f32>) {
    let (mut session, mut batch) = (Session::new(), Batch::new());
    batch.push(&mut session, &TOKENS);
    let resid = model.forward(&mut batch, tap).unwrap();
    let logits = model.host(&model.logits(&resid, &[TOKENS.len() - 1])).as_slice().to_vec();
    (resid, logits)
}

/// Notes where it is called, and that what it gets has the shape of the stream.
struct Note {
    reads: fn(usize, Site) -> bool,
    called: Vec<(usize, Site)>,
    d_model: usize,
}

impl Tap for Note {
    fn reads(&self, layer: usize, site: Site) -> bool {
        (self.reads)(layer, site)
    }

    fn at(&mut self, hook: Hook<'_>, x: Rows) -> Rows {
        assert_eq!((x.n_rows(), x.width(), hook.rows.len()), (TOKENS.len(), self.d_model, TOKENS.len()));
        self.called.push((hook.layer, hook.site));
        x
    }
}

#[test]
fn a_tap_is_called_where_it_reads_and_nowhere_else() {
    let check = |model: &Model, reads: fn(usize, Site) -> bool| {
        let mut note = Note { reads, called: Vec::new(), d_model: model.config().d_model };
        run(model, &mut note);
        let places = (0..model.config().n_layers).flat_map(|layer| Site::ALL.map(|site| (layer, site)));
        let want: Vec<(usize, Site)> = places.filter(|(layer, site)| reads(*layer, *site)).collect();
        assert_eq!(note.called, want);
    };
    for case in CASES {
        let model = load(case);
        check(&model, |_, _| true);
        check(&model, |_, _| false);
        check(&model, |layer, _| layer == 1);
        check(&model, |_, site| site == Site::AttnOut);
        check(&model, |layer, site| layer == 0 && (site == Site::ResidMid || site == Site::ResidPost));
    }
}

#[test]
fn a_tap_above_a_block_is_called_where_it_reads() {
    let model = load(CASES[0]);
    let (mut session, mut batch) = (Session::new(), Batch::new());
    batch.push(&mut session, &TOKENS);
    let entering = model.embed(&batch).unwrap();
    let leaving = model.run_blocks(&mut batch, entering, 0..1, &mut NoTap);
    let check = |reads: fn(usize, Site) -> bool, n: usize, batch: &mut Batch| {
        let mut note = Note { reads, called: Vec::new(), d_model: model.config().d_model };
        model.run_blocks_above(batch, leaving.clone(), 0, &mut note);
        assert_eq!(note.called.len(), n);
    };
    let above = model.config().n_layers - 1;
    check(|_, _| true, 1 + 5 * above, &mut batch);
    check(|layer, _| layer == 0, 1, &mut batch);
    check(|layer, site| layer == 0 && site != Site::ResidPost, 0, &mut batch);
}

/// Keeps what the host reads at one place.
struct Read {
    layer: usize,
    site: Site,
    read: Vec<f32>,
}

impl Tap for Read {
    fn reads(&self, layer: usize, site: Site) -> bool {
        (layer, site) == (self.layer, self.site)
    }

    fn at(&mut self, hook: Hook<'_>, x: Rows) -> Rows {
        let read = hook.host(&x);
        assert_eq!((read.n_rows(), read.width()), (x.n_rows(), x.width()));
        self.read = (0..read.n_rows()).flat_map(|row| read.row(row).to_vec()).collect();
        x
    }
}

#[test]
fn what_a_hook_reads_is_what_the_model_reads_of_kept_rows() {
    for case in CASES {
        let model = load(case);
        let (_, plain) = run(&model, &mut NoTap);
        for site in Site::ALL {
            let (mut kept, mut read) =
                (KeepRows::new(&[1], &[site]), Read { layer: 1, site, read: Vec::new() });
            assert_eq!(run(&model, &mut kept).1, plain, "{case} {site}");
            assert_eq!(run(&model, &mut read).1, plain, "{case} {site}");
            assert_eq!(model.host(&kept.get(site, 1)[0]).as_slice(), read.read, "{case} {site}");
        }
    }
}

#[test]
fn rows_come_back_from_the_model_as_they_went_there() {
    let model = load(CASES[0]);
    let numbers: Vec<f32> = (0..12).map(|i| i as f32 - 5.5).collect();
    let rows = model.rows(&numbers, 4);
    let check = |rows: &Rows, want: &[f32]| {
        assert_eq!((rows.n_rows(), rows.width()), (want.len() / 4, 4));
        assert_eq!(model.host(rows).as_slice(), want);
    };
    check(&rows, &numbers);
    check(&rows.clone(), &numbers);
    check(&rows.select(&[2, 0]), &[&numbers[8..], &numbers[..4]].concat());
    check(&rows.clone().select(&[1, 1, 1]), &numbers[4..8].repeat(3));
    check(&rows.select(&[]), &[]);
}

#[test]
fn log_sums_and_picked_elements_are_those_of_the_logits_that_the_host_reads() {
    let model = load(CASES[0]);
    let (resid, _) = run(&model, &mut NoTap);
    let logits = model.logits(&resid, &[0, 3, 6]);
    let (read, sums) = (model.host(&logits), model.log_sums(&logits));
    assert_eq!(sums.len(), 3);
    for (row, sum) in sums.into_iter().enumerate() {
        let want = read.row(row).iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln();
        assert!((sum - want).abs() < 1e-5, "{sum} {want}");
    }
    let which = [(2, 7), (0, 0), (2, 290), (1, 5)];
    let want = which.map(|(row, at)| read.row(row)[at]);
    assert_eq!(model.pick(&logits, &which), want);
}

/// Adds a vector to every row at one place.
struct Add {
    layer: usize,
    add: Vec<f32>,
}

impl Tap for Add {
    fn reads(&self, layer: usize, site: Site) -> bool {
        (layer, site) == (self.layer, Site::ResidPost)
    }

    fn at(&mut self, hook: Hook<'_>, x: Rows) -> Rows {
        hook.edit(x, |_, values| values.iter_mut().zip(&self.add).for_each(|(x, add)| *x += add))
    }
}

#[test]
fn a_tap_that_adds_a_vector_does_what_steering_does() {
    let model = load(CASES[0]);
    let add: Vec<f32> = (0..model.config().d_model).map(|i| (i as f32).cos()).collect();
    let steering = Steering::new([Edit::add(1, Site::ResidPost, add.clone())]);
    let (_, got) = run(&model, &mut Add { layer: 1, add });
    let steered = model.extend(&mut Session::steered(steering), &TOKENS).unwrap();
    assert_eq!(got, model.host(&steered).as_slice());
    assert_ne!(got, run(&model, &mut NoTap).1);
}
