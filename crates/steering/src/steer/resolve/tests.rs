//! Specs resolved for a model of which nothing exists but its facts.

use super::*;
use crate::vector::{LayerDirection, Provenance, Recommendation};
use std::collections::BTreeMap;
use tempfile::TempDir;
use whipstaff_engine::{Operator, Site};

const FACTS: ModelFacts =
    ModelFacts { name: "m", d_model: 4, n_layers: 4, weights: WeightsDigest::Known("ab"), tokenizer: None };

/// `a`, `b` and the special `<s>`.
const TOKENIZER: &str = r#"{
    "version": "1.0",
    "added_tokens": [{"id": 2, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
                      "normalized": false, "special": true}],
    "model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "<s>": 2}, "unk_token": "a"}
}"#;

/// A vector of layers 0 to 2 along axis 0, gap 2 and rms 8, made on the model of the facts.
fn kind() -> PersonaVector {
    let direction = vec![1.0, 0.0, 0.0, 0.0];
    let layer = LayerDirection { direction, gap: Some(2.0), rms: Some(8.0), auc: None, coherence: None };
    let recommended = Recommendation {
        layers: vec![1, 2],
        alpha: 1.5,
        best_layer: 2,
        measured_on: "held-out".into(),
        n_contrasts: 3,
        margin: [0.0; 3],
        perplexity_ratio: 1.0,
    };
    PersonaVector {
        name: "kind".into(),
        layers: BTreeMap::from([0, 1, 2].map(|i| (i, layer.clone()))),
        recommended: Some(recommended),
        receipt: None,
        provenance: Provenance {
            model: ModelId { name: "m".into(), weights_sha256: "ab".into(), d_model: 4, n_layers: 4 },
            site: Site::ResidPost,
            method: "mean".into(),
            tokens: "answer".into(),
            frame: FrameId { name: "chat".into(), template_sha256: None, system: None },
            contrasts: "kind".into(),
            contrasts_sha256: "cd".into(),
            n_contrasts: 9,
            recipe: None,
            tool: "whipstaff".into(),
        },
    }
}

/// A vector of another tool: directions alone.
fn foreign() -> PersonaVector {
    let mut vector = PersonaVector { name: "foreign".into(), recommended: None, ..kind() };
    vector.layers.values_mut().for_each(|it| (it.gap, it.rms) = (None, None));
    vector.provenance.model.weights_sha256 = String::new();
    vector.provenance.frame = FrameId::unknown();
    vector
}

/// A folder with a few vectors.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        place.write("kind", kind());
        place.write("foreign", foreign());
        place.write("unmeasured", PersonaVector { recommended: None, ..kind() });
        let mut stranger = kind();
        stranger.provenance.model =
            ModelId { name: "n".into(), weights_sha256: "ba".into(), ..stranger.provenance.model };
        place.write("stranger", stranger);
        let mut narrow = kind();
        narrow.provenance.model.d_model = 2;
        narrow.layers.values_mut().for_each(|it| it.direction.truncate(2));
        place.write("narrow", narrow);
        place
    }

    fn write(&self, name: &str, vector: PersonaVector) {
        vector.write(&self.0.path().join(name)).unwrap();
    }

    /// The spec of a short form, whose files are in this folder.
    fn spec(&self, text: &str) -> SteerSpec {
        let mut spec: SteerSpec = text.parse().unwrap();
        spec.vector = self.0.path().join(spec.vector);
        if let Some(gate) = &mut spec.gate {
            gate.vector = self.0.path().join(&gate.vector);
        }
        spec
    }

    fn resolve(&self, text: &str) -> Result<ResolvedVector, Error> {
        Ok(resolve(&[self.spec(text)], &FACTS)?.into_vectors().remove(0))
    }

    fn remarks(&self, text: &str) -> Vec<RemarkKind> {
        let resolved = resolve(&[self.spec(text)], &FACTS).unwrap();
        resolved.remarks().iter().map(|remark| remark.kind).collect()
    }
}

#[test]
fn what_a_spec_leaves_out_is_filled_in_from_its_vector() {
    let place = Place::new();
    let check = |text: &str, alpha: f64, unit: Unit, layers: &[usize]| {
        let got = place.resolve(text).unwrap();
        assert_eq!((got.alpha, got.unit, &got.layers[..]), (alpha, unit, layers), "{text}");
    };
    check("kind", 1.5, Unit::Gap, &[1, 2]);
    check("kind:0.5", 0.5, Unit::Gap, &[1, 2]);
    check("kind:0.5rms@-1", 0.5, Unit::Rms, &[3]);
    check("kind@all", 1.5, Unit::Gap, &[0, 1, 2]);
    check("kind@auto", 1.5, Unit::Gap, &[1, 2]);
    check("kind@0,50%", 1.5, Unit::Gap, &[0, 2]);
    check("kind,unit=gap", 1.5, Unit::Gap, &[1, 2]);
    check("kind,op=project", 1.0, Unit::Gap, &[1, 2]);
    check("kind,op=set,to=1,unit=rms", 1.0, Unit::Rms, &[1, 2]);
    check("unmeasured", 1.0, Unit::Gap, &[1]);
    check("foreign", 1.0, Unit::Unit, &[0, 1, 2]);
    check("foreign:3@1", 3.0, Unit::Unit, &[1]);
}

#[test]
fn steering_is_the_sum_of_all_doses_times_a_factor() {
    let place = Place::new();
    let specs = [place.spec("kind:0.5@1"), place.spec("foreign:3@1"), place.spec("kind:0.25rms@2")];
    let resolved = resolve(&specs, &FACTS).unwrap();
    let check = |factor: f64, want: &[(usize, f32)]| {
        let steering = resolved.steering(factor).unwrap();
        let got: Vec<_> = steering.edits().map(|edit| (edit.layer, edit.direction[0])).collect();
        assert_eq!(got, want, "{factor}");
    };
    check(1.0, &[(1, 4.0), (2, 2.0)]);
    check(-1.0, &[(1, -4.0), (2, -2.0)]);
    check(0.0, &[]);
    assert!(resolve(&[], &FACTS).unwrap().steering(1.0).unwrap().is_empty());

    let alone = resolved.vectors()[0].steering_at(2.0).unwrap();
    assert_eq!(alone.edits().map(|edit| edit.direction[0]).collect::<Vec<_>>(), [4.0]);
    let layers = |spec: &str| resolved.vectors()[0].layers_of(&spec.parse().unwrap(), FACTS.n_layers);
    assert_eq!(layers("auto").unwrap(), [1]);
    assert_eq!(layers("all").unwrap(), [0, 1, 2]);
    assert_eq!(layers("-2").unwrap(), [2]);
    let lacks = layers("3").unwrap_err().to_string();
    assert!(lacks.ends_with("kind has no direction at layer 3; it has them at 0-2"), "{lacks}");
    assert!(matches!(layers("4"), Err(Error::Setting(_))));
}

#[test]
fn remarks_name_other_weights_and_a_dose_that_was_filled_in() {
    let place = Place::new();
    let check = |text: &str, want: &[RemarkKind]| assert_eq!(place.remarks(text), want, "{text}");
    check("kind:1@1", &[]);
    check("kind:1", &[RemarkKind::Dose]);
    check("kind@1", &[RemarkKind::Dose]);
    check("kind@1,op=project", &[]);
    check("stranger:1@1", &[RemarkKind::OtherWeights]);
    check("stranger", &[RemarkKind::OtherWeights, RemarkKind::Dose]);
    check("foreign:1@1", &[]);
    let text = |text: &str| resolve(&[place.spec(text)], &FACTS).unwrap().remarks()[0].text.clone();
    let kind = place.0.path().join("kind").display().to_string();
    assert_eq!(
        text("kind"),
        format!(
            "{kind}: the alpha and layers are the vector's own: it adds 1.5 gap of `kind` at layers 1-2 (resid_post)"
        )
    );
    let stranger = text("stranger:1@1");
    assert!(stranger.contains("made on other weights (of `n`) than these (of `m`)"), "{stranger}");

    // Weights that take long to hash go by the model's name.
    let large = ModelFacts { weights: WeightsDigest::TooLarge, ..FACTS };
    let n_remarks = |text: &str, facts| resolve(&[place.spec(text)], &facts).unwrap().remarks().len();
    assert_eq!(n_remarks("kind:1@1", large), 0);
    assert_eq!(n_remarks("kind:1@1", ModelFacts { name: "n", ..large }), 1);
    assert_eq!(n_remarks("stranger:1@1", ModelFacts { name: "n", ..large }), 0);
}

#[test]
fn the_frame_is_that_of_the_first_vector_that_knows_one() {
    let place = Place::new();
    let frame = |texts: &[&str]| {
        let specs: Vec<SteerSpec> = texts.iter().map(|text| place.spec(text)).collect();
        resolve(&specs, &FACTS).unwrap().frame().map(|frame| frame.name.clone())
    };
    assert_eq!(frame(&["foreign", "kind"]).as_deref(), Some("chat"));
    assert_eq!(frame(&["foreign"]), None);
    assert_eq!(frame(&[]), None);
}

#[test]
fn a_gate_reads_its_own_vector() {
    let place = Place::new();
    let check = |text: &str, layer: usize, unit: Unit| {
        let got = place.resolve(&format!("kind:1@1,gate={text},gate.above=0.5")).unwrap();
        let gate = got.how.gate.as_ref().unwrap();
        assert_eq!((gate.layer, gate.unit), (layer, unit), "{text}");
        assert!(got.steering_at(1.0).unwrap().edits().all(|edit| edit.gate.is_some()));
    };
    check("kind", 2, Unit::Unit);
    check("kind,gate.score=projection", 2, Unit::Gap);
    check("kind,gate.score=projection,gate.unit=rms", 2, Unit::Rms);
    check("foreign,gate.layer=0,gate.score=projection", 0, Unit::Unit);
}

#[test]
fn a_token_filter_is_looked_up_in_the_vocabulary() {
    let place = Place::new();
    let tokenizer = Tokenizer::from_bytes(TOKENIZER.as_bytes(), Path::new("tokenizer.json")).unwrap();
    let facts = ModelFacts { tokenizer: Some(&tokenizer), ..FACTS };
    let tokens = |text: &str| -> Option<Vec<u32>> {
        let resolved = resolve(&[place.spec(text)], &facts).unwrap();
        let tokens = resolved.vectors()[0].tokens.clone()?;
        Some((0..3).filter(|id| tokens.contains(*id)).collect())
    };
    assert_eq!(tokens("kind:1"), None);
    assert_eq!(tokens("kind:1,skip_special=true"), Some(vec![0, 1]));
    assert_eq!(tokens("kind:1,tokens=b"), Some(vec![1]));
    let refused = place.resolve("kind:1,tokens=b").unwrap_err();
    assert!(matches!(refused, Error::Request(SteerError::TokenizerMissing { .. })), "{refused}");
}

#[test]
fn without_a_model_everything_but_the_vocabulary_is_there() {
    let place = Place::new();
    let specs = ["kind@-1", "narrow:1@1,op=project", "kind:1,tokens=b"].map(|text| place.spec(text));
    let resolved = resolve_without_model(&specs).unwrap();
    assert_eq!(resolved.vectors()[0].layers, [3]);
    assert!(resolved.check().is_err(), "kind has no direction at layer 3");
    let resolved = resolve_without_model(&specs[1..]).unwrap();
    resolved.check().unwrap();
    assert!(resolved.steering(1.0).is_err(), "the filter was not looked up");
    let projected = resolved.vectors()[0].steering_at(1.0).unwrap();
    assert!(projected.edits().all(|edit| edit.operator == Operator::Project { alpha: 1.0 }));
}

#[test]
fn a_budget_becomes_an_alpha_of_one_on_its_side() {
    let check = |text: &str, alpha: f64, nats: Option<f64>| {
        let mut specs = [text.parse::<SteerSpec>().unwrap()];
        assert_eq!(SteerSpec::take_budget(&mut specs), Ok(nats), "{text}");
        assert_eq!(specs[0].amount, Some(Amount::Alpha(alpha)), "{text}");
    };
    check("v:0.1nat", 1.0, Some(0.1));
    check("v:-2nats", -1.0, Some(2.0));
    check("v:0nat", 1.0, Some(0.0));
    check("v:0.5", 0.5, None);
    assert_eq!(SteerSpec::take_budget(&mut []), Ok(None));
    let mut both = ["v:1".parse::<SteerSpec>().unwrap(), "w:1nat".parse().unwrap()];
    let shared = SteerError::SharedBudget { vector: "w".into(), nats: 1.0 };
    assert_eq!(SteerSpec::take_budget(&mut both), Err(shared));
}

#[test]
fn what_cannot_be_resolved_is_refused_with_what_is_wrong() {
    let place = Place::new();
    let request = |text: &str, want: fn(PathBuf) -> SteerError| {
        let Err(Error::Request(error)) = place.resolve(text) else { panic!("{text}") };
        let file = |name: &str| place.0.path().join(name);
        let name = if text.contains("gate=") { "foreign" } else { "kind" };
        assert_eq!(error, want(file(name)), "{text}");
    };
    request("kind,op=rotate", |vector| SteerError::AlphaMissing { vector, op: "rotate" });
    request("kind,unit=rms", |vector| SteerError::UnitWithoutAlpha { vector, unit: "rms", own: "gap" });
    request("kind:-1nat", |vector| SteerError::UnmeasuredBudget { vector, nats: 1.0 });
    request("kind:1,gate=foreign,gate.above=0", |vector| SteerError::GateLayerMissing { vector });

    let check = |text: &str, kind: &str, part: &str| {
        let error = place.resolve(text).unwrap_err();
        assert!(
            format!("{error:?}").starts_with(kind) && error.to_string().contains(part),
            "{text}: {error:?}"
        );
    };
    check("nowhere:1", "Read", "cannot read");
    check("kind:1@4", "Setting", "layer 4 does not exist: the layers are 0-3");
    check("narrow:1", "Vector", "was made for a model with d_model 2");
    check("kind:1,gate=nowhere,gate.above=0", "Read", "cannot read");
    check("kind:1,gate=narrow,gate.above=0", "Vector", "was made for a model with d_model 2");
    check("kind:1,gate=kind,gate.above=0,gate.layer=7", "Vector", "at which the gate looks (it has 0-2)");
}
