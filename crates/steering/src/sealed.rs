//! Lines of JSON that carry a digest of themselves: one that was cut or edited is not believed.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// A line: the entry under its name, and its digest.
pub(crate) fn line(entry: &impl Serialize, name: &str) -> String {
    let body = serde_json::to_string(entry).expect("plain data");
    format!("{{\"{name}\":{body},\"digest\":\"{}\"}}\n", digest(&body))
}

/// A line that is what its digest says. `T` has a field of the entry's name and `digest`.
pub(crate) fn parse<T: DeserializeOwned + Serialize>(text: &str) -> Option<T> {
    let entry: T = serde_json::from_str(text).ok()?;
    let Value::Object(fields) = serde_json::from_str(text).ok()? else { return None };
    let (name, said) = (fields.keys().find(|it| *it != "digest")?, fields.get("digest")?.as_str()?);
    // Numbers are written as they are read, so the entry's own text is the text that was digested.
    let again = serde_json::to_string(&entry).ok()?;
    let body = again.strip_prefix(&format!(r#"{{"{name}":"#))?.rsplit_once(r#","digest":"#)?.0;
    (digest(body) == said && again == text).then_some(entry)
}

/// The first field in which what was found is not what is wanted, in words.
pub(crate) fn difference(found: &impl Serialize, wanted: &impl Serialize) -> Option<String> {
    let (found, wanted) = (fields(found), fields(wanted));
    let (name, value) = wanted.iter().find(|(name, value)| found.get(*name) != Some(value))?;
    Some(format!("its `{name}` is {}, this one's is {value}", found.get(name).unwrap_or(&Value::Null)))
}

fn fields(of: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(of).expect("plain data") {
        Value::Object(fields) => fields,
        _ => unreachable!("a struct is an object"),
    }
}

fn digest(body: &str) -> String {
    Sha256::digest(body.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
