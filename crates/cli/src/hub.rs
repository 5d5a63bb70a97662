//! Models that Hugging Face tools have already put into the local cache.

use std::{env, path::PathBuf};

/// The folder of `org/name`, if the cache has it: the snapshot that its `main` points to.
pub fn cached(id: &str) -> Option<PathBuf> {
    let repo = cache_dir()?.join(format!("models--{}", id.replace('/', "--")));
    let commit = std::fs::read_to_string(repo.join("refs/main")).ok()?;
    let snapshot = repo.join("snapshots").join(commit.trim());
    snapshot.join("config.json").exists().then_some(snapshot)
}

/// Does it look like `org/name` rather than a path?
pub fn is_id(text: &str) -> bool {
    let is_name = |part: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !part.is_empty() && !part.starts_with('.') && part.chars().all(plain)
    };
    matches!(text.split('/').collect::<Vec<_>>()[..], [org, name] if is_name(org) && is_name(name))
}

fn cache_dir() -> Option<PathBuf> {
    let var = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    var("HF_HUB_CACHE")
        .or_else(|| var("HF_HOME").map(|home| home.join("hub")))
        .or_else(|| var("HOME").map(|home| home.join(".cache/huggingface/hub")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_from_paths() {
        let check = |text, want| assert_eq!(is_id(text), want, "{text}");
        check("meta-llama/Llama-3.2-1B", true);
        check("/meta-llama", false);
        check("./model", false);
        check("a/b/c", false);
        check("model", false);
        check("../x", false);
    }
}
