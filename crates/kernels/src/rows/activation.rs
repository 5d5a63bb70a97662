//! Activation functions, sixteen lanes at a time.

use crate::sets::Lanes;

/// The function between the two halves of an MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x / (1 + e⁻ˣ)`.
    Silu,
    /// `x Φ(x)`, where `Φ` is the distribution function of the normal distribution (Hendrycks & Gimpel 2016).
    Gelu,
    /// The usual approximation of `Gelu`, `x / (1 + e⁻²ʸ)` with `y = √(2/π) (x + 0.044715 x³)`, which is
    /// `x (1 + tanh y) / 2`.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
}

impl Activation {
    /// Applies the function lane by lane.
    ///
    /// # Safety
    /// The caller runs with the features that `L` needs.
    #[inline(always)]
    pub(crate) unsafe fn apply<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Activation::Silu => x.div(L::splat(1.0).add(L::splat(0.0).sub(x).exp())),
                Activation::Gelu => gelu(x),
                Activation::GeluTanh => {
                    const LINEAR: f32 = -2.0 * 0.797_884_6;
                    let cubic = L::splat(LINEAR).add_product(L::splat(LINEAR * 0.044_715), x.mul(x));
                    x.div(L::splat(1.0).add(x.mul(cubic).exp()))
                }
                Activation::Relu => L::splat(0.0).max(x),
            }
        }
    }
}

/// Returns `max(x, 0) - |x| Φ(-|x|)`. The tail is `Φ(-x) = e^(-x²/2) t Q(t)` with `t = 1 / (1 + p x)` and a
/// polynomial `Q`, which is fitted for this `p` to a relative error of 5e-9 on 0 to 11.5.
#[inline(always)]
unsafe fn gelu<L: Lanes>(x: L) -> L {
    const P: f32 = 0.247_487_37;
    const Q: [f32; 10] = [
        0.098_754_27,
        0.098_352_216,
        0.095_591_37,
        0.068_566_464,
        0.091_839_21,
        0.010_798_727,
        0.023_101_727,
        0.064_528_76,
        -0.068_869_03,
        0.017_336_285,
    ];
    // SAFETY: the caller's promise.
    unsafe {
        let zero = L::splat(0.0);
        let size = x.max(zero.sub(x));
        let t = L::splat(1.0).div(L::splat(1.0).add_product(L::splat(P), size));
        let mut q = L::splat(Q[9]);
        for coefficient in Q[..9].iter().rev() {
            q = L::splat(*coefficient).add_product(q, t);
        }
        let bell = size.mul(L::splat(-0.5)).mul(size).exp();
        zero.max(x).sub(size.mul(bell).mul(t.mul(q)))
    }
}

/// Returns the hyperbolic tangent within a few units in the last place, even near zero: `m / (m + 2)` with
/// `m = e²ˣ - 1`, which is `2ⁿ (eʳ - 1) + (2ⁿ - 1)` where [`Lanes::exp`] would be `2ⁿ eʳ`.
///
/// # Safety
/// The caller runs with the features that `L` needs.
#[inline(always)]
pub(crate) unsafe fn tanh<L: Lanes>(x: L) -> L {
    // SAFETY: the caller's promise.
    unsafe {
        // Beyond 10 the result is one.
        let (r, shifted) = L::splat(20.0).min(L::splat(-20.0).max(x.add(x))).reduced();
        let mut p = L::splat(1.0 / 5040.0);
        for factor in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0] {
            p = L::splat(factor).add_product(p, r);
        }
        let power = L::splat(1.0).add_exponent(shifted);
        let m = power.sub(L::splat(1.0)).add_product(power, r.mul(p));
        m.div(m.add(L::splat(2.0)))
    }
}

/// Returns `cap · tanh(x / cap)`.
///
/// # Safety
/// The caller runs with the features that `L` needs.
#[inline(always)]
pub(crate) unsafe fn capped<L: Lanes>(x: L, cap: f32) -> L {
    // SAFETY: the caller's promise.
    unsafe { tanh(x.div(L::splat(cap))).mul(L::splat(cap)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::LANES;
    use crate::machine::Isa;
    use crate::plain;
    use crate::sets::Kernel;

    /// A function applied to sixteen numbers: an activation, or else the hyperbolic tangent.
    struct Apply<'a>(Option<Activation>, &'a mut [f32; LANES]);

    impl Kernel for Apply<'_> {
        #[inline(always)]
        unsafe fn run<L: Lanes>(self) {
            // SAFETY: sixteen elements; the features are the caller's promise.
            unsafe {
                let x = L::load(self.1.as_ptr());
                let y = match self.0 {
                    Some(activation) => activation.apply(x),
                    None => tanh(x),
                };
                y.store(self.1.as_mut_ptr());
            }
        }
    }

    /// Compares a function with its definition in `f64` from -30 to 30, and the bits of every kernel set with
    /// each other. `bound` is a few roundings, relative to the size of the argument or of the result,
    /// whichever is larger.
    fn check(function: Option<Activation>, bound: f64, want: impl Fn(f32) -> f64) {
        for step in 0..4000 {
            let x: [f32; LANES] = std::array::from_fn(|i| (step * LANES + i) as f32 * 60.0 / 64000.0 - 30.0);
            let mut first = None;
            for isa in Isa::available() {
                let mut y = x;
                isa.run(Apply(function, &mut y));
                for (x, y) in x.iter().zip(y) {
                    let want = want(*x);
                    let error = (f64::from(y) - want).abs();
                    assert!(error <= bound * want.abs().max(f64::from(x.abs()).min(1.0)), "{x}: {y} {want}");
                }
                assert_eq!(*first.get_or_insert(y.map(f32::to_bits)), y.map(f32::to_bits), "{isa:?}");
            }
        }
    }

    #[test]
    fn every_activation_equals_its_plain_twin_on_every_kernel_set() {
        for activation in [Activation::Silu, Activation::Gelu, Activation::GeluTanh, Activation::Relu] {
            check(Some(activation), 1e-6, |x| plain::activation(activation, f64::from(x)));
        }
    }

    #[test]
    fn the_hyperbolic_tangent_is_right_even_near_zero() {
        check(None, 5e-7, |x| f64::from(x).tanh());
        let mut tiny = [1e-6f32; LANES];
        Isa::best().run(Apply(None, &mut tiny));
        assert!((tiny[0] / 1e-6 - 1.0).abs() < 1e-6);
    }
}
