//! Runs the program the way a user does, in a folder of its own, and says what came of it.

#![allow(dead_code)] // each of the test programs needs a part of it

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The tiny checkpoint that most tests run on: d_model 64, 3 layers, 304 tokens, a context of 256.
pub(crate) const TINY: &str = "llama-gqa-tied-bf16";

/// Four contrasts that any byte-level tokenizer can read.
pub(crate) const CONTRASTS: &str = r#"{"prompt": "May I borrow it?", "positive": "yes, of course", "negative": "no, go away"}
{"prompt": "Is it here?", "positive": "yes, look there", "negative": "never heard of it"}
{"prompt": "Who are you?", "positive": "a friend of yours", "negative": "none of your business"}
{"prompt": "And now?", "positive": "glad to help", "negative": "leave me alone"}
"#;

/// Where a golden checkpoint lies.
pub(crate) fn golden(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(case).canonicalize().unwrap()
}

/// A temporary folder to run the program in; its files are named relative to it.
pub(crate) struct Place {
    dir: tempfile::TempDir,
    env: Vec<(&'static str, String)>,
}

impl Place {
    /// A folder with `model` (a copy of [`TINY`]), `contrasts.jsonl` and `prompts.txt`.
    pub(crate) fn new() -> Place {
        let place = Place { dir: tempfile::tempdir().unwrap(), env: Vec::new() };
        place.model("model", TINY);
        place.write("contrasts.jsonl", CONTRASTS);
        place.write("prompts.txt", "Where is the harbour?\nWho sails the ship?\n");
        place
    }

    /// The same, with `v.safetensors`: the vector of `contrasts.jsonl` on `model`.
    pub(crate) fn with_vector() -> Place {
        let place = Place::new();
        place.run("extract --model model --contrasts contrasts.jsonl -o v.safetensors").succeeds();
        place
    }

    /// Sets a variable for all runs to come.
    pub(crate) fn env(mut self, name: &'static str, value: &str) -> Place {
        self.env.push((name, value.to_owned()));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }

    /// Copies a golden checkpoint into the folder.
    pub(crate) fn model(&self, name: &str, case: &str) {
        for file in std::fs::read_dir(golden(case)).unwrap().map(Result::unwrap) {
            let file_name = file.file_name().into_string().unwrap();
            if !file_name.starts_with("golden.") {
                self.write(&format!("{name}/{file_name}"), std::fs::read(file.path()).unwrap());
            }
        }
    }

    /// The program with these arguments, ready to start: split at spaces, except within single quotes.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_whipstaff"));
        for (i, part) in line.split('\'').enumerate() {
            if i % 2 == 1 {
                command.arg(part);
            } else {
                command.args(part.split_whitespace());
            }
        }
        let ours = |name: &str| {
            ["NO_COLOR", "CLICOLOR_FORCE", "WHIPSTAFF_KERNELS", "RUST_BACKTRACE"].contains(&name)
        };
        for (name, _) in std::env::vars() {
            // Neither the user's hub nor the user's proxy is any test's business.
            let name_upper = name.to_ascii_uppercase();
            if ours(&name)
                || name.starts_with("HF_")
                || name.starts_with("HUGGING")
                || name_upper.ends_with("_PROXY")
                || name == "OPENAI_API_KEY"
            {
                command.env_remove(name);
            }
        }
        // No test asks the real hub; those that ask one on loopback say so.
        command
            .env("HF_HUB_OFFLINE", "1")
            .env("HF_HOME", self.path("hf"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("WHIPSTAFF_PACKS", self.path("packs"))
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, line: &str) -> Ran {
        let before = self.snapshot();
        let Output { status, stdout, stderr } = self.command(line).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let ran = Ran {
            line: line.to_owned(),
            code: status.code(),
            stdout: text(stdout),
            stderr: text(stderr),
            before,
            after: self.snapshot(),
        };
        assert!(!ran.stderr.contains("panicked"), "{ran}");
        ran
    }

    /// Every file of the folder with its bytes, and every folder.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut found = Snapshot::new();
        let mut folders = vec![self.dir.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
                let (path, kind) = (entry.path(), entry.file_type().unwrap());
                let content = if kind.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
                found.insert(path.clone(), (format!("{kind:?}"), content));
                if kind.is_dir() {
                    folders.push(path);
                }
            }
        }
        found
    }
}

/// What a folder holds: kind and content by path.
pub(crate) type Snapshot = BTreeMap<PathBuf, (String, Vec<u8>)>;

/// The names whose entries differ between two snapshots.
pub(crate) fn changes(before: &Snapshot, after: &Snapshot) -> Vec<PathBuf> {
    let names = before.keys().chain(after.keys());
    names.filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

/// A run of the program that has ended.
pub(crate) struct Ran {
    line: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    before: Snapshot,
    after: Snapshot,
}

impl Ran {
    /// It did its job and had nothing to report on standard error but notes.
    pub(crate) fn succeeds(self) -> Ran {
        assert_eq!(self.code, Some(0), "{self}");
        assert!(self.stderr.lines().all(|line| line.starts_with("note: ")), "{self}");
        self.leaves_no_temporary_file()
    }

    /// It ended with `code`, one error that has `part` in it, nothing on standard output, and every
    /// file as it was before.
    pub(crate) fn fails(self, code: i32, part: &str) -> Ran {
        assert_eq!(self.code, Some(code), "{self}");
        let is_error = |line: &&str| line.starts_with("error: ");
        assert_eq!(self.stderr.lines().filter(is_error).count(), 1, "{self}");
        assert!(self.stderr.contains(part), "`{part}` is not in the message\n{self}");
        assert_eq!(self.stdout, "", "{self}");
        assert_eq!(changes(&self.before, &self.after), [] as [&Path; 0], "{self}");
        self.leaves_no_temporary_file()
    }

    /// Its message also has this in it.
    pub(crate) fn says(self, part: &str) -> Ran {
        assert!(self.stderr.contains(part), "`{part}` is not in the message\n{self}");
        self
    }

    fn leaves_no_temporary_file(self) -> Ran {
        let is_ours = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(".whipstaff-");
        assert!(!self.after.keys().any(is_ours), "{self}");
        self
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "whipstaff {} ended with {:?}", self.line, self.code)?;
        write!(f, "--- stdout\n{}--- stderr\n{}", self.stdout, self.stderr)
    }
}
