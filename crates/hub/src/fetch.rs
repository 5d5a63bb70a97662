//! The way from a reference to a path: the cache is searched, and missing files are downloaded.

use crate::api::Listing;
use crate::cache::RepoCache;
use crate::choose::{self, CONFIG, EXTRAS, INDEX, Match, WEIGHTS, known};
use crate::client::Client;
use crate::download::Download;
use crate::error::Error;
use crate::reference::{FileName, Part, Reference, Repo};
use crate::settings::Settings;
use crate::watch::Watch;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The number of files that are downloaded at the same time.
const CONNECTIONS: usize = 4;

/// A hub and the cache on this machine, from which models are located.
pub struct Hub {
    settings: Settings,
    client: Client,
}

/// How much of a model the cache has.
enum CacheState {
    /// The cache has every file that the model may consist of.
    Whole(PathBuf),
    /// The cache has the files that are needed. The repository may have more.
    Enough(PathBuf),
    /// The cache lacks files that are needed.
    Nothing,
}

impl Hub {
    /// Makes a hub without sending a request.
    ///
    /// # Errors
    /// [`Error::Setting`] for an endpoint that is not a plain address.
    pub fn new(settings: Settings) -> Result<Hub, Error> {
        Ok(Hub { client: Client::new(&settings)?, settings })
    }

    /// Returns the folder of a checkpoint, or the path of a GGUF file (of several shards, the first).
    ///
    /// Files in the cache are used as they are, without asking the hub for newer ones. Missing files are
    /// downloaded.
    ///
    /// # Errors
    /// Every way in which a network, a server or a disk can fail: see [`Error`].
    pub fn locate(&self, reference: &Reference, watch: &dyn Watch) -> Result<PathBuf, Error> {
        let cached = self.cached(reference);
        match cached {
            CacheState::Whole(path) => Ok(path),
            CacheState::Enough(path) if self.settings.offline => Ok(path),
            CacheState::Nothing if self.settings.offline => {
                Err(Error::Offline { what: reference.to_string(), cache: self.settings.cache.clone() })
            }
            CacheState::Enough(path) => match self.fetch(reference, watch) {
                Err(error @ (Error::Network { .. } | Error::Busy { .. })) => {
                    watch.remark(&format!(
                        "{error}; continuing with what the local hub cache has of {reference}"
                    ));
                    Ok(path)
                }
                fetched => fetched,
            },
            CacheState::Nothing => self.fetch(reference, watch),
        }
    }

    fn cache(&self, repo: &Repo) -> RepoCache {
        RepoCache::new(&self.settings.cache, repo)
    }

    fn cached(&self, reference: &Reference) -> CacheState {
        let cache = self.cache(&reference.repo);
        let Some(commit) = cache.commit(reference.revision()) else { return CacheState::Nothing };
        let names = match &reference.part {
            Part::Checkpoint => return cached_checkpoint(&cache, &commit),
            Part::File(name) => choose::with_shards(&cache.files(&commit), name.as_str()),
            // Offline, a part of a word is enough to find a file. Online, the hub may have a better match.
            Part::Quant(quant) => match choose::quant(&cache.files(&commit), quant, !self.settings.offline) {
                Match::One(names) => Some(names),
                _ => None,
            },
        };
        match names.filter(|names| are_all_shards(names)) {
            Some(names) => CacheState::Whole(cache.snapshot(&commit).join(&names[0])),
            None => CacheState::Nothing,
        }
    }

    fn fetch(&self, reference: &Reference, watch: &dyn Watch) -> Result<PathBuf, Error> {
        let (repo, revision) = (&reference.repo, reference.revision());
        let listing = self.client.listing(repo, revision)?;
        let fetch = Fetch { hub: self, repo, cache: self.cache(repo), listing: &listing, watch };
        let path = match &reference.part {
            Part::Checkpoint => fetch.checkpoint()?,
            Part::Quant(quant) => fetch.gguf(fetch.quant(quant)?)?,
            Part::File(name) => fetch.gguf(fetch.named(name)?)?,
        };
        // Only a whole snapshot may replace the one that the revision stood for.
        fetch.cache.set_commit(revision, &listing.commit)?;
        Ok(path)
    }
}

fn cached_checkpoint(cache: &RepoCache, commit: &str) -> CacheState {
    let has = |name: &FileName| cache.file(commit, name).is_some();
    let has_shards = || {
        let index = std::fs::read(cache.file(commit, &known(INDEX))?).ok()?;
        Some(choose::shards(&index).ok()?.iter().all(has))
    };
    if !has(&known(CONFIG)) || !(has(&known(WEIGHTS)) || has_shards() == Some(true)) {
        return CacheState::Nothing;
    }
    let settled = |name: &FileName| has(name) || cache.is_absent(commit, name);
    let path = cache.snapshot(commit);
    if EXTRAS.map(known).iter().all(settled) { CacheState::Whole(path) } else { CacheState::Enough(path) }
}

/// Returns true if there are as many shards as the first one's name promises.
fn are_all_shards(names: &[String]) -> bool {
    let promised = || names[0].rsplit_once("-of-")?.1.get(..5)?.parse::<usize>().ok();
    promised().is_none_or(|n| n == names.len())
}

/// One model that is brought into the cache.
struct Fetch<'a> {
    hub: &'a Hub,
    repo: &'a Repo,
    cache: RepoCache,
    listing: &'a Listing,
    watch: &'a dyn Watch,
}

impl Fetch<'_> {
    /// Brings the config, the weights and the files that belong to them, and returns their folder.
    fn checkpoint(&self) -> Result<PathBuf, Error> {
        let commit = &self.listing.commit;
        if !self.has(CONFIG) || !(self.has(WEIGHTS) || self.has(INDEX)) {
            return Err(self.no_weights());
        }
        let mut wanted = vec![known(CONFIG)];
        for name in EXTRAS {
            if self.has(name) {
                wanted.push(known(name));
            } else {
                self.cache.set_absent(commit, &known(name))?;
            }
        }
        if self.has(WEIGHTS) {
            wanted.push(known(WEIGHTS));
        } else {
            self.bring(&[known(INDEX)])?;
            wanted.extend(self.shards()?);
        }
        self.bring(&wanted)?;
        Ok(self.cache.snapshot(commit))
    }

    /// Reads the names of the shards from the index, which the snapshot has by now.
    fn shards(&self) -> Result<Vec<FileName>, Error> {
        let path = self.cache.snapshot(&self.listing.commit).join(INDEX);
        let index = std::fs::read(&path).map_err(|source| Error::Read { path, source })?;
        let shards = choose::shards(&index).map_err(|reason| self.wrong(INDEX, reason))?;
        match shards.iter().find(|it| !self.has(it.as_str())) {
            Some(missing) => {
                Err(self.wrong(INDEX, format!("it names {missing}, which the repository does not have")))
            }
            None => Ok(shards),
        }
    }

    /// Returns the files of the one GGUF model that carries `quant` in its name.
    fn quant(&self, quant: &str) -> Result<Vec<String>, Error> {
        let (repo, quant_name) = (self.repo.to_string(), quant.to_owned());
        match choose::quant(&self.listing.files, quant, false) {
            Match::One(names) => Ok(names),
            Match::None(files) => Err(Error::NoSuchQuant { repo, quant: quant_name, files }),
            Match::Many(files) => Err(Error::AmbiguousQuant { repo, quant: quant_name, files }),
        }
    }

    /// Returns the files of the GGUF model with this name.
    fn named(&self, name: &FileName) -> Result<Vec<String>, Error> {
        let there = self.has(name.as_str()).then(|| {
            // A file that is no model, such as a projector, has no shards.
            choose::with_shards(&self.listing.files, name.as_str()).unwrap_or_else(|| vec![name.to_string()])
        });
        there.ok_or_else(|| Error::NoSuchFile {
            repo: self.repo.to_string(),
            file: name.to_string(),
            files: choose::gguf_names(&self.listing.files),
        })
    }

    /// Brings the files of a GGUF model, and returns the path of the first.
    fn gguf(&self, names: Vec<String>) -> Result<PathBuf, Error> {
        let outside = |name: &str| {
            self.wrong("its files", format!("`{}` is outside of the repository", name.escape_debug()))
        };
        let names = names.iter().map(|it| FileName::new(it).ok_or_else(|| outside(it)));
        let names = names.collect::<Result<Vec<_>, _>>()?;
        self.bring(&names)?;
        Ok(self.cache.snapshot(&self.listing.commit).join(names[0].as_str()))
    }

    /// Downloads the files that the snapshot does not have.
    fn bring(&self, names: &[FileName]) -> Result<(), Error> {
        let commit = &self.listing.commit;
        let missing: Vec<_> = names.iter().filter(|name| self.cache.file(commit, name).is_none()).collect();
        let client = &self.hub.client;
        let facts = in_parallel(&missing, |name| client.facts(self.repo, commit, name))?;
        if missing.is_empty() {
            return Ok(());
        }
        self.watch.begins(facts.iter().map(|it| it.size).sum());
        let jobs: Vec<_> = missing.iter().zip(&facts).collect();
        let brought = in_parallel(&jobs, |(file, facts)| {
            let (cache, repo, watch) = (&self.cache, self.repo, self.watch);
            Download { client, cache, repo, commit, file, facts, watch }.run()?;
            cache.link(commit, file, &facts.etag)
        });
        self.watch.ends();
        brought.map(drop)
    }

    fn has(&self, name: &str) -> bool {
        self.listing.files.iter().any(|it| it == name)
    }

    /// Returns the error for a repository without a checkpoint.
    fn no_weights(&self) -> Error {
        let files = choose::gguf_names(&self.listing.files);
        let is_pickle = |it: &String| [".bin", ".pt", ".pth", ".pkl"].iter().any(|end| it.ends_with(end));
        let repo = self.repo;
        let reason = if !files.is_empty() {
            format!(
                "is not a safetensors checkpoint but has GGUF files: name one, as {repo}:Q4_K_M or {repo}/FILE"
            )
        } else if self.has(CONFIG) && self.listing.files.iter().any(is_pickle) {
            "has its weights only as pickles, which can run code when they are read and are never loaded: look for a \
             copy in safetensors or GGUF"
                .into()
        } else if self.has(CONFIG) {
            format!("has neither {WEIGHTS} nor {INDEX}")
        } else {
            format!("has no {CONFIG}: it is not a model for transformers")
        };
        Error::NoWeights { repo: repo.to_string(), reason, files }
    }

    fn wrong(&self, what: &str, reason: String) -> Error {
        Error::Answer { host: self.hub.client.host(), what: format!("{} ({what})", self.repo), reason }
    }
}

/// Does `work` on each item, a few at a time. After a failure, no new item is begun.
fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, Error> + Sync,
) -> Result<Vec<R>, Error> {
    let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
    let results: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).collect();
    let worker = || {
        while let Some(i) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|i| *i < items.len()) {
            match work(&items[i]) {
                Ok(result) => *results[i].lock().expect("no one panics here") = Some(result),
                Err(error) => {
                    next.store(items.len(), Ordering::Relaxed);
                    failure.lock().expect("no one panics here").get_or_insert(error);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS.min(items.len()) {
            scope.spawn(worker);
        }
    });
    match failure.into_inner().expect("no one panics here") {
        Some(error) => Err(error),
        None => {
            Ok(results.into_iter().filter_map(|it| it.into_inner().expect("no one panics here")).collect())
        }
    }
}
