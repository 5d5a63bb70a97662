//! The choice of an instruction set, and the one place that enters its lanes.

use crate::sets::{Kernel, PlainLanes};
#[cfg(target_arch = "aarch64")]
use std::arch::is_aarch64_feature_detected;

/// An instruction set that the kernels are compiled for. [`Isa::best`], [`Isa::available`] and [`Isa::named`]
/// are the only ways to get one, and they ask the processor: a value of this type is proof that the set runs
/// here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(Kind);

/// The instruction sets that this crate knows on this architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `Avx512Vnni`, with tiles for products of `bf16` weights and of many rows with quantised weights.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    Amx,
    /// `Avx512Vnni`, with products of pairs for `bf16` weights.
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
    /// `Avx512`, with sums of four products of bytes.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// `I8mm`, with products of pairs for `bf16` weights.
    #[cfg(target_arch = "aarch64")]
    Bf16,
    /// `Dotprod`, with products of two rows of bytes with two, for many rows with quantised weights.
    #[cfg(target_arch = "aarch64")]
    I8mm,
    /// `Neon`, with sums of four products of bytes.
    #[cfg(target_arch = "aarch64")]
    Dotprod,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Plain,
    /// `Plain`, with the twin of tiles, which shows on any processor what tiles do.
    TileTwin,
    /// `Plain`, with the twin of products of pairs.
    PairTwin,
    /// `Plain`, with the twin of products of pairs on Arm.
    BfdotTwin,
}

/// The error of a kernel set whose name is unknown, or which this processor does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownIsa {
    /// The name that was asked for.
    pub name: String,
    /// The names of the sets that this processor runs, best first.
    pub available: Vec<&'static str>,
}

/// A kernel set, and what this machine lacks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surveyed {
    /// The name that [`Isa::named`] takes.
    pub name: &'static str,
    /// The features that the processor or the system lacks; none if the set runs here.
    pub missing: Vec<&'static str>,
}

impl Isa {
    /// Returns the fastest kernel set that this processor runs.
    pub fn best() -> Isa {
        Isa::available()[0]
    }

    /// Returns every kernel set that this processor runs, fastest first. The last is always `plain`.
    pub fn available() -> Vec<Isa> {
        let mut available = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            let avx512 = avx2 && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
            let vnni = avx512 && is_x86_feature_detected!("avx512vnni");
            let bf16 = vnni && is_x86_feature_detected!("avx512bf16");
            let has_fast_pairs = bf16 && has_fast_pairs();
            #[cfg(target_os = "linux")]
            if vnni && crate::sets::is_amx_available() {
                available.push(Isa(Kind::Amx));
            }
            if has_fast_pairs {
                available.push(Isa(Kind::Avx512Bf16));
            }
            if vnni {
                available.push(Isa(Kind::Avx512Vnni));
            }
            if avx512 {
                available.push(Isa(Kind::Avx512));
            }
            if bf16 && !has_fast_pairs {
                available.push(Isa(Kind::Avx512Bf16));
            }
            if avx2 {
                available.push(Isa(Kind::Avx2));
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            let neon = is_aarch64_feature_detected!("neon");
            let dotprod = neon && is_aarch64_feature_detected!("dotprod");
            let i8mm = dotprod && is_aarch64_feature_detected!("i8mm");
            if i8mm {
                available.push(Isa(Kind::I8mm));
            }
            // The set `bf16` is never the first; `named` says why.
            if i8mm && is_aarch64_feature_detected!("bf16") {
                available.push(Isa(Kind::Bf16));
            }
            if dotprod {
                available.push(Isa(Kind::Dotprod));
            }
            if neon {
                available.push(Isa(Kind::Neon));
            }
        }
        available.push(Isa(Kind::Plain));
        available
    }

    /// Returns the kernel set called `name`: `amx`, `avx512-bf16`, `avx512-vnni`, `avx512`, `avx2`, `i8mm`,
    /// `bf16`, `dotprod`, `neon` or `plain`. The names `tile-twin`, `pair-twin` and `bfdot-twin` stand for
    /// sets that give the numbers of `amx`, `avx512-bf16` and `bf16` on any processor, a hundred times
    /// slower. The twins are never chosen unless they are named.
    ///
    /// Neither is `bf16`. By LLVM's model of the Neoverse N2, `bfdot` runs at the rate of a multiply-add of
    /// `f32`, so it should do twice the work, as AMD's pairs do. But nobody has measured these products on
    /// Arm, and Intel's pairs turned out half as fast. A set that costs digits must be known to be faster
    /// before it is chosen.
    ///
    /// # Errors
    /// Returns [`UnknownIsa`] if no set has that name or the processor does not run it.
    pub fn named(name: &str) -> Result<Isa, UnknownIsa> {
        let available = Isa::available();
        let all = available.iter().copied().chain(Isa::TWINS);
        all.into_iter().find(|isa| isa.name() == name).ok_or_else(|| UnknownIsa {
            name: name.to_owned(),
            available: available.iter().map(|isa| isa.name()).collect(),
        })
    }

    /// Returns every kernel set of this architecture, best first, with what this machine lacks for it.
    pub fn survey() -> Vec<Surveyed> {
        let mut surveyed = Vec::new();
        #[allow(unused_macros)] // on architectures that have only `plain`
        macro_rules! missing {
            ($detected:ident, $($feature:tt),*) => {{
                let mut missing = Vec::new();
                $(if !std::arch::$detected!($feature) { missing.push($feature); })*
                missing
            }};
        }
        #[cfg(target_arch = "x86_64")]
        {
            let amx = if Isa::named("amx").is_ok() {
                vec![]
            } else {
                vec!["amx-bf16 and amx-int8 tiles, and permission to use them"]
            };
            surveyed.push(Surveyed { name: "amx", missing: amx });
            let bf16 =
                missing!(is_x86_feature_detected, "avx2", "avx512f", "avx512bw", "avx512vnni", "avx512bf16");
            let pairs = Surveyed { name: "avx512-bf16", missing: bf16 };
            let (first, last) = if has_fast_pairs() { (Some(pairs), None) } else { (None, Some(pairs)) };
            surveyed.extend(first);
            let vnni = missing!(is_x86_feature_detected, "avx2", "avx512f", "avx512bw", "avx512vnni");
            surveyed.push(Surveyed { name: "avx512-vnni", missing: vnni });
            let avx512 = missing!(is_x86_feature_detected, "avx2", "fma", "f16c", "avx512f", "avx512bw");
            surveyed.push(Surveyed { name: "avx512", missing: avx512 });
            surveyed.extend(last);
            let avx2 = missing!(is_x86_feature_detected, "avx2", "fma", "f16c");
            surveyed.push(Surveyed { name: "avx2", missing: avx2 });
        }
        #[cfg(target_arch = "aarch64")]
        {
            let i8mm = missing!(is_aarch64_feature_detected, "neon", "dotprod", "i8mm");
            surveyed.push(Surveyed { name: "i8mm", missing: i8mm });
            let bf16 = missing!(is_aarch64_feature_detected, "neon", "dotprod", "i8mm", "bf16");
            surveyed.push(Surveyed { name: "bf16", missing: bf16 });
            let dotprod = missing!(is_aarch64_feature_detected, "neon", "dotprod");
            surveyed.push(Surveyed { name: "dotprod", missing: dotprod });
            let neon = missing!(is_aarch64_feature_detected, "neon");
            surveyed.push(Surveyed { name: "neon", missing: neon });
        }
        surveyed.push(Surveyed { name: "plain", missing: Vec::new() });
        surveyed
    }

    /// Returns the name that [`Isa::named`] takes.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Kind::Amx => "amx",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Bf16 => "avx512-bf16",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Vnni => "avx512-vnni",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Kind::I8mm => "i8mm",
            #[cfg(target_arch = "aarch64")]
            Kind::Bf16 => "bf16",
            #[cfg(target_arch = "aarch64")]
            Kind::Dotprod => "dotprod",
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => "neon",
            Kind::Plain => "plain",
            Kind::TileTwin => "tile-twin",
            Kind::PairTwin => "pair-twin",
            Kind::BfdotTwin => "bfdot-twin",
        }
    }

    /// Returns which set this is, for the modules that enter its units.
    #[inline]
    pub(crate) fn kind(self) -> Kind {
        self.0
    }

    /// The kernel sets that multiply rounded inputs in software.
    pub(crate) const TWINS: [Isa; 3] = [Isa(Kind::TileTwin), Isa(Kind::PairTwin), Isa(Kind::BfdotTwin)];

    /// Returns true if products of `bf16` weights round their inputs to `bf16`.
    pub(crate) fn has_rounded_products(self) -> bool {
        match self.0 {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Kind::Amx => true,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Bf16 => true,
            #[cfg(target_arch = "aarch64")]
            Kind::Bf16 => true,
            Kind::TileTwin | Kind::PairTwin | Kind::BfdotTwin => true,
            _ => false,
        }
    }

    /// Returns true if quantised inputs are multiplied by tiles of bytes.
    pub(crate) fn has_byte_tiles(self) -> bool {
        match self.0 {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Kind::Amx => true,
            #[cfg(target_arch = "aarch64")]
            Kind::I8mm | Kind::Bf16 => true,
            Kind::TileTwin => true,
            _ => false,
        }
    }

    /// Runs `kernel` compiled for this instruction set.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) {
        match self.0 {
            // SAFETY: an `Isa` of these kinds exists only where the processor reported the features.
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Kind::Amx => unsafe { run_avx512_vnni(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Bf16 | Kind::Avx512Vnni => unsafe { run_avx512_vnni(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { run_avx512(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { run_avx2(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Kind::I8mm | Kind::Bf16 | Kind::Dotprod => unsafe { run_dotprod(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => unsafe { run_neon(kernel) },
            // SAFETY: plain lanes need no feature.
            Kind::Plain | Kind::TileTwin | Kind::PairTwin | Kind::BfdotTwin => unsafe {
                kernel.run::<PlainLanes>()
            },
        }
    }
}

/// Returns true if a processor that multiplies pairs of `bf16` does so at twice the rate of `f32`, as AMD's
/// processors do. The Intel processor that was measured does so at half the rate of `f32`, as it has a matrix
/// unit for `bf16`.
#[cfg(target_arch = "x86_64")]
fn has_fast_pairs() -> bool {
    let vendor = std::arch::x86_64::__cpuid(0);
    [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).as_flattened() == b"AuthenticAMD"
}

/// Runs `kernel` on the lanes of `avx512-vnni`.
///
/// # Safety
/// The processor has these features.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma,f16c")]
unsafe fn run_avx512_vnni<K: Kernel>(kernel: K) {
    // SAFETY: the features that these lanes need are enabled on this function.
    unsafe { kernel.run::<crate::sets::Avx512Lanes<true>>() }
}

/// Runs `kernel` on the lanes of `avx512`.
///
/// # Safety
/// The processor has these features.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx2,fma,f16c")]
unsafe fn run_avx512<K: Kernel>(kernel: K) {
    // SAFETY: the features that these lanes need are enabled on this function.
    unsafe { kernel.run::<crate::sets::Avx512Lanes<false>>() }
}

/// Runs `kernel` on the lanes of `avx2`.
///
/// # Safety
/// The processor has these features.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn run_avx2<K: Kernel>(kernel: K) {
    // SAFETY: as above.
    unsafe { kernel.run::<crate::sets::Avx2Lanes>() }
}

/// Runs `kernel` on the lanes of `dotprod`.
///
/// # Safety
/// The processor has these features.
#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon,dotprod")]
unsafe fn run_dotprod<K: Kernel>(kernel: K) {
    // SAFETY: as above.
    unsafe { kernel.run::<crate::sets::NeonLanes<true>>() }
}

/// Runs `kernel` on the lanes of `neon`.
///
/// # Safety
/// The processor has these features.
#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
unsafe fn run_neon<K: Kernel>(kernel: K) {
    // SAFETY: as above.
    unsafe { kernel.run::<crate::sets::NeonLanes<false>>() }
}
