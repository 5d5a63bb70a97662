//! The one place that enters the instructions of a kernel set for rounded inputs.

use super::rows::RoundedProduct;
use super::{pairs, tiles};
use crate::machine::{Isa, Kind};
#[cfg(target_arch = "x86_64")]
use crate::sets::Avx512Sums;
#[cfg(target_arch = "aarch64")]
use crate::sets::NeonSums;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use crate::sets::TileUnit;
use crate::sets::{Bfdot, PairTwin, TileTwin, Vdpbf16ps};

/// Multiplies rounded inputs with the instruction of the kernel set.
///
/// # Panics
/// Panics if the set does not round inputs.
#[inline]
pub(crate) fn multiply_rounded(isa: Isa, product: RoundedProduct<'_>) {
    match isa.kind() {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        Kind::Amx => {
            // SAFETY: an `Isa` of this kind exists only where tiles may be used.
            tiles::multiply(product, &mut unsafe { TileUnit::configure() });
        }
        // SAFETY: an `Isa` of this kind exists only where the processor reported the features.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512Bf16 => unsafe { multiply_pairs_avx512(product) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Kind::Bf16 => unsafe { multiply_pairs_neon(product) },
        Kind::TileTwin => tiles::multiply(product, &mut TileTwin),
        // SAFETY: the twin needs no feature.
        Kind::PairTwin => unsafe { pairs::multiply::<PairTwin<Vdpbf16ps>>(product) },
        // SAFETY: as above.
        Kind::BfdotTwin => unsafe { pairs::multiply::<PairTwin<Bfdot>>(product) },
        _ => panic!("the kernel set {} does not round inputs", isa.name()),
    }
}

/// Multiplies rounded inputs pair by pair with `vdpbf16ps`.
///
/// # Safety
/// The processor has these features.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn multiply_pairs_avx512(product: RoundedProduct<'_>) {
    // SAFETY: the features that these sums need are enabled on this function.
    unsafe { pairs::multiply::<Avx512Sums>(product) }
}

/// Multiplies rounded inputs pair by pair with `bfdot`.
///
/// # Safety
/// The processor has these features.
#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon,bf16")]
unsafe fn multiply_pairs_neon(product: RoundedProduct<'_>) {
    // SAFETY: the features that these sums need are enabled on this function.
    unsafe { pairs::multiply::<NeonSums>(product) }
}
