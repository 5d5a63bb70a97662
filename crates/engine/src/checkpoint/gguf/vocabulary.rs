//! A tokenizer as the metadata of a GGUF file: what `tokenizer.rs` reads, the other way round.

use super::file::Gguf;
use super::pieces;
use super::split::Rule;
use super::tokenizer::ORIGINAL;
use super::tokens::Kind;
use super::write::{GgufValue, GgufWriter};
use crate::checkpoint::{folder, templates};
use crate::config::Config;
use crate::error::Error;
use crate::text::Tokenizer;
use serde_json::Value;
use std::path::Path;

/// Names of ways to cut text, the one that says most first where several mean the same.
const CUTS: &[&str] = &[
    "llama-bpe",
    "smollm",
    "qwen2",
    "tekken",
    "gpt-2",
    "olmo",
    "dbrx",
    "stablelm2",
    "gpt-4o",
    "deepseek-coder",
    "deepseek-v3",
];

/// Texts that must give the same ids from the file: every kind of character and of seam between them.
const SAMPLES: &[&str] = &[
    "",
    " ",
    "The harbour lies still. We'll SAIL at 5:30, don't you think?",
    "  two spaces,\tone tab\n\nand\r\nlines \n ends  ",
    "1234567890 3.14159 1,000,000 x2 2x ٣٤ ½",
    "fn main() { println!(\"{:?}\", a[i] <<= 2); } // done -- =>",
    "Zażółć gęślą jaźń; naïve café e\u{301}cole Å Straße",
    "東京タワー 서울 Привет мир שלום العربية हिन्दी ไทย",
    "🙂👩‍👩‍👧 ©™ “quoted” – dash… \u{a0}\u{200b}\u{fe0f}",
    "HTMLParser camelCase snake_case o'clock 'S 'Ll we'RE",
];

/// Sets the keys of the tokenizer in `dir`, with its chat template. Also returns what the keys of the vocabulary only
/// come near to, if there is such a thing: the file then has the original beside them.
///
/// # Errors
/// [`Error::Malformed`] naming what such a file cannot say.
pub(super) fn write<'a>(
    dir: &Path,
    config: &Config,
    mut writer: GgufWriter<'a>,
) -> Result<(GgufWriter<'a>, Option<String>), Error> {
    let path = dir.join("tokenizer.json");
    let bytes = std::fs::read(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
    let original = folder::tokenizer(dir)?;
    let wrong = |reason: String| Error::malformed(&path, reason);
    let json: Value = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    check_model(&json).map_err(wrong)?;
    let (texts, mut kinds) = tokens(&json, config.vocab_size).map_err(wrong)?;
    let merges = merges(&json).map_err(wrong)?;
    let text = |text: &str| GgufValue::Text(text.to_owned());
    if pieces::is_sentencepiece(&json) {
        pieces::sort_out(&json, &texts, &mut kinds);
        writer = writer.set("tokenizer.ggml.model", text("llama"));
        writer = pieces::write(&json, &texts, &kinds, &merges, writer).map_err(wrong)?;
    } else {
        let lines = merges.iter().map(|(left, right)| text(&format!("{left} {right}"))).collect();
        writer = writer
            .set("tokenizer.ggml.model", text("gpt2"))
            .set("tokenizer.ggml.pre", text(cut(&json).map_err(wrong)?))
            .set("tokenizer.ggml.merges", GgufValue::List(lines));
    }
    let kinds = kinds.into_iter().map(|kind| GgufValue::I32(kind.id()));
    writer = writer
        .set("tokenizer.ggml.tokens", GgufValue::List(texts.iter().map(|it| text(it)).collect()))
        .set("tokenizer.ggml.token_type", GgufValue::List(kinds.collect()));
    for (key, id) in special_tokens(dir, config, &original, &path)? {
        writer = writer.set(&format!("tokenizer.ggml.{key}_token_id"), GgufValue::U32(id));
    }
    let (before, behind) = frame(&original, &path)?;
    for (key, there) in [("bos", before.is_some()), ("eos", behind.is_some())] {
        writer = writer.set(&format!("tokenizer.ggml.add_{key}_token"), GgufValue::Bool(there));
    }
    if let Some(template) = templates::find(dir)? {
        writer = writer.set("tokenizer.chat_template", GgufValue::Text(template.source));
    }
    let inexact = inexact(&json);
    if inexact.is_some() {
        writer = writer.set(ORIGINAL, GgufValue::Text(json.to_string()));
    }
    check(&writer, &original, &json, &path)?;
    Ok((writer, inexact))
}

/// Refuses tokenizers that are not plain BPE, byte-level or with SentencePiece's fallback to bytes.
fn check_model(json: &Value) -> Result<(), String> {
    let model = &json["model"];
    let kind = model["type"].as_str().unwrap_or("BPE");
    let decoder = json["decoder"]["type"].as_str();
    let is_known = decoder == Some("ByteLevel") || pieces::is_sentencepiece(json);
    if kind != "BPE" || !is_known {
        let decoder = decoder.unwrap_or("no");
        return Err(format!(
            "is of the kind {kind} with {decoder} decoder; only BPE that is byte-level or falls back to bytes can be \
             written to a GGUF file"
        ));
    }
    for name in ["dropout", "continuing_subword_prefix", "end_of_word_suffix"] {
        let value = &model[name];
        if !(value.is_null() || value == "" || value.as_f64() == Some(0.0)) {
            return Err(format!("`model.{name}` is {value}, which a GGUF file cannot say"));
        }
    }
    Ok(())
}

/// Returns what no key can say of the tokenizer, although the keys come near: readers that heed the vocabulary
/// alone cut a few texts otherwise.
fn inexact(json: &Value) -> Option<String> {
    let strips = |token: &Value| {
        let flag =
            ["single_word", "lstrip", "rstrip"].into_iter().find(|flag| token[*flag] == Value::Bool(true))?;
        Some(format!(
            "`{flag}` of the added token `{}` is true",
            token["content"].as_str().unwrap_or_default()
        ))
    };
    let is_first = |step: &Value| step["type"] == "Metaspace" && step["prepend_scheme"] == "first";
    let first = || {
        let found = pieces::steps(&json["pre_tokenizer"]).iter().any(is_first);
        found.then(|| {
            "a space goes before a text only where there is none, and not behind special tokens".to_owned()
        })
    };
    added(json).iter().find_map(strips).or_else(first)
}

/// Returns the name of the way in which text is cut.
fn cut(json: &Value) -> Result<&'static str, String> {
    let (pre, normalizer) = (pieces::steps(&json["pre_tokenizer"]), pieces::steps(&json["normalizer"]));
    let ignore_merges = json["model"]["ignore_merges"] == Value::Bool(true);
    let is = |name: &&&str| {
        let Some(rule) = Rule::named(name) else { return false };
        let Ok(cut) = rule.pre_tokenizer(false) else { return false };
        let normal = rule.normalizer().map(|it| serde_json::to_value(it).unwrap_or_default());
        pieces::steps(&serde_json::to_value(cut).unwrap_or_default()) == pre
            && pieces::steps(&normal.unwrap_or_default()) == normalizer
            && rule.ignore_merges == ignore_merges
    };
    CUTS.iter().find(is).copied().ok_or_else(|| {
        let with = if ignore_merges { " with `ignore_merges`" } else { "" };
        format!(
            "`pre_tokenizer` and `normalizer` are none of those that have a name in GGUF files (known: {}): {} \
             {}{with}",
            CUTS.join(", "),
            json["pre_tokenizer"],
            json["normalizer"]
        )
    })
}

/// Returns every token's text and kind, by id; rows of the embedding that are no token get a name.
fn tokens(json: &Value, n: usize) -> Result<(Vec<String>, Vec<Kind>), String> {
    let vocab = json["model"]["vocab"].as_object().ok_or("`model.vocab` is not an object")?;
    let mut found: Vec<Option<(String, Kind)>> = vec![None; n];
    let mut put = |text: &str, id: &Value, kind: Kind| {
        let place = id.as_u64().and_then(|id| found.get_mut(usize::try_from(id).ok()?));
        let place = place.ok_or_else(|| format!("`{text}` has the id {id}, but the model has only {n}"))?;
        *place = Some((text.to_owned(), kind));
        Ok::<(), String>(())
    };
    for (text, id) in vocab {
        put(text, id, Kind::Normal)?;
    }
    for token in added(json) {
        let text = token["content"].as_str().unwrap_or_default();
        let is_special = token["special"] == Value::Bool(true);
        put(text, &token["id"], if is_special { Kind::Control } else { Kind::UserDefined })?;
    }
    let named = |(id, token): (usize, Option<(String, Kind)>)| {
        token.unwrap_or_else(|| (format!("[PAD{id}]"), Kind::Unused))
    };
    Ok(found.into_iter().enumerate().map(named).unzip())
}

fn added(json: &Value) -> &[Value] {
    json["added_tokens"].as_array().map_or(&[], |it| it)
}

/// Returns the merges, the first to be made first. Older files have them as lines of two tokens, newer ones as
/// pairs.
fn merges(json: &Value) -> Result<Vec<(String, String)>, String> {
    let lines = json["model"]["merges"].as_array().ok_or("`model.merges` is not a list")?;
    let merge = |value: &Value| {
        let pair = match value {
            Value::String(line) => line.split_once(' '),
            Value::Array(pair) => match &pair[..] {
                [Value::String(left), Value::String(right)] => Some((&left[..], &right[..])),
                _ => None,
            },
            _ => None,
        };
        let pair = pair.filter(|(left, right)| ![left, right].into_iter().any(|it| it.contains(' ')));
        pair.map(|(left, right)| (left.to_owned(), right.to_owned()))
            .ok_or_else(|| format!("`model.merges` has {value}, which is not two tokens"))
    };
    lines.iter().map(merge).collect()
}

/// Returns what the tokenizer puts around a text: one token before it, one behind it, or nothing.
fn frame(original: &Tokenizer, path: &Path) -> Result<(Option<u32>, Option<u32>), Error> {
    let (whole, text) = (original.encode("a")?, original.encode_more("a")?);
    let at = whole.windows(text.len().max(1)).position(|it| it == text);
    match at.map(|at| (&whole[..at], &whole[at + text.len()..])) {
        Some((before, behind)) if before.len() <= 1 && behind.len() <= 1 => {
            Ok((before.first().copied(), behind.first().copied()))
        }
        _ => {
            let reason = "`post_processor` puts more than one token before or behind a text, which a GGUF file \
                          cannot say";
            Err(Error::malformed(path, reason))
        }
    }
}

/// Returns the keys of special tokens, with their ids. An answer ends at any of `eos`, `eot` and `eom`.
fn special_tokens(
    dir: &Path,
    config: &Config,
    original: &Tokenizer,
    path: &Path,
) -> Result<Vec<(&'static str, u32)>, Error> {
    let names = templates::special_tokens(dir)?;
    let id = |name: &str| names.get(name).and_then(|text| original.0.token_to_id(text));
    let (before, behind) = frame(original, path)?;
    let mut ids: Vec<(&str, u32)> =
        before.or(id("bos_token")).or(config.bos_token).map(|id| ("bos", id)).into_iter().collect();
    let mut ends: Vec<u32> = Vec::new();
    for id in behind.or(id("eos_token")).into_iter().chain(config.eos_tokens.iter().copied()) {
        if !ends.contains(&id) {
            ends.push(id);
        }
    }
    if ends.len() > 3 {
        let reason =
            format!("`eos_token_id` names {} tokens, but a GGUF file has place for three", ends.len());
        return Err(Error::malformed(dir.join("generation_config.json"), reason));
    }
    ids.extend(["eos", "eot", "eom"].into_iter().zip(ends));
    for (key, name) in [("unknown", "unk_token"), ("padding", "pad_token")] {
        ids.extend(id(name).map(|id| (key, id)));
    }
    Ok(ids)
}

/// Holds the tokenizer that a reader makes of the file against the original.
fn check(writer: &GgufWriter, original: &Tokenizer, json: &Value, path: &Path) -> Result<(), Error> {
    let written = Tokenizer(Gguf::from_bytes(writer.to_bytes(), path)?.tokenizer()?);
    let between = |token: &Value| format!("one {} two", token["content"].as_str().unwrap_or_default());
    let texts = SAMPLES.iter().map(|text| (*text).to_owned()).chain(added(json).iter().map(between));
    for text in texts {
        let (want, got) = (original.encode(&text)?, written.encode(&text)?);
        let same_text = || Ok::<_, Error>(original.decode(&want)? == written.decode(&got)?);
        if want != got || !same_text()? {
            let verb = if want == got { "decodes" } else { "cuts" };
            let reason = format!("{verb} `{}` in a way that a GGUF file cannot say", text.escape_debug());
            return Err(Error::malformed(path, reason));
        }
    }
    Ok(())
}
