//! A judge over HTTP: any server that speaks OpenAI's chat completions.
//!
//! The server is not trusted: its answers are short, whole and of the form that is documented, or they are none;
//! it is never followed elsewhere; what it says in errors is shown without the key.

mod endpoint;
mod reply;
#[cfg(test)]
mod tests;

pub use endpoint::Endpoint;

use serde_json::{Map, Value, json};
use std::io;
use std::sync::Mutex;
use std::time::Duration;
use ureq::Body;
use ureq::http::Response;
use whipstaff_hub::{Failures, Patience};
use whipstaff_steering::{Error, Judge, JudgeReply};

/// A model behind an address.
pub struct HttpJudge {
    agent: ureq::Agent,
    endpoint: Endpoint,
    model: String,
    patience: Patience,
    /// What the server has said that it does not know.
    left_out: Mutex<Vec<Habit>>,
}

/// What a request says beside the prompt that not every server takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    /// `logprobs` and `top_logprobs`.
    LogProbs,
    /// `max_tokens` instead of `max_completion_tokens`.
    MaxTokens,
    /// `temperature`.
    Temperature,
    /// `seed`.
    Seed,
}

impl Habit {
    /// Each with the word that an error about it has in it. `max_tokens` is in the name of what replaces it.
    const ALL: [(Habit, &'static str); 4] = [
        (Habit::LogProbs, "logprobs"),
        (Habit::MaxTokens, "max_completion_tokens"),
        (Habit::Temperature, "temperature"),
        (Habit::Seed, "seed"),
    ];
}

/// Tokens of a reply: a number of three digits, where each is a token, and what shows that it ends there.
pub const REPLY_TOKENS: usize = 5;

/// Alternatives asked for, the most that OpenAI gives.
const ALTERNATIVES: usize = 20;

/// The most that is read of an answer: twenty alternatives of five tokens are some 20 kB.
const MAX_ANSWER: u64 = 1 << 20;

/// What came of one request that gave no reply.
enum Trouble {
    /// It may pass.
    Passing(String, Option<Duration>),
    /// The server does not know a part of the request.
    Unknown(Habit, String),
    /// It will not pass.
    Lasting(String),
}

impl HttpJudge {
    /// A judge; `patience.read` is how long a request may take in all.
    pub fn new(endpoint: Endpoint, model: &str, patience: Patience) -> HttpJudge {
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("whipstaff/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(patience.connect))
            // All of it: a server that sends a byte now and then holds nobody up.
            .timeout_global(Some(patience.read));
        if endpoint.is_loopback() {
            // What is meant for this machine does not leave it.
            config = config.proxy(None);
        }
        let agent = ureq::Agent::new_with_config(config.build());
        HttpJudge { agent, endpoint, model: model.to_owned(), patience, left_out: Mutex::default() }
    }

    fn left_out(&self) -> Vec<Habit> {
        self.left_out.lock().expect("no one panics here").clone()
    }

    /// The body of a request.
    fn body(&self, prompt: &str, left_out: &[Habit]) -> Value {
        let mut body = Map::new();
        body.insert("model".into(), json!(self.model));
        body.insert("messages".into(), json!([{"role": "user", "content": prompt}]));
        for (habit, _) in Habit::ALL {
            match (habit, left_out.contains(&habit)) {
                (Habit::MaxTokens, true) => {
                    body.insert("max_completion_tokens".into(), json!(REPLY_TOKENS));
                }
                (_, true) => {}
                (Habit::MaxTokens, false) => {
                    body.insert("max_tokens".into(), json!(REPLY_TOKENS));
                }
                (Habit::LogProbs, false) => {
                    body.insert("logprobs".into(), json!(true));
                    body.insert("top_logprobs".into(), json!(ALTERNATIVES));
                }
                (Habit::Temperature, false) => {
                    body.insert("temperature".into(), json!(0));
                }
                (Habit::Seed, false) => {
                    body.insert("seed".into(), json!(0));
                }
            }
        }
        Value::Object(body)
    }

    /// Asks once.
    fn ask(&self, prompt: &str) -> Result<JudgeReply, Trouble> {
        let left_out = self.left_out();
        let body = self.body(prompt, &left_out).to_string();
        let mut request = self.agent.post(self.endpoint.url()).header("content-type", "application/json");
        if let Some(bearer) = self.endpoint.bearer() {
            request = request.header("authorization", bearer);
        }
        let mut response = request.send(body).map_err(not_sent)?;
        let status = response.status().as_u16();
        let retry_after =
            response.headers().get("retry-after").and_then(|it| it.to_str().ok()?.trim().parse().ok());
        match status {
            200..=299 => {
                let text = content(&mut response)?;
                reply::parse(&text).map_err(|reason| Trouble::Passing(format!("its answer {reason}"), None))
            }
            300..=399 => Err(Trouble::Lasting(format!(
                "it answers {status} and wants to send the request elsewhere, which is not followed: give the address \
                 that it should go to"
            ))),
            _ => {
                let said = content(&mut response).unwrap_or_default();
                let said = self.endpoint.without_key(&reply::error_message(&said));
                Err(self.refused(status, said, retry_after.map(Duration::from_secs), &left_out))
            }
        }
    }

    fn refused(
        &self,
        status: u16,
        said: String,
        retry_after: Option<Duration>,
        left_out: &[Habit],
    ) -> Trouble {
        let said = if said.is_empty() { String::new() } else { format!(" ({said})") };
        let reason = format!("it answers {status}{said}");
        match status {
            408 | 409 | 425 | 429 | 500..=599 => Trouble::Passing(reason, retry_after),
            400 | 422 => {
                let about = |(habit, word): &(Habit, &str)| said.contains(word) && !left_out.contains(habit);
                match Habit::ALL.into_iter().find(about) {
                    Some((habit, _)) => Trouble::Unknown(habit, reason),
                    None => Trouble::Lasting(reason),
                }
            }
            401 | 403 if self.endpoint.bearer().is_none() => {
                Trouble::Lasting(format!("{reason}: set OPENAI_API_KEY to the key that it asks for"))
            }
            401 | 403 => {
                Trouble::Lasting(format!("{reason}: OPENAI_API_KEY is set, but not to a key of this server"))
            }
            404 => Trouble::Lasting(format!(
                "{reason}: check --judge-model {} and the address, which mostly ends in /v1",
                self.model
            )),
            _ => Trouble::Lasting(reason),
        }
    }
}

impl Judge for HttpJudge {
    fn identity(&self) -> String {
        format!("{}\n{}", self.endpoint.url(), self.body("", &[]))
    }

    fn reply(&self, prompt: &str) -> Result<JudgeReply, Error> {
        let mut failures = Failures::new(self.patience);
        loop {
            let wrong = |reason| Error::Judge { judge: self.endpoint.host(), reason };
            match self.ask(prompt) {
                Ok(reply) => return Ok(reply),
                Err(Trouble::Unknown(habit, reason)) => {
                    let mut left_out = self.left_out.lock().expect("no one panics here");
                    // Another thread may have learnt it meanwhile.
                    if !left_out.contains(&habit) {
                        left_out.push(habit);
                    } else if !failures.pause(Some(Duration::ZERO)) {
                        return Err(wrong(reason));
                    }
                }
                Err(Trouble::Passing(reason, asked)) => {
                    if !failures.pause(asked) {
                        let when = asked.map_or(String::new(), |it| {
                            format!("; it asks to be left alone for {} s", it.as_secs())
                        });
                        return Err(wrong(format!(
                            "{reason}{when}. What has been judged is kept: run again to go on"
                        )));
                    }
                }
                Err(Trouble::Lasting(reason)) => return Err(wrong(reason)),
            }
        }
    }
}

/// The content of an answer, as text.
fn content(response: &mut Response<Body>) -> Result<String, Trouble> {
    let read = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
    match read {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(ureq::Error::BodyExceedsLimit(n)) => {
            Err(Trouble::Lasting(format!("its answer is longer than {n} bytes, which no judgement is")))
        }
        Err(error) => Err(Trouble::Passing(format!("its answer ended early: {error}"), None)),
    }
}

fn not_sent(error: ureq::Error) -> Trouble {
    let reason = format!("cannot be reached: {error}");
    match &error {
        // A bad certificate.
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => Trouble::Lasting(reason),
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) | ureq::Error::BadUri(_) => Trouble::Lasting(reason),
        _ => Trouble::Passing(reason, None),
    }
}
