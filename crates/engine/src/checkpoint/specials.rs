//! The tokens that a tokenizer puts around a text.

use super::templates;
use crate::error::Error;
use std::path::Path;
use tokenizers::processors::template::{SpecialToken, Template, TemplateProcessing};

/// The classes of transformers 4 that follow the flags of `tokenizer_config.json` and not the rules of
/// `tokenizer.json`, and whether they put bos before a text where that flag is not there. Their names may
/// end in `Fast`. (llama.cpp follows the flags, too; transformers 5 no longer does.)
const FLAGGED: &[(&str, bool)] = &[
    ("LlamaTokenizer", true),
    ("CodeLlamaTokenizer", true),
    ("GemmaTokenizer", true),
    ("GPTNeoXTokenizer", false),
];

/// Returns the rule that the flags `add_bos_token` and `add_eos_token` of a folder make. There is one if the folder
/// has one of the flags and its tokenizer is of a class that follows them. A flag whose token has no name leaves
/// everything as it is.
///
/// # Errors
/// [`Error::Read`] or [`Error::Malformed`] naming `tokenizer_config.json`.
pub(super) fn flagged(
    dir: &Path,
    tokenizer: &tokenizers::Tokenizer,
) -> Result<Option<TemplateProcessing>, Error> {
    let path = dir.join("tokenizer_config.json");
    let Some(fields) = templates::fields(&path)? else { return Ok(None) };
    let class = fields.get("tokenizer_class").and_then(|it| it.as_str()).unwrap_or_default();
    let class = class.strip_suffix("Fast").unwrap_or(class);
    let Some((_, bos)) = FLAGGED.iter().find(|(name, _)| *name == class) else { return Ok(None) };
    let flag = |name: &str| fields.get(name).and_then(|it| it.as_bool());
    let (add_bos, add_eos) = (flag("add_bos_token"), flag("add_eos_token"));
    if add_bos.is_none() && add_eos.is_none() {
        return Ok(None);
    }
    let names = templates::special_tokens(dir)?;
    let token = |name: &str| {
        let text = names.get(name)?;
        Some((&text[..], tokenizer.token_to_id(text)?))
    };
    let wanted = [("bos_token", add_bos.unwrap_or(*bos)), ("eos_token", add_eos.unwrap_or(false))];
    if wanted.iter().any(|(name, add)| *add && token(name).is_none()) {
        return Ok(None);
    }
    let [before, behind] = wanted.map(|(name, add)| if add { token(name) } else { None });
    around(before, behind).map(Some).map_err(|reason| Error::malformed(path, reason))
}

/// Returns the rule that puts these tokens, each a text and its id, before and behind a text.
///
/// # Errors
/// Returns what the library has against it.
pub(super) fn around(
    before: Option<(&str, u32)>,
    behind: Option<(&str, u32)>,
) -> Result<TemplateProcessing, String> {
    let mut pieces = vec!["$A"];
    let mut special = Vec::new();
    for (name, token) in [("bos", before), ("eos", behind)] {
        let Some((text, id)) = token else { continue };
        pieces.insert(if name == "bos" { 0 } else { pieces.len() }, name);
        let token = SpecialToken::new(name.to_owned(), vec![id], vec![text.to_owned()]);
        special.push(token.map_err(|error| error.to_string())?);
    }
    let template = Template::try_from(pieces)?;
    TemplateProcessing::builder()
        .single(template)
        .special_tokens(special)
        .build()
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use crate::text::Tokenizer;

    /// Words `a` and `b`, bos and eos; its own rule puts eos behind a text.
    const TOKENIZER: &str = r#"{"version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "added_tokens": [
            {"id": 0, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
            {"id": 1, "content": "</s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "decoder": null,
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}},
        "model": {"type": "WordLevel", "vocab": {"<s>": 0, "</s>": 1, "a": 2, "b": 3}, "unk_token": "a"}}"#;

    /// Returns the ids of `a b`, from a folder with this `tokenizer.json` and `tokenizer_config.json`.
    fn ids(tokenizer: &str, config: &str) -> Vec<u32> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tokenizer.json"), tokenizer).unwrap();
        std::fs::write(dir.path().join("tokenizer_config.json"), config).unwrap();
        Tokenizer::load(dir.path()).unwrap().encode("a b").unwrap()
    }

    #[test]
    fn flags_of_the_config_say_what_goes_around_a_text_where_transformers_follows_them() {
        let check = |class: &str, flags: &str, want: &[u32]| {
            let names = r#""bos_token": "<s>", "eos_token": {"content": "</s>"}"#;
            let config = format!(r#"{{"tokenizer_class": "{class}", {names}{flags}}}"#);
            assert_eq!(ids(TOKENIZER, &config), want, "{config}");
        };
        check("LlamaTokenizerFast", r#", "add_bos_token": true"#, &[0, 2, 3]);
        check("LlamaTokenizer", r#", "add_bos_token": false"#, &[2, 3]);
        check("LlamaTokenizer", r#", "add_bos_token": true, "add_eos_token": true"#, &[0, 2, 3, 1]);
        check("GemmaTokenizer", r#", "add_eos_token": false"#, &[0, 2, 3]);
        check("GPTNeoXTokenizer", r#", "add_eos_token": true"#, &[2, 3, 1]);
        check("GPTNeoXTokenizer", r#", "add_eos_token": false"#, &[2, 3]);
        check("LlamaTokenizer", "", &[2, 3, 1]);
        check("PreTrainedTokenizerFast", r#", "add_bos_token": true"#, &[2, 3, 1]);
        check("Qwen2Tokenizer", r#", "add_bos_token": false"#, &[2, 3, 1]);
    }

    #[test]
    fn a_flag_whose_token_has_no_name_leaves_the_rules_of_the_file() {
        let check = |config: &str| assert_eq!(ids(TOKENIZER, config), [2, 3, 1], "{config}");
        check(r#"{"tokenizer_class": "LlamaTokenizer", "add_bos_token": true}"#);
        check(r#"{"tokenizer_class": "LlamaTokenizer", "add_bos_token": true, "bos_token": "<begin>"}"#);
        check("{}");
    }

    #[test]
    fn texts_are_neither_cut_nor_filled_up_as_in_training() {
        let cut = r#""truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}"#;
        let fill = r#""padding": {"strategy": {"Fixed": 7}, "direction": "Left", "pad_to_multiple_of": null,
            "pad_id": 1, "pad_type_id": 0, "pad_token": "</s>"}"#;
        let check = |from: &str, to: &str| {
            assert_eq!(ids(&TOKENIZER.replace(from, to), "{}"), [2, 3, 1], "{to}");
        };
        check(r#""truncation": null"#, cut);
        check(r#""padding": null"#, fill);
    }
}
