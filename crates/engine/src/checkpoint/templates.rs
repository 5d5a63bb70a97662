//! Where the folder of a model keeps its chat template, and what it calls its special tokens.

use crate::error::Error;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Far above any template; a longer one is no template.
const MAX_LEN: usize = 256 << 10;

/// The special tokens that templates know by name.
const VARIABLES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// A template as its model has it.
pub(super) struct Found {
    pub(super) source: String,
    /// `bos_token` and its like.
    pub(super) variables: BTreeMap<String, String>,
    /// The file that it is in.
    pub(super) path: PathBuf,
}

/// Looks into a folder.
pub(super) fn find(dir: &Path) -> Result<Option<Found>, Error> {
    in_folder(dir)?.map(checked).transpose()
}

/// Refuses a template that is too long to be one.
pub(super) fn checked(found: Found) -> Result<Found, Error> {
    if found.source.len() > MAX_LEN {
        let reason = format!("is longer than {MAX_LEN} bytes, which no chat template is");
        return Err(Error::Template { path: found.path, reason });
    }
    Ok(found)
}

/// Reads what the folder of a model calls its special tokens: `bos_token` and its like.
pub(super) fn special_tokens(dir: &Path) -> Result<BTreeMap<String, String>, Error> {
    let fields = fields(&dir.join("tokenizer_config.json"))?;
    Ok(fields.as_ref().map(variables).unwrap_or_default())
}

fn in_folder(dir: &Path) -> Result<Option<Found>, Error> {
    let config = dir.join("tokenizer_config.json");
    let fields = fields(&config)?;
    let variables = match &fields {
        Some(fields) => variables(fields),
        None => BTreeMap::new(),
    };
    let alone = dir.join("chat_template.jinja");
    if let Some(source) = read(&alone)? {
        return Ok(Some(Found { source, variables, path: alone }));
    }
    let processor = dir.join("chat_template.json");
    for (path, fields) in [(config, fields), (processor.clone(), self::fields(&processor)?)] {
        let value = fields.as_ref().and_then(|fields| fields.get("chat_template"));
        if let Some(value) = value.filter(|value| !value.is_null()) {
            let source = default_of(value).map_err(|reason| Error::malformed(&path, reason))?;
            return Ok(Some(Found { source, variables, path }));
        }
    }
    Ok(None)
}

/// Returns a template, or the template called `default` among several.
fn default_of(value: &Value) -> Result<String, String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let named: Vec<(&str, String)> = match value {
        Value::String(source) => return Ok(source.clone()),
        Value::Object(map) => map.iter().filter_map(|(name, it)| Some((&name[..], text(it)?))).collect(),
        Value::Array(list) => list
            .iter()
            .filter_map(|it| Some((it.get("name")?.as_str()?, text(it.get("template")?)?)))
            .collect(),
        _ => Vec::new(),
    };
    match named.iter().find(|(name, _)| *name == "default") {
        Some((_, source)) => Ok(source.clone()),
        None if named.is_empty() => Err("`chat_template` is neither a text nor a list of named texts".into()),
        None => {
            let names: Vec<&str> = named.iter().map(|(name, _)| *name).collect();
            Err(format!("`chat_template` has no template called `default` (it has {})", names.join(", ")))
        }
    }
}

/// Returns the special tokens by name. A file has them as texts, or as objects with the text as `content`.
fn variables(fields: &Map<String, Value>) -> BTreeMap<String, String> {
    let text = |value: &Value| value.get("content").unwrap_or(value).as_str().map(str::to_owned);
    let variable = |name: &&str| Some(((*name).to_owned(), text(fields.get(*name)?)?));
    VARIABLES.iter().filter_map(variable).collect()
}

/// Reads the fields of a JSON file, if the file is there.
pub(super) fn fields(path: &Path) -> Result<Option<Map<String, Value>>, Error> {
    let Some(text) = read(path)? else { return Ok(None) };
    match serde_json::from_str(&text) {
        Ok(Value::Object(fields)) => Ok(Some(fields)),
        Ok(_) => Err(Error::malformed(path, "is not a JSON object")),
        Err(error) => Err(Error::malformed(path, format!("is not JSON: {error}"))),
    }
}

/// Reads the text of a file, if the file is there.
fn read(path: &Path) -> Result<Option<String>, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read { path: path.to_owned(), source }),
    }
}
