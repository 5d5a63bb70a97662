//! Reads the sources of the workspace, for the tests that hold the code to its plan.

#![allow(dead_code, unreachable_pub)] // each test uses a part, and nothing is outside

pub mod modules;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

pub fn read(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The Rust files below a folder, as paths from the root.
pub fn rust_files(folder: &str) -> Vec<String> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            files.extend(rust_files(&path));
        } else if path.ends_with(".rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The names of the folders in `crates`.
pub fn crates() -> BTreeSet<String> {
    let entries = std::fs::read_dir(root().join("crates")).unwrap().map(Result::unwrap);
    let folders = entries.filter(|it| it.path().join("Cargo.toml").exists());
    folders.map(|it| it.file_name().to_string_lossy().into_owned()).collect()
}

/// Rust source without comments, strings, characters and lifetimes; lines stay where they are.
pub fn code(source: &str) -> String {
    let text: Vec<char> = source.chars().collect();
    let at = |i: usize| text.get(i).copied().unwrap_or(' ');
    let mut code = String::new();
    let mut i = 0;
    while i < text.len() {
        let end = match (text[i], at(i + 1)) {
            ('/', '/') => (i..text.len()).find(|j| text[*j] == '\n').unwrap_or(text.len()),
            ('/', '*') => end_of_comment(&text, i),
            ('"', _) => end_of_string(&text, i),
            ('r', '"' | '#') if !(i > 0 && is_word(at(i - 1)) && at(i - 1) != 'b') => end_of_raw(&text, i),
            ('\'', '\\') => (i + 3..text.len()).find(|j| text[*j] == '\'').map_or(text.len(), |j| j + 1),
            ('\'', _) if at(i + 2) == '\'' => i + 3,
            ('\'', _) => (i + 1..text.len()).find(|j| !is_word(text[*j])).unwrap_or(text.len()),
            _ => i,
        };
        if end == i {
            code.push(text[i]);
            i += 1;
        } else {
            code.push(' ');
            code.extend(text[i..end].iter().filter(|c| **c == '\n'));
            i = end;
        }
    }
    code
}

pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Past a block comment, which may hold others.
fn end_of_comment(text: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut i = start;
    while i + 1 < text.len() {
        match (text[i], text[i + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                i += 1;
                continue;
            }
        }
        i += 2;
        if depth == 0 {
            return i;
        }
    }
    text.len()
}

fn end_of_string(text: &[char], start: usize) -> usize {
    let mut i = start + 1;
    while i < text.len() && text[i] != '"' {
        i += if text[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(text.len())
}

/// Past a raw string; `start` itself if it is a raw name such as `r#type`.
fn end_of_raw(text: &[char], start: usize) -> usize {
    let n_hashes = text[start + 1..].iter().take_while(|c| **c == '#').count();
    let open = start + 1 + n_hashes;
    if text.get(open) != Some(&'"') {
        return start;
    }
    let closes = |j: &usize| {
        text[*j] == '"' && text[j + 1..].iter().take(n_hashes).filter(|c| **c == '#').count() == n_hashes
    };
    (open + 1..text.len()).find(closes).map_or(text.len(), |j| j + 1 + n_hashes)
}

/// `file:line: word` for every word of the text that `is_wrong`.
pub fn words_in(file: &str, text: &str, is_wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let words = line.split(|c| !is_word(c)).filter(|word| is_wrong(word));
        found.extend(words.map(|word| format!("{file}:{}: {word}", i + 1)));
    }
    found
}

#[track_caller]
pub fn none(promise: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{promise}\n{}", found.join("\n"));
}
