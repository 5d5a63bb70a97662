//! Bytes that outlive the file handle they came from: a mapped file, a static, or a vector.

use std::{fs::File, io, ops::Deref, path::Path, sync::Arc};

/// Shared read-only bytes. Cloning shares, it never copies.
#[derive(Clone)]
pub struct Bytes(Arc<Source>);

enum Source {
    Mapped(memmap2::Mmap),
    Static(&'static [u8]),
    Owned(Vec<u8>),
}

impl Bytes {
    /// Maps a file into memory. Nothing is read until it is touched, and the pages stay shared
    /// with the page cache and other processes.
    ///
    /// # Errors
    /// Whatever opening or mapping the file reports. An empty file gives empty bytes.
    pub fn map(path: &Path) -> io::Result<Bytes> {
        let file = File::open(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(Bytes::from(Vec::new()));
        }
        // SAFETY: the mapping is private and read-only. Another process that truncates or rewrites
        // the file while we run can still change what we read (or raise SIGBUS): the one thing that
        // a mapped file cannot rule out, accepted by every runtime that maps its weights.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        Ok(Bytes(Arc::new(Source::Mapped(map))))
    }

    /// Maps `len` bytes of a file from `start` on, a multiple of the page size; in huge pages, where the
    /// system has the file in such.
    ///
    /// # Errors
    /// Whatever mapping reports; a file that is too short for it.
    pub fn map_part(file: &File, start: u64, len: usize) -> io::Result<Bytes> {
        if start.checked_add(len as u64).is_none_or(|end| end > file.metadata().map_or(0, |it| it.len())) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends before"));
        }
        // SAFETY: as in `map`.
        let map = unsafe { memmap2::MmapOptions::new().offset(start).len(len).map(file)? };
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Ok(Bytes(Arc::new(Source::Mapped(map))))
    }
}

impl Bytes {
    /// Says that `range` will not be read for a while: the pages of a mapped file that lie wholly
    /// inside it leave this process's memory (not the page cache) and come back when touched.
    pub fn release(&self, range: std::ops::Range<usize>) {
        #[cfg(unix)]
        if let Source::Mapped(map) = &*self.0 {
            const PAGE: usize = 4096;
            let start = range.start.next_multiple_of(PAGE);
            let end = range.end.min(map.len()) / PAGE * PAGE;
            if start < end {
                let advice = memmap2::UncheckedAdvice::DontNeed;
                // SAFETY: the mapping is of a file, shared and read-only: its pages read the same
                // when they come back.
                let _ = unsafe { map.unchecked_advise_range(advice, start, end - start) };
            }
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &*self.0 {
            Source::Mapped(map) => map,
            Source::Static(bytes) => bytes,
            Source::Owned(bytes) => bytes,
        }
    }
}

impl From<&'static [u8]> for Bytes {
    fn from(bytes: &'static [u8]) -> Bytes {
        Bytes(Arc::new(Source::Static(bytes)))
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        Bytes(Arc::new(Source::Owned(bytes)))
    }
}
