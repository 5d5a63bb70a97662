//! The sets of 64-bit Arm: `neon`, `dotprod`, `i8mm` and `bf16`.

/// Makes an array of four registers from an expression that names the number of the register.
macro_rules! each {
    ($i:ident => $of:expr) => {
        [each!($i = 0, $of), each!($i = 1, $of), each!($i = 2, $of), each!($i = 3, $of)]
    };
    ($i:ident = $n:literal, $of:expr) => {{
        const $i: usize = $n;
        $of
    }};
}

mod bf16;
mod i8mm;
mod lanes;

pub(crate) use bf16::NeonSums;
#[cfg(test)]
pub(crate) use bf16::add_pairs;
pub(crate) use i8mm::Smmla;
pub(crate) use lanes::NeonLanes;
