//! The tensor types of ggml, by the numbers that GGUF headers give them.

use whipstaff_kernels::Dtype;

/// A type that a header may name: rows are whole blocks of `block_len` elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GgmlType {
    pub(super) name: &'static str,
    pub(super) block_len: usize,
    pub(super) block_bytes: usize,
}

/// The numbers, with the types they stand for. Missing numbers were given up by ggml before GGUF existed, or came
/// later than this table.
const TYPES: &[(u32, &str, usize, usize)] = &[
    (0, "F32", 1, 4),
    (1, "F16", 1, 2),
    (2, "Q4_0", 32, 18),
    (3, "Q4_1", 32, 20),
    (6, "Q5_0", 32, 22),
    (7, "Q5_1", 32, 24),
    (8, "Q8_0", 32, 34),
    (9, "Q8_1", 32, 40),
    (10, "Q2_K", 256, 84),
    (11, "Q3_K", 256, 110),
    (12, "Q4_K", 256, 144),
    (13, "Q5_K", 256, 176),
    (14, "Q6_K", 256, 210),
    (15, "Q8_K", 256, 292),
    (16, "IQ2_XXS", 256, 66),
    (17, "IQ2_XS", 256, 74),
    (18, "IQ3_XXS", 256, 98),
    (19, "IQ1_S", 256, 50),
    (20, "IQ4_NL", 32, 18),
    (21, "IQ3_S", 256, 110),
    (22, "IQ2_S", 256, 82),
    (23, "IQ4_XS", 256, 136),
    (24, "I8", 1, 1),
    (25, "I16", 1, 2),
    (26, "I32", 1, 4),
    (27, "I64", 1, 8),
    (28, "F64", 1, 8),
    (29, "IQ1_M", 256, 56),
    (30, "BF16", 1, 2),
    (34, "TQ1_0", 256, 54),
    (35, "TQ2_0", 256, 66),
    (39, "MXFP4", 32, 17),
    (40, "NVFP4", 64, 36),
    (41, "Q1_0", 128, 18),
];

impl GgmlType {
    pub(super) fn from_id(id: u32) -> Option<GgmlType> {
        let (_, name, block_len, block_bytes) = *TYPES.iter().find(|(it, ..)| *it == id)?;
        Some(GgmlType { name, block_len, block_bytes })
    }

    /// Returns the ggml type of a [`Dtype`], with its number.
    pub(super) fn of(dtype: Dtype) -> (u32, GgmlType) {
        let entry = TYPES.iter().find(|(_, name, ..)| *name == dtype.name());
        let (id, name, block_len, block_bytes) = *entry.expect("every type of ours is one of ggml's");
        (id, GgmlType { name, block_len, block_bytes })
    }

    /// Returns the [`Dtype`] that has the same bytes, if there is one.
    pub(super) fn dtype(self) -> Option<Dtype> {
        supported().find(|dtype| dtype.name() == self.name)
    }
}

/// Lists the types that can be computed with.
pub(super) fn supported() -> impl Iterator<Item = Dtype> {
    [Dtype::F32, Dtype::F16, Dtype::Bf16].into_iter().chain(Dtype::BLOCKS)
}
