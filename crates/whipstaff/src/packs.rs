//! Where packed weights are kept between starts.

use std::env;
use std::path::{Path, PathBuf};
use whipstaff_engine::PackCache;

/// Where packed weights are kept, so that the next start need not pack them again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Packs {
    /// In the folder that `WHIPSTAFF_PACKS` names, else in the user's cache; nowhere if it says `off`.
    #[default]
    Environment,
    /// In this folder.
    Folder(PathBuf),
    /// Nowhere.
    Off,
}

impl Packs {
    /// Returns the folder; none if packs are not kept.
    pub fn folder(&self) -> Option<PathBuf> {
        match self {
            Packs::Environment => match variable("WHIPSTAFF_PACKS") {
                Some(off) if off == Path::new("off") => None,
                Some(folder) => Some(folder),
                None => user_cache().map(|cache| cache.join("packs")),
            },
            Packs::Folder(folder) => Some(folder.clone()),
            Packs::Off => None,
        }
    }

    /// Returns how many models have packs, and their bytes on the disk.
    pub fn held(&self) -> (usize, u64) {
        let entries = self.folder().and_then(|folder| std::fs::read_dir(folder).ok());
        let entries = entries.into_iter().flatten().flatten();
        let packs = entries.filter(|entry| entry.path().extension().is_some_and(|it| it == "pack"));
        packs
            .filter_map(|entry| entry.metadata().ok())
            .fold((0, 0), |(n, bytes), metadata| (n + 1, bytes + metadata.len()))
    }

    /// The engine's cache in that folder.
    pub(crate) fn cache(&self) -> Option<PackCache> {
        let folder = self.folder()?;
        let room = free_bytes(&folder).unwrap_or(u64::MAX);
        Some(PackCache::new(folder).with_room(room))
    }
}

/// Returns this library's folder in the user's cache; none without a home.
pub fn user_cache() -> Option<PathBuf> {
    // Relative paths in XDG variables are invalid by its specification.
    let cache = variable("XDG_CACHE_HOME").filter(|folder| folder.is_absolute());
    cache.or_else(|| variable("HOME").map(|home| home.join(".cache"))).map(|cache| cache.join("whipstaff"))
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// What the disk under a folder, which need not be there yet, has left.
#[cfg(unix)]
fn free_bytes(folder: &Path) -> Option<u64> {
    let existing = folder.ancestors().find(|it| it.exists())?;
    let of = rustix::fs::statvfs(existing).ok()?;
    Some(of.f_bavail.saturating_mul(of.f_frsize))
}

#[cfg(not(unix))]
fn free_bytes(_: &Path) -> Option<u64> {
    None
}
