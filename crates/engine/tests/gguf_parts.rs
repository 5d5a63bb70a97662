//! A model in several files is the model that it was cut from, or is refused with the file that is to blame.

use std::path::{Path, PathBuf};
use tempfile::TempDir;
use whipstaff_engine::{ChatTemplate, Cpu, LoadOptions, Model, Outline, PackCache, Session, Tokenizer};

const PARTS: [&str; 3] = ["m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name)
}

fn whole() -> PathBuf {
    golden("gguf/gqa-tied-bf16.gguf")
}

fn logits(path: &Path) -> Vec<f32> {
    let model = Model::load(path, Cpu::best()).unwrap();
    model.host(&model.extend(&mut Session::new(), &[5, 9, 2, 77]).unwrap()).as_slice().to_vec()
}

/// A folder with the parts.
fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in PARTS {
        std::fs::copy(golden("gguf-parts").join(name), dir.path().join(name)).unwrap();
    }
    dir
}

#[test]
fn each_part_gives_the_whole_model() {
    let (want, outline) = (logits(&whole()), Outline::open(&whole()).unwrap());
    let tokenizer = Tokenizer::load(&whole()).unwrap();
    for name in PARTS {
        let path = golden("gguf-parts").join(name);
        assert_eq!(logits(&path), want, "{name}");
        let ours = Outline::open(&path).unwrap();
        assert_eq!(ours.config(), outline.config(), "{name}");
        assert_eq!(ours.weight_bytes(), outline.weight_bytes(), "{name}");
        assert_eq!((ours.has_tokenizer, ours.has_chat_template), (true, false), "{name}");
        let n_bytes = PARTS.map(|name| std::fs::metadata(golden("gguf-parts").join(name)).unwrap().len());
        assert_eq!(ours.weights().n_bytes() as u64, n_bytes.iter().sum::<u64>(), "{name}");
        let text = "The harbour, 12 miles.";
        let ids = Tokenizer::load(&path).unwrap().encode(text).unwrap();
        assert_eq!(ids, tokenizer.encode(text).unwrap(), "{name}");
        assert!(ChatTemplate::load(&path, &tokenizer).unwrap().is_none(), "{name}");
    }
}

#[test]
fn a_pack_is_of_all_parts() {
    let (dir, packs) = (folder(), tempfile::tempdir().unwrap());
    let n_packs = |part: usize| {
        let cache = PackCache::new(packs.path()).for_models_from(0);
        let options = LoadOptions { packs: Some(cache), ..LoadOptions::default() };
        drop(Model::load_with(&dir.path().join(PARTS[part]), Cpu::best(), options).unwrap());
        std::fs::read_dir(packs.path()).unwrap().count()
    };
    assert_eq!((n_packs(0), n_packs(0), n_packs(2)), (1, 1, 1));
    let name = |dir: &Path| std::fs::read_dir(dir).unwrap().next().unwrap().unwrap().file_name();
    let first = name(packs.path());
    // A part that was written again makes another model.
    let changed = std::fs::File::options().write(true).open(dir.path().join(PARTS[1])).unwrap();
    changed.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    n_packs(0);
    assert_ne!(name(packs.path()), first);
}

/// Spoils the folder, opens the first part that is left, and looks for the words in the error.
#[track_caller]
fn check(spoil: impl Fn(&Path), words: &[&str]) {
    let dir = folder();
    spoil(dir.path());
    let mut names: Vec<PathBuf> =
        std::fs::read_dir(dir.path()).unwrap().map(|it| it.unwrap().path()).collect();
    names.sort();
    let error = Outline::open(&names[0]).err().expect("it is refused").to_string();
    for word in words {
        assert!(error.contains(word), "`{word}` is not in: {error}");
    }
}

/// Sets the value of a key of a part.
fn set(dir: &Path, part: usize, key: &str, value: u8) {
    let path = dir.join(PARTS[part]);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(key.len()).position(|it| it == key.as_bytes()).unwrap();
    // Behind the key stands its type, of four bytes.
    bytes[at + key.len() + 4] = value;
    std::fs::write(path, bytes).unwrap();
}

fn rename(dir: &Path, from: &str, to: &str) {
    std::fs::rename(dir.join(from), dir.join(to)).unwrap();
}

#[test]
fn parts_that_do_not_make_a_whole_are_named() {
    check(
        |dir| std::fs::remove_file(dir.join(PARTS[1])).unwrap(),
        &[PARTS[0], "is part 1 of 3, but `m-00002-of-00003.gguf` is missing"],
    );
    check(
        |dir| std::fs::remove_file(dir.join(PARTS[0])).unwrap(),
        &[PARTS[1], "is part 2 of 3, but `m-00001-of-00003.gguf` is missing"],
    );
    check(|dir| rename(dir, PARTS[0], "a.gguf"), &["a.gguf", "has to end in `-00001-of-00003.gguf`"]);
    check(|dir| set(dir, 0, "split.count", 2), &[PARTS[0], "has to end in `-00001-of-00002.gguf`"]);
    check(|dir| set(dir, 0, "split.no", 7), &[PARTS[0], "`split.no` is 7, but `split.count` is 3"]);
    check(|dir| set(dir, 1, "split.no", 2), &[PARTS[1], "`split.no` is 2", "by its name"]);
    check(|dir| set(dir, 1, "split.count", 4), &[PARTS[1], "`split.count` is 4", "one of 3 parts"]);
    check(|dir| set(dir, 0, "split.tensors.count", 31), &["`split.tensors.count` is 31", "have 30 tensors"]);
    check(
        |dir| {
            std::fs::copy(dir.join(PARTS[1]), dir.join(PARTS[2])).unwrap();
            set(dir, 2, "split.no", 2);
        },
        &[PARTS[2], "tensor `blk.", "is also in `m-00002-of-00003.gguf`"],
    );
    check(
        |dir| {
            let path = dir.join(PARTS[2]);
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(path, &bytes[..bytes.len() - 40]).unwrap();
        },
        &[PARTS[2], "it may be cut off"],
    );
}
