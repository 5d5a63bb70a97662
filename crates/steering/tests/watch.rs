//! Watching on the embedded model: rulers, steering, and texts on both sides of the contrasts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use whipstaff_engine::*;
use whipstaff_steering::*;

/// A steered row is the unsteered one with `alpha · gap · d` added in `f32`; the projection is a sum of 10^2
/// products of numbers of order 1.
const ROUNDING: f64 = 1e-4;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/librarian")
}

struct Scene {
    model: Model,
    tokenizer: Tokenizer,
    set: ContrastSet,
    rows: AnswerRows,
    vector: PersonaVector,
    layers: Vec<usize>,
}

impl Scene {
    fn new() -> Scene {
        let model = Model::load(&folder(), Cpu::best().with_precision(Precision::F32)).unwrap();
        let tokenizer = Tokenizer::load(&folder()).unwrap();
        let set = ContrastSet::read(folder().join("contrasts.jsonl")).unwrap().first(12);
        let layers: Vec<usize> = (0..model.config().n_layers).collect();
        let options = ExtractOptions {
            model: ModelId::of(&model, "librarian"),
            frame: Frame::default(),
            tokens: TokenRule::Answer,
            method: Method::Mean,
            seed: 0,
            layers: layers.clone(),
        };
        let rows = AnswerRows::read(&model, &tokenizer, &set, &options, &Unwatched).unwrap();
        let vector = rows.fit(model.cpu(), Method::Mean, 0).unwrap();
        Scene { model, tokenizer, set, rows, vector, layers }
    }

    fn rulers(&self) -> BTreeMap<usize, Ruler> {
        let at = midpoints(&self.rows, &self.vector, &self.layers).unwrap();
        rulers(&self.vector, &self.layers, Some(&at)).unwrap()
    }

    fn watch(&self, ids: &[u32], steering: &Steering) -> Vec<Projections> {
        let (rulers, text) = (self.rulers(), Text::new(ids, &[]));
        watch(&self.model, &text, &self.vector, &rulers, steering, &Unwatched).unwrap()
    }
}

#[test]
fn the_sides_of_the_contrasts_stand_half_a_gap_from_the_midpoint() {
    let scene = Scene::new();
    // Over all answers, the means of the sides are ±1/2 by what gap and midpoint are.
    let mut sums = vec![[0.0; 2]; scene.layers.len()];
    for contrast in &scene.set.contrasts {
        let texts = [&contrast.positive[..], &contrast.negative];
        let (prompt, answers) =
            Frame::default().answered_ids(&scene.tokenizer, &contrast.messages, &texts).unwrap();
        for (side, answer) in answers.iter().enumerate() {
            let watched = scene.watch(&[&prompt[..], answer].concat(), &Steering::default());
            for (sums, it) in sums.iter_mut().zip(&watched) {
                assert_eq!(it.values.len(), prompt.len() + answer.len());
                sums[side] += it.mean(prompt.len()).unwrap() / scene.set.contrasts.len() as f64;
            }
        }
    }
    for (layer, [positive, negative]) in sums.iter().enumerate() {
        assert!((positive - 0.5).abs() < ROUNDING, "layer {layer}: {positive}");
        assert!((negative + 0.5).abs() < ROUNDING, "layer {layer}: {negative}");
    }
}

#[test]
fn steering_by_alpha_shifts_every_token_of_its_layer_by_alpha() {
    let scene = Scene::new();
    let ids = scene.tokenizer.encode("Where is the printer?").unwrap();
    let plain = scene.watch(&ids, &Steering::default());
    for (layer, alpha) in [(1, 0.5), (2, -1.25)] {
        let dose = Dose { vector: &scene.vector, alpha, unit: Unit::Gap, layers: vec![layer] };
        let steered = scene.watch(&ids, &combine(&[dose], 1.0).unwrap());
        for below in 0..layer {
            assert_eq!(steered[below], plain[below], "nothing moves below layer {layer}");
        }
        for (steered, plain) in steered[layer].values.iter().zip(&plain[layer].values) {
            assert!((steered - plain - alpha).abs() < ROUNDING, "{steered} {plain} {alpha}");
        }
    }
}

#[test]
fn rulers_say_honestly_what_is_known() {
    let scene = Scene::new();
    let unit = |vector: &PersonaVector, at: bool| {
        let at = at.then(|| midpoints(&scene.rows, vector, &scene.layers).unwrap());
        let rulers = rulers(vector, &scene.layers, at.as_ref()).unwrap();
        assert!(at.is_some() || rulers.values().all(|it| it.midpoint == 0.0));
        rulers[&0].unit
    };
    let mut foreign = scene.vector.clone();
    for it in foreign.layers.values_mut() {
        (it.gap, it.rms) = (None, None);
    }
    assert_eq!(unit(&scene.vector, true), Unit::Gap);
    assert_eq!(unit(&scene.vector, false), Unit::Rms);
    assert_eq!(unit(&foreign, true), Unit::Unit);
    assert_eq!(unit(&foreign, false), Unit::Unit);
}

#[test]
fn what_cannot_be_watched_is_refused() {
    let scene = Scene::new();
    let run = |ids: &[u32], layers: &[usize]| {
        let ruler = Ruler { unit: Unit::Unit, size: 1.0, midpoint: 0.0 };
        let rulers = layers.iter().map(|layer| (*layer, ruler)).collect();
        let none = Steering::default();
        watch(&scene.model, &Text::new(ids, &[]), &scene.vector, &rulers, &none, &Unwatched)
            .unwrap_err()
            .to_string()
    };
    let check = |ids: &[u32], layers: &[usize], part: &str| {
        let error = run(ids, layers);
        assert!(error.contains(part), "{error}");
    };
    let max = scene.model.config().max_positions;
    check(&[], &[0], "the text is empty");
    check(&vec![1; max + 1], &[0], &max.to_string());
    check(&[1], &[99], "no direction at layer 99");
    assert!(rulers(&scene.vector, &[99], None).is_err());
}
