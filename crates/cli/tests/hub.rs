//! The program and a hub on loopback: from `org/name` to text, and again without a network.

#[path = "../../hub/tests/support/mod.rs"]
#[allow(dead_code)] // the other half is used by the hub's own tests
mod fake;
mod support;

use fake::{FakeHub, Reply, sha256};
use std::process::Stdio;
use std::time::Duration;
use support::{Place, Ran, TINY, golden};

/// A hub that has a golden checkpoint as `org/tiny` and GGUF files as `org/tiny-GGUF`.
fn hub() -> FakeHub {
    let hub = FakeHub::new();
    for file in std::fs::read_dir(golden(TINY)).unwrap().map(Result::unwrap) {
        let name = file.file_name().into_string().unwrap();
        if !name.starts_with("golden.") {
            hub.add("org/tiny", &name, std::fs::read(file.path()).unwrap());
        }
    }
    for (name, file) in [("tiny-Q8_0.gguf", "q8_0.gguf"), ("tiny-Q4_K_M.gguf", "q4_k_m.gguf")] {
        hub.add("org/tiny-GGUF", name, std::fs::read(golden("gguf").join(file)).unwrap());
    }
    hub
}

fn online(hub: &FakeHub) -> Place {
    Place::new().env("HF_HUB_OFFLINE", "0").env("HF_ENDPOINT", hub.url())
}

const GENERATE: &str = "generate --max-tokens 8 --prompt 'Ahoy' --model";

fn text(ran: Ran) -> String {
    let ran = ran.succeeds();
    assert_eq!(ran.stderr, "", "no bar and no note where no one looks");
    ran.stdout
}

#[test]
fn a_model_of_the_hub_is_downloaded_once_and_then_there() {
    let hub = hub();
    let place = online(&hub);
    let local = text(place.run(&format!("{GENERATE} model")));
    assert_eq!(text(place.run(&format!("{GENERATE} org/tiny"))), local);
    let n = hub.log().len();
    assert_eq!(text(place.run(&format!("{GENERATE} org/tiny"))), local);
    let place = place.env("HF_HUB_OFFLINE", "1");
    assert_eq!(text(place.run(&format!("{GENERATE} org/tiny"))), local);
    let shown = text(place.run("model show org/tiny --json"));
    assert!(shown.contains(r#""name":"org/tiny""#), "{shown}");
    assert_eq!(hub.log().len(), n);
}

#[test]
fn every_command_that_takes_a_model_takes_one_of_the_hub() {
    let hub = hub();
    let check = |line: &str| {
        let place = online(&hub);
        place.run("extract --model model --contrasts contrasts.jsonl -o v.safetensors").succeeds();
        place.run(line).succeeds();
    };
    check("extract --model org/tiny --contrasts contrasts.jsonl -o w.safetensors");
    check("figure --model org/tiny --steer v.safetensors --alphas 0,1 --prompts prompts.txt -o out");
    check("capture --model org/tiny --ids 1,2 -o a.safetensors");
    check("generate --model org/tiny --prompt hi --steer v.safetensors --max-tokens 2");
    check("model show org/tiny");
}

#[test]
fn the_demo_runs_on_a_model_of_the_hub() {
    let hub = hub();
    let place = online(&hub);
    let shown = place.run("demo --model org/tiny -o out");
    // A random model may have nothing to steer; it is the hub's name that the report begins with.
    assert!(shown.stderr.lines().all(|line| !line.contains("--model")), "{shown}");
    assert!(place.path("hf/hub/models--org--tiny/refs/main").exists(), "{shown}");
}

#[test]
fn a_quantisation_is_picked_by_its_name() {
    let hub = hub();
    let place = online(&hub);
    let shown = text(place.run("model show org/tiny-GGUF:q8_0 --json"));
    assert!(shown.contains(r#""name":"org/tiny-GGUF:q8_0""#) && shown.contains("Q8_0"), "{shown}");
    assert_eq!(hub.contents(), 1);
    text(place.run(&format!("{GENERATE} org/tiny-GGUF/tiny-Q4_K_M.gguf@main")));
    place
        .run("model show org/tiny-GGUF")
        .fails(3, "name one, as org/tiny-GGUF:Q4_K_M")
        .says("tiny-Q8_0.gguf");
}

/// A run against a hub that answers everything in one way.
fn check_fault(reply: Reply, code: i32, part: &str) {
    let hub = hub();
    hub.twist(move |_, _, _| reply.clone());
    online(&hub).run(&format!("{GENERATE} org/tiny")).fails(code, part).says("--model org/tiny");
}

#[test]
fn what_the_hub_refuses_ends_with_code_4() {
    check_fault(Reply::error(401, "GatedRepo"), 4, "accept its licence at http://127.0.0.1");
    check_fault(Reply::error(403, "GatedRepo"), 4, "/org/tiny");
    check_fault(
        Reply::error(401, "RepoNotFound"),
        4,
        "there is no such directory or file here, and 127.0.0.1 has no model",
    );
    check_fault(Reply::new(404, ""), 4, "has no model org/tiny");
    check_fault(Reply::error(404, "RevisionNotFound"), 4, "has no revision `main`");
    check_fault(Reply::new(429, "").header("Retry-After", 9999), 4, "try again in 9999 s");
    check_fault(Reply::redirect("http://169.254.169.254/x"), 4, "is not followed");
    check_fault(Reply::redirect("https://localhost/x"), 4, "private, loopback or link-local");
    check_fault(Reply::new(200, "hello"), 4, "it is not JSON");
    let place = Place::new().env("HF_HUB_OFFLINE", "0").env("HF_ENDPOINT", "http://me:pw@127.0.0.1");
    place.run(&format!("{GENERATE} org/tiny")).fails(2, "HF_ENDPOINT");
}

#[test]
fn the_token_is_taken_from_the_environment_and_never_shown() {
    let hub = hub();
    let place = online(&hub).env("HF_TOKEN", "hf_verysecret");
    text(place.run(&format!("{GENERATE} org/tiny")));
    assert_eq!(hub.log()[0].header("authorization"), Some("Bearer hf_verysecret"));
    hub.twist(|_, _, _| Reply::error(403, "GatedRepo"));
    let ran = place.run(&format!("{GENERATE} org/other")).fails(4, "with the account of the token");
    assert!(!ran.stderr.contains("verysecret"), "{ran}");
}

#[test]
fn content_that_is_not_what_it_should_be_ends_with_code_4_and_is_gone() {
    let hub = hub();
    let weights = std::fs::read(golden(TINY).join("model.safetensors")).unwrap();
    hub.twist(|request, _, mut reply| {
        if request.is_content() {
            reply.body[100] ^= 1;
        }
        reply
    });
    let place = online(&hub);
    let ran = place.run(&format!("{GENERATE} org/tiny"));
    assert_eq!(ran.code, Some(4), "{ran}");
    assert!(ran.stderr.contains("model.safetensors from 127.0.0.1 is damaged"), "{ran}");
    let blob = place.path(&format!("hf/hub/models--org--tiny/blobs/{}", sha256(&weights)));
    assert!(!blob.exists() && !blob.with_extension("incomplete").exists());
}

#[test]
fn two_processes_at_once_download_once() {
    let hub = hub();
    hub.twist(|request, _, reply| {
        if request.is_content() {
            std::thread::sleep(Duration::from_millis(500));
        }
        reply
    });
    let place = online(&hub);
    let start = || {
        let mut command = place.command(&format!("{GENERATE} org/tiny"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let runs: Vec<_> = [start(), start()].into_iter().map(|it| it.wait_with_output().unwrap()).collect();
    for run in &runs {
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        assert_eq!(run.stdout, runs[0].stdout);
    }
    assert_eq!(hub.contents(), 1);
}

#[test]
fn a_run_that_is_killed_is_gone_on_with_by_the_next() {
    let hub = hub();
    let size = std::fs::metadata(golden(TINY).join("model.safetensors")).unwrap().len() as usize;
    hub.twist(move |request, n, reply| match request.is_content() && n == 0 {
        true => reply.cut_at(size / 2).stall(Duration::from_secs(120)),
        false => reply,
    });
    let place = online(&hub);
    let mut run = place.command(&format!("{GENERATE} org/tiny")).stdout(Stdio::null()).spawn().unwrap();
    let arrived = || {
        let blobs =
            std::fs::read_dir(place.path("hf/hub/models--org--tiny/blobs")).into_iter().flatten().flatten();
        let incomplete = |name: &std::ffi::OsStr| name.to_string_lossy().ends_with(".incomplete");
        let parts = blobs.filter(|it| incomplete(&it.file_name()));
        parts.filter_map(|it| it.metadata().ok()).any(|it| it.len() as usize == size / 2)
    };
    while !arrived() {
        assert!(run.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(Duration::from_millis(10));
    }
    run.kill().unwrap();
    run.wait().unwrap();
    text(place.run(&format!("{GENERATE} org/tiny")));
    let ranges: Vec<_> = hub.log().into_iter().filter(|it| it.is_content()).collect();
    assert_eq!(ranges.len(), 2);
    assert_eq!(ranges[1].header("range"), Some(&*format!("bytes={}-", size / 2)));
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_without_room_ends_with_code_1_and_keeps_what_has_arrived() {
    let hub = hub();
    let place = online(&hub);
    // No file may grow beyond 64 blocks of 1024 bytes (in a shell's units); the weights are larger.
    let run = |limit: &str| {
        let line = format!("trap '' XFSZ; {limit}; exec \"$0\" \"$@\"");
        let program = place.command("");
        let mut command = std::process::Command::new("bash");
        command.args(["-c", &line]).arg(program.get_program());
        command.args(["generate", "--max-tokens", "2", "--prompt", "Ahoy", "--model", "org/tiny"]);
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.output().unwrap()
    };
    let out = run("ulimit -f 64");
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("cannot write") && stderr.contains("bytes that have arrived are kept"),
        "{stderr}"
    );
    let out = run("true");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let resumed = hub.log().into_iter().filter(|it| it.is_content() && it.header("range").is_some()).count();
    assert_eq!(resumed, 1);
}
