//! Which instruction set the kernels use, and the one place that enters it.

use crate::amx::MultiplyTiles;
use crate::amx::twin::Twin;
use crate::lanes::{Lanes, PlainLanes};
#[cfg(target_arch = "aarch64")]
use std::arch::is_aarch64_feature_detected;

/// An instruction set that the kernels are compiled for. It can only be had through
/// [`Isa::best`] or [`Isa::named`], which ask the processor: holding one is proof that it runs here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `Avx512`, and tiles for products of `bf16` weights.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    Amx,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// `Neon`, and sums of four products of bytes.
    #[cfg(target_arch = "aarch64")]
    Dotprod,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Plain,
    /// `Plain`, and the tiles' twin: how what tiles do is seen on any processor.
    TileTwin,
}

/// A kernel set was asked for by a name that is unknown or not available on this processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownIsa {
    /// What was asked for.
    pub name: String,
    /// What this processor offers, best first.
    pub available: Vec<&'static str>,
}

/// A kernel set, and whether this machine runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surveyed {
    /// The name that [`Isa::named`] takes.
    pub name: &'static str,
    /// What the processor or the system lacks for it; nothing if it runs.
    pub missing: Vec<&'static str>,
}

impl Isa {
    /// The fastest kernel set that this processor runs.
    pub fn best() -> Isa {
        Isa::available()[0]
    }

    /// Every kernel set that this processor runs, fastest first; the last is always `plain`.
    pub fn available() -> Vec<Isa> {
        let mut available = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            if avx2 && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
                #[cfg(target_os = "linux")]
                if crate::amx::hardware::available() {
                    available.push(Isa(Kind::Amx));
                }
                available.push(Isa(Kind::Avx512));
            }
            if avx2 {
                available.push(Isa(Kind::Avx2));
            }
        }
        #[cfg(target_arch = "aarch64")]
        if is_aarch64_feature_detected!("neon") {
            if is_aarch64_feature_detected!("dotprod") {
                available.push(Isa(Kind::Dotprod));
            }
            available.push(Isa(Kind::Neon));
        }
        available.push(Isa(Kind::Plain));
        available
    }

    /// The kernel set called `name`: `amx`, `avx512`, `avx2`, `dotprod`, `neon` or `plain`; or `tile-twin`,
    /// which has the numbers of `amx` on any processor, a hundred times slower, and is never chosen by itself.
    ///
    /// # Errors
    /// [`UnknownIsa`] if there is none of that name or the processor lacks it.
    pub fn named(name: &str) -> Result<Isa, UnknownIsa> {
        let available = Isa::available();
        let all = available.iter().copied().chain([Isa(Kind::TileTwin)]);
        all.into_iter().find(|isa| isa.name() == name).ok_or_else(|| UnknownIsa {
            name: name.to_owned(),
            available: available.iter().map(|isa| isa.name()).collect(),
        })
    }

    /// Every kernel set that there is, best first, with what this machine lacks for it.
    pub fn survey() -> Vec<Surveyed> {
        let mut surveyed = Vec::new();
        #[allow(unused_macros)] // by processors of which there is only `plain`
        macro_rules! missing {
            ($detected:ident, $($feature:tt),*) => {{
                let mut missing = Vec::new();
                $(if !std::arch::$detected!($feature) { missing.push($feature); })*
                missing
            }};
        }
        #[cfg(target_arch = "x86_64")]
        {
            let amx =
                if Isa::named("amx").is_ok() { vec![] } else { vec!["amx-bf16 tiles and leave to use them"] };
            surveyed.push(Surveyed { name: "amx", missing: amx });
            let avx512 = missing!(is_x86_feature_detected, "avx2", "fma", "f16c", "avx512f", "avx512bw");
            surveyed.push(Surveyed { name: "avx512", missing: avx512 });
            let avx2 = missing!(is_x86_feature_detected, "avx2", "fma", "f16c");
            surveyed.push(Surveyed { name: "avx2", missing: avx2 });
        }
        #[cfg(target_arch = "aarch64")]
        {
            let dotprod = missing!(is_aarch64_feature_detected, "neon", "dotprod");
            surveyed.push(Surveyed { name: "dotprod", missing: dotprod });
            let neon = missing!(is_aarch64_feature_detected, "neon");
            surveyed.push(Surveyed { name: "neon", missing: neon });
        }
        surveyed.push(Surveyed { name: "plain", missing: Vec::new() });
        surveyed
    }

    /// The name that [`Isa::named`] takes.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Kind::Amx => "amx",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Kind::Dotprod => "dotprod",
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => "neon",
            Kind::Plain => "plain",
            Kind::TileTwin => "tile-twin",
        }
    }

    /// The kernel set that multiplies tiles in software.
    #[cfg(test)]
    pub(crate) fn tile_twin() -> Isa {
        Isa(Kind::TileTwin)
    }

    /// Whether products of `bf16` weights go through tiles (`amx.rs`).
    pub(crate) fn has_tiles(self) -> bool {
        match self.0 {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Kind::Amx => true,
            Kind::TileTwin => true,
            _ => false,
        }
    }

    /// Multiplies tiles, by their twin on a set that has none.
    #[inline]
    pub(crate) fn multiply_tiles(self, product: MultiplyTiles<'_>) {
        match self.0 {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Kind::Amx => {
                // SAFETY: an `Isa` of this kind exists only where tiles may be used.
                product.run_on(&mut unsafe { crate::amx::hardware::Unit::configure() });
            }
            _ => product.run_on(&mut Twin),
        }
    }

    /// Runs `kernel` compiled for this instruction set.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) {
        match self.0 {
            // SAFETY: an `Isa` of these kinds exists only where the processor reported the features.
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Kind::Amx => unsafe { run_avx512(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { run_avx512(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { run_avx2(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Kind::Dotprod => unsafe { run_dotprod(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => unsafe { run_neon(kernel) },
            // SAFETY: plain lanes need no feature.
            Kind::Plain => unsafe { kernel.run::<PlainLanes>() },
            // SAFETY: as above.
            Kind::TileTwin => unsafe { kernel.run::<PlainLanes>() },
        }
    }
}

/// A computation written once over [`Lanes`] and compiled once per instruction set.
pub(crate) trait Kernel {
    /// Runs it. Implementations are `#[inline(always)]`, so that they take on the features of
    /// the function that calls them.
    ///
    /// # Safety
    /// The caller runs with the features that `L` needs.
    unsafe fn run<L: Lanes>(self);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx2,fma,f16c")]
unsafe fn run_avx512<K: Kernel>(kernel: K) {
    // SAFETY: the features that these lanes need are enabled on this function.
    unsafe { kernel.run::<crate::avx512::Avx512Lanes>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn run_avx2<K: Kernel>(kernel: K) {
    // SAFETY: as above.
    unsafe { kernel.run::<crate::avx2::Avx2Lanes>() }
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon,dotprod")]
unsafe fn run_dotprod<K: Kernel>(kernel: K) {
    // SAFETY: as above.
    unsafe { kernel.run::<crate::neon::NeonLanes<true>>() }
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
unsafe fn run_neon<K: Kernel>(kernel: K) {
    // SAFETY: as above.
    unsafe { kernel.run::<crate::neon::NeonLanes<false>>() }
}
