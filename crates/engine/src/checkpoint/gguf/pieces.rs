//! The vocabulary of a SentencePiece BPE model as the metadata of a GGUF file: scores for merges, what
//! `sentencepiece.rs` reads, the other way round.

use super::sentencepiece::{self, SPACE};
use super::tokens::{ADD_SPACE, Kind, SCORES};
use super::write::{GgufValue, GgufWriter};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};

/// Returns true for BPE on pieces with marks for spaces, where what is no piece becomes bytes.
pub(super) fn is_sentencepiece(json: &Value) -> bool {
    json["model"]["byte_fallback"] == Value::Bool(true)
}

/// Turns kinds that `tokenizer.json` does not tell apart into those of SentencePiece.
pub(super) fn sort_out(json: &Value, texts: &[String], kinds: &mut [Kind]) {
    let unknown = json["model"]["unk_token"].as_str();
    for (text, kind) in texts.iter().zip(kinds) {
        let hex = text.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
        if hex.is_some_and(|hex| hex.len() == 2 && u8::from_str_radix(hex, 16).is_ok()) {
            *kind = Kind::Byte;
        } else if unknown == Some(text) {
            *kind = Kind::Unknown;
        }
    }
}

/// Sets the scores and whether a space goes before a text. `merges` are those of the original, the first to be
/// made first.
///
/// # Errors
/// Returns what a GGUF file cannot say, in words.
pub(super) fn write<'a>(
    json: &Value,
    texts: &[String],
    kinds: &[Kind],
    merges: &[(String, String)],
    writer: GgufWriter<'a>,
) -> Result<GgufWriter<'a>, String> {
    let prefix = space_before(json)?;
    let mut rank: HashMap<String, usize> = HashMap::new();
    for (at, (left, right)) in merges.iter().enumerate() {
        rank.entry(format!("{left}{right}")).or_insert(at);
    }
    let score = |text: &String, kind: &Kind| match kind {
        Kind::Normal | Kind::UserDefined | Kind::Unused => -(*rank.get(text).unwrap_or(&merges.len()) as f32),
        Kind::Control | Kind::Unknown | Kind::Byte => 0.0,
    };
    let scores: Vec<f32> = texts.iter().zip(kinds).map(|(text, kind)| score(text, kind)).collect();
    check_merges(texts, kinds, &scores, merges)?;
    Ok(writer
        .set(SCORES, GgufValue::List(scores.into_iter().map(GgufValue::F32).collect()))
        .set(ADD_SPACE, GgufValue::Bool(prefix)))
}

/// Returns true if a space goes before a text. Every step that text goes through has to be one that a reader of
/// GGUF files takes by itself.
fn space_before(json: &Value) -> Result<bool, String> {
    let mut prefix = false;
    for field in ["normalizer", "pre_tokenizer"] {
        for step in steps(&json[field]) {
            let kind = step["type"].as_str().unwrap_or_default();
            let is_mark = |name: &str| step[name] == SPACE;
            let of_space = step["pattern"]["String"] == " ";
            match kind {
                "Prepend" if is_mark("prepend") => prefix = true,
                "Replace" if of_space && is_mark("content") => {}
                "Metaspace" if is_mark("replacement") && step["split"] == Value::Bool(false) => {
                    prefix |= step["prepend_scheme"] != "never";
                }
                // No space is left for it to be cut at.
                "Split" if of_space => {}
                _ => return Err(format!("`{field}` has the step {step}, which a GGUF file cannot say")),
            }
        }
    }
    Ok(prefix)
}

/// Lists the steps of a pre-tokenizer or a normalizer, without the fields that only concern offsets.
pub(super) fn steps(value: &Value) -> Vec<Value> {
    let inside = value.get("pretokenizers").or(value.get("normalizers")).and_then(Value::as_array);
    match (value, inside) {
        (_, Some(inside)) => inside.iter().flat_map(steps).collect(),
        (Value::Object(fields), None) => {
            let mut fields = fields.clone();
            fields.remove("trim_offsets");
            if fields.get("type").is_some_and(|kind| kind == "ByteLevel") {
                // As the library has it where a file leaves it out.
                fields.entry("use_regex").or_insert(Value::Bool(true));
            }
            vec![Value::Object(fields)]
        }
        _ => Vec::new(),
    }
}

/// Compares the merges with the merges that a reader makes of scores, which are every way to put a piece together
/// from two others. The original has to have the same ones.
fn check_merges(
    texts: &[String],
    kinds: &[Kind],
    scores: &[f32],
    merges: &[(String, String)],
) -> Result<(), String> {
    let ids: HashMap<&str, u32> = texts.iter().map(String::as_str).zip(0u32..).collect();
    let is_merged = |kind: &Kind| matches!(kind, Kind::Normal | Kind::UserDefined | Kind::Unused);
    let pieces: Vec<(&str, f64)> = (texts.iter().zip(scores).zip(kinds))
        .filter(|(_, kind)| is_merged(kind))
        .map(|((text, score), _)| (text.as_str(), f64::from(*score)))
        .collect();
    let read: BTreeSet<(String, String)> = sentencepiece::merges(&pieces, &ids).into_iter().collect();
    let is_piece = |text: &str| ids.get(text).is_some_and(|id| is_merged(&kinds[*id as usize]));
    let own: BTreeSet<(String, String)> =
        merges.iter().filter(|(left, right)| is_piece(&format!("{left}{right}"))).cloned().collect();
    match own.symmetric_difference(&read).next() {
        None => Ok(()),
        Some((left, right)) => Err(format!(
            "`model.merges` are not those of a SentencePiece model, every way to make a piece of two others: \
             `{left}` and `{right}` {}",
            if own.contains(&(left.clone(), right.clone())) { "make no piece" } else { "are not merged" }
        )),
    }
}
