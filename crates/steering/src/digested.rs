//! Lines of JSON that carry a digest of themselves: one that was cut or edited is not believed.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A line: the entry under its name, and its digest.
pub(crate) fn line(entry: &impl Serialize, name: &str) -> String {
    let body = serde_json::to_string(entry).expect("plain data");
    format!(r#"{{"{name}":{body},"digest":"{}"}}"#, digest(&body))
}

fn digest(body: &str) -> String {
    Sha256::digest(body.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// A line that is what its digest says; `T` has the entry under its name and a `digest`.
pub(crate) fn parse<T: DeserializeOwned + Serialize>(text: &str) -> Option<T> {
    let entry: T = serde_json::from_str(text).ok()?;
    let Value::Object(fields) = serde_json::from_str(text).ok()? else { return None };
    let (name, said) = (fields.keys().find(|it| *it != "digest")?, fields.get("digest")?.as_str()?);
    // Numbers are written as they are read, so the entry's own text is the text that was digested.
    let again = serde_json::to_string(&entry).ok()?;
    let body = again.strip_prefix(&format!(r#"{{"{name}":"#))?.rsplit_once(r#","digest":"#)?.0;
    (digest(body) == said && again == text).then_some(entry)
}
