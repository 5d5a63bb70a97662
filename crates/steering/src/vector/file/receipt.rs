//! The receipt in a vector file; docs/FORMATS.md describes it.

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
    /// Written for people: it follows from the numbers, and is not read back.
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
    pub(crate) fn new(receipt: &Receipt) -> ReceiptEntry {
        let nuisance = &receipt.nuisance;
        ReceiptEntry {
            layers: receipt.layers.clone(),
            alpha: receipt.alpha,
            unit: receipt.unit.to_string(),
            what: receipt.what.clone(),
            best_layer: receipt.best_layer,
            measured_on: receipt.measured_on.clone(),
            n_contrasts: receipt.n_contrasts,
            seed: receipt.seed,
            verdict: receipt.verdict().to_string(),
            margin: receipt.margin,
            arms: receipt.arms.iter().map(ArmEntry::new).collect(),
            cost: Costs {
                plus: CostEntry::new(&receipt.cost[0]),
                minus: receipt.cost.get(1).map(CostEntry::new),
                unsteered_repetition: receipt.unsteered_repetition,
            },
            auc: receipt.auc,
            nuisance: NuisanceEntry {
                longer_by_tokens: nuisance.longer,
                length_correlation: nuisance.length,
                first_token_share: nuisance.first_token,
            },
        }
    }

    /// Returns the receipt; fails with what of it cannot be.
    pub(crate) fn into_receipt(self) -> Result<Receipt, String> {
        let arms = self.arms.into_iter().map(ArmEntry::into_arm).collect::<Result<Vec<_>, String>>()?;
        if arms.first().is_none_or(|arm| arm.kind != ArmKind::Vector) {
            return Err("its receipt lacks the arm `vector`".into());
        }
        let costs = [Some(self.cost.plus), self.cost.minus];
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
            cost: costs.into_iter().flatten().map(CostEntry::into_cost).collect(),
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

impl ArmEntry {
    fn new(arm: &Arm) -> ArmEntry {
        let Effect { plus, minus, mean, interval, wrong_way } = arm.effect;
        let (arm, seeds) = (arm.kind.name().into(), arm.seeds.clone());
        ArmEntry { arm, effect: mean, interval, plus, minus, wrong_way, seeds }
    }

    fn into_arm(self) -> Result<Arm, String> {
        let ArmEntry { arm, effect: mean, interval, plus, minus, wrong_way, seeds } = self;
        let kind = ArmKind::ALL.into_iter().find(|kind| kind.name() == arm);
        let kind = kind.ok_or_else(|| format!("`{arm}` is not an arm of a receipt"))?;
        Ok(Arm { kind, effect: Effect { plus, minus, mean, interval, wrong_way }, seeds })
    }
}

impl CostEntry {
    fn new(cost: &Cost) -> CostEntry {
        CostEntry {
            kl: cost.kl,
            neutral_perplexity_ratio: cost.neutral_perplexity,
            answer_perplexity_ratio: cost.answer_perplexity,
            repetition: cost.repetition,
        }
    }

    fn into_cost(self) -> Cost {
        Cost {
            kl: self.kl,
            neutral_perplexity: self.neutral_perplexity_ratio,
            answer_perplexity: self.answer_perplexity_ratio,
            repetition: self.repetition,
        }
    }
}

impl Receipt {
    /// Returns the receipt as JSON, as it stands in a vector's file.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&ReceiptEntry::new(self)).expect("plain data")
    }
}
