//! The settings of a hub, read from the environment variables that the Python tools use.

use crate::error::Error;
use crate::patience::Patience;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The settings of a [`Hub`](crate::fetch::Hub).
#[derive(Clone)]
pub struct Settings {
    /// The hub cache, which holds folders such as `models--org--name`.
    pub cache: PathBuf,
    /// The hub's address, without a slash at the end.
    pub endpoint: String,
    /// The token, which is sent to the endpoint alone.
    pub token: Option<String>,
    /// True to use the cache alone and send no request.
    pub offline: bool,
    /// True to take a proxy from `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.
    pub proxy_from_env: bool,
    /// How long to wait for a server, and how often to try again.
    pub patience: Patience,
}

impl Settings {
    /// Reads the settings from the variables that `var` returns.
    ///
    /// # Errors
    /// [`Error::Setting`] for a variable with an unusable value.
    pub fn new(var: impl Fn(&str) -> Option<String>) -> Result<Settings, Error> {
        let home = var("HOME").or_else(|| var("USERPROFILE")).filter(|it| !it.is_empty());
        let var = |name: &str| var(name).filter(|value| !value.is_empty());
        let path = |name: &str| var(name).map(|value| expand(&value, home.as_deref()));
        let caches = path("XDG_CACHE_HOME").or_else(|| Some(Path::new(home.as_ref()?).join(".cache")));
        let hf_home = path("HF_HOME").or_else(|| Some(caches?.join("huggingface")));
        let cache = path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE"));
        let cache = cache.or_else(|| Some(hf_home.as_ref()?.join("hub"))).ok_or(Error::Setting {
            name: "HF_HOME",
            reason: "neither HF_HOME nor HOME is set: set HF_HOME to the folder of the hub cache".into(),
        })?;
        let token_file = path("HF_TOKEN_PATH").or_else(|| Some(hf_home?.join("token")));
        let token = match var("HF_TOKEN").or_else(|| var("HUGGING_FACE_HUB_TOKEN")) {
            Some(token) => Some(token),
            // As in the Python tools, an unreadable file means that there is no token.
            None => token_file.and_then(|path| std::fs::read_to_string(path).ok()),
        };
        let token = token.map(|it| it.trim().to_owned()).filter(|it| !it.is_empty());
        if token.as_ref().is_some_and(|it| !it.bytes().all(|b| b.is_ascii_graphic())) {
            let reason =
                "the token contains spaces, control characters or letters beyond ASCII; copy it again"
                    .to_owned();
            return Err(Error::Setting { name: "HF_TOKEN", reason });
        }
        let endpoint = var("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        let mut patience = Patience::default();
        if let Some(seconds) = var("HF_HUB_DOWNLOAD_TIMEOUT").and_then(|it| it.parse().ok()) {
            patience.read = Duration::from_secs(std::cmp::max(seconds, 1));
        }
        Ok(Settings {
            cache,
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token,
            offline: ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"].iter().any(|it| var(it).is_some_and(is_true)),
            proxy_from_env: true,
            patience,
        })
    }

    /// Reads the settings from the variables of the process.
    ///
    /// # Errors
    /// As for [`Settings::new`].
    pub fn from_env() -> Result<Settings, Error> {
        Settings::new(|name| std::env::var(name).ok())
    }
}

/// Returns true for a value that switches something on.
fn is_true(value: String) -> bool {
    ["1", "on", "yes", "true"].contains(&value.to_ascii_lowercase().as_str())
}

/// Replaces a leading `~` by the home folder.
fn expand(path: &str, home: Option<&str>) -> PathBuf {
    match (path.strip_prefix('~'), home) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
            PathBuf::from(format!("{home}{rest}"))
        }
        _ => PathBuf::from(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(vars: &[(&str, &str)]) -> Result<Settings, Error> {
        let find = |name: &str| vars.iter().find(|(it, _)| *it == name).map(|(_, value)| value.to_string());
        Settings::new(find)
    }

    #[test]
    fn the_cache_is_where_the_python_tools_look_for_it() {
        let check = |vars: &[(&str, &str)], want: &str| {
            let vars = [vars, &[("HOME", "/home/me")]].concat();
            assert_eq!(settings(&vars).unwrap().cache, Path::new(want), "{vars:?}");
        };
        check(&[], "/home/me/.cache/huggingface/hub");
        check(&[("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub");
        check(&[("HF_HOME", "/h"), ("XDG_CACHE_HOME", "/x")], "/h/hub");
        check(&[("HF_HOME", "~/h")], "/home/me/h/hub");
        check(&[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HOME", "/h")], "/old");
        check(&[("HF_HUB_CACHE", "/new"), ("HUGGINGFACE_HUB_CACHE", "/old")], "/new");
        check(&[("HF_HUB_CACHE", ""), ("HF_HOME", "/h")], "/h/hub");
        assert!(settings(&[]).is_err());
    }

    #[test]
    fn the_token_comes_from_a_variable_or_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let check = |vars: &[(&str, &str)], want: Option<&str>| {
            let vars = [vars, &[("HF_HOME", dir.path().to_str().unwrap())]].concat();
            assert_eq!(settings(&vars).unwrap().token.as_deref(), want, "{vars:?}");
        };
        check(&[], None);
        std::fs::write(at("token"), "hf_file\n").unwrap();
        std::fs::write(at("other"), "hf_other").unwrap();
        check(&[], Some("hf_file"));
        check(&[("HF_TOKEN_PATH", &at("other"))], Some("hf_other"));
        check(&[("HF_TOKEN", " hf_var\n")], Some("hf_var"));
        let wrong = settings(&[("HOME", "/h"), ("HF_TOKEN", "hf_a\r\nX: y")]).err().unwrap().to_string();
        assert!(wrong.starts_with("HF_TOKEN") && !wrong.contains("hf_a"), "{wrong}");
    }

    #[test]
    fn several_variables_and_values_mean_offline() {
        let check = |name: &str, value: &str, want: bool| {
            assert_eq!(settings(&[("HOME", "/h"), (name, value)]).unwrap().offline, want, "{name}={value}");
        };
        check("HF_HUB_OFFLINE", "1", true);
        check("HF_HUB_OFFLINE", "True", true);
        check("TRANSFORMERS_OFFLINE", "yes", true);
        check("HF_HUB_OFFLINE", "0", false);
        check("HF_HUB_OFFLINE", "", false);
    }

    #[test]
    fn the_endpoint_has_no_slash_at_its_end() {
        let of = |vars: &[(&str, &str)]| settings(&[vars, &[("HOME", "/h")]].concat()).unwrap().endpoint;
        assert_eq!(of(&[]), "https://huggingface.co");
        assert_eq!(of(&[("HF_ENDPOINT", "http://127.0.0.1:80/hub/")]), "http://127.0.0.1:80/hub");
    }
}
