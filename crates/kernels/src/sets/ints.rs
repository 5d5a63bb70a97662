//! Sixteen 32-bit integer lanes, each also two halves or four bytes, in which quantised products compute.
//! Integers are exact, so all versions agree by themselves.

/// Sixteen 32-bit lanes and the operations on them that quantised products need. A lane is read as one `i32`,
/// as two `i16` or as four bytes, the lowest first.
///
/// # Safety
/// Every method needs the features of its instruction set enabled in the caller. Pointers must be valid for
/// sixteen elements, at any alignment.
pub(crate) trait IntLanes: Copy {
    /// The floats of the same instruction set.
    type Floats;
    /// True if any number of dot products of bytes is added up in whole lanes; false if they are added up in
    /// halves, as many as fit there.
    const WIDE: bool;
    /// The number that [`signed_codes`](IntLanes::signed_codes) adds to codes.
    const SIGN_OFFSET: i32 = 0;
    unsafe fn splat(x: i32) -> Self;
    unsafe fn load(p: *const u32) -> Self;
    /// Loads sixteen bytes and widens them.
    unsafe fn load_i8(p: *const i8) -> Self;
    unsafe fn store(self, p: *mut u32);
    unsafe fn and(self, other: Self) -> Self;
    unsafe fn or(self, other: Self) -> Self;
    unsafe fn shl(self, n: usize) -> Self;
    /// Shifts right and fills up with zeros.
    unsafe fn shr(self, n: usize) -> Self;
    /// Shifts right and fills up with the sign.
    unsafe fn sra(self, n: usize) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    /// Returns the larger of each lane.
    unsafe fn max(self, other: Self) -> Self;
    /// Returns the lower 16 bits of the products of the halves.
    unsafe fn mul16(self, other: Self) -> Self;
    /// Returns `self + a₀ · b₀ + a₁ · b₁`, where halves of `a` and `b` are multiplied to 32 bits.
    unsafe fn add_pairs(self, a: Self, b: Self) -> Self;
    /// Adds the four products of the bytes of `a` and `x` to a partial sum. All four go to the lane where
    /// [`WIDE`](IntLanes::WIDE), else two go to each half, which must not overflow. The bytes of `a` are not
    /// negative.
    unsafe fn add_dots(self, a: Self, x: Self) -> Self;
    /// Returns `self + dots · scale` of a partial sum of [`add_dots`](IntLanes::add_dots) and a scale that is
    /// in both halves of its lane.
    unsafe fn add_scaled(self, dots: Self, scale: Self) -> Self;
    /// Returns signed bytes in the form that [`add_signed_dots`](IntLanes::add_signed_dots) reads.
    #[inline(always)]
    unsafe fn signed_codes(self) -> Self {
        self
    }
    /// Returns `self + a₀ · x₀ + a₁ · x₁ + a₂ · x₂ + a₃ · x₃` of signed bytes, where the bytes of `x` are
    /// above -128. The bytes of `a` are [`signed_codes`](IntLanes::signed_codes), so the sum is too large by
    /// [`SIGN_OFFSET`](IntLanes::SIGN_OFFSET) times each byte of `x`.
    unsafe fn add_signed_dots(self, a: Self, x: Self) -> Self;
    /// Replaces every byte, which is below 16, by the value of the table at that index.
    unsafe fn look_up(self, table: &[i8; 16]) -> Self;
    /// Converts to the nearest `f32`, ties to even.
    unsafe fn to_f32(self) -> Self::Floats;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::LANES;
    use crate::machine::Isa;
    use crate::sets::kernel::Kernel;
    use crate::sets::lanes::Lanes;
    use crate::sets::portable::bytes;

    /// Runs every operation on `a` and `b`, one after the other.
    struct All<'a> {
        a: [u32; LANES],
        b: [u32; LANES],
        out: &'a mut Vec<[u32; LANES]>,
    }

    impl Kernel for All<'_> {
        #[inline(always)]
        unsafe fn run<L: Lanes>(self) {
            // SAFETY: arrays have sixteen elements; the features are the caller's promise.
            unsafe {
                let (a, b) = (L::Ints::load(self.a.as_ptr()), L::Ints::load(self.b.as_ptr()));
                let start = L::Ints::splat(self.a[3] as i32);
                let mut results = vec![a.and(b), a.or(b), a.add(b), a.mul16(b), start.add_pairs(a, b)];
                results.push(a.max(b));
                results.push(L::Ints::load_i8(self.a.as_ptr().cast()));
                // Codes are so small that twice a product fits a half; an odd byte is above -128.
                let (code, odd) = (a.and(L::Ints::splat(0x3f3f_3f3f)), b.or(L::Ints::splat(0x0101_0101)));
                let dots = L::Ints::splat(0).add_dots(code, odd).add_dots(code, odd);
                let scale = b.and(L::Ints::splat(0xffff));
                results.push(start.add_scaled(dots, scale.or(scale.shl(16))));
                let (mut dots, mut x) = ([0; LANES], [0; LANES]);
                start.add_signed_dots(a.signed_codes(), odd).store(dots.as_mut_ptr());
                odd.store(x.as_mut_ptr());
                for (dots, x) in dots.iter_mut().zip(x) {
                    let sum: i16 = bytes(x as i32).iter().sum();
                    *dots = dots.wrapping_sub((L::Ints::SIGN_OFFSET * i32::from(sum)) as u32);
                }
                results.push(L::Ints::load(dots.as_ptr()));
                for n in [0, 1, 7, 15] {
                    results.extend([a.shl(n), a.shr(n), a.sra(n)]);
                }
                results.push(a.and(L::Ints::splat(0x0f0f_0f0f)).look_up(&crate::weights::IQ4_VALUES));
                for result in results {
                    let mut lanes = [0; LANES];
                    result.store(lanes.as_mut_ptr());
                    self.out.push(lanes);
                }
                let mut floats = [0.0; LANES];
                a.to_f32().store(floats.as_mut_ptr());
                self.out.push(floats.map(f32::to_bits));
            }
        }
    }

    #[test]
    fn every_operation_is_the_same_on_every_set() {
        let mut state = 7u32;
        let mut next = || {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            state ^ state >> 13
        };
        for case in 0..200 {
            let (mut a, mut b) = ([0; LANES], [0; LANES]);
            a.iter_mut().chain(&mut b).for_each(|x| *x = next());
            // The corners of bytes and halves.
            a[case % LANES] = [0x8000_8000, 0x8080_8080, 0xffff_ffff][case % 3];
            b[case % LANES] = [0x8000_8000, 0x8080_8080, 0xffff_ffff, 0x7f7f_7f7f][case % 4];
            let mut want = Vec::new();
            Isa::named("plain").unwrap().run(All { a, b, out: &mut want });
            for isa in Isa::available() {
                let mut got = Vec::new();
                isa.run(All { a, b, out: &mut got });
                assert_eq!(got, want, "{isa:?} of {a:x?} and {b:x?}");
            }
        }
    }

    #[test]
    fn the_plain_operations_compute_what_their_names_say() {
        let mut out = Vec::new();
        // The halves are (3, -2) and (-16, 2), the bytes (3, 0, -2, -1) and (-16, -1, 2, 0).
        let (a, b) = ([0xfffe_0003; LANES], [0x0002_fff0; LANES]);
        Isa::named("plain").unwrap().run(All { a, b, out: &mut out });
        let first: Vec<u32> = out.iter().map(|lanes| lanes[0]).collect();
        let start = 0xfffe_0003u32 as i32;
        assert_eq!(first[3], 0xfffc_ffd0); // (-48, -4)
        assert_eq!(first[4] as i32, start - 52);
        assert_eq!(first[5], 0x0002_fff0);
        assert_eq!(first[6], 3);
        // Codes (3, 0, 62, 63) times (-15, -1, 3, 1), twice, times -16.
        assert_eq!(first[7] as i32, start + 2 * (-45 + 186 + 63) * -16);
        // Bytes (3, 0, -2, -1) times the same.
        assert_eq!(first[8] as i32, start - 45 - 6 - 1);
        assert_eq!(first[12..15], [0xfffc_0006, 0x7fff_0001, 0xffff_0001]);
        // Values 3, 0, 14 and 15 of the table are -65, -127, 89, 113.
        assert_eq!(first[21], 0x7159_81bf);
    }
}
