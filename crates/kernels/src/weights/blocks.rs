//! Quantised weights as GGUF files hold them: blocks of small integers with scales.
//!
//! Every type says the same thing in a layout of its own. A block holds codes `q`, one scale (and for some
//! types one minimum) per sixteen codes, and one or two factors:
//!
//! ```text
//! w[k] = (d · scale[k / 16]) · q[k] − dmin · min[k / 16]
//! ```
//!
//! Each product and the difference is rounded to `f32`, as ggml does it. Scales that a layout does not store
//! are one and minimums that it does not store are zero, which changes no bit. So reading a block is one
//! small function per type, and its meaning is one formula. Types whose codes are indices into a table put
//! the values of the table into `q`.

use super::dtype::Dtype;
use half::f16;

/// The number of codes in the longest block.
pub(crate) const MAX_BLOCK: usize = 256;

/// The contents of a block, freed from its layout. Types with 32 codes per block leave the rest as it was.
#[derive(Clone)]
pub(crate) struct Block {
    /// The factor of the scales; exactly the file's `f16`, or a power of two.
    pub(crate) d: f32,
    /// The factor of the minimums; exactly the file's `f16`.
    pub(crate) dmin: f32,
    /// The codes, less the offset of their type.
    pub(crate) q: [i8; MAX_BLOCK],
    /// The integer scales, one per sixteen codes.
    pub(crate) scales: [i8; MAX_BLOCK / 16],
    /// The integer minimums, one per sixteen codes.
    pub(crate) mins: [u8; MAX_BLOCK / 16],
}

impl Block {
    /// Makes a block whose codes are all zero and whose scales are all one.
    pub(crate) fn new() -> Block {
        Block { d: 0.0, dmin: 0.0, q: [0; MAX_BLOCK], scales: [1; 16], mins: [0; 16] }
    }

    /// Reads one block of `dtype` from `dtype.block_bytes()` bytes.
    ///
    /// # Panics
    /// Panics if there are more or fewer bytes, or if `dtype` is not a block type.
    pub(crate) fn read(&mut self, dtype: Dtype, bytes: &[u8]) {
        assert_eq!(bytes.len(), dtype.block_bytes(), "one block of {}", dtype.name());
        match dtype {
            Dtype::Q8_0 => q8_0(bytes, self),
            Dtype::Q4_0 => q4_0(bytes, self),
            Dtype::Q4_1 => q4_1(bytes, self),
            Dtype::Q5_0 => q5_0(bytes, self),
            Dtype::Q5_1 => q5_1(bytes, self),
            Dtype::Q2K => q2_k(bytes, self),
            Dtype::Q3K => q3_k(bytes, self),
            Dtype::Q4K => q4_k(bytes, self),
            Dtype::Q5K => q5_k(bytes, self),
            Dtype::Q6K => q6_k(bytes, self),
            Dtype::Iq4Nl => iq4_nl(bytes, self),
            Dtype::Iq4Xs => iq4_xs(bytes, self),
            Dtype::Mxfp4 => mxfp4(bytes, self),
            Dtype::F32 | Dtype::Bf16 | Dtype::F16 => panic!("{} has no blocks", dtype.name()),
        }
    }

    /// Writes the first `out.len()` weights to `out`.
    pub(crate) fn dequantise(&self, out: &mut [f32]) {
        let (d, dmin) = (self.d, self.dmin);
        for (group, out) in out.chunks_mut(16).enumerate() {
            let scale = d * f32::from(self.scales[group]);
            let min = dmin * f32::from(self.mins[group]);
            for (out, q) in out.iter_mut().zip(&self.q[16 * group..]) {
                *out = scale * f32::from(*q) - min;
            }
        }
    }
}

/// Writes a row of blocks of `dtype` to `out` as `f32`.
///
/// # Panics
/// Panics if the lengths of bytes and row do not fit together.
pub(crate) fn dequantise_row(dtype: Dtype, bytes: &[u8], out: &mut [f32]) {
    assert_eq!(out.len() % dtype.block_len(), 0, "a row of {} is whole blocks", dtype.name());
    assert_eq!(bytes.len(), out.len() / dtype.block_len() * dtype.block_bytes(), "bytes of a row");
    let mut block = Block::new();
    let blocks = bytes.chunks_exact(dtype.block_bytes());
    for (bytes, out) in blocks.zip(out.chunks_exact_mut(dtype.block_len())) {
        block.read(dtype, bytes);
        block.dequantise(out);
    }
}

/// Reads the `f16` at byte `at`.
fn half_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// Reads `w[k] = d · q[k]`, `q` in −128…127, from `d: f16 · q: 32 × i8`.
fn q8_0(bytes: &[u8], block: &mut Block) {
    block.d = half_at(bytes, 0);
    for k in 0..32 {
        block.q[k] = bytes[2 + k] as i8;
    }
}

/// Reads codes of four bits: codes `k` and `k + 16` share byte `k`, the first in its lower half.
fn nibbles(bytes: &[u8], q: &mut [i8]) {
    for k in 0..16 {
        q[k] = (bytes[k] & 15) as i8;
        q[k + 16] = (bytes[k] >> 4) as i8;
    }
}

/// Reads `w[k] = d · (q[k] − 8)`, `q` in 0…15, from `d: f16 · q: 16 bytes of two`.
fn q4_0(bytes: &[u8], block: &mut Block) {
    block.d = half_at(bytes, 0);
    nibbles(&bytes[2..], &mut block.q);
    block.q[..32].iter_mut().for_each(|q| *q -= 8);
}

/// Reads `w[k] = d · q[k] + m`, `q` in 0…15, from `d: f16 · m: f16 · q: 16 bytes of two`.
fn q4_1(bytes: &[u8], block: &mut Block) {
    block.d = half_at(bytes, 0);
    block.dmin = -half_at(bytes, 2);
    block.mins[..2].fill(1);
    nibbles(&bytes[4..], &mut block.q);
}

/// Adds the fifth bits of 32 codes: bit `k` of a little-endian word belongs to code `k`.
fn fifth_bits(bytes: &[u8], q: &mut [i8]) {
    for k in 0..32 {
        q[k] |= ((bytes[k / 8] >> (k % 8) & 1) << 4) as i8;
    }
}

/// Reads `w[k] = d · (q[k] − 16)`, `q` in 0…31, from `d: f16 · fifth bits: u32 · q: 16 bytes of two`.
fn q5_0(bytes: &[u8], block: &mut Block) {
    block.d = half_at(bytes, 0);
    nibbles(&bytes[6..], &mut block.q);
    fifth_bits(&bytes[2..6], &mut block.q);
    block.q[..32].iter_mut().for_each(|q| *q -= 16);
}

/// Reads `w[k] = d · q[k] + m`, `q` in 0…31, from `d: f16 · m: f16 · fifth bits: u32 · q: 16 bytes of two`.
fn q5_1(bytes: &[u8], block: &mut Block) {
    block.d = half_at(bytes, 0);
    block.dmin = -half_at(bytes, 2);
    block.mins[..2].fill(1);
    nibbles(&bytes[8..], &mut block.q);
    fifth_bits(&bytes[4..8], &mut block.q);
}

/// Reads codes of two bits: byte `i` of a 32-byte half holds codes `i`, `i + 32`, `i + 64`, `i + 96`.
fn pairs_of_bits(bytes: &[u8], q: &mut [i8]) {
    for (run, q) in q.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let bytes = &bytes[run / 4 * 32..][..32];
        for (q, byte) in q.iter_mut().zip(bytes) {
            *q = (byte >> (run % 4 * 2) & 3) as i8;
        }
    }
}

/// Reads `w[k] = (d · s) · q[k] − dmin · m`, `q` in 0…3, `s` and `m` in 0…15 per 16 codes, from
/// `s and m: 16 bytes of both · q: 64 bytes of four · d: f16 · dmin: f16`.
fn q2_k(bytes: &[u8], block: &mut Block) {
    for (group, byte) in bytes[..16].iter().enumerate() {
        block.scales[group] = (byte & 15) as i8;
        block.mins[group] = byte >> 4;
    }
    pairs_of_bits(&bytes[16..], &mut block.q);
    block.d = half_at(bytes, 80);
    block.dmin = half_at(bytes, 82);
}

/// Reads `w[k] = (d · (s − 32)) · q[k]`, `q` in −4…3, `s` in 0…63 per 16 codes, from
/// `third bits: 32 bytes · q: 64 bytes of four · s: 12 bytes · d: f16`. The third bit of a code is stored
/// inverted: four is subtracted where it is not set.
fn q3_k(bytes: &[u8], block: &mut Block) {
    pairs_of_bits(&bytes[32..], &mut block.q);
    for (run, q) in block.q.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        for (q, bits) in q.iter_mut().zip(&bytes[..32]) {
            *q -= 4 - ((bits >> run & 1) << 2) as i8;
        }
    }
    // The lower four bits are eight bytes of two, the upper two bits four bytes of four.
    let scales = &bytes[96..108];
    for group in 0..16 {
        let low = scales[group % 8] >> (group / 8 * 4) & 15;
        let high = scales[8 + group % 4] >> (group / 4 * 2) & 3;
        block.scales[group] = (low | high << 4) as i8 - 32;
    }
    block.d = half_at(bytes, 108);
}

/// Reads eight six-bit scales and minimums from twelve bytes, one of each per 32 codes.
fn scales_and_mins(bytes: &[u8], block: &mut Block) {
    for i in 0..8 {
        let (scale, min) = if i < 4 {
            (bytes[i] & 63, bytes[i + 4] & 63)
        } else {
            let low = bytes[i + 4];
            (low & 15 | bytes[i - 4] >> 6 << 4, low >> 4 | bytes[i] >> 6 << 4)
        };
        block.scales[2 * i..2 * i + 2].fill(scale as i8);
        block.mins[2 * i..2 * i + 2].fill(min);
    }
}

/// Reads codes of four bits: codes `k` and `k + 32` of each 64 share a byte, the first in its lower half.
fn wide_nibbles(bytes: &[u8], q: &mut [i8]) {
    for (run, q) in q.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let bytes = &bytes[run / 2 * 32..][..32];
        for (q, byte) in q.iter_mut().zip(bytes) {
            *q = (byte >> (run % 2 * 4) & 15) as i8;
        }
    }
}

/// Reads `w[k] = (d · s) · q[k] − dmin · m`, `q` in 0…15, `s` and `m` in 0…63 per 32 codes, from
/// `d: f16 · dmin: f16 · s and m: 12 bytes · q: 128 bytes of two`.
fn q4_k(bytes: &[u8], block: &mut Block) {
    block.d = half_at(bytes, 0);
    block.dmin = half_at(bytes, 2);
    scales_and_mins(&bytes[4..16], block);
    wide_nibbles(&bytes[16..], &mut block.q);
}

/// Reads `w[k] = (d · s) · q[k] − dmin · m`, `q` in 0…31, `s` and `m` in 0…63 per 32 codes, from
/// `d: f16 · dmin: f16 · s and m: 12 bytes · fifth bits: 32 bytes · q: 128 bytes of two`.
fn q5_k(bytes: &[u8], block: &mut Block) {
    block.d = half_at(bytes, 0);
    block.dmin = half_at(bytes, 2);
    scales_and_mins(&bytes[4..16], block);
    wide_nibbles(&bytes[48..], &mut block.q);
    for (run, q) in block.q.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        for (q, bits) in q.iter_mut().zip(&bytes[16..48]) {
            *q |= ((bits >> run & 1) << 4) as i8;
        }
    }
}

/// Reads `w[k] = (d · s) · (q[k] − 32)`, `q` in 0…63, `s` in −128…127 per 16 codes, from
/// `lower four bits: 128 bytes of two · upper two: 64 bytes of four · s: 16 × i8 · d: f16`.
fn q6_k(bytes: &[u8], block: &mut Block) {
    pairs_of_bits(&bytes[128..], &mut block.q);
    for (run, q) in block.q.as_chunks_mut::<64>().0.iter_mut().enumerate() {
        let bytes = &bytes[run / 2 * 64..][..64];
        for (q, byte) in q.iter_mut().zip(bytes) {
            *q = (*q << 4 | (byte >> (run % 2 * 4) & 15) as i8) - 32;
        }
    }
    for group in 0..16 {
        block.scales[group] = bytes[192 + group] as i8;
    }
    block.d = half_at(bytes, 208);
}

/// The values of IQ4_NL and IQ4_XS, which are denser near zero, as weights are.
pub(crate) const IQ4_VALUES: [i8; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// The values of MXFP4 (a sign, two bits of exponent, one of mantissa), doubled so that all are whole.
pub(crate) const MXFP4_VALUES: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// Replaces each code by the value of the table at that index.
fn look_up(table: &[i8; 16], q: &mut [i8]) {
    q.iter_mut().for_each(|q| *q = table[*q as usize]);
}

/// Reads `w[k] = d · value[q[k]]` from `d: f16 · q: 16 bytes of two`.
fn iq4_nl(bytes: &[u8], block: &mut Block) {
    block.d = half_at(bytes, 0);
    nibbles(&bytes[2..], &mut block.q);
    look_up(&IQ4_VALUES, &mut block.q[..32]);
}

/// Reads `w[k] = (d · (s − 32)) · value[q[k]]`, `s` in 0…63 per 32 codes, from
/// `d: f16 · upper two bits of s: u16 · lower four: 4 bytes of two · q: 128 bytes of two`.
fn iq4_xs(bytes: &[u8], block: &mut Block) {
    block.d = half_at(bytes, 0);
    let upper = u16::from_le_bytes([bytes[2], bytes[3]]);
    for (i, q) in block.q.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let low = bytes[4 + i / 2] >> (i % 2 * 4) & 15;
        let high = (upper >> (2 * i) & 3) as u8;
        block.scales[2 * i..2 * i + 2].fill((low | high << 4) as i8 - 32);
        nibbles(&bytes[8 + 16 * i..], q);
        look_up(&IQ4_VALUES, q);
    }
}

/// Reads `w[k] = 2^(e − 128) · value[q[k]]` from `e: u8 · q: 16 bytes of two`.
fn mxfp4(bytes: &[u8], block: &mut Block) {
    // The two smallest powers are not normal numbers.
    let bits = if bytes[0] < 2 { 0x0020_0000 << bytes[0] } else { (u32::from(bytes[0]) - 1) << 23 };
    block.d = f32::from_bits(bits);
    nibbles(&bytes[1..], &mut block.q);
    look_up(&MXFP4_VALUES, &mut block.q[..32]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares a type against `gguf.quants.dequantize`, bit for bit. A golden file is a sequence of blocks,
    /// each followed by its weights as `f32`.
    fn check(dtype: Dtype) {
        let path = format!("{}/../../tests/golden/quants/{}.bin", env!("CARGO_MANIFEST_DIR"), dtype.name());
        let golden = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let record = dtype.block_bytes() + 4 * dtype.block_len();
        assert!(
            golden.len() >= 8 * record && golden.len().is_multiple_of(record),
            "{path} has at least eight whole records"
        );
        for (i, record) in golden.chunks_exact(record).enumerate() {
            let (block, want) = record.split_at(dtype.block_bytes());
            let mut got = vec![f32::NAN; dtype.block_len()];
            dequantise_row(dtype, block, &mut got);
            for (k, (got, want)) in got.iter().zip(want.chunks_exact(4)).enumerate() {
                let want = f32::from_le_bytes(want.try_into().unwrap());
                let same = got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan();
                assert!(same, "{} block {i}, weight {k}: {got}, expected {want}", dtype.name());
            }
        }
    }

    #[test]
    fn every_block_type_reads_as_ggml_reads_it() {
        Dtype::BLOCKS.into_iter().for_each(check);
    }
}
