//! The plan of the house, looked for in the sources: wings whose arrows run one way, no ring of modules, no name taken
//! through a crate's own root.

mod source;

use source::modules::Modules;
use source::{crates, none};

/// The wings of each crate from the ground up. A wing may use those before it and no other.
const WINGS: &[(&str, &[&str])] = &[
    ("kernels", &["layout", "weights", "sets", "machine", "rows", "product", "attention", "plain"]),
    ("engine", &["error", "config", "steering", "text", "checkpoint", "forward", "load", "run"]),
    (
        "steering",
        &[
            "error",
            "progress",
            "passes",
            "math",
            "contrasts",
            "vector",
            "fit",
            "steer",
            "measure",
            "evidence",
        ],
    ),
];

#[test]
fn no_file_takes_a_name_through_the_root_of_its_crate() {
    let found = chosen().into_iter().flat_map(|name| Modules::of(&name).through_the_root());
    none("say which module a name is from:", found.collect());
}

#[test]
fn no_two_modules_need_each_other() {
    for name in chosen() {
        let ring = Modules::of(&name).shortest_ring().unwrap_or_default();
        none(
            &format!("crates/{name} has a ring of modules:"),
            ring.iter().map(|need| need.to_string()).collect(),
        );
    }
}

#[test]
fn wings_use_only_those_before_them() {
    let chosen = chosen();
    for (name, order) in WINGS.iter().filter(|(name, _)| chosen.contains(*name)) {
        none(&format!("crates/{name}:"), Modules::of(name).against(order));
    }
}

/// Every crate, or the one that `HOUSE_CRATE` names.
fn chosen() -> std::collections::BTreeSet<String> {
    match std::env::var("HOUSE_CRATE") {
        Ok(name) => [name].into(),
        Err(_) => crates(),
    }
}
