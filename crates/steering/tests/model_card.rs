//! What the embedded model's card claims about files, held against the files.

use std::path::Path;
use whipstaff_disk::sha256_hex;

#[test]
fn the_model_cards_hashes_are_those_of_the_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/librarian");
    let card = std::fs::read_to_string(folder.join("README.md"))
        .unwrap_or_else(|error| panic!("models/librarian/README.md, the model card: {error}"));
    let mut checked = Vec::new();
    for line in card.lines() {
        let Some((name, claimed)) = line.strip_prefix("sha256 of ").and_then(|it| it.split_once(": ")) else {
            continue;
        };
        let bytes = std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let digest = sha256_hex(&bytes);
        assert_eq!(claimed.trim().trim_matches('`'), digest, "the card's sha256 of {name} is not the file's");
        checked.push(name);
    }
    assert!(
        checked.contains(&"model.safetensors"),
        "the card has no line `sha256 of model.safetensors: HEX` (lines found for: {checked:?})"
    );
}
