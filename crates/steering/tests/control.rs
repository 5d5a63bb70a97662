//! Control vectors: files of repeng bit for bit, llama.cpp's own continuation, and every way to be wrong.

use safetensors::SafeTensors;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use whipstaff_engine::*;
use whipstaff_steering::*;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

fn control(name: &str) -> PathBuf {
    root().join("control").join(name)
}

/// A vector of ours: layers 0 to 2 of a model with d_model 4.
fn vector() -> PersonaVector {
    let layer = |layer: usize| {
        let x = 0.1 + layer as f32 * 0.2;
        let direction = vec![x, -(1.0 - x * x).sqrt(), 0.0, 0.0];
        let gap = Some(1.0 / 3.0 + layer as f64);
        (layer, LayerDirection { direction, gap, rms: Some(7.1), auc: Some(0.9), coherence: Some(0.3) })
    };
    let recommended = Recommendation {
        layers: vec![1, 2],
        alpha: 1.3,
        best_layer: 1,
        measured_on: "held".into(),
        n_contrasts: 3,
        margin: [0.1, 0.2, -0.3],
        perplexity_ratio: 1.1,
    };
    PersonaVector {
        name: "kind".into(),
        layers: (0..3).map(layer).collect(),
        recommended: Some(recommended),
        receipt: None,
        provenance: Provenance {
            model: ModelId { name: "m".into(), weights_sha256: "ab".into(), d_model: 4, n_layers: 3 },
            site: Site::ResidPost,
            method: "mean".into(),
            tokens: "answer".into(),
            frame: FrameId {
                name: "chat".into(),
                template_sha256: Some("cd".into()),
                system: Some("s".into()),
            },
            contrasts: "kind".into(),
            contrasts_sha256: "ef".into(),
            n_contrasts: 9,
            recipe: None,
            tool: "whipstaff".into(),
        },
    }
}

/// What a file of these bytes is read as.
fn read_as(bytes: &[u8], from: Convention) -> Result<(PersonaVector, Unit), whipstaff_steering::Error> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("v.gguf");
    std::fs::write(&path, bytes).unwrap();
    PersonaVector::read_from(&path, from)
}

fn read(bytes: &[u8]) -> Result<(PersonaVector, Unit), whipstaff_steering::Error> {
    read_as(bytes, Convention::default())
}

// Files of repeng.

#[test]
fn a_file_of_repeng_is_read_bit_for_bit_and_written_byte_for_byte() {
    for name in ["repeng", "repeng-f16"] {
        let (vector, unit) =
            PersonaVector::read_from(&control(&format!("{name}.gguf")), Convention::default()).unwrap();
        assert_eq!((unit, vector.is_foreign(), vector.name.as_str()), (Unit::Unit, true, name));
        assert_eq!(vector.provenance.model.name, "llama");
        let want = std::fs::read(control(&format!("{name}.safetensors"))).unwrap();
        let want = SafeTensors::deserialize(&want).unwrap();
        assert_eq!(vector.layers.len(), want.names().len());
        for (layer, it) in &vector.layers {
            let bytes: Vec<u8> = it.direction.iter().flat_map(|x| x.to_le_bytes()).collect();
            assert_eq!(bytes, want.tensor(&format!("direction.{layer}")).unwrap().data(), "{name} {layer}");
        }
        let layers: Vec<usize> = vector.layers.keys().copied().collect();
        let written = vector.to_control(Unit::Unit, &layers).unwrap();
        assert!(written == std::fs::read(control(&format!("{name}.gguf"))).unwrap(), "{name}");
    }
}

#[test]
fn a_vector_of_another_tool_keeps_its_bits_in_a_vector_file() {
    let (vector, _) = PersonaVector::read_from(&control("repeng.gguf"), Convention::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("v.safetensors");
    vector.write(&path).unwrap();
    let (again, unit) = PersonaVector::read_from(&path, Convention::default()).unwrap();
    assert_eq!((again, unit), (vector, Unit::Unit));
}

#[test]
fn layers_are_counted_as_whoever_made_the_file_counts() {
    let layers = |from: Convention| -> Vec<usize> {
        let (vector, _) = PersonaVector::read_from(&control("repeng.gguf"), from).unwrap();
        vector.layers.into_keys().collect()
    };
    // direction.1 and direction.2: added behind blocks 1 and 2; by its generator measured behind 0 and 1.
    assert_eq!(layers("repeng".parse().unwrap()), [1, 2]);
    assert_eq!(layers("llama.cpp".parse().unwrap()), [1, 2]);
    assert_eq!(layers("cvector-generator".parse().unwrap()), [0, 1]);
    assert!("axbench".parse::<Convention>().is_err());
}

// Our own round trip.

#[test]
fn a_vector_of_ours_comes_back_from_a_control_vector_as_it_was() {
    let vector = vector();
    let bytes = vector.to_control(Unit::Unit, &[0, 1, 2]).unwrap();
    assert_eq!(read(&bytes).unwrap(), (vector.clone(), Unit::Unit));
    // What other tools see: two directions, and none for block 0.
    let file = Gguf::from_bytes(bytes.clone(), Path::new("v.gguf")).unwrap();
    assert_eq!(file.tensor_names().collect::<Vec<_>>(), ["direction.1", "direction.2"]);
    assert_eq!(file.text("general.architecture").unwrap(), Some("controlvector"));
    assert_eq!(file.text("controlvector.model_hint").unwrap(), Some("m"));
    assert_eq!(file.whole("controlvector.layer_count").unwrap(), Some(2));
    assert_eq!(file.vector("direction.1").unwrap(), vector.layers[&1].direction);
    // Fewer layers: the recommendation goes with those that it names.
    let (one, _) = read(&vector.to_control(Unit::Unit, &[2]).unwrap()).unwrap();
    assert_eq!((one.layers.len(), one.recommended), (1, None));
}

#[test]
fn a_folded_unit_makes_a_coefficient_elsewhere_an_alpha_here() {
    let vector = vector();
    for (unit, factor) in [(Unit::Gap, 1.0 / 3.0 + 2.0), (Unit::Rms, 7.1)] {
        let bytes = vector.to_control(unit, &[0, 1, 2]).unwrap();
        let file = Gguf::from_bytes(bytes.clone(), Path::new("v.gguf")).unwrap();
        let stored = file.vector("direction.2").unwrap();
        for (stored, d) in stored.iter().zip(&vector.layers[&2].direction) {
            assert_eq!(*stored, (factor * f64::from(*d)) as f32);
        }
        let (again, its) = read(&bytes).unwrap();
        assert_eq!(its, unit);
        // Multiplied and divided again in f32: the last bit may differ, everything else may not.
        for (layer, it) in &vector.layers {
            let close = |(a, b): (&f32, &f32)| (a - b).abs() <= f32::EPSILON * b.abs();
            assert!(again.layers[layer].direction.iter().zip(&it.direction).all(close), "{layer}");
        }
        let bare = |mut it: PersonaVector| {
            it.layers.values_mut().for_each(|layer| layer.direction.clear());
            it
        };
        assert_eq!(bare(again), bare(vector.clone()));
    }
}

#[test]
fn what_no_control_vector_can_say_is_refused() {
    let check = |vector: PersonaVector, fold: Unit, layers: &[usize], part: &str| {
        let error = vector.to_control(fold, layers).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    check(vector(), Unit::Unit, &[0], "nothing to write but block 0");
    let mut elsewhere = vector();
    elsewhere.provenance.site = Site::AttnOut;
    check(elsewhere, Unit::Unit, &[1], "acts on attn_out");
    let (foreign, _) = PersonaVector::read_from(&control("repeng.gguf"), Convention::default()).unwrap();
    check(foreign.clone(), Unit::Gap, &[1], "has no gap");
    let dose = Dose { vector: &foreign, alpha: 1.0, unit: Unit::Gap, layers: vec![1] };
    assert!(dose.edits().unwrap_err().to_string().contains("made by another tool and has no gap"));
    assert_eq!(foreign.default_dose(), (vec![1, 2], 1.0));
}

// llama.cpp.

#[derive(Deserialize)]
struct Run {
    model: String,
    vector: Option<String>,
    coefficient: f64,
    prompt_ids: Vec<u32>,
    tokens: Vec<u32>,
}

#[test]
fn llama_cpp_goes_on_as_we_do_under_the_same_file() {
    let text = std::fs::read_to_string(control("llama_cpp.json")).unwrap();
    let runs: Vec<Run> = serde_json::from_str(&text).unwrap();
    assert_eq!(runs.len(), 7);
    let mut seen: BTreeMap<String, Vec<Vec<u32>>> = BTreeMap::new();
    for run in runs {
        let path = root().join(format!("gguf/{}.gguf", run.model));
        let model = Model::load(&path, Cpu::from(Isa::best()).with_precision(Precision::F32)).unwrap();
        let tokenizer = Tokenizer::load(&path).unwrap();
        let steering = run.vector.as_ref().map_or_else(Steering::default, |file| {
            let (vector, unit) = PersonaVector::read_from(&control(file), Convention::default()).unwrap();
            let layers = vector.layers.keys().copied().filter(|layer| *layer > 0).collect();
            combine(&[Dose { vector: &vector, alpha: run.coefficient, unit, layers }], 1.0).unwrap()
        });
        let request =
            Request { prompt: run.prompt_ids, steering, max_tokens: run.tokens.len(), ..Request::default() };
        let events = Generator::new(&model, &tokenizer).with_requests([request]).unwrap();
        let tokens: Vec<u32> = events.filter_map(|event| event.unwrap().token).collect();
        assert_eq!(tokens, run.tokens, "{} {:?} {}", run.model, run.vector, run.coefficient);
        seen.entry(run.model).or_default().push(tokens);
    }
    // The vectors do something: no two continuations of a model are the same.
    for tokens in seen.values() {
        assert!((1..tokens.len()).all(|i| !tokens[..i].contains(&tokens[i])));
    }
}

#[test]
fn the_file_that_llama_cpp_was_given_is_the_one_that_is_written_today() {
    let (vector, _) = PersonaVector::read_from(&control("ours.safetensors"), Convention::default()).unwrap();
    let layers: Vec<usize> = vector.layers.keys().copied().collect();
    let written = vector.to_control(Unit::Gap, &layers).unwrap();
    assert!(written == std::fs::read(control("ours.gguf")).unwrap());
}

// Files from elsewhere.

/// A control vector in the making.
fn file() -> GgufWriter<'static> {
    GgufWriter::new("controlvector").set("controlvector.model_hint", GgufValue::Text("llama".into()))
}

fn floats(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn with(file: GgufWriter<'static>, name: &str, numbers: &[f32]) -> GgufWriter<'static> {
    file.tensor(name, Dtype::F32, &[numbers.len()], floats(numbers))
}

#[track_caller]
fn check_refused(file: &GgufWriter, part: &str) {
    let error = read(&file.to_bytes()).unwrap_err().to_string();
    assert!(error.contains("v.gguf") && error.contains(part), "{error}");
}

#[test]
fn control_vectors_that_cannot_be_are_refused() {
    let good = [1.0, 0.0];
    assert!(read(&with(file(), "direction.1", &good).to_bytes()).is_ok());
    assert!(read(&with(GgufWriter::new("controlvector"), "direction.1", &good).to_bytes()).is_ok());
    check_refused(
        &with(GgufWriter::new("llama"), "direction.1", &good),
        "of `llama`, not of a control vector",
    );
    check_refused(&file(), "holds no direction");
    check_refused(&with(file(), "direction.0", &good), "`direction.0`, for which llama.cpp has no place");
    for name in ["direction.01", "direction.-1", "direction.x", "direction.", "direction.10000", "steer.1"] {
        check_refused(&with(file(), name, &good), &format!("the tensor `{name}`"));
    }
    check_refused(&with(file(), "direction.3", &[1.0, f32::NAN]), "`direction.3` holds NaN");
    check_refused(&with(file(), "direction.3", &[f32::INFINITY, 0.0]), "`direction.3` holds inf");
    check_refused(&with(with(file(), "direction.1", &good), "direction.2", &[1.0]), "differ in length");
    let half = file().tensor("direction.1", Dtype::F16, &[2], vec![0; 4]);
    check_refused(&half, "`direction.1` is F16 [2], expected F32 with one dimension");
    let square = file().tensor("direction.1", Dtype::F32, &[2, 2], vec![0; 16]);
    check_refused(&square, "`direction.1` is F32 [2, 2]");
    let wide = file().tensor("direction.1", Dtype::F32, &[1 << 18], vec![0; 4 << 18]);
    check_refused(&wide, "has 262144 numbers");
    let count =
        |n: u32| with(file().set("controlvector.layer_count", GgufValue::U32(n)), "direction.1", &good);
    assert!(read(&count(1).to_bytes()).is_ok());
    check_refused(&count(2), "`controlvector.layer_count` is 2, but there are 1 directions");
}

#[test]
fn keys_of_ours_that_do_not_fit_their_directions_are_refused() {
    let bytes = vector().to_control(Unit::Gap, &[0, 1, 2]).unwrap();
    let json = Gguf::from_bytes(bytes.clone(), Path::new("v.gguf")).unwrap();
    let json = json.text("whipstaff.vector").unwrap().unwrap().to_owned();
    let ours = |json: &str, fold: &str| {
        let file = file().set("whipstaff.vector", GgufValue::Text(json.into()));
        let file = file.set("whipstaff.fold", GgufValue::Text(fold.into()));
        let zero = GgufValue::List([0.1, 0.9, 0.0, 0.0].map(GgufValue::F32).into());
        let file = file.set("whipstaff.direction.0", zero);
        with(with(file, "direction.1", &[0.6, 0.8, 0.0, 0.0]), "direction.2", &[0.6, 0.8, 0.0, 0.0])
    };
    check_refused(&ours("{", "unit"), "metadata");
    check_refused(&ours(&json, "furlong"), "`furlong` is not a unit");
    check_refused(&ours(&json.replace("\"2\":", "\"1000\":"), "unit"), "speaks of layers");
    check_refused(&ours(&json.replace("\"d_model\":4", "\"d_model\":5"), "unit"), "expected F32 [5]");
    check_refused(&ours(&json, "unit"), "a direction has norm 1");
    let later = json.replace("\"format_version\":1", "\"format_version\":9");
    check_refused(&ours(&later, "unit"), "has format version 9");
    let error = read_as(&bytes, Convention::CvectorGenerator).unwrap_err().to_string();
    assert!(error.contains("`whipstaff.direction.0`") || error.contains("leave --from out"), "{error}");
}

#[test]
fn files_that_are_cut_off_anywhere_are_refused() {
    let bytes = vector().to_control(Unit::Unit, &[0, 1, 2]).unwrap();
    // The last 16 bytes are padding.
    for len in (0..bytes.len() - 16).step_by(7) {
        assert!(read(&bytes[..len]).is_err(), "{len}");
    }
}
