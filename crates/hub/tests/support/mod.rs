//! A hub on loopback.
//!
//! It speaks real HTTP over real sockets, knows as much of the API as a download needs, and can be told to
//! get any answer wrong.

use sha1::{Digest, Sha1};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use whipstaff_disk::{hex, sha256_hex};

/// The commit that `main` and `v1` stand for.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The path with the query.
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Returns true for a request to the content server.
    pub(crate) fn is_content(&self) -> bool {
        self.method == "GET" && self.path.starts_with("/cdn/")
    }
}

/// An answer of the server.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The number of bytes of the body after which the connection ends.
    pub(crate) cut: Option<usize>,
    /// How long the server waits before the connection ends.
    pub(crate) stall: Duration,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        Reply { status, headers: Vec::new(), body: body.into(), cut: None, stall: Duration::ZERO }
    }

    pub(crate) fn header(mut self, name: &str, value: impl ToString) -> Reply {
        self.headers.retain(|(it, _)| !it.eq_ignore_ascii_case(name));
        self.headers.push((name.into(), value.to_string()));
        self
    }

    /// Makes an error in the hub's form.
    pub(crate) fn error(status: u16, code: &str) -> Reply {
        Reply::new(status, "{}").header("X-Error-Code", code)
    }

    pub(crate) fn redirect(to: &str) -> Reply {
        Reply::new(302, "").header("Location", to)
    }

    pub(crate) fn cut_at(mut self, n: usize) -> Reply {
        self.cut = Some(n);
        self
    }

    pub(crate) fn stall(mut self, time: Duration) -> Reply {
        self.stall = time;
        self
    }
}

/// A function that changes the answer to a request.
///
/// Its arguments are the request, the number of earlier requests with the same method and path, and the
/// honest answer.
type Twist = Box<dyn Fn(&Request, usize, Reply) -> Reply + Send + Sync>;

/// A file of a repository. Small files lie in git, and large ones on a content server.
struct Stored {
    content: Vec<u8>,
    large: bool,
}

#[derive(Default)]
struct State {
    url: String,
    /// The files by `org/name`, then by their own name.
    repos: Mutex<BTreeMap<String, BTreeMap<String, Stored>>>,
    twist: Mutex<Option<Twist>>,
    log: Mutex<Vec<Request>>,
}

/// The server. It runs until the test's process ends.
pub(crate) struct FakeHub {
    state: Arc<State>,
}

impl FakeHub {
    pub(crate) fn new() -> FakeHub {
        FakeHub::at("127.0.0.1")
    }

    /// Starts a server on another address of this machine.
    pub(crate) fn at(ip: &str) -> FakeHub {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State { url, ..State::default() });
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                std::thread::spawn(move || state.serve(stream));
            }
        });
        FakeHub { state }
    }

    pub(crate) fn url(&self) -> &str {
        &self.state.url
    }

    /// Adds a file. By its ending, it is small or large.
    pub(crate) fn add(&self, repo: &str, name: &str, content: impl Into<Vec<u8>>) {
        let content = content.into();
        let large = name.ends_with(".safetensors") || name.ends_with(".gguf") || name.ends_with(".bin");
        let mut repos = self.state.repos.lock().unwrap();
        repos.entry(repo.into()).or_default().insert(name.into(), Stored { content, large });
    }

    /// Changes answers from now on.
    pub(crate) fn twist(&self, twist: impl Fn(&Request, usize, Reply) -> Reply + Send + Sync + 'static) {
        *self.state.twist.lock().unwrap() = Some(Box::new(twist));
    }

    /// Answers honestly again.
    pub(crate) fn straighten(&self) {
        *self.state.twist.lock().unwrap() = None;
    }

    /// Returns all requests so far.
    pub(crate) fn log(&self) -> Vec<Request> {
        self.state.log.lock().unwrap().clone()
    }

    /// Returns the number of requests to the content server.
    pub(crate) fn contents(&self) -> usize {
        self.log().iter().filter(|it| it.is_content()).count()
    }
}

/// Returns the SHA-256 of a file, which is the hub's ETag of a large one.
pub(crate) fn sha256(content: &[u8]) -> String {
    sha256_hex(content)
}

/// Returns git's hash of a file, which is the hub's ETag of a small one.
pub(crate) fn git_sha1(content: &[u8]) -> String {
    let mut hasher = Sha1::new_with_prefix(format!("blob {}\0", content.len()));
    hasher.update(content);
    hex(&hasher.finalize())
}

impl State {
    fn serve(&self, stream: TcpStream) {
        let Some(request) = read_request(&stream) else { return };
        let earlier = {
            let mut log = self.log.lock().unwrap();
            let same = log.iter().filter(|it| it.method == request.method && it.path == request.path).count();
            log.push(request.clone());
            same
        };
        let honest = self.answer(&request);
        let reply = match &*self.twist.lock().unwrap() {
            Some(twist) => twist(&request, earlier, honest),
            None => honest,
        };
        send(stream, &request, &reply);
    }

    fn answer(&self, request: &Request) -> Reply {
        let path = request.path.split('?').next().unwrap();
        let parts: Vec<&str> = path.trim_start_matches('/').splitn(5, '/').collect();
        match parts[..] {
            ["api", "models", org, name, rest] => self.listing(&format!("{org}/{name}"), rest),
            ["cdn", hash] => self.content(hash, request),
            [org, name, "resolve", revision, file] => {
                self.file(&format!("{org}/{name}"), revision, file, request)
            }
            _ => Reply::new(404, "what?"),
        }
    }

    fn listing(&self, repo: &str, rest: &str) -> Reply {
        let repos = self.repos.lock().unwrap();
        let Some(files) = repos.get(repo) else { return Reply::error(401, "RepoNotFound") };
        if !["main", "v1", COMMIT].iter().any(|it| rest == format!("revision/{it}")) {
            return Reply::error(404, "RevisionNotFound");
        }
        let siblings: Vec<_> = files.keys().map(|name| serde_json::json!({ "rfilename": name })).collect();
        let json = serde_json::json!({ "id": repo, "sha": COMMIT, "siblings": siblings });
        Reply::new(200, json.to_string()).header("Content-Type", "application/json")
    }

    fn file(&self, repo: &str, revision: &str, file: &str, request: &Request) -> Reply {
        let repos = self.repos.lock().unwrap();
        let Some(files) = repos.get(repo) else { return Reply::error(401, "RepoNotFound") };
        if ![COMMIT, "main", "v1"].contains(&revision) {
            return Reply::error(404, "RevisionNotFound");
        }
        let Some(stored) = files.get(file) else { return Reply::error(404, "EntryNotFound") };
        if !stored.large {
            let etag = format!("\"{}\"", git_sha1(&stored.content));
            return part(&stored.content, request).header("ETag", etag).header("X-Repo-Commit", COMMIT);
        }
        let hash = sha256(&stored.content);
        Reply::redirect(&format!("{}/cdn/{hash}?signature=secret", self.url))
            .header("ETag", "\"of the redirect\"")
            .header("X-Linked-Etag", format!("\"{hash}\""))
            .header("X-Linked-Size", stored.content.len())
            .header("X-Repo-Commit", COMMIT)
    }

    fn content(&self, hash: &str, request: &Request) -> Reply {
        let repos = self.repos.lock().unwrap();
        let stored = repos.values().flat_map(BTreeMap::values).find(|it| sha256(&it.content) == hash);
        stored.map_or(Reply::new(404, ""), |it| part(&it.content, request))
    }
}

/// Returns the content, or the range of it that the request asks for.
fn part(content: &[u8], request: &Request) -> Reply {
    let start =
        request.header("range").and_then(|it| it.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let n = content.len();
    match start {
        Some(start) if start < n => {
            Reply::new(206, &content[start..]).header("Content-Range", format!("bytes {start}-{}/{n}", n - 1))
        }
        Some(_) => Reply::new(416, "").header("Content-Range", format!("bytes */{n}")),
        None => Reply::new(200, content),
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Some(Request { method, path, headers })
}

fn send(mut stream: TcpStream, request: &Request, reply: &Reply) {
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", reply.status);
    if !reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
        head += &format!("Content-Length: {}\r\n", reply.body.len());
    }
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let body: &[u8] = if request.method == "HEAD" { b"" } else { &reply.body };
    let body = &body[..reply.cut.map_or(body.len(), |cut| cut.min(body.len()))];
    // The client may have closed the connection already.
    let _ = stream.write_all(format!("{head}\r\n").as_bytes());
    let _ = stream.write_all(body);
    std::thread::sleep(reply.stall);
    let _ = stream.shutdown(Shutdown::Both);
}
