//! Slices that several threads write to, each thread to a part of its own.

use std::marker::PhantomData;

/// A slice cut into equal chunks, which several threads can take.
pub(crate) struct Chunks<'a, T> {
    start: *mut T,
    len: usize,
    chunk: usize,
    of: PhantomData<&'a mut [T]>,
}

// SAFETY: users promise to take each chunk only once at a time.
unsafe impl<T: Send> Sync for Chunks<'_, T> {}

impl<'a, T> Chunks<'a, T> {
    /// Cuts a slice into chunks of `chunk` elements, of which the last may be shorter.
    pub(crate) fn new(slice: &'a mut [T], chunk: usize) -> Chunks<'a, T> {
        Chunks { start: slice.as_mut_ptr(), len: slice.len(), chunk, of: PhantomData }
    }

    /// Returns chunk `i`.
    ///
    /// # Safety
    /// The results of two calls with the same `i` may not be alive together.
    ///
    /// # Panics
    /// Panics if there is no chunk `i`.
    #[allow(clippy::mut_from_ref)] // exclusive by the caller's promise
    pub(crate) unsafe fn get(&self, i: usize) -> &'a mut [T] {
        let start = i * self.chunk;
        assert!(start <= self.len, "chunk {i} lies outside the slice");
        let len = self.chunk.min(self.len - start);
        // SAFETY: the chunk is in range, and the caller promises that nobody else has it.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }

    /// Returns the whole slice as a pointer, for writers whose parts are not contiguous.
    pub(crate) fn as_ptr(&self) -> *mut T {
        self.start
    }
}
