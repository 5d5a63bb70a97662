//! The download of one blob, which is locked, resumed, verified and moved into place.

use crate::api::{Facts, Subject};
use crate::cache::RepoCache;
use crate::client::{Answer, Client, Method};
use crate::error::Error;
use crate::patience::Failures;
use crate::reference::{FileName, Repo};
use crate::watch::Watch;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use whipstaff_disk::{hex, rename_synced};

/// The number of bytes that are read, hashed and written at a time.
const PIECE: usize = 256 << 10;

/// The number of new bytes that count as progress, after which earlier failures are forgotten.
const PROGRESS: u64 = 64 << 10;

/// A blob to download: its source, its destination and its watcher.
pub(crate) struct Download<'a> {
    pub(crate) client: &'a Client,
    pub(crate) cache: &'a RepoCache,
    pub(crate) repo: &'a Repo,
    pub(crate) commit: &'a str,
    pub(crate) file: &'a FileName,
    pub(crate) facts: &'a Facts,
    pub(crate) watch: &'a dyn Watch,
}

/// The reason why an attempt failed.
enum Trouble {
    /// The download ended early. The next attempt, or the next run, resumes it.
    Stopped(Error),
    /// The content on disk, or the content that arrives, is not the file.
    Wrong(Error),
}

impl Download<'_> {
    /// Brings the blob into the cache.
    ///
    /// Does nothing if the cache has the blob, or if another process downloads it while this one waits for the
    /// lock.
    pub(crate) fn run(&self) -> Result<(), Error> {
        let etag = &self.facts.etag;
        let _lock = self.cache.lock(etag, || {
            self.watch.remark(&format!("another process is downloading {}: waiting for it", self.file));
        })?;
        let (blob, path) = (self.cache.blob(etag), self.cache.incomplete(etag));
        if blob.is_file() {
            self.watch.moves(self.facts.size as i64);
            return Ok(());
        }
        let mut partial = Partial::open(path.clone(), self.facts)?;
        self.watch.moves(partial.have as i64);
        // Anything may have written the part on disk. If the file turns out wrong, it is fetched whole, once.
        let first = match self.fill(&mut partial) {
            Err(Trouble::Wrong(_)) if partial.is_pieced_together => {
                self.restart(&mut partial)?;
                self.fill(&mut partial)
            }
            other => other,
        };
        match first {
            Ok(()) => {}
            Err(Trouble::Stopped(error)) => return Err(error),
            Err(Trouble::Wrong(error)) => {
                self.watch.moves(-(partial.have as i64));
                let _ = fs::remove_file(&path);
                return Err(error);
            }
        }
        rename_synced(&partial.file, &path, &blob).map_err(|error| partial.failed(error.into()))
    }

    /// Repeats attempts until the file is whole, and then verifies its hash.
    fn fill(&self, partial: &mut Partial) -> Result<(), Trouble> {
        let mut failures = Failures::new(self.client.patience());
        let mut furthest = partial.have;
        while partial.have < self.facts.size {
            match self.attempt(partial) {
                Err(Trouble::Stopped(error)) => {
                    if partial.have >= furthest + PROGRESS {
                        furthest = partial.have;
                        failures.forget();
                    }
                    failures.pause_after(error).map_err(Trouble::Stopped)?;
                }
                other => other?,
            }
        }
        match partial.hasher.clone().verdict(&self.facts.etag) {
            Ok(()) => Ok(()),
            Err(reason) => Err(Trouble::Wrong(self.damaged(reason))),
        }
    }

    /// Sends one request for the missing bytes and receives the answer.
    fn attempt(&self, partial: &mut Partial) -> Result<(), Trouble> {
        let url = self.client.file_url(self.repo, self.commit, self.file);
        let answer = self.client.ask(&url, Method::Get { from: partial.have }).map_err(Trouble::Stopped)?;
        match answer.status {
            206 => {
                partial.is_pieced_together |= partial.have > 0;
                self.check_range(&answer, partial.have)?;
            }
            // The server ignores ranges and sends the whole file.
            200 => self.restart(partial).map_err(Trouble::Stopped)?,
            416 => {
                return Err(Trouble::Wrong(
                    self.damaged("the server has fewer bytes of it than the disk".into()),
                ));
            }
            _ => {
                let subject = Subject { repo: self.repo, revision: self.commit, file: Some(self.file) };
                let Err(error) = self.client.ok(answer, subject) else {
                    return Err(Trouble::Wrong(self.damaged("the answer has no content".into())));
                };
                return Err(Trouble::Stopped(error));
            }
        }
        self.receive(answer, partial)
    }

    /// Appends the content of an answer to the file, until the file is whole or the connection ends.
    fn receive(&self, answer: Answer, partial: &mut Partial) -> Result<(), Trouble> {
        let (size, host) = (self.facts.size, answer.host.clone());
        let mut content = answer.into_reader();
        let mut piece = vec![0; PIECE];
        loop {
            let n = match content.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                // A connection that was cut, timed out or reset has the same consequence.
                Err(_) => break,
            };
            if partial.have + n as u64 > size {
                return Err(Trouble::Wrong(self.damaged(format!("it is longer than {size} bytes"))));
            }
            partial.append(&piece[..n]).map_err(Trouble::Stopped)?;
            self.watch.moves(n as i64);
            if self.watch.is_stopped() {
                return Err(Trouble::Stopped(Error::Interrupted));
            }
        }
        if partial.have == size {
            return Ok(());
        }
        let (file, have) = (self.file.to_string(), partial.have);
        Err(Trouble::Stopped(Error::Cut { host, file, have, size }))
    }

    /// Checks that the answer has the range that was asked for.
    fn check_range(&self, answer: &Answer, have: u64) -> Result<(), Trouble> {
        let range = answer.header("content-range").unwrap_or_default();
        let size = self.facts.size;
        let right = [format!("bytes {have}-{}/{size}", size - 1), format!("bytes {have}-{}/*", size - 1)];
        if have > 0 && right.iter().any(|it| it == range) {
            return Ok(());
        }
        let reason =
            format!("the request was for byte {have} to the end of {size}, but the answer has `{range}`");
        Err(Trouble::Wrong(self.damaged(reason)))
    }

    fn restart(&self, partial: &mut Partial) -> Result<(), Error> {
        self.watch.moves(-(partial.have as i64));
        partial.empty(self.facts)
    }

    fn damaged(&self, reason: String) -> Error {
        Error::Damaged { host: self.client.host(), file: self.file.to_string(), reason }
    }
}

/// The part of a blob that has arrived, and its hash so far.
struct Partial {
    path: PathBuf,
    file: File,
    have: u64,
    hasher: Hasher,
    /// True unless all bytes came in one answer from one server.
    is_pieced_together: bool,
}

impl Partial {
    /// Opens the file and hashes the part that is on disk.
    fn open(path: PathBuf, facts: &Facts) -> Result<Partial, Error> {
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let file = file.map_err(|error| Error::write(&path, error))?;
        let on_disk = file.metadata().map_err(|source| Error::Read { path: path.clone(), source })?.len();
        let hasher = Hasher::new(facts);
        let mut partial = Partial { path, file, have: 0, hasher, is_pieced_together: false };
        if on_disk > facts.size {
            partial.empty(facts)?;
        } else if on_disk > 0 {
            partial.read(on_disk)?;
            partial.is_pieced_together = true;
        }
        Ok(partial)
    }

    /// Hashes the first `n` bytes of the file.
    fn read(&mut self, n: u64) -> Result<(), Error> {
        let mut piece = vec![0; PIECE];
        while self.have < n {
            let want = piece.len().min((n - self.have) as usize);
            let got = self.file.read(&mut piece[..want]);
            let got = got.map_err(|source| Error::Read { path: self.path.clone(), source })?;
            if got == 0 {
                break;
            }
            self.hasher.update(&piece[..got]);
            self.have += got as u64;
        }
        Ok(())
    }

    fn append(&mut self, piece: &[u8]) -> Result<(), Error> {
        self.file.write_all(piece).map_err(|error| self.failed(error))?;
        self.hasher.update(piece);
        self.have += piece.len() as u64;
        Ok(())
    }

    fn empty(&mut self, facts: &Facts) -> Result<(), Error> {
        if self.have > 0 || self.file.metadata().is_ok_and(|it| it.len() > 0) {
            let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
            emptied.map_err(|error| Error::write(&self.path, error))?;
        }
        (self.have, self.hasher, self.is_pieced_together) = (0, Hasher::new(facts), false);
        Ok(())
    }

    fn failed(&self, source: std::io::Error) -> Error {
        // A part of the last piece may have been written.
        let have = self.file.metadata().map_or(self.have, |it| it.len());
        Error::Write { path: self.path.clone(), source, have }
    }
}

/// The hash that the ETag contains: SHA-256 for large files, git's own hash for small ones.
///
/// Other ETags promise nothing about the content.
#[derive(Clone)]
enum Hasher {
    Sha256(Sha256),
    Git(Sha1),
    Unknown,
}

impl Hasher {
    fn new(facts: &Facts) -> Hasher {
        let is_hex = facts.etag.bytes().all(|b| b.is_ascii_hexdigit());
        match facts.etag.len() {
            64 if is_hex => Hasher::Sha256(Sha256::new()),
            40 if is_hex => Hasher::Git(Sha1::new_with_prefix(format!("blob {}\0", facts.size))),
            _ => Hasher::Unknown,
        }
    }

    fn update(&mut self, piece: &[u8]) {
        match self {
            Hasher::Sha256(hasher) => hasher.update(piece),
            Hasher::Git(hasher) => hasher.update(piece),
            Hasher::Unknown => {}
        }
    }

    /// Returns the reason why the hash does not match `etag`, or `Ok` if it matches.
    fn verdict(self, etag: &str) -> Result<(), String> {
        let (name, hash) = match self {
            Hasher::Sha256(hasher) => ("SHA-256", hex(&hasher.finalize())),
            Hasher::Git(hasher) => ("git hash", hex(&hasher.finalize())),
            Hasher::Unknown => return Ok(()),
        };
        if hash.eq_ignore_ascii_case(etag) {
            return Ok(());
        }
        Err(format!("its {name} is {hash}, not {etag}"))
    }
}
