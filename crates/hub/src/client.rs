//! Requests to the hub.
//!
//! Redirects are followed under the rules of [`address`](crate::address), the token is sent to the endpoint
//! alone, and failures that may pass are tried again.

use crate::address::{GuardedResolver, NotPublic, NotResolved, check_redirect, host};
use crate::error::Error;
use crate::patience::{Failures, Patience};
use crate::settings::Settings;
use std::time::Duration;
use ureq::Body;
use ureq::http::{HeaderMap, Response, Uri};

/// The most redirects in a row.
const MAX_REDIRECTS: usize = 6;

/// The most bytes that are read of an answer that is not a file.
const MAX_ANSWER: u64 = 32 << 20;

/// A client of the hub.
pub(crate) struct Client {
    agent: ureq::Agent,
    endpoint: Uri,
    /// The endpoint as the settings have it: the beginning of each URL.
    base: String,
    token: Option<String>,
    patience: Patience,
}

/// An answer that is not a redirect to be followed.
pub(crate) struct Answer {
    /// The host that gave the answer.
    pub(crate) host: String,
    pub(crate) status: u16,
    response: Response<Body>,
}

/// The kind of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// Asks for the headers. A redirect that describes a file is not followed.
    Head,
    /// Asks for the content from byte `from` on.
    Get { from: u64 },
}

impl Client {
    /// Makes a client without sending anything.
    ///
    /// # Errors
    /// [`Error::Setting`] for an endpoint that is not a plain address.
    pub(crate) fn new(settings: &Settings) -> Result<Client, Error> {
        let wrong = |reason: &str| Error::Setting {
            name: "HF_ENDPOINT",
            reason: format!("`{}` {reason}", settings.endpoint),
        };
        let endpoint: Uri = settings.endpoint.parse().map_err(|_| wrong("is not an address"))?;
        if !matches!(endpoint.scheme_str(), Some("https" | "http")) || endpoint.query().is_some() {
            return Err(wrong("is not an address like https://huggingface.co"));
        }
        if endpoint.authority().is_none_or(|it| it.as_str().contains('@')) {
            return Err(wrong("contains a user name: set HF_TOKEN instead"));
        }
        let patience = settings.patience;
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("whipstaff/", env!("CARGO_PKG_VERSION")))
            // Compressed content would differ from the file in length and hash.
            .accept_encoding("identity")
            .timeout_resolve(Some(patience.connect))
            .timeout_connect(Some(patience.connect))
            .timeout_recv_response(Some(patience.read))
            .timeout_per_read(Some(patience.read));
        if !settings.proxy_from_env {
            config = config.proxy(None);
        }
        let guard = GuardedResolver { trusted: host(&endpoint) };
        let connector = ureq::unversioned::transport::DefaultConnector::default();
        Ok(Client {
            agent: ureq::Agent::with_parts(config.build(), connector, guard),
            endpoint,
            base: settings.endpoint.clone(),
            token: settings.token.clone(),
            patience,
        })
    }

    /// Returns the URL of `path` below the endpoint.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    pub(crate) fn host(&self) -> String {
        host(&self.endpoint)
    }

    pub(crate) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Sends one request and follows redirects.
    pub(crate) fn ask(&self, url: &str, method: Method) -> Result<Answer, Error> {
        let mut url = url.to_owned();
        for _ in 0..MAX_REDIRECTS {
            let uri: Uri = url.parse().map_err(|_| self.answer(&url, "its URL is not valid"))?;
            let response = self.send(&uri, method)?;
            let status = response.status().as_u16();
            let describes = method == Method::Head && response.headers().contains_key("x-linked-etag");
            if !(300..400).contains(&status) || status == 304 || describes {
                return Ok(Answer { host: host(&uri), status, response });
            }
            let to = location(&uri, response.headers()).ok_or_else(|| {
                self.answer(&url, &format!("status {status} does not say where to redirect to"))
            })?;
            let target: Uri = to
                .parse()
                .map_err(|_| self.answer(&url, "it redirects to something that is not an address"))?;
            check_redirect(&self.endpoint, &target).map_err(|reason| Error::Redirect {
                host: host(&uri),
                to: without_query(&to),
                reason,
            })?;
            url = to;
        }
        Err(self.answer(&url, &format!("it redirects more than {MAX_REDIRECTS} times")))
    }

    /// Calls `ask`, and calls it again after failures that may pass.
    pub(crate) fn patiently<T>(&self, mut ask: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
        let mut failures = Failures::new(self.patience);
        loop {
            match ask() {
                Ok(answer) => return Ok(answer),
                Err(error) => failures.pause_after(error)?,
            }
        }
    }

    pub(crate) fn patience(&self) -> Patience {
        self.patience
    }

    fn send(&self, uri: &Uri, method: Method) -> Result<Response<Body>, Error> {
        let mut request = match method {
            Method::Head => self.agent.head(uri),
            Method::Get { .. } => self.agent.get(uri),
        };
        if let (Some(token), true) = (&self.token, self.is_endpoint(uri)) {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Method::Get { from: from @ 1.. } = method {
            request = request.header("range", format!("bytes={from}-"));
        }
        request.call().map_err(|error| network(uri, error))
    }

    /// Returns true for a URL with the scheme, host and port of the endpoint.
    fn is_endpoint(&self, uri: &Uri) -> bool {
        let port = |uri: &Uri| {
            uri.port_u16().or(if uri.scheme_str() == Some("https") { Some(443) } else { Some(80) })
        };
        uri.scheme_str() == self.endpoint.scheme_str()
            && host(uri) == self.host()
            && port(uri) == port(&self.endpoint)
    }

    fn answer(&self, url: &str, reason: &str) -> Error {
        Error::Answer { host: self.host(), what: without_query(url), reason: reason.into() }
    }
}

impl Answer {
    /// Returns the value of a header, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok().map(str::trim)
    }

    /// Returns the value of a header, if it is a whole number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.parse().ok()
    }

    /// Returns the server's explanation of its status, or an empty text.
    pub(crate) fn message(&self) -> String {
        let text = self.header("x-error-message").unwrap_or_default();
        text.chars().filter(|c| !c.is_control()).take(200).collect()
    }

    /// Returns how long the server asks the client to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.number("retry-after").map(Duration::from_secs)
    }

    pub(crate) fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Parses the content as JSON. `what` names the request for errors.
    pub(crate) fn json(mut self, what: &str) -> Result<serde_json::Value, Error> {
        let wrong =
            |host: &str, reason: String| Error::Answer { host: host.into(), what: what.into(), reason };
        let bytes = self.response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(ureq::Error::BodyExceedsLimit(n)) => {
                return Err(wrong(&self.host, format!("it is longer than {n} bytes")));
            }
            Err(error) => {
                return Err(Error::Network { host: self.host, reason: error.to_string(), again: true });
            }
        };
        serde_json::from_slice(&bytes).map_err(|error| wrong(&self.host, format!("it is not JSON: {error}")))
    }

    /// Returns the content as a stream.
    pub(crate) fn into_reader(self) -> impl std::io::Read {
        self.response.into_body().into_reader()
    }
}

impl Failures {
    /// Waits a while, longer after each failure.
    ///
    /// # Errors
    /// Returns the failure itself if it will not pass, if it was the last allowed one, or if the server asks
    /// for more than the longest pause.
    pub(crate) fn pause_after(&mut self, error: Error) -> Result<(), Error> {
        let asked = match &error {
            Error::Busy { retry_after, .. } => *retry_after,
            _ => None,
        };
        if error.is_transient() && self.pause(asked) { Ok(()) } else { Err(error) }
    }
}

/// Returns the target of a redirect, which the server gives as an address or as a path of its own.
fn location(from: &Uri, headers: &HeaderMap) -> Option<String> {
    let to = headers.get("location")?.to_str().ok()?;
    if to.starts_with('/') && !to.starts_with("//") {
        return Some(format!("{}://{}{to}", from.scheme_str()?, from.authority()?));
    }
    to.contains("://").then(|| to.to_owned())
}

fn network(uri: &Uri, error: ureq::Error) -> Error {
    let host = host(uri);
    if let ureq::Error::Other(inner) = &error {
        if let Some(NotPublic(to)) = inner.downcast_ref() {
            return Error::Redirect { host, to: without_query(to), reason: NotPublic::REASON };
        }
        if inner.is::<NotResolved>() {
            return Error::Network { host, reason: inner.to_string(), again: false };
        }
    }
    let again = match &error {
        ureq::Error::Io(error) => error.kind() != std::io::ErrorKind::InvalidData, // a bad certificate
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) | ureq::Error::BadUri(_) => false,
        _ => true,
    };
    Error::Network { host, reason: error.to_string(), again }
}

/// Drops the query of a URL. On content servers it is a signature, which no message should show.
fn without_query(url: &str) -> String {
    url.split('?').next().unwrap_or_default().to_owned()
}
