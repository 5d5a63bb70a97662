//! The test whether this process may use the matrix unit.
//!
//! The unit is offered only after its products have equalled the twin's. That is why detection, alone among
//! the code that is not a test, runs the twin.

use super::unit::{ByteTileUnit, TileUnit};
use crate::layout::{LANES, TILE_ROWS};
use crate::sets::tiles::{ByteSums, ByteTiles, FloatTiles, N_TILES, Sums, Tile};
use crate::sets::twins::{ByteTwin, TileTwin};
use half::bf16;
use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use std::sync::OnceLock;

/// Returns true if this process may use the unit. The processor must have the unit, the system must save its
/// registers and give permission (which Linux wants to be asked for once per process, before any thread uses
/// tiles), and small products must come out right. The answer is found once per process.
pub(crate) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        has_tiles() && request_permission() && {
            // SAFETY: the processor has the unit and the process may use it, for `bf16` and for bytes.
            is_equal_to_twin(&mut unsafe { TileUnit::configure() }) && is_equal_to_byte_twin()
        }
    })
}

/// Returns true if CPUID reports tiles of `bf16` and of bytes, and XCR0 that the system saves them.
fn has_tiles() -> bool {
    const OSXSAVE: u32 = 1 << 27;
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    const AMX_INT8: u32 = 1 << 25;
    const ALL: u32 = AMX_BF16 | AMX_TILE | AMX_INT8;
    /// The configuration of tiles and their data.
    const XTILE: u64 = 1 << 17 | 1 << 18;
    if __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    let features = __cpuid_count(7, 0).edx;
    // SAFETY: the system has enabled the instruction, as OSXSAVE says.
    features & ALL == ALL && unsafe { xcr0() } & XTILE == XTILE
}

/// Reads the register that says which state the system saves.
///
/// # Safety
/// The system has enabled `xgetbv`.
#[target_feature(enable = "xsave")]
unsafe fn xcr0() -> u64 {
    // SAFETY: the caller's promise.
    unsafe { _xgetbv(0) }
}

/// Asks Linux to let this process use tile data: `arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA)`. Linux before
/// 5.16 does not know the request, sandboxes may refuse it, and it is refused where a thread has an alternate
/// signal stack that would not hold the registers.
fn request_permission() -> bool {
    const ARCH_PRCTL: isize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const XFEATURE_XTILEDATA: usize = 18;
    let result: isize;
    // SAFETY: the system call takes no pointers, and the registers that it may change are named.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result == 0
}

/// Returns true if every product of `unit` equals the twin's. The numbers are small integers, whose sums are
/// exact in any order, so the test shows that tiles are laid out and kept as expected, not how they round.
fn is_equal_to_twin(unit: &mut impl FloatTiles) -> bool {
    const N_STEPS: usize = 3;
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        (state >> 28) as f32 - 8.0
    };
    let mut tiles = || {
        [0; N_STEPS].map(|_| {
            let mut tile: Tile = bytemuck::Zeroable::zeroed();
            tile.0.as_flattened_mut().iter_mut().for_each(|x| *x = bf16::from_f32(next()).to_bits());
            tile
        })
    };
    let (a, b) = ([tiles(), tiles()], [tiles(), tiles(), tiles(), tiles()]);
    let before = std::array::from_fn(|i| [[i as f32; 16]; TILE_ROWS]);
    products(unit, &a, &b, before) == products(&mut TileTwin, &a, &b, before)
}

/// Returns true if products of bytes equal the twin's, for both depths and for fewer tiles than go side by
/// side. The processor must have the unit, and the process must be allowed to use it.
fn is_equal_to_byte_twin() -> bool {
    const STRIDE: usize = 4 * 8 * N_TILES + 12;
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        state ^ state >> 15
    };
    let mut codes = [0i8; TILE_ROWS * STRIDE];
    codes.iter_mut().for_each(|code| *code = (next() as i8).max(-127));
    let mut quads = [[0u32; LANES]; 8 * N_TILES];
    quads.as_flattened_mut().iter_mut().for_each(|quad| *quad = next());
    [(4, N_TILES), (8, N_TILES), (8, 3), (4, 1)].into_iter().all(|(depth, n_tiles)| {
        let products = |unit: &mut dyn ByteTiles| {
            let mut sums = [ByteSums([[7; LANES]; TILE_ROWS]); N_TILES];
            // SAFETY: there are as many codes and quads as the tiles take.
            unsafe {
                let sums = &mut sums[..n_tiles];
                unit.multiply(codes.as_ptr(), STRIDE, TILE_ROWS, quads.as_ptr(), depth, false, sums);
            }
            sums.map(|sums| sums.0)
        };
        // SAFETY: the caller's promise.
        products(&mut unsafe { ByteTileUnit::configure(depth) }) == products(&mut ByteTwin)
    })
}

/// Returns `sums` after a product of every kind.
fn products<const N: usize>(
    unit: &mut impl FloatTiles,
    a: &[[Tile; N]; 2],
    b: &[[Tile; N]; 4],
    mut sums: [Sums; 9],
) -> [Sums; 9] {
    let [s0, s1, s2, s3, s4, s5, s6, s7, s8] = &mut sums;
    unit.multiply_2x2([&a[0], &a[1]], [&b[0], &b[1]], [[s0, s1], [s2, s3]]);
    unit.multiply_1x4(&a[1], [&b[0], &b[1], &b[2], &b[3]], [s4, s5, s6, s7]);
    unit.multiply_1x1(&a[0], &b[3], s8);
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Isa;

    /// A unit that swaps two of its sums.
    struct Swapped;
    impl FloatTiles for Swapped {
        fn multiply_2x2(
            &mut self,
            a: [&[Tile]; 2],
            b: [&[Tile]; 2],
            [[s00, s01], [s10, s11]]: [[&mut Sums; 2]; 2],
        ) {
            TileTwin.multiply_2x2(a, b, [[s00, s10], [s01, s11]]);
        }
        fn multiply_1x4(&mut self, a: &[Tile], b: [&[Tile]; 4], sums: [&mut Sums; 4]) {
            TileTwin.multiply_1x4(a, b, sums);
        }
        fn multiply_1x1(&mut self, a: &[Tile], b: &[Tile], sums: &mut Sums) {
            TileTwin.multiply_1x1(a, b, sums);
        }
    }

    #[test]
    fn the_self_test_accepts_the_twin_and_finds_swapped_tiles() {
        assert!(is_equal_to_twin(&mut TileTwin));
        assert!(!is_equal_to_twin(&mut Swapped));
    }

    #[test]
    fn asking_for_the_unit_is_harmless_where_there_is_none() {
        assert_eq!(is_available(), is_available());
        if !has_tiles() {
            assert!(!is_available());
        }
    }

    /// Emulators of processors set the variable, because tests of other sets pass where this one is missing.
    #[test]
    fn it_is_available_where_the_environment_says_so() {
        if std::env::var_os("WHIPSTAFF_EXPECT_AMX").is_some() {
            assert!(is_available());
            assert_eq!(Isa::best().name(), "amx");
        }
    }
}
