//! What a model is and what it would take in memory, from its headers alone.

use crate::checkpoint::{Checkpoint, Gguf, ModelFiles, TextFacts, Weights};
use crate::config::Config;
use crate::error::Error;
use crate::forward::Model;
use std::path::Path;
use whipstaff_kernels::{BLOCK_LEN, Cpu, Isa};

/// A model that has been looked at, not loaded: its files are mapped, its tensors are found and compared with the
/// blueprint, and nothing is packed.
///
/// Weights count as products read them, whether they are packed in memory or mapped from a pack: every token
/// reads them all. Other pages of mapped files (the embedding's rows, what is just being packed) do not: the
/// system takes them back when it needs them.
pub struct Outline {
    /// The model is never run: its matrices are empty.
    model: Model,
    /// The model has a tokenizer.
    pub has_tokenizer: bool,
    /// The model has a chat template.
    pub has_chat_template: bool,
    tokenizer_file: u64,
}

/// A tokenizer in memory, in sizes of its file: 10 measured for one of 128 000 entries (10 MB).
const TOKENIZER: u64 = 10;

/// Lanes of the cache: values of a head are padded to whole ones.
const LANES: usize = 16;

impl Outline {
    /// Reads the headers of a Hugging Face directory or a GGUF file.
    ///
    /// # Errors
    /// As for [`Model::load`].
    pub fn open(path: &Path) -> Result<Outline, Error> {
        if path.is_file() {
            let file = Gguf::open(path)?;
            let texts = file.about_texts();
            return Outline::new(Checkpoint::from_gguf(file)?, texts?);
        }
        Outline::new(Checkpoint::open(path)?, TextFacts::of_folder(path))
    }

    /// Reads the headers of a model that is compiled in, with its tokenizer.
    ///
    /// # Errors
    /// As for [`Model::from_files`].
    pub fn of_files(files: ModelFiles) -> Result<Outline, Error> {
        let texts = TextFacts { has_tokenizer: true, ..TextFacts::default() };
        Outline::new(Checkpoint::from_files(files)?, texts)
    }

    fn new(mut checkpoint: Checkpoint, texts: TextFacts) -> Result<Outline, Error> {
        checkpoint.weights.only_count();
        let model = Model::new(checkpoint, Cpu::new(Isa::best(), 1))?;
        let TextFacts { has_tokenizer, has_chat_template, tokenizer_file } = texts;
        Ok(Outline { model, has_tokenizer, has_chat_template, tokenizer_file })
    }

    /// Returns the blueprint.
    pub fn config(&self) -> &Config {
        self.model.config()
    }

    /// Returns the checkpoint.
    pub fn weights(&self) -> &Weights {
        self.model.weights()
    }

    /// Returns the bytes of the weights as products read them: every matrix, padded to whole panels.
    pub fn weight_bytes(&self) -> u64 {
        self.weights().n_packed_bytes() as u64
    }

    /// Returns the bytes of the tokenizer.
    pub fn tokenizer_bytes(&self) -> u64 {
        TOKENIZER * self.tokenizer_file
    }

    /// Returns the bytes of the keys and values of one sequence of `tokens` tokens, in whole pages. Layers that see
    /// a window save nothing: the cache keeps every position, for forks and for replays.
    pub fn kv_bytes(&self, tokens: usize) -> u64 {
        let Config { n_layers, n_kv_heads, head_dim, .. } = *self.config();
        let per_token =
            n_layers * n_kv_heads * (head_dim + head_dim.next_multiple_of(LANES)) * size_of::<f32>();
        per_token as u64 * tokens.next_multiple_of(BLOCK_LEN) as u64
    }

    /// Returns the bytes of the activations of a pass of `rows` rows, without the head: what lives at once in a
    /// block and stays on the model's shelf. That is five rows of the stream, queries and what they attend to, keys
    /// and values, and the MLP's inside as floats and as what quantised weights are multiplied with. Experts run
    /// one after the other; at worst all rows go to one, gathered in a copy.
    pub fn activation_bytes(&self, rows: usize) -> u64 {
        let Config { d_model, n_heads, n_kv_heads, head_dim, d_ff, experts, ref layers, .. } = *self.config();
        let is_dense = layers.iter().any(|layer| !layer.routed);
        let routed = experts.filter(|_| layers.iter().any(|layer| layer.routed));
        let widest = routed.map_or(0, |it| it.d_ff.max(it.shared_d_ff.unwrap_or(0)));
        let d_ff = if is_dense { widest.max(d_ff) } else { widest };
        let gathered = routed.map_or(0, |it| 2 * d_model + it.n);
        let (q, kv) = (n_heads * head_dim, n_kv_heads * head_dim);
        let floats = 5 * d_model + 3 * q + 2 * kv + 2 * d_ff + d_ff / 2 + gathered;
        (rows * floats * size_of::<f32>()) as u64
    }

    /// Returns the bytes of the logits of `rows` rows.
    pub fn logit_bytes(&self, rows: usize) -> u64 {
        (rows * self.config().vocab_size * size_of::<f32>()) as u64
    }

    /// Returns the bytes of `rows` rows of the stream.
    pub fn stream_bytes(&self, rows: usize) -> u64 {
        (rows * self.config().d_model * size_of::<f32>()) as u64
    }
}
