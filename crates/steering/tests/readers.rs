//! Files from elsewhere, damaged in every way that comes to mind or that a fuzzer has found: readers answer
//! with an error that is typed, never with a panic, and never ask for much more memory than the file has.

/// The readers themselves, shared with the fuzz targets.
#[allow(unreachable_pub, dead_code)] // there it is a library
#[path = "../../../fuzz/src/lib.rs"]
mod fuzz;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// For each reader; there are six.
const TIME: Duration = Duration::from_millis(2400);

/// A reader may ask for so many bytes in all, whatever a header claims, and so many more for each byte of the
/// file: what is parsed is larger than its text, and tokenizers make tables of their own.
const BOUND: (usize, usize) = (16 << 20, 2000);

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name)
}

fn seeds(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| std::fs::read(golden(name)).unwrap_or_else(|_| panic!("{name}"))).collect()
}

/// A sequence of numbers that is the same on every machine.
struct Dice(u64);

impl Dice {
    /// From 0 to below `n`; 0 if there is nothing below.
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n.max(1)
    }
}

/// Numbers that lengths, counts and offsets should not be.
const NUMBERS: [u64; 10] =
    [0, 1, 7, 31, u64::MAX, i64::MAX as u64, 1 << 32, u32::MAX as u64, 1 << 20, 0x8000_0000_0000_0000];

/// Words that mean something to one reader or another.
const WORDS: [&str; 12] = [
    "null",
    "-1",
    "1e999",
    "\"\"",
    "[]",
    "{}",
    "99999999999999999999",
    "\u{feff}",
    "[[[[[[[[",
    "true",
    "\\ud800",
    "\n",
];

/// One to four changes.
fn damaged(seed: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=dice.below(4) {
        // Headers are at the beginning, and matter most.
        let reach = if dice.below(2) == 0 { bytes.len().min(512) } else { bytes.len() };
        let at = dice.below(reach);
        match dice.below(8) {
            0 => bytes.truncate(at),
            1 if !bytes.is_empty() => bytes[at] ^= 1 << dice.below(8),
            2 if !bytes.is_empty() => bytes[at] = dice.below(256) as u8,
            3 => {
                let number = NUMBERS[dice.below(NUMBERS.len())].to_le_bytes();
                let n = number.len().min(bytes.len() - at.min(bytes.len()));
                bytes[at..at + n].copy_from_slice(&number[..n]);
            }
            4 => drop(bytes.splice(at..at, WORDS[dice.below(WORDS.len())].bytes())),
            5 => {
                let end = (at + dice.below(64)).min(bytes.len());
                drop(bytes.drain(at..end));
            }
            6 => {
                let end = (at + dice.below(64)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            _ => {
                let end = (at + dice.below(16)).min(bytes.len());
                bytes[at..end].iter_mut().for_each(|byte| *byte = b'9');
            }
        }
    }
    bytes
}

fn reader(name: &str) -> fuzz::Read {
    fuzz::READERS.iter().find(|(it, _)| *it == name).unwrap_or_else(|| panic!("{name}")).1
}

/// Lets a reader read `bytes`, which come from `what`: it may refuse, in words.
fn read(name: &str, bytes: &[u8], what: &str) -> Result<(), String> {
    let region = Region::new(ALLOCATOR);
    let answer = catch_unwind(AssertUnwindSafe(|| reader(name)(bytes)));
    let asked = region.change().bytes_allocated;
    let keep = || {
        let path = std::env::temp_dir().join(format!("whipstaff-reader-{name}"));
        std::fs::write(&path, bytes).unwrap();
        format!("{name}, {what}: kept as {}", path.display())
    };
    let answer = answer.unwrap_or_else(|_| panic!("{} panics", keep()));
    let bound = BOUND.0 + BOUND.1 * bytes.len();
    assert!(asked <= bound, "{} asks for {asked} bytes, more than {bound}", keep());
    assert!(answer != Err(String::new()), "{}: refused without a word", keep());
    answer
}

/// Reads the seeds, then what becomes of them until the time is over.
fn check(name: &str, names: &[&str]) {
    let seeds = seeds(names);
    for (seed, file) in seeds.iter().zip(names) {
        read(name, seed, file).unwrap_or_else(|error| panic!("{name} refuses {file}: {error}"));
    }
    let (mut dice, started, mut n, mut refused) = (Dice(1), Instant::now(), 0usize, 0usize);
    while started.elapsed() < TIME {
        let seed = dice.below(seeds.len());
        refused += usize::from(read(name, &damaged(&seeds[seed], &mut dice), names[seed]).is_err());
        n += 1;
    }
    println!("{name}: {n} files, {refused} refused");
    assert!(n > 20 && refused > n / 20, "{name}: {refused} of {n} refused");
}

// One after the other: the bytes that a reader asks for are those of the whole process.
#[test]
fn damaged_files_are_refused_in_words() {
    check("gguf", &["gguf/gqa-tied-bf16.gguf", "gguf-families/qwen2-moe-shared.gguf"]);
    check(
        "tokenizer",
        &["gguf/tokenizer-smollm.gguf", "gguf/tokenizer-spm.gguf", "gguf/tokenizer-tekken.gguf"],
    );
    check("safetensors", &["control/repeng.safetensors", "librarian-vector.safetensors"]);
    check(
        "config",
        &[
            "llama-gqa-tied-bf16/config.json",
            "families/gemma3-pattern/config.json",
            "families/phi3-longrope-within/config.json",
            "families/qwen2-moe-shared/config.json",
        ],
    );
    check("contrasts", &["../../contrasts/librarian.jsonl"]);
    check("vector", &["control/ours.safetensors", "control/repeng.gguf", "control/ours.gguf"]);
    everything_that_fuzzing_found_is_read_or_refused_in_words();
}

/// What libFuzzer keeps because it reaches code of its own, and what has been a finding.
fn everything_that_fuzzing_found_is_read_or_refused_in_words() {
    for (name, _) in fuzz::READERS {
        let dir = golden("../../fuzz/corpus").join(name);
        let mut n = 0;
        for entry in std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
            let path = entry.unwrap().path();
            let _ = read(name, &std::fs::read(&path).unwrap(), &path.display().to_string());
            n += 1;
        }
        println!("{name}: {n} files of the corpus");
        assert!(n > 0, "{} is empty", dir.display());
    }
}
