//! Where a judge is, and the key that it may see.

use crate::terminal::Failure;
use std::net::IpAddr;
use ureq::http::Uri;

/// An address that takes chat completions, and the key for it.
pub struct Endpoint {
    url: String,
    host: String,
    /// Shown to nobody else: the type has no `Debug`.
    key: Option<String>,
}

/// The end of the path.
const COMPLETIONS: &str = "/chat/completions";

impl Endpoint {
    /// Reads what `--judge` names, as OpenAI's tools do (`https://api.openai.com/v1`), or the whole address of chat
    /// completions; `key` is the value of `OPENAI_API_KEY`.
    ///
    /// # Errors
    /// [`Failure::Usage`] for what is no such address, and for a key that would go over plain http.
    pub fn parse(text: &str, key: Option<&str>) -> Result<Endpoint, Failure> {
        let wrong = |reason: &str| Failure::Usage(format!("--judge {text}: {reason}"));
        let uri: Uri = text.parse().map_err(|_| wrong(FORM))?;
        if !matches!(uri.scheme_str(), Some("https" | "http")) || uri.host().is_none_or(str::is_empty) {
            return Err(wrong(FORM));
        }
        if uri.authority().is_some_and(|it| it.as_str().contains('@')) {
            // The address is not repeated: there is a password in it.
            let reason = "--judge: the address has a user's name in it; set OPENAI_API_KEY instead";
            return Err(Failure::Usage(reason.into()));
        }
        let path = uri.path().trim_end_matches('/');
        let completions = if path.ends_with(COMPLETIONS) { "" } else { COMPLETIONS };
        let query = uri.query().map_or(String::new(), |it| format!("?{it}"));
        let authority = uri.authority().expect("there is a host");
        let scheme = uri.scheme_str().expect("looked at above");
        let url = format!("{scheme}://{authority}{path}{completions}{query}");
        let host = uri.host().expect("looked at above").to_ascii_lowercase();
        let key = key.map(str::trim).filter(|it| !it.is_empty());
        if key.is_some_and(|it| !it.bytes().all(|b| b.is_ascii_graphic())) {
            return Err(Failure::Usage("OPENAI_API_KEY has characters in it that no key has".into()));
        }
        let endpoint = Endpoint { url, host, key: key.map(str::to_owned) };
        if endpoint.key.is_some() && scheme == "http" && !endpoint.is_loopback() {
            return Err(wrong(
                "OPENAI_API_KEY would be sent over plain http for all to read; give an https address, or unset it if \
                 this judge needs no key",
            ));
        }
        Ok(endpoint)
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn host(&self) -> String {
        self.host.clone()
    }

    /// Is it this very machine?
    pub fn is_loopback(&self) -> bool {
        let host = self.host.trim_matches(['[', ']']);
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|it| it.is_loopback())
    }

    /// What proves who we are.
    pub fn bearer(&self) -> Option<String> {
        self.key.as_ref().map(|key| format!("Bearer {key}"))
    }

    /// A text of the server's without the key, should it be in there.
    pub fn without_key(&self, text: &str) -> String {
        self.key.as_ref().map_or_else(|| text.to_owned(), |key| text.replace(key.as_str(), "[key]"))
    }
}

const FORM: &str = "is neither an address like https://api.openai.com/v1 nor local:MODEL";

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> String {
        Endpoint::parse(text, None).unwrap_or_else(|it| panic!("{text}: {it:?}")).url
    }

    #[test]
    fn an_address_is_the_base_or_the_whole_of_it() {
        let check = |text: &str, want: &str| assert_eq!(url(text), want, "{text}");
        check("https://api.openai.com/v1", "https://api.openai.com/v1/chat/completions");
        check("https://api.openai.com/v1/", "https://api.openai.com/v1/chat/completions");
        check("http://127.0.0.1:8000", "http://127.0.0.1:8000/chat/completions");
        check("https://x.org/a/chat/completions", "https://x.org/a/chat/completions");
        check("https://x.org/v1?api-version=2", "https://x.org/v1/chat/completions?api-version=2");
        check("http://[::1]:80/v1", "http://[::1]:80/v1/chat/completions");
    }

    fn refusal(text: &str, key: Option<&str>) -> String {
        match Endpoint::parse(text, key) {
            Err(Failure::Usage(message)) => message,
            _ => panic!("{text} is taken"),
        }
    }

    #[test]
    fn what_is_no_address_is_wrong_usage() {
        for text in
            ["", "api.openai.com", "ftp://x.org/v1", "file:///etc/passwd", "https://", "http:///v1", "a b"]
        {
            assert!(refusal(text, None).contains("is neither an address"), "{text}");
        }
        let refusal = refusal("https://me:secret@x.org/v1", None);
        assert!(refusal.contains("OPENAI_API_KEY") && !refusal.contains("secret"), "{refusal}");
    }

    #[test]
    fn a_key_goes_over_tls_or_stays_on_this_machine() {
        let takes = |text: &str| assert!(Endpoint::parse(text, Some("sk-1")).is_ok(), "{text}");
        takes("https://x.org/v1");
        takes("http://localhost:8000/v1");
        takes("http://127.0.0.1:8000/v1");
        takes("http://127.9.9.9/v1");
        takes("http://[::1]:8000/v1");
        for text in [
            "http://x.org/v1",
            "http://10.0.0.5:8000/v1",
            "http://localhost.x.org/v1",
            "http://127.0.0.1.x.org/v1",
            "http://0.0.0.0/v1",
            "http://[::2]/v1",
        ] {
            let refusal = refusal(text, Some("sk-1"));
            assert!(refusal.contains("plain http") && !refusal.contains("sk-1"), "{refusal}");
            assert!(
                Endpoint::parse(text, None).is_ok() && Endpoint::parse(text, Some(" ")).is_ok(),
                "{text}"
            );
        }
        let refusal = refusal("https://x.org/v1", Some("sk-1\r\nX: y"));
        assert!(refusal.contains("OPENAI_API_KEY") && !refusal.contains("sk-1"), "{refusal}");
    }
}
