//! Memory for packed weights: aligned to cache lines, on huge pages where the system has them.

use memmap2::MmapMut;
use std::alloc::{self, Layout};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice;

/// Bytes of a huge page. From this size on a buffer is a mapping of its own.
pub(crate) const HUGE_PAGE: usize = 2 << 20;

const CACHE_LINE: usize = 64;

/// Bytes that begin at a cache line, all zero when made.
pub(crate) enum Buffer {
    /// Large: its own mapping, advised to use huge pages. A decoded token walks through every
    /// weight once, and with 4 KB pages the walk is bound by address translation (29 GB/s against
    /// 37 on the machine where both were measured).
    Mapped(MmapMut),
    /// Small.
    Allocated(Lines),
}

impl Buffer {
    pub(crate) fn zeroed(len: usize) -> Buffer {
        if len >= HUGE_PAGE
            && let Ok(map) = MmapMut::map_anon(len)
        {
            // A system without huge pages says no, and small ones do.
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
            // SAFETY: so many bytes are there, all written.
            Buffer::Allocated(lines) => unsafe { slice::from_raw_parts(lines.start.as_ptr(), lines.len) },
        }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Buffer::Mapped(map) => map,
            // SAFETY: as above, and nobody else has them.
            Buffer::Allocated(lines) => unsafe { slice::from_raw_parts_mut(lines.start.as_ptr(), lines.len) },
        }
    }
}

/// An allocation of its own that begins at a cache line. Its length is what was asked for and not
/// whole lines, so that a sanitizer sees whoever reads past the end (`tools/sanitize.sh`).
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
        // SAFETY: allocated with this layout, and nobody has it any more.
        unsafe { alloc::dealloc(self.start.as_ptr(), self.layout) }
    }
}

// SAFETY: it owns its bytes, which are read through `&` and written through `&mut` alone.
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
