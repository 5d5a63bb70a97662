//! Memory for packed weights, and for keys and values: aligned to cache lines, on huge pages where the system
//! has them.

use memmap2::MmapMut;
use std::alloc::{self, Layout};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice;

/// The bytes of a huge page. From this size on a buffer is a mapping of its own.
pub(crate) const HUGE_PAGE: usize = 2 << 20;

const CACHE_LINE: usize = 64;

/// Bytes that begin at a cache line, all zero when made.
pub(crate) enum Buffer {
    /// A large buffer: a mapping of its own, advised to use huge pages. A decoded token walks through every
    /// weight once, and with 4 KB pages the walk is bound by address translation (29 GB/s instead of 37 on
    /// the machine where both were measured).
    Mapped(MmapMut),
    /// A small buffer.
    Allocated(Lines),
}

impl Buffer {
    /// Makes a buffer of `len` zeros.
    pub(crate) fn zeroed(len: usize) -> Buffer {
        if len >= HUGE_PAGE
            && let Ok(map) = MmapMut::map_anon(len)
        {
            // A system without huge pages refuses, and small pages serve.
            #[cfg(target_os = "linux")]
            let _ = map.advise(memmap2::Advice::HugePage);
            return Buffer::Mapped(map);
        }
        Buffer::Allocated(Lines::zeroed(len))
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Buffer::Mapped(map) => map,
            // SAFETY: `len` bytes are there, all written.
            Buffer::Allocated(lines) => unsafe { slice::from_raw_parts(lines.start.as_ptr(), lines.len) },
        }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Buffer::Mapped(map) => map,
            // SAFETY: as above, and `&mut self` is the only way to them.
            Buffer::Allocated(lines) => unsafe { slice::from_raw_parts_mut(lines.start.as_ptr(), lines.len) },
        }
    }
}

/// An allocation that begins at a cache line. Its length is what was asked for, and not whole lines, so that
/// a sanitizer notices reads past the end (`tools/sanitize.sh`).
pub(crate) struct Lines {
    start: NonNull<u8>,
    len: usize,
    layout: Layout,
}

impl Lines {
    fn zeroed(len: usize) -> Lines {
        let layout = Layout::from_size_align(len.max(1), CACHE_LINE).expect("a buffer that can exist");
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { alloc::alloc_zeroed(layout) });
        Lines { start: start.unwrap_or_else(|| alloc::handle_alloc_error(layout)), len, layout }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // SAFETY: the bytes were allocated with this layout, and nobody uses them any more.
        unsafe { alloc::dealloc(self.start.as_ptr(), self.layout) }
    }
}

// SAFETY: the value owns its bytes, which are read only through `&` and written only through `&mut`.
unsafe impl Send for Lines {}
// SAFETY: as above.
unsafe impl Sync for Lines {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_of_any_length_is_zero_and_begins_at_a_cache_line() {
        for len in [0, 1, 63, 64, 65, 4096, HUGE_PAGE - 1, HUGE_PAGE, HUGE_PAGE + 1] {
            let mut buffer = Buffer::zeroed(len);
            assert_eq!(buffer.len(), len);
            assert!(buffer.iter().all(|byte| *byte == 0));
            assert!(buffer.as_ptr().addr().is_multiple_of(CACHE_LINE));
            buffer.fill(7);
            assert_eq!(buffer.iter().map(|byte| usize::from(*byte)).sum::<usize>(), 7 * len);
        }
    }
}
