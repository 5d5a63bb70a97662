use crate::args::{ComputeArgs, locate};
use crate::terminal::{Bar, Failure, print_line};
use serde_json::{Value, json};
use whipstaff::LanguageModel;
use whipstaff_engine::Tokenizer;
use whipstaff_steering::{AnswerRows, ContrastSet, ExtractOptions, ModelId, PersonaVector};

/// `extract --reference`: the model in full precision that a vector is held against.
pub struct Reference<'a> {
    choice: &'a str,
    name: String,
    on: ComputeArgs,
}

/// A vector beside that of the reference.
pub struct Comparison {
    name: String,
    rows: Vec<Row>,
}

/// One layer.
struct Row {
    layer: usize,
    /// Between the two directions.
    cosine: f64,
    /// The vector's gap over the reference's; none where that is zero.
    gap_ratio: Option<f64>,
}

/// From here on two directions are called the same, and nearly the same.
const SAME: f64 = 0.99;
const NEARLY: f64 = 0.9;

impl<'a> Reference<'a> {
    /// Looks at the headers: whether the two are comparable is known before either is run.
    pub fn new(
        choice: &'a str,
        loaded: &LanguageModel,
        set: &ContrastSet,
        on: ComputeArgs,
    ) -> Result<Reference<'a>, Failure> {
        let found = locate("--reference", Some(choice))?;
        let name = found.name.clone();
        let (outline, tokenizer) = (found.outline()?, found.tokenizer()?);
        let (ours, theirs) = (loaded.config(), outline.config());
        for (what, ours, theirs) in [
            ("width (d_model)", ours.d_model, theirs.d_model),
            ("number of layers", ours.n_layers, theirs.n_layers),
        ] {
            if ours != theirs {
                return Err(Failure::BadInput(format!(
                    "--reference {choice}: its {what} is {theirs}, that of {} is {ours}: they are not the same model \
                     in two precisions",
                    loaded.name()
                )));
            }
        }
        same_tokens(loaded.tokenizer()?, &tokenizer, set).map_err(|text| {
            Failure::BadInput(format!(
                "--reference {choice}: its tokenizer is not that of {}: they cut `{}` differently",
                loaded.name(),
                text.escape_debug()
            ))
        })?;
        Ok(Reference { choice, name, on })
    }

    /// Fits the same vector on the reference. The model that has been used goes first, so that never both are
    /// held in memory.
    pub fn compare(
        self,
        used: LanguageModel,
        options: ExtractOptions,
        vector: &PersonaVector,
        set: &ContrastSet,
        bar: &Bar,
    ) -> Result<Comparison, Failure> {
        drop(used);
        bar.clear();
        let loaded = self.on.open("--reference", Some(self.choice), |it| it.extraction(set, None, false))?;
        let model = ModelId { name: self.name.clone(), weights_sha256: String::new(), ..options.model };
        let options = ExtractOptions { model, ..options };
        let rows = AnswerRows::read(loaded.engine(), loaded.tokenizer()?, set, &options, bar)?;
        let reference = rows.fit(loaded.engine().cpu(), options.method, options.seed)?;
        let row = |(layer, it): (&usize, &whipstaff_steering::LayerDirection)| {
            let other = reference.layers.get(layer)?;
            let gap_ratio = it.gap.zip(other.gap).map(|(a, b)| a / b).filter(|ratio| ratio.is_finite());
            Some(Row { layer: *layer, cosine: cosine(&it.direction, &other.direction), gap_ratio })
        };
        Ok(Comparison { name: self.name, rows: vector.layers.iter().filter_map(row).collect() })
    }
}

/// Do both cut every text of the contrasts alike? Else the first that they do not.
fn same_tokens(a: &Tokenizer, b: &Tokenizer, set: &ContrastSet) -> Result<(), String> {
    for contrast in &set.contrasts {
        let said = contrast.messages.iter().map(|it| &it.content);
        for text in said.chain([&contrast.positive, &contrast.negative]) {
            if a.encode(text).ok() != b.encode(text).ok() {
                return Err(text.clone());
            }
        }
    }
    Ok(())
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

impl Comparison {
    /// A line per layer, then what they say.
    pub fn print(&self) -> Result<(), Failure> {
        print_line(&format!("\nbeside the vector of {}\n  layer   cosine  gap ratio", self.name))?;
        for Row { layer, cosine, gap_ratio } in &self.rows {
            let ratio = gap_ratio.map_or("-".to_owned(), |it| format!("{it:.3}"));
            print_line(&format!("  {layer:>5}  {cosine:>7.4}  {ratio:>9}"))?;
        }
        print_line(&self.words())
    }

    /// One line in words.
    fn words(&self) -> String {
        let least = self.rows.iter().min_by(|a, b| a.cosine.total_cmp(&b.cosine));
        let Some(Row { layer, cosine, .. }) = least else { return "there is no layer to compare".into() };
        let mean = self.rows.iter().map(|it| it.cosine).sum::<f64>() / self.rows.len() as f64;
        let verdict = match *cosine {
            it if it >= SAME => "the same direction at every layer",
            it if it >= NEARLY => "nearly the same direction at every layer",
            _ => "not the same direction at every layer",
        };
        format!("{verdict}: cosine {mean:.4} on average, {cosine:.4} at the least (layer {layer})")
    }

    pub fn json(&self) -> Value {
        let row = |it: &Row| json!({"layer": it.layer, "cosine": it.cosine, "gap_ratio": it.gap_ratio});
        json!({
            "model": self.name, "layers": self.rows.iter().map(row).collect::<Vec<_>>(), "summary": self.words(),
        })
    }
}
