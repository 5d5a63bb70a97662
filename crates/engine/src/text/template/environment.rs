//! Where a template runs: what transformers offer it, within limits.
//!
//! A template is a program of a stranger. Fuel bounds what it may do and, since every byte that it
//! makes costs some, what it may hold in memory; depth bounds its recursion. It reaches nothing but
//! the values it is given and the date.

use super::message::Message;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, Value};
use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// Instructions that a template may run; 64 bytes of text cost as much as one. Real templates take some
/// hundreds a message.
const FUEL: u64 = 500_000;

/// Calls within calls. The parser has a limit of its own for nested blocks.
const RECURSION: usize = 100;

/// Room for the parser, whose limit is counted in levels and not in bytes. Only what is used is taken.
const STACK: usize = 64 << 20;

/// How long a template may run. Real ones take less than a millisecond.
const TIME: Duration = Duration::from_secs(10);

const TOO_MUCH: &str = "does more work than any chat template should";

/// How deep a value may be nested that is written as JSON.
const JSON_DEPTH: usize = 50;

const NAME: &str = "chat_template";

/// A template that has been parsed.
#[derive(Clone)]
pub(super) struct Program {
    environment: Environment<'static>,
    variables: BTreeMap<String, String>,
}

impl Program {
    /// Parses a template; `variables` are there by name whenever it runs.
    ///
    /// # Errors
    /// Returns a sentence.
    pub(super) fn new(source: String, variables: BTreeMap<String, String>) -> Result<Program, String> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| explain(&error))?);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(RECURSION);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        environment.add_filter("tojson", to_json);
        deeply(|| environment.add_template_owned(NAME, source)).map_err(|error| explain(&error))?;
        Ok(Program { environment, variables })
    }

    /// Returns what the template writes for a conversation.
    ///
    /// # Errors
    /// Returns a sentence.
    pub(super) fn run(&self, messages: &[Message], ask: bool) -> Result<String, String> {
        // As transformers call it without tools and documents.
        let message =
            |it: &Message| Value::from_pairs([("role", it.role.name()), ("content", it.content.as_str())]);
        let messages: Vec<Value> = messages.iter().map(message).collect();
        let own = [
            ("messages", Value::from(messages)),
            ("add_generation_prompt", Value::from(ask)),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
        ];
        let variables = self.variables.iter().map(|(name, text)| (name.as_str(), Value::from(text.as_str())));
        let values = Value::from_pairs(variables.chain(own));
        let environment = self.environment.clone();
        in_time(move || {
            let rendered = environment.get_template(NAME).and_then(|it| it.render(values));
            rendered.map_err(|error| explain(&error))
        })
    }
}

/// Runs something on a thread of its own, and gives it up after [`TIME`]: fuel does not count what happens
/// inside one operation, such as walking through a list that was joined to itself sixty times. What was
/// given up goes on until the program ends, as it does after such an error.
fn in_time(work: impl FnOnce() -> Result<String, String> + Send + 'static) -> Result<String, String> {
    let (done, result) = mpsc::channel();
    let run = move || drop(done.send(work()));
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(run);
    thread.map_err(|error| format!("no thread to run it on: {error}"))?;
    result.recv_timeout(TIME).unwrap_or_else(|error| match error {
        RecvTimeoutError::Timeout => Err(format!("{TOO_MUCH}; it was given up after {} s", TIME.as_secs())),
        RecvTimeoutError::Disconnected => Err("broke off".into()),
    })
}

/// Does something on a stack of its own, so that how much of the caller's is left does not matter.
fn deeply<T: Send>(work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        let failed = |what: String| Error::new(ErrorKind::InvalidOperation, what);
        let thread = thread.map_err(|error| failed(format!("no thread to run it on: {error}")))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Returns the error without the template's text around it, which may be long and is not the user's.
fn explain(error: &Error) -> String {
    let line = error.line().map_or(String::new(), |line| format!("line {line}: "));
    let detail = error.detail().map_or(String::new(), |detail| format!(": {detail}"));
    match error.kind() {
        ErrorKind::OutOfFuel => format!("{TOO_MUCH}; it was stopped"),
        _ if is_refusal(error) => format!("refuses this conversation{detail}"),
        kind => format!("{line}{kind}{detail}"),
    }
}

/// What `raise_exception` ends a template with.
#[derive(Debug)]
struct Refusal;

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("raise_exception")
    }
}

impl std::error::Error for Refusal {}

fn is_refusal(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<Refusal>())
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message).with_source(Refusal))
}

/// Returns today's date or time in this format, as the clock on the wall has it.
fn strftime_now(format: &str) -> Result<String, Error> {
    let text = jiff::fmt::strtime::format(format, &jiff::ZonedDateTime::now());
    text.map_err(|error| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {error}")))
}

/// Implements `tojson` as transformers have it: Python's `json.dumps` with `ensure_ascii=False`.
fn to_json(state: &State, value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let sort_keys: Option<bool> = options.get("sort_keys")?;
    let _: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    let mut json = Json {
        state,
        indent: indent.map(|n| n.min(16)),
        sort_keys: sort_keys == Some(true),
        text: String::new(),
    };
    json.write(value, 0)?;
    Ok(json.text)
}

struct Json<'a, 's, 'e> {
    state: &'a State<'s, 'e>,
    indent: Option<usize>,
    sort_keys: bool,
    text: String,
}

impl Json<'_, '_, '_> {
    fn write(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        let wrong = |what: &str| Error::new(ErrorKind::InvalidOperation, format!("tojson: {what}"));
        if depth > JSON_DEPTH {
            return Err(wrong("the value is nested too deeply"));
        }
        self.state.consume_fuel(1)?;
        match value.kind() {
            ValueKind::None => self.text += "null",
            ValueKind::Bool => self.text += if value.is_true() { "true" } else { "false" },
            ValueKind::Number => self.text += &value.to_string(),
            ValueKind::String => self.string(value.as_str().unwrap_or_default())?,
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.collect();
                self.items(b"[]", depth, &items, |json, item| json.write(item, depth + 1))?;
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sort_keys {
                    keys.sort();
                }
                self.items(b"{}", depth, &keys, |json, key| {
                    json.string(&key.to_string())?;
                    json.text += ": ";
                    json.write(&value.get_item(key)?, depth + 1)
                })?;
            }
            kind => return Err(wrong(&format!("{kind} is no JSON"))),
        }
        Ok(())
    }

    /// Writes a list or an object: brackets, and `write` for each item between separators.
    fn items(
        &mut self,
        brackets: &[u8; 2],
        depth: usize,
        items: &[Value],
        write: impl Fn(&mut Self, &Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.text.push(brackets[0] as char);
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.text += if self.indent.is_some() { "," } else { ", " };
            }
            self.line(depth + 1);
            write(self, item)?;
        }
        if !items.is_empty() {
            self.line(depth);
        }
        self.text.push(brackets[1] as char);
        Ok(())
    }

    fn line(&mut self, depth: usize) {
        if let Some(indent) = self.indent {
            self.text.push('\n');
            self.text += &" ".repeat(indent * depth);
        }
    }

    fn string(&mut self, text: &str) -> Result<(), Error> {
        self.state.consume_fuel(text.len() as u64 / 64)?;
        // The same escapes as Python's, but for delete, which Python leaves alone as well.
        self.text += &serde_json::to_string(text)
            .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
        Ok(())
    }
}
