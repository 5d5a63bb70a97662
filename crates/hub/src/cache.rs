//! The hub cache, in the layout and under the locks of the Python tools.
//!
//! ```text
//! .locks/models--org--name/ETAG.lock
//! models--org--name/
//!     blobs/ETAG                       the content, once for all revisions
//!     blobs/ETAG.incomplete            the part of the content that has arrived
//!     refs/main                        a commit
//!     snapshots/COMMIT/config.json     a relative link to ../../blobs/ETAG
//!     .no_exist/COMMIT/FILE            empty: the repository has no such file
//! ```

use crate::error::Error;
use crate::reference::{FileName, Repo};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use whipstaff_disk::{make_beside, write_atomically};

/// The folder of one repository in the cache.
pub(crate) struct RepoCache {
    dir: PathBuf,
    locks: PathBuf,
}

impl RepoCache {
    pub(crate) fn new(cache: &Path, repo: &Repo) -> RepoCache {
        RepoCache { dir: cache.join(repo.folder()), locks: cache.join(".locks").join(repo.folder()) }
    }

    /// Returns the commit that a revision stands for, if the cache has a snapshot of it.
    pub(crate) fn commit(&self, revision: &str) -> Option<String> {
        let commit = match fs::read_to_string(self.dir.join("refs").join(revision)) {
            Ok(commit) => commit.trim().to_owned(),
            Err(_) => revision.to_owned(),
        };
        // The commit becomes part of a path, and the file may hold anything.
        let is_name = FileName::new(&commit).is_some() && !commit.contains('/');
        (is_name && self.snapshot(&commit).is_dir()).then_some(commit)
    }

    /// Returns the folder of a snapshot.
    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.dir.join("snapshots").join(commit)
    }

    /// Returns the path of a file in a snapshot, if the file and its content exist.
    pub(crate) fn file(&self, commit: &str, name: &FileName) -> Option<PathBuf> {
        let path = self.snapshot(commit).join(name.as_str());
        path.is_file().then_some(path)
    }

    /// Lists the files of a snapshot with their folders, sorted by name.
    pub(crate) fn files(&self, commit: &str) -> Vec<String> {
        let snapshot = self.snapshot(commit);
        let mut names = Vec::new();
        let mut folders = vec![snapshot.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if entry.file_type().is_ok_and(|it| it.is_dir()) {
                    folders.push(path);
                } else if let (true, Ok(name)) = (path.is_file(), path.strip_prefix(&snapshot)) {
                    names.extend(name.to_str().map(str::to_owned));
                }
            }
        }
        names.sort();
        names
    }

    /// Returns true if the cache has noted that the repository has no such file.
    pub(crate) fn is_absent(&self, commit: &str, name: &FileName) -> bool {
        self.absent(commit, name).exists()
    }

    /// Returns the path of a blob.
    pub(crate) fn blob(&self, etag: &str) -> PathBuf {
        self.dir.join("blobs").join(etag)
    }

    /// Returns the path of a blob that has arrived in part.
    pub(crate) fn incomplete(&self, etag: &str) -> PathBuf {
        self.dir.join("blobs").join(format!("{etag}.incomplete"))
    }

    /// Locks a blob, and calls `waiting` first if another process holds the lock.
    ///
    /// The Python tools respect the same lock. The system releases it when the process ends for any reason.
    pub(crate) fn lock(&self, etag: &str, waiting: impl FnOnce()) -> Result<File, Error> {
        let path = self.locks.join(format!("{etag}.lock"));
        make_folder(&self.locks)?;
        make_folder(&self.dir.join("blobs"))?;
        let failed = |error| Error::write(&path, error);
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                waiting();
                file.lock().map_err(failed)?;
            }
            // Some file systems have no locks. The hash would reveal two writers at once.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        Ok(file)
    }

    /// Links a blob into a snapshot as the file `name`.
    pub(crate) fn link(&self, commit: &str, name: &FileName, etag: &str) -> Result<(), Error> {
        let path = self.snapshot(commit).join(name.as_str());
        let folder = path.parent().expect("a file is in a folder");
        make_folder(folder)?;
        let up = "../".repeat(2 + name.as_str().matches('/').count());
        let (target, blob) = (format!("{up}blobs/{etag}"), self.blob(etag));
        // A copy is the last resort, where the file system has no links.
        let link = |at: &Path| {
            symlink(&target, at).or_else(|_| fs::hard_link(&blob, at)).or_else(|_| copy(&blob, at))
        };
        Ok(make_beside(&path, link)?)
    }

    /// Notes which commit a revision stands for.
    pub(crate) fn set_commit(&self, revision: &str, commit: &str) -> Result<(), Error> {
        if revision == commit {
            return Ok(());
        }
        write(&self.dir.join("refs").join(revision), commit.as_bytes())
    }

    /// Notes that the repository has no such file.
    pub(crate) fn set_absent(&self, commit: &str, name: &FileName) -> Result<(), Error> {
        write(&self.absent(commit, name), b"")
    }

    fn absent(&self, commit: &str, name: &FileName) -> PathBuf {
        self.dir.join(".no_exist").join(commit).join(name.as_str())
    }
}

fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    let folder = path.parent().expect("a file is in a folder");
    make_folder(folder)?;
    Ok(write_atomically(path, content)?)
}

fn make_folder(folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(|error| Error::write(folder, error))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to).map(drop)
}

#[cfg(unix)]
fn symlink(target: &str, at: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, at)
}

#[cfg(windows)]
fn symlink(target: &str, at: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target.replace('/', "\\"), at)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_: &str, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
