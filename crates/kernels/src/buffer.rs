//! Memory for packed weights: aligned to cache lines, on huge pages where the system has them.

use memmap2::MmapMut;
use std::ops::{Deref, DerefMut};

/// Bytes of a huge page. From this size on a buffer is a mapping of its own.
pub(crate) const HUGE_PAGE: usize = 2 << 20;

/// Bytes that begin at a cache line, all zero when made.
pub(crate) enum Buffer {
    /// Large: its own mapping, advised to use huge pages. A decoded token walks through every
    /// weight once, and with 4 KB pages the walk is bound by address translation (29 GB/s against
    /// 37 on the machine where both were measured).
    Mapped(MmapMut),
    /// Small.
    Lines(Vec<Line>, usize),
}

/// A cache line.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Line([u8; 64]);

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
        Buffer::Lines(vec![Line([0; 64]); len.div_ceil(64)], len)
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Buffer::Mapped(map) => map,
            Buffer::Lines(lines, len) => &bytemuck::cast_slice(lines)[..*len],
        }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Buffer::Mapped(map) => map,
            Buffer::Lines(lines, len) => &mut bytemuck::cast_slice_mut(lines)[..*len],
        }
    }
}
