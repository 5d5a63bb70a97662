//! Conditions on a prompt, under which an edit acts or does not. `run/decide.rs` decides them.

use super::operator::dot;
use super::site::Site;

/// A condition on a prompt: the score of what a place holds of it, against a threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// The 0-based block.
    pub layer: usize,
    /// The place in the block.
    pub site: Site,
    /// The condition vector c, `[d_model]`.
    pub condition: Vec<f32>,
    /// How h is scored.
    pub score: Score,
    /// Which h.
    pub pool: Pool,
    /// When it fires.
    pub fires: Fires,
}

/// The score of an activation h. A zero h or c scores 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    /// cos(h, c) = h · c / (|h| |c|).
    Cosine,
    /// h · c / |c|.
    Projection,
    /// The score of CAST: cos(h, tanh(P h)), where P = c cᵀ / (c · c) projects on c and tanh acts on every element.
    Cast,
}

/// Which activation of the prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// The mean over its tokens.
    Mean,
    /// The activation of its last token.
    Last,
}

/// The side of the threshold on which a gate fires.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fires {
    /// If the score is greater; CAST calls it a threshold that is "smaller".
    Above(f64),
    /// If the score is less; CAST calls it a threshold that is "larger".
    Below(f64),
}

impl Gate {
    /// Computes the score of an activation.
    pub fn score(&self, h: &[f64]) -> f64 {
        let c = &self.condition;
        let hc: f64 = h.iter().zip(c).map(|(h, c)| h * f64::from(*c)).sum();
        let (hh, cc) = (norm(h), dot(c, c).sqrt());
        match self.score {
            Score::Cosine => over(hc, hh * cc),
            Score::Projection => over(hc, cc),
            Score::Cast => {
                let along = over(hc, cc * cc);
                let t: Vec<f64> = c.iter().map(|c| (along * f64::from(*c)).tanh()).collect();
                over(h.iter().zip(&t).map(|(h, t)| h * t).sum(), hh * norm(&t))
            }
        }
    }

    /// Returns true if the gate fires on an activation.
    pub fn fires_on(&self, h: &[f64]) -> bool {
        match self.fires {
            Fires::Above(threshold) => self.score(h) > threshold,
            Fires::Below(threshold) => self.score(h) < threshold,
        }
    }
}

fn norm(h: &[f64]) -> f64 {
    h.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn over(x: f64, y: f64) -> f64 {
    if y == 0.0 { 0.0 } else { x / y }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn gate(condition: Vec<f32>, score: Score, fires: Fires) -> Gate {
        Gate { layer: 0, site: Site::ResidPost, condition, score, pool: Pool::Mean, fires }
    }

    /// Compares with tests/golden/operators.json: numpy, with CAST's projection as a matrix.
    #[test]
    fn scores_are_those_of_their_definitions() {
        let golden: Value =
            serde_json::from_str(include_str!("../../../../tests/golden/operators.json")).unwrap();
        let floats = |value: &Value| -> Vec<f64> {
            value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
        };
        let condition: Vec<f32> = floats(&golden["direction"]).iter().map(|x| *x as f32).collect();
        let rows = golden["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 5);
        for (row, want) in rows.iter().zip(golden["scores"].as_array().unwrap()) {
            for (score, name) in
                [(Score::Cosine, "cosine"), (Score::Projection, "projection"), (Score::Cast, "cast")]
            {
                let got = gate(condition.clone(), score, Fires::Above(0.0)).score(&floats(row));
                let want = want[name].as_f64().unwrap();
                // Both in f64; the sums have other orders.
                assert!((got - want).abs() <= 1e-12 * want.abs().max(1.0), "{name}: {got} for {want}");
            }
        }
    }

    #[test]
    fn a_gate_fires_on_its_side_of_the_threshold() {
        let check = |fires, h: [f64; 2], want: bool| {
            assert_eq!(gate(vec![2.0, 0.0], Score::Projection, fires).fires_on(&h), want, "{fires:?} {h:?}");
        };
        check(Fires::Above(1.0), [1.5, 9.0], true);
        check(Fires::Above(1.0), [1.0, 9.0], false);
        check(Fires::Below(1.0), [0.5, 9.0], true);
        check(Fires::Below(1.0), [1.0, 9.0], false);
    }

    #[test]
    fn nothing_scores_nothing() {
        for score in [Score::Cosine, Score::Projection, Score::Cast] {
            assert_eq!(gate(vec![1.0, 2.0], score, Fires::Above(0.0)).score(&[0.0, 0.0]), 0.0);
            assert_eq!(gate(vec![0.0, 0.0], score, Fires::Above(0.0)).score(&[1.0, 2.0]), 0.0);
        }
    }
}
