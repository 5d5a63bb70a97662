//! The receipt as a vector file has it: docs/FORMATS.md.

use crate::vector::receipt::{Arm, ArmKind, Cost, Effect, Nuisance, Receipt};
use serde::{Deserialize, Serialize};

/// A receipt in JSON.
#[derive(Serialize, Deserialize)]
pub(crate) struct ReceiptEntry {
    layers: Vec<usize>,
    alpha: f64,
    unit: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    what: Option<String>,
    best_layer: usize,
    measured_on: String,
    n_contrasts: usize,
    seed: u64,
    /// For readers: it follows from the numbers, and is not read.
    #[serde(default, skip_deserializing)]
    verdict: String,
    margin: f64,
    arms: Vec<ArmEntry>,
    cost: Costs,
    auc: f64,
    nuisance: NuisanceEntry,
}

#[derive(Serialize, Deserialize)]
struct ArmEntry {
    arm: String,
    effect: f64,
    interval: Option<[f64; 2]>,
    plus: f64,
    minus: Option<f64>,
    wrong_way: f64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    seeds: Vec<f64>,
}

#[derive(Serialize, Deserialize)]
struct Costs {
    plus: CostEntry,
    minus: Option<CostEntry>,
    unsteered_repetition: f64,
}

#[derive(Serialize, Deserialize)]
struct CostEntry {
    kl: f64,
    neutral_perplexity_ratio: f64,
    answer_perplexity_ratio: f64,
    repetition: f64,
}

#[derive(Serialize, Deserialize)]
struct NuisanceEntry {
    longer_by_tokens: f64,
    length_correlation: Option<f64>,
    first_token_share: f64,
}

impl ReceiptEntry {
    pub(crate) fn new(it: &Receipt) -> ReceiptEntry {
        let arm = |it: &Arm| ArmEntry {
            arm: it.kind.name().into(),
            effect: it.effect.mean,
            interval: it.effect.interval,
            plus: it.effect.plus,
            minus: it.effect.minus,
            wrong_way: it.effect.wrong_way,
            seeds: it.seeds.clone(),
        };
        let cost = |it: &Cost| CostEntry {
            kl: it.kl,
            neutral_perplexity_ratio: it.neutral_perplexity,
            answer_perplexity_ratio: it.answer_perplexity,
            repetition: it.repetition,
        };
        ReceiptEntry {
            layers: it.layers.clone(),
            alpha: it.alpha,
            unit: it.unit.to_string(),
            what: it.what.clone(),
            best_layer: it.best_layer,
            measured_on: it.measured_on.clone(),
            n_contrasts: it.n_contrasts,
            seed: it.seed,
            verdict: it.verdict().to_string(),
            margin: it.margin,
            arms: it.arms.iter().map(arm).collect(),
            cost: Costs {
                plus: cost(&it.cost[0]),
                minus: it.cost.get(1).map(cost),
                unsteered_repetition: it.unsteered_repetition,
            },
            auc: it.auc,
            nuisance: NuisanceEntry {
                longer_by_tokens: it.nuisance.longer,
                length_correlation: it.nuisance.length,
                first_token_share: it.nuisance.first_token,
            },
        }
    }

    /// The receipt; fails with what of it cannot be.
    pub(crate) fn into_receipt(self) -> Result<Receipt, String> {
        let arm = |it: ArmEntry| {
            let kind = ArmKind::ALL.into_iter().find(|kind| kind.name() == it.arm);
            let kind = kind.ok_or_else(|| format!("`{}` is not an arm of a receipt", it.arm))?;
            let effect = Effect {
                plus: it.plus,
                minus: it.minus,
                mean: it.effect,
                interval: it.interval,
                wrong_way: it.wrong_way,
            };
            Ok(Arm { kind, effect, seeds: it.seeds })
        };
        let cost = |it: &CostEntry| Cost {
            kl: it.kl,
            neutral_perplexity: it.neutral_perplexity_ratio,
            answer_perplexity: it.answer_perplexity_ratio,
            repetition: it.repetition,
        };
        let arms = self.arms.into_iter().map(arm).collect::<Result<Vec<_>, String>>()?;
        let costs = [Some(&self.cost.plus), self.cost.minus.as_ref()];
        if arms.first().is_none_or(|it| it.kind != ArmKind::Vector) {
            return Err("its receipt lacks the arm `vector`".into());
        }
        Ok(Receipt {
            layers: self.layers,
            alpha: self.alpha,
            unit: self.unit.parse().map_err(|error| format!("its receipt: {error}"))?,
            what: self.what,
            best_layer: self.best_layer,
            measured_on: self.measured_on,
            n_contrasts: self.n_contrasts,
            seed: self.seed,
            margin: self.margin,
            arms,
            cost: costs.into_iter().flatten().map(cost).collect(),
            unsteered_repetition: self.cost.unsteered_repetition,
            auc: self.auc,
            nuisance: Nuisance {
                longer: self.nuisance.longer_by_tokens,
                length: self.nuisance.length_correlation,
                first_token: self.nuisance.first_token_share,
            },
        })
    }
}

impl Receipt {
    /// The receipt as JSON, as it stands in a vector's file.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&ReceiptEntry::new(self)).expect("plain data")
    }
}
