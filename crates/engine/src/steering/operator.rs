//! What may be done to a row of the stream: every operator, its formula above it.
//!
//! With h a row, d the edit's direction made a unit vector, p = h · d and N = |h|, every operator gives
//! h' = a · h + b · d for two numbers a and b that depend on p and N alone. All of it is computed in `f64` and
//! rounded once, at the end.
//!
//! `alpha` is the dial of each; at 0 none does anything.

/// What is done with the projection on a direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operator {
    /// Adds alpha times the direction, as long as it is: the only operator to which its length matters.
    Add {
        /// How many times.
        alpha: f64,
    },
    /// Adds what is missing to a target, and no more than `alpha`.
    Reach {
        /// At most this far along the unit vector; negative goes against it.
        alpha: f64,
        /// The projection to reach.
        target: f64,
    },
    /// Removes the component along the direction.
    Project {
        /// The share that is removed: 1 is all of it, 2 mirrors it, negative strengthens it.
        alpha: f64,
    },
    /// Holds the projection within a range.
    Cap {
        /// The share of the way back into it.
        alpha: f64,
        /// The range's lower end; −∞ for none.
        low: f64,
        /// Its upper end; ∞ for none.
        high: f64,
    },
    /// Raises the projection where it is below a target.
    Push {
        /// The share of the way.
        alpha: f64,
        /// The projection to have at least.
        target: f64,
    },
    /// Turns the row towards the direction, its norm kept.
    Rotate {
        /// The angle, in radians; negative turns away.
        alpha: f64,
    },
    /// Gives the projection a value.
    Set {
        /// The share of the way.
        alpha: f64,
        /// The value.
        target: f64,
    },
}

/// h' = a · h + b · d.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Change {
    a: f64,
    b: f64,
}

/// h' = h + b · d.
fn shift(b: f64) -> Change {
    Change { a: 1.0, b }
}

/// add: h' = h + alpha · |v| · d, with v the direction as it is given: h + alpha · v.
fn add(alpha: f64, length: f64) -> Change {
    shift(alpha * length)
}

/// reach: h' = h + min(alpha, max(0, target − p)) · d; for alpha < 0, h + max(alpha, min(0, target − p)) · d.
fn reach(p: f64, alpha: f64, target: f64) -> Change {
    shift((target - p).clamp(alpha.min(0.0), alpha.max(0.0)))
}

/// project: h' = h − alpha · p · d.
fn project(p: f64, alpha: f64) -> Change {
    shift(-alpha * p)
}

/// cap: h' = h + alpha · (min(high, max(low, p)) − p) · d.
fn cap(p: f64, alpha: f64, low: f64, high: f64) -> Change {
    shift(alpha * (p.max(low).min(high) - p))
}

/// push: h' = h + alpha · max(0, target − p) · d.
fn push(p: f64, alpha: f64, target: f64) -> Change {
    shift(alpha * (target - p).max(0.0))
}

/// set: h' = h + alpha · (target − p) · d.
fn set(p: f64, alpha: f64, target: f64) -> Change {
    shift(alpha * (target - p))
}

/// rotate: with φ the angle between h and d, e the unit vector of h − p · d, and
/// φ' = min(π, max(0, φ − alpha)): h' = N · (cos φ' · d + sin φ' · e). It never turns past d or −d. A row that
/// lies along d has no plane to turn in and stays as it is.
fn rotate(p: f64, norm: f64, alpha: f64) -> Change {
    let rest = (norm * norm - p * p).max(0.0).sqrt();
    if rest <= norm * 1e-12 {
        return shift(0.0);
    }
    let to = (rest.atan2(p) - alpha).clamp(0.0, std::f64::consts::PI);
    let a = norm * to.sin() / rest;
    Change { a, b: norm * to.cos() - a * p }
}

/// keep-norm: h'' = h' · |h| / |h'|, unless h' is zero.
fn keep_norm(Change { a, b }: Change, p: f64, norm: f64) -> Change {
    let changed = (a * a * norm * norm + 2.0 * a * b * p + b * b).max(0.0).sqrt();
    if changed <= norm * 1e-12 {
        return Change { a, b };
    }
    let scale = norm / changed;
    Change { a: a * scale, b: b * scale }
}

impl Operator {
    /// Returns the operator's name, such as `add`; `reach` is `add` with a target.
    pub fn name(self) -> &'static str {
        match self {
            Operator::Add { .. } => "add",
            Operator::Reach { .. } => "reach",
            Operator::Project { .. } => "project",
            Operator::Cap { .. } => "cap",
            Operator::Push { .. } => "push",
            Operator::Rotate { .. } => "rotate",
            Operator::Set { .. } => "set",
        }
    }

    /// Returns alpha.
    pub fn alpha(self) -> f64 {
        match self {
            Operator::Add { alpha }
            | Operator::Reach { alpha, .. }
            | Operator::Project { alpha }
            | Operator::Cap { alpha, .. }
            | Operator::Push { alpha, .. }
            | Operator::Rotate { alpha }
            | Operator::Set { alpha, .. } => alpha,
        }
    }

    /// Returns true if all numbers are finite. The ends of a cap may be infinite.
    pub(crate) fn is_finite(self) -> bool {
        let finite = match self {
            Operator::Cap { low, high, .. } => low <= high && low < f64::INFINITY && high > f64::NEG_INFINITY,
            Operator::Reach { target, .. } | Operator::Push { target, .. } | Operator::Set { target, .. } => {
                target.is_finite()
            }
            Operator::Add { .. } | Operator::Project { .. } | Operator::Rotate { .. } => true,
        };
        finite && self.alpha().is_finite()
    }

    fn change(self, strength: f64, p: f64, norm: f64, length: f64) -> Change {
        match self {
            Operator::Add { alpha } => add(strength * alpha, length),
            Operator::Reach { alpha, target } => reach(p, strength * alpha, target),
            Operator::Project { alpha } => project(p, strength * alpha),
            Operator::Cap { alpha, low, high } => cap(p, strength * alpha, low, high),
            Operator::Push { alpha, target } => push(p, strength * alpha, target),
            Operator::Rotate { alpha } => rotate(p, norm, strength * alpha),
            Operator::Set { alpha, target } => set(p, strength * alpha, target),
        }
    }

    /// Changes a row; `direction` is as long as the row and has norm `length`, `strength` multiplies alpha. A
    /// row that would not change is not touched.
    pub(crate) fn apply(
        self,
        row: &mut [f32],
        direction: &[f32],
        length: f64,
        strength: f64,
        keeps_norm: bool,
    ) {
        let p = dot(row, direction) / length;
        let needs_norm = keeps_norm || matches!(self, Operator::Rotate { .. });
        let norm = if needs_norm { dot(row, row).sqrt() } else { 0.0 };
        let change = self.change(strength, p, norm, length);
        if change == shift(0.0) {
            return;
        }
        let Change { a, b } = if keeps_norm { keep_norm(change, p, norm) } else { change };
        let b = b / length;
        for (x, d) in row.iter_mut().zip(direction) {
            *x = (a * f64::from(*x) + b * f64::from(*d)) as f32;
        }
    }
}

/// Computes `a · b` in `f64`: eight sums side by side, whose order depends on nothing but the length.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0.0f64; 8];
    for (a, b) in a.chunks(8).zip(b.chunks(8)) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += f64::from(*a) * f64::from(*b);
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests;
