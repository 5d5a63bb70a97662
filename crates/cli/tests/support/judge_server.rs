//! A judge on loopback: real HTTP over real sockets, answering as a test says.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
}

impl Asked {
    /// What the judge is asked.
    pub(crate) fn prompt(&self) -> &str {
        self.body["messages"][0]["content"].as_str().unwrap()
    }
}

/// What is sent back.
#[derive(Clone)]
pub(crate) struct Said {
    status: u16,
    headers: String,
    body: Vec<u8>,
    /// The connection ends after so many bytes of the body.
    cut: Option<usize>,
    /// Nothing more comes, and the connection stays.
    silent: bool,
}

impl Said {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Said {
        Said { status, headers: String::new(), body: body.into(), cut: None, silent: false }
    }

    /// A completion without probabilities.
    pub(crate) fn text(text: &str) -> Said {
        Said::new(200, json!({"choices": [{"message": {"content": text}}]}).to_string())
    }

    /// A completion whose first token could have been one of these.
    pub(crate) fn numbers(top: &[(&str, f64)]) -> Said {
        let top: Vec<Value> =
            top.iter().map(|(token, p)| json!({"token": token, "logprob": p.ln()})).collect();
        let first = json!({"token": top[0]["token"], "logprob": 0.0, "top_logprobs": top});
        let message = json!({"content": top[0]["token"]});
        let choice = json!({"message": message, "logprobs": {"content": [first]}});
        Said::new(200, json!({ "choices": [choice] }).to_string())
    }

    pub(crate) fn error(status: u16, message: &str) -> Said {
        Said::new(status, json!({"error": {"message": message}}).to_string())
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Said {
        self.headers += &format!("{name}: {value}\r\n");
        self
    }

    pub(crate) fn cut_at(mut self, n: usize) -> Said {
        self.cut = Some(n);
        self
    }

    pub(crate) fn silent(mut self) -> Said {
        self.silent = true;
        self
    }
}

type Answering = Box<dyn Fn(&Asked, usize) -> Said + Send + Sync>;

/// The server. It runs until the test's process ends.
pub(crate) struct JudgeServer {
    url: String,
    log: Arc<Mutex<Vec<Asked>>>,
}

impl JudgeServer {
    /// Answers each request as `answering` says, which is told how many came before it.
    pub(crate) fn new(answering: impl Fn(&Asked, usize) -> Said + Send + Sync + 'static) -> JudgeServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let log = Arc::new(Mutex::new(Vec::new()));
        let (shared, answering) = (log.clone(), Arc::new(Box::new(answering) as Answering));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, answering) = (shared.clone(), answering.clone());
                std::thread::spawn(move || serve(stream, &log, &answering));
            }
        });
        JudgeServer { url, log }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Everything that was asked so far.
    pub(crate) fn log(&self) -> Vec<Asked> {
        self.log.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, log: &Mutex<Vec<Asked>>, answering: &Answering) {
    let Some(asked) = read(&stream) else { return };
    let earlier = {
        let mut log = log.lock().unwrap();
        log.push(asked.clone());
        log.len() - 1
    };
    send(stream, &answering(&asked, earlier));
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { path, headers, body: serde_json::from_slice(&body).ok()? })
}

fn send(mut stream: TcpStream, said: &Said) {
    let head = format!(
        "HTTP/1.1 {} X\r\nConnection: close\r\nContent-Length: {}\r\n{}\r\n",
        said.status,
        said.body.len(),
        said.headers
    );
    // The client may have gone away: that is its right.
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(&said.body[..said.cut.unwrap_or(said.body.len())]);
    if said.silent {
        // Until the client hangs up.
        let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
        let _ = stream.read(&mut [0]);
    }
    let _ = stream.shutdown(Shutdown::Both);
}
