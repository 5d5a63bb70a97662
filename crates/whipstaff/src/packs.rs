//! Where packed weights are kept between starts.

use std::env;
use std::path::{Path, PathBuf};
use whipstaff_engine::PackCache;

/// The folder that `WHIPSTAFF_PACKS` names, else one in the user's cache; none if it says `off`.
pub fn folder() -> Option<PathBuf> {
    match var("WHIPSTAFF_PACKS") {
        Some(off) if off == Path::new("off") => None,
        Some(dir) => Some(dir),
        None => user_cache().map(|cache| cache.join("packs")),
    }
}

/// The folder of this program in the user's cache.
pub fn user_cache() -> Option<PathBuf> {
    // Relative paths in XDG variables are invalid by its specification.
    let cache = var("XDG_CACHE_HOME").filter(|dir| dir.is_absolute());
    cache.or_else(|| var("HOME").map(|home| home.join(".cache"))).map(|cache| cache.join("whipstaff"))
}

fn var(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The packs in that folder.
pub fn cache() -> Option<PackCache> {
    let dir = folder()?;
    let room = free_bytes(&dir).unwrap_or(u64::MAX);
    Some(PackCache::new(dir).with_room(room))
}

/// Packs in a folder, and their bytes on the disk.
pub fn held(dir: &Path) -> (usize, u64) {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let packs = entries.filter(|entry| entry.path().extension().is_some_and(|it| it == "pack"));
    packs.filter_map(|entry| entry.metadata().ok()).fold((0, 0), |(n, bytes), it| (n + 1, bytes + it.len()))
}

/// What the disk under a folder, which need not be there yet, has left.
#[cfg(unix)]
fn free_bytes(dir: &Path) -> Option<u64> {
    let existing = dir.ancestors().find(|it| it.exists())?;
    let of = rustix::fs::statvfs(existing).ok()?;
    Some(of.f_bavail.saturating_mul(of.f_frsize))
}

#[cfg(not(unix))]
fn free_bytes(_: &Path) -> Option<u64> {
    None
}
