//! Sums of products of pairs of `bf16`: the trait through which instructions that multiply pairs are used.

/// Sums of sixteen outputs of a row, to which products of pairs are added.
///
/// # Safety
/// Every method needs the features of its instruction set enabled in the caller. Pointers must be valid for
/// sixteen elements, at any alignment.
pub(crate) trait PairSums: Copy {
    /// A pair of weights for each output.
    type Pairs: Copy;
    /// The number of rows whose sums the registers hold: 4, 8 or 16.
    const STRIP: usize;
    unsafe fn load(p: *const f32) -> Self;
    unsafe fn store(self, p: *mut f32);
    unsafe fn pairs(p: *const u32) -> Self::Pairs;
    /// Adds `w₀ · x₀` and `w₁ · x₁` in the order and with the rounding of the instruction. The lower half is
    /// the first of a pair. Denormal numbers are taken for zero, and none are made.
    unsafe fn add(self, w: Self::Pairs, x: u32) -> Self;
    unsafe fn prefetch(p: *const u8);
}
