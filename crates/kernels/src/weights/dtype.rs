//! The types that weights may be stored in.

/// The types that weights may be stored in: floats, and the quantised blocks of GGUF files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE single precision.
    F32,
    /// Brain float: the upper half of an `f32`.
    Bf16,
    /// IEEE half precision.
    F16,
    /// 32 codes of eight bits and a scale.
    Q8_0,
    /// 32 codes of four bits and a scale.
    Q4_0,
    /// 32 codes of four bits, a scale and a minimum.
    Q4_1,
    /// 32 codes of five bits and a scale.
    Q5_0,
    /// 32 codes of five bits, a scale and a minimum.
    Q5_1,
    /// 256 codes of two bits; a scale and a minimum of four bits per 16.
    Q2K,
    /// 256 codes of three bits; a scale of six bits per 16.
    Q3K,
    /// 256 codes of four bits; a scale and a minimum of six bits per 32.
    Q4K,
    /// 256 codes of five bits; a scale and a minimum of six bits per 32.
    Q5K,
    /// 256 codes of six bits; a scale of eight bits per 16.
    Q6K,
    /// 32 codes of four bits, each an index into a table of sixteen values, and a scale.
    Iq4Nl,
    /// 256 codes of four bits into the table of [`Dtype::Iq4Nl`]; a scale of six bits per 32.
    Iq4Xs,
    /// 32 floats of four bits and an exponent (Open Compute's microscaling format).
    Mxfp4,
}

impl Dtype {
    /// Every quantised type.
    pub const BLOCKS: [Dtype; 13] = [
        Dtype::Q8_0,
        Dtype::Q4_0,
        Dtype::Q4_1,
        Dtype::Q5_0,
        Dtype::Q5_1,
        Dtype::Q2K,
        Dtype::Q3K,
        Dtype::Q4K,
        Dtype::Q5K,
        Dtype::Q6K,
        Dtype::Iq4Nl,
        Dtype::Iq4Xs,
        Dtype::Mxfp4,
    ];

    /// Returns true for the quantised types.
    pub fn is_quantised(self) -> bool {
        !matches!(self, Dtype::F32 | Dtype::Bf16 | Dtype::F16)
    }

    /// Returns the elements per block, which is one for floats. A row is a whole number of blocks.
    pub fn block_len(self) -> usize {
        match self {
            Dtype::F32 | Dtype::Bf16 | Dtype::F16 => 1,
            Dtype::Q8_0 | Dtype::Q4_0 | Dtype::Q4_1 | Dtype::Q5_0 | Dtype::Q5_1 => 32,
            Dtype::Iq4Nl | Dtype::Mxfp4 => 32,
            Dtype::Q2K | Dtype::Q3K | Dtype::Q4K | Dtype::Q5K | Dtype::Q6K | Dtype::Iq4Xs => 256,
        }
    }

    /// Returns the bytes per block, which is one element for floats.
    pub fn block_bytes(self) -> usize {
        match self {
            Dtype::F32 => 4,
            Dtype::Bf16 | Dtype::F16 => 2,
            Dtype::Q8_0 => 34,
            Dtype::Q4_0 => 18,
            Dtype::Q4_1 => 20,
            Dtype::Q5_0 => 22,
            Dtype::Q5_1 => 24,
            Dtype::Q2K => 84,
            Dtype::Q3K => 110,
            Dtype::Q4K => 144,
            Dtype::Q5K => 176,
            Dtype::Q6K => 210,
            Dtype::Iq4Nl => 18,
            Dtype::Iq4Xs => 136,
            Dtype::Mxfp4 => 17,
        }
    }

    /// Returns the name that safetensors headers and ggml use.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "F32",
            Dtype::Bf16 => "BF16",
            Dtype::F16 => "F16",
            Dtype::Q8_0 => "Q8_0",
            Dtype::Q4_0 => "Q4_0",
            Dtype::Q4_1 => "Q4_1",
            Dtype::Q5_0 => "Q5_0",
            Dtype::Q5_1 => "Q5_1",
            Dtype::Q2K => "Q2_K",
            Dtype::Q3K => "Q3_K",
            Dtype::Q4K => "Q4_K",
            Dtype::Q5K => "Q5_K",
            Dtype::Q6K => "Q6_K",
            Dtype::Iq4Nl => "IQ4_NL",
            Dtype::Iq4Xs => "IQ4_XS",
            Dtype::Mxfp4 => "MXFP4",
        }
    }

    /// Returns the bytes of a row of `n_in` elements, or nothing if the row is not whole blocks or the number
    /// overflows.
    pub fn row_bytes(self, n_in: usize) -> Option<usize> {
        let whole = n_in.is_multiple_of(self.block_len());
        whole.then(|| (n_in / self.block_len()).checked_mul(self.block_bytes()))?
    }
}
