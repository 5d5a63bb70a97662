//! From a reference to a path: what the cache has, and what is missing.

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

/// Files that are asked for at the same time.
const CONNECTIONS: usize = 4;

/// The models of a hub, and of the cache on this machine.
pub struct Hub {
    settings: Settings,
    client: Client,
}

/// What the cache has of a model.
enum Cached {
    /// All that could be there.
    Whole(PathBuf),
    /// All that is needed; nobody has looked yet whether the repository has more.
    Enough(PathBuf),
    /// Not enough.
    Nothing,
}

impl Hub {
    /// Asks nobody anything yet.
    ///
    /// # Errors
    /// [`Error::Setting`] for an endpoint that is no address.
    pub fn new(settings: Settings) -> Result<Hub, Error> {
        Ok(Hub { client: Client::new(&settings)?, settings })
    }

    /// The folder of a checkpoint, or the GGUF file (of several shards, the first). What is in the cache is
    /// taken as it is, without asking whether the hub has a newer one; what is missing is downloaded.
    ///
    /// # Errors
    /// Every way in which a network, a server or a disk can fail: see [`Error`].
    pub fn locate(&self, reference: &Reference, watch: &dyn Watch) -> Result<PathBuf, Error> {
        let cached = self.cached(reference);
        match cached {
            Cached::Whole(path) => Ok(path),
            Cached::Enough(path) if self.settings.offline => Ok(path),
            Cached::Nothing if self.settings.offline => {
                Err(Error::Offline { what: reference.to_string(), cache: self.settings.cache.clone() })
            }
            Cached::Enough(path) => match self.fetch(reference, watch) {
                Err(error @ (Error::Network { .. } | Error::Busy { .. })) => {
                    watch.remark(&format!(
                        "{error}; going on with what the local hub cache has of {reference}"
                    ));
                    Ok(path)
                }
                fetched => fetched,
            },
            Cached::Nothing => self.fetch(reference, watch),
        }
    }

    fn cache(&self, repo: &Repo) -> RepoCache {
        RepoCache::new(&self.settings.cache, repo)
    }

    fn cached(&self, reference: &Reference) -> Cached {
        let cache = self.cache(&reference.repo);
        let Some(commit) = cache.commit(reference.revision()) else { return Cached::Nothing };
        let names = match &reference.part {
            Part::Checkpoint => return cached_checkpoint(&cache, &commit),
            Part::File(name) => choose::with_shards(&cache.files(&commit), name.as_str()),
            // Offline, the only one that could be meant is; otherwise the hub may have another.
            Part::Quant(quant) => match choose::quant(&cache.files(&commit), quant, !self.settings.offline) {
                Match::One(names) => Some(names),
                _ => None,
            },
        };
        match names.filter(|names| are_all_shards(names)) {
            Some(names) => Cached::Whole(cache.snapshot(&commit).join(&names[0])),
            None => Cached::Nothing,
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
        // Only now: until here, the revision was what is whole in the cache.
        fetch.cache.set_commit(revision, &listing.commit)?;
        Ok(path)
    }
}

fn cached_checkpoint(cache: &RepoCache, commit: &str) -> Cached {
    let has = |name: &FileName| cache.file(commit, name).is_some();
    let has_shards = || {
        let index = std::fs::read(cache.file(commit, &known(INDEX))?).ok()?;
        Some(choose::shards(&index).ok()?.iter().all(has))
    };
    if !has(&known(CONFIG)) || !(has(&known(WEIGHTS)) || has_shards() == Some(true)) {
        return Cached::Nothing;
    }
    let settled = |name: &FileName| has(name) || cache.is_absent(commit, name);
    let path = cache.snapshot(commit);
    if EXTRAS.map(known).iter().all(settled) { Cached::Whole(path) } else { Cached::Enough(path) }
}

/// Is the number of shards that the first one's name promises there?
fn are_all_shards(names: &[String]) -> bool {
    let promised = || names[0].rsplit_once("-of-")?.1.get(..5)?.parse::<usize>().ok();
    promised().is_none_or(|n| n == names.len())
}

/// One model on its way into the cache.
struct Fetch<'a> {
    hub: &'a Hub,
    repo: &'a Repo,
    cache: RepoCache,
    listing: &'a Listing,
    watch: &'a dyn Watch,
}

impl Fetch<'_> {
    /// Config, weights, and what belongs to them.
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

    /// The shards that the index names, which is there by now.
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

    /// The one GGUF model that carries `quant` in its name.
    fn quant(&self, quant: &str) -> Result<Vec<String>, Error> {
        let (repo, quant_name) = (self.repo.to_string(), quant.to_owned());
        match choose::quant(&self.listing.files, quant, false) {
            Match::One(names) => Ok(names),
            Match::None(files) => Err(Error::NoSuchQuant { repo, quant: quant_name, files }),
            Match::Many(files) => Err(Error::AmbiguousQuant { repo, quant: quant_name, files }),
        }
    }

    /// The GGUF model of this name.
    fn named(&self, name: &FileName) -> Result<Vec<String>, Error> {
        let there = self.has(name.as_str()).then(|| {
            // A name that is no model's, such as a projector's, is still a file.
            choose::with_shards(&self.listing.files, name.as_str()).unwrap_or_else(|| vec![name.to_string()])
        });
        there.ok_or_else(|| Error::NoSuchFile {
            repo: self.repo.to_string(),
            file: name.to_string(),
            files: choose::gguf_names(&self.listing.files),
        })
    }

    fn gguf(&self, names: Vec<String>) -> Result<PathBuf, Error> {
        let outside = |name: &str| {
            self.wrong("its files", format!("`{}` is outside of the repository", name.escape_debug()))
        };
        let names = names.iter().map(|it| FileName::new(it).ok_or_else(|| outside(it)));
        let names = names.collect::<Result<Vec<_>, _>>()?;
        self.bring(&names)?;
        Ok(self.cache.snapshot(&self.listing.commit).join(names[0].as_str()))
    }

    /// Downloads those files that the snapshot does not have.
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

    /// Why there is no checkpoint here.
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

/// Does something to each, a few at a time; after a failure nothing new is begun.
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
