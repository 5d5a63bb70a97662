//! Tests of downloads from a hub on loopback, and of everything that can go wrong with them.

mod support;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use support::{COMMIT, FakeHub, Reply, git_sha1, sha256};
use whipstaff_hub::{Error, Hub, Patience, Reference, Settings, Silent, Watch};

const REPO: &str = "org/tiny";

/// Short limits, so that the tests end soon.
const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(5),
    read: Duration::from_secs(5),
    attempts: 4,
    pause: Duration::from_millis(1),
    longest_pause: Duration::from_secs(2),
};

/// A hub with one checkpoint, and a cache that is empty at first.
struct Place {
    dir: tempfile::TempDir,
    hub: FakeHub,
}

impl Place {
    fn new() -> Place {
        let place = Place::empty();
        for name in ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"] {
            place.hub.add(REPO, name, format!("{{\"this is\": \"{name}\"}}"));
        }
        place.hub.add(REPO, "model.safetensors", weights());
        place
    }

    fn empty() -> Place {
        Place { dir: tempfile::tempdir().unwrap(), hub: FakeHub::new() }
    }

    fn settings(&self) -> Settings {
        Settings {
            cache: self.dir.path().join("hub"),
            endpoint: self.hub.url().into(),
            token: None,
            offline: false,
            proxy_from_env: false,
            patience: PATIENCE,
        }
    }

    fn locate(&self, text: &str) -> Result<PathBuf, Error> {
        self.locate_with(text, self.settings())
    }

    fn locate_with(&self, text: &str, settings: Settings) -> Result<PathBuf, Error> {
        Hub::new(settings)?.locate(&Reference::parse(text).unwrap(), &Silent)
    }

    /// Checks that `text` cannot be located, and that the message contains `part`.
    fn fails(&self, text: &str, part: &str) -> Error {
        let error = self.locate(text).unwrap_err();
        assert!(error.to_string().contains(part), "`{part}` is not in: {error}");
        error
    }

    fn offline(&self, text: &str) -> Result<PathBuf, Error> {
        self.locate_with(text, Settings { offline: true, ..self.settings() })
    }

    /// Returns a path in the cache of [`REPO`].
    fn cached(&self, path: &str) -> PathBuf {
        self.dir.path().join("hub/models--org--tiny").join(path)
    }

    fn blob(&self) -> PathBuf {
        self.cached(&format!("blobs/{}", sha256(&weights())))
    }

    fn incomplete(&self) -> PathBuf {
        self.cached(&format!("blobs/{}.incomplete", sha256(&weights())))
    }

    fn put(&self, path: &str, content: &[u8]) {
        let path = self.cached(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Returns the ranges that the content server was asked for, in order.
    fn ranges(&self) -> Vec<Option<String>> {
        let contents = self.hub.log().into_iter().filter(|it| it.is_content());
        contents.map(|it| it.header("range").map(str::to_owned)).collect()
    }
}

/// Returns bytes of which no part resembles another.
fn weights() -> Vec<u8> {
    (0u32..75_000).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

const SIZE: usize = 300_000;

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|it| it.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[track_caller]
fn is_whole(path: &Path) {
    assert!(fs::read(path.join("model.safetensors")).unwrap() == weights(), "the weights differ");
}

// The choice of files, and their places in the cache.

#[test]
fn a_checkpoint_comes_with_the_files_it_needs_and_no_others() {
    let place = Place::new();
    for name in [
        "README.md",
        "pytorch_model.bin",
        "model-Q8_0.gguf",
        "model-00001-of-00002.safetensors",
        "onnx/model.onnx",
    ] {
        place.hub.add(REPO, name, "not needed");
    }
    place.hub.add(REPO, "chat_template.json", r#"{"chat_template": "{{ messages }}"}"#);
    place.hub.add(REPO, "model.safetensors.index.json", "not needed beside model.safetensors");
    let path = place.locate(REPO).unwrap();
    let want = [
        "chat_template.json",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    assert_eq!(names(&path), want);
    is_whole(&path);
    assert_eq!(place.hub.contents(), 1);
}

#[test]
fn the_cache_has_the_layout_of_the_python_tools() {
    let place = Place::new();
    let path = place.locate(REPO).unwrap();
    assert_eq!(path, place.cached(&format!("snapshots/{COMMIT}")));
    assert_eq!(fs::read_to_string(place.cached("refs/main")).unwrap(), COMMIT);
    let config = git_sha1(b"{\"this is\": \"config.json\"}");
    let link = |name: &str| fs::read_link(path.join(name)).unwrap();
    assert_eq!(link("config.json"), Path::new("../../blobs").join(&config));
    assert_eq!(link("model.safetensors"), Path::new("../../blobs").join(sha256(&weights())));
    assert!(place.cached("blobs").join(config).is_file());
    assert_eq!(names(&place.cached("blobs")).len(), 5, "no partial file is left");
    let absent = ["chat_template.jinja", "chat_template.json", "special_tokens_map.json"];
    assert_eq!(names(&place.cached(&format!(".no_exist/{COMMIT}"))), absent);
    let locks = names(&place.dir.path().join("hub/.locks/models--org--tiny"));
    assert!(locks.contains(&format!("{}.lock", sha256(&weights()))), "{locks:?}");
    // The links are relative, so a moved cache still works.
    fs::rename(place.dir.path().join("hub"), place.dir.path().join("moved")).unwrap();
    let moved = Settings { cache: place.dir.path().join("moved"), offline: true, ..place.settings() };
    is_whole(&place.locate_with(REPO, moved).unwrap());
}

#[test]
fn a_file_in_a_folder_links_further_up() {
    let place = Place::empty();
    place.hub.add(REPO, "BF16/deep/m-BF16.gguf", weights());
    let path = place.locate("org/tiny:BF16").unwrap();
    assert_eq!(path, place.cached(&format!("snapshots/{COMMIT}/BF16/deep/m-BF16.gguf")));
    let want = Path::new("../../../../blobs").join(sha256(&weights()));
    assert_eq!(fs::read_link(&path).unwrap(), want);
    assert!(fs::read(path).unwrap() == weights());
}

#[test]
fn a_cached_checkpoint_is_not_asked_for_again() {
    let place = Place::new();
    let path = place.locate(REPO).unwrap();
    let n = place.hub.log().len();
    assert_eq!(place.locate(REPO).unwrap(), path);
    assert_eq!(place.offline(REPO).unwrap(), path);
    assert_eq!(place.hub.log().len(), n);
}

#[test]
fn a_download_of_the_python_tools_is_found() {
    let place = Place::empty();
    let files = [
        ("config.json", b"{}".to_vec()),
        ("tokenizer.json", b"{}".to_vec()),
        ("model.safetensors", weights()),
    ];
    for (name, content) in files {
        let etag = sha256(&content);
        place.put(&format!("blobs/{etag}"), &content);
        let link = place.cached(&format!("snapshots/{COMMIT}/{name}"));
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(format!("../../blobs/{etag}"), link).unwrap();
    }
    place.put("refs/main", COMMIT.as_bytes());
    is_whole(&place.offline(REPO).unwrap());
    is_whole(&place.offline(&format!("org/tiny@{COMMIT}")).unwrap());
    assert!(place.hub.log().is_empty());
    assert!(matches!(place.offline("org/tiny@v1"), Err(Error::Offline { .. })));
}

#[test]
fn only_missing_files_are_downloaded() {
    let place = Place::new();
    let path = place.locate(REPO).unwrap();
    // A blob without a link needs no second download. A link without a blob does.
    fs::remove_file(path.join("model.safetensors")).unwrap();
    fs::remove_file(place.cached("blobs").join(git_sha1(b"{\"this is\": \"tokenizer.json\"}"))).unwrap();
    let gets = |place: &Place| place.hub.log().iter().filter(|it| it.method == "GET").count();
    let before = gets(&place);
    is_whole(&place.locate(REPO).unwrap());
    assert!(path.join("tokenizer.json").is_file());
    assert_eq!((place.hub.contents(), gets(&place) - before), (1, 2), "the listing and tokenizer.json");
}

#[test]
fn a_checkpoint_that_may_lack_a_tokenizer_is_completed_or_used_as_it_is() {
    let place = Place::new();
    place.put("refs/main", COMMIT.as_bytes());
    place.put(&format!("snapshots/{COMMIT}/config.json"), b"{}");
    place.put(&format!("snapshots/{COMMIT}/model.safetensors"), &weights());
    is_whole(&place.offline(REPO).unwrap());
    // Without an answer from the hub, the cached files are used and a remark says so.
    let remarks = Remarks::default();
    let nobody = Settings { endpoint: "http://127.0.0.1:1".into(), ..place.settings() };
    let hub = Hub::new(nobody).unwrap();
    is_whole(&hub.locate(&Reference::parse(REPO).unwrap(), &remarks).unwrap());
    let said = remarks.0.lock().unwrap().join("\n");
    assert!(said.contains("cannot reach 127.0.0.1") && said.contains("continuing with"), "{said}");
    let path = place.locate(REPO).unwrap();
    assert!(path.join("tokenizer.json").is_file());
    assert_eq!(place.hub.contents(), 0);
}

#[derive(Default)]
struct Remarks(Mutex<Vec<String>>);

impl Watch for Remarks {
    fn remark(&self, text: &str) {
        self.0.lock().unwrap().push(text.into());
    }
}

#[test]
fn a_model_that_is_missing_offline_is_named_with_a_remedy() {
    let place = Place::new();
    for text in [REPO, "org/tiny@v1", "org/tiny:Q8_0", "org/tiny/a.gguf"] {
        let error = place.offline(text).unwrap_err().to_string();
        assert!(error.contains(text) && error.contains("unset HF_HUB_OFFLINE"), "{error}");
    }
    assert!(place.hub.log().is_empty());
}

#[test]
fn revisions_have_their_own_refs() {
    let place = Place::new();
    let path = place.locate("org/tiny@v1").unwrap();
    assert_eq!(path, place.cached(&format!("snapshots/{COMMIT}")));
    assert_eq!(names(&place.cached("refs")), ["v1"]);
    place.locate(&format!("org/tiny@{COMMIT}")).unwrap();
    assert_eq!(names(&place.cached("refs")), ["v1"], "a commit is its own ref");
    place.fails("org/tiny@v2", "has no revision `v2`");
}

#[test]
fn the_shards_are_read_from_the_index() {
    let place = Place::empty();
    place.hub.add(REPO, "config.json", "{}");
    let index = r#"{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#;
    place.hub.add(REPO, "model.safetensors.index.json", index);
    place.hub.add(REPO, "model-00001-of-00002.safetensors", weights());
    place.fails(REPO, "it names model-00002-of-00002.safetensors, which the repository does not have");
    place.hub.add(REPO, "model-00002-of-00002.safetensors", "the rest");
    place.hub.add(REPO, "consolidated.safetensors", "something else");
    let path = place.locate(REPO).unwrap();
    assert_eq!(fs::read_to_string(path.join("model-00002-of-00002.safetensors")).unwrap(), "the rest");
    assert!(!path.join("consolidated.safetensors").exists());
    fs::remove_file(path.join("model-00002-of-00002.safetensors")).unwrap();
    assert!(matches!(place.offline(REPO), Err(Error::Offline { .. })), "one shard is missing");
}

#[test]
fn a_gguf_file_is_named_or_found_by_its_quantisation() {
    let place = Place::empty();
    let files =
        ["m-Q4_K_M.gguf", "m-Q4_K_S.gguf", "m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf"];
    for file in files.iter().chain(&["mmproj-F16.gguf", "README.md"]) {
        place.hub.add(REPO, file, *file);
    }
    let check = |text: &str, want: &str| {
        let path = place.locate(text).unwrap();
        assert_eq!(path.file_name().unwrap(), want, "{text}");
        assert_eq!(fs::read_to_string(&path).unwrap(), want, "{text}");
        assert_eq!(place.offline(text).unwrap(), path, "{text}");
    };
    check("org/tiny:q4_k_m", "m-Q4_K_M.gguf");
    check("org/tiny/m-Q4_K_S.gguf", "m-Q4_K_S.gguf");
    check("org/tiny:Q8_0", "m-Q8_0-00001-of-00002.gguf");
    let snapshot = place.cached(&format!("snapshots/{COMMIT}"));
    assert_eq!(names(&snapshot), files, "both shards, and nothing that was not asked for");
    assert!(matches!(place.fails("org/tiny:Q4_K", "m-Q4_K_S.gguf"), Error::AmbiguousQuant { .. }));
    assert!(matches!(place.fails("org/tiny:Q6_K", "m-Q4_K_S.gguf"), Error::NoSuchQuant { .. }));
    assert!(matches!(place.fails("org/tiny/m-Q6_K.gguf", "m-Q4_K_S.gguf"), Error::NoSuchFile { .. }));
    place.fails(REPO, "name one, as org/tiny:Q4_K_M");
    fs::remove_file(snapshot.join("m-Q8_0-00002-of-00002.gguf")).unwrap();
    assert!(matches!(place.offline("org/tiny:Q8_0"), Err(Error::Offline { .. })), "one shard is missing");
}

#[test]
fn pickles_are_never_downloaded() {
    let place = Place::empty();
    place.hub.add(REPO, "config.json", "{}");
    place.hub.add(REPO, "pytorch_model.bin", "a pickle");
    place.fails(REPO, "only as pickles");
    assert_eq!(place.hub.contents(), 0);
}

// Faults of networks, servers and disks.

#[test]
fn a_download_that_is_cut_halfway_resumes_there() {
    let place = Place::new();
    place.hub.twist(|request, n, reply| match request.is_content() && n == 0 {
        true => reply.cut_at(SIZE / 2),
        false => reply,
    });
    is_whole(&place.locate(REPO).unwrap());
    let [None, Some(range)] = &place.ranges()[..] else { panic!("{:?}", place.ranges()) };
    assert_eq!(*range, format!("bytes={}-", SIZE / 2));
}

#[test]
fn a_download_that_keeps_failing_is_resumed_by_the_next_run() {
    let place = Place::new();
    place.hub.twist(|request, n, reply| match (request.is_content(), n) {
        (true, 0) => reply.cut_at(SIZE / 2),
        (true, _) => reply.cut_at(0),
        _ => reply,
    });
    place.fails(REPO, "150000 of 300000 bytes of model.safetensors; what has arrived is kept");
    // The first half is progress. As many failures as patience allows follow.
    assert_eq!(place.hub.contents(), 1 + PATIENCE.attempts as usize - 1);
    assert_eq!(fs::metadata(place.incomplete()).unwrap().len(), SIZE as u64 / 2);
    assert!(!place.cached("refs/main").exists(), "a revision is noted when it is whole");
    place.hub.straighten();
    is_whole(&place.locate(REPO).unwrap());
    assert_eq!(place.ranges().last().unwrap().as_deref(), Some("bytes=150000-"));
    assert!(!place.incomplete().exists());
}

#[test]
fn a_part_that_a_killed_run_or_another_tool_left_is_resumed() {
    let place = Place::new();
    let name = place.incomplete().file_name().unwrap().to_str().unwrap().to_owned();
    let check = |left: &[u8], want: &[Option<&str>]| {
        let _ = fs::remove_dir_all(place.cached("."));
        let before = place.ranges().len();
        place.put(&format!("blobs/{name}"), left);
        is_whole(&place.locate(REPO).unwrap());
        let ranges = &place.ranges()[before..];
        assert_eq!(ranges.iter().map(Option::as_deref).collect::<Vec<_>>(), want, "{} bytes", left.len());
    };
    let whole = weights();
    check(b"", &[None]);
    check(&whole[..1], &[Some("bytes=1-")]);
    check(&whole[..SIZE - 1], &[Some("bytes=299999-")]);
    check(&whole, &[]);
    // A part that is longer than the file, or that differs from it, is fetched whole.
    check(&[&whole[..], b"x"].concat(), &[None]);
    check(&[b"x", &whole[1..1000]].concat(), &[Some("bytes=1000-"), None]);
    check(&vec![0; SIZE], &[None]);
}

#[test]
fn a_server_that_ignores_ranges_sends_the_file_from_the_start() {
    let place = Place::new();
    place.hub.twist(|request, n, reply| match (request.is_content(), n) {
        (true, 0) => reply.cut_at(SIZE / 2),
        (true, _) => Reply::new(200, weights()),
        _ => reply,
    });
    is_whole(&place.locate(REPO).unwrap());
    assert_eq!(place.hub.contents(), 2);
}

#[test]
fn a_server_that_ignores_ranges_and_is_always_cut_is_given_up() {
    let place = Place::new();
    place.hub.twist(|request, _, reply| match request.is_content() {
        true => Reply::new(200, weights()).cut_at(SIZE / 2),
        false => reply,
    });
    place.fails(REPO, "150000 of 300000 bytes");
    assert_eq!(place.hub.contents(), PATIENCE.attempts as usize);
}

#[test]
fn a_piece_with_a_wrong_content_range_is_not_used() {
    for range in
        ["bytes 149999-299998/300000", "bytes 150000-299999/300001", "bytes 0-299999/300000", "nonsense", ""]
    {
        let place = Place::new();
        place.hub.twist(move |request, n, reply| match (request.is_content(), n) {
            (true, 0) => reply.cut_at(SIZE / 2),
            (true, 1) => reply.header("Content-Range", range),
            _ => reply,
        });
        is_whole(&place.locate(REPO).unwrap());
        assert_eq!(place.ranges().last().unwrap(), &None, "{range}: fetched whole");
    }
}

#[test]
fn wrong_pieces_are_deleted_and_the_server_is_given_up() {
    let place = Place::new();
    place.put(&format!("blobs/{}.incomplete", sha256(&weights())), &weights()[..1000]);
    place.hub.twist(|request, _, reply| match request.is_content() {
        true => Reply::new(206, weights()).header("Content-Range", "bytes 7-299999/300000"),
        false => reply,
    });
    let error = place.fails(REPO, "the answer has `bytes 7-299999/300000`");
    assert!(matches!(error, Error::Damaged { .. }));
    assert!(!place.incomplete().exists() && !place.blob().exists());
    assert_eq!(place.hub.contents(), 2);
}

#[test]
fn content_with_a_wrong_hash_is_deleted() {
    let place = Place::new();
    place.hub.twist(|request, _, mut reply| {
        if request.is_content() {
            reply.body[7] ^= 1;
        }
        reply
    });
    let error = place.fails(REPO, "its SHA-256 is");
    assert!(matches!(error, Error::Damaged { .. }));
    assert!(!place.incomplete().exists() && !place.blob().exists());
    assert!(!place.cached(&format!("snapshots/{COMMIT}/model.safetensors")).exists());
    place.hub.straighten();
    is_whole(&place.locate(REPO).unwrap());
}

#[test]
fn small_files_are_compared_against_gits_hash() {
    let place = Place::new();
    place.hub.twist(|request, _, mut reply| {
        if request.method == "GET" && request.path.ends_with("/tokenizer.json") {
            reply.body[1] ^= 1;
        }
        reply
    });
    place.fails(REPO, "its git hash is");
}

#[test]
fn content_beyond_the_promised_size_is_not_written() {
    let place = Place::new();
    place.hub.twist(|request, _, reply| match request.is_content() {
        true => Reply::new(200, [weights(), weights()].concat()),
        false => reply,
    });
    place.fails(REPO, "longer than 300000 bytes");
    assert!(!place.incomplete().exists() && !place.blob().exists());
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    let place = Place::new();
    place.hub.twist(|request, _, reply| match request.is_content() {
        true => reply.cut_at(1000).stall(Duration::from_secs(60)),
        false => reply,
    });
    let patience = Patience { read: Duration::from_millis(200), attempts: 2, ..PATIENCE };
    let start = Instant::now();
    let error = place.locate_with(REPO, Settings { patience, ..place.settings() }).unwrap_err();
    assert!(matches!(error, Error::Cut { have: 2000 | 1000, .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_status_becomes_a_message_with_a_remedy() {
    let check = |reply: Reply, token: Option<&str>, want: &str| {
        let place = Place::new();
        place.hub.twist(move |_, _, _| reply.clone());
        let settings = Settings { token: token.map(str::to_owned), ..place.settings() };
        let error = place.locate_with(REPO, settings).unwrap_err().to_string();
        assert!(error.contains(want), "`{want}` is not in: {error}");
        error
    };
    let gated = check(Reply::error(401, "GatedRepo"), None, "accept its licence at http://127.0.0.1");
    assert!(gated.contains("/org/tiny, then set HF_TOKEN"), "{gated}");
    check(Reply::error(403, "GatedRepo"), Some("hf_x"), "with the account of the token");
    check(Reply::error(401, "RepoNotFound"), None, "check the name, or set HF_TOKEN");
    check(Reply::error(404, "RepoNotFound"), Some("hf_x"), "the token that was sent gives no access");
    check(Reply::new(401, ""), None, "or it is private");
    check(Reply::new(404, ""), None, "has no model org/tiny");
    let disabled = Reply::error(403, "DisabledRepo").header("X-Error-Message", "Taken down.");
    check(disabled, None, "answers 403 (Taken down.)");
    check(Reply::new(418, ""), None, "answers 418");
    check(Reply::new(200, "hello"), None, "it is not JSON");
    check(Reply::new(200, r#"{"sha": "../x", "siblings": []}"#), None, "`sha` is not a commit");
    check(Reply::new(200, r#"{"sha": "abc"}"#), None, "`siblings` is not a list");
    check(Reply::redirect(""), None, "does not say where to redirect to");
}

#[test]
fn a_busy_server_is_asked_again_but_not_forever() {
    let check = |status: u16, fails: usize, ok: bool| {
        let place = Place::new();
        place.hub.twist(move |request, n, reply| match n < fails && !request.is_content() {
            true => Reply::new(status, ""),
            false => reply,
        });
        match place.locate(REPO) {
            Ok(path) => is_whole(&path),
            Err(error) => {
                assert!(matches!(error, Error::Busy { status: got, .. } if got == status), "{error}")
            }
        }
        let n = place.hub.log().iter().filter(|it| it.path.starts_with("/api/")).count();
        assert_eq!(n, (fails + 1).min(PATIENCE.attempts as usize), "{status} {fails} times");
        assert_eq!(place.blob().exists(), ok, "{status} {fails} times");
    };
    for status in [429, 500, 503] {
        check(status, 2, true);
        check(status, 100, false);
    }
}

#[test]
fn a_wait_that_a_server_asks_for_is_obeyed_or_refused() {
    let place = Place::new();
    let start = Instant::now();
    place.hub.twist(|request, n, reply| match request.path.starts_with("/api/") && n == 0 {
        true => Reply::new(429, "").header("Retry-After", 1),
        false => reply,
    });
    is_whole(&place.locate(REPO).unwrap());
    assert!(start.elapsed() >= Duration::from_secs(1));

    let place = Place::new();
    place.hub.twist(|_, _, _| Reply::new(429, "").header("Retry-After", 3600));
    place.fails(REPO, "429; try again in 3600 s");
    assert_eq!(place.hub.log().len(), 1);
}

#[test]
fn redirects_out_of_tls_or_into_private_networks_are_not_followed() {
    let elsewhere = FakeHub::at("127.0.0.2");
    let check = |to: &str, part: &str| {
        let place = Place::new();
        let target = to.to_owned();
        place.hub.twist(move |request, _, reply| match reply.status == 302 && request.method == "GET" {
            true => reply.header("Location", &target),
            false => reply,
        });
        let error = place.fails(REPO, part);
        assert!(matches!(error, Error::Redirect { .. }), "{to}: {error}");
        assert!(!error.to_string().contains("secret"), "the signature is in the message: {error}");
        assert!(!place.blob().exists());
    };
    check(&format!("{}/cdn/x?signature=secret", elsewhere.url()), "plain http");
    check("http://cdn.example/x", "plain http");
    check("http://169.254.169.254/latest/meta-data", "plain http");
    check("https://169.254.169.254/latest/meta-data", "private, loopback or link-local");
    check("https://10.0.0.1/x", "private, loopback or link-local");
    check("https://[fe80::1]/x", "private, loopback or link-local");
    // The address of a name is checked where the connection is made.
    check("https://localhost/x?signature=secret", "private, loopback or link-local");
    check("https://2130706433/x", "private, loopback or link-local");
    check("ftp://cdn.example/x", "neither https nor http");
    assert!(elsewhere.log().is_empty());
}

#[test]
fn a_redirect_in_circles_ends() {
    let place = Place::new();
    place.hub.twist(|_, _, _| Reply::redirect("/api/models/org/tiny/revision/main"));
    place.fails(REPO, "redirects more than 6 times");
}

#[test]
fn a_renamed_repository_is_followed() {
    let place = Place::new();
    place.hub.add("new/name", "config.json", "{}");
    place.hub.add("new/name", "model.safetensors", weights());
    place.hub.twist(|request, _, reply| match request.path.contains("org/tiny") {
        true => Reply::redirect(&request.path.replace("org/tiny", "new/name")),
        false => reply,
    });
    is_whole(&place.locate(REPO).unwrap());
    assert_eq!(fs::read_to_string(place.cached("refs/main")).unwrap(), COMMIT);
}

#[test]
fn the_token_goes_to_the_endpoint_and_nowhere_else() {
    let (place, cdn) = (Place::new(), FakeHub::new());
    cdn.add(REPO, "model.safetensors", weights());
    let to = format!("{}/cdn/{}", cdn.url(), sha256(&weights()));
    place
        .hub
        .twist(move |_, _, reply| if reply.status == 302 { reply.header("Location", &to) } else { reply });
    let settings = Settings { token: Some("hf_secret".into()), ..place.settings() };
    is_whole(&place.locate_with(REPO, settings).unwrap());
    let tokens = |hub: &FakeHub| hub.log().iter().filter(|it| it.header("authorization").is_some()).count();
    assert_eq!((tokens(&place.hub), tokens(&cdn)), (place.hub.log().len(), 0));
    assert_eq!(cdn.contents(), 1);
    assert_eq!(place.hub.log()[0].header("authorization"), Some("Bearer hf_secret"));
}

#[test]
fn names_from_the_server_stay_in_the_cache() {
    let place = Place::empty();
    for name in ["../../../x-Q8_0.gguf", "/tmp/x-Q4_0.gguf", "a\\..\\x-Q5_0.gguf", "a/../../x-Q6_K.gguf"] {
        place.hub.add(REPO, name, "out");
    }
    for quant in ["Q8_0", "Q4_0", "Q5_0", "Q6_K"] {
        let error = place.fails(&format!("org/tiny:{quant}"), "is outside of the repository");
        assert!(matches!(error, Error::Answer { .. }));
    }
    assert_eq!(place.hub.log().len(), 4, "nothing but listings");
    let etags = ["../../x", "", "a/b", ".x"];
    for etag in etags {
        let place = Place::new();
        place.hub.twist(move |request, _, reply| match request.method == "HEAD" && reply.status == 302 {
            true => reply.header("X-Linked-Etag", etag),
            false => reply,
        });
        place.fails(REPO, "its ETag cannot be the name of a file");
    }
}

#[test]
fn a_file_of_unknown_size_is_refused() {
    let place = Place::new();
    place.hub.twist(|request, _, reply| match request.method == "HEAD" && reply.status == 302 {
        true => reply.header("X-Linked-Size", "many"),
        false => reply,
    });
    place.fails(REPO, "the file's size is missing");
}

#[test]
fn an_unusable_endpoint_is_named() {
    let place = Place::empty();
    let check = |endpoint: &str, part: &str| {
        let settings = Settings { endpoint: endpoint.into(), ..place.settings() };
        let error = place.locate_with(REPO, settings).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    check("http://127.0.0.1:1", "cannot reach 127.0.0.1");
    check("https://hub.invalid", "cannot reach hub.invalid");
    check("huggingface.co", "HF_ENDPOINT: `huggingface.co` is not an address");
    check("ftp://huggingface.co", "HF_ENDPOINT");
    check("https://me:hf_x@huggingface.co", "set HF_TOKEN instead");
}

#[test]
fn concurrent_runs_share_one_download() {
    let place = Place::new();
    place.hub.twist(|request, _, reply| {
        if request.is_content() {
            std::thread::sleep(Duration::from_millis(300));
        }
        reply
    });
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| is_whole(&place.locate(REPO).unwrap()));
        }
    });
    assert_eq!(place.hub.contents(), 1);
    let config = |it: &support::Request| it.method == "GET" && it.path.ends_with("/config.json");
    assert_eq!(place.hub.log().iter().filter(|it| config(it)).count(), 1);
}

#[test]
fn a_run_that_waits_for_another_says_so_and_continues_when_it_ends() {
    let place = Place::new();
    // To the lock, a file that is opened a second time is another process.
    let locks = place.dir.path().join("hub/.locks/models--org--tiny");
    fs::create_dir_all(&locks).unwrap();
    let held = fs::File::create(locks.join(format!("{}.lock", sha256(&weights())))).unwrap();
    held.lock().unwrap();
    let remarks = Remarks::default();
    let hub = Hub::new(place.settings()).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope
            .spawn(|| hub.locate(&Reference::parse(REPO).unwrap(), &remarks).map(|path| is_whole(&path)));
        while remarks.0.lock().unwrap().is_empty() {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!waiting.is_finished());
        drop(held);
        waiting.join().unwrap().unwrap();
    });
    let said = remarks.0.lock().unwrap().join("\n");
    assert_eq!(said, "another process is downloading model.safetensors: waiting for it");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_reported_as_such() {
    let place = Place::new();
    fs::create_dir_all(place.cached("blobs")).unwrap();
    // `/dev/full` is a disk without room for a single byte.
    std::os::unix::fs::symlink("/dev/full", place.incomplete()).unwrap();
    let error = place.fails(REPO, "No space left on device");
    assert!(matches!(error, Error::Write { .. }));
    assert!(fs::symlink_metadata(place.incomplete()).is_ok(), "what was there is still there");
    assert!(!place.cached("refs/main").exists());
}

#[test]
fn progress_adds_up_to_the_size() {
    #[derive(Default)]
    struct Sums(Mutex<(u64, i64, bool)>);
    impl Watch for Sums {
        fn begins(&self, bytes: u64) {
            self.0.lock().unwrap().0 += bytes;
        }
        fn moves(&self, bytes: i64) {
            self.0.lock().unwrap().1 += bytes;
        }
        fn ends(&self) {
            self.0.lock().unwrap().2 = true;
        }
    }
    let place = Place::new();
    let mut left = fs::File::create({
        fs::create_dir_all(place.cached("blobs")).unwrap();
        place.incomplete()
    })
    .unwrap();
    left.write_all(b"what something else has left").unwrap();
    let sums = Sums::default();
    Hub::new(place.settings()).unwrap().locate(&Reference::parse(REPO).unwrap(), &sums).unwrap();
    let (total, moved, ended) = *sums.0.lock().unwrap();
    assert_eq!((moved as u64, ended), (total, true));
    assert!(total > SIZE as u64);
}
