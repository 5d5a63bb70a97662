//! Whipstaff's side of the benchmark: a process that loads one model and then does one job per line.
//!
//! `whipstaff-bench [--model PATH] [--threads N]` first says what it loaded, then reads one request
//! per line of standard input and answers each with one line, both JSON. Between requests it blocks
//! on its input. `bench/README.md` lists the jobs; the peers in `bench/peers` speak the same.
//! With `--packs DIR` weights are packed into a file there, or mapped from it. With `--profile` it
//! prints where the time of a prefill and of decoding goes, and nothing else.

#![forbid(unsafe_code)]

mod engine;
mod jobs;
mod limits;
mod memory;
mod profile;

use engine::Loaded;
use serde_json::{Value, json};
use std::error::Error;
use std::io::Write;
use std::time::Instant;
use whipstaff_engine::PackCache;

/// What is passed on to the driver as a message; nobody here looks inside.
pub(crate) type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let (mut model, mut threads, mut packs, mut profiled) = (None, 2, None, false);
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        if flag == "--profile" {
            profiled = true;
            continue;
        }
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--model" => model = Some(value),
            "--threads" => threads = value.parse()?,
            "--packs" => packs = Some(PackCache::new(value)),
            _ => return Err(format!("{flag} is not an option").into()),
        }
    }

    let mut cpu = engine::cpu(threads)?;
    if profiled {
        cpu = cpu.with_profile();
    }
    let start = Instant::now();
    let loaded = model.map(|path| Loaded::new(path.as_ref(), cpu, packs)).transpose();
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(error) => return say(&json!({ "ready": false, "error": error.to_string() })),
    };
    if profiled {
        return profile::print(&loaded.ok_or("--profile needs --model")?);
    }
    let mut hello = loaded.as_ref().map_or_else(|| json!({}), Loaded::describe);
    hello["ready"] = true.into();
    hello["load_seconds"] = start.elapsed().as_secs_f64().into();
    hello["peak_mb"] = memory::peak_mb().into();
    say(&hello)?;

    for line in std::io::stdin().lines() {
        memory::reset_peak();
        let answer = jobs::run(loaded.as_ref(), threads, &line?);
        let mut answer = answer.unwrap_or_else(|error| json!({ "error": error.to_string() }));
        answer["peak_mb"] = memory::peak_mb().into();
        say(&answer)?;
    }
    Ok(())
}

fn say(message: &Value) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{message}")?;
    Ok(out.flush()?)
}
