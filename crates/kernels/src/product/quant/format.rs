//! The layout of quantised weights in a panel, and the integers that products are made of.
//!
//! A weight is `(d · s) · q − dmin · m` (`weights/blocks.rs`), and an activation is quantised too: `x = dx ·
//! a` with `a` in −127…127. So over a *unit*, which is the inputs that share `d` and `dx`,
//!
//! ```text
//! Σ w·x = d·dx · Σ (s·q)·a  −  dmin·dx · Σ m·(Σ a)
//! ```
//!
//! where both sums over the unit are integers. They are exact, and therefore the same whatever computes them
//! in whatever order. Floats are left with two fused multiply-adds per unit and output, in the order of the
//! units.
//!
//! A panel holds sixteen rows (outputs), unit after unit. A unit is made of vectors of sixteen lanes, one per
//! row, so that reading it takes no shuffles:
//!
//! ```text
//! unit ┌ lower bits of the codes   vectors of 16 × u32
//!      │ upper bits of the codes   vectors of 16 × u32   (types of 3, 5 and 6 bits)
//!      │ integer scales            vectors of 16 × i8    (types with 256 codes per block)
//!      │ integer minimums          vectors of 16 × i8    (Q4_K, Q5_K)
//!      │ d                         16 × f16              (16 × f32 where codes have a table)
//!      └ dmin                      16 × f16              (types with minimums)
//! ```
//!
//! Codes are read four inputs at a time. A *quad* has one input in each byte of its lane, and the activations
//! that it is multiplied with lie in their own order. With four bits a lane holds two quads, one in the lower
//! half of each byte and one in the upper half, and `lane >> 4` masked to `0x0f0f_0f0f` is the second. The
//! upper bits of types that have them lie as the lower bits do, rotated within each byte so that a shift
//! leaves them above the lower bits.
//!
//! Codes are unsigned, because the offset of a type is subtracted from the unit's sum instead. So several
//! quads can be added up in sixteen bits before they are widened: eight of four bits, four of five, two of
//! six. Codes of eight bits are signed and are not added up so. Processors that add up four products of bytes
//! in 32 bits need no such care. If their instruction needs one side without signs, they read signed codes as
//! 128 more than they are, and subtract the difference from the unit's sum.
//!
//! Codes that are indices into a table are looked up as they are read, and are signed bytes from there on.
//! Their integer scales, if any, are multiplied into one `d` per 32 codes, which is `f32`.

use crate::layout::PANEL;
use crate::weights::{Dtype, IQ4_VALUES, MXFP4_VALUES};

/// The layout of a type in a panel.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    /// The number of inputs that share one `d`: 32 or 256.
    pub(crate) unit: usize,
    /// The number of lower bits of a code: 2, 4 or 8. Codes of eight bits are signed, others are not.
    pub(super) low: usize,
    /// The number of upper bits of a code: 0, 1 or 2.
    pub(super) high: usize,
    /// The offset of codes: a weight is `d · s · (code − offset)`, less a minimum.
    pub(super) offset: i32,
    /// The number of codes per integer scale: 16 or 32, or 0 where there is none.
    pub(super) group: usize,
    /// The integer minimums.
    pub(super) mins: Mins,
    /// The values to which codes of four bits are indices. `d` is `f32` where there is a table.
    pub(super) table: Option<&'static [i8; 16]>,
}

/// The integer minimums of a type.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mins {
    /// No minimums.
    None,
    /// One minimum for the whole unit.
    One,
    /// Minimums in the upper halves of the bytes of the scales.
    InScales,
    /// As many minimums as scales, in vectors of their own.
    Own,
}

impl Layout {
    /// Returns the layout of `dtype`.
    ///
    /// # Panics
    /// Panics if `dtype` is not a block type.
    pub(crate) const fn of(dtype: Dtype) -> Layout {
        let table = match dtype {
            Dtype::Iq4Nl | Dtype::Iq4Xs => Some(&IQ4_VALUES),
            Dtype::Mxfp4 => Some(&MXFP4_VALUES),
            _ => None,
        };
        let (unit, low, high, offset, group, mins) = match dtype {
            Dtype::Q8_0 => (32, 8, 0, 0, 0, Mins::None),
            Dtype::Q4_0 => (32, 4, 0, 8, 0, Mins::None),
            Dtype::Q4_1 => (32, 4, 0, 0, 0, Mins::One),
            Dtype::Q5_0 => (32, 4, 1, 16, 0, Mins::None),
            Dtype::Q5_1 => (32, 4, 1, 0, 0, Mins::One),
            Dtype::Q2K => (256, 2, 0, 0, 16, Mins::InScales),
            Dtype::Q3K => (256, 2, 1, 4, 16, Mins::None),
            Dtype::Q4K => (256, 4, 0, 0, 32, Mins::Own),
            Dtype::Q5K => (256, 4, 1, 0, 32, Mins::Own),
            Dtype::Q6K => (256, 4, 2, 32, 16, Mins::None),
            Dtype::Iq4Nl | Dtype::Iq4Xs | Dtype::Mxfp4 => (32, 4, 0, 0, 0, Mins::None),
            Dtype::F32 | Dtype::Bf16 | Dtype::F16 => panic!("floats have no blocks"),
        };
        Layout { unit, low, high, offset, group, mins, table }
    }

    /// Returns true if codes, as products read them, are signed.
    pub(super) const fn is_signed(self) -> bool {
        self.low == 8 || self.table.is_some()
    }

    /// Returns the byte at which the upper bits begin.
    pub(super) const fn high_at(self) -> usize {
        PANEL * self.unit * self.low / 8
    }

    /// Returns the byte at which the integer scales begin.
    pub(super) const fn scales_at(self) -> usize {
        self.high_at() + PANEL * self.unit * self.high / 8
    }

    /// Returns the number of integer scales of a unit.
    pub(super) const fn n_scales(self) -> usize {
        match self.group {
            0 => 0,
            group => self.unit / group,
        }
    }

    /// Returns the byte at which the integer minimums begin.
    pub(super) const fn mins_at(self) -> usize {
        self.scales_at() + PANEL * self.n_scales()
    }

    /// Returns the byte at which `d` begins.
    pub(super) const fn d_at(self) -> usize {
        self.mins_at() + if matches!(self.mins, Mins::Own) { PANEL * self.n_scales() } else { 0 }
    }

    /// Returns the byte at which `dmin` begins.
    pub(super) const fn dmin_at(self) -> usize {
        self.d_at() + if self.table.is_some() { 4 } else { 2 } * PANEL
    }

    /// Returns the number of bytes of a unit.
    pub(crate) const fn bytes(self) -> usize {
        self.dmin_at() + if matches!(self.mins, Mins::None) { 0 } else { 2 * PANEL }
    }

    /// Returns the number of bytes of a panel whose rows have `n_in` inputs, which are whole units.
    pub(crate) const fn panel_bytes(self, n_in: usize) -> usize {
        n_in / self.unit * self.bytes()
    }

    /// Returns the number of quads whose products with activations are added up before they are scaled. These
    /// are the quads that share a scale or, if sums are not `wide`, so many of them that sixteen bits do not
    /// overflow: `n · 2 · (2^bits − 1) · 127 < 2^15`. For signed codes the number is one.
    pub(super) const fn quads_per_sum(self, wide: bool) -> usize {
        if self.is_signed() {
            return 1;
        }
        match self.low + self.high {
            _ if wide => {
                if self.group == 16 {
                    4
                } else {
                    8
                }
            }
            2 | 3 => 4,
            4 => 8,
            5 => 4,
            6 => 2,
            _ => 1,
        }
    }
}

/// A block type, for code that is compiled for each.
pub(crate) trait Format {
    /// The layout of the type in a panel.
    const LAYOUT: Layout;
}

macro_rules! formats {
    ($($dtype:ident)*) => {$(
        pub(crate) enum $dtype {}
        impl Format for $dtype {
            const LAYOUT: Layout = Layout::of(Dtype::$dtype);
        }
    )*};
}
formats!(Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q2K Q3K Q4K Q5K Q6K Iq4Nl Mxfp4);

/// Evaluates an expression in which `$F` names the [`Format`] of a block type.
macro_rules! with_format {
    ($dtype:expr, $F:ident => $body:expr) => {
        match $dtype {
            Dtype::Q8_0 => {
                type $F = crate::product::quant::format::Q8_0;
                $body
            }
            Dtype::Q4_0 => {
                type $F = crate::product::quant::format::Q4_0;
                $body
            }
            Dtype::Q4_1 => {
                type $F = crate::product::quant::format::Q4_1;
                $body
            }
            Dtype::Q5_0 => {
                type $F = crate::product::quant::format::Q5_0;
                $body
            }
            Dtype::Q5_1 => {
                type $F = crate::product::quant::format::Q5_1;
                $body
            }
            Dtype::Q2K => {
                type $F = crate::product::quant::format::Q2K;
                $body
            }
            Dtype::Q3K => {
                type $F = crate::product::quant::format::Q3K;
                $body
            }
            Dtype::Q4K => {
                type $F = crate::product::quant::format::Q4K;
                $body
            }
            Dtype::Q5K => {
                type $F = crate::product::quant::format::Q5K;
                $body
            }
            Dtype::Q6K => {
                type $F = crate::product::quant::format::Q6K;
                $body
            }
            // In a panel, both types are 32 codes and a factor.
            Dtype::Iq4Nl | Dtype::Iq4Xs => {
                type $F = crate::product::quant::format::Iq4Nl;
                $body
            }
            Dtype::Mxfp4 => {
                type $F = crate::product::quant::format::Mxfp4;
                $body
            }
            floats => panic!("{} has no blocks", floats.name()),
        }
    };
}
pub(super) use with_format;
