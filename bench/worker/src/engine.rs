//! Every call of the engine that the benchmark makes, and none besides.

use crate::Failure;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;
use whipstaff_engine::{
    Batch, Cpu, Edit, Error, Generator, Isa, KeepRows, LoadOptions, Model, NoTap, PackCache, Precision,
    ROW_BUDGET, Request, Session, Site, Steering, Tokenizer,
};
use whipstaff_steering::{
    ContrastSet, ExtractOptions, Frame, Method, ModelId, Text, TokenRule, Unwatched, extract, measure_cosine,
};

/// Part of a steering as the driver writes it: layer, row of the vectors' file, alpha.
pub(crate) type Place = (usize, usize, f32);

/// The kernel set that `WHIPSTAFF_KERNELS` names, else the best.
pub(crate) fn cpu(threads: usize) -> Result<Cpu, Failure> {
    let isa = match std::env::var("WHIPSTAFF_KERNELS") {
        Ok(name) if !name.is_empty() => Isa::named(&name)
            .map_err(|error| format!("no kernel set {name}; there are {:?}", error.available))?,
        _ => Isa::best(),
    };
    Ok(Cpu::new(isa, threads))
}

/// A model and its tokenizer.
pub(crate) struct Loaded {
    model: Model,
    tokenizer: Tokenizer,
    path: PathBuf,
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// What came of decoding.
pub(crate) struct Decoded {
    /// Seconds until every sequence had its first token.
    pub(crate) first: f64,
    /// Seconds from there to the end.
    pub(crate) rest: f64,
    /// Per sequence.
    pub(crate) tokens: Vec<Vec<u32>>,
}

impl Loaded {
    /// Loads a Hugging Face folder or a GGUF file.
    pub(crate) fn new(path: &Path, cpu: Cpu, packs: Option<PackCache>) -> Result<Loaded, Failure> {
        let options = LoadOptions { packs, progress: None };
        let (model, tokenizer) = (Model::load_with(path, cpu, options)?, Tokenizer::load(path)?);
        Ok(Loaded { model, tokenizer, path: path.to_owned() })
    }

    /// What the model runs on.
    pub(crate) fn cpu(&self) -> &Cpu {
        self.model.cpu()
    }

    /// What the driver wants to know of a loaded model.
    pub(crate) fn describe(&self) -> Value {
        let config = self.model.config();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "kernels": self.model.cpu().isa().name(),
            "threads": self.model.cpu().n_threads(),
            "n_layers": config.n_layers,
            "d_model": config.d_model,
            "vocab_size": config.vocab_size,
            "weights_mb": self.model.weights().n_bytes() as f64 / 1e6,
        })
    }

    /// The logits after the last of `ids`, run in passes as a generation would run them.
    pub(crate) fn prefill(&self, ids: &[u32]) -> Result<Vec<f32>, Failure> {
        let mut session = Session::new();
        let mut logits = Vec::new();
        let passes = ids.len().div_ceil(ROW_BUDGET);
        for (i, ids) in ids.chunks(ROW_BUDGET).enumerate() {
            let mut batch = Batch::new();
            batch.push(&mut session, ids);
            let resid = self.model.forward(&mut batch, &mut NoTap)?;
            if i + 1 == passes {
                let last = self.model.logits(&resid, &[ids.len() - 1]);
                logits = self.model.host(&last).as_slice().to_vec();
            }
        }
        Ok(logits)
    }

    /// Greedy answers to one prompt, one per steering, side by side.
    pub(crate) fn decode(
        &self,
        ids: &[u32],
        n: usize,
        vectors: &[f32],
        steerings: &[Vec<Place>],
    ) -> Result<Decoded, Failure> {
        let request = |places: &Vec<Place>| Request {
            prompt: ids.to_vec(),
            steering: self.steering(vectors, places),
            max_tokens: n,
            ..Request::default()
        };
        let start = Instant::now();
        let mut tokens = vec![Vec::new(); steerings.len()];
        let mut waiting = steerings.len();
        let mut first = 0.0;
        let generator = Generator::new(&self.model, &self.tokenizer);
        for event in generator.with_requests(steerings.iter().map(request))? {
            let event = event.map_err(Error::from)?;
            let tokens: &mut Vec<u32> = &mut tokens[event.request.index()];
            tokens.extend(event.token);
            waiting -= usize::from(tokens.len() == 1);
            if waiting == 0 && first == 0.0 {
                first = start.elapsed().as_secs_f64();
            }
        }
        Ok(Decoded { first, rest: start.elapsed().as_secs_f64() - first, tokens })
    }

    fn steering(&self, vectors: &[f32], places: &[Place]) -> Steering {
        let d_model = self.model.config().d_model;
        Steering::new(places.iter().map(|(layer, row, alpha)| {
            let add = vectors[row * d_model..][..d_model].iter().map(|x| alpha * x).collect();
            Edit::add(*layer, Site::ResidPost, add)
        }))
    }

    /// The mean vector at every layer, `[n_layers, d_model]`.
    pub(crate) fn extract(&self, set: &ContrastSet) -> Result<Vec<f32>, Failure> {
        let config = self.model.config();
        let model = ModelId {
            name: "bench".into(),
            weights_sha256: String::new(), // hashing the weights is not extraction
            d_model: config.d_model,
            n_layers: config.n_layers,
        };
        let layers = (0..config.n_layers).collect();
        let (frame, tokens, method) = (Frame::default(), TokenRule::Answer, Method::Mean);
        let options = ExtractOptions { model, frame, tokens, layers, method, seed: 0 };
        let vector = extract(&self.model, &self.tokenizer, set, &options, &Unwatched)?;
        let rows = vector.layers.values();
        Ok(rows.flat_map(|it| it.direction.iter().map(|x| x * it.gap.unwrap_or_default() as f32)).collect())
    }

    /// The mean of 1 − cosine of `resid_post` with that of the same model at `f32`, per layer, over all rows
    /// but the first of each text, which is an outlier in most models.
    pub(crate) fn rounding(&self, texts: &[Vec<u32>]) -> Result<Vec<f64>, Failure> {
        let cpu = Cpu::new(Isa::best(), self.cpu().n_threads()).with_precision(Precision::F32);
        let exact = Model::load(&self.path, cpu)?;
        let layers: Vec<usize> = (0..self.model.config().n_layers).collect();
        let mut lost = vec![0.0; layers.len()];
        let mut n_rows = 0;
        for ids in texts {
            let [a, b] = [&self.model, &exact].map(|model| {
                let (mut kept, mut session) = (KeepRows::new(&layers, &[Site::ResidPost]), Session::new());
                let mut batch = Batch::new();
                batch.push(&mut session, ids);
                model.forward(&mut batch, &mut kept).map(|_| kept)
            });
            let (a, b) = (a?, b?);
            for (layer, lost) in layers.iter().zip(&mut lost) {
                let [a, b] = [(&self.model, &a), (&exact, &b)]
                    .map(|(model, kept)| model.host(&kept.get(Site::ResidPost, *layer)[0]));
                *lost += (1..ids.len()).map(|row| 1.0 - cosine(a.row(row), b.row(row))).sum::<f64>();
            }
            n_rows += ids.len() - 1;
        }
        Ok(lost.into_iter().map(|lost| lost / n_rows as f64).collect())
    }

    /// The ids of every contrast: prompt, positive answer, negative answer.
    pub(crate) fn contrast_ids(&self, set: &ContrastSet) -> Result<Vec<Vec<u32>>, Failure> {
        let frame = Frame::default();
        let mut texts = Vec::new();
        for it in &set.contrasts {
            let answers = [&it.positive[..], &it.negative];
            let (prompt, answers) = frame.answered_ids(&self.tokenizer, &it.messages, &answers)?;
            texts.push(prompt);
            texts.extend(answers);
        }
        Ok(texts)
    }

    /// For each injected layer, alpha and layer: the mean cosine over texts. Row ℓ of `vectors` is
    /// what is injected at layer ℓ.
    pub(crate) fn figure(
        &self,
        texts: &[Vec<u32>],
        alphas: &[f32],
        layers: &[usize],
        skip: usize,
        vectors: &[f32],
    ) -> Result<Vec<Vec<Vec<f64>>>, Failure> {
        let n_layers = self.model.config().n_layers;
        let steering =
            |layer: usize, alpha: f32| (f64::from(alpha), self.steering(vectors, &[(layer, layer, alpha)]));
        let steerings: Vec<(f64, Steering)> =
            layers.iter().flat_map(|layer| alphas.iter().map(|alpha| steering(*layer, *alpha))).collect();
        let texts: Vec<Text> = texts.iter().map(|ids| Text::new(ids, &[])).collect();
        let table = measure_cosine(&self.model, &texts, skip, layers, &steerings, &Unwatched)?;
        let row = |run: usize| (0..n_layers).map(|layer| table.mean(run, layer)).collect();
        let of_layer = |i: usize| (i * alphas.len()..(i + 1) * alphas.len()).map(row).collect();
        let tables = (0..layers.len()).map(of_layer).collect();
        Ok(tables)
    }
}
