//! Slices that several threads write to, each its own part.

use std::marker::PhantomData;

/// A slice cut into equal chunks that can be taken from several threads.
pub(crate) struct Chunks<'a, T> {
    start: *mut T,
    len: usize,
    chunk: usize,
    of: PhantomData<&'a mut [T]>,
}

// SAFETY: it only hands out what its users promise to take once.
unsafe impl<T: Send> Sync for Chunks<'_, T> {}

impl<'a, T> Chunks<'a, T> {
    /// Chunks of `chunk` elements; the last may be shorter.
    pub(crate) fn new(slice: &'a mut [T], chunk: usize) -> Chunks<'a, T> {
        Chunks { start: slice.as_mut_ptr(), len: slice.len(), chunk, of: PhantomData }
    }

    /// Chunk `i`.
    ///
    /// # Safety
    /// No two calls with the same `i` may have their results alive together.
    ///
    /// # Panics
    /// If there is no chunk `i`.
    #[allow(clippy::mut_from_ref)] // exclusive by the caller's promise
    pub(crate) unsafe fn get(&self, i: usize) -> &'a mut [T] {
        let start = i * self.chunk;
        assert!(start <= self.len, "chunk {i} is outside");
        let len = self.chunk.min(self.len - start);
        // SAFETY: in range, and nobody else has it.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }

    /// The whole slice as a pointer, for writers whose parts are not contiguous.
    pub(crate) fn as_ptr(&self) -> *mut T {
        self.start
    }
}
