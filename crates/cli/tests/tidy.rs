//! What the architecture promises to be absent, looked for in the sources themselves.

mod source;

use serde_json::Value;
use source::modules::without_tests;
use source::{code, crates, is_word, none, read, root, rust_files, words_in};
use std::collections::BTreeSet;

/// The crates, and which of the others each may know.
const ARROWS: [(&str, &[&str]); 9] = [
    ("disk", &[]),
    ("kernels", &[]),
    ("figures", &[]),
    ("hub", &["disk"]),
    ("engine", &["kernels", "disk"]),
    ("steering", &["engine", "disk"]),
    ("report", &["steering", "figures"]),
    ("whipstaff", &["disk", "hub", "engine", "steering"]),
    ("cli", &["disk", "figures", "hub", "engine", "steering", "report", "whipstaff"]),
];

/// The crates below the program.
const LIBRARIES: [&str; 7] = ["disk", "engine", "figures", "hub", "report", "steering", "whipstaff"];

/// Crates that draw or write pages.
const DRAWING: &[&str] = &["askama", "tiny-skia", "ttf-parser", "whipstaff-figures", "whipstaff-report"];

/// Crates by which a program talks HTTP.
const HTTP: &[&str] = &[
    "actix-web",
    "attohttpc",
    "axum",
    "curl",
    "hf-hub",
    "http",
    "hyper",
    "isahc",
    "minreq",
    "reqwest",
    "tiny_http",
    "tokio",
    "ureq",
    "warp",
];

// Manifests.

/// What a manifest depends on, of every kind.
fn dependencies(name: &str) -> Vec<String> {
    dependencies_in(&read(&format!("crates/{name}/Cargo.toml")))
}

fn dependencies_in(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut listing = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_end_matches(']');
            listing = header.ends_with("dependencies");
            if let Some((_, name)) = header.rsplit_once("dependencies.") {
                names.push(name.to_owned());
            }
        } else if listing && !line.is_empty() && !line.starts_with('#') {
            let end = line.find(['.', '=', ' ']).unwrap_or(line.len());
            names.push(line[..end].trim_matches('"').to_owned());
        }
    }
    names
}

// The reader itself.

#[test]
fn code_is_told_from_what_only_looks_like_it() {
    let check = |source: &str, word: &str, is_there: bool| {
        let found = words_in("x", &code(source), |it| it == word);
        assert_eq!(!found.is_empty(), is_there, "{word} in {source}");
    };
    check("unsafe { f() }", "unsafe", true);
    check("// unsafe\n/* a /* unsafe */ unsafe */", "unsafe", false);
    check(r#"f("un\"safe unsafe")"#, "unsafe", false);
    check(r##"f(r#"a " unsafe"#)"##, "unsafe", false);
    check("f('\"'); unsafe {}", "unsafe", true);
    check(r"f('\''); unsafe {}", "unsafe", true);
    check("fn f() -> &'static str", "static", false);
    check("static A: u8 = 1;", "static", true);
    check("let r#type = 1; unsafe {}", "unsafe", true);
    check("#![forbid(unsafe_code)]", "unsafe", false);
    assert_eq!(words_in("x", &code("/*\n*/\nunsafe"), |it| it == "unsafe"), ["x:3: unsafe"]);
}

#[test]
fn a_manifests_dependencies_are_read_in_every_spelling() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\na.workspace = true\n# no\nb-c = \"1\"\n\
                    [dev-dependencies]\nd = { version = \"1\" }\n[target.'cfg(unix)'.dependencies.e]\n\
                    version = \"1\"\n[lints]\nworkspace = true\n";
    assert_eq!(dependencies_in(manifest), ["a", "b-c", "d", "e"]);
}

// The house.

#[test]
fn the_arrows_between_crates_run_one_way() {
    let known: BTreeSet<String> = ARROWS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(crates(), known, "a new crate needs its place in ARROWS");
    for (name, may_know) in ARROWS {
        for dependency in dependencies(name) {
            let other =
                dependency.strip_prefix("whipstaff-").or((dependency == "whipstaff").then_some("whipstaff"));
            if let Some(other) = other {
                assert!(may_know.contains(&other), "crates/{name} must not know crates/{other}");
            }
        }
    }
}

#[test]
fn libraries_know_neither_a_command_line_nor_a_network() {
    for name in ["disk", "figures", "kernels", "engine", "steering", "report", "whipstaff"] {
        let is_wrong = |it: &String| it.starts_with("clap") || HTTP.contains(&it.as_str());
        let found = dependencies(name).into_iter().filter(is_wrong).collect();
        none(&format!("crates/{name} must not depend on:"), found);
    }
}

#[test]
fn the_hub_knows_neither_models_nor_a_command_line() {
    let known = ["clap", "safetensors", "tokenizers", "indicatif"];
    let is_wrong = |it: &String| known.contains(&it.as_str());
    none("crates/hub must not depend on:", dependencies("hub").into_iter().filter(is_wrong).collect());
}

#[test]
fn kernels_have_never_heard_of_a_model() {
    let is_wrong = |it: &String| it.starts_with("serde") || it == "tokenizers" || it == "safetensors";
    none(
        "crates/kernels must not depend on:",
        dependencies("kernels").into_iter().filter(is_wrong).collect(),
    );
}

#[test]
fn steering_draws_nothing_and_writes_no_page() {
    let draws = |it: &String| DRAWING.contains(&it.as_str());
    none("crates/steering must not depend on:", dependencies("steering").into_iter().filter(draws).collect());
    let markup = ["<html", "<svg", "<p>", "<div"];
    let files = rust_files("crates/steering/src").into_iter();
    none(
        "these files of crates/steering hold markup:",
        files.filter(|file| markup.iter().any(|tag| read(file).contains(tag))).collect(),
    );
}

#[test]
fn no_file_of_a_crate_imports_through_its_root() {
    let mut found = Vec::new();
    for file in
        ["disk", "figures", "report"].iter().flat_map(|name| rust_files(&format!("crates/{name}/src")))
    {
        for (i, line) in code(&read(&file)).lines().enumerate() {
            let after = |(at, root): (usize, &str)| line[at + root.len()..].chars().next();
            let is_wrong = |next: char| next == '{' || next == '*' || next.is_uppercase();
            if line.match_indices("crate::").filter_map(after).any(is_wrong) {
                found.push(format!("{file}:{}: {}", i + 1, line.trim()));
            }
        }
    }
    none("name the module: `crate::vector::PersonaVector`, not `crate::PersonaVector`:", found);
}

#[test]
fn third_party_names_every_crate_that_the_workspace_depends_on() {
    let workspace = read("Cargo.toml");
    let section = workspace.split("[workspace.dependencies]").nth(1).expect("the workspace's dependencies");
    let section = section.split("\n[").next().unwrap_or_default();
    let named: BTreeSet<String> = dependencies_in(&format!("[dependencies]{section}"))
        .into_iter()
        .filter(|name| name != "whipstaff" && !name.starts_with("whipstaff-"))
        .collect();
    let text = read("THIRD-PARTY.md");
    let table = text.split("\n## Linked\n").nth(1).expect("THIRD-PARTY.md has a section `Linked`");
    let table = table.split("\nAmong the crates").next().unwrap_or_default();
    let cells = table.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    let listed: BTreeSet<String> = cells.flat_map(|cell| cell.split(", ")).map(str::to_owned).collect();
    let listed: BTreeSet<String> = listed.into_iter().filter(|name| name != "crate").collect();
    none("THIRD-PARTY.md lacks:", named.difference(&listed).cloned().collect());
    none("THIRD-PARTY.md lists what nobody depends on:", listed.difference(&named).cloned().collect());
}

#[test]
fn the_engine_has_never_heard_of_its_callers() {
    let is_wrong = |word: &str| {
        let word = word.to_lowercase();
        ["persona", "personas"].contains(&word.as_str())
            || ["contrast", "http", "clap"].iter().any(|it| word.starts_with(it))
    };
    let mut found = Vec::new();
    for file in rust_files("crates/engine/src") {
        let lines = read(&file);
        // The one sentence that says so.
        let lines: Vec<&str> = lines
            .lines()
            .map(|line| if line.starts_with("//! The crate has never heard of") { "" } else { line })
            .collect();
        found.extend(words_in(&file, &lines.join("\n"), is_wrong));
    }
    none("the engine speaks of what it should not know:", found);
}

#[test]
fn nothing_outside_the_kernels_is_unsafe() {
    let mut found = Vec::new();
    for file in rust_files("crates").iter().filter(|file| !file.starts_with("crates/kernels/src/")) {
        found.extend(words_in(file, &code(&read(file)), |word| word == "unsafe"));
    }
    none("`unsafe` belongs in crates/kernels/src:", found);
}

#[test]
fn unsafe_code_is_forbidden_by_the_compiler_too() {
    let workspace = read("Cargo.toml");
    let lints = workspace.split("[workspace.lints.rust]").nth(1).unwrap_or_default();
    let lints = lints.split("\n[").next().unwrap_or_default();
    assert!(lints.contains("unsafe_code = \"forbid\""), "[workspace.lints.rust] must forbid unsafe_code");
    for name in crates().iter().filter(|name| *name != "kernels") {
        let manifest = read(&format!("crates/{name}/Cargo.toml"));
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "crates/{name} must take the workspace's lints"
        );
        let roots = ["lib.rs", "main.rs"].map(|file| format!("crates/{name}/src/{file}"));
        for file in roots.iter().filter(|file| root().join(file).exists()) {
            assert!(read(file).contains("\n#![forbid(unsafe_code)]\n"), "{file} must forbid unsafe_code");
        }
    }
}

#[test]
fn libraries_have_no_global_state() {
    let mut found = Vec::new();
    for file in LIBRARIES.iter().flat_map(|name| rust_files(&format!("crates/{name}/src"))) {
        // Every global is a `static` (constants are `const`); what makes one changeable is worse.
        let is_wrong =
            |word: &str| ["static", "lazy_static", "OnceLock", "OnceCell", "LazyLock"].contains(&word);
        found.extend(words_in(&file, &code(&read(&file)), is_wrong));
    }
    none("there is no global state (use `const` for tables):", found);
}

#[test]
fn nothing_but_the_program_prints() {
    let prints = ["print", "println", "eprint", "eprintln", "dbg", "stdout", "stderr"];
    let mut found = Vec::new();
    for file in
        LIBRARIES.iter().chain(&["kernels"]).flat_map(|name| rust_files(&format!("crates/{name}/src")))
    {
        let code = without_tests(&code(&read(&file)));
        found.extend(words_in(&file, &code, |word| prints.contains(&word)));
    }
    none("libraries report through a `Watch`:", found);
}

#[test]
fn what_a_model_is_and_says_opens_no_file() {
    let opens = ["fs", "File", "OpenOptions", "Mmap"];
    let mut found = Vec::new();
    for wing in ["config", "steering", "text"] {
        let files = rust_files(&format!("crates/engine/src/{wing}"));
        for file in files.iter().filter(|file| !file.ends_with("/tests.rs")) {
            let code = without_tests(&code(&read(file)));
            found.extend(words_in(file, &code, |word| opens.contains(&word)));
        }
    }
    none("files are the business of the engine's wing `checkpoint`:", found);
}

#[test]
fn nobody_above_the_operations_asks_where_rows_live() {
    let below = ["Packed", "Packer", "KvBlock", "Store"];
    let mut found = Vec::new();
    for name in ["engine", "steering", "report", "whipstaff", "cli"] {
        let files = rust_files(&format!("crates/{name}/src"));
        let above = |file: &String| {
            !file.contains("engine/src/forward/ops") && !file.contains("engine/src/checkpoint/")
        };
        for file in files.iter().filter(|file| above(file)) {
            let code = without_tests(&code(&read(file)));
            found.extend(words_in(file, &code, |word| below.contains(&word)));
        }
    }
    none("rows and weights are handles outside engine/src/forward/ops:", found);
}

#[test]
fn functions_take_few_arguments() {
    let mut found = Vec::new();
    for file in crates()
        .iter()
        .filter(|name| *name != "kernels")
        .flat_map(|name| rust_files(&format!("crates/{name}")))
    {
        found.extend(words_in(&file, &code(&read(&file)), |word| word == "too_many_arguments"));
    }
    none("a function with more than six arguments wants a type:", found);
}

#[test]
fn the_model_file_asks_nothing_about_processors() {
    let file = "crates/engine/src/forward/model.rs";
    let is_wrong = |word: &str| word == "cfg" || word.contains("feature");
    none("processors are the kernels' business:", words_in(file, &code(&read(file)), is_wrong));
}

#[test]
fn every_module_says_what_belongs_there() {
    let sources = crates().into_iter().flat_map(|name| rust_files(&format!("crates/{name}/src")));
    // A command's file says it above its one public function.
    let silent = sources.filter(|file| !file.contains("/commands/") && !read(file).starts_with("//!"));
    none("these files do not begin with `//!`:", silent.collect());
}

#[test]
fn files_on_the_code_map_exist() {
    let text = read("ARCHITECTURE.md");
    let map = text.split("\n## Code map\n").nth(1).expect("ARCHITECTURE.md has a code map");
    let map = map.split("\n## ").next().unwrap().split("```").nth(1).expect("the map is one block");
    let paths = mapped(map);
    let missing = paths.iter().filter(|path| !root().join(path).exists()).cloned().collect();
    let n = paths.len();
    assert!(n > 30, "the code map names only {n} files: is it read rightly?");
    none("ARCHITECTURE.md names what is not there:", missing);
}

/// The paths that a code map names, from the root. A line at the margin begins with a folder; what follows, there and
/// on the lines below it, lies in that folder if it is one of sources. A line that is indented by two and begins with a
/// folder is about that wing, and so is what is indented further.
fn mapped(map: &str) -> Vec<String> {
    let (mut folder, mut wing) = (String::new(), String::new());
    let mut paths = Vec::new();
    for line in map.lines().filter(|line| !line.starts_with("```")) {
        let indent = line.len() - line.trim_start().len();
        let is_in_path = |c: char| is_word(c) || "./-".contains(c);
        let names =
            line.split(|c| !is_in_path(c)).filter(|word| word.ends_with(".rs") || word.ends_with('/'));
        for (i, name) in names.enumerate() {
            if i == 0 && indent == 0 && line.starts_with(name) {
                folder = if name.ends_with("src/") { name.to_owned() } else { String::new() };
                wing.clear();
                paths.push(name.to_owned());
                continue;
            }
            if i == 0 && indent == 2 {
                wing.clear();
                if name.ends_with('/') {
                    wing = name.to_owned();
                    paths.push(format!("{folder}{name}"));
                    continue;
                }
            }
            paths.push(format!("{folder}{wing}{name}"));
        }
    }
    paths
}

#[test]
fn a_code_map_is_read_as_people_read_it() {
    let check = |map: &str, want: &[&str]| assert_eq!(mapped(map), want, "{map}");
    check(
        "a/src/  x.rs y.rs\n  w/   door: z.rs v/\n       more in u.rs\n  t.rs",
        &[
            "a/src/",
            "a/src/x.rs",
            "a/src/y.rs",
            "a/src/w/",
            "a/src/w/z.rs",
            "a/src/w/v/",
            "a/src/w/u.rs",
            "a/src/t.rs",
        ],
    );
    check("docs/   prose\nb/   c/ is below", &["docs/", "b/", "c/"]);
}

#[test]
fn the_readme_shows_the_quick_start_to_the_letter() {
    let example = read("crates/whipstaff/examples/quickstart.rs");
    let (_, code) = example.split_once("\n\n").expect("a line says what it is");
    assert!(read("README.md").contains(&format!("```rust\n{code}```")), "README.md and the example differ");
    assert!(read("README.md").lines().count() <= 150, "README.md is to be read at one sitting");
}

// Contrast sets.

/// The prompts of a set, in lower case; each must be there once.
fn prompts(name: &str) -> BTreeSet<String> {
    let mut prompts = BTreeSet::new();
    for (i, line) in read(&format!("contrasts/{name}.jsonl")).lines().enumerate() {
        let contrast: Value = serde_json::from_str(line).unwrap();
        let prompt = contrast["prompt"].as_str().unwrap().trim().to_lowercase();
        assert!(prompts.insert(prompt), "contrasts/{name}.jsonl:{}: the prompt is there twice", i + 1);
    }
    prompts
}

#[test]
fn contrast_sets_are_whole_and_apart_from_their_heldout_sets() {
    let sizes = [("librarian", 124, 44), ("formal", 60, 16), ("verbose", 60, 16), ("enthusiastic", 60, 16)];
    for (name, n, n_heldout) in sizes {
        let (set, heldout) = (prompts(name), prompts(&format!("{name}-heldout")));
        assert!(set.len() >= n, "{name} has {} contrasts, {n} were promised", set.len());
        assert!(heldout.len() >= n_heldout, "{name}-heldout has {} contrasts", heldout.len());
        none(&format!("{name} and its held-out set share:"), set.intersection(&heldout).cloned().collect());
    }
}
