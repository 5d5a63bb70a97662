//! The one place that enters the unit of a kernel set for tiles of bytes.

use super::decode::DecodeScratch;
use super::product::PanelProduct;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use super::tiles::depth_of;
use super::tiles::tiled_product;
use crate::machine::{Isa, Kind};
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use crate::sets::ByteTileUnit;
#[cfg(target_arch = "aarch64")]
use crate::sets::Smmla;
use crate::sets::{ByteTwin, IntLanes, Lanes};

/// Adds the [`tiled_product`] of every panel, on the unit of the kernel set on whose lanes the caller runs.
///
/// # Safety
/// The caller runs with the features that `L`, the lanes of this set, needs. The panels are of one type.
///
/// # Panics
/// Panics if the set has no tiles of bytes, and where [`tiled_product`] does.
#[inline(always)]
pub(crate) unsafe fn add_tiled_products<'a, L: Lanes>(
    isa: Isa,
    products: impl Iterator<Item = PanelProduct<'a>>,
) {
    let mut scratch = DecodeScratch::new();
    // The compiler drops the arms for other lanes.
    let on_unsigned = const { <L::Ints as IntLanes>::SIGN_OFFSET != 0 };
    match isa.kind() {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        Kind::Amx if on_unsigned => {
            let mut products = products.peekable();
            let Some(depth) = products.peek().map(|first| depth_of(first.dtype)) else { return };
            // SAFETY: an `Isa` of this kind exists only where tiles may be used.
            let mut unit = unsafe { ByteTileUnit::configure(depth) };
            for product in products {
                // SAFETY: the unit is set up for this type, and the caller promises the features.
                unsafe { tiled_product::<L>(&mut unit, product, &mut scratch) }
            }
        }
        #[cfg(target_arch = "aarch64")]
        Kind::I8mm | Kind::Bf16 if !on_unsigned => {
            // SAFETY: an `Isa` of these kinds exists only where the processor reported the features.
            let mut unit = unsafe { Smmla::new() };
            for product in products {
                // SAFETY: the unit takes tiles of both depths, and the caller promises the features.
                unsafe { tiled_product::<L>(&mut unit, product, &mut scratch) }
            }
        }
        Kind::TileTwin if !on_unsigned => {
            for product in products {
                // SAFETY: the twin needs no feature, and takes tiles of any depth.
                unsafe { tiled_product::<L>(&mut ByteTwin, product, &mut scratch) }
            }
        }
        _ => panic!("the kernel set {} has no tiles of bytes for these lanes", isa.name()),
    }
}
