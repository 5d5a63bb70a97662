//! The choice of the files that a model needs.

use crate::reference::{FileName, is_gguf};
use std::collections::{BTreeMap, BTreeSet};

/// The configuration, without which a repository is no checkpoint.
pub(crate) const CONFIG: &str = "config.json";

/// The weights in one file, preferred to all other files.
pub(crate) const WEIGHTS: &str = "model.safetensors";

/// The list of the shards, for weights in several files.
pub(crate) const INDEX: &str = "model.safetensors.index.json";

/// The files that a checkpoint may have: stop tokens, tokenizer and chat template.
pub(crate) const EXTRAS: [&str; 6] = [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
];

/// Returns one of the names above as a [`FileName`].
pub(crate) fn known(name: &str) -> FileName {
    FileName::new(name).expect("a plain name")
}

/// Returns the shards that an index names, or the reason why it is unusable.
pub(crate) fn shards(index: &[u8]) -> Result<Vec<FileName>, String> {
    let json: serde_json::Value =
        serde_json::from_slice(index).map_err(|error| format!("it is not JSON: {error}"))?;
    let map = json["weight_map"].as_object().ok_or("`weight_map` is not an object")?;
    let mut names = BTreeSet::new();
    for (tensor, file) in map {
        let name =
            file.as_str().and_then(FileName::new).filter(|name| name.as_str().ends_with(".safetensors"));
        let Some(name) = name else {
            return Err(format!(
                "`weight_map` places `{tensor}` in {file}, which is not a safetensors file of the repository"
            ));
        };
        names.insert(name);
    }
    if names.is_empty() {
        return Err("`weight_map` names no shard".into());
    }
    Ok(names.into_iter().collect())
}

/// The result of looking for a quantisation among file names.
#[derive(Debug, PartialEq)]
pub(crate) enum Match {
    /// One model matches: its file, or all its shards in order.
    One(Vec<String>),
    /// No model matches: the first shard of each model that exists.
    None(Vec<String>),
    /// Several models match: the first shard of each.
    Many(Vec<String>),
}

/// Finds the one GGUF model whose name carries `quant`, ignoring case.
///
/// A name that carries it as a word of its own wins (`a-Q4_K.gguf` rather than `a-Q4_K_M.gguf`). Unless
/// `words_only` is set, names that carry it as part of a word come next.
pub(crate) fn quant(files: &[String], quant: &str, words_only: bool) -> Match {
    let models = gguf_models(files);
    let having = |test: &dyn Fn(&str) -> bool| -> Vec<&Vec<String>> {
        models.iter().filter(|(stem, _)| test(stem)).map(|(_, shards)| shards).collect()
    };
    let quant = quant.to_ascii_lowercase();
    let mut found = having(&|stem| has_word(stem, &quant));
    if found.is_empty() && !words_only {
        found = having(&|stem| stem.contains(&quant));
    }
    match &found[..] {
        [] => Match::None(models.values().map(|shards| shards[0].clone()).collect()),
        [one] => Match::One(one.to_vec()),
        many => Match::Many(many.iter().map(|shards| shards[0].clone()).collect()),
    }
}

/// Returns the file `name` and, if it is a shard, the other shards.
pub(crate) fn with_shards(files: &[String], name: &str) -> Option<Vec<String>> {
    gguf_models(files).into_values().find(|shards| shards.iter().any(|it| it == name))
}

/// Returns the first shard of each GGUF model.
pub(crate) fn gguf_names(files: &[String]) -> Vec<String> {
    gguf_models(files).into_values().map(|shards| shards[0].clone()).collect()
}

/// Groups GGUF files by model. The keys are in lower case, without the ending and the number of the shard.
fn gguf_models(files: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut models: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files.iter().filter(|file| is_gguf(file)) {
        let stem = file[..file.len() - 5].to_ascii_lowercase();
        let name = stem.rsplit('/').next().unwrap_or_default();
        // Projectors for images and sound, and the statistics that quantisers use, are no models.
        if name.contains("mmproj") || name.contains("imatrix") {
            continue;
        }
        models.entry(without_shard(&stem).unwrap_or(stem)).or_default().push(file.clone());
    }
    models.values_mut().for_each(|shards| shards.sort());
    models
}

/// Returns `a-of-00003` for `a-00001-of-00003`, and `None` for a name that is not a shard's.
fn without_shard(stem: &str) -> Option<String> {
    let is_number = |text: &str| text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
    let (rest, n) = stem.rsplit_once("-of-")?;
    let (rest, i) = rest.rsplit_once('-')?;
    (is_number(n) && is_number(i)).then(|| format!("{rest}-of-{n}"))
}

/// Returns true if `text` contains `word` with no letter, digit or underscore beside it.
fn has_word(text: &str, word: &str) -> bool {
    let is_inside = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(is_inside) && !text[at + word.len()..].starts_with(is_inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|it| it.to_string()).collect()
    }

    #[test]
    fn a_quantisation_is_found_in_a_files_name() {
        let repo = names(&[
            "README.md",
            "m-Q4_K_M.gguf",
            "m-Q4_K_S.gguf",
            "m-IQ4_XS.gguf",
            "m.q8_0.gguf",
            "m-UD-Q2_K_XL.gguf",
            "BF16/m-BF16-00002-of-00002.gguf",
            "BF16/m-BF16-00001-of-00002.gguf",
            "mmproj-F16.gguf",
            "m-F16.gguf",
            "m-imatrix.gguf",
        ]);
        let one = |text: &str, want: &[&str]| {
            assert_eq!(quant(&repo, text, false), Match::One(names(want)), "{text}")
        };
        one("Q4_K_M", &["m-Q4_K_M.gguf"]);
        one("q4_k_m", &["m-Q4_K_M.gguf"]);
        one("Q8_0", &["m.q8_0.gguf"]);
        one("f16", &["m-F16.gguf"]);
        one("UD-Q2_K_XL", &["m-UD-Q2_K_XL.gguf"]);
        one("Q2_K", &["m-UD-Q2_K_XL.gguf"]);
        one("BF16", &["BF16/m-BF16-00001-of-00002.gguf", "BF16/m-BF16-00002-of-00002.gguf"]);
        assert_eq!(quant(&repo, "Q4_K", false), Match::Many(names(&["m-Q4_K_M.gguf", "m-Q4_K_S.gguf"])));
        assert_eq!(quant(&repo, "Q2_K", true), Match::None(gguf_names(&repo)));
        let Match::None(there) = quant(&repo, "Q6_K", false) else { panic!("Q6_K") };
        assert_eq!(there.len(), 7, "{there:?}");
    }

    #[test]
    fn a_file_brings_its_shards() {
        let repo = names(&["a-00002-of-00002.gguf", "a-00001-of-00002.gguf", "a.gguf", "b-0001-of-2.gguf"]);
        let check = |name: &str, want: Option<&[&str]>| {
            assert_eq!(with_shards(&repo, name), want.map(names), "{name}")
        };
        check("a-00001-of-00002.gguf", Some(&["a-00001-of-00002.gguf", "a-00002-of-00002.gguf"]));
        check("a.gguf", Some(&["a.gguf"]));
        check("b-0001-of-2.gguf", Some(&["b-0001-of-2.gguf"]));
        check("c.gguf", None);
    }

    #[test]
    fn shards_are_files_of_the_repository() {
        let check = |map: &str, want: Result<&[&str], &str>| {
            let got = shards(format!("{{\"weight_map\": {map}}}").as_bytes());
            match (got, want) {
                (Ok(got), Ok(want)) => assert_eq!(got.iter().map(FileName::as_str).collect::<Vec<_>>(), want),
                (Err(got), Err(want)) => assert!(got.contains(want), "{got}"),
                (got, _) => panic!("{map}: {got:?}"),
            }
        };
        check(
            r#"{"a": "2.safetensors", "b": "1.safetensors", "c": "2.safetensors"}"#,
            Ok(&["1.safetensors", "2.safetensors"]),
        );
        check("{}", Err("names no shard"));
        check("3", Err("not an object"));
        check(r#"{"a": "../1.safetensors"}"#, Err("places `a` in"));
        check(r#"{"a": "/1.safetensors"}"#, Err("places `a` in"));
        check(r#"{"a": "pytorch_model.bin"}"#, Err("places `a` in"));
        check(r#"{"a": 3}"#, Err("places `a` in"));
    }
}
