//! The modules of a crate and what they need of each other, read off the sources.
//!
//! A path such as `crate::vector::PersonaVector` is traced through re-exports to the module that defines the name, so
//! that a door does not hide who depends on whom. Test code is left out.

use super::{code, is_word, read, rust_files};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The path of a module inside its crate: `["vector", "file"]`; the crate's root is empty.
pub type Path = Vec<String>;

/// A crate taken apart.
pub struct Modules {
    modules: BTreeMap<Path, Module>,
}

#[derive(Default)]
struct Module {
    file: String,
    /// Names that `use` brings in or re-exports, and the path that each stands for.
    names: BTreeMap<String, Path>,
    /// Globs that `use` brings in.
    globs: Vec<Path>,
    /// Absolute paths that the code names, with the line.
    named: Vec<(Path, usize)>,
    /// Words of the code outside of `use`, to see whether a re-exported name is used here too.
    words: BTreeSet<String>,
}

/// `from` needs `to`, as line `line` of its file says.
#[derive(Clone)]
pub struct Need {
    pub from: Path,
    pub to: Path,
    pub file: String,
    pub line: usize,
}

impl std::fmt::Display for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = |path: &Path| if path.is_empty() { "(root)".to_owned() } else { path.join("::") };
        write!(f, "{} needs {} ({}:{})", name(&self.from), name(&self.to), self.file, self.line)
    }
}

impl Modules {
    /// Reads the library of a crate.
    pub fn of(name: &str) -> Modules {
        let folder = format!("crates/{name}/src");
        let mut files: BTreeMap<Path, String> = BTreeMap::new();
        for file in rust_files(&folder) {
            let inside = file[folder.len() + 1..].trim_end_matches(".rs");
            let mut path: Path = inside.split('/').map(str::to_owned).collect();
            if matches!(path.last().map(String::as_str), Some("lib" | "main" | "mod")) {
                path.pop();
            }
            files.insert(path, file);
        }
        let is_test = |path: &Path| path.iter().any(|part| part == "tests");
        files.retain(|path, _| !is_test(path));
        let paths: BTreeSet<Path> = files.keys().cloned().collect();
        let read = |(path, file): (Path, String)| {
            let module = Module::read(&path, file, &paths);
            (path, module)
        };
        Modules { modules: files.into_iter().map(read).collect() }
    }

    /// What every module needs, each once.
    pub fn needs(&self) -> Vec<Need> {
        let mut needs: BTreeMap<(Path, Path), Need> = BTreeMap::new();
        for (from, module) in &self.modules {
            for (path, line) in &module.named {
                for to in self.definers(path, &mut BTreeSet::new()) {
                    if to != *from {
                        let need = Need {
                            from: from.clone(),
                            to: to.clone(),
                            file: module.file.clone(),
                            line: *line,
                        };
                        needs.entry((from.clone(), to)).or_insert(need);
                    }
                }
            }
        }
        needs.into_values().collect()
    }

    /// Names taken through the root of the crate: those that are no module of it.
    pub fn through_the_root(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (from, module) in self.modules.iter().filter(|(path, _)| !path.is_empty()) {
            for (path, line) in &module.named {
                let first = path.first().map_or("*", |part| part);
                if !self.modules.contains_key(&path[..path.len().min(1)]) {
                    found.push(format!("{}:{line}: crate::{first} (in {})", module.file, from.join("::")));
                }
            }
        }
        found
    }

    /// The shortest way from a module back to itself, if there is one.
    pub fn shortest_ring(&self) -> Option<Vec<Need>> {
        let needs = self.needs();
        let mut out: BTreeMap<&Path, Vec<&Need>> = BTreeMap::new();
        needs
            .iter()
            .filter(|need| !need.from.is_empty())
            .for_each(|it| out.entry(&it.from).or_default().push(it));
        let rings = out.keys().filter_map(|start| way(&out, start, start));
        rings.min_by_key(Vec::len)
    }

    /// What breaks the order of wings, given from the ground up; and modules that have no place in it.
    pub fn against(&self, order: &[&str]) -> Vec<String> {
        let place = |path: &Path| path.first().map(|wing| order.iter().position(|it| it == wing));
        let mut found = Vec::new();
        for path in self.modules.keys().filter(|path| path.len() == 1) {
            if place(path) == Some(None) {
                found.push(format!("{} has no place in the list of wings", path[0]));
            }
        }
        for need in self.needs() {
            if let (Some(Some(from)), Some(Some(to))) = (place(&need.from), place(&need.to))
                && to > from
            {
                found.push(need.to_string());
            }
        }
        found
    }

    /// The modules that define what a path names.
    fn definers(&self, path: &[String], seen: &mut BTreeSet<Path>) -> Vec<Path> {
        if !seen.insert(path.to_vec()) {
            return Vec::new();
        }
        let n = (0..=path.len()).rev().find(|n| self.modules.contains_key(&path[..*n])).unwrap_or(0);
        let (owner, rest) = path.split_at(n);
        let module = &self.modules[owner];
        let Some(name) = rest.first() else { return vec![owner.to_vec()] };
        if let Some(target) = module.names.get(name) {
            let target: Path = target.iter().chain(&rest[1..]).cloned().collect();
            return self.definers(&target, seen);
        }
        let through = module.globs.iter().flat_map(|glob| {
            let inside = self.modules.contains_key(glob);
            if inside { self.definers(&[&glob[..], rest].concat(), seen) } else { Vec::new() }
        });
        let found: Vec<Path> = through.filter(|definer| definer != owner).collect();
        if found.is_empty() { vec![owner.to_vec()] } else { found }
    }
}

/// The shortest way from `start` to `end`, of at least one step.
fn way(out: &BTreeMap<&Path, Vec<&Need>>, start: &Path, end: &Path) -> Option<Vec<Need>> {
    let mut came: BTreeMap<&Path, &Need> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        for need in out.get(at).into_iter().flatten() {
            if !came.contains_key(&need.to) {
                came.insert(&need.to, need);
                queue.push_back(&need.to);
            }
        }
    }
    let mut ring = vec![(*came.get(end)?).clone()];
    while ring[ring.len() - 1].from != *start {
        let last = ring[ring.len() - 1].from.clone();
        ring.push((*came.get(&last)?).clone());
    }
    ring.reverse();
    Some(ring)
}

impl Module {
    fn read(path: &Path, file: String, modules: &BTreeSet<Path>) -> Module {
        let text = without_tests(&code(&read(&file)));
        let words = words(&text);
        let mut module = Module { file, ..Module::default() };
        let mut i = 0;
        let mut reexported: Vec<(String, Path, usize)> = Vec::new();
        // Modules inside the file, with the number of braces around each: `super` counts them.
        let (mut here, mut inner, mut depth) = (path.clone(), Vec::new(), 0);
        while i < words.len() {
            let (word, line) = &words[i];
            match word.as_str() {
                "mod" if words.get(i + 2).is_some_and(|it| it.0 == "{") => {
                    here.push(words[i + 1].0.clone());
                    inner.push(depth);
                }
                "{" => depth += 1,
                "}" => {
                    depth -= 1;
                    if inner.pop_if(|around| *around == depth).is_some() {
                        here.pop();
                    }
                }
                _ => {}
            }
            let before = i.checked_sub(1).map_or("", |it| words[it].0.as_str());
            // Not `impl Trait + use<'a>`.
            if word == "use" && words.get(i + 1).is_some_and(|it| it.0 != "<") {
                let is_public = before == "pub" || before == ")";
                let mut leaves = Vec::new();
                i = tree(&words, i + 1, Vec::new(), &mut leaves);
                for (leaf, alias) in leaves {
                    let Some(leaf) = absolute(&here, &leaf, modules, true) else { continue };
                    if leaf.last().is_some_and(|it| it == "*") {
                        let glob = leaf[..leaf.len() - 1].to_vec();
                        if !is_public {
                            module.named.push((glob.clone(), *line));
                        }
                        module.globs.push(glob);
                        continue;
                    }
                    if is_public {
                        reexported.push((alias.clone(), leaf.clone(), *line));
                    } else if !modules.contains(&leaf) {
                        module.named.push((leaf.clone(), *line));
                    }
                    module.names.insert(alias, leaf);
                }
                continue;
            }
            if before != "::" && words.get(i + 1).is_some_and(|it| it.0 == "::") {
                let mut parts = vec![word.clone()];
                let mut j = i + 1;
                while words.get(j).is_some_and(|it| it.0 == "::")
                    && words.get(j + 1).is_some_and(|it| it.0.starts_with(|c: char| is_word(c)))
                {
                    parts.push(words[j + 1].0.clone());
                    j += 2;
                }
                let alias = module.names.get(word).filter(|target| modules.contains(*target)).cloned();
                let full = match alias {
                    Some(target) => Some([target, parts[1..].to_vec()].concat()),
                    None => absolute(&here, &parts, modules, false),
                };
                module.named.extend(full.map(|full| (full, *line)));
                module.words.insert(word.clone());
                i = j;
                continue;
            }
            module.words.insert(word.clone());
            i += 1;
        }
        for (alias, leaf, line) in reexported {
            if module.words.contains(&alias) && !modules.contains(&leaf) && !path.is_empty() {
                module.named.push((leaf, line));
            }
        }
        module
    }
}

/// A path as seen from the root of the crate; `None` for one that leads out of it.
fn absolute(here: &Path, parts: &[String], modules: &BTreeSet<Path>, in_use: bool) -> Option<Path> {
    let mut base = here.clone();
    let mut rest = parts;
    match parts.first()?.as_str() {
        "crate" => {
            base.clear();
            rest = &parts[1..];
        }
        "self" => rest = &parts[1..],
        "super" => {
            while rest.first().is_some_and(|it| it == "super") {
                base.pop()?;
                rest = &rest[1..];
            }
        }
        first => {
            let child: Path = here.iter().cloned().chain([first.to_owned()]).collect();
            if !modules.contains(&child) || (here.is_empty() && !in_use) {
                return None;
            }
        }
    }
    Some(base.into_iter().chain(rest.iter().cloned()).collect())
}

/// Reads one tree of a `use` from word `i` on: every leaf with the name that it is known by. Returns where it ends.
fn tree(words: &[(String, usize)], mut i: usize, base: Path, leaves: &mut Vec<(Path, String)>) -> usize {
    let mut path = base;
    while i < words.len() {
        match words[i].0.as_str() {
            "::" => i += 1,
            "{" => {
                i += 1;
                while words.get(i).is_some_and(|it| it.0 != "}") {
                    i = tree(words, i, path.clone(), leaves);
                    match words.get(i) {
                        Some((sign, _)) if sign == "," => i += 1,
                        _ => break,
                    }
                }
                return i + 1;
            }
            "as" => {
                leaves.push((path, words[i + 1].0.clone()));
                return i + 2;
            }
            "," | "}" | ";" => break,
            word => {
                path.push(word.to_owned());
                i += 1;
            }
        }
    }
    if path.last().is_some_and(|it| it == "self") && path.len() > 1 {
        path.pop();
    }
    if let Some(name) = path.last().cloned() {
        leaves.push((path, name));
    }
    i
}

/// Words and signs, with their lines; `::` is one.
fn words(text: &str) -> Vec<(String, usize)> {
    let mut words = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let len = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            words.push((rest[..len].to_owned(), i + 1));
            rest = rest[len..].trim_start();
        }
    }
    words
}

/// The same without items under `#[cfg(test)]`; lines stay where they are.
pub fn without_tests(code: &str) -> String {
    let mut text = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        text += &rest[..at];
        rest = &rest[at..];
        let (mut depth, mut end) = (0, rest.len());
        for (i, c) in rest.char_indices().skip("#[cfg(test)]".len()) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 && (c == ';' || c == '}') {
                end = i + 1;
                break;
            }
        }
        text.extend(rest[..end].chars().filter(|c| *c == '\n'));
        rest = &rest[end..];
    }
    text + rest
}
