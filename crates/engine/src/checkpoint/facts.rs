//! What there is of a model's texts, without reading them.

use std::path::Path;

/// Whether a model has a tokenizer and a chat template, and how large the first is.
#[derive(Default)]
pub(crate) struct TextFacts {
    pub(crate) has_tokenizer: bool,
    pub(crate) has_chat_template: bool,
    /// Bytes of the file, or of the part of one, that the tokenizer is made of.
    pub(crate) tokenizer_file: u64,
}

impl TextFacts {
    /// Looks into a Hugging Face folder.
    pub(crate) fn of_folder(dir: &Path) -> TextFacts {
        let is_in = |name: &str| {
            let text = std::fs::read_to_string(dir.join(name)).ok()?;
            let config: serde_json::Value = serde_json::from_str(&text).ok()?;
            Some(!config.get("chat_template")?.is_null())
        };
        let tokenizer = std::fs::metadata(dir.join("tokenizer.json"));
        TextFacts {
            has_tokenizer: tokenizer.is_ok(),
            has_chat_template: dir.join("chat_template.jinja").exists()
                || ["tokenizer_config.json", "chat_template.json"]
                    .into_iter()
                    .any(|name| is_in(name) == Some(true)),
            tokenizer_file: tokenizer.map_or(0, |file| file.len()),
        }
    }
}
