//! Bytes that outlive the file handle they came from: a mapped file, a static, or a vector.

use std::{fs::File, io, ops::Deref, path::Path, sync::Arc};

/// Read-only bytes that clones share; cloning never copies them.
#[derive(Clone)]
pub struct Bytes(Arc<Source>);

enum Source {
    Mapped(memmap2::Mmap),
    Static(&'static [u8]),
    Owned(Vec<u8>),
}

impl Bytes {
    /// Maps a file into memory. Nothing is read until it is touched, and the pages stay shared with the page
    /// cache and other processes. An empty file gives empty bytes.
    ///
    /// # Errors
    /// Returns the error that opening or mapping the file reports.
    pub fn map(path: &Path) -> io::Result<Bytes> {
        let file = File::open(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(Bytes::from(Vec::new()));
        }
        // SAFETY: the mapping is private and read-only. Another process that truncates or rewrites the file
        // meanwhile can still change what is read here, or raise SIGBUS. A mapped file cannot rule that out,
        // and every runtime that maps its weights accepts it.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        Ok(Bytes(Arc::new(Source::Mapped(map))))
    }

    /// Maps `len` bytes of a file from `start` on, in huge pages where the system holds the file in huge
    /// pages. `start` is a multiple of the page size.
    ///
    /// # Errors
    /// Returns the error that mapping reports, and [`io::ErrorKind::UnexpectedEof`] if the file is too short.
    pub fn map_part(file: &File, start: u64, len: usize) -> io::Result<Bytes> {
        let file_len = file.metadata().map_or(0, |it| it.len());
        if start.checked_add(len as u64).is_none_or(|end| end > file_len) {
            let message =
                format!("{len} bytes from byte {start} on do not lie in a file of {file_len} bytes");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        // SAFETY: as in `map`.
        let map = unsafe { memmap2::MmapOptions::new().offset(start).len(len).map(file)? };
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Ok(Bytes(Arc::new(Source::Mapped(map))))
    }
}

impl Bytes {
    /// Tells the system that `range` will not be read for a while. The pages of a mapped file that lie wholly
    /// inside `range` leave this process's memory, but not the page cache, and come back when touched.
    pub fn release(&self, range: std::ops::Range<usize>) {
        #[cfg(unix)]
        if let Source::Mapped(map) = &*self.0 {
            const PAGE: usize = 4096;
            let start = range.start.next_multiple_of(PAGE);
            let end = range.end.min(map.len()) / PAGE * PAGE;
            if start < end {
                let advice = memmap2::UncheckedAdvice::DontNeed;
                // SAFETY: the mapping is of a file, shared and read-only, so its pages read the same when
                // they come back.
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
