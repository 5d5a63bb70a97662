//! The matrix unit itself.
//!
//! The compiler knows neither the unit's registers nor, without unstable features, its instructions. So each
//! product is one block of assembly that loads its sums from memory and stores them again, and no tile has to
//! survive from one block to the next.

use crate::layout::{LANES, TILE_ROWS};
use crate::sets::tiles::{ByteSums, ByteTiles, FloatTiles, N_TILES, Sums, Tile};
use std::arch::asm;
use std::marker::PhantomData;

/// The unit, set up on this thread for eight tiles of 16 rows of 64 bytes until it is dropped. The setting
/// belongs to the thread, so a unit cannot be sent to another one.
pub(crate) struct TileUnit(PhantomData<*mut ()>);

/// The configuration that `ldtilecfg` reads.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Config {
    /// Returns the configuration for tiles of `depth` quads. Tiles 0 to 3 for sums, and 6 and 7 for weights
    /// with `depth` rows, have rows of 64 bytes. Tiles 4 and 5 for activations have rows of `4 · depth`
    /// bytes.
    const fn of_depth(depth: usize) -> Config {
        let mut config =
            Config { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        let mut tile = 0;
        while tile < 8 {
            config.row_bytes[tile] = if tile == 4 || tile == 5 { 4 * depth as u16 } else { ROW_BYTES as u16 };
            config.rows[tile] = if tile >= 6 { depth as u8 } else { TILE_ROWS as u8 };
            tile += 1;
        }
        config
    }

    /// Sets the unit up on this thread.
    ///
    /// # Safety
    /// The unit is [available](super::detect::is_available).
    #[inline]
    unsafe fn load(&'static self) {
        // SAFETY: the caller promises that the instruction is there, and it reads 64 bytes.
        unsafe { asm!("ldtilecfg [{config}]", config = in(reg) &raw const *self, options(nostack, readonly)) }
    }
}

/// The configuration of eight whole tiles: 16 rows of 64 bytes.
static WHOLE: Config = Config::of_depth(16);
/// The configuration for products of bytes of which 16 inputs share a scale.
static OF_16: Config = Config::of_depth(4);
/// The configuration for products of bytes of which 32 inputs share a scale.
static OF_32: Config = Config::of_depth(8);

impl TileUnit {
    /// Sets the unit up on this thread.
    ///
    /// # Safety
    /// The unit is [available](super::detect::is_available).
    #[inline]
    pub(crate) unsafe fn configure() -> TileUnit {
        // SAFETY: the caller's promise.
        unsafe { WHOLE.load() };
        TileUnit(PhantomData)
    }
}

impl Drop for TileUnit {
    /// Gives the registers back, because a thread whose tiles are in use is slower to switch to.
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the owner of a unit may release it.
        unsafe { asm!("tilerelease", options(nostack)) };
    }
}

/// The unit, set up on this thread for products of bytes until it is dropped.
pub(crate) struct ByteTileUnit {
    depth: usize,
    _unit: TileUnit,
}

impl ByteTileUnit {
    /// Sets the unit up on this thread for tiles of `depth` quads.
    ///
    /// # Safety
    /// The unit is [available](super::detect::is_available).
    ///
    /// # Panics
    /// Panics if `depth` is neither 4 nor 8.
    #[inline]
    pub(crate) unsafe fn configure(depth: usize) -> ByteTileUnit {
        // SAFETY: the caller's promise.
        unsafe {
            match depth {
                4 => OF_16.load(),
                8 => OF_32.load(),
                _ => panic!("no type has tiles of {depth} quads"),
            }
        }
        ByteTileUnit { depth, _unit: TileUnit(PhantomData) }
    }
}

/// Prefetches the tile of weights that a stream reaches two steps later. A tile is sixteen cache lines, and
/// four streams at a time defeat the processor's own prefetching.
macro_rules! prefetch_tile {
    ($stream:literal) => {
        prefetch_tile!($stream, "2048", "2112", "2176", "2240", "2304", "2368", "2432", "2496",
            "2560", "2624", "2688", "2752", "2816", "2880", "2944", "3008")
    };
    ($stream:literal, $($ahead:literal),*) => {
        concat!($("prefetcht1 [{", $stream, "} + ", $ahead, "]\n"),*)
    };
}

impl FloatTiles for TileUnit {
    #[inline]
    fn multiply_2x2(&mut self, a: [&[Tile]; 2], b: [&[Tile]; 2], sums: [[&mut Sums; 2]; 2]) {
        let n_steps = a[0].len();
        assert!(
            n_steps > 0 && a[1].len() == n_steps && b.iter().all(|b| b.len() == n_steps),
            "all streams have the same number of steps"
        );
        let [[s00, s01], [s10, s11]] = sums;
        // SAFETY: the unit is set up on this thread, of which `self` is the proof. It reads `n_steps` tiles
        // of each stream and writes whole tiles of sums. Prefetches may point anywhere.
        unsafe {
            asm!(
                "tileloadd tmm0, [{s00} + {row}*1]",
                "tileloadd tmm1, [{s01} + {row}*1]",
                "tileloadd tmm2, [{s10} + {row}*1]",
                "tileloadd tmm3, [{s11} + {row}*1]",
                "2:",
                "tileloadd tmm4, [{a0} + {row}*1]",
                "tileloadd tmm6, [{b0} + {row}*1]",
                "tileloadd tmm5, [{a1} + {row}*1]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{b1} + {row}*1]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                prefetch_tile!("b0"),
                "tdpbf16ps tmm1, tmm4, tmm7",
                prefetch_tile!("b1"),
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {a0}, 1024",
                "add {a1}, 1024",
                "add {b0}, 1024",
                "add {b1}, 1024",
                "dec {n}",
                "jnz 2b",
                "tilestored [{s00} + {row}*1], tmm0",
                "tilestored [{s01} + {row}*1], tmm1",
                "tilestored [{s10} + {row}*1], tmm2",
                "tilestored [{s11} + {row}*1], tmm3",
                s00 = in(reg) s00,
                s01 = in(reg) s01,
                s10 = in(reg) s10,
                s11 = in(reg) s11,
                a0 = inout(reg) a[0].as_ptr() => _,
                a1 = inout(reg) a[1].as_ptr() => _,
                b0 = inout(reg) b[0].as_ptr() => _,
                b1 = inout(reg) b[1].as_ptr() => _,
                n = inout(reg) n_steps => _,
                row = in(reg) ROW_BYTES,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }

    #[inline]
    fn multiply_1x4(&mut self, a: &[Tile], b: [&[Tile]; 4], sums: [&mut Sums; 4]) {
        let n_steps = a.len();
        assert!(
            n_steps > 0 && b.iter().all(|b| b.len() == n_steps),
            "all streams have the same number of steps"
        );
        let [s0, s1, s2, s3] = sums;
        // SAFETY: as in `multiply_2x2`.
        unsafe {
            asm!(
                "tileloadd tmm0, [{s0} + {row}*1]",
                "tileloadd tmm1, [{s1} + {row}*1]",
                "tileloadd tmm2, [{s2} + {row}*1]",
                "tileloadd tmm3, [{s3} + {row}*1]",
                "2:",
                "tileloadd tmm4, [{a} + {row}*1]",
                "tileloadd tmm5, [{b0} + {row}*1]",
                "tdpbf16ps tmm0, tmm4, tmm5",
                prefetch_tile!("b0"),
                "tileloadd tmm6, [{b1} + {row}*1]",
                "tdpbf16ps tmm1, tmm4, tmm6",
                prefetch_tile!("b1"),
                "tileloadd tmm7, [{b2} + {row}*1]",
                "tdpbf16ps tmm2, tmm4, tmm7",
                prefetch_tile!("b2"),
                "tileloadd tmm5, [{b3} + {row}*1]",
                "tdpbf16ps tmm3, tmm4, tmm5",
                prefetch_tile!("b3"),
                "add {a}, 1024",
                "add {b0}, 1024",
                "add {b1}, 1024",
                "add {b2}, 1024",
                "add {b3}, 1024",
                "dec {n}",
                "jnz 2b",
                "tilestored [{s0} + {row}*1], tmm0",
                "tilestored [{s1} + {row}*1], tmm1",
                "tilestored [{s2} + {row}*1], tmm2",
                "tilestored [{s3} + {row}*1], tmm3",
                s0 = in(reg) s0,
                s1 = in(reg) s1,
                s2 = in(reg) s2,
                s3 = in(reg) s3,
                a = inout(reg) a.as_ptr() => _,
                b0 = inout(reg) b[0].as_ptr() => _,
                b1 = inout(reg) b[1].as_ptr() => _,
                b2 = inout(reg) b[2].as_ptr() => _,
                b3 = inout(reg) b[3].as_ptr() => _,
                n = inout(reg) n_steps => _,
                row = in(reg) ROW_BYTES,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }

    #[inline]
    fn multiply_1x1(&mut self, a: &[Tile], b: &[Tile], sums: &mut Sums) {
        assert!(!a.is_empty() && a.len() == b.len(), "both streams have the same number of steps");
        // SAFETY: as in `multiply_2x2`.
        unsafe {
            asm!(
                "tileloadd tmm0, [{s} + {row}*1]",
                "2:",
                "tileloadd tmm4, [{a} + {row}*1]",
                "tileloadd tmm5, [{b} + {row}*1]",
                "tdpbf16ps tmm0, tmm4, tmm5",
                prefetch_tile!("b"),
                "add {a}, 1024",
                "add {b}, 1024",
                "dec {n}",
                "jnz 2b",
                "tilestored [{s} + {row}*1], tmm0",
                s = in(reg) sums,
                a = inout(reg) a.as_ptr() => _,
                b = inout(reg) b.as_ptr() => _,
                n = inout(reg) a.len() => _,
                row = in(reg) ROW_BYTES,
                out("tmm0") _, out("tmm4") _, out("tmm5") _,
                options(nostack),
            );
        }
    }
}

impl ByteTiles for ByteTileUnit {
    #[inline]
    unsafe fn multiply(
        &mut self,
        mut codes: *const i8,
        stride: usize,
        _n_rows: usize,
        mut quads: *const [u32; LANES],
        depth: usize,
        signed: bool,
        sums: &mut [ByteSums],
    ) {
        assert!(depth == self.depth && !signed, "this set reads signed codes as unsigned ones");
        // SAFETY: the unit is set up on this thread, the caller promises codes and quads, and whole tiles of
        // sums are written.
        unsafe {
            if let Ok(sums) = <&mut [ByteSums; N_TILES]>::try_from(&mut *sums) {
                asm!(
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "tilezero tmm2",
                    "tilezero tmm3",
                    "tileloadd tmm4, [{a} + {stride}*1]",
                    "tileloadd tmm6, [{b} + {row}*1]",
                    "add {a}, {a_step}",
                    "add {b}, {b_step}",
                    "tdpbsud tmm0, tmm4, tmm6",
                    "tileloadd tmm5, [{a} + {stride}*1]",
                    "tileloadd tmm7, [{b} + {row}*1]",
                    "add {a}, {a_step}",
                    "add {b}, {b_step}",
                    "tdpbsud tmm1, tmm5, tmm7",
                    "tileloadd tmm4, [{a} + {stride}*1]",
                    "tileloadd tmm6, [{b} + {row}*1]",
                    "add {a}, {a_step}",
                    "add {b}, {b_step}",
                    "tdpbsud tmm2, tmm4, tmm6",
                    "tileloadd tmm5, [{a} + {stride}*1]",
                    "tileloadd tmm7, [{b} + {row}*1]",
                    "tdpbsud tmm3, tmm5, tmm7",
                    "tilestored [{s} + {row}*1], tmm0",
                    "tilestored [{s} + {row}*1 + 1024], tmm1",
                    "tilestored [{s} + {row}*1 + 2048], tmm2",
                    "tilestored [{s} + {row}*1 + 3072], tmm3",
                    s = in(reg) sums.as_mut_ptr(),
                    a = inout(reg) codes => _,
                    b = inout(reg) quads => _,
                    stride = in(reg) stride,
                    row = in(reg) ROW_BYTES,
                    a_step = in(reg) 4 * depth,
                    b_step = in(reg) depth * ROW_BYTES,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
                return;
            }
            for sums in sums {
                asm!(
                    "tilezero tmm0",
                    "tileloadd tmm4, [{a} + {stride}*1]",
                    "tileloadd tmm6, [{b} + {row}*1]",
                    "tdpbsud tmm0, tmm4, tmm6",
                    "tilestored [{s} + {row}*1], tmm0",
                    s = in(reg) sums,
                    a = in(reg) codes,
                    b = in(reg) quads,
                    stride = in(reg) stride,
                    row = in(reg) ROW_BYTES,
                    out("tmm0") _, out("tmm4") _, out("tmm6") _,
                    options(nostack),
                );
                (codes, quads) = (codes.add(4 * depth), quads.add(depth));
            }
        }
    }
}

/// The bytes from one row of a tile to the next in memory, the same for weights, activations and sums.
const ROW_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_64_bytes_and_describe_eight_tiles() {
        assert_eq!((size_of::<Config>(), size_of::<Tile>(), size_of::<Sums>()), (64, 1024, 1024));
        let told = |config: &Config, tile: usize| (config.row_bytes[tile], config.rows[tile]);
        assert!((0..8).all(|tile| told(&WHOLE, tile) == (64, 16)));
        for (config, depth) in [(&OF_16, 4), (&OF_32, 8)] {
            assert!((0..4).all(|tile| told(config, tile) == (64, 16)));
            assert!((4..6).all(|tile| told(config, tile) == (4 * depth, 16)));
            assert!((6..8).all(|tile| told(config, tile) == (64, depth as u8)));
        }
        for config in [&WHOLE, &OF_16, &OF_32] {
            assert!((8..16).all(|tile| told(config, tile) == (0, 0)));
            assert_eq!((config.palette, config.start_row, config.reserved), (1, 0, [0; 14]));
        }
    }
}
